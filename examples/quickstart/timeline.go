package main

import (
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/pxekit/pxe"
)

// timeline collects the server's events and pairs each step's begin and end.
type timeline struct {
	mu   sync.Mutex
	rows []*row
}

// row is one step of a boot.
type row struct {
	stage      pxe.Stage
	name, via  string
	begin, end time.Time
	bytes      int64
	note       string
	open       bool
}

// add is the server's OnEvent.
func (t *timeline) add(e pxe.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	stage, ends := e.Stage, e.Done
	switch e.Stage {
	case pxe.StageOffer: // what a DISCOVER came to
		stage = pxe.StageDiscover
	case pxe.StageACK: // what a REQUEST came to
		stage = pxe.StageRequest
	case pxe.StageNAK:
		stage = pxe.StageRequest
	case pxe.StageDrop:
		ends = true
	}
	r := t.open(stage, e.Name)
	begins := !e.Done && e.Bytes == 0
	if r == nil || begins {
		r = &row{stage: stage, name: e.Name, via: e.Via, begin: e.Time, open: true}
		t.rows = append(t.rows, r)
	}
	r.end, r.open = e.Time, !ends
	r.bytes = max(r.bytes, e.Bytes)
	switch {
	case errors.Is(e.Err, fs.ErrNotExist):
		r.note = "not there"
	case e.Err != nil:
		r.note = "failed: " + e.Err.Error()
	case e.Drop != "":
		r.note = "dropped: " + e.Drop
	case e.Aborted:
		r.note = "asked for its size only"
	case e.Stage == pxe.StageOffer, e.Stage == pxe.StageACK, e.Stage == pxe.StageLease && e.Done, e.Stage == pxe.StageSystem && e.Done:
		r.note = e.Addr.String()
	case e.Stage == pxe.StageNAK:
		r.note = "refused"
	}
}

// open returns the oldest unfinished step of this stage and name, nil if there is none.
func (t *timeline) open(stage pxe.Stage, name string) *row {
	for _, r := range t.rows {
		if r.open && r.stage == stage && (r.name == name || stage == pxe.StageBooter) {
			if stage == pxe.StageBooter {
				r.name = name
			}
			return r
		}
	}
	return nil
}

// snapshot returns the rows so far and the time from the first to the last.
func (t *timeline) snapshot() ([]row, time.Time, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) == 0 {
		return nil, time.Time{}, 0
	}
	rows := make([]row, 0, len(t.rows))
	first, last := t.rows[0].begin, t.rows[0].end
	for _, r := range t.rows {
		rows = append(rows, *r)
		if r.end.After(last) {
			last = r.end
		}
	}
	return rows, first, last.Sub(first)
}
