package rootfs

// An NFSReason is what [NFS.Check] found to be wrong, for programs. The text is
// for logs; what to tell a person is [NFSError]'s.
type NFSReason string

// The reasons, in the order in which Check comes across them.
const (
	NFSBadConfig      NFSReason = "bad configuration"    // Export or Options, a host name or an IPv6 address among them
	NFSNoPortmapper   NFSReason = "no portmapper"        // nothing answers on TCP port 111
	NFSNotRegistered  NFSReason = "NFS not registered"   // the portmapper does not know NFS
	NFSOnlyVersion4   NFSReason = "no NFS version 3"     // the server has other versions only
	NFSNoServer       NFSReason = "no NFS server"        // nothing answers on NFS's port
	NFSNoMount        NFSReason = "no MOUNT version 3"   // not registered, or other versions only
	NFSNotExported    NFSReason = "not exported"         // no such path, or not for this computer
	NFSNotDirectory   NFSReason = "not a directory"      // the path is one of a file
	NFSPrivilegedPort NFSReason = "privileged port"      // refused, and Check could not ask as boot code does
	NFSFileMissing    NFSReason = "file missing"         // below the export
	NFSFileUnreadable NFSReason = "file unreadable"      // its mode, or a directory's on the way
	NFSAwkwardReply   NFSReason = "awkward reply"        // in pieces, which boot code misreads
	NFSNoAnswer       NFSReason = "no answer"            // in time, or the context ended
	NFSBadAnswer      NFSReason = "unintelligible reply" // not the protocol, or an error of the server
)

// An NFSError says why machines cannot mount an export. It is what [NFS.Check]
// returns.
type NFSError struct {
	Export  string    // NFS.Export
	Step    string    // what was asked: "configuration", "portmapper", "nfs", "mount" or "file"
	Reason  NFSReason // for a program to switch on
	Problem string    // half a sentence that follows the export
	Remedy  string    // what to do about it, as half a sentence
	Err     error     // what lies beneath; may be nil
}

// Error is one sentence: export, problem and remedy.
func (e *NFSError) Error() string {
	return "rootfs: nfs root " + e.Export + ": " + e.Problem + "; " + e.Remedy
}

// Unwrap returns Err.
func (e *NFSError) Unwrap() error { return e.Err }
