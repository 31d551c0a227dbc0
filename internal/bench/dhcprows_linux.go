package main

import (
	"fmt"
	"strings"
	"time"
)

// dhcpRows are the measurements of DHCP leases.
var dhcpRows = []row{
	droppedRow(4000, nil), droppedRow(8000, &goal{AtMost: acceptable}),
	{
		name: "dhcp/highest", what: fmt.Sprintf("perfdhcp, most with at most %g %% dropped", acceptable), unit: "exchanges/s",
		client: perfdhcpProgram, goal: &goal{Peer: "kea-dhcp4", AtLeast: 1}, measure: highest, mean: true, rounds: 3, limit: 3 * time.Minute,
	},
	latencyRow("direct", "replies to hardware addresses", false),
	latencyRow("broadcast", "broadcast replies", true),
	{
		name: "dhcp/rack", what: "1,000 clients that start within a second, slowest reply", unit: "s",
		goal: &goal{AtMost: 1}, measure: rack(1000, 1000), mean: true,
		more: []column{{name: "again", what: ": packets sent again", unit: "packets"}},
	},
	{
		name: "dhcp/storm", what: "1,000 clients that start at once, slowest reply", unit: "s",
		measure: rack(1_000_000, 1000), mean: true, without: slow,
		more: []column{{name: "again", what: ": packets sent again", unit: "packets"}},
	},
	{
		name: "dhcp/leases", what: "300,000 leases, no address twice, 64 clients at once", unit: "leases/s",
		measure: leases(300_000), mean: true, rounds: 1, limit: 10 * time.Minute, without: slow,
	},
}

// slow leaves out who would only show once more how many leases a second it writes.
var slow = map[string]string{"dnsmasq": "some hundred leases/s"}

// leases reports whether the row is about DHCP.
func (r row) leases() bool { return strings.HasPrefix(r.name, "dhcp/") }

func droppedRow(rate int, g *goal) row {
	return row{
		name: fmt.Sprintf("dhcp/drops-%d", rate), what: fmt.Sprintf("perfdhcp, %d exchanges/s, dropped", rate), unit: "%",
		client: perfdhcpProgram, goal: g, measure: dropped(rate), mean: true, without: slow,
		more: []column{
			{name: "unanswered", what: ": without replies that perfdhcp did not read in time", unit: "%"},
			{name: "cpu", what: ": CPU of the server", unit: "s/10,000"},
		},
	}
}

func latencyRow(name, what string, broadcast bool) row {
	return row{
		name: "dhcp/" + name, what: "2,000 clients/s, " + what + ", 99 % within", unit: "ms",
		goal: &goal{AtMost: 10}, measure: latencies(2000, 4000, broadcast), mean: true,
		more: []column{
			{name: "half", what: ": half of them", unit: "ms"},
			{name: "slowest", what: ": the slowest", unit: "ms"},
			{name: "lost", what: ": clients without a lease", unit: "%"},
		},
	}
}
