package conformance_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/conformance"
)

const header = "protocol: Test protocol\nprefix: T\n\n"

// good is a ledger line that nothing is wrong with.
const good = "id: T-001\nlevel: MUST\nsection: RFC 1\nstatement: It\n does.\npositive: tftp.TestIt\nnegative: tftp.FuzzIt, tftp.TestNot\n"

const waiting = "feature: windows\nreason: Windows.\n"

func TestLoadIsStrict(t *testing.T) {
	tests := []struct {
		name, ledger, pending string
		want                  []string // each the end of a problem
	}{
		{name: "good", ledger: header + good},
		{name: "comments and empty lines", ledger: "# a\n" + header + "# b\n\n\n" + strings.Replace(good, "level", "# c\nlevel", 1) + "\n\n"},
		{name: "unknown field", ledger: header + good + "postive: tftp.TestIt\n", want: []string{`ledger/t.txt:4: unknown field "postive"`}},
		{name: "field twice", ledger: header + good + "level: MAY\n", want: []string{`ledger/t.txt:11: field "level" is given twice`}},
		{name: "not a field", ledger: header + good + "well\n", want: []string{`"well" is not of the form "field: value"`}},
		{name: "continuation of nothing", ledger: header + good + "\n more\n", want: []string{"ledger/t.txt:12: a continuation without a field above it"}},
		{name: "empty statement", ledger: header + strings.Replace(good, "It\n does.", "", 1), want: []string{`the field "statement" is missing or empty`}},
		{name: "no section", ledger: header + strings.Replace(good, "section: RFC 1\n", "", 1), want: []string{`the field "section" is missing or empty`}},
		{name: "statement not a sentence", ledger: header + strings.Replace(good, "does.", "does", 1), want: []string{"T-001: the statement is not a sentence: it does not end in a full stop"}},
		{name: "unknown level", ledger: header + strings.Replace(good, "MUST", "OUGHT", 1), want: []string{`T-001: unknown level "OUGHT": write MUST, SHOULD, MAY or QUIRK`}},
		{name: "duplicate id", ledger: header + good + "\n" + good, want: []string{"ledger/t.txt:12: T-001 stands at ledger/t.txt:4 already"}},
		{name: "ids out of order", ledger: header + strings.Replace(good, "001", "002", 1) + "\n" + good, want: []string{"T-001 stands after T-002: keep the IDs ascending"}},
		{name: "id of another protocol", ledger: header + strings.Replace(good, "T-001", "N-001", 1), want: []string{`id "N-001" is not of the form T-001`}},
		{name: "malformed id", ledger: header + strings.Replace(good, "T-001", "T-1", 1), want: []string{`id "T-1" is not of the form T-001`}},
		{name: "empty file", ledger: "# nothing\n", want: []string{"ledger/t.txt: the file is empty"}},
		{name: "no header", ledger: good, want: []string{`"protocol" is missing or empty`, `"prefix" is missing or empty`, `unknown field "`, `unknown field "`, `unknown field "`, `unknown field "`, `unknown field "`, `unknown field "`}},
		{name: "malformed prefix", ledger: "protocol: Test\nprefix: TF\n", want: []string{`prefix "TF" is not one capital letter`}},
		{name: "feature without a reason", ledger: header + good, pending: "feature: windows\n", want: []string{`the field "reason" is missing or empty`}},
		{name: "feature twice", ledger: header + good, pending: waiting + "\n" + waiting, want: []string{`feature "windows" is listed twice`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, problems := load(test.ledger, test.pending)
			require.Len(t, problems, len(test.want), "%q", problems)
			for i, want := range test.want {
				require.Contains(t, problems[i], want)
			}
		})
	}
}

func TestPrefixOfTwoFilesIsRefused(t *testing.T) {
	_, problems := conformance.Load(fstest.MapFS{
		"ledger/a.txt": {Data: []byte(header)},
		"ledger/b.txt": {Data: []byte(header)},
	}, "ledger")
	require.Equal(t, []string{"ledger/b.txt:1: prefix T is that of ledger/a.txt already"}, problems)
}

func TestCheckFindsDisagreement(t *testing.T) {
	bare := header + "id: T-001\nlevel: MUST\nsection: RFC 1\nstatement: It does.\n"
	tests := []struct {
		name, ledger, pending string
		tests                 []string
		want                  []string
	}{
		{name: "in order", ledger: header + good, tests: []string{"tftp.TestIt", "tftp.FuzzIt", "tftp.TestNot"}},
		{name: "a named test is missing", ledger: header + good, tests: []string{"tftp.TestIt", "tftp.FuzzIt"},
			want: []string{"ledger/t.txt:4: T-001 names tftp.TestNot, which does not exist"}},
		{name: "a named test is in another package", ledger: header + good, tests: []string{"tftp.TestIt", "tftp.FuzzIt", "dhcp.TestNot"},
			want: []string{"ledger/t.txt:4: T-001 names tftp.TestNot, which does not exist (there is dhcp.TestNot)"}},
		{name: "MUST without a test", ledger: bare,
			want: []string{"ledger/t.txt:4: T-001 is MUST and has no test: It does."}},
		{name: "QUIRK without a test", ledger: strings.Replace(bare, "MUST", "QUIRK", 1),
			want: []string{"ledger/t.txt:4: T-001 is QUIRK and has no test: It does."}},
		{name: "SHOULD without a test", ledger: strings.Replace(bare, "MUST", "SHOULD", 1)},
		{name: "pending", ledger: bare + "pending: windows\n", pending: waiting},
		{name: "pending with its first test", ledger: bare + "positive: tftp.TestIt\npending: windows\n", pending: waiting, tests: []string{"tftp.TestIt"}},
		{name: "feature removed from the list", ledger: bare + "pending: windows\n",
			want: []string{`ledger/t.txt:4: T-001 waits for "windows", which is not in pending.txt: name its tests`}},
		{name: "proved and still pending", ledger: header + good + "pending: windows\n", pending: waiting, tests: []string{"tftp.TestIt", "tftp.FuzzIt", "tftp.TestNot"},
			want: []string{`ledger/t.txt:4: T-001 names both its tests and still waits for "windows": remove the field pending`}},
		{name: "feature that nothing waits for", ledger: header + good, pending: waiting, tests: []string{"tftp.TestIt", "tftp.FuzzIt", "tftp.TestNot"},
			want: []string{`ledger/pending.txt:1: no line waits for "windows" any more: remove it`}},
		{name: "test named after an unknown line", ledger: header + good, tests: []string{"tftp.TestIt", "tftp.FuzzIt", "tftp.TestNot", "tftp.TestT002_More"},
			want: []string{"tftp.TestT002_More is named after T-002, which the ledger does not have"}},
		{name: "test named after a line that does not name it", ledger: header + good, tests: []string{"tftp.TestIt", "tftp.FuzzIt", "tftp.TestNot", "tftp.FuzzT001"},
			want: []string{"tftp.FuzzT001 is named after T-001, whose line does not name it"}},
		{name: "test named after several lines", ledger: header + good, tests: []string{"tftp.TestIt", "tftp.FuzzIt", "tftp.TestNot", "tftp.TestT001_T002_More"},
			want: []string{
				"tftp.TestT001_T002_More is named after T-001, whose line does not name it",
				"tftp.TestT001_T002_More is named after T-002, which the ledger does not have",
			}},
		{name: "test with a number that is no line's", ledger: header + good, tests: []string{"tftp.TestIt", "tftp.FuzzIt", "tftp.TestNot", "tftp.TestX509_Chain", "tftp.TestT2000"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ledger, problems := load(test.ledger, test.pending)
			require.Empty(t, problems)
			found := make(map[string]bool)
			for _, name := range test.tests {
				found[name] = true
			}
			require.Equal(t, test.want, conformance.Check(ledger, found))
		})
	}
}

func TestFindTestsReadsWhatGoTestWouldRun(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	found, err := conformance.FindTests(fstest.MapFS{
		"a_test.go":                  file("package pxe_test\nfunc TestRoot(t *testing.T) {}\n"),
		"a.go":                       file("package pxe\nfunc TestNotATestFile(t *testing.T) {}\n"),
		"dhcp/pxetest/b_test.go":     file("package pxetest\nfunc TestDeep(t *testing.T) {}\nfunc FuzzDeep(f *testing.F) {}\nfunc Test(t *testing.T) {}\n"),
		"tftp/c_test.go":             file("package tftp\nfunc (s) TestMethod(t *testing.T) {}\nfunc Testing(t *testing.T) {}\nfunc TestNothing() {}\nfunc TestMain(m *testing.M) {}\nfunc ExampleServer() {}\n"),
		"tftp/broken_test.go":        file("package tftp\nfunc TestBefore(t *testing.T) {}\nfunc TestBroken(t *testing.T) {\n"),
		"tftp/other_windows_test.go": file("//go:build windows\n\npackage tftp\nfunc TestElsewhere(t *testing.T) {}\n"),
		"tftp/testdata/d_test.go":    file("package d\nfunc TestData(t *testing.T) {}\n"),
		"_tools/e_test.go":           file("package e\nfunc TestHidden(t *testing.T) {}\n"),
		".git/f_test.go":             file("package f\nfunc TestGit(t *testing.T) {}\n"),
		"examples/vm/go.mod":         file("module vm\n"),
		"examples/vm/g_test.go":      file("package g\nfunc TestOtherModule(t *testing.T) {}\n"),
	}, "pxe")
	require.NoError(t, err)
	delete(found, "tftp.TestBroken") // found or not, as the parser likes
	require.Equal(t, map[string]bool{
		"pxe.TestRoot":          true,
		"dhcp/pxetest.TestDeep": true,
		"dhcp/pxetest.FuzzDeep": true,
		"dhcp/pxetest.Test":     true,
		"tftp.TestBefore":       true,
		"tftp.TestElsewhere":    true,
	}, found)
}

func TestMarkdown(t *testing.T) {
	ledger, problems := load(header+good+"\nid: T-002\nlevel: MAY\nsection: a|b\nstatement: Nothing <here>.\n"+
		"\nid: T-003\nlevel: MUST\nsection: RFC 2\nstatement: Later.\npositive: tftp.TestA, tftp.TestB\nnegative: tftp.TestB\npending: windows\n", waiting)
	require.Empty(t, problems)
	page := conformance.Markdown(ledger)
	for _, want := range []string{
		"3 lines: 1 proved, 1 pending, 1 open (SHOULD or MAY without a test).\n",
		"| Test protocol | 1 | 1 | 1 |\n",
		"- **windows**: Windows.\n",
		"## Test protocol\n",
		"| T-001 | MUST | It does. (RFC 1) | + `tftp.TestIt`<br>− `tftp.FuzzIt`<br>− `tftp.TestNot` |\n",
		`| T-002 | MAY | Nothing &lt;here>. (a\|b) |  |` + "\n",
		"| T-003 | MUST | Later. (RFC 2) | + `tftp.TestA`<br>± `tftp.TestB`<br>*pending: windows* |\n",
	} {
		require.Contains(t, page, want)
	}
}

// load reads a ledger of one protocol.
func load(ledger, pending string) (*conformance.Ledger, []string) {
	return conformance.Load(fstest.MapFS{
		"ledger/t.txt":       {Data: []byte(ledger)},
		"ledger/pending.txt": {Data: []byte(pending)},
	}, "ledger")
}
