package bootcfg

import (
	"errors"
	"fmt"

	"github.com/pxekit/pxe/internal/bootvalue"
)

// ValueError reports one value that cannot be used, and what to do about it.
// Functions of this package return several of them joined by [errors.Join], so
// that all problems of a menu show up at once; [errors.As] finds the first.
type ValueError struct {
	// Where names the place, as in `entry "rescue": param`.
	Where string
	// Value is the offending value. It is empty where the value is a secret or
	// the place says it all.
	Value string
	// Problem says what is wrong.
	Problem string
	// Remedy says what to do instead.
	Remedy string
}

// maxQuoted bounds how much of a value an error text repeats.
const maxQuoted = 80

// Error returns one line: place, value, problem and remedy. The value is quoted.
func (e *ValueError) Error() string {
	text := "bootcfg: " + e.Where
	if e.Value != "" {
		v := e.Value
		if len(v) > maxQuoted {
			v = v[:maxQuoted] + "..."
		}
		text += fmt.Sprintf(" %q", v)
	}
	text += ": " + e.Problem
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// problems collects what is wrong with a value of many parts.
type problems []error

// add records a problem.
func (p *problems) add(where, value, problem, remedy string) {
	*p = append(*p, &ValueError{Where: where, Value: value, Problem: problem, Remedy: remedy})
}

// flaw is what is wrong with a value, before it is known where the value
// stands. The zero flaw means that nothing is.
type flaw bootvalue.Flaw

// check records f, if there is one, for a value.
func (p *problems) check(where, value string, f flaw) {
	if f.Problem != "" {
		p.add(where, value, f.Problem, f.Remedy)
	}
}

// err returns all problems as one error, nil if there are none.
func (p problems) err() error { return errors.Join(p...) }
