package pxetest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ipxeValue is a setting of iPXE: bytes, and the type by which they are shown
// unless another is asked for.
type ipxeValue struct {
	raw  []byte
	kind string
}

// maxValue and maxExpansions bound what a script can make of itself: an expanded
// text is expanded again.
const (
	maxValue      = 16 << 10
	maxExpansions = 1000
)

func ipxeText(s string) ipxeValue { return ipxeValue{[]byte(s), "string"} }

func ipxeAddr(a netip.Addr) ipxeValue {
	if !a.IsValid() {
		return ipxeValue{}
	}
	return ipxeValue{a.AsSlice(), "ipv4"}
}

// parseIPXEValue is how set stores a text.
func parseIPXEValue(text, kind string) (ipxeValue, error) {
	bad := fmt.Errorf("%q is no %s", text, kind)
	switch kind {
	case "string", "":
		return ipxeText(text), nil
	case "hex", "hexhyp", "hexraw":
		b, err := hex.DecodeString(strings.NewReplacer(":", "", "-", "").Replace(text))
		if err != nil {
			return ipxeValue{}, bad
		}
		return ipxeValue{b, kind}, nil
	case "ipv4":
		a, err := netip.ParseAddr(text)
		if err != nil || !a.Is4() {
			return ipxeValue{}, bad
		}
		return ipxeAddr(a), nil
	case "int8", "uint8", "int16", "uint16", "int32", "uint32":
		n, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			return ipxeValue{}, bad
		}
		bits, _ := strconv.Atoi(strings.TrimLeft(kind, "uint"))
		b := binary.BigEndian.AppendUint64(nil, uint64(n))
		return ipxeValue{b[8-bits/8:], kind}, nil
	}
	return ipxeValue{}, fmt.Errorf("unknown setting type %q", kind)
}

// format shows a value by a type; "" is the value's own.
func (v ipxeValue) format(kind string) (string, error) {
	if len(v.raw) == 0 {
		return "", nil
	}
	if kind == "" {
		kind = v.kind
	}
	pairs := func(sep string) string {
		var parts []string
		for _, c := range v.raw {
			parts = append(parts, fmt.Sprintf("%02x", c))
		}
		return strings.Join(parts, sep)
	}
	switch kind {
	case "string":
		return string(v.raw), nil
	case "uristring":
		return url.QueryEscape(string(v.raw)), nil
	case "hex":
		return pairs(":"), nil
	case "hexhyp":
		return pairs("-"), nil
	case "hexraw":
		return pairs(""), nil
	case "ipv4":
		if len(v.raw) == 4 {
			return netip.AddrFrom4([4]byte(v.raw)).String(), nil
		}
		return "", nil
	case "uuid", "guid":
		if len(v.raw) == 16 {
			return uuidText([16]byte(v.raw)), nil
		}
		return "", nil
	case "int8", "uint8", "int16", "uint16", "int32", "uint32":
		var n uint64
		for _, c := range v.raw[max(0, len(v.raw)-8):] {
			n = n<<8 | uint64(c)
		}
		switch {
		case kind == "int8":
			return strconv.Itoa(int(int8(n))), nil
		case kind == "int16":
			return strconv.Itoa(int(int16(n))), nil
		case kind == "int32":
			return strconv.Itoa(int(int32(n))), nil
		}
		return strconv.FormatUint(n&(1<<(min(64, 8*len(v.raw)))-1), 10), nil
	}
	return "", fmt.Errorf("unknown setting type %q", kind)
}

// expand replaces ${name} and ${name:type} within a word: innermost first, and the
// result is expanded again, as iPXE does it.
func (s *ipxeShell) expand(word string) (string, error) {
	for range maxExpansions {
		start, end := -1, -1
		for i := 0; i < len(word); i++ {
			if strings.HasPrefix(word[i:], "${") {
				start = i
			}
			if start >= 0 && word[i] == '}' {
				end = i
				break
			}
		}
		if end < 0 {
			return word, nil
		}
		name, kind, _ := strings.Cut(word[start+2:end], ":")
		text, err := s.setting(name).format(kind)
		if err != nil {
			return "", err
		}
		word = word[:start] + text + word[end+1:]
		if len(word) > maxValue {
			return "", fmt.Errorf("a word grows beyond %d bytes", maxValue)
		}
	}
	return "", fmt.Errorf("settings expand to themselves")
}

// setting looks a name up: the script's own settings first, then the machine's.
func (s *ipxeShell) setting(name string) ipxeValue {
	if v, ok := s.vars[name]; ok {
		return v
	}
	for _, scope := range []string{"net0/", "netX/", "net0.dhcp/", "netX.dhcp/", "dhcp/"} {
		if rest, ok := strings.CutPrefix(name, scope); ok {
			name = rest
			break
		}
	}
	l := &s.lease
	switch name {
	case "mac":
		return ipxeValue{s.m.HardwareAddr, "hex"}
	case "uuid":
		return ipxeValue{s.uuid[:], "uuid"}
	case "platform":
		if s.m.Firmware.uefi() {
			return ipxeText("efi")
		}
		return ipxeText("pcbios")
	case "buildarch":
		switch {
		case s.m.Firmware == UEFIARM64:
			return ipxeText("arm64")
		case s.m.Firmware.uefi() && s.m.Firmware != UEFIIA32:
			return ipxeText("x86_64")
		}
		return ipxeText("i386")
	case "version":
		return ipxeText("1.21.1")
	case "ip":
		return ipxeAddr(l.Addr.Addr())
	case "netmask":
		return ipxeAddr(maskOf(l.Addr.Bits()))
	case "gateway":
		return firstAddr(l.Routers)
	case "dns":
		return firstAddr(l.DNS)
	case "dhcp-server":
		return ipxeAddr(l.Server)
	case "next-server":
		return ipxeAddr(l.NextServer)
	case "filename":
		return ipxeText(l.BootFile)
	case "hostname":
		return ipxeText(l.HostName)
	case "domain":
		return ipxeText(l.Domain)
	case "cwuri":
		return ipxeText(s.cwd.String())
	case "errno":
		return s.errno
	}
	return ipxeValue{}
}

func firstAddr(l []netip.Addr) ipxeValue {
	if len(l) == 0 {
		return ipxeValue{}
	}
	return ipxeAddr(l[0])
}
