// Package pxetest plays network segments and the machines that boot on them, for
// unit tests of boot servers: without root, without ports, and under
// testing/synctest without real time.
//
// # A boot in a test
//
// A Segment is a network in memory. Sockets puts the server's computer on it and
// opens what a boot server serves on; Machine puts a bare machine there; its Boot
// plays everything from the first DHCPDISCOVER to the root file system and says
// what it saw:
//
//	synctest.Test(t, func(t *testing.T) {
//		segment := pxetest.NewSegment(t)
//		go srv.Serve(segment.Sockets("192.0.2.1/24"))
//		got, err := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64).Boot(t.Context())
//		require.NoError(t, err)
//		require.Contains(t, got.Params, "archiso_nfs_srv=192.0.2.9:/srv/rescue")
//	})
//
// When the test ends the segment closes the sockets, so Serve returns.
//
// # The machines
//
// They are strict where real clients are: a reply with a wrong transaction ID, from
// a wrong port, with a mutilated option or rubbish behind the hardware address is
// dropped, and the error at the end tells what was dropped and why. They are as
// patient as real clients, too: four DISCOVERs within a minute, twenty seconds in
// the initramfs.
//
//   - BIOSPXE is a BIOS with its maker's PXE stack. It loads what DHCP names by TFTP
//     and runs it by its name: pxelinux.0 and lpxelinux.0 look for ldlinux.c32 and
//     pxelinux.cfg/..., undionly.kpxe becomes iPXE.
//   - UEFIx64, UEFIIA32 and UEFIARM64 have EDK2's stack: a size probe that ends in
//     ERROR 8, then the transfer; ipxe.efi and snponly.efi become iPXE, which asks
//     for autoexec.ipxe beside itself, makes a DHCP exchange of its own and wants a
//     script; grubx64.efi and its like become GRUB, shimx64.efi loads the GRUB
//     beside it. A name that tells another processor is refused.
//   - UEFIx64HTTP has EDK2's HTTP Boot: the class HTTPClient, a URL, HEAD and GET,
//     and nothing by TFTP until the end.
//   - IPXEROM begins as iPXE.
//
// # OFFERs
//
// Machines collect OFFERs as long as the real ones and choose like them, so boot
// servers in every arrangement can be tested beside another DHCP server
// (Segment.DHCPServer), and behind relays (Segment.Relay):
//
//   - A BIOS chooses when a wait is over: an address with PXE options (class
//     PXEClient), else an address and a proxyDHCP server's OFFER, else, from the
//     second wait on, a plain OFFER with a boot file. Option 43.6 with bit 3 says to
//     boot the file that is named, a menu and a list of servers whom to ask; without
//     them it asks at port 4011.
//   - EDK2 chooses when a wait is over, too: an OFFER of an address of class
//     PXEClient, or of an address and one of a proxy, leads to port 4011 whatever
//     file it names; a plain OFFER with a boot file comes last. A proxy's OFFER with
//     discovery options in option 43 is lost, as in most versions.
//   - iPXE waits two seconds for a proxy, unless option 175.176 says that there is
//     none. The boot file of the DHCP server comes before that of the proxy; a proxy
//     that names none is asked at port 4011.
//
// Lease.Proxy tells who named the boot file if the DHCP server did not. On a
// Loopback there is one server, so its first OFFER is taken at once.
//
// Programs are not executed: their names decide, so any bytes do for a loader, a
// kernel and an initramfs. Configurations and scripts are interpreted; what the
// interpreter does not know is an error that names the line.
//
// After the kernel comes archiso's initramfs, as SystemRescue has it: its command
// line parser, its own DHCP client (no identity, no broadcast flag, deaf to ARP), and
// the root file system by HTTP or TFTP with its checksum. With an NFS or NBD root the
// machine stops where it would mount. A command line without archiso parameters ends
// the play at the kernel.
//
// GRUB is the one of a distribution: it takes its server from siaddr of the DHCPACK,
// not from a proxy, and looks for grub/grub.cfg there. Without shim before it, and
// unless it is called grubnet... or ends in .signed, it is an image of grub-mkimage
// with http built in, and asks for grub/grub.cfg-01-MAC and the address first. Shim
// reads the boot file from the header alone. Its signatures are not checked. A menu
// entry that tries again for ever is given up when it has failed three times.
//
// Differences from real machines: boot servers that are found by broadcast or
// multicast, the menu of option 43 (its first item is taken), HTTPS of firmware and
// loaders, and name resolution are not played.
//
// # Parts of it
//
// Host, PacketConn and the listener and connections of a Host can be used without
// machines: for servers of one protocol, for multi-homed servers (Host.Attach), for
// lossy networks (Segment.Tap), for several subnets (Segment.Relay). Loopback boots the same machines over real sockets on
// 127.0.0.0/8.
package pxetest
