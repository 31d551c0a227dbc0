package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// Markdown renders the ledger as a page of documentation.
func Markdown(l *Ledger) string {
	var b strings.Builder
	count := l.Count()
	b.WriteString("<!-- Written by \"go test ./internal/conformance -update\" from internal/conformance/ledger; edit that. -->\n\n")
	b.WriteString("# Conformance\n\n")
	b.WriteString("What each protocol demands, one testable line each, and the tests that prove it.\n" +
		"MUST, SHOULD and MAY are the specifications' words (and MUST is every line that protects\n" +
		"the server against a client's input); QUIRK is what real firmware and boot code do.\n" +
		"A test marked + shows what is demanded, one marked − that it does not happen where it is not\n" +
		"or that its violation is refused, and one marked ± shows both.\n\n")
	fmt.Fprintf(&b, "%s\n", Summary(l))
	b.WriteString("\n| protocol | proved | pending | open |\n|---|--:|--:|--:|\n")
	for _, p := range l.Protocols {
		one := (&Ledger{Protocols: []Protocol{p}}).Count()
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", p.Title, one[Proved], one[Pending], one[Open])
	}
	fmt.Fprintf(&b, "| all | %d | %d | %d |\n", count[Proved], count[Pending], count[Open])
	if len(l.Pending) > 0 {
		b.WriteString("\nPending lines wait for:\n\n")
		for _, f := range l.Pending {
			fmt.Fprintf(&b, "- **%s**: %s\n", f.Name, f.Reason)
		}
	}
	for _, p := range l.Protocols {
		fmt.Fprintf(&b, "\n## %s\n\n| ID | level | demand | proved by |\n|---|---|---|---|\n", p.Title)
		for i := range p.Lines {
			line := &p.Lines[i]
			fmt.Fprintf(&b, "| %s | %s | %s (%s) | %s |\n", line.ID, line.Level,
				cell(line.Statement), cell(line.Section), proof(line))
		}
	}
	return b.String()
}

// Summary returns the state of the ledger in one line.
func Summary(l *Ledger) string {
	count := l.Count()
	return fmt.Sprintf("%d lines: %d proved, %d pending, %d open (SHOULD or MAY without a test).",
		count[Proved]+count[Pending]+count[Open], count[Proved], count[Pending], count[Open])
}

func proof(line *Line) string {
	var parts []string
	for _, name := range line.Positive {
		sign := "+"
		if slices.Contains(line.Negative, name) {
			sign = "±"
		}
		parts = append(parts, sign+" `"+name+"`")
	}
	for _, name := range line.Negative {
		if !slices.Contains(line.Positive, name) {
			parts = append(parts, "− `"+name+"`")
		}
	}
	if line.Pending != "" {
		parts = append(parts, "*pending: "+cell(line.Pending)+"*")
	}
	return strings.Join(parts, "<br>")
}

// cell escapes text for a cell of a Markdown table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`, "`", "\\`").Replace(text)
}
