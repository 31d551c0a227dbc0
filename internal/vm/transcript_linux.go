package vm

import (
	"context"
	"fmt"
	"iter"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Limits of a Transcript: a guest may print for ever.
const (
	maxLines    = 50_000
	maxLineSize = 8 << 10
)

// escapes are terminal control sequences, of which firmware is fond.
var escapes = regexp.MustCompile(`\x1b(\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[=>78c])`)

// Line is one line that a machine or a program printed.
type Line struct {
	// At is the time since the machine was switched on or the program started.
	At time.Duration
	// Text is the line without its end and without terminal control sequences.
	Text string
}

// Transcript collects what a machine prints on its serial console, or a program on
// an output, and lets tests wait for it. Of very long output the oldest lines are
// forgotten. Methods may be called concurrently.
type Transcript struct {
	start time.Time
	fatal *regexp.Regexp // a line that makes further waiting pointless; nil: none

	mu      sync.Mutex
	lines   []Line
	dropped int    // lines forgotten before lines[0]
	partial []byte // the line being printed
	ended   bool
	err     error         // why it ended
	changed chan struct{} // closed and replaced whenever something is added
}

func newTranscript(fatal *regexp.Regexp) *Transcript {
	return &Transcript{start: time.Now(), fatal: fatal, changed: make(chan struct{})}
}

// Write adds output. It never fails.
func (t *Transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	complete := false
	for _, c := range p {
		if c == '\n' || len(t.partial) == maxLineSize {
			t.add(string(t.partial))
			t.partial = t.partial[:0]
			complete = true
		}
		if c != '\n' {
			t.partial = append(t.partial, c)
		}
	}
	if complete {
		t.wake()
	}
	return len(p), nil
}

func (t *Transcript) add(text string) {
	text = strings.TrimRight(escapes.ReplaceAllString(text, ""), "\r ")
	// What is overwritten from the line's start is not seen on a terminal either.
	if i := strings.LastIndexByte(text, '\r'); i >= 0 {
		text = text[i+1:]
	}
	if len(t.lines) == maxLines {
		t.lines = append(t.lines[:0], t.lines[maxLines/2:]...)
		t.dropped += maxLines / 2
	}
	t.lines = append(t.lines, Line{At: time.Since(t.start), Text: text})
}

func (t *Transcript) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// end says that nothing more will come, and why.
func (t *Transcript) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.partial) > 0 {
		t.add(string(t.partial))
		t.partial = nil
	}
	t.ended, t.err = true, err
	t.wake()
}

// Lines returns what has been printed so far, complete lines only.
func (t *Transcript) Lines() []Line {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Line(nil), t.lines...)
}

// String is the whole of it, each line with its time in seconds: for a test's log.
func (t *Transcript) String() string {
	var b strings.Builder
	for _, l := range t.Lines() {
		fmt.Fprintf(&b, "%7.2f %s\n", l.At.Seconds(), l.Text)
	}
	return b.String()
}

// WaitFor returns the first line that matches pattern (a regular expression), with
// its submatches as [regexp.Regexp.FindStringSubmatch] gives them: at once if it
// has been printed already. It gives up with an error that quotes the last lines
// when ctx ends, when the output ends, or when a machine prints a line after which
// it will never get there (a failed boot, a kernel panic).
func (t *Transcript) WaitFor(ctx context.Context, pattern string) (Line, []string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return Line{}, nil, fmt.Errorf("vm: wait for %q: %w", pattern, err)
	}
	for seen := 0; ; {
		t.mu.Lock()
		seen = max(seen, t.dropped)
		news := t.lines[seen-t.dropped:]
		for _, l := range news {
			if m := re.FindStringSubmatch(l.Text); m != nil {
				t.mu.Unlock()
				return l, m, nil
			}
		}
		reason := ""
		for _, l := range news {
			if t.fatal != nil && t.fatal.MatchString(l.Text) {
				reason = "it said: " + l.Text
				break
			}
		}
		if reason == "" && t.ended {
			reason = "it ended"
			if t.err != nil {
				reason += ": " + t.err.Error()
			}
		}
		seen += len(news)
		changed := t.changed
		t.mu.Unlock()
		if reason != "" {
			return Line{}, nil, fmt.Errorf("vm: waited for %q, but %s\n%s", pattern, reason, t.tail(20))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Line{}, nil, fmt.Errorf("vm: waited for %q: %w\n%s", pattern, ctx.Err(), t.tail(20))
		}
	}
}

// tail is the last n lines, the unfinished one included, for error messages.
func (t *Transcript) tail(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	b.WriteString("last lines:")
	for _, l := range t.lines[max(0, len(t.lines)-n):] {
		fmt.Fprintf(&b, "\n%7.2f %s", l.At.Seconds(), l.Text)
	}
	if len(t.partial) > 0 {
		fmt.Fprintf(&b, "\n        %s", escapes.ReplaceAllString(string(t.partial), ""))
	}
	return b.String()
}

// Follow yields the lines printed so far and then each line as it comes, until ctx
// ends or the output does. Lines that were forgotten before they were taken are
// left out.
func (t *Transcript) Follow(ctx context.Context) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		for seen := 0; ; {
			t.mu.Lock()
			seen = max(seen, t.dropped)
			news := append([]Line(nil), t.lines[seen-t.dropped:]...)
			seen += len(news)
			ended, changed := t.ended, t.changed
			t.mu.Unlock()
			for _, l := range news {
				if !yield(l) {
					return
				}
			}
			if ended {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}
