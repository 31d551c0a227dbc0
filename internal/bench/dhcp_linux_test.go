package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParsePerfdhcp(t *testing.T) {
	const counts = "***Rate statistics***\nRate: 19.5 4-way exchanges/second, expected rate: 20\n\n" +
		"***Statistics for: DISCOVER-OFFER***\nsent packets: 80\nreceived packets: 79\ndrops: 1\n\n" +
		"***Statistics for: REQUEST-ACK***\nsent packets: 79\nreceived packets: 78\ndrops: 1\n"
	got, err := parsePerfdhcp(counts)
	require.NoError(t, err)
	require.Equal(t, exchanges{discovers: 80, acks: 78}, got)
	require.Equal(t, 2.5, got.drops())
	for name, out := range map[string]string{
		"nothing":               "",
		"no statistics":         "perfdhcp: failed to bind",
		"nothing sent":          "***Statistics for: DISCOVER-OFFER***\nsent packets: 0\nreceived packets: 0\n",
		"more acks than begun":  "***Statistics for: DISCOVER-OFFER***\nsent packets: 1\nreceived packets: 1\n***Statistics for: REQUEST-ACK***\nsent packets: 1\nreceived packets: 2\n",
		"a number out of range": "***Statistics for: DISCOVER-OFFER***\nsent packets: 99999999999999999999\nreceived packets: 1\n",
	} {
		_, err := parsePerfdhcp(out)
		require.Error(t, err, name)
	}
}

func TestUnanswered(t *testing.T) {
	e := exchanges{discovers: 1000, acks: 990, missed: 8}
	require.Equal(t, 1.0, e.drops())
	require.Equal(t, 0.2, e.unanswered())
	e.missed = 11 // one came late, and its exchange was over
	require.Zero(t, e.unanswered())
}

func TestParseOverflows(t *testing.T) {
	const snmp = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n" +
		"Udp: 64000 1 7 64000 6 0\nUdpLite: InDatagrams\nUdpLite: 0\n"
	n, err := parseOverflows(snmp)
	require.NoError(t, err)
	require.Equal(t, 6, n)
	for _, broken := range []string{"", "Udp: RcvbufErrors\n", "Udp: InErrors\nUdp: 0\n", "Udp: InErrors RcvbufErrors\nUdp: 0\n"} {
		_, err := parseOverflows(broken)
		require.Error(t, err, broken)
	}
	_, err = overflows()
	require.NoError(t, err)
}

func TestSearch(t *testing.T) {
	for name, c := range map[string]struct {
		limit     int // the server's
		good, bad int // what is found
	}{
		"between":         {6500, 6500, 7000},
		"below the first": {150, 140, 156},
		"none":            {10, 0, 62},
		"above all":       {1 << 20, 32_000, 0},
	} {
		tries := 0
		good, bad, err := search(2000, 40, 32_000, func(rate int) (bool, error) {
			tries++
			return rate <= c.limit, nil
		})
		require.NoError(t, err, name)
		require.Equal(t, c.good, good, name)
		require.Equal(t, c.bad, bad, name)
		require.LessOrEqual(t, tries, 10, name)
	}
	broken := errors.New("broken")
	_, _, err := search(2000, 40, 32_000, func(int) (bool, error) { return false, broken })
	require.ErrorIs(t, err, broken)
}

func TestGoalOfARowWithoutPeer(t *testing.T) {
	r := result{Unit: "%", Goal: &goal{AtMost: 0.1}, Trimmed: true, Servers: []figure{{Server: oursName}}}
	require.Equal(t, "at most 0.1: not measured", r.verdict())
	r.Servers[0].Samples = []float64{0, 0, 0}
	r.finish()
	require.Equal(t, "at most 0.1: met", r.verdict())
	r.Servers[0].Samples = []float64{0, 0.2, 0.2, 0.2, 9}
	r.finish()
	require.InDelta(t, 0.2, r.Servers[0].Mean, 1e-9, "the highest and the lowest do not count")
	require.Equal(t, "at most 0.1: **missed**", r.verdict())
}
