package pxetest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// command runs one command. A failure is what a script may test.
func (s *grubShell) command(name string, args []string) error {
	switch name {
	case "set":
		return s.assign(args)
	case "unset":
		for _, a := range args {
			delete(s.vars, a)
		}
	case "export", "echo", "clear", "terminal_output", "terminal_input", "loadfont", "true", ":":
	case "false":
		return failure("false")
	case "test":
		return s.test(args)
	case "[":
		if len(args) == 0 || args[len(args)-1] != "]" {
			return fmt.Errorf("[ without ]")
		}
		return s.test(args[:len(args)-1])
	case "insmod":
		return s.insmod(args)
	case "sleep":
		return s.sleepFor(args)
	case "linux", "linuxefi":
		return s.linux(args)
	case "initrd", "initrdefi":
		return s.initrd(args)
	case "boot":
		switch {
		case s.chained:
			s.state = grubLeaves
		case !s.loaded:
			return failure("there is no kernel to boot")
		default:
			s.state = grubBoots
			return s.commandLineKept()
		}
	case "break", "continue":
		return s.breakLoop(name, args)
	case "regexp":
		return s.regexp(args)
	case "search":
		// The machine has a disk with everything on it.
		for i, a := range args {
			if name, ok := strings.CutPrefix(a, "--set="); ok {
				s.vars[name] = "hd0,gpt1"
			} else if a == "--set" && i+1 < len(args) {
				s.vars["root"] = "hd0,gpt1"
			}
		}
	case "exit":
		s.state = grubLeaves
	case "chainloader":
		return s.chainloader(args)
	case "source", ".", "configfile":
		return s.configfile(name, args)
	case "halt", "reboot", "fwsetup":
		return fmt.Errorf("%w: the machine would %s", ErrNoChoice, name)
	default:
		if k, v, ok := strings.Cut(name, "="); ok && k != "" {
			return s.assign([]string{k + "=" + v})
		}
		return fmt.Errorf("unknown command %q", name)
	}
	return nil
}

func (s *grubShell) assign(args []string) error {
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if !ok || name == "" || strings.IndexFunc(name, notInGRUBName) >= 0 {
			return fmt.Errorf("%q is no assignment", a)
		}
		if len(value) > maxValue || len(s.vars) > maxSettings {
			return fmt.Errorf("a variable of %d bytes, or more than %d variables", len(value), maxSettings)
		}
		s.vars[name] = value
	}
	return nil
}

// test is a subset of the command: one comparison, with ! before it.
func (s *grubShell) test(args []string) error {
	if len(args) > 0 && args[0] == "!" {
		err := s.test(args[1:])
		if err == nil {
			return failure("! of what is so")
		}
		if isFailure(err) {
			return nil
		}
		return err
	}
	switch {
	case len(args) == 0:
		return failure("nothing to test")
	case len(args) == 1:
		return test(args[0] != "", "it is empty")
	case len(args) == 2 && args[0] == "-z":
		return test(args[1] == "", "%q is not empty", args[1])
	case len(args) == 2 && args[0] == "-n":
		return test(args[1] != "", "it is empty")
	case len(args) == 2 && slices.Contains([]string{"-e", "-f", "-s"}, args[0]):
		ok, err := s.exists(args[1])
		if err != nil {
			return err
		}
		return test(ok, "there is no %q", args[1])
	case len(args) == 3 && (args[1] == "=" || args[1] == "=="):
		return test(args[0] == args[2], "%q is not %q", args[0], args[2])
	case len(args) == 3 && args[1] == "!=":
		return test(args[0] != args[2], "both are %q", args[0])
	case len(args) == 3 && (args[1] == "-eq" || args[1] == "-ne"):
		a, _ := strconv.Atoi(args[0])
		b, _ := strconv.Atoi(args[2])
		return test((a == b) == (args[1] == "-eq"), "%d and %d", a, b)
	}
	return fmt.Errorf("a test that is not played: %q", args)
}

// insmod: what is not built in is a file. Under Secure Boot no file is loaded.
func (s *grubShell) insmod(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("insmod wants one module")
	}
	name := args[0]
	if s.modules[name] {
		return nil
	}
	if s.signed {
		return failure("a signed GRUB loads no modules, and %s is not built in", name)
	}
	ok, err := s.exists("(" + s.root + ")/grub/" + s.vars["grub_cpu"] + "-efi/" + name + ".mod")
	if err != nil {
		return err
	}
	s.modules[name] = ok
	return test(ok, "there is no module %s", name)
}

// regexp matches a POSIX regular expression. --set puts a group into a variable: the
// first one, unless its number stands before the name with a colon.
func (s *grubShell) regexp(args []string) error {
	var sets []string
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		value, ok := strings.CutPrefix(args[0], "--set=")
		if args = args[1:]; !ok {
			value, args = args[0], args[1:]
		}
		sets = append(sets, value)
	}
	if len(args) != 2 {
		return fmt.Errorf("regexp wants an expression and a text")
	}
	expression, err := regexp.CompilePOSIX(args[0])
	if err != nil {
		return failure("%q is no regular expression", args[0])
	}
	groups := expression.FindStringSubmatch(args[1])
	if groups == nil {
		return failure("%q does not match %q", args[1], args[0])
	}
	for _, set := range sets {
		number, name, ok := strings.Cut(set, ":")
		if !ok {
			number, name = "1", set
		}
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return failure("regexp: %q is no number of a group and name", set)
		}
		if n >= uint64(len(groups)) {
			delete(s.vars, name)
		} else if err := s.assign([]string{name + "=" + groups[n]}); err != nil {
			return err
		}
	}
	return nil
}

// chainloader loads a boot loader of the disk, which has them all. Those of the
// network are not played.
func (s *grubShell) chainloader(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("chainloader wants a file")
	}
	device := "(" + s.vars["root"]
	if strings.HasPrefix(args[0], "(") {
		device = args[0]
	}
	if !strings.HasPrefix(device, "(hd") {
		return fmt.Errorf("chainloader %s: only what is on the disk is played", args[0])
	}
	s.loaded, s.waiting, s.chained = false, false, true
	return nil
}

// sleepFor waits. There is nobody to interrupt it.
func (s *grubShell) sleepFor(args []string) error {
	if len(args) > 0 && strings.HasPrefix(args[0], "-") {
		args = args[1:]
	}
	if len(args) != 1 {
		return fmt.Errorf("sleep wants a number of seconds")
	}
	n, err := strconv.ParseUint(args[0], 10, 16)
	if err != nil {
		return fmt.Errorf("sleep: %q is not a number of seconds", args[0])
	}
	return sleep(s.ctx, time.Duration(n)*time.Second)
}

func (s *grubShell) linux(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("linux wants a file")
	}
	s.loaded, s.chained, s.boot.Initrds = false, false, nil
	at, err := s.source(args[0])
	if err != nil {
		return commandFailure{err}
	}
	f, err := s.fetch(grubAgent(), StageKernel, at, nil)
	if err != nil {
		return s.failedFetch(err)
	}
	s.nameless = s.waiting && s.m.Firmware.efiArch() != "aa64"
	s.loaded, s.waiting, s.boot.Kernel = true, true, f
	s.boot.CommandLine = "BOOT_IMAGE=" + quoteGRUBArg(args[0])
	for _, a := range args[1:] {
		s.boot.CommandLine += " " + quoteGRUBArg(a)
	}
	return nil
}

// quoteGRUBArg is how GRUB writes an argument into the kernel's command line.
func quoteGRUBArg(arg string) string {
	arg = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`).Replace(arg)
	if strings.Contains(arg, " ") {
		return `"` + arg + `"`
	}
	return arg
}

func (s *grubShell) initrd(args []string) error {
	switch {
	case len(args) == 0:
		return fmt.Errorf("initrd wants files")
	case !s.loaded:
		return failure("the kernel has to be loaded first")
	}
	s.boot.Initrds = nil
	for _, name := range args {
		at, err := s.source(name)
		if err != nil {
			return commandFailure{err}
		}
		f, err := s.fetch(grubAgent(), StageInitrd, at, nil)
		if err != nil {
			return s.failedFetch(err)
		}
		s.boot.Initrds = append(s.boot.Initrds, f)
	}
	return nil
}

// failedFetch is a failure that scripts may test, unless the boot was given up.
func (s *grubShell) failedFetch(err error) error {
	if s.ctx.Err() != nil {
		return err
	}
	return commandFailure{err}
}

// configfile runs another script, with a menu of its own; source runs it in place.
func (s *grubShell) configfile(name string, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s wants a file", name)
	}
	at, err := s.source(args[0])
	if err != nil {
		return commandFailure{err}
	}
	text, err := s.fetchText(grubAgent(), StageConfig, at)
	if err != nil {
		return s.failedFetch(err)
	}
	if name != "configfile" {
		return s.script(at.String(), text)
	}
	s.boot.Config, s.entries = at.String(), nil
	if err := s.run(at.String(), text); err != nil {
		return err
	}
	if s.state == grubGoesOn {
		s.state = grubBoots
	}
	return nil
}
