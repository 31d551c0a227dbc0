package bootvalue

import (
	"slices"
	"strconv"
	"strings"
)

// CheckNFSOptions accepts mount options that every klibc nfsmount knows, each
// "name" or "name=number" and there once. It returns the option that is at
// fault: nfsmount refuses the whole mount because of one.
//
// The list is that of the oldest nfsmount in use, mkinitcpio-nfs-utils, which
// the later ones only add to.
func CheckNFSOptions(options []string) (bad string, f Flaw) {
	var settings []string
	for _, option := range options {
		f := checkNFSOption(option)
		if f.OK() && slices.Contains(settings, setting(option)) {
			f = Flaw{"is there twice, or contradicts another", "keep one"}
		}
		if !f.OK() {
			return option, f
		}
		settings = append(settings, setting(option))
	}
	return "", Flaw{}
}

// setting returns what an option sets: one name for those that exclude each
// other.
func setting(option string) string {
	name, _, _ := strings.Cut(option, "=")
	switch name {
	case "hard":
		return "soft"
	case "udp":
		return "tcp"
	case "v2":
		return "v3"
	case "rw":
		return "ro"
	}
	return strings.TrimPrefix(name, "no")
}

func checkNFSOption(option string) Flaw {
	name, value, hasValue := strings.Cut(option, "=")
	switch name {
	case "port", "rsize", "wsize", "timeo", "retrans", "acregmin", "acregmax", "acdirmin", "acdirmax":
		n, err := strconv.ParseUint(value, 10, 31)
		switch {
		case err != nil || len(value) > 9:
			return Flaw{"is no option with a whole number of at most nine digits", `write its name, "=" and the number`}
		case value != strconv.FormatUint(n, 10):
			return Flaw{"has leading zeros, with which boot code reads a number as octal", "remove them"}
		case name == "port" && (n == 0 || n > 65535):
			return Flaw{"is no port", "use one from 1 to 65535"}
		}
		return Flaw{}
	case "soft", "hard", "intr", "nointr", "posix", "noposix", "cto", "nocto", "ac", "noac",
		"lock", "nolock", "v2", "v3", "tcp", "udp", "ro", "rw":
		if hasValue {
			return Flaw{"has a value", "leave it out"}
		}
		return Flaw{}
	case "vers", "nfsvers", "v4":
		return Flaw{"is not known to boot code", `write "v3", the only version to count on`}
	case "mountport", "mountproto", "mountvers":
		return Flaw{"is not known to boot code, which asks the portmapper of the NFS server", "run one on port 111"}
	}
	return Flaw{"is no option of klibc's nfsmount, which refuses the mount because of it", "leave it out"}
}
