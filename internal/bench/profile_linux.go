package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
)

// startProfile begins a CPU profile into the file of this name. What it returns
// ends it, and writes what was allocated and for which locks goroutines waited into
// files beside it. Without a name nothing is profiled.
func startProfile(name string) (stop func() error, err error) {
	if name == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	runtime.SetMutexProfileFraction(100)
	return func() error {
		pprof.StopCPUProfile()
		err := f.Close()
		ending := filepath.Ext(name)
		for _, kind := range []string{"allocs", "mutex"} {
			err = errors.Join(err, writeProfile(kind, strings.TrimSuffix(name, ending)+"."+kind+ending))
		}
		return err
	}, nil
}

func writeProfile(kind, name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(kind).WriteTo(f, 0), f.Close())
}
