// Package sunrpc is a small client of the ONC RPC programs that an NFS version 3
// mount needs: the portmapper (RFC 1833), MOUNT version 3 and NFS version 3 (RFC
// 1813), over TCP (RFC 5531).
//
// It knows the few procedures by which a server is examined, and no more. Nothing
// is allocated on a server's word: a reply has a largest size, and one larger is
// an error.
package sunrpc
