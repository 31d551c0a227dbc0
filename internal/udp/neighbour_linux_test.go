package udp

import (
	"bufio"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNeighbourReadsTheKernelsTable(t *testing.T) {
	const table = `IP address       HW type     Flags       HW address            Mask     Device
192.0.2.100      0x1         0x2         02:00:00:00:00:01     *        br0
192.0.2.101      0x1         0x0         00:00:00:00:00:00     *        br0
192.0.2.10       0x1         0x2         02:00:00:00:00:02     *        br0
192.0.2.102      0x1         0x2         nonsense              *        br0
`
	look := func(addr string) string {
		return neighbourIn(bufio.NewScanner(strings.NewReader(table)), netip.MustParseAddr(addr)).String()
	}
	require.Equal(t, "02:00:00:00:00:01", look("192.0.2.100"))
	require.Equal(t, "02:00:00:00:00:02", look("::ffff:192.0.2.10"))
	require.Empty(t, look("192.0.2.101"), "asked for and not answered")
	require.Empty(t, look("192.0.2.102"))
	require.Empty(t, look("192.0.2.1"))
	require.Nil(t, Neighbour(netip.MustParseAddr("203.0.113.77")))
}
