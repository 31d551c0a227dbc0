package pxetest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// grubShell runs GRUB's scripts.
type grubShell struct {
	*grubLoader
	vars     map[string]string
	modules  map[string]bool
	entries  []grubEntry
	commands int
	depth    int
	failed   error // of the last command that failed
	broken   error // of a linux or initrd that failed: what would boot is not whole
	loaded   bool  // a kernel
	waiting  bool  // a kernel that was loaded, also when the next one could not be
	nameless bool  // the kernel has lost its command line: it was loaded over another
	chained  bool  // a boot loader of the disk, which boot starts instead
	state    grubState

	// refused is the last failure to load what boots, also in a condition; refusals
	// counts them.
	refused  error
	refusals int
	loops    int  // that are running
	breaks   int  // of them that a break or continue is yet to leave
	again    bool // it was continue
}

type grubState int

const (
	grubGoesOn grubState = iota
	grubBoots
	grubLeaves // for the firmware's next boot device, or the disk
)

type grubEntry struct {
	id, title string
	body      []grubStatement
	file      string
}

// grubModules is what images have built in: grub-mkimage's as it is called for
// netbooting, and more in a distribution's signed one, which has no http.
func grubModules() []string {
	return strings.Fields("all_video boot cat chain configfile echo efi_gop efifwsetup efinet exfat ext2 fat font gettext gfxmenu gfxterm gzio halt help iso9660 linux linuxefi loadenv loopback ls minicmd net normal part_gpt part_msdos read reboot regexp search sleep test tftp true video")
}

func newGRUBShell(g *grubLoader) *grubShell {
	s := &grubShell{grubLoader: g, vars: make(map[string]string), modules: make(map[string]bool)}
	for _, m := range grubModules() {
		s.modules[m] = true
	}
	s.modules["http"] = !g.signed
	return s
}

func (s *grubShell) set(name, value string) { s.vars[name] = value }

// run is a configuration with its menu.
func (s *grubShell) run(name, text string) error {
	if err := s.script(name, text); err != nil || s.done() {
		return err
	}
	if len(s.entries) == 0 {
		return s.because(fmt.Errorf("%w: %s has no menuentry, and does not boot by itself", ErrConfig, name))
	}
	e, err := s.pickEntry()
	if err != nil {
		return err
	}
	s.failed, s.broken, s.refused = nil, nil, nil
	if _, err := s.list(e.file, e.body); err != nil || s.done() {
		return err
	}
	if s.chained {
		s.boot.Local = true // what is loaded boots at the end of an entry
		return nil
	}
	if s.broken != nil {
		s.failed = s.broken
	}
	if s.broken != nil || !s.loaded {
		return s.because(fmt.Errorf("%w: the menuentry %q boots nothing", ErrConfig, e.id))
	}
	return s.commandLineKept()
}

// commandLineKept is the check before a kernel starts. GRUB for x86, but for those of
// Ubuntu and Red Hat, frees the command line of a kernel that was loaded while another
// was: the machine would hang, and say nothing.
func (s *grubShell) commandLineKept() error {
	if s.nameless {
		return fmt.Errorf("%w: GRUB starts the kernel with an empty command line, because linux succeeded twice before a boot: "+
			"repeat what failed after the first, or reboot", ErrConfig)
	}
	return nil
}

// done: there is nothing left for the script to do.
func (s *grubShell) done() bool {
	s.boot.Local = s.state == grubLeaves
	return s.state != grubGoesOn
}

// because adds the last failure of a command, or of what a script has tested.
func (s *grubShell) because(err error) error {
	switch {
	case s.failed != nil:
		err = fmt.Errorf("%w: %w", err, s.failed)
	case s.refused != nil:
		err = fmt.Errorf("%w: %w", err, s.refused)
	}
	return err
}

func (s *grubShell) pickEntry() (*grubEntry, error) {
	var items []menuItem
	for _, e := range s.entries {
		items = append(items, menuItem{e.id, e.title})
	}
	def := s.vars["default"]
	at := slices.IndexFunc(s.entries, func(e grubEntry) bool { return e.id == def || e.title == def })
	if n, err := strconv.Atoi(def); at < 0 && err == nil && n >= 0 && n < len(s.entries) {
		at = n
	}
	at = max(at, 0) // also of an unknown name: GRUB takes the first
	// No timeout, and -1, wait for ever; 0 does not show the menu.
	seconds, err := strconv.Atoi(s.vars["timeout"])
	timeout := time.Duration(seconds) * time.Second
	if err == nil && seconds == 0 {
		timeout = time.Nanosecond
	}
	name, err := s.pick(items, s.entries[at].id, timeout)
	if err != nil {
		return nil, err
	}
	for i := range s.entries {
		if s.entries[i].id == name {
			return &s.entries[i], nil
		}
	}
	return nil, fmt.Errorf("%w: no menuentry %q", ErrNoChoice, name)
}

func (s *grubShell) script(name, text string) error {
	if s.depth++; s.depth > maxDepth {
		return fmt.Errorf("%w: %s: configurations nested deeper than %d", ErrChainLoop, name, maxDepth)
	}
	defer func() { s.depth-- }()
	l, err := parseGRUB(name, text)
	if err != nil {
		return err
	}
	_, err = s.list(name, l)
	return err
}

// list runs statements; the status is that of the last. A command that fails does
// not end a script. The error is of what GRUB or this machine cannot do at all.
func (s *grubShell) list(file string, l []grubStatement) (bool, error) {
	status := true
	for _, st := range l {
		if s.breaks > 0 {
			break
		}
		var err error
		if status, err = s.statement(file, st); err != nil || s.state != grubGoesOn {
			return status, err
		}
	}
	return status, nil
}

func (s *grubShell) statement(file string, st grubStatement) (bool, error) {
	if s.commands++; s.commands > maxCommands {
		return false, s.because(fmt.Errorf("%w: %s:%d: more than %d commands", ErrConfig, file, st.line, maxCommands))
	}
	if st.loop != nil {
		return s.loop(file, st)
	}
	if st.clauses != nil {
		return s.conditional(file, st)
	}
	words := s.expand(st.words)
	if len(words) == 0 {
		return true, nil
	}
	if st.hasBody {
		return true, s.menuentry(file, st, words[1:])
	}
	err := s.command(words[0], words[1:])
	if err == nil {
		return true, nil
	}
	if s.ctx.Err() != nil {
		return false, err
	}
	at := fmt.Errorf("%s:%d: %s: %w", file, st.line, strings.Join(words, " "), err)
	if isFailure(err) {
		s.failed = at
		switch words[0] {
		case "linux", "linuxefi", "initrd", "initrdefi":
			s.broken, s.refused = at, at
			s.refusals++
		}
		return false, nil
	}
	if !errors.Is(err, ErrNoChoice) && !errors.Is(err, ErrConfig) && !errors.Is(err, ErrChainLoop) {
		at = fmt.Errorf("%w: %w", ErrConfig, at)
	}
	return false, at
}

func (s *grubShell) conditional(file string, st grubStatement) (bool, error) {
	for _, c := range st.clauses {
		ok, err := s.answer(file, c.condition)
		if err != nil || s.state != grubGoesOn {
			return ok, err
		}
		if ok {
			return s.list(file, c.body)
		}
	}
	return s.list(file, st.otherwise)
}

func (s *grubShell) menuentry(file string, st grubStatement, args []string) error {
	e := grubEntry{body: st.body, file: file}
	for i := 0; i < len(args); i++ {
		option, value, hasValue := strings.Cut(args[i], "=")
		switch option {
		case "--class", "--users", "--hotkey", "--id":
			if !hasValue {
				i++
				if i == len(args) {
					return fmt.Errorf("%w: %s:%d: menuentry: %s wants a value", ErrConfig, file, st.line, option)
				}
				value = args[i]
			}
			if option == "--id" {
				e.id = value
			}
		case "--unrestricted":
		default:
			if e.title == "" {
				e.title = args[i]
			}
		}
	}
	if e.title == "" {
		return fmt.Errorf("%w: %s:%d: menuentry without a title", ErrConfig, file, st.line)
	}
	if e.id == "" {
		e.id = e.title
	}
	s.entries = append(s.entries, e)
	return nil
}

// expand puts variables in. One that is not quoted is divided at blanks.
func (s *grubShell) expand(words []grubWord) []string {
	var out []string
	for _, w := range words {
		var b strings.Builder
		open := false
		for _, p := range w {
			text := p.text
			if p.variable {
				text = s.vars[p.text]
			}
			if !p.variable || p.quoted {
				b.WriteString(text)
				open = open || p.quoted || text != ""
				continue
			}
			fields := strings.Fields(text)
			for i, f := range fields {
				if i > 0 || open && strings.IndexAny(text, " \t\n") == 0 {
					if open {
						out = append(out, b.String())
					}
					b.Reset()
				}
				b.WriteString(f)
				open = true
			}
		}
		if open {
			out = append(out, b.String())
		}
	}
	return out
}

// exists fetches a file to see whether it is there.
func (s *grubShell) exists(name string) (bool, error) {
	at, err := s.source(name)
	if err != nil {
		return false, nil
	}
	_, err = s.fetch(grubAgent(), s.stage, at, nil)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && s.ctx.Err() != nil {
		return false, err
	}
	return err == nil, nil
}
