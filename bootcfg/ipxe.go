package bootcfg

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/pxekit/pxe/internal/bootvalue"
)

// IPXE renders menus as iPXE scripts, for BIOS and UEFI builds alike, in the
// language as of 2019 (what Debian 12 ships). Its zero value is ready to use.
//
// Files are loaded by HTTP where [Bases] has it, else by TFTP. An entry that
// fails shows what failed and why and is tried again after ten seconds without
// a key, so that a server that was down for a moment brings no machine to a halt;
// a key leads back to the menu, or to iPXE's shell where there is none.
//
// The rules of the language: a line is split at blanks into tokens, a token that
// begins with '#' ends it, the tokens "||", "&&" and ";" end a command, and
// "${name}" is replaced within a token; there is no quoting. Texts are escaped
// by way of settings; kernel parameters with "${" in them are refused.
type IPXE struct{}

// ipxeEntry and ipxeHelp are put before the names of labels, so that no entry
// can have the name of another label.
const (
	ipxeEntry = "boot-"
	ipxeHelp  = "help-"
)

// Render implements [Renderer].
func (IPXE) Render(m *Menu, b Bases) (*Config, error) {
	if err := m.renderable(); err != nil {
		return nil, err
	}
	w := &ipxeWriter{menu: m, base: b.HTTP}
	if w.base != nil {
		w.check("HTTP base", w.base.Redacted(), flaw(bootvalue.CheckBase(w.base, "http", "https")))
	} else if w.base = b.TFTP; w.base != nil {
		w.check("TFTP base", w.base.Redacted(), flaw(bootvalue.CheckBase(w.base, "tftp")))
	} else {
		w.add("bases", "", "are both missing", "serve files by HTTP or TFTP")
	}
	if err := w.err(); err != nil {
		return nil, err
	}
	w.line("#!ipxe")
	w.line("")
	if m.asks() {
		w.choose()
	}
	for i := range m.Entries {
		w.entry(&m.Entries[i])
	}
	w.failed()
	if err := w.err(); err != nil {
		return nil, err
	}
	return &Config{Text: []byte(w.text.String())}, nil
}

// Probe implements [Renderer]: iPXE loads the boot file that DHCP names, here
// "boot.ipxe", which does not say who asks.
//
// "autoexec.ipxe", for which UEFI builds since 2021 look beside themselves, is
// none of these names and is best left unserved: they run it before they have
// an address, so it must call dhcp itself (https://github.com/ipxe/ipxe/issues/593).
// Without one they go on with DHCP and boot.ipxe.
func (IPXE) Probe(name string) (Probe, bool) {
	if name[strings.LastIndexByte(name, '/')+1:] == "boot.ipxe" {
		return Probe{Default: true}, true
	}
	return Probe{}, false
}

// ipxeWriter writes one script.
type ipxeWriter struct {
	problems
	menu *Menu
	base *url.URL
	text strings.Builder
}

// line writes one line of the script.
func (w *ipxeWriter) line(format string, args ...any) {
	fmt.Fprintf(&w.text, format+"\n", args...)
}

// choose writes the menu and its help screens.
func (w *ipxeWriter) choose() {
	m := w.menu
	// A setting can hold what a line cannot.
	w.line("set sp:hex 20")
	w.line("set sp ${sp:string}")
	w.line("set wait %d", tenths(m.Timeout)*100)
	w.line("set selected %s%s", ipxeEntry, m.standard())
	w.line("")
	w.line(":menu")
	w.line("menu -- %s", w.escape("menu title", m.title()))
	for i := range m.Entries {
		e := &m.Entries[i]
		w.line("item %s%s %s", ipxeEntry, e.Name, w.escape("entry title", e.title()))
	}
	help := w.help()
	if len(help) > 0 {
		w.line("item --gap -- ${sp}")
	}
	for _, h := range help {
		w.line("item %s%d %s", ipxeHelp, h.Key, w.escape("help name", "Help: "+h.Name))
	}
	w.line("choose --timeout ${wait} --default ${selected} selected || goto cancelled")
	w.line("set wait 0")
	w.line("goto ${selected}")
	w.line("")
	w.line(":cancelled")
	w.line("echo Type exit to get back to the menu.")
	w.line("shell ||")
	w.line("set wait 0")
	w.line("goto menu")
	w.line("")
	for _, h := range help {
		w.line(":%s%d", ipxeHelp, h.Key)
		w.line("echo")
		for line := range strings.SplitSeq(strings.TrimRight(h.Text, "\n"), "\n") {
			w.line("echo -- %s", w.escape("help text", line))
		}
		w.line("echo")
		w.line("prompt Press a key to get back to the menu. ||")
		w.line("goto menu")
		w.line("")
	}
}

// help returns the menu's help texts, and one more for those of the entries.
func (w *ipxeWriter) help() []HelpText {
	var text strings.Builder
	for i := range w.menu.Entries {
		if e := &w.menu.Entries[i]; e.Help != "" {
			fmt.Fprintf(&text, "%s\n%s\n\n", e.title(), e.Help)
		}
	}
	help := w.menu.Help
	if text.Len() == 0 {
		return help
	}
	return append(help[:len(help):len(help)], HelpText{Name: "entries", Text: text.String()})
}

// entry writes the commands that boot one entry.
func (w *ipxeWriter) entry(e *Entry) {
	where := fmt.Sprintf("entry %q", e.Name)
	w.line(":%s%s", ipxeEntry, e.Name)
	if !w.menu.asks() {
		w.line("set selected %s%s", ipxeEntry, e.Name)
	}
	if e.Local {
		w.local()
		return
	}
	// What an earlier try has loaded would be handed to the kernel once more.
	w.line("imgfree")
	args := make([]string, 0, len(e.Initrds)+len(e.Params)+1)
	for i := range e.Initrds {
		// A UEFI kernel finds its initrds by these names only; a BIOS kernel
		// gets all that are loaded, in order.
		args = append(args, fmt.Sprintf("initrd=initrd%d", i))
	}
	for _, p := range e.Params {
		w.check(where+": param", shown(p), checkIPXEParam(p))
		args = append(args, p)
	}
	kernel := e.Kernel[strings.LastIndexByte(e.Kernel, '/')+1:]
	e.checkLength(&w.problems, kernel+" "+strings.Join(args, " "))
	if e.addsBOOTIF() {
		args = append(args, "BOOTIF=01-${netX/mac:hexhyp}")
	}
	w.line("set url %s", fileURL(w.base, e.Kernel))
	w.line("kernel %s || goto failed", strings.Join(append([]string{"${url}"}, args...), " "))
	for i, name := range e.Initrds {
		w.line("set url %s", fileURL(w.base, name))
		w.line("initrd --name initrd%d ${url} || goto failed", i)
	}
	w.line("boot || goto failed")
	w.line("goto failed")
	w.line("")
}

// local writes what boots the local disk. UEFI firmware goes on in its boot
// order only if iPXE ends with an error; BIOSes do what they like when iPXE
// ends, so the disk's boot sector is started from here.
func (w *ipxeWriter) local() {
	w.line("set url disk")
	w.line("iseq ${platform} pcbios || exit 1")
	w.line("sanboot --no-describe --drive 0x80 || goto failed")
	w.line("goto failed")
	w.line("")
}

// failed writes where failed entries end.
func (w *ipxeWriter) failed() {
	w.line(":failed")
	w.line("echo Failed to boot from ${url}")
	w.line("echo Error ${errno}: see https://ipxe.org/${errno:hexraw}")
	key, then := "the iPXE shell", "shell"
	if w.menu.asks() {
		key, then = "the menu", "goto menu"
	}
	w.line("prompt --timeout %d Press a key for %s, or wait %v to try again. && %s ||",
		retryDelay.Milliseconds(), key, retryDelay, then)
	w.line("goto ${selected}")
}

// checkIPXEParam refuses kernel parameters that iPXE would take for its own.
func checkIPXEParam(s string) flaw {
	switch {
	case strings.Contains(s, "${"):
		return flaw{`has "${" in it, which iPXE replaces`, "encode the value, as %24 in a URL"}
	case s == "||" || s == "&&" || s == ";":
		return flaw{"is where iPXE would end the command", "remove it"}
	}
	return flaw{}
}

// escape returns a text as the last part of a line. "${" has no escape: whatever
// brings the two characters together is itself replaced again.
func (w *ipxeWriter) escape(where, s string) string {
	if strings.Contains(s, "${") {
		w.add(where, s, `has "${" in it, which iPXE replaces`, "write it in another way")
	}
	return ipxeText(s)
}

// ipxeText escapes a text of printable ASCII that stands at the end of a line,
// so that iPXE puts it together again as it was. Blanks that would get lost, and
// characters that have a meaning, are fetched from settings: ${sp} is a blank,
// ${nil} is never set and so breaks up what must not be seen as a whole.
func ipxeText(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		atStart := i == 0 || s[i-1] == ' '
		switch {
		case c == ' ' && (atStart || i == len(s)-1):
			b.WriteString("${sp}")
		case atStart && strings.IndexByte("#;|&", c) >= 0:
			b.WriteString("${nil}")
			b.WriteByte(c)
		case c == '\\' && i == len(s)-1:
			b.WriteString("\\${nil}")
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
