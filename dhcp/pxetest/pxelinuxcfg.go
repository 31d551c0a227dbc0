package pxetest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// pxelinuxConfig is what matters of a pxelinux configuration file.
type pxelinuxConfig struct {
	def, onTimeout, ui, display string
	prompt                      bool
	timeout                     time.Duration // 0: for ever
	append                      string
	sysAppend                   int
	menuDefault                 string
	labels                      []pxelinuxLabel
}

type pxelinuxLabel struct {
	name, title string
	kernel      string
	module      bool // given by COM32 or the like: not a kernel
	local       bool
	initrd      string
	append      string
	hasAppend   bool
	sysAppend   int // -1: the global one
}

func (c *pxelinuxConfig) label(name string) *pxelinuxLabel {
	for i := range c.labels {
		if c.labels[i].name == name {
			return &c.labels[i]
		}
	}
	return nil
}

// Bounds against configurations that include themselves or never end.
const (
	maxInclude  = 16 // how deep INCLUDE may nest, as in Syslinux
	maxIncludes = 64 // how many there may be in all
	maxLabels   = 1024
)

// pxelinuxParser reads a configuration as Syslinux 6 does: a directive a line, its
// name in any case, the rest of the line its value, no quoting. Where Syslinux
// prints a complaint and goes on, this is an error that names the line.
type pxelinuxParser struct {
	pxelinuxConfig
	// include fetches a further file.
	include  func(name string) (string, error)
	included int
	cur      *pxelinuxLabel
	inHelp   bool
}

func (p *pxelinuxParser) parse(name, text string, depth int) error {
	if depth > maxInclude {
		return fmt.Errorf("%w: %s: INCLUDE nests deeper than %d", ErrConfig, name, maxInclude)
	}
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		if len(line) > 4095 {
			return fmt.Errorf("%w: %s:%d: the line has %d bytes, Syslinux reads 4095", ErrConfig, name, n, len(line))
		}
		if err := p.line(strings.TrimSpace(line), depth); err != nil {
			return fmt.Errorf("%w: %s:%d: %w", ErrConfig, name, n, err)
		}
	}
	return nil
}

func (p *pxelinuxParser) line(line string, depth int) error {
	keyword, value := cutWord(line)
	keyword = strings.ToLower(keyword)
	if p.inHelp {
		p.inHelp = keyword != "endtext"
		return nil
	}
	switch keyword {
	case "", "label", "default", "ontimeout", "ui", "prompt", "timeout", "display", "include", "menu", "text":
	default:
		if strings.HasPrefix(keyword, "#") {
			return nil
		}
		return p.entry(keyword, value)
	}
	switch keyword {
	case "label":
		name, _ := cutWord(value)
		if name == "" {
			return fmt.Errorf("LABEL without a name")
		}
		if p.label(name) != nil {
			return fmt.Errorf("the label %q comes twice", name)
		}
		if len(p.labels) == maxLabels {
			return fmt.Errorf("more than %d labels", maxLabels)
		}
		p.labels = append(p.labels, pxelinuxLabel{name: name, sysAppend: -1})
		p.cur = &p.labels[len(p.labels)-1]
	case "default":
		p.def = value
	case "ontimeout":
		p.onTimeout = value
	case "ui":
		p.ui = value
	case "display":
		p.display = value
	case "prompt":
		n, err := strconv.Atoi(value)
		p.prompt = n != 0
		return err
	case "timeout": // in tenths of a second
		n, err := strconv.ParseUint(value, 10, 31)
		p.timeout = time.Duration(n) * 100 * time.Millisecond
		return err
	case "include":
		return p.includeFile(value, depth)
	case "menu":
		return p.menu(value, depth)
	case "text":
		p.inHelp = strings.EqualFold(value, "help")
	}
	return nil
}

// entry is a directive that belongs to a label, or before the first one to all.
func (p *pxelinuxParser) entry(keyword, value string) error {
	global := p.cur == nil
	switch keyword {
	case "append":
		if global {
			p.append = value
		} else {
			p.cur.append, p.cur.hasAppend = value, true
		}
	case "sysappend", "ipappend":
		n, err := strconv.ParseInt(value, 0, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("%s %q is not a number", strings.ToUpper(keyword), value)
		}
		if global {
			p.sysAppend = int(n)
		} else {
			p.cur.sysAppend = int(n)
		}
	case "kernel", "linux", "com32", "pxe", "bss", "boot", "fdimage", "initrd", "localboot":
		if global {
			return fmt.Errorf("%s before the first LABEL", strings.ToUpper(keyword))
		}
		if value == "" {
			return fmt.Errorf("%s without a value", strings.ToUpper(keyword))
		}
		switch keyword {
		case "initrd":
			p.cur.initrd = value
		case "localboot":
			p.cur.local = true
		default:
			p.cur.kernel, _ = cutWord(value)
			p.cur.module = keyword != "linux" && (keyword != "kernel" || isModule(p.cur.kernel))
		}
	case "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f0",
		"say", "serial", "console", "font", "kbdmap", "noescape", "nocomplete", "allowoptions",
		"implicit", "totaltimeout", "onerror", "nohalt", "path", "sendcookies", "debug":
	default:
		return fmt.Errorf("unknown directive %q", keyword)
	}
	return nil
}

func (p *pxelinuxParser) menu(value string, depth int) error {
	keyword, rest := cutWord(value)
	switch strings.ToLower(keyword) {
	case "label":
		if p.cur != nil {
			p.cur.title = strings.ReplaceAll(rest, "^", "")
		}
	case "default":
		if p.cur != nil {
			p.menuDefault = p.cur.name
		} else {
			p.menuDefault = rest
		}
	case "include":
		return p.includeFile(rest, depth)
	}
	return nil // the rest is looks
}

func (p *pxelinuxParser) includeFile(value string, depth int) error {
	name, _ := cutWord(value)
	if p.included++; p.included > maxIncludes {
		return fmt.Errorf("more than %d INCLUDEs", maxIncludes)
	}
	text, err := p.include(name)
	if err != nil {
		return err
	}
	return p.parse(name, text, depth+1)
}

func isModule(name string) bool {
	return strings.HasSuffix(strings.ToLower(name), ".c32")
}

// cutWord splits at the first run of blanks.
func cutWord(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}
