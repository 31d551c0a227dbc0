package bootcfg

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/pxekit/pxe/internal/bootvalue"
)

// GRUB renders menus as scripts of GRUB 2, for BIOS and UEFI builds alike, in the
// language as of 2.06. Its zero value is ready to use.
//
// Which of the [Bases] is used is decided on the machine where there are both:
// images that Debian signs have no HTTP and load none under Secure Boot, others
// do. What tells is a further file, "grub/http.cfg", which is there by HTTP
// alone; see [Config].Files. A base by TFTP alone or by HTTP alone is used as it
// is. GRUB knows no https, and ports other than 69 and 80 only as distributions
// patch it (Debian and Fedora do).
//
// An entry that fails shows what failed and is tried again after ten seconds, so
// that a server that was down for a moment brings no machine to a halt. Esc leads
// back to the menu as long as no kernel is loaded, and restarts the machine from
// then on: a GRUB that loads a second kernel without having booted the first starts
// it with an empty command line. The timeout counts whole seconds. The menu's title
// is left out: GRUB's menu has no place for one.
//
// Local entries start, on UEFI, the first boot loader found at the paths that
// distributions and Windows use, because firmware does not go on in its boot
// order when GRUB 2.06 ends; on BIOS, the first disk's boot sector.
//
// The image needs the modules normal, linux, tftp (or http), test, true, echo,
// sleep, reboot, regexp, search and chain: signed images have them, and all_video
// for a picture.
//
// The rules of the language: words end at blanks and at ";", "|", "&", "{", "}",
// "<" and ">"; "$" replaces a variable; "'" keeps everything up to the next "'"
// as it is. So every value stands in such quotes. On its way to the kernel GRUB
// puts a backslash before each backslash: parameters with one are refused.
type GRUB struct{}

// grubHTTP is the file that a machine reads if its GRUB has HTTP.
const grubHTTP = "grub/http.cfg"

// Render implements [Renderer].
func (GRUB) Render(m *Menu, b Bases) (*Config, error) {
	if err := m.renderable(); err != nil {
		return nil, err
	}
	w := &grubWriter{menu: m, bases: b}
	if b.HTTP != nil {
		w.check("HTTP base", b.HTTP.Redacted(), flaw(bootvalue.CheckBase(b.HTTP, "http")))
	}
	if b.TFTP != nil {
		w.check("TFTP base", b.TFTP.Redacted(), flaw(bootvalue.CheckBase(b.TFTP, "tftp")))
	}
	if b.HTTP == nil && b.TFTP == nil {
		w.add("bases", "", "are both missing", "serve files by HTTP or TFTP")
	}
	if _, taken := m.Files[grubHTTP]; taken {
		w.add("menu file", grubHTTP, "has a name that GRUB's own configuration needs", "rename it")
	}
	if err := w.err(); err != nil {
		return nil, err
	}
	c := &Config{}
	w.head(c)
	for i := range m.Entries {
		w.entry(&m.Entries[i])
	}
	w.help()
	if err := w.err(); err != nil {
		return nil, err
	}
	c.Text = []byte(w.text.String())
	return c, nil
}

// Probe implements [Renderer]. GRUB looks in the directory of its prefix, which
// is part of the image ("grub" in Debian's signed one) or where the image itself
// came from, for "grub.cfg-" and the machine's UUID, its hardware address, its
// IPv4 address in hexadecimal, which loses a digit at the end with every try, and
// then for "grub.cfg". Debian's signed image asks for the last one only.
func (GRUB) Probe(name string) (Probe, bool) {
	base := name[strings.LastIndexByte(name, '/')+1:]
	if base == "grub.cfg" {
		return Probe{Default: true}, true
	}
	if machine, ok := strings.CutPrefix(base, "grub.cfg-"); ok {
		return probeIdentity(machine)
	}
	return Probe{}, false
}

// grubWriter writes one script.
type grubWriter struct {
	problems
	menu  *Menu
	bases Bases
	text  strings.Builder
}

// line writes one line of the script.
func (w *grubWriter) line(format string, args ...any) {
	fmt.Fprintf(&w.text, format+"\n", args...)
}

// head writes what comes before the entries.
func (w *grubWriter) head(c *Config) {
	m := w.menu
	// An entry's place, not its name: GRUB takes "2x" for the third entry.
	for i := range m.Entries {
		if m.Entries[i].Name == m.standard() {
			w.line("set default=%d", i)
		}
	}
	switch {
	case !m.asks():
		w.line("set timeout=0")
	case m.Timeout == 0:
		w.line("set timeout=-1")
	default:
		w.line("set timeout=%d", (m.Timeout+time.Second-1)/time.Second)
	}
	w.line("set timeout_style=menu")
	w.line("")
	http, tftp := w.bases.HTTP, w.bases.TFTP
	if http != nil && tftp != nil {
		w.line("set base=%s", grubQuote(w.device(tftp)))
		// An image without HTTP passes over this in silence.
		w.line("source %s", grubQuote(w.device(http)+"/"+grubHTTP))
		c.Files = map[string][]byte{grubHTTP: []byte("set base=" + grubQuote(w.device(http)) + "\n")}
	} else if http != nil {
		w.line("set base=%s", grubQuote(w.device(http)))
	} else {
		w.line("set base=%s", grubQuote(w.device(tftp)))
	}
	// The variable has colons; most initramfs want dashes.
	w.line(`set bootif="$net_default_mac"`)
	w.line(`if regexp --set 1:a --set 2:b --set 3:c --set 4:d --set 5:e --set 6:f '^(..):(..):(..):(..):(..):(..)$' "$net_default_mac"; then`)
	w.line(`  set bootif="01-$a-$b-$c-$d-$e-$f"`)
	w.line("fi")
}

// device returns a base in GRUB's words, without the slash at its end.
func (w *grubWriter) device(base *url.URL) string {
	return "(" + base.Scheme + "," + base.Host + ")" + strings.TrimSuffix(w.path("base", base.Path), "/")
}

// path returns a path as GRUB asks for it by HTTP and by TFTP alike: it encodes
// nothing itself, so what HTTP wants encoded is no name by TFTP.
func (w *grubWriter) path(where, path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if c := path[i]; strings.IndexByte("+,=:@", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteString(escapePath(path[i : i+1]))
		}
	}
	if w.bases.TFTP != nil && b.String() != path {
		w.add(where, path, "has characters in it that GRUB cannot ask for by both HTTP and TFTP",
			"use letters, digits and '-._~/+,=:@', or give an HTTP base alone")
	}
	return b.String()
}

// file returns the word of the script that names a file.
func (w *grubWriter) file(where, name string) string {
	return `"$base"` + grubQuote("/"+w.path(where, name))
}

// entry writes one entry: what it does is tried again until it succeeds or the
// user presses Esc.
func (w *grubWriter) entry(e *Entry) {
	w.line("\nmenuentry %s --id %s {", grubQuote(e.title()), grubQuote(e.Name))
	w.line("  while true; do")
	if e.Local {
		w.local()
	} else {
		w.kernel(e)
	}
	w.again("    ", e, "for the menu", "break")
	w.line("  done")
	w.line("}")
}

// again writes the end of a loop: what has failed, and the wait for the next round,
// in which Esc does what and runs the command.
func (w *grubWriter) again(indent string, e *Entry, what, command string) {
	w.line("%secho %s", indent, grubQuote(" Failed: "+e.title()))
	w.line("%secho %s", indent, grubQuote(fmt.Sprintf(" Press Esc %s, or wait %v to try again.", what, retryDelay)))
	w.line("%sif sleep --interruptible %d; then true; else %s; fi", indent, int(retryDelay.Seconds()), command)
}

// kernel writes the commands that start a kernel.
//
// No linux may follow one that succeeded: upstream GRUB and Debian's then throw away what
// belongs to the former, and takes the command line of the latter for it. The kernel
// starts with none, and hangs without a word. So what is left to do goes on in a loop
// of its own, which has no end but the start of the kernel or of the machine: a
// return to the menu would let the user load another kernel, and GRUB itself start
// this one without its initrd.
func (w *grubWriter) kernel(e *Entry) {
	where := fmt.Sprintf("entry %q", e.Name)
	words := []string{w.file(where+": kernel", e.Kernel)}
	for _, p := range e.Params {
		if strings.Contains(p, `\`) {
			w.add(where+": param", shown(p), "has a backslash in it, which GRUB would double", "encode the value")
		}
		words = append(words, grubQuote(p))
	}
	w.checkLine(e)
	if e.addsBOOTIF() {
		words = append(words, `"BOOTIF=$bootif"`)
	}
	w.line("    echo %s", grubQuote(" Loading "+e.title()))
	start := "boot"
	if len(e.Initrds) > 0 {
		initrds := make([]string, len(e.Initrds))
		for i, name := range e.Initrds {
			initrds[i] = w.file(where+": initrd", name)
		}
		start = "if initrd " + strings.Join(initrds, " ") + "; then boot; fi"
	}
	w.line("    if linux %s; then", strings.Join(words, " "))
	w.line("      while true; do")
	w.line("        %s", start)
	w.again("        ", e, "to restart the machine", "reboot")
	w.line("      done")
	w.line("    fi")
}

// checkLine refuses a command line that the kernel would cut off, by whichever
// base the kernel comes.
func (w *grubWriter) checkLine(e *Entry) {
	longest := ""
	for _, base := range []*url.URL{w.bases.HTTP, w.bases.TFTP} {
		if base == nil {
			continue
		}
		device := "(" + base.Scheme + "," + base.Host + ")" + base.Path
		if len(device) > len(longest) {
			longest = device
		}
	}
	e.checkLength(&w.problems, strings.Join(append([]string{"BOOT_IMAGE=" + longest + e.Kernel}, e.Params...), " "))
}

// grubLoaders are where operating systems put their boot loaders on a disk,
// without the processor's name and ".efi": a fallback, which may be a leftover,
// comes last.
const grubLoaders = "/EFI/debian/shim /EFI/ubuntu/shim /EFI/fedora/shim /EFI/redhat/shim /EFI/centos/shim " +
	"/EFI/rocky/shim /EFI/almalinux/shim /EFI/opensuse/shim /EFI/sles/shim /EFI/systemd/systemd-boot /EFI/BOOT/BOOT"

// local writes what boots the local disk.
func (w *grubWriter) local() {
	w.line(`    if [ "$grub_platform" = efi ]; then`)
	w.line("      echo ' Looking for a boot loader on the disks'")
	w.line("      set cpu=x64")
	w.line(`      if [ "$grub_cpu" = i386 ]; then set cpu=ia32; fi`)
	w.line(`      if [ "$grub_cpu" = arm64 ]; then set cpu=aa64; fi`)
	w.line("      for loader in %s; do", grubLoaders)
	w.line(`        if search --no-floppy --set=disk --file "$loader$cpu.efi"; then`)
	w.line(`          if chainloader "($disk)$loader$cpu.efi"; then boot; fi`)
	w.line("        fi")
	w.line("      done")
	w.line("      if search --no-floppy --set=disk --file /EFI/Microsoft/Boot/bootmgfw.efi; then")
	w.line(`        if chainloader "($disk)/EFI/Microsoft/Boot/bootmgfw.efi"; then boot; fi`)
	w.line("      fi")
	w.line("      exit 1")
	w.line("    fi")
	w.line("    if chainloader '(hd0)+1'; then boot; fi")
}

// help writes the help texts as further entries of the menu.
func (w *grubWriter) help() {
	if !w.menu.asks() {
		return
	}
	var text strings.Builder
	for i := range w.menu.Entries {
		if e := &w.menu.Entries[i]; e.Help != "" {
			fmt.Fprintf(&text, "%s\n%s\n\n", e.title(), e.Help)
		}
	}
	for _, h := range w.menu.Help {
		w.screen(h, fmt.Sprintf("--hotkey=f%d ", h.Key))
	}
	if text.Len() > 0 {
		w.screen(HelpText{Name: "entries", Text: text.String()}, "")
	}
}

// screen writes an entry that shows a text.
func (w *grubWriter) screen(h HelpText, hotkey string) {
	// No entry's name has a colon in it.
	w.line("\nmenuentry %s %s--id 'help:%s' {", grubQuote("Help: "+h.Name), hotkey, fmt.Sprint(h.Key))
	w.line("  set pager=1")
	for line := range strings.SplitSeq(strings.TrimRight(h.Text, "\n"), "\n") {
		// Behind a blank nothing is an option of echo.
		w.line("  echo %s", grubQuote(" "+line))
	}
	w.line("  set pager=0")
	w.line("  echo ' Press Esc to get back to the menu.'")
	w.line("  sleep --interruptible %d", int(grubScreen.Seconds()))
	w.line("}")
}

// grubScreen is how long a help text stays: GRUB has no command that waits for a
// key without an end.
const grubScreen = 10 * time.Minute

// grubQuote returns a word of GRUB's language that means s. The quotes end for an
// apostrophe, which a backslash keeps.
func grubQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
