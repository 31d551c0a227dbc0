package udp

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNeighboursAreReadFromTheKernelsTable(t *testing.T) {
	known := neighboursIn(strings.NewReader(`IP address       HW type     Flags       HW address            Mask     Device
192.0.2.100      0x1         0x2         02:00:00:00:00:01     *        br0
192.0.2.101      0x1         0x0         00:00:00:00:00:00     *        br0
192.0.2.10       0x1         0x2         02:00:00:00:00:02     *        br0
192.0.2.102      0x1         0x2         nonsense              *        br0
`))
	require.Len(t, known, 2)
	n := Neighbours{}
	require.Nil(t, n.Lookup(netip.MustParseAddr("203.0.113.77")))
	n.table = known
	require.Equal(t, "02:00:00:00:00:02", n.Lookup(netip.MustParseAddr("::ffff:192.0.2.10")).String())
	require.Equal(t, "02:00:00:00:00:01", n.Lookup(netip.MustParseAddr("192.0.2.100")).String())
	require.Nil(t, n.Lookup(netip.MustParseAddr("192.0.2.101")), "asked for and not answered")
}
