package conformance

import "embed"

// Files are the ledger's files: pending.txt and one file per protocol.
//
//go:embed ledger/*.txt
var Files embed.FS

// Level says how strongly a line binds.
type Level string

// The levels; the package comment says how they are chosen.
const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
	May    Level = "MAY"
	Quirk  Level = "QUIRK"
)

// Ledger is what all protocols demand, in the order of their files.
type Ledger struct {
	Protocols []Protocol
	Pending   []Feature // what lines may wait for
}

// Feature is something that does not exist yet and that lines wait for.
type Feature struct {
	Name   string
	Reason string // what it is, in one sentence
	Where  string // file and line number
}

// Protocol is one file of the ledger.
type Protocol struct {
	Title  string
	Prefix string // of the IDs of its lines: one capital letter
	Lines  []Line // ascending by ID
}

// Line is one demand.
type Line struct {
	ID        string // prefix, hyphen, three digits
	Level     Level
	Section   string
	Statement string
	Positive  []string // names of tests, as folder.Function
	Negative  []string
	Pending   string // name of a Feature, or empty
	Guard     bool   // it guards against a client's input, and has mutations
	Where     string // file and line number
}

// Tests returns the names of the line's positive and negative tests.
func (l *Line) Tests() []string {
	return append(append([]string(nil), l.Positive...), l.Negative...)
}

// State is what is known of a line.
type State string

// The states of a line. Only SHOULD and MAY may be open.
const (
	Proved  State = "proved"  // names its tests
	Pending State = "pending" // waits for a feature
	Open    State = "open"    // neither
)

// State returns what is known of the line. It does not look whether the named
// tests exist; Check does.
func (l *Line) State() State {
	switch {
	case l.Pending != "":
		return Pending
	case len(l.Positive)+len(l.Negative) > 0:
		return Proved
	default:
		return Open
	}
}

// Count returns how many lines there are in each state.
func (l *Ledger) Count() map[State]int {
	count := make(map[State]int)
	for _, protocol := range l.Protocols {
		for i := range protocol.Lines {
			count[protocol.Lines[i].State()]++
		}
	}
	return count
}
