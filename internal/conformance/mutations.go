package conformance

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// MutationFiles are the files with the mutations.
//
//go:embed mutations/*.txt
var MutationFiles embed.FS

// Mutation takes a guard out of the source, so that a test can be seen to fail
// without it.
type Mutation struct {
	ID    string // of the line of the ledger
	File  string // from the module's root
	Old   string // a part of a line, the only one of its kind in File
	New   string // what it becomes
	Test  string // folder.Function, one that the line names
	Where string // file and line number
}

// LoadMutations reads the mutations in dir, as strictly as Load reads the ledger.
func LoadMutations(fsys fs.FS, dir string) ([]Mutation, []string) {
	names, err := fs.Glob(fsys, path.Join(dir, "*.txt"))
	if err != nil {
		return nil, []string{err.Error()}
	}
	l := &loader{}
	var all []Mutation
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			l.problems = append(l.problems, err.Error())
			continue
		}
		for _, s := range l.split(name, string(text)) {
			if l.take(s, []string{"id", "file", "old", "new", "test"}) {
				all = append(all, Mutation{s.fields["id"], s.fields["file"], s.fields["old"], s.fields["new"], s.fields["test"], s.where})
			}
		}
	}
	return all, l.problems
}

// Apply returns the text of m.File with the guard taken out.
func (m *Mutation) Apply(text string) (string, error) {
	if n := strings.Count(text, m.Old); n != 1 {
		return "", fmt.Errorf("%s: %s: %q stands %d times in %s, not once: bring the mutation up to date", m.Where, m.ID, m.Old, n, m.File)
	}
	return strings.Replace(text, m.Old, m.New, 1), nil
}

// CheckMutations compares the mutations with the ledger and the module's source.
func CheckMutations(l *Ledger, all []Mutation, source fs.FS) (problems []string) {
	lines, mutated := make(map[string]*Line), make(map[string]bool)
	for _, protocol := range l.Protocols {
		for i := range protocol.Lines {
			lines[protocol.Lines[i].ID] = &protocol.Lines[i]
		}
	}
	for i := range all {
		m := &all[i]
		mutated[m.ID] = true
		line := lines[m.ID]
		switch {
		case line == nil:
			problems = append(problems, fmt.Sprintf("%s: %s is not in the ledger", m.Where, m.ID))
		case !line.Guard:
			problems = append(problems, fmt.Sprintf("%s: %s does not say guard: %s", m.Where, m.ID, guardInput))
		case !slices.Contains(line.Tests(), m.Test):
			problems = append(problems, fmt.Sprintf("%s: %s is not named by %s", m.Where, m.Test, m.ID))
		}
		text, err := fs.ReadFile(source, m.File)
		if err == nil {
			_, err = m.Apply(string(text))
		}
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	for _, id := range slices.Sorted(maps.Keys(lines)) {
		if lines[id].Guard && !mutated[id] {
			problems = append(problems, fmt.Sprintf("%s: %s guards against input and has no mutation", lines[id].Where, id))
		}
	}
	return problems
}

// Row is the beginning of the mutation's row in docs/mutations.md: all but the date.
func (m *Mutation) Row() string {
	code := func(text string) string { return "`" + strings.ReplaceAll(text, "|", `\|`) + "`" }
	return fmt.Sprintf("| %s | %s | %s | %s | %s |", m.ID, m.File, code(m.Old), code(m.New), code(m.Test))
}
