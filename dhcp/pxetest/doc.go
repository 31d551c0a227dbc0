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
//   - UEFIx64 has EDK2's stack: a size probe that ends in ERROR 8, then the
//     transfer; ipxe.efi and snponly.efi become iPXE, which asks for autoexec.ipxe
//     beside itself, makes a DHCP exchange of its own and wants a script.
//   - IPXEROM begins as iPXE.
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
// Differences from real machines: the first OFFER with a boot file is taken at once,
// where firmware collects OFFERs for seconds; proxyDHCP, boot servers on port 4011,
// HTTPS and name resolution are not played.
//
// # Parts of it
//
// Host, PacketConn and the listener and connections of a Host can be used without
// machines: for servers of one protocol, for multi-homed servers (Host.Attach), for
// lossy networks (Segment.Tap). Loopback boots the same machines over real sockets on
// 127.0.0.0/8.
package pxetest
