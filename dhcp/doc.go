// Package dhcp is a DHCPv4 server for machines that boot over the network.
//
// A server needs a network, a mode and somebody who decides about addresses:
//
//	srv := &dhcp.Server{
//		Networks: []dhcp.Network{{
//			Interface: "eth1",
//			Addr:      netip.MustParsePrefix("192.0.2.1/24"),
//			Mode:      dhcp.Full,
//			Leases: &dhcp.Pool{
//				First: netip.MustParseAddr("192.0.2.100"),
//				Last:  netip.MustParseAddr("192.0.2.199"),
//			},
//		}},
//		BootFile: func(ctx context.Context, r *dhcp.Request) (*dhcp.BootFile, error) {
//			if r.Client.Kind == dhcp.IPXE {
//				return &dhcp.BootFile{Name: "http://" + r.ServerAddr.String() + "/boot.ipxe"}, nil
//			}
//			return &dhcp.BootFile{Name: "undionly.kpxe"}, nil
//		},
//	}
//	err := srv.Serve(conn) // until srv.Shutdown(ctx)
//
// The conn is opened by the caller. Any [net.PacketConn] on port 67 serves one
// network; one with the upgrades [LocalReader], [LocalWriter], [FrameWriter] and
// [AddrLister] serves several, and reaches machines that have no address yet
// without a broadcast.
//
// # Modes
//
// A network has a [Mode]. Full is the server above. Proxy stands beside another
// DHCP server, which goes on giving out the addresses: clients that boot over the
// network get an OFFER without one, and all others, most of an office, hear
// nothing. BootServer is asked at port 4011 only, by clients that the options of
// another server send there. Both have no Leases, and a REQUEST at port 67 is
// told to [Trace] without an answer, since it says which address a client takes.
//
// Much UEFI firmware takes from a proxy's OFFER only whom to ask at port 4011. So
// a proxy serves two sockets, Serve and [Server.ServePXE], which run side by side, and
// says so in Server.PXE; without that such firmware gets no OFFER, rather than being sent
// where nobody listens. [Quirk] and [Style] say which firmware is told how. A
// Full server at port 4011 says what it says at port 67.
//
// # What happens to a packet
//
// A packet is decoded, its client classified, the network found that it came
// from, the lease policy asked, and the reply encoded and sent. Only the policy
// and the BootFile hook may block. Packets of one client are handled in order;
// up to MaxClients clients are in work at once. Everything that is thrown away
// is counted under a [DropReason] and told to [Trace].
//
// # Who decides about addresses
//
// [Pool] gives out a range and reservations, and keeps its leases in a [Store].
// A program with an inventory of its own implements [LeasePolicy] instead: four
// methods, named after what the client sends, that return what the client ought
// to have. The server compares that with what the client asked for, and speaks
// the protocol. A [Chain] puts such an inventory before a pool, or joins pools.
//
// Where the conn is an [AddrProber] the addresses of a pool are probed before they
// are offered, in the background: see [Pool.NoProbe].
//
// By default a server is not authoritative: it never tells a client that the
// address of another network is wrong, since another server may have given it.
//
// # What a machine boots
//
// [Request.Client] says what kind of machine asks: BIOS or UEFI firmware, UEFI
// HTTP Boot, iPXE, or a plain DHCP client such as the one in an initramfs.
// [LoaderTable] has the loaders that distributions ship for each architecture.
// The boot file of the answer goes to where each kind of firmware looks.
//
// # Relays and shared links
//
// A packet belongs to the network of the interface that it came in on; one from
// an interface that no network names is ignored. What a relay forwards belongs
// to the network that has the relay's address, or the one that the relay selects
// in its place: one of ours, or one with a [Network.Subnet], which only relays
// reach. Networks on one interface, or with the same [Network.Link], share a
// link, and a client gets its address from the first of them that has one. Of
// option 82, which always goes back as it came, the server reads the link
// selection, the server identifier override and the relay's port; what else is
// in it [Request.RelayOption] tells.
//
// # Sizes
//
// A reply is never longer than an IP datagram of 576 bytes, or of the client's
// option 57 if that is more, nor than 1472 bytes of payload. When it would be,
// options are left out in this order, within a group the last on the wire
// first: those not named below; 58, 59, 66, 15, and 67 if the name is in the
// header; 3, 6, 97, 118, 175; at last the relay's option 82, which is counted as
// NoRoom. The message type, the server, the lease time, the mask, the client
// identifier and options 43, 60 and 67 are never left out: if they do not fit
// no reply is sent.
package dhcp
