package pxe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

// taint would mean something to a shell, a boot script, a log and an HTML page.
const taint = "\";$(touch /pwn)\n#!ipxe<b>%s"

// capture keeps what goes over a segment to one machine.
type capture struct {
	mu     sync.Mutex
	to     string
	frames [][]byte
}

func (c *capture) tap(f pxetest.Frame) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.To.String() == c.to {
		c.frames = append(c.frames, bytes.Clone(f.Payload))
	}
	return true
}

func (c *capture) listen(mac string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = mac
}

// TestTaintOfOneMachineReachesNoOther lets a machine put a marker into everything
// that it can send by DHCP, TFTP and HTTP. Another machine's packets and scripts do
// not have it afterwards, and lines of a log and of events have it in quotes only.
func TestTaintOfOneMachineReachesNoOther(t *testing.T) {
	var events recorder
	var log bytes.Buffer
	srv := rescueServer(&events)
	srv.Logger = slog.New(slog.NewTextHandler(&log, nil))
	// A menu with what the machine says of itself, as an embedder may make one.
	srv.Booter = pxe.BooterFunc(func(ctx context.Context, m *pxe.Machine) (*bootcfg.Menu, error) {
		menu, err := pxe.SystemRescue{Checksum: true}.Boot(ctx, m)
		if err == nil && m.HardwareAddr[5] == 1 {
			menu.Title = m.VendorClass + m.UserClass
		}
		return menu, err
	})
	const evil = "02:00:00:00:00:01"
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		wire := &capture{}
		segment.Tap(wire.tap)
		host := segment.Host("eth0", "192.0.2.77/24")
		defer host.Close()
		shout(t, host, evil)
		ask(t, host)

		wire.listen("02:00:00:00:00:02")
		for _, firmware := range []pxetest.Firmware{pxetest.BIOSPXE, pxetest.UEFIx64, pxetest.IPXEROM} {
			boot, err := segment.Machine("02:00:00:00:00:02", firmware).Boot(t.Context())
			require.NoError(t, err)
			require.True(t, boot.Root.Verified)
			require.NotContains(t, fmt.Sprintf("%+v", boot), "pwn")
			for _, name := range []string{boot.Config, boot.Loader} {
				if u, err := url.Parse(name); err == nil && u.Scheme == "http" {
					require.NotContains(t, fetch(t, host, u.RequestURI(), ""), "pwn", name)
				}
			}
		}
		require.NotEmpty(t, wire.frames)
		for _, frame := range wire.frames {
			require.NotContains(t, string(frame), "pwn")
		}
	})
	dropped, quoted := false, false
	for _, e := range events.all() {
		dropped = dropped || e.Stage == pxe.StageDrop || e.Err != nil
		line := e.String()
		quoted = quoted || strings.Contains(line, "pwn")
		require.NotContains(t, line, "\n")
		require.NotContains(t, line, taint)
		text, err := json.Marshal(e)
		require.NoError(t, err)
		require.NotContains(t, string(text), "\n")
		require.NotContains(t, string(e.Stage)+e.Via+e.Drop+e.Boot, "pwn", "what metrics are keyed by")
	}
	require.True(t, dropped, "some of it was refused")
	require.True(t, quoted, "the menu is refused with its title in quotes")
	for line := range strings.Lines(log.String()) {
		require.True(t, strings.HasPrefix(line, "time="), "%q is a line of the machine's making", line)
		require.NotContains(t, line, "$(touch /pwn)\n")
	}
}

// shout sends DHCP packets with the marker wherever it fits.
func shout(t *testing.T, host *pxetest.Host, mac string) {
	t.Helper()
	conn, err := host.ListenPacket(netip.MustParseAddrPort("0.0.0.0:68"))
	require.NoError(t, err)
	defer conn.Close()
	hw, err := net.ParseMAC(mac)
	require.NoError(t, err)
	for i := range 4 * 5 * 3 {
		// 80 options at a time, as a packet has no room for all of them.
		class := []string{"PXEClient" + taint, "PXEClient", "HTTPClient" + taint, taint}[i%4]
		kind, first := []dhcpv4.MessageType{1, 3, 4, 7, 8}[i/4%5], uint8(1+85*(i/20))
		p := &dhcpv4.DHCPv4{OpCode: dhcpv4.OpcodeBootRequest, HWType: iana.HWTypeEthernet, ClientHWAddr: hw,
			TransactionID: dhcpv4.TransactionID{byte(i), byte(kind)}, ServerHostName: taint, BootFileName: taint,
			Options: dhcpv4.OptionsFromList(dhcpv4.OptMessageType(kind))}
		if kind != dhcpv4.MessageTypeDiscover {
			p.ClientIPAddr = net.IPv4(192, 0, 2, 77)
		}
		for code := first; code < first+84; code++ {
			switch code {
			case 50, 52, 53, 54, 82: // 82 comes back, and nobody would be to blame
			default:
				p.Options[code] = []byte(taint)
			}
		}
		p.Options[60], p.Options[77], p.Options[93] = []byte(class), []byte([]string{taint, "iPXE"}[i%2]), []byte{0, 7}
		_, err := conn.WriteTo(p.ToBytes(), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("255.255.255.255:67")))
		require.NoError(t, err)
		synctest.Wait() // a client has few packets in work at once
	}
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Second)))
	_, _, err = conn.ReadFrom(make([]byte, 2048))
	require.NoError(t, err, "it was answered")
}

// ask puts the marker into requests by TFTP and HTTP.
func ask(t *testing.T, host *pxetest.Host) {
	t.Helper()
	conn, err := host.ListenPacket(netip.AddrPort{})
	require.NoError(t, err)
	defer conn.Close()
	for _, request := range []string{
		"\x00\x01" + taint + "\x00octet\x00", "\x00\x01pxelinux.cfg/" + taint + "\x00" + taint + "\x00", "\x00\x02" + taint + "\x00octet\x00",
		"\x00\x01lpxelinux.0\x00octet\x00" + taint + "\x00" + taint + "\x00", "\x00\x05\x00\x00" + taint + "\x00",
	} {
		_, err := conn.WriteTo([]byte(request), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:69")))
		require.NoError(t, err)
	}
	for _, path := range []string{"/", "/boot.ipxe", "/" + url.PathEscape(taint), "/~" + url.PathEscape(taint) + "/boot.ipxe", "/boot.ipxe?mac=" + url.QueryEscape(taint)} {
		require.NotContains(t, fetch(t, host, path, `pwn.example.org"$(touch`), "pwn", path)
	}
}

// fetch gets a path with a Host header from the server.
func fetch(t *testing.T, host *pxetest.Host, path, name string) string {
	t.Helper()
	conn, err := host.Dial(t.Context(), netip.MustParseAddrPort("192.0.2.1:80"))
	require.NoError(t, err)
	defer conn.Close()
	if name == "" {
		name = "192.0.2.1"
	}
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %q\r\nReferer: %q\r\nConnection: close\r\n\r\n", path, name, taint, taint)
	require.NoError(t, err)
	answer, err := io.ReadAll(io.LimitReader(conn, 1<<20))
	require.NoError(t, err)
	_, _, found := strings.Cut(string(answer), "\r\n\r\n")
	require.True(t, found && strings.HasPrefix(string(answer), "HTTP/1."), "%q", answer)
	return string(answer)
}
