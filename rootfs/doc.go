// Package rootfs answers one question: by which URL does a booting machine
// reach its root file system? It also serves that file system where the answer
// is this server.
//
// A [RootFSTransport] gives the URL. [HTTP] and [TFTP] name this server or
// another one. [NBD] serves block devices itself, or names a server elsewhere.
// [NFS] names an export of an NFS server that somebody else runs: it is a pure
// hint and serves nothing. What a transport needs beyond a URL are optional
// upgrades that it implements as well: [Mounter] for mount options,
// [ListenerTransport] for a protocol with a listener of its own, [Validator] for
// a check of its configuration before any socket is opened. A transport of your
// own is checked by package rootfstest.
//
// # Which one
//
// Begin with HTTP, and leave it for a reason. For SystemRescue, whose image has
// 1.15 GB:
//
//	         served by       the machine      server may stop     take it
//	HTTP     this program    copies to RAM    after the copy      by default
//	HTTPS    this program    copies to RAM    after the copy      to hide what is fetched
//	TFTP     this program    copies to RAM    after the copy      where HTTP is filtered
//	NBD      this program    copies to RAM    after the copy      to mount the medium itself
//	NBD live this program    mounts           never               with little RAM
//	NFS      an NFS server   copies to RAM    after the copy      if you have one
//	NFS live an NFS server   mounts           never               with little RAM, for long
//
// HTTP and HTTPS fetch the image by one request of curl, without retry and
// without resuming: what fails ends in a rescue shell. For a moment the image is
// in memory twice, so 4 GB are a sane floor. The certificate of HTTPS is not
// checked by SystemRescue: it hides the download and proves nothing. Nothing but
// the image is fetched, none of the files of sysrescue.d and autorun.
//
// TFTP does the same in blocks of 512 bytes, which is all that curl asks for,
// each of which waits for its acknowledgement: 2.3 million round trips. A 66 MB
// image took 80 seconds in a virtual machine, by HTTP 41, both with the rest of
// the boot. Where a round trip takes a millisecond, the image of 1.15 GB takes
// almost 40 minutes.
//
// NBD hands out the raw ISO image, and the machine copies from it or, with Live,
// reads what it needs: it starts sooner and leaves its memory to work with, but
// it fails if the server goes away for longer than its client waits. The port
// is 10809, for SystemRescue's parameters have no other. NFS live waits for its
// server unless it is mounted with "soft", and is what to prefer for a machine
// that shall run for long. NFS needs a dotted IPv4 address, version 3 and a
// portmapper; files of sysrescue.d and autorun beside the image are read.
//
// # Serving
//
// [Files] is the HTTP side: a handler that serves kernels, initramfs images and
// root file systems from anything that opens a file by name. It is what boot
// firmware and initramfs scripts want of a web server: Content-Length always,
// ranges, strong entity tags that survive a restart, no redirects, and slow
// clients bounded by their progress instead of by a timeout for the whole
// answer. The kernel sends what lies in an image by itself, and [Limits] keep a
// storm of machines in order.
//
// Package nbd below is the NBD side, and works alone as well. Neither needs any
// other public package of this module.
package rootfs
