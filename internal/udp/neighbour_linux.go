package udp

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"strings"
)

// Neighbour returns the hardware address of the machine that has an IPv4 address on
// one of this host's networks, as far as the kernel knows it; nil if it does not.
// Who has just sent us a datagram and been answered is known.
func Neighbour(addr netip.Addr) net.HardwareAddr {
	table, err := os.Open("/proc/net/arp")
	if err != nil {
		return nil
	}
	defer table.Close()
	return neighbourIn(bufio.NewScanner(table), addr)
}

// neighbourIn looks an address up in the kernel's table: a line of headings, then
// address, hardware type, flags, hardware address, mask and device.
func neighbourIn(table *bufio.Scanner, addr netip.Addr) net.HardwareAddr {
	want := addr.Unmap().String()
	for table.Scan() {
		fields := strings.Fields(table.Text())
		if len(fields) < 4 || fields[0] != want || fields[2] == "0x0" {
			continue // 0x0: asked for, not answered
		}
		hw, err := net.ParseMAC(fields[3])
		if err != nil {
			return nil
		}
		return hw
	}
	return nil
}
