package pxetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// The machine has a small DHCP codec of its own: it must send exactly the bytes
// that real clients send (unpadded, in their order of options), and read replies
// the way firmware does, first instance and all. Being independent of the codec of
// the server under test, it also does not share its mistakes.

// Message types, RFC 2132 section 9.6.
const (
	msgDiscover = 1
	msgOffer    = 2
	msgRequest  = 3
	msgAck      = 5
	msgNak      = 6
)

// Option codes that are read or written by name.
const (
	optMask         = 1
	optRouter       = 3
	optDNS          = 6
	optHostName     = 12
	optDomain       = 15
	optRootPath     = 17
	optNISDomain    = 40
	optRequested    = 50
	optLeaseTime    = 51
	optVendor       = 43
	optOverload     = 52
	optMessageType  = 53
	optServerID     = 54
	optParameters   = 55
	optMaxSize      = 57
	optVendorClass  = 60
	optClientID     = 61
	optBootFile     = 67
	optUserClass    = 77
	optArch         = 93
	optInterface    = 94
	optUUID         = 97
	optIPXE         = 175
	optConfigFile   = 209
	optPathPrefix   = 210
	optEnd          = 255
	headerSize      = 236
	minReply        = headerSize + 4 + 4 // cookie, option 53, END
	broadcastFlag   = 0x8000
	defaultMaxSize  = 576  // RFC 2131 section 2
	firmwareMaxSize = 1472 // what EDK2 reads
)

// What the vendor class (option 60) of a boot client, and of replies to it, begins
// with.
const (
	classPXE  = "PXEClient"
	classHTTP = "HTTPClient"
)

type option struct {
	code byte
	data []byte
}

// request is what a client sends.
type request struct {
	xid     uint32
	secs    uint16
	flags   uint16
	ciaddr  netip.Addr // none before the client has an address
	hw      net.HardwareAddr
	options []option
	minSize int // padded with zeros to that
}

func (r *request) encode() []byte {
	b := make([]byte, headerSize, 576)
	b[0], b[1], b[2] = 1, 1, 6
	binary.BigEndian.PutUint32(b[4:], r.xid)
	binary.BigEndian.PutUint16(b[8:], r.secs)
	binary.BigEndian.PutUint16(b[10:], r.flags)
	if r.ciaddr.Is4() {
		copy(b[12:16], r.ciaddr.AsSlice())
	}
	copy(b[28:34], r.hw)
	b = append(b, 99, 130, 83, 99)
	for _, o := range r.options {
		b = append(b, o.code, byte(len(o.data)))
		b = append(b, o.data...)
	}
	b = append(b, optEnd)
	for len(b) < r.minSize {
		b = append(b, 0)
	}
	return b
}

// reply is what a server sent.
type reply struct {
	xid            uint32
	yiaddr, siaddr netip.Addr
	chaddr         [16]byte
	file           string
	options        map[byte][]byte
}

// decodeReply reads a server's message as strictly as the strictest of the real
// clients. maxSize is the datagram size the client allowed by option 57.
func decodeReply(b []byte, maxSize int) (*reply, error) {
	const headers = 28 // IP and UDP
	switch {
	case len(b) < minReply:
		return nil, fmt.Errorf("%d bytes are too short for DHCP", len(b))
	case len(b)+headers > maxSize:
		return nil, fmt.Errorf("a datagram of %d bytes is longer than the %d that the client takes (option 57)", len(b)+headers, maxSize)
	case b[0] != 2:
		return nil, fmt.Errorf("op %d is not BOOTREPLY", b[0])
	case b[1] != 1 || b[2] != 6:
		return nil, fmt.Errorf("hardware type %d and length %d are not Ethernet's", b[1], b[2])
	case !bytes.Equal(b[headerSize:headerSize+4], []byte{99, 130, 83, 99}):
		return nil, errors.New("no magic cookie")
	}
	r := &reply{
		xid:    binary.BigEndian.Uint32(b[4:]),
		yiaddr: netip.AddrFrom4([4]byte(b[16:20])),
		siaddr: netip.AddrFrom4([4]byte(b[20:24])),
		chaddr: [16]byte(b[28:44]),
		file:   untilNUL(b[108:236]),
	}
	var err error
	r.options, err = decodeOptions(b[headerSize+4:])
	return r, err
}

func decodeOptions(b []byte) (map[byte][]byte, error) {
	options := make(map[byte][]byte)
	for i := 0; i < len(b); {
		code := b[i]
		i++
		if code == 0 {
			continue
		}
		if code == optEnd {
			return options, checkOptions(options)
		}
		if i >= len(b) || i+1+int(b[i]) > len(b) {
			return nil, fmt.Errorf("option %d runs past the end of the message", code)
		}
		data := b[i+1 : i+1+int(b[i])]
		i += 1 + len(data)
		if _, again := options[code]; again {
			switch code {
			case optVendorClass, optVendor, optBootFile:
				return nil, fmt.Errorf("option %d comes twice; firmware reads only the first", code)
			}
		}
		options[code] = append(options[code], data...)
	}
	return nil, errors.New("the options have no END")
}

// checkOptions holds the lengths that RFC 2132 fixes and firmware checks.
func checkOptions(options map[byte][]byte) error {
	for code, data := range options {
		bad := false
		switch code {
		case optMask, 28, optRequested, optLeaseTime, optServerID, 58, 59:
			bad = len(data) != 4
		case optRouter, optDNS:
			bad = len(data) == 0 || len(data)%4 != 0
		case optMessageType:
			bad = len(data) != 1
		case optMaxSize:
			bad = len(data) != 2
		case optUUID:
			bad = len(data) != 17
		case optVendorClass, optBootFile, optHostName, optDomain:
			bad = len(data) == 0
		case optOverload:
			return errors.New("option 52 (overload), which ROMs do not read")
		}
		if bad {
			return fmt.Errorf("option %d has length %d", code, len(data))
		}
	}
	if options[optMessageType] == nil {
		return errors.New("no message type (option 53)")
	}
	return nil
}

func (r *reply) messageType() byte { return r.options[optMessageType][0] }

func (r *reply) addr(code byte) netip.Addr {
	if d := r.options[code]; len(d) == 4 {
		return netip.AddrFrom4([4]byte(d))
	}
	return netip.Addr{}
}

func (r *reply) addrs(code byte) []netip.Addr {
	var l []netip.Addr
	for d := r.options[code]; len(d) >= 4; d = d[4:] {
		l = append(l, netip.AddrFrom4([4]byte(d)))
	}
	return l
}

// text is a string option; trailing NULs are not part of it (RFC 2132 section 2).
func (r *reply) text(code byte) string {
	return string(bytes.TrimRight(r.options[code], "\x00"))
}

// bootFile is the name of the network boot program. The header's field comes
// first, as with BIOS ROMs and iPXE, or option 67, as with EDK2; the other serves
// where there is none.
func (r *reply) bootFile(optionFirst bool) string {
	name := r.text(optBootFile)
	if name == "" || r.file != "" && !optionFirst {
		return r.file
	}
	return name
}

func (r *reply) isClass(class string) bool {
	return strings.HasPrefix(string(r.options[optVendorClass]), class)
}

// lease reads an ACK.
func (r *reply) lease(client string, optionFirst bool) Lease {
	bits := 0
	if m := r.options[optMask]; m != nil {
		bits, _ = net.IPMask(m).Size()
	} else {
		bits, _ = net.IP(r.yiaddr.AsSlice()).DefaultMask().Size()
	}
	l := Lease{
		Client:   client,
		Addr:     netip.PrefixFrom(r.yiaddr, bits),
		Server:   r.addr(optServerID),
		Routers:  r.addrs(optRouter),
		DNS:      r.addrs(optDNS),
		HostName: r.text(optHostName),
		Domain:   r.text(optDomain),
		Duration: time.Duration(binary.BigEndian.Uint32(r.options[optLeaseTime])) * time.Second,
		Options:  r.options,
	}
	r.tell(&l, optionFirst)
	l.ackServer = l.NextServer
	return l
}

// tell puts into a lease what the reply says of the boot file.
func (r *reply) tell(l *Lease, optionFirst bool) {
	l.BootFile, l.file, l.NextServer = r.bootFile(optionFirst), r.file, netip.Addr{}
	if !r.siaddr.IsUnspecified() {
		l.NextServer = r.siaddr
	}
}

func untilNUL(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
