package dhcp_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/netip"

	"github.com/pxekit/pxe/dhcp"
)

// A server that gives out addresses looks first whether another does so already.
// Port 68 takes privilege, so this example is not run.
func ExampleDetect() {
	conn, err := net.ListenPacket("udp4", ":68")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	servers, err := dhcp.Detect(context.Background(), conn, dhcp.Detection{
		Own: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range servers {
		if s.DHCP {
			fmt.Println(s) // 192.0.2.9 gives out addresses and boot files ("pxelinux.0" from 192.0.2.9)
		}
	}
}

func ExampleLoadersFor() {
	for _, arch := range []dhcp.Arch{dhcp.ArchLoongArch64, dhcp.ArchPowerPC} {
		client := dhcp.Client{Kind: dhcp.PXE, Arch: arch, HasArch: true}
		rows, err := dhcp.LoadersFor(client, dhcp.LoaderTable())
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(rows[0].Family, rows[0].Names, rows[0].Reason)
	}
	// Output:
	// ipxe [snponly-loong64.efi ipxe-loong64.efi] 64-bit LoongArch; snponly uses the firmware's driver
	// dhcp: no boot loader is known for a pxe client of architecture 12 (PowerPC Open Firmware); add a row to the loaders
}
