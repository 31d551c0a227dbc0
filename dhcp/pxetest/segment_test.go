package pxetest_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func listen(t *testing.T, h *pxetest.Host, at string) *pxetest.PacketConn {
	t.Helper()
	c, err := h.ListenPacket(addrPort(at))
	require.NoError(t, err)
	return c
}

// received reads what has arrived by now.
func received(t *testing.T, c *pxetest.PacketConn) (text string, from netip.AddrPort, to netip.Addr, ifname string) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
	b := make([]byte, 100)
	n, from, to, ifname, err := c.ReadFromLocal(b)
	if err != nil {
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		return "", netip.AddrPort{}, netip.Addr{}, ""
	}
	return string(b[:n]), from, to, ifname
}

func TestUnicastAndBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pxetest.NewSegment(t)
		a := listen(t, s.Host("eth0", "192.0.2.1/24"), "0.0.0.0:67")
		b := listen(t, s.Host("eth1", "192.0.2.2/24"), "0.0.0.0:67")
		c := listen(t, s.Host("eth2", "192.0.2.3/24"), "192.0.2.3:67")

		_, err := a.WriteTo([]byte("one"), net.UDPAddrFromAddrPort(addrPort("192.0.2.2:67")))
		require.NoError(t, err)
		text, from, to, ifname := received(t, b)
		require.Equal(t, "one", text)
		require.Equal(t, addrPort("192.0.2.1:67"), from)
		require.Equal(t, netip.MustParseAddr("192.0.2.2"), to)
		require.Equal(t, "eth1", ifname)
		text, _, _, _ = received(t, c)
		require.Empty(t, text)

		for _, dst := range []string{"255.255.255.255:67", "192.0.2.255:67"} {
			_, err = a.WriteToLocal([]byte("all"), addrPort(dst), netip.Addr{}, "eth0")
			require.NoError(t, err)
			text, _, to, _ = received(t, b)
			require.Equal(t, "all", text)
			require.Equal(t, addrPort(dst).Addr(), to)
			text, _, _, _ = received(t, c)
			require.Empty(t, text, "bound to one address: no broadcasts")
			text, _, _, _ = received(t, a)
			require.Empty(t, text, "not to oneself")
		}
		// To oneself, and to nobody.
		_, err = b.WriteTo([]byte("me"), net.UDPAddrFromAddrPort(addrPort("192.0.2.2:67")))
		require.NoError(t, err)
		text, _, _, _ = received(t, b)
		require.Equal(t, "me", text)
		_, err = b.WriteTo([]byte("nobody"), net.UDPAddrFromAddrPort(addrPort("192.0.2.99:67")))
		require.NoError(t, err)
	})
}

func TestPacketConnErrors(t *testing.T) {
	s := pxetest.NewSegment(t)
	h := s.Host("eth0", "192.0.2.1/24")
	c := listen(t, h, "0.0.0.0:67")
	write := func(dst, from, ifname string, n int) error {
		var f netip.Addr
		if from != "" {
			f = netip.MustParseAddr(from)
		}
		_, err := c.WriteToLocal(make([]byte, n), addrPort(dst), f, ifname)
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"route", write("198.51.100.1:9", "", "", 1), syscall.ENETUNREACH},
		{"interface", write("192.0.2.2:9", "", "eth7", 1), syscall.ENODEV},
		{"source", write("192.0.2.2:9", "192.0.2.7", "", 1), syscall.EADDRNOTAVAIL},
		{"port", write("192.0.2.2:0", "", "", 1), syscall.EINVAL},
		{"IPv6", write("[2001:db8::1]:9", "", "", 1), syscall.EINVAL},
		{"size", write("192.0.2.2:9", "", "", 65508), syscall.EMSGSIZE},
	} {
		require.ErrorIs(t, tt.err, tt.want, tt.name)
		var op *net.OpError
		require.ErrorAs(t, tt.err, &op)
	}
	_, err := h.ListenPacket(addrPort("192.0.2.1:67"))
	require.ErrorIs(t, err, syscall.EADDRINUSE, "the wildcard has it")
	_, err = h.ListenPacket(addrPort("192.0.2.9:69"))
	require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
	_, err = c.InterfaceAddrs("eth7")
	require.Error(t, err)
	prefixes, err := c.InterfaceAddrs("eth0")
	require.NoError(t, err)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, prefixes)

	a, b := listen(t, h, "192.0.2.1:0"), listen(t, h, "192.0.2.1:0")
	require.NotEqual(t, a.LocalAddr(), b.LocalAddr())
	require.NoError(t, a.Close())
	require.ErrorIs(t, a.Close(), net.ErrClosed)
	_, err = a.WriteTo([]byte("x"), b.LocalAddr())
	require.ErrorIs(t, err, net.ErrClosed)
	require.NoError(t, h.Close())
	_, _, err = b.ReadFrom(nil)
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = h.ListenPacket(addrPort("0.0.0.0:1"))
	require.ErrorIs(t, err, net.ErrClosed)
}

// TestBareHost: without an address a host hears broadcasts; unicast does not find it.
func TestBareHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pxetest.NewSegment(t)
		server := listen(t, s.Host("eth0", "192.0.2.1/24"), "0.0.0.0:67")
		bare := listen(t, s.Host("eth0", ""), "0.0.0.0:68")
		other := listen(t, s.Host("eth0", "192.0.2.3/24"), "0.0.0.0:68")

		_, err := bare.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(addrPort("255.255.255.255:67")))
		require.NoError(t, err)
		_, from, _, _ := received(t, server)
		require.Equal(t, addrPort("0.0.0.0:68"), from)

		_, err = server.WriteTo([]byte("all"), net.UDPAddrFromAddrPort(addrPort("255.255.255.255:68")))
		require.NoError(t, err)
		text, _, _, _ := received(t, bare)
		require.Equal(t, "all", text)
		_, _, _, _ = received(t, other)

		// Frames arrive by hardware address alone, whatever IP address is in them.
		var hw net.HardwareAddr
		s.Tap(func(f pxetest.Frame) bool { hw = append(hw[:0], f.From...); return true })
		_, err = other.WriteTo([]byte("who"), net.UDPAddrFromAddrPort(addrPort("255.255.255.255:67")))
		require.NoError(t, err)
		s.Tap(nil)
		_, err = server.WriteFrame([]byte("frame"), addrPort("192.0.2.1:67"), addrPort("192.0.2.3:68"), hw, "eth0")
		require.NoError(t, err)
		text, from, _, _ = received(t, other)
		require.Equal(t, "frame", text)
		require.Equal(t, addrPort("192.0.2.1:67"), from)
		_, err = server.WriteFrame([]byte("frame"), addrPort("192.0.2.1:67"), addrPort("192.0.2.77:68"), hw, "eth0")
		require.NoError(t, err)
		text, _, _, _ = received(t, other)
		require.Empty(t, text, "it has an address, and this is not it")
		_, err = server.WriteFrame(nil, addrPort("192.0.2.1:67"), addrPort("192.0.2.77:68"), hw[:4], "eth0")
		require.ErrorIs(t, err, syscall.EINVAL)
	})
}

// TestTwoSegments: one socket hears both, and broadcasts stay where they are.
func TestTwoSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, right := pxetest.NewSegment(t), pxetest.NewSegment(t)
		h := left.Host("eth0", "192.0.2.1/24").Attach(right, "eth1", "198.51.100.1/24")
		server := listen(t, h, "0.0.0.0:67")
		a := listen(t, left.Host("eth0", "192.0.2.2/24"), "0.0.0.0:68")
		b := listen(t, right.Host("eth0", "198.51.100.2/24"), "0.0.0.0:68")
		for _, tt := range []struct {
			conn          *pxetest.PacketConn
			ifname, reply string
		}{{a, "eth0", "192.0.2.1:67"}, {b, "eth1", "198.51.100.1:67"}} {
			_, err := tt.conn.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(addrPort("255.255.255.255:67")))
			require.NoError(t, err)
			_, from, _, ifname := received(t, server)
			require.Equal(t, tt.ifname, ifname)
			_, err = server.WriteToLocal([]byte("y"), from, netip.Addr{}, "")
			require.NoError(t, err)
			_, from, _, _ = received(t, tt.conn)
			require.Equal(t, addrPort(tt.reply), from)
			_, err = server.WriteToLocal([]byte("z"), addrPort("255.255.255.255:68"), netip.Addr{}, ifname)
			require.NoError(t, err)
			_, from, _, _ = received(t, tt.conn)
			require.Equal(t, addrPort(tt.reply), from)
		}
		text, _, _, _ := received(t, a)
		require.Empty(t, text)
	})
}

func TestReceiveQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pxetest.NewSegment(t)
		a := listen(t, s.Host("eth0", "192.0.2.1/24"), "0.0.0.0:9")
		b := listen(t, s.Host("eth0", "192.0.2.2/24"), "0.0.0.0:9")
		for range 1000 {
			_, err := a.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(addrPort("192.0.2.2:9")))
			require.NoError(t, err)
		}
		n := 0
		for {
			if text, _, _, _ := received(t, b); text == "" {
				break
			}
			n++
		}
		require.Equal(t, 256, n)
	})
}

func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pxetest.NewSegment(t)
		c := listen(t, s.Host("eth0", "192.0.2.1/24"), "0.0.0.0:9")
		read := func() error {
			_, _, err := c.ReadFrom(make([]byte, 1))
			var timeout net.Error
			if errors.As(err, &timeout) {
				require.True(t, timeout.Timeout() || errors.Is(err, net.ErrClosed))
			}
			return err
		}
		started := time.Now()
		require.NoError(t, c.SetDeadline(started.Add(time.Minute)))
		require.ErrorIs(t, read(), os.ErrDeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(started))
		require.ErrorIs(t, read(), os.ErrDeadlineExceeded, "it stays passed")
		_, err := c.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(addrPort("192.0.2.2:9")))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)

		// Moved while a read waits: later, then into the past.
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Second)))
		done := make(chan error)
		go func() { done <- read() }()
		synctest.Wait()
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("read ended: %v", err)
		default:
		}
		require.NoError(t, c.SetReadDeadline(time.Unix(1, 0)))
		require.ErrorIs(t, <-done, os.ErrDeadlineExceeded)

		require.NoError(t, c.SetReadDeadline(time.Time{}))
		go func() { done <- read() }()
		synctest.Wait()
		require.NoError(t, c.Close())
		require.ErrorIs(t, <-done, net.ErrClosed)
	})
}
