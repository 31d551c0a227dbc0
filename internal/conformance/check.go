package conformance

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Check compares the ledger with the tests of the module, as FindTests returns
// them, and returns what is wrong, in the order of the ledger.
func Check(l *Ledger, tests map[string]bool) []string {
	c := checker{tests: tests, features: make(map[string]int), named: make(map[string][]string)}
	for _, feature := range l.Pending {
		c.features[feature.Name] = 0
	}
	for _, protocol := range l.Protocols {
		c.prefixes += protocol.Prefix
		for i := range protocol.Lines {
			c.line(&protocol.Lines[i])
		}
	}
	for _, feature := range l.Pending {
		if c.features[feature.Name] == 0 {
			c.problem("%s: no line waits for %q any more: remove it", feature.Where, feature.Name)
		}
	}
	c.strays()
	return c.problems
}

type checker struct {
	tests    map[string]bool
	features map[string]int      // name -> lines that wait for it
	named    map[string][]string // ID -> tests that its line names
	prefixes string
	problems []string
}

func (c *checker) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func (c *checker) line(line *Line) {
	at := line.Where + ": " + line.ID
	names := line.Tests()
	c.named[line.ID] = names
	for _, name := range names {
		if !c.tests[name] {
			c.problem("%s names %s, which does not exist%s", at, name, c.elsewhere(name))
		}
	}
	if line.Pending != "" {
		if _, known := c.features[line.Pending]; !known {
			c.problem("%s waits for %q, which is not in %s: name its tests", at, line.Pending, pendingFile)
			return
		}
		c.features[line.Pending]++
		if len(line.Positive) > 0 && len(line.Negative) > 0 {
			c.problem("%s names both its tests and still waits for %q: remove the field pending", at, line.Pending)
		}
		return
	}
	if len(names) == 0 && (line.Level == Must || line.Level == Quirk) {
		c.problem("%s is %s and has no test: %s", at, line.Level, line.Statement)
	}
}

// elsewhere says where a function of that name does exist.
func (c *checker) elsewhere(name string) string {
	function := name[strings.LastIndex(name, ".")+1:]
	var others []string
	for test := range c.tests {
		if strings.HasSuffix(test, "."+function) {
			others = append(others, test)
		}
	}
	if len(others) == 0 {
		return ""
	}
	slices.Sort(others)
	return fmt.Sprintf(" (there is %s)", strings.Join(others, ", "))
}

// carried matches the ID of a line at the beginning of a test's name, after
// Test or Fuzz: TestT006_DuplicateACK is of T-006. Several may follow each
// other, as in TestD006_O007_Instances.
var carried = regexp.MustCompile(`^([A-Z])([0-9]{3})(?:_|$)`)

// strays finds tests that are named after a line which does not name them, so
// that the ledger does not fall behind the tests.
func (c *checker) strays() {
	for _, name := range slices.Sorted(maps.Keys(c.tests)) {
		rest := name[strings.LastIndex(name, ".")+1+len("Test"):] // Fuzz is as long
		for {
			m := carried.FindStringSubmatch(rest)
			if m == nil || !strings.Contains(c.prefixes, m[1]) {
				break
			}
			rest = rest[len(m[0]):]
			id := m[1] + "-" + m[2]
			named, known := c.named[id]
			switch {
			case !known:
				c.problem("%s is named after %s, which the ledger does not have", name, id)
			case !slices.Contains(named, name):
				c.problem("%s is named after %s, whose line does not name it", name, id)
			}
		}
	}
}
