package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
)

// report is one run. docs/bench.json has a list of them: what was measured at
// different times.
type report struct {
	Date     string            `json:"date"`
	Machine  machine           `json:"machine"`
	Rounds   int               `json:"rounds"`
	Versions map[string]string `json:"versions"`
	Results  []result          `json:"results"`
}

// machine is what the figures depend on.
type machine struct {
	CPU        string `json:"cpu"`
	CPUs       int    `json:"cpus"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"file_system"`
	Congestion string `json:"congestion_control"`
	Namespace  bool   `json:"network_namespace"`
	LoadBefore string `json:"load_before"`
	LoadAfter  string `json:"load_after"`
	// Stolen is how much of the CPUs' time the host of a virtual machine took
	// during the run, in percent. The kernel counts it as the processes' own.
	Stolen float64 `json:"stolen_percent"`
}

// result is one line of the table.
type result struct {
	Name    string   `json:"name"`
	What    string   `json:"what"`
	Unit    string   `json:"unit"`
	Goal    *goal    `json:"goal,omitempty"`
	Load    string   `json:"load"`              // the machine's, when the row began
	Trimmed bool     `json:"trimmed,omitempty"` // Mean counts, not Median
	Servers []figure `json:"servers"`
}

// figure is what one server reached in a row. Samples has one value a round.
type figure struct {
	Server  string    `json:"server"`
	Samples []float64 `json:"samples,omitempty"`
	Median  float64   `json:"median"`
	Mean    float64   `json:"trimmed_mean,omitempty"` // without the highest and the lowest
	Ratio   float64   `json:"ours_over_this,omitempty"`
	Note    string    `json:"note,omitempty"` // why there are no samples
}

// goal is what a row must reach: a ratio to a peer, or without one a limit in
// the row's unit.
type goal struct {
	Peer    string  `json:"peer,omitempty"`
	AtLeast float64 `json:"at_least,omitempty"`
	AtMost  float64 `json:"at_most,omitempty"`
}

// value is what the table shows.
func (r *result) value(f figure) float64 {
	if r.Trimmed {
		return f.Mean
	}
	return f.Median
}

// finish computes medians and ratios; the first figure is ours.
func (r *result) finish() {
	for i := range r.Servers {
		s := &r.Servers[i]
		s.Median = median(s.Samples)
		if r.Trimmed {
			s.Mean = trimmed(s.Samples)
		}
		if i > 0 {
			s.Ratio = ratio(r.Servers[0].Samples, s.Samples)
		}
	}
}

// verdict says what was to be reached and whether it was: nothing without a goal.
func (r *result) verdict() string {
	if r.Goal == nil {
		return ""
	}
	value, format, measured := 0.0, "%s %.2fx", false
	if r.Goal.Peer == "" {
		value, format, measured = r.value(r.Servers[0]), "%s %g", len(r.Servers[0].Samples) > 0
	}
	for _, s := range r.Servers {
		if s.Server == r.Goal.Peer {
			value, measured = s.Ratio, s.Ratio != 0
		}
	}
	word, limit, met := "at least", r.Goal.AtLeast, value >= r.Goal.AtLeast
	if r.Goal.AtMost != 0 {
		word, limit, met = "at most", r.Goal.AtMost, value <= r.Goal.AtMost
	}
	text := fmt.Sprintf(format, word, limit)
	switch {
	case !measured:
		return text + ": not measured"
	case met:
		return text + ": met"
	default:
		return text + ": **missed**"
	}
}

// markdown writes reports as docs/bench.md has them: one table for each set of
// servers.
func markdown(w io.Writer, reports []report) error {
	var b strings.Builder
	b.WriteString(preamble)
	for i := range reports {
		reports[i].markdown(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\nMeasured %s with %d rounds on %d CPUs (%s), Linux %s, files on %s, congestion control %s; load %s before, %s after, %.1f %% of the CPUs' time stolen by the host.\n",
		r.Date, r.Rounds, r.Machine.CPUs, r.Machine.CPU, r.Machine.Kernel, r.Machine.FileSystem,
		r.Machine.Congestion, r.Machine.LoadBefore, r.Machine.LoadAfter, r.Machine.Stolen)
	if !r.Machine.Namespace {
		b.WriteString("This system allows no network namespace; the loopback interface was shared with other programs.\n")
	}
	previous := ""
	for _, result := range r.Results {
		if family := result.family(); family != previous {
			r.header(b, family, result.Servers)
			previous = family
		}
		result.line(b)
	}
	r.summary(b)
}

const preamble = `# Figures

Written by ` + "`make bench`" + `, which says in internal/bench/doc_linux.go how it measures.
Figures are medians of the rounds, those about DHCP means of the rounds without the
highest and the lowest. In brackets is ours over theirs, the median of the rounds'
ratios: above 1 is better for us where more is better, below 1 where less is. All
samples are in bench.json. Why goals are missed is in [bench-notes.md](bench-notes.md).
`

func (r *report) header(b *strings.Builder, family string, servers []figure) {
	var versions []string
	for _, s := range servers {
		if v := r.Versions[s.Server]; v != "" {
			versions = append(versions, v)
		}
	}
	fmt.Fprintf(b, "\n## %s\n\nBeside %s.\n\n| row | unit |", strings.ToUpper(family), cmp.Or(strings.Join(versions, "; "), "nobody"))
	for _, s := range servers {
		fmt.Fprintf(b, " %s |", s.Server)
	}
	fmt.Fprintf(b, " goal |\n|---|---|%s---|\n", strings.Repeat("---:|", len(servers)))
}

func (r *result) line(b *strings.Builder) {
	fmt.Fprintf(b, "| %s | %s |", r.What, r.Unit)
	for _, s := range r.Servers {
		switch {
		case len(s.Samples) == 0:
			fmt.Fprintf(b, " %s |", s.Note)
		case s.Ratio == 0:
			fmt.Fprintf(b, " %s |", number(r.value(s)))
		default:
			fmt.Fprintf(b, " %s (%.2fx) |", number(r.value(s)), s.Ratio)
		}
	}
	fmt.Fprintf(b, " %s |\n", r.verdict())
}

// number shows three significant digits at least.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1 || v == 0:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.4f", v)
	}
}

// summary says of every peer that rows have a goal against what the lowest and
// the median ratio of those rows are.
func (r *report) summary(b *strings.Builder) {
	var peers []string
	ratios := make(map[string][]float64)
	for _, result := range r.Results {
		for _, s := range result.Servers {
			if g := result.Goal; g != nil && g.AtLeast != 0 && s.Server == g.Peer && s.Ratio != 0 {
				if ratios[s.Server] == nil {
					peers = append(peers, s.Server)
				}
				ratios[s.Server] = append(ratios[s.Server], s.Ratio)
			}
		}
	}
	for i, peer := range peers {
		if i == 0 {
			b.WriteString("\n")
		}
		lowest := ratios[peer][0]
		for _, v := range ratios[peer] {
			lowest = min(lowest, v)
		}
		fmt.Fprintf(b, "Against %s the lowest of %d speeds is %.2fx, the median %.2fx.\n", peer, len(ratios[peer]), lowest, median(ratios[peer]))
	}
}
