package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// family is the set of servers that a result is about.
func (r result) family() string {
	family, _, _ := strings.Cut(r.Name, "/")
	return family
}

// write adds a run of whole families to docs/bench.json, in place of what is there
// about them, and writes docs/bench.md anew.
func (r report) write(dir string) error {
	path := filepath.Join(dir, "bench.json")
	var reports []report
	old, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(old, &reports)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, err)
	}
	reports = r.replaceIn(reports)
	text, err := json.MarshalIndent(reports, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "bench.md"))
	if err != nil {
		return err
	}
	return errors.Join(markdown(f, reports), f.Close())
}

// replaceIn returns the reports without the families that r is about, and r.
func (r report) replaceIn(reports []report) []report {
	var kept []report
	for _, old := range reports {
		old.Results = slices.DeleteFunc(slices.Clone(old.Results), func(other result) bool {
			return slices.ContainsFunc(r.Results, func(own result) bool { return own.family() == other.family() })
		})
		if len(old.Results) > 0 {
			kept = append(kept, old)
		}
	}
	return append(kept, r)
}
