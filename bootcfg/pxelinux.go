package bootcfg

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/pxekit/pxe/internal/bootvalue"
)

// PXELinux renders menus for pxelinux, the loader of the Syslinux project for
// BIOS machines. Its zero value is ready to use.
//
// Give [Bases] with an HTTP base to lpxelinux.0 only: plain pxelinux.0 loads by
// TFTP alone. Files are named by full URLs, so that it does not matter from
// which directory the loader itself came.
//
// Without a menu module pxelinux has only a "boot:" prompt. The renderer then
// makes a screen with the entries, shown above the prompt, and puts the entries'
// help texts on the first free function key; see [Config].Files.
//
// The rules of the language, as Syslinux 6.04 has them: one directive per line,
// no quoting and no line longer than 4095 bytes; words end at blanks; initrds
// are separated by commas and found behind the first "initrd=" of the command
// line; file names have at most 255 bytes.
type PXELinux struct {
	// UI is the name of a menu module that draws the menu, "menu.c32" or
	// "vesamenu.c32". The loader looks for it, and for the libraries that it
	// needs (libutil.c32, libcom32.c32), beside itself. Empty: the "boot:" prompt.
	UI string
	// LocalBoot is the type of local boot: 0 returns to the PXE firmware, which
	// goes on in its boot order, and is what Syslinux recommends; -1 calls
	// INT 18h instead, for firmware that hangs after the return.
	LocalBoot int
}

// Names of the files that a rendered configuration refers to.
const (
	pxelinuxScreen = "pxelinux.cfg/menu.msg"
	pxelinuxKey    = "pxelinux.cfg/f%d.msg"
)

// retryDelay is how long loaders wait for a key after a failed boot before they
// try again: nobody may be there to press one.
const retryDelay = 10 * time.Second

// Render implements [Renderer].
func (x PXELinux) Render(m *Menu, b Bases) (*Config, error) {
	if err := m.renderable(); err != nil {
		return nil, err
	}
	w := &pxelinuxWriter{PXELinux: x, menu: m, base: b.HTTP, files: map[string][]byte{}}
	if w.base != nil {
		w.check("HTTP base", w.base.Redacted(), flaw(bootvalue.CheckBase(w.base, "http")))
	} else if w.base = b.TFTP; w.base != nil {
		w.check("TFTP base", w.base.Redacted(), flaw(bootvalue.CheckBase(w.base, "tftp")))
	} else {
		w.add("bases", "", "are both missing", "serve files by HTTP or TFTP")
	}
	if w.base != nil && strings.Contains(w.base.Hostname(), ":") {
		w.add("base", w.base.Host, "is an IPv6 address, which pxelinux does not know", "give an IPv4 address")
	}
	if x.LocalBoot != 0 && x.LocalBoot != -1 {
		w.add("local boot", fmt.Sprint(x.LocalBoot), "is no type", "use 0 or -1")
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
	c := &Config{Text: []byte(w.text.String())}
	if len(w.files) > 0 {
		c.Files = w.files
	}
	return c, nil
}

// pxelinuxWriter writes one configuration.
type pxelinuxWriter struct {
	PXELinux
	problems
	menu  *Menu
	base  *url.URL
	text  strings.Builder
	files map[string][]byte
}

// line writes one directive, which validation has kept short.
func (w *pxelinuxWriter) line(format string, args ...any) {
	fmt.Fprintf(&w.text, format+"\n", args...)
}

// url returns the URL of a file, if pxelinux can ask for it.
func (w *pxelinuxWriter) url(where, name string) string {
	u := fileURL(w.base, name)
	switch {
	case len(u) > 255:
		w.add(where, name, "makes a URL of more than 255 bytes, which pxelinux cuts off", "use a shorter name or base")
	case strings.Contains(u, "initrd="):
		w.add(where, name, `has "initrd=" in it, which pxelinux takes for its list of initrds`, "rename it")
	case w.base.Scheme == "tftp" && strings.Contains(u, "%"):
		// Versions disagree on whether "%20" is a blank or three characters.
		w.add(where, name, "has characters in it that a TFTP URL cannot have", "use letters, digits and '-._~/', or serve it by HTTP")
	}
	return u
}

// head writes what comes before the entries.
func (w *pxelinuxWriter) head() {
	m := w.menu
	wait := m.Timeout
	if m.asks() {
		w.line("PROMPT 1")
	} else {
		w.line("PROMPT 0")
		wait = retryDelay
	}
	w.line("TIMEOUT %d", tenths(wait))
	w.line("DEFAULT %s", m.standard())
	w.line("ONTIMEOUT %s", m.standard())
	if !m.asks() {
		return
	}
	w.caret("menu title", m.title())
	w.line("MENU TITLE %s", m.title())
	help := m.Help
	if w.UI == "" {
		help = w.withEntries(help)
		w.file(pxelinuxScreen, w.screen(help), "DISPLAY")
	} else {
		w.check("menu module", w.UI, checkName(w.UI))
		w.line("UI %s", w.UI)
	}
	for _, h := range help {
		w.file(fmt.Sprintf(pxelinuxKey, h.Key), h.Text, fmt.Sprintf("F%d", h.Key))
	}
}

// caret refuses the mark of hotkeys, which has no escape.
func (w *pxelinuxWriter) caret(where, text string) {
	if strings.ContainsRune(text, '^') {
		w.add(where, text, "has a '^' in it, which pxelinux takes for the mark of a hotkey", "leave it out")
	}
}

// file adds a file with a text and the directive that shows it.
func (w *pxelinuxWriter) file(name, text, directive string) {
	if _, taken := w.menu.Files[name]; taken {
		w.add("menu file", name, "has a name that pxelinux's own screens need", "rename it")
		return
	}
	w.files[name] = []byte("\n" + strings.TrimRight(text, "\n") + "\n\n")
	w.line("%s %s", directive, w.url("screen", name))
}

// withEntries puts the help texts of the entries on a function key, if there
// is one left.
func (w *pxelinuxWriter) withEntries(help []HelpText) []HelpText {
	var text strings.Builder
	for i := range w.menu.Entries {
		if e := &w.menu.Entries[i]; e.Help != "" {
			fmt.Fprintf(&text, "%s: %s\n%s\n\n", e.Name, e.title(), e.Help)
		}
	}
	taken := map[int]bool{}
	for _, h := range help {
		taken[h.Key] = true
	}
	for key := 1; key <= 12 && text.Len() > 0; key++ {
		if !taken[key] {
			return append(help[:len(help):len(help)], HelpText{Key: key, Name: "entries", Text: text.String()})
		}
	}
	return help
}

// screen draws the menu that stands above the prompt.
func (w *pxelinuxWriter) screen(help []HelpText) string {
	m := w.menu
	var s strings.Builder
	fmt.Fprintf(&s, "%s\n\n", m.title())
	width := 0
	for i := range m.Entries {
		width = max(width, len(m.Entries[i].Name))
	}
	for i := range m.Entries {
		e := &m.Entries[i]
		fmt.Fprintf(&s, "  %-*s  %s\n", width, e.Name, e.title())
	}
	fmt.Fprintf(&s, "\nType a name and press Enter. Enter alone boots %s", m.standard())
	if m.Timeout > 0 {
		fmt.Fprintf(&s, ",\nand so does waiting for %v", m.Timeout)
	}
	s.WriteString(".\n")
	if len(help) > 0 {
		s.WriteString("Help:")
		for _, h := range help {
			fmt.Fprintf(&s, "  F%d %s", h.Key, h.Name)
		}
		s.WriteByte('\n')
	}
	return s.String()
}

// entry writes one label.
func (w *pxelinuxWriter) entry(e *Entry) {
	where := fmt.Sprintf("entry %q", e.Name)
	w.caret(where+": title", e.title())
	w.line("\nLABEL %s", e.Name)
	w.line("  MENU LABEL %s", e.title())
	if e.Local {
		w.line("  LOCALBOOT %d", w.LocalBoot)
	} else {
		w.kernel(where, e)
	}
	if e.Help == "" || !w.menu.asks() {
		return
	}
	w.line("  TEXT HELP")
	for line := range strings.SplitSeq(e.Help, "\n") {
		if first, _, _ := strings.Cut(strings.TrimLeft(line, " "), " "); strings.EqualFold(first, "endtext") {
			w.add(where+": help", line, "is where pxelinux would end the text", "begin the line with another word")
		}
		w.line("%s", line)
	}
	w.line("  ENDTEXT")
}

// kernel writes what a label loads.
func (w *pxelinuxWriter) kernel(where string, e *Entry) {
	kernel := w.url(where+": kernel", e.Kernel)
	// The loader makes this line of the directives below.
	line := "BOOT_IMAGE=" + kernel
	w.line("  LINUX %s", kernel)
	if len(e.Params) > 0 {
		w.line("  APPEND %s", strings.Join(e.Params, " "))
		line += " " + strings.Join(e.Params, " ")
	}
	for _, p := range e.Params {
		if strings.Contains(p, "initrd=") {
			w.add(where+": param", shown(p), `has "initrd=" in it, which pxelinux takes for its list of initrds`, "encode the value")
		}
	}
	if len(e.Initrds) > 0 {
		urls := make([]string, len(e.Initrds))
		for i, name := range e.Initrds {
			urls[i] = w.url(where+": initrd", name)
		}
		w.line("  INITRD %s", strings.Join(urls, ","))
		line += " initrd=" + strings.Join(urls, ",")
	}
	if e.addsBOOTIF() {
		// 2 is BOOTIF alone. 1 would add a static ip=, which wins over the
		// ip=dhcp of the entry and leaves the initramfs without DNS.
		w.line("  SYSAPPEND 2")
	} else {
		w.line("  SYSAPPEND 0")
	}
	e.checkLength(&w.problems, line)
}

// tenths returns d in tenths of a second, rounded up; 0 is for ever.
func tenths(d time.Duration) int {
	return int((d + 99*time.Millisecond) / (100 * time.Millisecond))
}

// Probe implements [Renderer]. pxelinux asks, below the directory from which it
// was itself loaded, for "pxelinux.cfg/" and then the machine's UUID, its
// hardware address, its IPv4 address in hexadecimal, which loses a digit at the
// end with every try, and "default".
func (PXELinux) Probe(name string) (Probe, bool) {
	base, ok := inDirectory(name, "pxelinux.cfg")
	switch {
	case !ok:
		return Probe{}, false
	case base == "default":
		return Probe{Default: true}, true
	}
	return probeIdentity(base)
}
