package pxetest_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// fakeServer is a boot server as small as can be, made of the public codec and
// net/http, with a knob for each mistake that a machine must notice.
type fakeServer struct {
	t         testing.TB
	addr      netip.Addr
	relayPort int // where relays want replies

	// bootFile decides by what the client says.
	bootFile func(*dhcpv4.DHCPv4) string
	// mangle changes a reply before it leaves; nil drops it.
	mangle func(request, reply *dhcpv4.DHCPv4) *dhcpv4.DHCPv4
	// raw changes the encoded reply.
	raw   func([]byte) []byte
	files map[string][]byte // by TFTP and HTTP
	// corrupt changes a file on its way.
	corrupt func(name string, content []byte) []byte

	mu       sync.Mutex
	requests []*dhcpv4.DHCPv4
	asked    []string
	first    netip.Addr
	leases   map[string]netip.Addr
}

const mac = "02:00:00:00:00:01"

func newFakeServer(t testing.TB) *fakeServer {
	return &fakeServer{t: t, addr: netip.MustParseAddr("192.0.2.1"), first: netip.MustParseAddr("192.0.2.100"),
		leases: make(map[string]netip.Addr), files: make(map[string][]byte),
		bootFile: func(*dhcpv4.DHCPv4) string { return "" }}
}

// on serves on a segment until the test ends.
func (s *fakeServer) on(segment *pxetest.Segment) {
	sockets := segment.Sockets(s.addr.String() + "/24")
	s.serve(sockets.DHCP, sockets.TFTP, sockets.HTTP, sockets.OpenTransfer)
}

func (s *fakeServer) serve(dhcp, tftp net.PacketConn, l net.Listener, open func(context.Context, netip.Addr, netip.AddrPort) (net.PacketConn, error)) {
	go s.serveDHCP(dhcp)
	go s.serveTFTP(tftp, open)
	s.serveHTTP(l)
}

func (s *fakeServer) serveHTTP(l net.Listener) { go (&http.Server{Handler: s}).Serve(l) }

func (s *fakeServer) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func (s *fakeServer) packets() []*dhcpv4.DHCPv4 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*dhcpv4.DHCPv4(nil), s.requests...)
}

func (s *fakeServer) lease(hw net.HardwareAddr) net.IP {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.leases[hw.String()]
	if !ok {
		a = s.first
		s.first = s.first.Next()
		s.leases[hw.String()] = a
	}
	return a.AsSlice()
}

func (s *fakeServer) serveDHCP(conn net.PacketConn) {
	b := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		request, err := dhcpv4.FromBytes(b[:n])
		if err != nil {
			s.t.Errorf("the machine sent what the codec does not read: %v", err)
			continue
		}
		s.mu.Lock()
		s.requests = append(s.requests, request)
		s.mu.Unlock()
		reply := s.reply(request)
		if reply == nil {
			continue
		}
		out := reply.ToBytes()
		if s.raw != nil {
			out = s.raw(out)
		}
		s.send(conn, request, reply, out, from)
	}
}

func (s *fakeServer) reply(request *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	kind := dhcpv4.MessageTypeOffer
	if request.MessageType() == dhcpv4.MessageTypeRequest {
		if !request.ServerIdentifier().Equal(s.addr.AsSlice()) {
			return nil
		}
		kind = dhcpv4.MessageTypeAck
	}
	reply, err := dhcpv4.NewReplyFromRequest(request,
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithYourIP(s.lease(request.ClientHWAddr)),
		dhcpv4.WithServerIP(s.addr.AsSlice()),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithRouter(net.IP{192, 0, 2, 254}),
		dhcpv4.WithLeaseTime(3600),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(s.addr.AsSlice())),
		dhcpv4.WithOptionCopied(request, dhcpv4.OptionClientMachineIdentifier))
	require.NoError(s.t, err)
	reply.BootFileName = s.bootFile(request)
	if request.Options.Has(dhcpv4.OptionEtherboot) {
		// iPXE need not wait for a proxy.
		reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionEtherboot, []byte{176, 1, 1}))
	}
	if s.mangle != nil {
		return s.mangle(request, reply)
	}
	return reply
}

func (s *fakeServer) send(conn net.PacketConn, request, reply *dhcpv4.DHCPv4, out []byte, from net.Addr) {
	client := netip.AddrPortFrom(netip.AddrFrom4([4]byte(reply.YourIPAddr.To4())), 68)
	switch {
	case !request.GatewayIPAddr.IsUnspecified():
		conn.WriteTo(out, &net.UDPAddr{IP: request.GatewayIPAddr, Port: s.relayPort})
	case request.IsBroadcast():
		conn.WriteTo(out, &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
	default:
		frames := conn.(interface {
			WriteFrame(p []byte, src, dst netip.AddrPort, hw net.HardwareAddr, ifname string) (int, error)
		})
		_, err := frames.WriteFrame(out, netip.AddrPortFrom(s.addr, 67), client, request.ClientHWAddr, "eth0")
		if err != nil {
			s.t.Errorf("frame: %v", err)
		}
	}
}

func (s *fakeServer) file(name string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, name)
	content, ok := s.files[strings.TrimLeft(name, "/")]
	if ok && s.corrupt != nil {
		content = s.corrupt(name, content)
	}
	return content, ok
}

func (s *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, ok := s.file(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func (s *fakeServer) serveTFTP(conn net.PacketConn, open func(context.Context, netip.Addr, netip.AddrPort) (net.PacketConn, error)) {
	b := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		fields := strings.Split(string(b[2:n]), "\x00")
		transfer, err := open(context.Background(), s.addr, from.(*net.UDPAddr).AddrPort())
		if err != nil {
			return
		}
		go s.tftp(transfer, from, fields)
	}
}

// tftp sends one file in lock-step, without repeating anything.
func (s *fakeServer) tftp(conn net.PacketConn, to net.Addr, fields []string) {
	defer conn.Close()
	content, ok := s.file(fields[0])
	if !ok {
		conn.WriteTo([]byte("\x00\x05\x00\x01not found\x00"), to)
		return
	}
	size := 512
	var accepted strings.Builder
	for i := 2; i+1 < len(fields); i += 2 {
		switch fields[i] {
		case "tsize":
			fmt.Fprintf(&accepted, "tsize\x00%d\x00", len(content))
		case "blksize":
			fmt.Sscan(fields[i+1], &size)
			fmt.Fprintf(&accepted, "blksize\x00%d\x00", size)
		}
	}
	in := make([]byte, 600)
	answer := func(b []byte) bool {
		conn.WriteTo(b, to)
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		n, _, err := conn.ReadFrom(in)
		return err == nil && n >= 4 && in[1] == 4
	}
	if accepted.Len() > 0 && !answer([]byte("\x00\x06"+accepted.String())) {
		return
	}
	for block := 1; ; block++ {
		part := content[:min(size, len(content))]
		content = content[len(part):]
		if !answer(append([]byte{0, 3, byte(block >> 8), byte(block)}, part...)) || len(part) < size {
			return
		}
	}
}

// media fills the server with a small SystemRescue and returns its kernel parameters.
func (s *fakeServer) media(root []byte) string {
	s.files["vmlinuz"] = []byte("kernel")
	s.files["ucode.img"] = []byte("microcode")
	s.files["sysresccd.img"] = bytes.Repeat([]byte("initramfs"), 1000)
	s.files["sysresccd/x86_64/airootfs.sfs"] = root
	s.files["sysresccd/x86_64/airootfs.sha512"] = fmt.Appendf(nil, "%x  airootfs.sfs\n", sha512.Sum512(root))
	return fmt.Sprintf("archisobasedir=sysresccd ip=dhcp checksum archiso_http_srv=http://%v/", s.addr)
}
