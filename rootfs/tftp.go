package rootfs

import "net/url"

// TFTP is a root file system that comes over TFTP. The zero value means this
// server: machines are sent to [Target].TFTP. Machines copy such a root file
// system to memory, so the server may go away once it is fetched.
//
// It is for networks that let nothing else through, and slow: SystemRescue's
// initramfs fetches with curl, which asks for blocks of 512 bytes and waits for
// an acknowledgement of each, so a megabyte costs 2,048 round trips, and the
// 1.15 GB of a current medium more than two million. In a virtual machine 66 MB
// took twice as long as by HTTP; where a round trip takes a millisecond a medium
// takes more than half an hour. Use [HTTP] where you can.
type TFTP struct {
	// Base is a TFTP server elsewhere that has the same tree of files. It must
	// be absolute with the scheme tftp and end in "/"; otherwise what is said
	// at [HTTP].Base holds. Nil: this server.
	Base *url.URL
}

// Validate reports what is wrong with Base.
func (t TFTP) Validate() error {
	if t.Base == nil {
		return nil
	}
	return checkBase("TFTP.Base", t.Base, "tftp")
}

// RootURL returns Base or, when that is nil, the target's own TFTP base. It
// returns a [*TargetError] when the server has none for this target, and the
// error of Validate for a Base that boot code would misread.
func (t TFTP) RootURL(target Target) (*url.URL, error) {
	if t.Base != nil {
		return external("TFTP.Base", t.Base, "tftp")
	}
	return own(target.TFTP, "tftp", "give the server a TFTP socket, or set TFTP.Base to a TFTP server that has the files")
}
