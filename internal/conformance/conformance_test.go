package conformance_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/conformance"
)

var update = flag.Bool("update", false, "write docs/conformance.md from the ledger")

// root is the module's folder, seen from this package's.
const root = "../.."

// rootName stands for the root package in the names of tests.
const rootName = "pxe"

func TestLedgerAgreesWithTheTests(t *testing.T) {
	ledger, problems := conformance.Load(conformance.Files, "ledger")
	tests, err := conformance.FindTests(os.DirFS(root), rootName)
	require.NoError(t, err)
	problems = append(problems, conformance.Check(ledger, tests)...)
	report(t, problems)
	t.Log(conformance.Summary(ledger))
}

func TestReportIsCurrent(t *testing.T) {
	ledger, problems := conformance.Load(conformance.Files, "ledger")
	report(t, problems)
	name := filepath.Join(root, "docs", "conformance.md")
	want := conformance.Markdown(ledger)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(want), 0o644))
	}
	got, err := os.ReadFile(name)
	require.NoError(t, err)
	if strings.ReplaceAll(string(got), "\r\n", "\n") != want {
		t.Errorf("docs/conformance.md is not what the ledger says: run \"go test ./internal/conformance -update\"")
	}
}

// report fails the test once for each problem.
func report(t *testing.T, problems []string) {
	t.Helper()
	for _, problem := range problems {
		t.Error(problem)
	}
}
