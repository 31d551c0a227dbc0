package bootcfg

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/pxekit/pxe/internal/bootvalue"
)

// UBoot renders menus for the "pxe" command of U-Boot, which boards run by
// themselves when they boot from the network. Its zero value is ready to use.
//
// U-Boot reads a pxelinux configuration, and less of it than pxelinux does:
//   - it loads by TFTP alone, and only from the server that DHCP named, so the
//     host of the TFTP base must be that server, at port 69;
//   - names are relative to the directory of the boot file that DHCP named: name
//     one without a slash;
//   - one initrd; more are refused, as they can be put together into one file;
//   - help texts, of the menu and of entries, are left out: U-Boot would take
//     their lines for commands;
//   - an entry that fails is not tried again: U-Boot goes on with the others in
//     turn, then with its own boot order. A local entry goes on with that order,
//     after the board's "localcmd" if it has one.
//
// The rules of the language, as of U-Boot 2023.01: one directive per line, whose
// value goes to the end of the line; no quoting; "#" in a kernel's name begins
// the name of a configuration in it; a name has at most 127 bytes, and ":" in it
// ends a server's address; in parameters "${" and "$(" begin a variable, and a
// backslash gets lost.
type UBoot struct{}

// Render implements [Renderer].
func (UBoot) Render(m *Menu, b Bases) (*Config, error) {
	if err := m.renderable(); err != nil {
		return nil, err
	}
	w := &ubootWriter{menu: m, base: b.TFTP}
	if w.base == nil {
		w.add("TFTP base", "", "is missing", "serve files by TFTP: U-Boot's pxe command knows nothing else")
		return nil, w.err()
	}
	w.check("TFTP base", w.base.Redacted(), flaw(bootvalue.CheckBase(w.base, "tftp")))
	if port := w.base.Port(); port != "" && port != "69" {
		w.add("TFTP base", w.base.Redacted(), "has a port, which U-Boot has no way to be told", "serve TFTP on port 69")
	}
	if err := w.err(); err != nil {
		return nil, err
	}
	w.head()
	for i := range m.Entries {
		w.entry(&m.Entries[i])
	}
	if err := w.err(); err != nil {
		return nil, err
	}
	return &Config{Text: []byte(w.text.String())}, nil
}

// Probe implements [Renderer]. U-Boot asks for the names that pxelinux asks for;
// its last ones are "default-" with the processor, and with it the chip and the
// board, before "default".
func (UBoot) Probe(name string) (Probe, bool) {
	base, ok := inDirectory(name, "pxelinux.cfg")
	if !ok {
		return Probe{}, false
	}
	if kind, ok := strings.CutPrefix(base, "default-"); ok && checkName(kind) == (flaw{}) {
		return Probe{Default: true}, true
	}
	return PXELinux{}.Probe(name)
}

// ubootWriter writes one configuration.
type ubootWriter struct {
	problems
	menu *Menu
	base *url.URL
	text strings.Builder
}

// line writes one directive.
func (w *ubootWriter) line(format string, args ...any) {
	fmt.Fprintf(&w.text, format+"\n", args...)
}

// head writes what comes before the entries.
func (w *ubootWriter) head() {
	m := w.menu
	w.line("DEFAULT %s", m.standard())
	if !m.asks() {
		return // without a line that begins with MENU the default is booted at once
	}
	w.words("menu title", m.title())
	w.line("MENU TITLE %s", m.title())
	w.line("TIMEOUT %d", tenths(m.Timeout))
}

// words refuses a text that U-Boot would take for a comment.
func (w *ubootWriter) words(where, s string) {
	if strings.HasPrefix(s, "#") {
		w.add(where, s, "begins with '#', which U-Boot takes for a comment", "begin it with another character")
	}
}

// entry writes one label.
func (w *ubootWriter) entry(e *Entry) {
	where := fmt.Sprintf("entry %q", e.Name)
	w.words(where+": title", e.title())
	w.line("\nLABEL %s", e.Name)
	w.line("  MENU LABEL %s", e.title())
	if e.Local {
		w.line("  LOCALBOOT 0")
		return
	}
	w.line("  LINUX %s", w.file(where+": kernel", e.Kernel))
	if len(e.Initrds) > 1 {
		w.add(where, "", fmt.Sprintf("has %d initrds, of which U-Boot loads one", len(e.Initrds)),
			"put them together into one file, one behind the other")
	}
	if len(e.Initrds) > 0 {
		w.line("  INITRD %s", w.file(where+": initrd", e.Initrds[0]))
	}
	for _, p := range e.Params {
		w.check(where+": param", shown(p), checkUBootParam(p))
	}
	if len(e.Params) > 0 {
		w.line("  APPEND %s", strings.Join(e.Params, " "))
	}
	e.checkLength(&w.problems, strings.Join(e.Params, " "))
	if e.addsBOOTIF() {
		w.line("  IPAPPEND 2") // BOOTIF alone
	}
}

// file returns a name as U-Boot asks for it.
func (w *ubootWriter) file(where, name string) string {
	file := strings.TrimPrefix(w.base.Path, "/") + name
	switch {
	case len(file) > 127:
		w.add(where, name, "makes a name of more than 127 bytes, which U-Boot cuts off", "use a shorter name or base")
	case strings.IndexFunc(file, func(r rune) bool { return r > '~' || !isAlnum(byte(r)) && !strings.ContainsRune("-._~/+,=@", r) }) >= 0:
		w.add(where, name, "has characters in it that U-Boot may take for something else", "use letters, digits and '-._~/+,=@'")
	}
	return file
}

// checkUBootParam refuses kernel parameters that U-Boot would change.
func checkUBootParam(s string) flaw {
	switch {
	case strings.Contains(s, "${") || strings.Contains(s, "$("):
		return flaw{`has "${" or "$(" in it, which U-Boot replaces`, "encode the value, as %24 in a URL"}
	case strings.Contains(s, `\`):
		return flaw{"has a backslash in it, which U-Boot removes", "encode the value"}
	case strings.Contains(s, "initrd="):
		return flaw{`has "initrd=" in it, which U-Boot takes for the name of an initrd`, "encode the value"}
	}
	return flaw{}
}
