package pxetest

import (
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"
)

// exec runs one command. A command that iPXE knows and a boot does not need is an
// error here, as one that it does not know: better told than guessed.
func (s *ipxeShell) exec(name string, args []string) (outcome, error) {
	switch name {
	case "set":
		return outcome{}, s.set(args)
	case "clear":
		return outcome{}, s.set(args)
	case "isset":
		return outcome{}, test(len(args) > 0 && args[0] != "", "isset")
	case "iseq":
		if len(args) != 2 {
			return outcome{}, fmt.Errorf("iseq wants two values, has %q", args)
		}
		return outcome{}, test(args[0] == args[1], "%q is not %q", args[0], args[1])
	case "goto":
		if len(args) != 1 {
			return outcome{}, fmt.Errorf("goto wants one label, has %q", args)
		}
		return outcome{goTo, args[0]}, nil
	case "exit":
		return outcome{kind: leave}, nil
	case "echo", "imgstat", "route", "ifstat", "ifopen", "colour", "cpair", "console", "sync":
		return outcome{}, nil // looks, or what is so already
	case "dhcp", "ifconf":
		return outcome{}, s.dhcp(exchangeOf(s.m.Firmware, true, s.m.HardwareAddr, s.uuid), StageDiscover, StageLease)
	case "sleep":
		n, err := strconv.ParseUint(strings.Join(args, " "), 0, 16)
		if err != nil {
			return outcome{}, fmt.Errorf("sleep %q is not a number of seconds", args)
		}
		return outcome{}, sleep(s.ctx, time.Duration(n)*time.Second)
	case "prompt":
		return outcome{}, s.prompt(args)
	case "menu":
		s.menu, s.inMenu = nil, true
		return outcome{}, nil
	case "item":
		return outcome{}, s.item(args)
	case "choose":
		return outcome{}, s.choose(args)
	case "kernel", "imgselect", "imgload":
		return outcome{}, s.loadImage(StageKernel, args)
	case "initrd", "module", "imgfetch":
		return outcome{}, s.loadImage(StageInitrd, args)
	case "imgargs":
		return outcome{}, s.imgargs(args)
	case "imgfree":
		s.images, s.kernel = nil, -1
		return outcome{}, nil
	case "boot", "chain", "imgexec":
		return s.chain(args)
	case "sanboot":
		_, rest, err := ipxeOptions{"drive": "d:", "no-describe": "n", "keep": "k", "filename": "f:"}.parse(args)
		if err == nil && len(rest) > 0 {
			err = fmt.Errorf("sanboot of %q: this machine has no SAN", rest)
		}
		return outcome{kind: bootDisk}, err
	case "shell":
		return outcome{}, fmt.Errorf("%w: the script ends in iPXE's shell", ErrNoChoice)
	}
	return outcome{}, fmt.Errorf("unknown command %q", name)
}

func test(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return failure(format, args...)
}

// set gives a setting a value; without one it is cleared.
func (s *ipxeShell) set(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("set without a name")
	}
	name, kind, _ := strings.Cut(args[0], ":")
	text := strings.Join(args[1:], " ")
	if text == "" {
		delete(s.vars, name)
		return nil
	}
	if len(text) > maxValue || len(s.vars) > maxSettings {
		return fmt.Errorf("a setting of %d bytes, or more than %d settings", len(text), maxSettings)
	}
	v, err := parseIPXEValue(text, kind)
	if err != nil {
		return err
	}
	s.vars[name] = v
	return nil
}

// prompt waits for a key that nobody presses.
func (s *ipxeShell) prompt(args []string) error {
	options, _, err := ipxeOptions{"key": "k:", "timeout": "t:"}.parse(args)
	if err != nil {
		return err
	}
	wait, err := milliseconds(options["timeout"])
	if err != nil {
		return err
	}
	if wait == 0 {
		return fmt.Errorf("%w: the script waits for a key for ever", ErrNoChoice)
	}
	if err := sleep(s.ctx, wait); err != nil {
		return err
	}
	return failure("no key was pressed")
}

func milliseconds(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 0, 31)
	if err != nil {
		return 0, fmt.Errorf("timeout %q is not a number of milliseconds", text)
	}
	return time.Duration(n) * time.Millisecond, nil
}

func (s *ipxeShell) item(args []string) error {
	options, rest, err := ipxeOptions{"menu": "m:", "key": "k:", "default": "d", "gap": "g"}.parse(args)
	if err != nil {
		return err
	}
	if !s.inMenu {
		return failure("item without a menu")
	}
	if _, gap := options["gap"]; gap || len(rest) == 0 {
		return nil
	}
	s.menu = append(s.menu, menuItem{name: rest[0], title: strings.Join(rest[1:], " ")})
	return nil
}

func (s *ipxeShell) choose(args []string) error {
	options, rest, err := ipxeOptions{"menu": "m:", "default": "d:", "timeout": "t:", "keep": "k"}.parse(args)
	if err != nil {
		return err
	}
	wait, err := milliseconds(options["timeout"])
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return fmt.Errorf("choose wants the name of a setting, has %q", rest)
	}
	if len(s.menu) == 0 {
		return failure("choose without a menu")
	}
	def := options["default"]
	if def == "" {
		def = s.menu[0].name
	}
	name, err := s.pick(s.menu, def, wait)
	if err != nil {
		return err
	}
	return s.set([]string{rest[0], name})
}

// loadImage fetches an image; a kernel is selected.
func (s *ipxeShell) loadImage(stage Stage, args []string) error {
	options, rest, err := ipxeOptions{"name": "n:", "timeout": "t:", "autofree": "a"}.parse(args)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return fmt.Errorf("no URL")
	}
	image, err := s.image(stage, options["name"], rest, nil)
	if err != nil {
		return err
	}
	s.images = append(s.images, image)
	if stage == StageKernel {
		s.kernel = len(s.images) - 1
	}
	return nil
}

func (s *ipxeShell) image(stage Stage, name string, args []string, w io.Writer) (ipxeImage, error) {
	at, err := join(s.cwd, args[0])
	if err != nil {
		return ipxeImage{}, commandFailure{err}
	}
	if name == "" {
		name = path.Base(at.url.Path)
	}
	if len(s.images) > 100 {
		return ipxeImage{}, fmt.Errorf("more than 100 images")
	}
	f, err := s.fetch(ipxeAgent(), stage, at, w)
	if err != nil {
		if s.ctx.Err() != nil || s.failed[at.String()] {
			// A script may try for ever; whoever waits for this boot does not.
			return ipxeImage{}, err
		}
		s.failed[at.String()] = true
		s.errno = ipxeValue{[]byte{0x2d, 0x0c, 0x60, 0x8e}, "uint32"} // iPXE's "no such file"
		return ipxeImage{}, commandFailure{err}
	}
	return ipxeImage{name: name, args: strings.Join(args[1:], " "), file: f}, nil
}

func (s *ipxeShell) imgargs(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("imgargs without an image")
	}
	for i := range s.images {
		if s.images[i].name == args[0] {
			s.images[i].args = strings.Join(args[1:], " ")
			return nil
		}
	}
	return failure("no image %q", args[0])
}

// chain executes a URL; without one, or with the name of an image, what is loaded.
func (s *ipxeShell) chain(args []string) (outcome, error) {
	options, rest, err := ipxeOptions{"name": "n:", "timeout": "t:", "autofree": "a", "replace": "r"}.parse(args)
	if err != nil {
		return outcome{}, err
	}
	if len(rest) == 0 {
		if s.kernel < 0 {
			return outcome{}, failure("no image is selected")
		}
		return s.start(s.images[s.kernel])
	}
	for i, image := range s.images {
		if image.name == rest[0] {
			s.kernel = i
			return s.start(image)
		}
	}
	at, err := join(s.cwd, rest[0])
	if err != nil {
		return outcome{}, commandFailure{err}
	}
	if kindOfLoader(at.url.Path) != loaderUnknown {
		return outcome{kind: booted}, s.ipxeLoad(at)
	}
	var head headWriter
	image, err := s.image(StageConfig, options["name"], rest, &head)
	if err != nil {
		return outcome{}, err
	}
	if isIPXEScript(string(head)) {
		if image.file.Size > maxText {
			return outcome{}, fmt.Errorf("a script of %d bytes", image.file.Size)
		}
		s.boot.Config = at.String()
		o, err := s.script(string(head), at)
		if o.kind == leave { // leaves that script, not this one
			o = outcome{}
		}
		return o, err
	}
	s.images = append(s.images, image)
	s.kernel = len(s.images) - 1
	return s.start(image)
}

// start is the kernel taking over. A UEFI kernel finds only those initrds that its
// command line names; a BIOS kernel gets all.
func (s *ipxeShell) start(kernel ipxeImage) (outcome, error) {
	named := make(map[string]bool)
	for _, word := range strings.Fields(kernel.args) {
		if name, ok := strings.CutPrefix(word, "initrd="); ok {
			named[strings.TrimLeft(name, `\/`)] = true
		}
	}
	s.boot.Initrds = nil
	have := make(map[string]bool)
	for i, image := range s.images {
		if i == s.kernel {
			continue
		}
		have[image.name] = true
		if s.m.Firmware.uefi() && !named[image.name] {
			return outcome{}, fmt.Errorf("%w: a UEFI kernel does not see the initrd %q without initrd=%s: it panics", ErrCommandLine, image.name, image.name)
		}
		s.boot.Initrds = append(s.boot.Initrds, image.file)
	}
	if s.m.Firmware.uefi() {
		for name := range named {
			if !have[name] {
				return outcome{}, fmt.Errorf("%w: initrd=%s names no image that was loaded", ErrCommandLine, name)
			}
		}
	}
	s.boot.Kernel = kernel.file
	s.boot.CommandLine = kernel.args
	return outcome{kind: booted}, nil
}
