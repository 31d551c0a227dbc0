// Package rootfs answers one question: by which URL does a booting machine
// reach its root file system? It also serves that file system where the answer
// is this server.
//
// A [RootFSTransport] gives the URL. [HTTP] names this server or another web
// server. [NFS] names an export of an NFS server that somebody else runs: it is
// a pure hint and serves nothing. What a transport needs beyond a URL are
// optional upgrades that it implements as well: [Mounter] for mount options,
// [ListenerTransport] for a protocol with a listener of its own, [Validator] for
// a check of its configuration before any socket is opened.
//
// [Files] is the HTTP side: a handler that serves kernels, initramfs images and
// root file systems from anything that opens a file by name. It is what boot
// firmware and initramfs scripts want of a web server: Content-Length always,
// ranges, strong entity tags that survive a restart, no redirects, and slow
// clients bounded by their progress instead of by a timeout for the whole
// answer.
//
// The package needs no other public package of this module, so it works alone in
// any program.
package rootfs
