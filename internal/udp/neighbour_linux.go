package udp

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
)

// neighbours reads the kernel's table.
func neighbours() map[netip.Addr]net.HardwareAddr {
	table, err := os.Open("/proc/net/arp")
	if err != nil {
		return nil
	}
	defer table.Close()
	return neighboursIn(table)
}

// neighboursIn reads the form of the kernel's table: a line of headings, then address,
// hardware type, flags, hardware address, mask and device.
func neighboursIn(table io.Reader) map[netip.Addr]net.HardwareAddr {
	known := make(map[netip.Addr]net.HardwareAddr)
	for lines := bufio.NewScanner(table); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[2] == "0x0" {
			continue // 0x0: asked for, not answered
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		if hw, err := net.ParseMAC(fields[3]); err == nil {
			known[addr] = hw
		}
	}
	return known
}
