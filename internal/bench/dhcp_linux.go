package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pxekit/pxe/internal/bench/dhcpload"
)

// exchanges are what perfdhcp says about a run, and what its namespace says.
type exchanges struct {
	discovers, acks int
	missed          int           // replies that perfdhcp's own socket had no room for
	cpu             time.Duration // of the server
}

// drops is the share of exchanges that were begun and not ended, in percent.
func (e exchanges) drops() float64 {
	return 100 * float64(e.discovers-e.acks) / float64(max(1, e.discovers))
}

// unanswered is drops without the exchanges that ended because perfdhcp did not read
// a reply in time: what the server did not do. A missed reply ends one exchange.
func (e exchanges) unanswered() float64 {
	return 100 * float64(max(0, e.discovers-e.acks-e.missed)) / float64(max(1, e.discovers))
}

// perfdhcpTime is for how long perfdhcp begins exchanges, tryTime for how long where
// the rate is searched for, and graceTime how long it then waits for the last.
const (
	perfdhcpTime = 4 * time.Second
	tryTime      = 2 * time.Second
	graceTime    = time.Second
)

// perfdhcp has a relay's clients begin so many exchanges a second, for whole
// seconds: four packets each, of a client that is picked at random.
func perfdhcp(ctx context.Context, r *running, rate int, d time.Duration) (e exchanges, err error) {
	for range 3 {
		if e, err = perfdhcpOnce(ctx, r, rate, d); !errors.Is(err, errTimestamps) {
			break
		}
	}
	return e, err
}

// errTimestamps is what perfdhcp ends with when it did not come to note the time of
// a packet that it had sent before the reply was there: on a busy machine.
var errTimestamps = errors.New("perfdhcp had to wait for a CPU")

func perfdhcpOnce(ctx context.Context, r *running, rate int, d time.Duration) (e exchanges, err error) {
	before, err := cpuTime(r.pid)
	if err != nil {
		return e, err
	}
	var out string
	var missed int
	err = r.cable.do(func() error {
		overflowsBefore, err := overflows()
		if err != nil {
			return err
		}
		out, err = run(ctx, "perfdhcp", "-4", "-r", strconv.Itoa(rate), "-R", "1000000", "-p", strconv.Itoa(int(d.Seconds())),
			"-W", strconv.Itoa(int(graceTime.Microseconds())), "-l", relayAddr, serverAddr)
		overflowsAfter, countErr := overflows()
		missed = overflowsAfter - overflowsBefore
		return errors.Join(err, countErr)
	})
	// It ends with 3 when exchanges were not completed.
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 3) {
		if strings.Contains(err.Error(), "timestamp must not be greater") {
			err = errTimestamps
		}
		return e, err
	}
	if e, err = parsePerfdhcp(out); err != nil {
		return e, err
	}
	after, err := cpuTime(r.pid)
	e.cpu, e.missed = after-before, missed
	return e, err
}

// overflows is how many datagrams found no room in a socket of this thread's network
// namespace.
func overflows() (int, error) {
	text, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		return 0, err
	}
	return parseOverflows(string(text))
}

// parseOverflows finds UDP's RcvbufErrors: a line of names, and one of their values.
func parseOverflows(snmp string) (int, error) {
	var names []string
	for line := range strings.Lines(snmp) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] != "Udp:":
		case names == nil:
			names = fields
		default:
			if i := slices.Index(names, "RcvbufErrors"); i >= 0 && i < len(fields) {
				return strconv.Atoi(fields[i])
			}
		}
	}
	return 0, fmt.Errorf("no RcvbufErrors of UDP in %q", snmp)
}

var perfdhcpCounts = regexp.MustCompile(`Statistics for: (DISCOVER-OFFER|REQUEST-ACK)\*\*\*\nsent packets: (\d+)\nreceived packets: (\d+)\n`)

func parsePerfdhcp(out string) (e exchanges, err error) {
	for _, match := range perfdhcpCounts.FindAllStringSubmatch(out, -1) {
		sent, err1 := strconv.Atoi(match[2])
		received, err2 := strconv.Atoi(match[3])
		if err := errors.Join(err1, err2); err != nil {
			return e, fmt.Errorf("perfdhcp: %w", err)
		}
		if match[1] == "REQUEST-ACK" {
			e.acks = received
		} else {
			e.discovers = sent
		}
	}
	if e.discovers == 0 || e.acks > e.discovers {
		return e, fmt.Errorf("perfdhcp without counts that make sense: %+v: %q", e, out)
	}
	return e, nil
}

// dropped measures what share of so many exchanges a second is not completed, what
// share the server did not answer, and its CPU time for 10,000 that are completed.
func dropped(rate int) func(context.Context, *running) (sample, error) {
	return func(ctx context.Context, r *running) (sample, error) {
		e, err := perfdhcp(ctx, r, rate, perfdhcpTime)
		return sample{value: e.drops(), more: []float64{e.unanswered(), e.cpu.Seconds() * 10_000 / float64(max(1, e.acks))}}, err
	}
}

const (
	acceptable = 0.1 // percent of exchanges that may be dropped
	// hopeless is the percentage that no pause of the machine explains.
	hopeless = 5
	// searchFrom is the first rate that is tried; the search ends at four times
	// that, and at a hundredth.
	searchFrom = 8000
)

// highest finds how many exchanges a second the server completes while it drops no
// more than is acceptable: by doubling or halving the rate, and then by three
// steps in between. A rate counts as too high when it was so twice, for on a machine
// that others use too a pause of theirs is soon one drop in a thousand; or when it
// was hopeless.
func highest(ctx context.Context, r *running) (sample, error) {
	done := 0.0
	holds := func(rate int) (bool, error) {
		for range 2 {
			e, err := perfdhcp(ctx, r, rate, tryTime)
			if err != nil {
				return false, err
			}
			reached := float64(e.acks) / tryTime.Seconds()
			if e.drops() <= acceptable && reached >= 0.95*float64(rate) {
				done = max(done, reached)
				return true, nil
			}
			if e.drops() > hopeless {
				break
			}
		}
		return false, nil
	}
	_, _, err := search(searchFrom, searchFrom/100, searchFrom*4, holds)
	return sample{value: done}, err
}

// search returns the highest rate it tried that holds, and the lowest that does
// not; zero where there is none between lowest and most.
func search(first, lowest, most int, holds func(rate int) (bool, error)) (good, bad int, err error) {
	for rate := first; rate >= lowest && rate <= most; {
		ok, err := holds(rate)
		if err != nil {
			return good, bad, err
		}
		if ok {
			good, rate = rate, 2*rate
		} else {
			bad, rate = rate, rate/2
		}
		if good != 0 && bad != 0 {
			break
		}
	}
	for range 3 {
		if good == 0 || bad == 0 {
			break
		}
		rate := (good + bad) / 2
		ok, err := holds(rate)
		if err != nil {
			return good, bad, err
		}
		if ok {
			good = rate
		} else {
			bad = rate
		}
	}
	return good, bad, nil
}

// latencies measures the times of replies to clients on the cable, of which so
// many start each second: the one within which 99 percent come, the median and the
// longest; and what share of the clients got no lease.
func latencies(rate, clients int, broadcast bool) func(context.Context, *running) (sample, error) {
	return func(ctx context.Context, r *running) (sample, error) {
		got, err := r.cable.play(ctx, dhcpload.Load{Clients: clients, Rate: rate, Broadcast: broadcast})
		return sample{value: milliseconds(got, 99), more: []float64{
			milliseconds(got, 50), milliseconds(got, 100), 100 * float64(got.Lost) / float64(clients),
		}}, err
	}
}

// rack measures the slowest reply to clients that start at that rate and, as
// machines do, ask again and again until they have a lease.
func rack(rate, clients int) func(context.Context, *running) (sample, error) {
	return func(ctx context.Context, r *running) (sample, error) {
		got, err := r.cable.play(ctx, dhcpload.Load{Clients: clients, Rate: rate, Retry: true, Patience: 30 * time.Second})
		if err == nil && got.Lost > 0 {
			err = fmt.Errorf("%d of %d clients have no lease after 30 seconds", got.Lost, clients)
		}
		return sample{value: milliseconds(got, 100) / 1e3, more: []float64{float64(got.Retries)}}, err
	}
}

// leases measures how many clients a second, 64 at a time, get a lease; an address
// that two of them get is an error.
func leases(clients int) func(context.Context, *running) (sample, error) {
	return func(ctx context.Context, r *running) (sample, error) {
		got, err := r.cable.play(ctx, dhcpload.Load{Clients: clients, Window: 64, Retry: true, Patience: 20 * time.Second})
		if err == nil && got.Lost > 0 {
			err = fmt.Errorf("%d of %d clients have no lease after 20 seconds", got.Lost, clients)
		}
		return sample{value: float64(got.Bound) / got.Took.Seconds()}, err
	}
}

func milliseconds(r dhcpload.Result, percent float64) float64 {
	return float64(dhcpload.Percentile(r.Replies(), percent)) / float64(time.Millisecond)
}

// servesDHCP waits for the first lease of a server.
func servesDHCP(ctx context.Context, r *running) error {
	for ctx.Err() == nil {
		got, err := r.cable.play(ctx, dhcpload.Load{Clients: 1, Window: 1, Patience: 200 * time.Millisecond})
		if err != nil || got.Bound == 1 {
			return err
		}
		if ended(r.pid) {
			return errors.New("ended before it gave a lease")
		}
	}
	return errors.New("gave no lease in time")
}

// ip runs the ip command once for each line of arguments.
func ip(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if _, err := run(ctx, "ip", strings.Fields(line)...); err != nil {
			return fmt.Errorf("ip %s: %w", line, err)
		}
	}
	return nil
}
