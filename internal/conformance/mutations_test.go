package conformance_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/conformance"
)

func TestEachGuardHasAMutation(t *testing.T) {
	ledger, problems := conformance.Load(conformance.Files, "ledger")
	all, more := conformance.LoadMutations(conformance.MutationFiles, "mutations")
	problems = append(append(problems, more...), conformance.CheckMutations(ledger, all, os.DirFS(root))...)
	report(t, problems)
	require.NotEmpty(t, all)
}

func TestTheRecordOfMutationsIsComplete(t *testing.T) {
	all, problems := conformance.LoadMutations(conformance.MutationFiles, "mutations")
	report(t, problems)
	text, err := os.ReadFile(filepath.Join(root, "docs", "mutations.md"))
	require.NoError(t, err)
	page := string(text)
	for i := range all {
		before, after, found := strings.Cut(page, all[i].Row()+" ")
		date, _, _ := strings.Cut(after, " ")
		if !found {
			t.Errorf("docs/mutations.md does not say that %s fails without its guard: run \"go run ./internal/conformance/mutate\"\n%s", all[i].ID, all[i].Row())
			continue
		}
		require.Regexp(t, `^20[0-9]{2}-[0-9]{2}-[0-9]{2}$`, date)
		page = before + after
	}
	require.NotContains(t, page, "| `", "a mutation that no longer exists: run \"go run ./internal/conformance/mutate\"")
}

func TestCheckMutationsFindsDisagreement(t *testing.T) {
	guarded := header + good + "guard: input\n"
	const mutation = "id: T-001\nfile: a.go\nold: case x > 1:\nnew: case false:\ntest: tftp.TestIt\n"
	tests := []struct {
		name, ledger, mutations, source string
		want                            string // empty: nothing is wrong
	}{
		{"in order", guarded, mutation, "case x > 1:", ""},
		{"no mutation", guarded, "", "", "ledger/t.txt:4: T-001 guards against input and has no mutation"},
		{"no guard", header + good, mutation, "case x > 1:", "mutations/t.txt:1: T-001 does not say guard: input"},
		{"no such line", guarded, mutation + "\n" + strings.Replace(mutation, "001", "002", 1), "case x > 1:", "mutations/t.txt:7: T-002 is not in the ledger"},
		{"another line's test", guarded, strings.Replace(mutation, "TestIt", "TestOther", 1), "case x > 1:", "tftp.TestOther is not named by T-001"},
		{"the code has changed", guarded, mutation, "case x >= 1:", `"case x > 1:" stands 0 times in a.go`},
		{"the code is ambiguous", guarded, mutation, "case x > 1:\ncase x > 1:", "stands 2 times"},
		{"no such file", guarded, strings.Replace(mutation, "a.go", "b.go", 1), "", "b.go"},
		{"a field is missing", guarded, strings.Replace(mutation, "test:", "tests:", 1), "case x > 1:", `the field "test" is missing or empty`},
		{"another guard", guarded[:len(guarded)-len("input\n")] + "output\n", mutation, "case x > 1:", `T-001: guard is "output": write input`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ledger, problems := load(test.ledger, "")
			files := fstest.MapFS{"mutations/t.txt": {Data: []byte(test.mutations)}, "a.go": {Data: []byte(test.source)}}
			all, more := conformance.LoadMutations(files, "mutations")
			problems = append(append(problems, more...), conformance.CheckMutations(ledger, all, files)...)
			if test.want == "" {
				require.Empty(t, problems)
				return
			}
			require.NotEmpty(t, problems)
			require.Contains(t, strings.Join(problems, "\n"), test.want)
		})
	}
}
