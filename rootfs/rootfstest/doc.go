// Package rootfstest checks implementations of [rootfs.RootFSTransport] against
// what package rootfs says of them: the contract that a server relies on when it
// sends machines to a root file system, and that boot code relies on when it
// puts the answer through a shell as root. Run it in the tests of a transport of
// your own:
//
//	func TestTransport(t *testing.T) {
//		rootfstest.Test(t, func() rootfs.RootFSTransport { return &Transport{Export: "rescue"} })
//	}
//
// Every rule that is broken is one error, which says the rule and what was seen.
//
// [Test] also checks the optional upgrades that the transport has: as a
// [rootfs.Validator], as a [rootfs.Mounter], and as a [rootfs.ListenerTransport].
// The last is served on loopback, started and stopped in every order, and
// troubled by silent, hasty and babbling clients; tell it how a well-behaved
// client talks by [Client], or most of what it could find stays hidden. What it
// sends is bounded and the same in every run.
//
// It cannot see data races by itself: run it with -race. A panic on a goroutine
// of the transport's own ends the test program, as it would end the server.
package rootfstest
