package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// row is one measurement. Its name begins with the family of servers it is for.
type row struct {
	name, what, unit string
	client           program // none: ours
	goal             *goal
	measure          func(ctx context.Context, r *running) (sample, error)
	// cpu makes another row of the server's CPU seconds for each GiB it sent, and
	// if the client is ours, one of both ends' together.
	cpu     bool
	cpuGoal *goal
	// more makes other rows of what else measure found.
	more []column
	// mean has a server's figure be the mean of the rounds without the highest and
	// the lowest, not their median.
	mean bool
	// rounds and limit, unless 0, are how many rounds suffice and how long a
	// measurement may take.
	rounds int
	limit  time.Duration
	// without says why a server is not measured.
	without map[string]string
}

// column is a row made of another figure of a measurement.
type column struct {
	name, what, unit string // the name and the text come after those of the row
	goal             *goal
}

// sample is what one measurement gave: a value in the row's unit, and how many
// bytes the server sent for it.
type sample struct {
	value float64
	bytes int64
	more  []float64 // for the row's more
}

// Goals of the project. An idle NBD connection's and a download's memory are
// limits in the rows' units.
var (
	nbdSpeed  = &goal{Peer: "nbdkit", AtLeast: 0.97}
	httpSpeed = &goal{Peer: "nginx", AtLeast: 1}
	httpCPU   = &goal{Peer: "nginx", AtMost: 1}
)

// rows are all measurements, in the order of the tables.
var rows = slices.Concat([]row{
	{name: "nbd/nbdcopy-1", what: "nbdcopy, 1 connection", unit: "MB/s", client: nbdcopyProgram, goal: nbdSpeed, measure: nbdcopy(1), cpu: true},
	{name: "nbd/nbdcopy-4", what: "nbdcopy, 4 connections", unit: "MB/s", client: nbdcopyProgram, goal: nbdSpeed, measure: nbdcopy(4)},
	{name: "nbd/qemu-img-4k", what: "qemu-img bench 4k, depth 16", unit: "MB/s", client: qemuImgProgram, goal: nbdSpeed, measure: qemuImg(4<<10, 16_384)},
	{name: "nbd/qemu-img-64k", what: "qemu-img bench 64k, depth 16", unit: "MB/s", client: qemuImgProgram, goal: nbdSpeed, measure: qemuImg(64<<10, 16_384)},
	{name: "nbd/fio-4k-1", what: "fio random 4k, 1 connection", unit: "MB/s", client: fioProgram, goal: nbdSpeed, measure: fio("4k", 1)},
	{name: "nbd/fio-4k-4", what: "fio random 4k, 4 connections", unit: "MB/s", client: fioProgram, goal: nbdSpeed, measure: fio("4k", 4)},
	{name: "nbd/fio-128k-1", what: "fio random 128k, 1 connection", unit: "MB/s", client: fioProgram, goal: nbdSpeed, measure: fio("128k", 1)},
	{name: "nbd/fio-128k-4", what: "fio random 128k, 4 connections", unit: "MB/s", client: fioProgram, goal: nbdSpeed, measure: fio("128k", 4), cpu: true},
	{name: "nbd/idle", what: "memory of an idle connection, of 1,000", unit: "KiB", goal: &goal{AtMost: 64}, measure: idleNBD(1000)},

	{name: "http/stream-1", what: "1 stream of 1 GiB", unit: "MB/s", goal: httpSpeed, measure: streams(1, bigSize, (*download).receive), cpu: true, cpuGoal: httpCPU},
	{name: "http/stream-64", what: "64 streams of 32 MiB", unit: "MB/s", goal: httpSpeed, measure: streams(64, 32<<20, (*download).receive), cpu: true, cpuGoal: httpCPU},
	{name: "http/discard-1", what: "1 stream, thrown away by the client's kernel", unit: "MB/s", measure: streams(1, bigSize, (*download).discard), cpu: true, cpuGoal: httpCPU},
	{name: "http/discard-64", what: "64 streams, thrown away by the client's kernel", unit: "MB/s", measure: streams(64, 32<<20, (*download).discard), cpu: true, cpuGoal: httpCPU},
	{name: "http/small", what: fmt.Sprintf("files of %d KiB, %d kept connections", smallSize>>10, smallMany), unit: "requests/s", measure: smallFiles},
	{name: "http/clients", what: "memory of 1,000 downloads at once", unit: "MiB", goal: &goal{AtMost: 64}, measure: downloads(1000)},
}, dhcpRows)
