// Mutate takes each guard of the conformance ledger out of the source, runs the
// test that must fail then, and records it in docs/mutations.md. Run it in the
// module's root:
//
//	go run ./internal/conformance/mutate          all
//	go run ./internal/conformance/mutate D-071    those of some lines; the others' rows stay
//
// The source is not touched: the go command is given the changed file by -overlay.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pxekit/pxe/internal/conformance"
)

const (
	record = "docs/mutations.md"
	// timeout is for one test, compiling included: a guard may be one against
	// loops without end.
	timeout = 5 * time.Minute
)

const head = `<!-- Written by "go run ./internal/conformance/mutate" from internal/conformance/mutations; edit that. -->

# Mutations

Each guard against what a client sends, taken out of the source, and the test that
failed without it. The lines are those of [the conformance ledger](conformance.md).

| line | file | guard | without it | test | failed |
|---|---|---|---|---|---|
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ids []string) error {
	all, problems := conformance.LoadMutations(conformance.MutationFiles, "mutations")
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "\n"))
	}
	old, err := os.ReadFile(record)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := green(all, ids); err != nil {
		return err
	}
	rows, errs := make([]string, len(all)), make([]error, len(all))
	var work sync.WaitGroup
	turn := make(chan struct{}, runtime.NumCPU())
	for i := range all {
		m := &all[i]
		if len(ids) > 0 && !slices.Contains(ids, m.ID) {
			rows[i] = kept(string(old), m)
			continue
		}
		turn <- struct{}{}
		work.Go(func() {
			defer func() { <-turn }()
			if errs[i] = mutate(m); errs[i] != nil {
				return // told at the end
			}
			fmt.Println(m.ID, m.Test, "failed, as it must")
			rows[i] = m.Row() + " " + time.Now().UTC().Format(time.DateOnly) + " |\n"
		})
	}
	work.Wait()
	return errors.Join(append(errs, os.WriteFile(record, []byte(head+strings.Join(rows, "")), 0o644))...)
}

// kept is the row of a mutation in an earlier record, empty if it is not there.
func kept(page string, m *conformance.Mutation) string {
	for row := range strings.Lines(page) {
		if strings.HasPrefix(row, m.Row()+" ") {
			return row
		}
	}
	return ""
}

// green runs the tests with the source as it is.
func green(all []conformance.Mutation, ids []string) error {
	tests := make(map[string][]string)
	for i := range all {
		if len(ids) > 0 && !slices.Contains(ids, all[i].ID) {
			continue
		}
		folder, name := split(all[i].Test)
		if !slices.Contains(tests[folder], name) {
			tests[folder] = append(tests[folder], name)
		}
	}
	for folder, names := range tests {
		if out, err := test(folder, strings.Join(names, "|")); err != nil {
			return fmt.Errorf("the tests of %s fail before anything is changed: %w\n%s", folder, err, out)
		}
	}
	return nil
}

// mutate returns an error if the test of a mutation does not fail.
func mutate(m *conformance.Mutation) error {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	source, err := filepath.Abs(m.File)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	changed, err := m.Apply(string(text))
	if err != nil {
		return err
	}
	file, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		return err
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: file}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		return err
	}
	folder, name := split(m.Test)
	out, err := test(folder, name, "-overlay", overlay)
	switch {
	case err == nil:
		return fmt.Errorf("%s: %s: %s passes without %q in %s", m.Where, m.ID, m.Test, m.Old, m.File)
	case !strings.Contains(out, "--- FAIL: "+name) && !strings.Contains(out, "panic: "):
		return fmt.Errorf("%s: %s: the test did not run: %w\n%s", m.Where, m.ID, err, out)
	}
	return nil
}

// test runs tests of a folder.
func test(folder, names string, more ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	args := append([]string{"test", "-count=1", "-timeout", "2m", "-vet=off", "-ldflags=-s -w", "-run", "^(" + names + ")$"}, more...)
	out, err := exec.CommandContext(ctx, "go", append(args, "./"+folder)...).CombinedOutput()
	return string(out), err
}

// split parts a name as the ledger writes it.
func split(test string) (folder, name string) {
	i := strings.LastIndex(test, ".")
	if folder = test[:i]; folder == "pxe" {
		folder = "."
	}
	return folder, test[i+1:]
}
