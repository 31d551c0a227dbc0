package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pxekit/pxe/internal/vm"
)

// sampleLimit bounds one measurement of one server, its start and end included.
const sampleLimit = 2 * time.Minute

func main() {
	if len(os.Args) > 1 && os.Args[1] == serveCommand {
		exit(serve(os.Args[2:]))
	}
	runtime.LockOSThread() // see start
	var o options
	flag.StringVar(&o.rows, "rows", "", "measure the rows with this in their names only, and write no files unless it is nbd, http or dhcp")
	flag.IntVar(&o.rounds, "n", 5, "rounds")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "folder for 2 GiB of files that are served")
	flag.StringVar(&o.out, "out", "docs", "folder for bench.md and bench.json")
	flag.StringVar(&o.profile, "profile", "", "write CPU profiles of our side, ROW before the name's ending")
	flag.Parse()

	inside, code, err := vm.EnterNamespace()
	if err == nil && !inside {
		os.Exit(code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: on the loopback interface of this system:", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	exit(o.bench(ctx, inside))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

type options struct {
	rows, dir, out, profile string
	rounds                  int
}

func (o *options) bench(ctx context.Context, inside bool) (err error) {
	if inside {
		if err := prepareNamespace(); err != nil {
			return err
		}
	}
	// A thousand connections need as many descriptors, here and in the servers.
	limit := unix.Rlimit{Cur: 8192, Max: 8192}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("8192 open files: %w", err)
	}
	dir, err := os.MkdirTemp(o.dir, "bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	chosen := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !strings.Contains(r.name, o.rows) })
	in := &inputs{dir: dir}
	if slices.ContainsFunc(chosen, func(r row) bool { return !r.leases() }) {
		if in, err = newInputs(dir); err != nil {
			return err
		}
	}
	if inside && slices.ContainsFunc(chosen, row.leases) {
		if in.cable, err = layCable(ctx); err != nil {
			return err
		}
	}
	r := report{Date: time.Now().UTC().Format(time.DateOnly), Rounds: o.rounds, Versions: make(map[string]string)}
	r.Machine = describe(dir, inside)
	before, err := parseCPU(first("/proc/stat"))
	if err != nil {
		return err
	}
	var failed error
	for _, row := range chosen {
		results, err := o.measure(ctx, row, in, r.Versions)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = errors.Join(failed, err)
		r.Results = append(r.Results, results...)
	}
	r.Machine.LoadAfter = load()
	after, err := parseCPU(first("/proc/stat"))
	if err != nil {
		return err
	}
	r.Machine.Stolen = after.since(before)
	if err := markdown(os.Stdout, []report{r}); err != nil {
		return err
	}
	if _, family := families[o.rows]; (family || o.rows == "") && failed == nil {
		return r.write(o.out)
	}
	return failed
}

// measure is all rounds of a row. An error is one of our side; what fails
// elsewhere is in the result.
func (o *options) measure(ctx context.Context, row row, in *inputs, versions map[string]string) ([]result, error) {
	name, _, _ := strings.Cut(row.name, "/")
	servers := families[name]
	// The speed, and the CPU time of the server alone and with its client's.
	lines := []result{{Name: row.name, What: row.what, Unit: row.unit, Goal: row.goal}}
	for _, c := range row.more {
		lines = append(lines, result{Name: row.name + "-" + c.name, What: row.what + c.what, Unit: c.unit, Goal: c.goal})
	}
	if row.cpu {
		lines = append(lines, result{Name: row.name + "-cpu", What: row.what + ", CPU of the server", Unit: "s/GiB", Goal: row.cpuGoal})
	}
	if row.cpu && row.client.name == "" {
		lines = append(lines, result{Name: row.name + "-both", What: row.what + ", CPU of both ends", Unit: "s/GiB"})
	}
	notes := make([]string, len(servers)) // why one is not measured
	for i, s := range servers {
		notes[i] = cmp.Or(row.without[s.name], row.client.missing(), s.program.missing())
		if s.serves != nil && in.cable == nil {
			notes[i] = "no network namespace"
		}
		for _, p := range []program{s.program, row.client} {
			if line := p.versionLine(); line != "" && versions[p.name] == "" {
				versions[p.name] = line
			}
		}
	}
	for i := range lines {
		lines[i].Load, lines[i].Trimmed = load(), row.mean
		for _, s := range servers {
			lines[i].Servers = append(lines[i].Servers, figure{Server: s.name})
		}
	}
	if o.profile != "" {
		ending := filepath.Ext(o.profile)
		in.profile = strings.TrimSuffix(o.profile, ending) + "." + strings.ReplaceAll(row.name, "/", "-") + ending
	}
	var failed error
	rounds := o.rounds
	if row.rounds != 0 {
		rounds = min(rounds, row.rounds)
	}
	for round := range rounds {
		for i := range servers {
			// Another one begins each round: the first may meet colder caches.
			at := (round + i) % len(servers)
			if ctx.Err() != nil || notes[at] != "" {
				continue
			}
			got, err := once(ctx, row, servers[at], in)
			if err != nil {
				err = fmt.Errorf("%s: %s: %w", row.name, servers[at].name, err)
				fmt.Fprintln(os.Stderr, "bench:", err)
				notes[at] = "failed"
				if at == 0 {
					failed = errors.New(row.name + ": ours failed")
				}
				continue
			}
			fmt.Fprintf(os.Stderr, "%-18s round %d  %-10s %9s %s\n", row.name, round+1, servers[at].name, number(got[0]), row.unit)
			for i := range lines {
				lines[i].Servers[at].Samples = append(lines[i].Servers[at].Samples, got[i])
			}
		}
	}
	for i := range lines {
		for at, note := range notes {
			if note != "" {
				lines[i].Servers[at] = figure{Server: servers[at].name, Note: note}
			}
		}
		lines[i].finish()
	}
	return lines, failed
}

// once measures one server that is started for this. It returns the value and
// what else the row has, the server's CPU seconds for each GiB, and the same with
// those of this process, which is the client of many rows: on a loopback interface,
// each end does a part of the other's work in the kernel.
func once(ctx context.Context, row row, s server, in *inputs) (values []float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(row.limit, sampleLimit))
	defer cancel()
	if row.leases() {
		// What the server before has left in the kernel's table of neighbours, as
		// dnsmasq does with each client, is in the way of this one.
		if err := ip(ctx, "neigh flush dev "+serverEnd); err != nil {
			return nil, err
		}
	}
	r, err := start(ctx, s, in)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	before, err := cpuTime(r.pid)
	if err != nil {
		return nil, err
	}
	ownBefore := clockOf(os.Getpid())
	got, err := row.measure(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("%w; the server said: %s", err, r.tail())
	}
	own := clockOf(os.Getpid()) - ownBefore
	after, err := cpuTime(r.pid)
	values = append([]float64{got.value}, got.more...)
	if got.bytes > 0 {
		gib := float64(got.bytes) / (1 << 30)
		cpu := (after - before).Seconds() / gib
		values = append(values, cpu, cpu+own.Seconds()/gib)
	}
	return values, err
}

// prepareNamespace switches the loopback interface on and makes reno the
// congestion control of the namespace.
func prepareNamespace() error {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("ip link set lo up: %w: %s", err, out)
	}
	return os.WriteFile(congestionPath, []byte("reno"), 0)
}

const congestionPath = "/proc/sys/net/ipv4/tcp_congestion_control"
