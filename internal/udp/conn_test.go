package udp

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestADatagramTellsWhereItCameIn(t *testing.T) {
	server, err := Listen(t.Context(), "127.0.0.1:0", false)
	require.NoError(t, err)
	defer server.Close()
	client, err := Listen(t.Context(), "127.0.0.1:0", false)
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, server.SetDeadline(time.Now().Add(5*time.Second)))
	require.NoError(t, client.SetDeadline(time.Now().Add(5*time.Second)))

	serverAddr := netip.MustParseAddrPort(server.LocalAddr().String())
	_, err = client.WriteToLocal([]byte("ping"), serverAddr, netip.Addr{}, "")
	require.NoError(t, err)
	buf := make([]byte, 16)
	n, from, to, ifname, err := server.ReadFromLocal(buf)
	require.NoError(t, err)
	require.Equal(t, "ping", string(buf[:n]))
	require.Equal(t, client.LocalAddr().String(), from.String())
	if runtime.GOOS == "windows" {
		return
	}
	require.Equal(t, netip.MustParseAddr("127.0.0.1"), to)
	addrs, err := server.InterfaceAddrs(ifname)
	require.NoError(t, err)
	require.Contains(t, addrs, netip.MustParsePrefix("127.0.0.1/8"))

	_, err = server.WriteToLocal([]byte("pong"), from, to, ifname)
	require.NoError(t, err)
	n, back, _, _, err := client.ReadFromLocal(buf)
	require.NoError(t, err)
	require.Equal(t, "pong", string(buf[:n]))
	require.Equal(t, serverAddr, back, "the answer comes from the address that was asked")
}

func TestAnEmptyNameMeansEveryInterface(t *testing.T) {
	c, err := Listen(t.Context(), "127.0.0.1:0", false)
	require.NoError(t, err)
	defer c.Close()
	addrs, err := c.InterfaceAddrs("")
	require.NoError(t, err)
	require.Contains(t, addrs, netip.MustParsePrefix("127.0.0.1/8"))
}

func TestAMissingInterfaceIsNamed(t *testing.T) {
	c, err := Listen(t.Context(), "127.0.0.1:0", false)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.WriteToLocal([]byte("x"), netip.MustParseAddrPort("127.0.0.1:9"), netip.Addr{}, "no-such-if0")
	require.ErrorContains(t, err, `"no-such-if0"`)
	_, err = c.InterfaceAddrs("no-such-if0")
	require.ErrorContains(t, err, `"no-such-if0"`)
}

func TestASecondServerOnThePortIsAnError(t *testing.T) {
	first, err := Listen(t.Context(), "127.0.0.1:0", false)
	require.NoError(t, err)
	defer first.Close()
	_, err = Listen(t.Context(), first.LocalAddr().String(), false)
	require.Error(t, err)
}

func TestFramesWithoutTheMeansAreUnsupported(t *testing.T) {
	c, err := Listen(t.Context(), "127.0.0.1:0", false)
	require.NoError(t, err)
	defer c.Close()
	ifi, err := net.InterfaceByIndex(1)
	if err != nil {
		t.Skip("this system has no interface with index 1")
	}
	_, err = c.WriteFrame([]byte("x"), netip.MustParseAddrPort("192.0.2.1:67"),
		netip.MustParseAddrPort("192.0.2.9:68"), net.HardwareAddr{2, 0, 0, 0, 0, 1}, ifi.Name)
	require.True(t, errors.Is(err, errors.ErrUnsupported), "%v", err)
}

func TestFrameHeadersHaveRightLengthsAndChecksums(t *testing.T) {
	src, dst := netip.MustParseAddrPort("192.0.2.1:67"), netip.MustParseAddrPort("192.0.2.100:68")
	for _, payload := range [][]byte{nil, {1}, {1, 2}, []byte("odd"), make([]byte, 548)} {
		b, err := appendIPv4UDP(nil, src, dst, payload)
		require.NoError(t, err)
		require.Len(t, b, 28+len(payload))
		require.EqualValues(t, len(b), binary.BigEndian.Uint16(b[2:]))
		require.EqualValues(t, 8+len(payload), binary.BigEndian.Uint16(b[24:]))
		require.Zero(t, checksum(0, b[:20]), "a header sums to zero with its checksum")
		pseudo := sum(b[12:20]) + 17 + uint32(len(b)-20)
		require.Zero(t, checksum(pseudo, b[20:]), "so does the datagram")
		require.NotZero(t, binary.BigEndian.Uint16(b[26:]), "zero would mean no checksum")
	}
	_, err := appendIPv4UDP(nil, netip.MustParseAddrPort("[2001:db8::1]:67"), dst, nil)
	require.ErrorContains(t, err, "IPv4")
	_, err = appendIPv4UDP(nil, src, dst, make([]byte, 65508))
	require.ErrorContains(t, err, "65507")
}
