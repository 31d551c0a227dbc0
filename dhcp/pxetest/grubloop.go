package pxetest

import (
	"fmt"
	"strconv"
)

// maxFailedRounds is how often a loop may fail to load what it boots. Menus try for
// ever, for a server that was down for a moment; a test wants to hear of it.
const maxFailedRounds = 3

// loop runs a while, an until or a for. Its status is that of its last command.
func (s *grubShell) loop(file string, st grubStatement) (bool, error) {
	s.loops++
	defer func() { s.loops-- }()
	status, words, failed := true, s.expand(st.loop.words), 0
	for round := 0; ; round++ {
		if st.loop.variable != "" {
			if round == len(words) {
				return status, nil
			}
			if err := s.assign([]string{st.loop.variable + "=" + words[round]}); err != nil {
				return false, fmt.Errorf("%w: %s:%d: for: %w", ErrConfig, file, st.line, err)
			}
		}
		refused := s.refusals
		again, err := s.goesOn(file, st.loop)
		if err == nil && again {
			status, err = s.list(file, st.loop.body)
		}
		if err != nil || s.state != grubGoesOn || s.leavesLoop() || !again {
			return status, err
		}
		if s.refusals == refused {
			continue
		}
		if failed++; failed == maxFailedRounds {
			return false, fmt.Errorf("%w: %s:%d: the loop has failed %d times and is given up: %w", ErrConfig, file, st.line, failed, s.refused)
		}
	}
}

// goesOn tells whether there is another round.
func (s *grubShell) goesOn(file string, l *grubLoop) (bool, error) {
	if l.variable != "" {
		return true, nil
	}
	ok, err := s.answer(file, l.condition)
	return ok != l.until && s.state == grubGoesOn, err
}

// answer runs a condition: what fails in it is an answer, not a failure.
func (s *grubShell) answer(file string, condition []grubStatement) (bool, error) {
	failed, broken := s.failed, s.broken
	ok, err := s.list(file, condition)
	s.failed, s.broken = failed, broken
	return ok, err
}

// leavesLoop is the end of a round: break leaves this loop, and with a number those
// around it; continue goes on with the next round.
func (s *grubShell) leavesLoop() bool {
	if s.breaks == 0 {
		return false
	}
	s.breaks--
	return s.breaks > 0 || !s.again
}

// breakLoop is break and continue, with the number of loops that they are for.
// Outside of loops they do nothing.
func (s *grubShell) breakLoop(name string, args []string) error {
	n := uint64(1)
	if len(args) > 0 {
		var err error
		if n, err = strconv.ParseUint(args[0], 10, 16); err != nil || n == 0 || len(args) > 1 {
			return failure("%s wants a number of loops", name)
		}
	}
	s.breaks, s.again = min(int(n), s.loops), name == "continue"
	return nil
}
