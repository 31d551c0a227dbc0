package bootcfg

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// grubNode is a command, or an if or a loop with what it holds.
type grubNode struct {
	argv                  []string // of a command, or "if", "while", "for"
	cond, body, otherwise []grubNode
}

// grubTree is a script as GRUB runs it, its words in commands and keywords.
type grubTree struct{ tokens [][]string }

// treeOfGRUB returns the bodies of a script's entries.
func treeOfGRUB(t *testing.T, script, platform string) (entries [][]grubNode) {
	words, bad := grubWords(script, map[string]string{"grub_platform": platform})
	require.Empty(t, bad)
	p := &grubTree{}
	var command []string
	for _, w := range append(words, grubWord{"\n", true}) {
		if !w.mark {
			command = append(command, w.value)
			continue
		}
		for len(command) > 0 && slices.Contains([]string{"if", "then", "else", "while", "do"}, command[0]) {
			p.tokens, command = append(p.tokens, command[:1]), command[1:]
		}
		if len(command) > 0 {
			p.tokens, command = append(p.tokens, command), nil
		}
		if w.value == "}" {
			p.tokens = append(p.tokens, []string{"}"})
		}
	}
	for _, n := range p.list("") {
		if n.argv[0] == "menuentry" {
			entries = append(entries, n.body)
		}
	}
	return entries
}

// list reads up to one of the keywords, and over it.
func (p *grubTree) list(until ...string) (nodes []grubNode) {
	for len(p.tokens) > 0 {
		n := grubNode{argv: p.tokens[0]}
		if slices.Contains(until, n.argv[0]) && n.argv[0] != "else" {
			p.tokens = p.tokens[1:]
			return nodes
		}
		if slices.Contains(until, n.argv[0]) {
			return nodes // the else is looked at by its if
		}
		p.tokens = p.tokens[1:]
		switch n.argv[0] {
		case "menuentry":
			n.body = p.list("}")
		case "if":
			n.cond, n.body = p.list("then"), p.list("else", "fi")
			if len(p.tokens) > 0 && p.tokens[0][0] == "else" {
				p.tokens = p.tokens[1:]
				n.otherwise = p.list("fi")
			}
		case "while":
			n.cond, n.body = p.list("do"), p.list("done")
		case "for":
			p.list("do")
			n.body = p.list("done")
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// grubRun is a GRUB that runs entries: what it has loaded, and how that ends.
type grubRun struct {
	// answer says whether a linux, initrd, chainloader, boot or sleep succeeds; a
	// sleep does not when the user presses Esc.
	answer func(command string) bool
	// set: a loader is set, loaded: the linux module has a kernel; a linux that fails
	// takes back the latter only.
	set, loaded bool
	chained     bool
	kernel      []string
	initrds     []string
	end         string // "booted", "chained", "restarted" or "left"
	rounds      int
}

// entry runs one. At its end GRUB boots what is loaded.
func (r *grubRun) entry(body []grubNode) {
	if r.list(body); r.end == "" && r.set {
		r.command([]string{"boot"})
	}
}

// list runs commands: the status of the last, and whether to leave the loop.
func (r *grubRun) list(nodes []grubNode) (status, leave bool) {
	status = true
	for _, n := range nodes {
		switch n.argv[0] {
		case "if":
			branch := n.body
			if ok, _ := r.list(n.cond); !ok {
				branch = n.otherwise
			}
			status, leave = r.list(branch)
		case "while":
			for r.end == "" {
				if r.rounds++; r.rounds > 100 {
					r.end = "turned in circles"
				}
				if ok, _ := r.list(n.cond); !ok {
					break
				}
				if _, left := r.list(n.body); left {
					break
				}
			}
		case "for":
			status, leave = r.list(n.body)
		case "break":
			return true, true
		default:
			status = r.command(n.argv)
		}
		if leave || r.end != "" {
			return status, leave
		}
	}
	return status, false
}

func (r *grubRun) command(argv []string) bool {
	switch argv[0] {
	case "linux":
		if r.loaded = r.answer("linux"); !r.loaded {
			return false
		}
		r.kernel, r.initrds = argv[1:], nil
		if r.set && !r.chained {
			// Setting the loader unloads the one before, which is this one: its
			// command line is freed.
			r.kernel = nil
		}
		r.set, r.chained = true, false
	case "initrd":
		if !r.loaded || !r.answer("initrd") {
			return false
		}
		r.initrds = argv[1:]
	case "chainloader":
		if !r.answer("chainloader") {
			return false
		}
		r.set, r.chained, r.loaded = true, true, false
	case "boot":
		switch {
		case !r.set || !r.answer("boot"):
			return false
		case r.chained:
			r.end = "chained"
		default:
			r.end = "booted"
		}
	case "sleep":
		return r.answer("sleep")
	case "reboot":
		r.end = "restarted"
	case "exit":
		r.end = "left"
	case "[":
		return argv[1] == argv[3]
	}
	return true
}

// grubScript renders the full menu.
func grubScript(t *testing.T) string {
	t.Helper()
	c, err := GRUB{}.Render(grubMenu(), bases())
	require.NoError(t, err)
	return string(c.Text)
}

// What an entry does when files are missing, and when the user presses Esc then. Where
// the user is back in the menu, the next number is the entry that is chosen there.
func TestGRUBTriesAgain(t *testing.T) {
	entries := treeOfGRUB(t, grubScript(t), "pc")
	for name, test := range map[string]struct{ steps, end string }{
		"at once":                        {"0 linux+ initrd+ boot+", "booted"},
		"initrd missing once":            {"0 linux+ initrd- sleep+ initrd+ boot+", "booted"},
		"initrd missing for a while":     {"0 linux+ initrd- sleep+ initrd- sleep+ initrd- sleep+ initrd+ boot+", "booted"},
		"kernel fails twice":             {"0 linux- sleep+ linux- sleep+ linux+ initrd+ boot+", "booted"},
		"kernel fails, then initrd":      {"0 linux- sleep+ linux+ initrd- sleep+ initrd+ boot+", "booted"},
		"boot fails":                     {"0 linux+ initrd+ boot- sleep+ initrd+ boot+", "booted"},
		"boot without initrd fails":      {"1 linux+ boot- sleep+ boot+", "booted"},
		"another kernel":                 {"0 linux- sleep- 1 linux+ boot+", "booted"},
		"disk after a missing kernel":    {"0 linux- sleep- 3 chainloader+ boot+", "chained"},
		"a kernel after the disk failed": {"3 chainloader+ boot- sleep- boot- 1 linux+ boot+", "booted"},
		"help, then a kernel":            {"4 sleep- 0 linux+ initrd+ boot+", "booted"},
		// The menu has other kernels.
		"Esc after an initrd":    {"0 linux+ initrd- sleep-", "restarted"},
		"Esc later":              {"0 linux+ initrd- sleep+ initrd- sleep-", "restarted"},
		"Esc after a boot":       {"1 linux+ boot- sleep-", "restarted"},
		"Esc in another's place": {"0 linux- sleep- 1 linux+ boot- sleep-", "restarted"},
	} {
		t.Run(name, func(t *testing.T) {
			steps := strings.Fields(test.steps)
			r := &grubRun{answer: func(command string) bool {
				require.NotEmpty(t, steps, "there is a further %s", command)
				require.Contains(t, []string{command + "+", command + "-"}, steps[0])
				ok := steps[0] == command+"+"
				steps = steps[1:]
				return ok
			}}
			for r.end == "" {
				require.NotEmpty(t, steps, "it is back in the menu")
				n := int(steps[0][0] - '0')
				steps = steps[1:]
				r.entry(entries[n])
			}
			require.Empty(t, steps)
			require.Equal(t, test.end, r.end)
			if r.end == "booted" {
				require.NotEmpty(t, r.kernel, "the command line")
			}
		})
	}
}

// grubOutcome plays one course of things: each bit of course says whether what is
// done next succeeds, or which entry is chosen. What comes after that succeeds.
func grubOutcome(entries [][]grubNode, course uint) *grubRun {
	bits := 12
	next := func() bool {
		if bits == 0 {
			return true
		}
		ok := course&1 != 0
		course, bits = course>>1, bits-1
		return ok
	}
	r := &grubRun{answer: func(string) bool { return next() }}
	for r.end == "" {
		n := 0
		for _, value := range []int{1, 2} {
			if !next() {
				n += value
			}
		}
		if r.rounds++; r.rounds > 100 {
			r.end = "turned in circles"
		}
		r.entry(entries[n])
	}
	return r
}

// flawed returns what is wrong with the kernel that starts; "": nothing, or none does.
func (r *grubRun) flawed() string {
	switch {
	case r.end == "turned in circles":
		return r.end
	case r.end != "booted":
		return ""
	case len(r.kernel) == 0:
		return "no command line"
	case strings.HasSuffix(r.kernel[0], "/a/vmlinuz,1") != (len(r.initrds) == 2):
		return fmt.Sprintf("%s with %d initrds", r.kernel[0], len(r.initrds))
	}
	return ""
}

// Whatever fails and whatever the user does, a kernel has its command line and initrds.
func TestS007_GRUBLoadsNoSecondKernel(t *testing.T) {
	for _, platform := range []string{"pc", "efi"} {
		entries := treeOfGRUB(t, grubScript(t), platform)
		ends := map[string]int{}
		for course := range uint(1 << 12) {
			r := grubOutcome(entries, course)
			require.Empty(t, r.flawed(), "%012b", course)
			ends[r.end]++
		}
		require.NotZero(t, ends["booted"])
		require.NotZero(t, ends["restarted"])
	}
}

// Scripts that go back to linux lose the command line, and those that leave the entry
// start the kernel without its initrd.
func TestS007_WhatGoesWrongOtherwise(t *testing.T) {
	for _, test := range []struct{ initrd, failed, want string }{
		{"if initrd a b; then boot; fi", "true", "no command line"},
		{"if initrd a b; then boot; fi", "break", "/a/vmlinuz,1 with 0 initrds"},
	} {
		script := strings.Repeat("menuentry x {\nwhile true; do\nif linux /a/vmlinuz,1 quiet; then "+test.initrd+
			"; fi\nif sleep 1; then true; else "+test.failed+"; fi\ndone\n}\n", 4)
		entries := treeOfGRUB(t, script, "pc")
		var found []string
		for course := range uint(1 << 12) {
			found = append(found, grubOutcome(entries, course).flawed())
		}
		require.Contains(t, found, test.want)
	}
}
