// Package bootvalue checks values that go to boot code: the URLs, paths and
// mount options that reach an initramfs over the kernel's command line.
//
// Boot code runs as root, puts these values through a shell and hands them to
// small programs that decode, resolve and quote nothing. So a value is either
// plain enough to mean one thing everywhere, or it has a [Flaw]. Nothing is
// altered.
package bootvalue

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Flaw is what is wrong with a value. Its texts are two halves of a sentence
// that begins with the value. The zero Flaw means that nothing is.
type Flaw struct {
	Problem string // "has a fragment, which boot code cuts off"
	Remedy  string // "remove it"
}

// OK tells whether there is no flaw.
func (f Flaw) OK() bool { return f == Flaw{} }

// String is problem and remedy in one.
func (f Flaw) String() string { return f.Problem + "; " + f.Remedy }

// Safe are the characters that mean nothing to a shell, also inside the eval of
// archiso's boot hooks, as the inside of a regular expression's brackets.
// Brackets are not among them: a shell matches file names with those.
const Safe = "A-Za-z0-9._~:/@%+=,-"

var notSafe = regexp.MustCompile("[^" + Safe + "]")

// CheckSafe accepts texts of [Safe] characters, and the empty one.
func CheckSafe(s string) Flaw {
	at := notSafe.FindStringIndex(s)
	if at == nil {
		return Flaw{}
	}
	r, _ := utf8.DecodeRuneInString(s[at[0]:])
	return Flaw{fmt.Sprintf("has %q in it, which boot code would hand to a shell", r),
		"use letters, digits and '-._~:/@%+=,'"}
}

// CheckPlain accepts [Safe] texts without percent signs: in a URL those would be
// decoded, by a mount command they are not.
func CheckPlain(s string) Flaw {
	f := CheckSafe(s)
	if f.OK() && strings.Contains(s, "%") {
		f.Problem = "has '%' in it, which boot code does not decode"
	}
	if !f.OK() {
		f.Remedy = "use letters, digits and '-._~:/@+=,'"
	}
	return f
}

// CheckExportPath accepts the path of an NFS export as nfsmount takes it:
// absolute, clean as [path.Clean] leaves it, and plain.
func CheckExportPath(dir string) Flaw {
	if !path.IsAbs(dir) {
		return Flaw{"names no export", `give its path on the server, which begins with "/"`}
	}
	if clean := path.Clean(dir); clean != dir {
		return Flaw{"has a path that is not clean", fmt.Sprintf("write it as %q", clean)}
	}
	return CheckPlain(dir)
}
