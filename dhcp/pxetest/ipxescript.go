package pxetest

import (
	"fmt"
	"net/url"
	"strings"
)

// ipxeShell is iPXE at work on scripts.
type ipxeShell struct {
	*run
	vars     map[string]ipxeValue
	menu     []menuItem
	inMenu   bool
	images   []ipxeImage
	kernel   int // index in images, -1: none selected
	commands int
	depth    int
	failed   map[string]bool // URLs that could not be loaded
	errno    ipxeValue
	cwd      *url.URL // what relative URLs are relative to
}

type ipxeImage struct {
	name string
	args string
	file File
}

// Bounds against scripts that never end.
const (
	maxCommands = 10000
	maxDepth    = 16
	maxSettings = 1000
)

// commandFailure is a command that failed: the script may go on behind "||".
type commandFailure struct{ err error }

func (f commandFailure) Error() string { return f.err.Error() }
func (f commandFailure) Unwrap() error { return f.err }

func isFailure(err error) bool {
	_, ok := err.(commandFailure) // not one further down: what wraps it ends the boot
	return ok
}

func failure(format string, args ...any) error {
	return commandFailure{fmt.Errorf(format, args...)}
}

// outcome is how a script, or a command, moves control.
type outcome struct {
	kind  outcomeKind
	label string
}

type outcomeKind int

const (
	goOn outcomeKind = iota
	goTo
	leave    // exit
	bootDisk // sanboot
	booted   // a kernel was started
)

func isIPXEScript(text string) bool {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimRight(line, "\r \t") == "#!ipxe"
}

// ipxeScript runs the script that iPXE was booted with.
func (r *run) ipxeScript(text string, at source) error {
	s := &ipxeShell{run: r, vars: make(map[string]ipxeValue), kernel: -1, failed: make(map[string]bool)}
	o, err := s.script(text, at)
	if err != nil {
		return err
	}
	switch o.kind {
	case booted:
		return nil
	case leave, bootDisk:
		r.boot.Local = true
		return nil
	}
	return fmt.Errorf("%w: the script %s ends without boot or exit", ErrConfig, at)
}

// ipxeLine is a line of a script with its continuations.
type ipxeLine struct {
	number int
	words  []string
}

// parseIPXEScript splits a script; a line that ends in a backslash goes on in the
// next one.
func parseIPXEScript(text string) (lines []ipxeLine, labels map[string]int) {
	labels = make(map[string]int)
	number, joined, from := 0, "", 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		if from == 0 {
			from = number
		}
		line = strings.TrimRight(line, "\r")
		if rest, ok := strings.CutSuffix(line, `\`); ok {
			joined += rest
			continue
		}
		words := strings.FieldsFunc(joined+line, isBlank)
		if len(words) > 0 && strings.HasPrefix(words[0], ":") {
			if _, again := labels[words[0][1:]]; !again {
				labels[words[0][1:]] = len(lines)
			}
		} else if len(words) > 0 {
			lines = append(lines, ipxeLine{from, words})
		}
		joined, from = "", 0
	}
	return lines, labels
}

// firstCommand returns the name of a script's first command, "" if it has none.
func firstCommand(text string) string {
	lines, _ := parseIPXEScript(text)
	for _, line := range lines {
		if word := line.words[0]; word[0] != '#' {
			return word
		}
	}
	return ""
}

// isBlank is C's isspace: no other blanks divide words in iPXE.
func isBlank(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) }

// script runs a script to its end.
func (s *ipxeShell) script(text string, at source) (outcome, error) {
	if s.depth++; s.depth > maxDepth {
		return outcome{}, fmt.Errorf("%w: scripts chain deeper than %d, at %s", ErrChainLoop, maxDepth, at)
	}
	previous := s.cwd
	s.cwd = at.url
	defer func() { s.cwd = previous; s.depth-- }()

	lines, labels := parseIPXEScript(text)
	for pc := 0; pc < len(lines); pc++ {
		line := lines[pc]
		o, err := s.line(line.words)
		if err != nil {
			soft := isFailure(err)
			err := fmt.Errorf("%w: %s:%d: %s: %w", ErrConfig, at, line.number, strings.Join(line.words, " "), err)
			if soft {
				err = commandFailure{err} // a script that chained this one may go on
			}
			return outcome{}, err
		}
		switch o.kind {
		case goOn:
		case goTo:
			to, ok := labels[o.label]
			if !ok {
				return outcome{}, fmt.Errorf("%w: %s:%d: goto %s: no such label", ErrConfig, at, line.number, o.label)
			}
			pc = to - 1
		default:
			return o, nil
		}
	}
	return outcome{}, nil
}

// line runs the commands of a line: "||", "&&" and ";" between them, as words of
// their own, say whether the next one runs. A word that begins with # ends it.
func (s *ipxeShell) line(words []string) (outcome, error) {
	var result error
	for process := true; ; {
		n := 0
		for n < len(words) && words[n] != "||" && words[n] != "&&" && words[n] != ";" && words[n][0] != '#' {
			n++
		}
		if process {
			var o outcome
			o, result = s.command(words[:n])
			if result != nil && !isFailure(result) {
				return outcome{}, result
			}
			if result == nil && o.kind != goOn {
				return o, nil
			}
		}
		if n == len(words) || words[n][0] == '#' {
			return outcome{}, result
		}
		switch words[n] {
		case "||":
			process = result != nil
		case "&&":
			process = result == nil
		default:
			process = true
		}
		words = words[n+1:]
	}
}

// command expands the words of a command and runs it. Nothing at all succeeds.
func (s *ipxeShell) command(words []string) (outcome, error) {
	if len(words) == 0 {
		return outcome{}, nil
	}
	if s.commands++; s.commands > maxCommands {
		return outcome{}, fmt.Errorf("still running after %d commands", maxCommands)
	}
	argv := make([]string, len(words))
	for i, w := range words {
		var err error
		if argv[i], err = s.expand(w); err != nil {
			return outcome{}, err
		}
	}
	return s.exec(argv[0], argv[1:])
}

// ipxeOptions are the options that a command takes: "n:" has a value, "n" none.
type ipxeOptions map[string]string

// parse reads options as getopt does, up to the first word that is none.
func (spec ipxeOptions) parse(args []string) (options map[string]string, rest []string, err error) {
	options = make(map[string]string)
	for len(args) > 0 {
		arg := args[0]
		if arg == "--" {
			return options, args[1:], nil
		}
		if len(arg) < 2 || arg[0] != '-' {
			break
		}
		name, value, inline := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if !strings.HasPrefix(arg, "--") {
			value, inline = arg[2:], len(arg) > 2
			name = spec.long(arg[1:2])
		}
		short, ok := spec[name]
		if !ok {
			return nil, nil, fmt.Errorf("unknown option %q", arg)
		}
		args = args[1:]
		if strings.HasSuffix(short, ":") && !inline {
			if len(args) == 0 {
				return nil, nil, fmt.Errorf("option %q without a value", arg)
			}
			value, args = args[0], args[1:]
		}
		options[name] = value
	}
	return options, args, nil
}

func (spec ipxeOptions) long(letter string) string {
	for name, short := range spec {
		if strings.TrimSuffix(short, ":") == letter {
			return name
		}
	}
	return ""
}
