package bootcfg

import (
	"strings"
)

// ipxeCommand is one command as iPXE hands it to its implementation.
type ipxeCommand struct {
	argv []string // after expansion
	next string   // "||", "&&", ";" or ""
}

// ipxeSplit splits one line into commands as iPXE's core/exec.c does.
func ipxeSplit(line string, settings map[string]string) []ipxeCommand {
	var out []ipxeCommand
	var cmd ipxeCommand
	for _, token := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) }) {
		if token[0] == '#' {
			break
		}
		if token == "||" || token == "&&" || token == ";" {
			cmd.next = token
			out = append(out, cmd)
			cmd = ipxeCommand{}
			continue
		}
		cmd.argv = append(cmd.argv, ipxeExpand(token, settings))
	}
	return append(out, cmd)
}

// ipxeExpand replaces settings as core/settings.c does: the last "${" before the
// first "}" again and again, until there is none left.
func ipxeExpand(s string, settings map[string]string) string {
	for range 1000 {
		end, start := -1, -1
		for i := 0; i < len(s); i++ {
			if strings.HasPrefix(s[i:], "${") {
				start = i
			}
			if start >= 0 && s[i] == '}' {
				end = i
				break
			}
		}
		if end < 0 {
			return s
		}
		s = s[:start] + settings[s[start+2:end]] + s[end+1:]
	}
	return s
}

// ipxeLines joins continued lines of a script.
func ipxeLines(script string) []string {
	var out []string
	line := ""
	for l := range strings.SplitSeq(script, "\n") {
		line += strings.TrimSuffix(l, "\r")
		if strings.HasSuffix(line, "\\") {
			line = strings.TrimSuffix(line, "\\")
			continue
		}
		out = append(out, line)
		line = ""
	}
	return out
}

// ipxeEntryModel is what a script does for one entry.
type ipxeEntryModel struct {
	kernel  string
	args    []string
	initrds []string
	local   bool
}

// ipxeModel is what a script amounts to.
type ipxeModel struct {
	title    string
	selected string
	wait     string
	entries  map[string]*ipxeEntryModel
	help     map[string][]string // echoed lines by label
	items    map[string]string
	unknown  []string
}

// parseIPXE reads a script with the rules of iPXE, without running it: each
// command is looked at once.
func parseIPXE(script string) *ipxeModel {
	m := &ipxeModel{entries: map[string]*ipxeEntryModel{}, help: map[string][]string{}, items: map[string]string{}}
	settings := map[string]string{"netX/mac:hexhyp": "02-00-00-00-00-01"}
	label := ""
	for i, line := range ipxeLines(script) {
		if i == 0 && line == "#!ipxe" {
			continue
		}
		line = strings.TrimLeft(line, " ")
		if strings.HasPrefix(line, ":") {
			label, line, _ = strings.Cut(line[1:], " ")
			if name, ok := strings.CutPrefix(label, ipxeEntry); ok {
				m.entries[name] = &ipxeEntryModel{}
			}
		}
		for _, c := range ipxeSplit(line, settings) {
			m.command(label, c.argv, settings)
		}
	}
	return m
}

// command notes one command.
func (m *ipxeModel) command(label string, argv []string, settings map[string]string) {
	if len(argv) == 0 {
		return
	}
	e := m.entries[strings.TrimPrefix(label, ipxeEntry)]
	rest := func(n int) string { return strings.Join(argv[n:], " ") }
	switch argv[0] {
	case "set":
		value := rest(2)
		if argv[1] == "sp:hex" {
			settings["sp:string"] = " "
			return
		}
		settings[argv[1]] = value
		if label == "" && argv[1] == "selected" {
			m.selected = strings.TrimPrefix(value, ipxeEntry)
		}
		if label == "" && argv[1] == "wait" {
			m.wait = value
		}
	case "menu":
		m.title = rest(2)
	case "item":
		if argv[1] != "--gap" {
			m.items[argv[1]] = rest(2)
		}
	case "echo":
		if strings.HasPrefix(label, ipxeHelp) && len(argv) > 1 {
			m.help[label] = append(m.help[label], rest(2))
		}
	case "kernel":
		e.kernel, e.args = argv[1], argv[2:]
	case "initrd":
		e.initrds = append(e.initrds, argv[2]+"="+argv[3])
	case "sanboot":
		e.local = true
	case "choose", "goto", "shell", "prompt", "imgfree", "boot", "iseq", "exit":
	default:
		m.unknown = append(m.unknown, rest(0))
	}
}

// pxelinuxLabel is one label of a configuration.
type pxelinuxLabel struct {
	name, title, kernel, initrd, append, local string
	sysappend                                  string
	help                                       []string
}

// pxelinuxModel is what a configuration amounts to.
type pxelinuxModel struct {
	global map[string]string
	labels []*pxelinuxLabel
	bad    []string
}

// parsePXELinux reads a configuration with the rules of Syslinux 6.04's
// readconfig.c.
func parsePXELinux(text string) *pxelinuxModel {
	m := &pxelinuxModel{global: map[string]string{}}
	var label *pxelinuxLabel
	help := false
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if len(line) > 4094 {
			m.bad = append(m.bad, "long line")
		}
		trimmed := strings.TrimLeft(line, " \t")
		word, rest, _ := strings.Cut(trimmed, " ")
		rest = strings.TrimLeft(rest, " ")
		if help {
			if strings.EqualFold(word, "endtext") {
				help = false
			} else {
				label.help = append(label.help, line)
			}
			continue
		}
		switch key := strings.ToLower(word); key {
		case "":
		case "label":
			label = &pxelinuxLabel{name: rest}
			m.labels = append(m.labels, label)
		case "menu":
			what, value, _ := strings.Cut(rest, " ")
			if strings.EqualFold(what, "label") && label != nil {
				label.title = value
			} else {
				m.global["menu "+strings.ToLower(what)] = value
			}
		case "linux":
			label.kernel = rest
		case "append":
			label.append = rest
		case "initrd":
			label.initrd = rest
		case "sysappend":
			label.sysappend = rest
		case "localboot":
			label.local = rest
		case "text":
			help = true
		case "prompt", "timeout", "default", "ontimeout", "display", "ui",
			"f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12":
			m.global[key] = rest
		default:
			m.bad = append(m.bad, line)
		}
	}
	return m
}

// commandLine is what pxelinux hands to the kernel, and the initrds that it
// loads: those behind the first "initrd=" in it.
func (l *pxelinuxLabel) commandLine() (line string, initrds []string) {
	line = "BOOT_IMAGE=" + l.kernel + " " + l.append
	if l.initrd != "" {
		line += " initrd=" + l.initrd
	}
	if _, list, ok := strings.Cut(line, "initrd="); ok {
		list, _, _ = strings.Cut(list, " ")
		initrds = strings.Split(list, ",")
	}
	if l.sysappend == "2" {
		line += " BOOTIF=01-02-00-00-00-00-01"
	}
	return line, initrds
}

// parseArchiso reads a command line as the initramfs does: words at blanks,
// quotes around a value, '#' ends it, a bare word is "y", the last one wins.
func parseArchiso(line string) map[string]string {
	out := map[string]string{}
	var key, quoted string
	var quote byte
	for _, w := range strings.Fields(line) {
		if quote != 0 {
			quoted += " " + w
			if w[len(w)-1] == quote {
				out[key] = quoted[:len(quoted)-1]
				quote = 0
			}
			continue
		}
		if w[0] == '#' {
			break
		}
		k, v, has := strings.Cut(w, "=")
		switch {
		case !has:
			out[k] = "y"
		case v != "" && (v[0] == '"' || v[0] == '\''):
			if len(v) > 1 && v[len(v)-1] == v[0] {
				out[k] = v[1 : len(v)-1]
			} else {
				key, quote, quoted = k, v[0], v[1:]
			}
		default:
			out[k] = v
		}
	}
	return out
}
