package udp

import (
	"encoding/hex"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestARPProbeOnTheWire(t *testing.T) {
	probe := appendARPProbe(nil, net.HardwareAddr{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("192.0.2.100"))
	require.Equal(t, "ffffffffffff"+"020000000001"+"0806"+
		"0001"+"0800"+"06"+"04"+"0001"+"020000000001"+"00000000"+"000000000000"+"c0000264", hex.EncodeToString(probe))
	require.Nil(t, arpSender(probe, netip.MustParseAddr("192.0.2.100")), "another's probe claims nothing")
}

func TestWhoSaysThatItHasAnAddress(t *testing.T) {
	const reply = "020000000001" + "020000000009" + "0806" + "0001" + "0800" + "06" + "04" + "0002" +
		"020000000009" + "c0000264" + "020000000001" + "00000000"
	b, err := hex.DecodeString(reply)
	require.NoError(t, err)
	addr := netip.MustParseAddr("192.0.2.100")
	require.Equal(t, "02:00:00:00:00:09", arpSender(b, addr).String())
	require.Equal(t, "02:00:00:00:00:09", arpSender(append(b, make([]byte, 18)...), addr).String(), "filled up to 60 bytes")
	require.Nil(t, arpSender(b, netip.MustParseAddr("192.0.2.101")))
	for i := range b {
		require.Nil(t, arpSender(b[:i], addr))
	}
	for i := 12; i < 20; i++ { // types and lengths
		b[i]++
		require.Nil(t, arpSender(b, addr), "byte %d", i)
		b[i]--
	}
	b[21] = 1 // a machine that asks for another has said so too
	require.NotNil(t, arpSender(b, addr))
}

func FuzzARPSender(f *testing.F) {
	f.Add(appendARPProbe(nil, net.HardwareAddr{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("192.0.2.100")), uint32(0))
	f.Fuzz(func(t *testing.T, frame []byte, address uint32) {
		addr := netip.AddrFrom4([4]byte{byte(address >> 24), byte(address >> 16), byte(address >> 8), byte(address)})
		hw := arpSender(frame, addr)
		if hw == nil {
			return
		}
		as4 := addr.As4()
		require.Equal(t, string(as4[:]), string(frame[28:32]))
		require.Equal(t, string(hw), string(frame[22:28]))
	})
}
