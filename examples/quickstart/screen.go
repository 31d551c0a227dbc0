package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

// screen shows progress: colours and bars on a terminal, plain lines elsewhere.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	fancy bool
	start time.Time
	drawn time.Time // when the bar was last drawn
	bar   bool      // a bar stands on the current line
}

const (
	green = "\x1b[32m"
	red   = "\x1b[31m"
	cyan  = "\x1b[36m"
	faint = "\x1b[2m"
	reset = "\x1b[0m"

	barWidth  = 28 // of a download
	spanWidth = 20 // of the timeline

	consoleWidth = 200 // a menu drawn on a serial port is one long line
	barRefresh   = 50 * time.Millisecond
)

func newScreen(out io.Writer) *screen {
	return &screen{out: out, fancy: isTerminal(out), start: time.Now()}
}

// isTerminal reports whether out understands colours, by the usual conventions.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (s *screen) paint(colour, text string) string {
	if !s.fancy {
		return text
	}
	return colour + text + reset
}

func (s *screen) headline(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.println(fmt.Sprintf(format, args...))
}

func (s *screen) println(line string) {
	if s.bar {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.bar = false
	}
	fmt.Fprintln(s.out, line)
}

// step is told of the machine's progress: a bar while something loads, a line
// when it is there.
func (s *screen) step(step pxetest.Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !step.Done {
		s.draw(step)
		return
	}
	mark, note := s.paint(green, "✓"), ""
	if !s.fancy {
		mark = "ok"
	}
	if step.Bytes > 0 {
		note = size(step.Bytes)
	}
	if errors.Is(step.Err, fs.ErrNotExist) {
		note = "not there" // loaders probe
	} else if step.Err != nil {
		mark, note = s.paint(red, "failed"), step.Err.Error()
	}
	s.println(fmt.Sprintf("%s %8s  %-9s %-44s %10s", mark,
		elapsed(time.Since(s.start)), step.Stage, shorten(step.Name, 44), note))
}

func (s *screen) draw(step pxetest.Step) {
	if !s.fancy || time.Since(s.drawn) < barRefresh {
		return
	}
	s.drawn, s.bar = time.Now(), true
	filled := 0
	if step.Total > 0 {
		filled = int(step.Bytes * barWidth / step.Total)
	}
	fmt.Fprintf(s.out, "\r\x1b[K  %8s  %-9s %s %s", elapsed(time.Since(s.start)), step.Stage,
		s.paint(cyan, bar(0, filled, barWidth)), size(step.Bytes))
}

// console shows a line that a virtual machine printed.
func (s *screen) console(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text = strings.Join(strings.Fields(strings.Map(printable, text)), " ")
	if len(text) > consoleWidth {
		text = text[:consoleWidth] + "…"
	}
	s.println(s.paint(faint, "console   | "+text))
}

// printable keeps a console from moving this terminal's cursor.
func printable(r rune) rune {
	if !strconv.IsPrint(r) {
		return ' '
	}
	return r
}

// event shows a step that the server finished.
func (s *screen) event(e pxe.Event) {
	if !e.Done && e.Drop == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.println(s.paint(cyan, "server    | "+e.String()))
}

// timeline shows what the server saw, step by step, against the whole time.
func (s *screen) timeline(t *timeline) {
	rows, first, total := t.snapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.println("")
	s.println("timeline, as the server saw it")
	for _, r := range rows {
		begin, took := r.begin.Sub(first), r.end.Sub(r.begin)
		line := fmt.Sprintf("  %8s %8s  %-8s %-30s", "+"+elapsed(begin), elapsed(took), r.stage, shorten(r.name, 30))
		if s.fancy {
			from := int(int64(begin) * spanWidth / max(int64(total), 1))
			to := int(int64(begin+took) * spanWidth / max(int64(total), 1))
			line += " " + s.paint(cyan, bar(min(from, spanWidth-1), max(to, from+1), spanWidth))
		}
		switch {
		case strings.HasPrefix(r.note, "failed"):
			line += " " + s.paint(red, r.note)
		case r.note != "":
			line += " " + s.paint(faint, r.note)
		case r.bytes >= 1<<20 && took > 0: // a rate says nothing of a small file
			line += fmt.Sprintf(" %s %s, %s/s", r.via, size(r.bytes), size(int64(float64(r.bytes)/took.Seconds())))
		case r.bytes > 0:
			line += fmt.Sprintf(" %s %s", r.via, size(r.bytes))
		}
		s.println(strings.TrimRight(line, " "))
	}
	s.println("")
}

// verdict says what the machine ended with.
func (s *screen) verdict(boot *pxetest.Boot) {
	s.headline("address    %s, the same for %d DHCP clients of this boot", boot.Leases[0].Addr.Addr(), len(boot.Leases))
	s.headline("root       %s (%s)", boot.Root.URL, size(boot.Root.Bytes))
	s.headline("sha512     %s", boot.Root.SHA512)
	if boot.Root.Verified {
		s.headline("%s", s.paint(green, "verified   the checksum matches: the machine is up"))
	}
}

// bar draws the cells from begin to end of width.
func bar(begin, end, width int) string {
	end = min(end, width)
	return strings.Repeat("·", begin) + strings.Repeat("█", max(end-begin, 0)) + strings.Repeat("·", max(width-end, 0))
}

// powerOn starts the clock.
func (s *screen) powerOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start = time.Now()
}

// shorten keeps the end of a name, which tells more, leaves out the server and
// the boot in a URL, and quotes what could disturb a terminal.
func shorten(name string, n int) string {
	if _, rest, ok := strings.Cut(name, "/~"); ok {
		_, name, _ = strings.Cut(rest, "/")
	}
	if quoted := strconv.Quote(name); len(quoted) != len(name)+2 {
		name = quoted
	}
	if len(name) > n {
		return "…" + name[len(name)-n+1:]
	}
	return name
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

func elapsed(d time.Duration) string { return fmt.Sprintf("%.3fs", d.Seconds()) }
