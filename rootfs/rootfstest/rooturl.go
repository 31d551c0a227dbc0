package rootfstest

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"sync"

	"github.com/pxekit/pxe/rootfs"
)

// validate checks Validator.
func (s *suite) validate(r *report) {
	v, ok := s.create().(rootfs.Validator)
	if !ok {
		return
	}
	for range 2 { // a server calls it once, a program of yours maybe again
		if err := v.Validate(); err != nil {
			r.add("it refuses the transport that Test was given, which shall be valid: %v", err)
		}
	}
}

// rootURL checks RootURL, one call at a time.
func (s *suite) rootURL(r *report) {
	transport := s.create()
	found := false
	for _, known := range s.targets() {
		if len(r.problems) > 0 {
			return // the next would only say the same of another target
		}
		target := known.target
		before := clone(target)
		first, err := transport.RootURL(target)
		if !sameTarget(target, before) {
			r.add("it changes %s: transports must not change what a Target points to", known.name)
			return
		}
		if known.wanted && err != nil {
			r.add("it has no URL for %s: %v", known.name, err)
		}
		if !s.answer(r, known, "URL", first == nil, err) || first == nil {
			continue
		}
		found = true
		s.checkURL(r, known, first)
		s.owned(r, transport, known, before, first)
	}
	if !found && len(r.problems) == 0 {
		r.add("it has no URL for any target, so no machine can use it; it may need one of your own: see Targets")
	}
}

// answer checks that a call gave either a result or an error, and the error. It
// reports whether the two can be told apart.
func (s *suite) answer(r *report, known knownTarget, what string, isNil bool, err error) bool {
	switch {
	case err == nil && isNil:
		r.add("it gives %s neither a %s nor an error", known.name, what)
		return false
	case err == nil:
		return true
	case !isNil:
		r.add("it gives %s both a %s and an error (%v): an answer is one of them", known.name, what, err)
		return false
	}
	var target *rootfs.TargetError
	if !errors.As(err, &target) {
		r.add("it gives %s the error %q, in which errors.As finds no *rootfs.TargetError: "+
			"a target that cannot use a valid transport is told so by one", known.name, err)
		return true
	}
	for _, field := range []struct{ name, value string }{
		{"Transport", target.Transport}, {"Reason", target.Reason}, {"Remedy", target.Remedy},
	} {
		if field.value == "" {
			r.add("it gives %s a TargetError without %s (%q): an error names the transport, what is missing and what to do about it",
				known.name, field.name, err)
		}
	}
	if why := oneSentence(err); why != "" {
		r.add("its error for %s %s: %q", known.name, why, err)
	}
	return true
}

// owned checks that the answer is the same the next time, and the caller's.
func (s *suite) owned(r *report, transport rootfs.RootFSTransport, known knownTarget, target rootfs.Target, first *url.URL) {
	kept := cloneURL(first)
	second, err := transport.RootURL(clone(target))
	if err != nil || second == nil || !reflect.DeepEqual(kept, second) {
		r.add("it is not deterministic: asked twice about %s it says %q, and then %v (%v)", known.name, kept, second, err)
		return
	}
	*first = url.URL{Scheme: "changed", Host: "changed", Path: "/changed"}
	if first == second || !reflect.DeepEqual(kept, second) {
		r.add("it gives the same *url.URL twice for %s: the caller owns the URL that it gets, return a copy", known.name)
		return
	}
	if second.User != nil && second.User == kept.User {
		r.add("two of its URLs for %s share their Userinfo: return a deep copy", known.name)
	}
	third, err := transport.RootURL(clone(target))
	if err != nil || third == nil || !reflect.DeepEqual(kept, third) {
		r.add("its URL for %s becomes %v (%v) when a caller changes the one that it got: the caller owns that, return a copy", known.name, third, err)
	}
	// The URL that it returned may be the target's own.
	ours := clone(target)
	before := clone(ours)
	u, err := transport.RootURL(ours)
	if err == nil && u != nil {
		*u = url.URL{}
	}
	if !sameTarget(ours, before) {
		r.add("its URL for %s is one of the Target's: the caller owns the URL that it gets, return a copy", known.name)
	}
}

// concurrently asks about all targets on many goroutines, which change what
// they get, and compares with what one alone was told. A transport that goes
// wrong with one caller would only do so again, in less clear words.
func (s *suite) concurrently(r *report) {
	if s.failed {
		return
	}
	transport := s.create()
	list := s.targets()
	want := make([]string, len(list))
	for i, known := range list {
		want[i] = told(transport, known.target)
	}
	const goroutines, rounds = 8, 20
	var group sync.WaitGroup
	var mu sync.Mutex
	for g := range goroutines {
		group.Go(func() {
			for round := range rounds {
				i := (g + round) % len(list)
				if got := told(transport, list[i].target); got != want[i] {
					mu.Lock()
					r.add("one goroutine is told %q about %s, several at once %q", want[i], list[i].name, got)
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
}

// told is all that a transport says about a target, as text. It runs on
// goroutines where a panic would end the program.
func told(transport rootfs.RootFSTransport, target rootfs.Target) (text string) {
	defer func() {
		if v := recover(); v != nil {
			text = fmt.Sprint("panic: ", v)
		}
	}()
	u, err := transport.RootURL(target)
	if err != nil {
		return "error: " + err.Error()
	}
	if u == nil {
		return "nothing"
	}
	text = u.String()
	*u = url.URL{Path: "/changed"}
	if m, ok := transport.(rootfs.Mounter); ok {
		options, err := m.MountOptions(target)
		if err != nil {
			return text + " error: " + err.Error()
		}
		for i, option := range options.NFS {
			text += " " + option
			options.NFS[i] = "changed"
		}
	}
	return text
}
