package bootcfg

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Validate reports everything that is wrong with m, in one error joined of
// [*ValueError]s, whatever loader it is for. Renderers call it first and then
// refuse what their loader cannot express.
func (m *Menu) Validate() error {
	var p problems
	p.check("menu title", m.Title, checkLine(m.Title, 70))
	if m.Timeout < 0 || m.Timeout > MaxTimeout {
		p.add("menu timeout", m.Timeout.String(), "out of range",
			fmt.Sprintf("use 0 to wait for ever, or at most %v", MaxTimeout))
	}
	switch {
	case m.Program != nil:
		m.Program.validate(m, &p)
	case len(m.Entries) == 0:
		p.add("menu", "", "has no entries", "add at least one, name a Program, or give no menu at all")
	}
	if len(m.Entries) > MaxEntries {
		p.add("menu", "", fmt.Sprintf("has %d entries", len(m.Entries)), fmt.Sprintf("keep to %d", MaxEntries))
		return p.err()
	}
	seen := make(map[string]bool, len(m.Entries))
	for i := range m.Entries {
		e := &m.Entries[i]
		if seen[e.Name] {
			p.add("menu", e.Name, "is the name of two entries", "give each entry a name of its own")
		}
		seen[e.Name] = true
		e.validate(&p)
	}
	if m.Default != "" && !seen[m.Default] {
		p.add("menu default", m.Default, "names no entry", "name one of the entries, or none for the first")
	}
	m.validateHelp(&p)
	m.validateFiles(&p)
	return p.err()
}

// validateHelp checks the screens on function keys.
func (m *Menu) validateHelp(p *problems) {
	seen := make(map[int]bool, len(m.Help))
	for _, h := range m.Help {
		where := fmt.Sprintf("help on F%d", h.Key)
		if h.Key < 1 || h.Key > 12 {
			p.add(where, "", "there is no such key", "use 1 for F1 to 12 for F12")
			continue
		}
		if seen[h.Key] {
			p.add(where, "", "two texts have this key", "give each text a key of its own")
		}
		seen[h.Key] = true
		if h.Name == "" {
			p.add(where, "", "has no name", "say in a word what it is about")
		}
		p.check(where+": name", h.Name, checkLine(h.Name, 20))
		if h.Text == "" {
			p.add(where, "", "has no text", "write one, or leave the key out")
		}
		p.check(where+": text", "", checkText(h.Text))
	}
}

// validateFiles checks the files made for one machine.
func (m *Menu) validateFiles(p *problems) {
	if len(m.Files) > MaxFiles {
		p.add("menu files", "", fmt.Sprintf("are %d", len(m.Files)), fmt.Sprintf("keep to %d", MaxFiles))
		return
	}
	total := 0
	names := make([]string, 0, len(m.Files))
	for name, content := range m.Files {
		total += len(content)
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		p.check("menu file", name, checkFileName(name))
	}
	if total > MaxFile {
		p.add("menu files", "", fmt.Sprintf("have %d bytes", total),
			fmt.Sprintf("keep to %d, and serve larger files from a FileSource", MaxFile))
	}
}

// validate checks one entry.
func (e *Entry) validate(p *problems) {
	where := fmt.Sprintf("entry %q", clip(e.Name))
	p.check(where+": name", e.Name, checkName(e.Name))
	p.check(where+": title", e.Title, checkLine(e.Title, 70))
	p.check(where+": help", "", checkText(e.Help))
	if e.Local {
		if e.Kernel != "" || len(e.Initrds)+len(e.Params)+len(e.RootFiles) > 0 || e.AnyInterface {
			p.add(where, "", "boots the local disk and yet has a kernel, initrds, parameters or root files",
				"clear them, or clear Local")
		}
		return
	}
	if e.Kernel == "" {
		p.add(where, "", "has neither a kernel nor Local", "name a kernel, or set Local to boot the disk")
	} else {
		p.check(where+": kernel", e.Kernel, checkFileName(e.Kernel))
	}
	if len(e.Initrds) > MaxInitrds || len(e.Params) > MaxParams || len(e.RootFiles) > MaxFiles {
		p.add(where, "", fmt.Sprintf("has %d initrds, %d parameters and %d root files",
			len(e.Initrds), len(e.Params), len(e.RootFiles)),
			fmt.Sprintf("keep to %d, %d and %d", MaxInitrds, MaxParams, MaxFiles))
		return
	}
	for _, name := range e.Initrds {
		p.check(where+": initrd", name, checkFileName(name))
	}
	for _, name := range e.RootFiles {
		p.check(where+": root file", name, checkFileName(name))
	}
	for _, param := range e.Params {
		p.check(where+": param", shown(param), checkParam(param))
	}
}

// checkName accepts the names of entries: words in every loader's language.
func checkName(s string) flaw {
	ok := s != "" && len(s) <= 32 && isAlnum(s[0])
	for i := 0; ok && i < len(s); i++ {
		ok = isAlnum(s[i]) || strings.IndexByte("-_.", s[i]) >= 0
	}
	if !ok {
		return flaw{"is no entry name", "use at most 32 letters, digits, '-', '_' and '.', beginning with a letter or digit"}
	}
	return flaw{}
}

// checkFileName accepts what a FileSource opens. The 512 bytes are TFTP's limit
// for a whole request (RFC 2347).
func checkFileName(s string) flaw {
	switch {
	case !fs.ValidPath(s) || s == ".":
		return flaw{"is no file name", "use slash-separated elements without '.', '..' or a leading slash"}
	case len(s) > 480:
		return flaw{"is too long", "keep to 480 bytes"}
	case strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) >= 0:
		return flaw{"has a control character or backslash in it", "rename the file"}
	}
	return flaw{}
}

// checkLine accepts one line of text of at most limit bytes. A blank at its
// ends would get lost in every loader.
func checkLine(s string, limit int) flaw {
	switch {
	case len(s) > limit:
		return flaw{fmt.Sprintf("has %d bytes", len(s)), fmt.Sprintf("keep to %d", limit)}
	case !isPrintable(s):
		return flaw{"has something else than printable ASCII in it", "loaders show nothing else: rewrite it"}
	case strings.TrimSpace(s) != s:
		return flaw{"begins or ends with a blank", "remove it"}
	}
	return flaw{}
}

// maxLine is what fits on a loader's screen, in bytes.
const maxLine = 78

// checkText accepts a text of several lines. 78 columns fit beside the margin
// of every loader's 80.
func checkText(s string) flaw {
	if len(s) > MaxText {
		return flaw{fmt.Sprintf("has %d bytes", len(s)), fmt.Sprintf("keep to %d", MaxText)}
	}
	for line := range strings.SplitSeq(s, "\n") {
		switch {
		case len(line) > maxLine:
			return flaw{fmt.Sprintf("has a line of %d bytes", len(line)), fmt.Sprintf("break lines after at most %d", maxLine)}
		case !isPrintable(line):
			return flaw{"has something else than printable ASCII in it",
				"loaders show nothing else: rewrite it, with blanks for tabs"}
		}
	}
	return flaw{}
}

// isAlnum tells whether c is an ASCII letter or digit.
func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// isPrintable tells whether s is printable ASCII, blanks included.
func isPrintable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// clip shortens what a caller gave for an error text.
func clip(s string) string {
	if len(s) > maxQuoted {
		return s[:maxQuoted] + "..."
	}
	return s
}
