// Package nbd is a read-only server of the Network Block Device protocol: the
// image of a boot medium as a disk that a machine reads over the network.
//
// It speaks the fixed newstyle negotiation and the transmission phase of the
// protocol's specification
// (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md) with
// simple and structured replies and TLS, and it is written to face a network:
// nothing is allocated on a client's word, a negotiation has ten seconds, a
// client that does not take its replies is cut off, connections are bounded in
// all and per client, and no error text of the program ever reaches a client.
//
// # Serving an image
//
// A [Server] needs exports and a listener:
//
//	server := &nbd.Server{Exports: []nbd.Export{{
//		Name: "archiso",
//		Open: func(context.Context) (backend.Backend, error) {
//			f, err := os.Open("/srv/systemrescue.iso")
//			if err != nil {
//				return nil, err
//			}
//			return nbd.File(f)
//		},
//	}}}
//	l, err := net.Listen("tcp", ":10809")
//	if err != nil {
//		return err
//	}
//	return server.Serve(l) // until server.Shutdown(ctx)
//
// An export is opened once for each connection, when its client has named it.
// What is opened is a Backend of github.com/pojntfx/go-nbd, so whatever was
// written for that library plugs in; [File] and [ReaderAt] make one of a file, or
// of anything that can be read at an offset. Names that are not known beforehand
// are a matter of Server.Find.
//
// # Speed
//
// Requests are pipelined: replies to short ones are put together and leave in
// one write, longer ones are read by several goroutines at once, and on Linux the
// longest are sent by sendfile where the export lies contiguously in a file.
//
// # Not there
//
// Nothing can be written. Meta contexts, by which clients ask for holes, are not
// offered: the image of a boot medium has none worth asking for.
package nbd
