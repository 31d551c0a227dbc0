package conformance

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// pendingFile lists the features that lines may wait for.
const pendingFile = "pending.txt"

// guardInput is the only thing that a line guards against so far.
const guardInput = "input"

// Load reads the ledger in dir. It reads strictly: what it does not know is a
// problem, and every problem names its file and line. The ledger is complete
// only if there are none.
func Load(fsys fs.FS, dir string) (*Ledger, []string) {
	names, err := fs.Glob(fsys, path.Join(dir, "*.txt"))
	if err != nil {
		return nil, []string{err.Error()}
	}
	l := &loader{ids: make(map[string]string), prefixes: make(map[string]string)}
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			l.problems = append(l.problems, err.Error())
			continue
		}
		stanzas := l.split(name, string(text))
		if path.Base(name) == pendingFile {
			l.pending(stanzas)
		} else {
			l.protocol(name, stanzas)
		}
	}
	return &l.ledger, l.problems
}

type loader struct {
	ledger   Ledger
	problems []string
	ids      map[string]string // ID -> where it was first
	prefixes map[string]string
}

func (l *loader) problem(where, format string, args ...any) {
	l.problems = append(l.problems, where+": "+fmt.Sprintf(format, args...))
}

// stanza is a group of fields and the place of the first of them.
type stanza struct {
	where  string
	fields map[string]string
}

// split cuts a file into stanzas.
func (l *loader) split(name, text string) []stanza {
	var all []stanza
	var current *stanza
	var last string // the field that a continuation continues
	for i, line := range strings.Split(text, "\n") {
		where := fmt.Sprintf("%s:%d", name, i+1)
		switch {
		case strings.HasPrefix(line, "#"):
			continue
		case strings.TrimSpace(line) == "":
			current, last = nil, ""
			continue
		case line[0] == ' ' || line[0] == '\t':
			if last == "" {
				l.problem(where, "a continuation without a field above it")
				continue
			}
			current.fields[last] += " " + strings.TrimSpace(line)
			continue
		}
		field, value, ok := strings.Cut(line, ":")
		if !ok {
			l.problem(where, "%q is not of the form \"field: value\"", line)
			continue
		}
		if current == nil {
			all = append(all, stanza{where, make(map[string]string)})
			current = &all[len(all)-1]
		}
		if _, twice := current.fields[field]; twice {
			l.problem(where, "field %q is given twice", field)
		}
		last = field
		current.fields[field] = strings.TrimSpace(value)
	}
	return all
}

// take checks that a stanza has all required fields, with a value, and no field
// that is neither required nor optional.
func (l *loader) take(s stanza, required []string, optional ...string) bool {
	before := len(l.problems)
	for _, field := range required {
		if s.fields[field] == "" {
			l.problem(s.where, "the field %q is missing or empty", field)
		}
	}
	for field := range s.fields {
		if !slices.Contains(required, field) && !slices.Contains(optional, field) {
			l.problem(s.where, "unknown field %q", field)
		}
	}
	return len(l.problems) == before
}

func (l *loader) pending(stanzas []stanza) {
	for _, s := range stanzas {
		if !l.take(s, []string{"feature", "reason"}) {
			continue
		}
		f := Feature{Name: s.fields["feature"], Reason: s.fields["reason"], Where: s.where}
		if slices.ContainsFunc(l.ledger.Pending, func(o Feature) bool { return o.Name == f.Name }) {
			l.problem(s.where, "feature %q is listed twice", f.Name)
			continue
		}
		l.ledger.Pending = append(l.ledger.Pending, f)
	}
}

var (
	prefixForm = regexp.MustCompile(`^[A-Z]$`)
	idForm     = regexp.MustCompile(`^[A-Z]-[0-9]{3}$`)
)

func (l *loader) protocol(name string, stanzas []stanza) {
	if len(stanzas) == 0 {
		l.problem(name, "the file is empty")
		return
	}
	head := stanzas[0]
	if !l.take(head, []string{"protocol", "prefix"}) {
		return
	}
	p := Protocol{Title: head.fields["protocol"], Prefix: head.fields["prefix"]}
	if !prefixForm.MatchString(p.Prefix) {
		l.problem(head.where, "prefix %q is not one capital letter", p.Prefix)
	}
	if first, taken := l.prefixes[p.Prefix]; taken {
		l.problem(head.where, "prefix %s is that of %s already", p.Prefix, first)
	}
	l.prefixes[p.Prefix] = name
	for _, s := range stanzas[1:] {
		if !l.take(s, []string{"id", "level", "section", "statement"}, "positive", "negative", "pending", "guard") {
			continue
		}
		line := Line{
			ID:        s.fields["id"],
			Level:     Level(s.fields["level"]),
			Section:   s.fields["section"],
			Statement: s.fields["statement"],
			Positive:  list(s.fields["positive"]),
			Negative:  list(s.fields["negative"]),
			Pending:   s.fields["pending"],
			Where:     s.where,
		}
		if guard, given := s.fields["guard"]; given {
			line.Guard = true
			if guard != guardInput {
				l.problem(s.where, "%s: guard is %q: write %s, or leave it out", line.ID, guard, guardInput)
			}
		}
		l.line(&p, line)
		p.Lines = append(p.Lines, line)
	}
	l.ledger.Protocols = append(l.ledger.Protocols, p)
}

// line checks what can be seen of a line without knowing any tests.
func (l *loader) line(p *Protocol, line Line) {
	if !idForm.MatchString(line.ID) || !strings.HasPrefix(line.ID, p.Prefix) {
		l.problem(line.Where, "id %q is not of the form %s-001", line.ID, p.Prefix)
	}
	if first, twice := l.ids[line.ID]; twice {
		l.problem(line.Where, "%s stands at %s already", line.ID, first)
	} else if n := len(p.Lines); n > 0 && p.Lines[n-1].ID > line.ID {
		l.problem(line.Where, "%s stands after %s: keep the IDs ascending", line.ID, p.Lines[n-1].ID)
	}
	l.ids[line.ID] = line.Where
	switch line.Level {
	case Must, Should, May, Quirk:
	default:
		l.problem(line.Where, "%s: unknown level %q: write MUST, SHOULD, MAY or QUIRK", line.ID, line.Level)
	}
	if !strings.HasSuffix(line.Statement, ".") {
		l.problem(line.Where, "%s: the statement is not a sentence: it does not end in a full stop", line.ID)
	}
}

// list cuts a comma-separated value; an empty value is an empty list.
func list(value string) []string {
	if value == "" {
		return nil
	}
	var all []string
	for item := range strings.SplitSeq(value, ",") {
		all = append(all, strings.TrimSpace(item))
	}
	return all
}
