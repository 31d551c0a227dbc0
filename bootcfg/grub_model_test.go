package bootcfg

import "strings"

// grubWord is one word of a script: its value, or a mark of the language.
type grubWord struct {
	value string
	mark  bool // one of ; { } and newline, or something that has no place in our scripts
}

// grubWords splits a script into words as GRUB's grub-core/script/yylex.l does,
// and replaces variables.
func grubWords(script string, variables map[string]string) (words []grubWord, bad []string) {
	var word strings.Builder
	inWord := false
	end := func() {
		if inWord {
			words = append(words, grubWord{value: word.String()})
		}
		word.Reset()
		inWord = false
	}
	for i := 0; i < len(script); i++ {
		switch c := script[i]; c {
		case ' ', '\t':
			end()
		case '\n', ';', '{', '}':
			end()
			words = append(words, grubWord{string(c), true})
		case '|', '&', '<', '>':
			bad = append(bad, string(c)+" outside quotes")
		case '#':
			if inWord {
				word.WriteByte(c)
				continue
			}
			for i+1 < len(script) && script[i+1] != '\n' {
				i++
			}
		case '\\':
			if i++; i < len(script) && script[i] != '\n' {
				word.WriteByte(script[i])
				inWord = true
			}
		case '\'':
			inWord = true
			n := strings.IndexByte(script[i+1:], '\'')
			if n < 0 {
				return words, append(bad, "open '")
			}
			word.WriteString(script[i+1 : i+1+n])
			i += n + 1
		case '"':
			inWord = true
			closed := false
			for i++; i < len(script) && !closed; i++ {
				switch {
				case script[i] == '"':
					closed = true
					i-- // the loop steps over it
				case script[i] == '$':
					value, n := grubVariable(script[i:], variables)
					word.WriteString(value)
					i += n - 1
				case script[i] == '\\' && i+1 < len(script) && strings.IndexByte(`$"\`, script[i+1]) >= 0:
					i++
					word.WriteByte(script[i])
				default:
					word.WriteByte(script[i])
				}
			}
			if !closed {
				return words, append(bad, `open "`)
			}
		case '$':
			inWord = true
			value, n := grubVariable(script[i:], variables)
			word.WriteString(value)
			i += n - 1
		default:
			inWord = true
			word.WriteByte(c)
		}
	}
	end()
	return words, bad
}

// grubVariable returns the value of the variable that s begins with, and the
// length of its name with the dollar sign.
func grubVariable(s string, variables map[string]string) (value string, length int) {
	n := 1
	for n < len(s) && (isAlnum(s[n]) || s[n] == '_') {
		n++
	}
	if n == 1 {
		return "$", 1
	}
	return variables[s[1:n]], n
}

// grubEntry is one entry of a menu.
type grubEntry struct {
	title, id, hotkey string
	linux, initrd     []string // arguments of the last such command
	chain             []string
	echo              []string
	exits             bool
}

// grubModel is what a script amounts to.
type grubModel struct {
	variables map[string]string
	sources   []string
	entries   []*grubEntry
	bad       []string
}

// parseGRUB reads a script, whose conditions it all takes for true: each command
// is looked at once.
func parseGRUB(script string) *grubModel {
	m := &grubModel{variables: map[string]string{"net_default_mac": "02:00:00:00:00:01",
		"a": "02", "b": "00", "c": "00", "d": "00", "e": "00", "f": "01"}}
	// Variables that commands set are replaced while the script runs.
	for line := range strings.SplitSeq(script, "\n") {
		words, _ := grubWords(line, m.variables)
		for i, w := range words {
			if w.value == "set" && i+1 < len(words) && !strings.HasPrefix(line, "    ") {
				name, value, _ := strings.Cut(words[i+1].value, "=")
				m.variables[name] = value
			}
		}
	}
	words, bad := grubWords(script, m.variables)
	m.bad = bad
	var entry *grubEntry
	var command []string
	for _, w := range append(words, grubWord{"\n", true}) {
		if !w.mark {
			command = append(command, w.value)
			continue
		}
		for len(command) > 0 && strings.Contains(" if then else while do ", " "+command[0]+" ") {
			command = command[1:]
		}
		if w.value == "{" && (len(command) == 0 || command[0] != "menuentry") {
			m.bad = append(m.bad, "{ without menuentry")
		}
		if len(command) > 0 && command[0] == "menuentry" {
			entry = m.menuentry(command)
		} else {
			m.command(entry, command)
		}
		if w.value == "}" {
			if entry == nil {
				m.bad = append(m.bad, "} without {")
			}
			entry = nil
		}
		command = nil
	}
	return m
}

// menuentry notes the head of an entry.
func (m *grubModel) menuentry(argv []string) *grubEntry {
	e := &grubEntry{title: argv[1]}
	for i := 2; i < len(argv); i++ {
		switch key, ok := strings.CutPrefix(argv[i], "--hotkey="); {
		case ok:
			e.hotkey = key
		case argv[i] == "--id" && i+1 < len(argv):
			i++
			e.id = argv[i]
		default:
			m.bad = append(m.bad, "menuentry "+argv[i])
		}
	}
	m.entries = append(m.entries, e)
	return e
}

// command notes one command.
func (m *grubModel) command(e *grubEntry, argv []string) {
	if len(argv) == 0 {
		return
	}
	if e == nil {
		switch argv[0] {
		case "source":
			m.sources = append(m.sources, argv[1])
		case "set", "regexp", "fi":
		default:
			m.bad = append(m.bad, argv[0])
		}
		return
	}
	switch argv[0] {
	case "linux":
		e.linux = argv[1:]
	case "initrd":
		e.initrd = argv[1:]
	case "chainloader":
		e.chain = append(e.chain, argv[1])
	case "echo":
		e.echo = append(e.echo, argv[1:]...)
	case "exit":
		e.exits = true
	case "set", "fi", "done", "true", "break", "boot", "reboot", "sleep", "[", "search", "for":
	default:
		m.bad = append(m.bad, argv[0])
	}
}

// file returns what the script asks for by base, and whether it does.
func (m *grubModel) file(word string) (string, bool) {
	return strings.CutPrefix(word, m.variables["base"]+"/")
}
