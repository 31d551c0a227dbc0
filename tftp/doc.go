// Package tftp is a read-only TFTP server for network boot.
//
// It speaks RFC 1350 with the corrections of RFC 1123 section 4.2.3, options
// (RFC 2347), block sizes (RFC 2348), and time-outs and transfer sizes
// (RFC 2349), and it is written to face a network: names are normalised before
// anyone sees them, a client that does not answer gets one packet a few times and
// no more, the number of transfers is bounded per client and in all, clients that
// never answered make room for new ones, and no error text of the program ever
// reaches a client.
//
// # Serving files
//
// A [Server] needs a [Handler] and a socket. [FileHandler] makes a handler of
// anything that opens files:
//
//	root, err := os.OpenRoot("/srv/tftp")
//	if err != nil {
//		return err
//	}
//	server := &tftp.Server{
//		Handler: tftp.FileHandler(func(ctx context.Context, r *tftp.Request) (fs.File, error) {
//			return root.FS().Open(r.Name)
//		}),
//	}
//	conn, err := net.ListenPacket("udp", ":69")
//	if err != nil {
//		return err
//	}
//	return server.Serve(conn) // until server.Shutdown(ctx)
//
// The socket comes from outside, so that a server runs on any port (0 too), on
// an inherited socket or on a conn made for a test. Each transfer answers from a
// socket of its own, as the protocol wants; Server.OpenTransfer makes it.
//
// Handlers written for github.com/pin/tftp/v3 plug in unchanged, see
// [ReadHandler]. Anything else implements [Handler], which decides by [Request]
// and sends by [Transfer.ReadFrom].
//
// # What a client is told
//
// A handler's error becomes an ERROR packet with a code and a fixed text:
// [fs.ErrNotExist] and [fs.ErrInvalid] are 1 "File not found", [fs.ErrPermission]
// is 2 "Access violation", and whatever else is 0 "Internal error". A handler that
// wants another code or text returns an [*Error].
//
// When the system has run out of file descriptors or memory before anything was
// sent, the client is told nothing ([DropResources]): it asks again, while an
// ERROR would end its boot.
//
// # Watching
//
// [Trace] reports every request admitted, every transfer's [Result] and every
// datagram dropped with its [DropReason]; [Server.Drops] counts the latter. A
// client that ends a transfer on purpose, as firmware does after it has learnt a
// file's size and loaders do when they close a file early, is Result.Aborted and
// no failure.
//
// # Several addresses
//
// A transfer must come from the address its request was sent to. A socket bound
// to one address knows it; a wildcard socket does when it implements
// [LocalReader]. Requests sent to a broadcast address are then recognised and
// ignored, too (RFC 1123 section 4.2.3.5).
package tftp
