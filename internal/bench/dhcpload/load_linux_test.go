package dhcpload

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// fakeServer answers what comes from the Socket it returns. reply returns the
// frames for a client's packet, of which it says what it is and how many came from
// that client before.
func fakeServer(t *testing.T, reply func(client uint32, kind dhcpv4.MessageType, before int) [][]byte) *Socket {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	server := os.NewFile(uintptr(fds[1]), "server")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		seen := make(map[uint32]int)
		b := make([]byte, 2048)
		for {
			n, err := server.Read(b)
			if err != nil || n == 0 {
				return // closed
			}
			p, err := dhcpv4.FromBytes(b[headersLen:n])
			if err != nil {
				t.Errorf("a client sent what is no packet: %v", err)
				return
			}
			client := binary.BigEndian.Uint32(p.TransactionID[:])
			for _, frame := range reply(client, p.MessageType(), seen[client]) {
				if _, err := server.Write(frame); err != nil {
					return // closed
				}
			}
			seen[client]++
		}
	}()
	s := &Socket{os.NewFile(uintptr(fds[0]), "clients")}
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		<-ended
		require.NoError(t, server.Close())
	})
	return s
}

// lend is the right answer to a client: an address of its own.
func lend(client uint32, kind dhcpv4.MessageType) []byte {
	return lendAddr(client, kind, net.IPv4(192, 0, 2, byte(client)))
}

func lendAddr(client uint32, kind dhcpv4.MessageType, ip net.IP) []byte {
	answers := map[dhcpv4.MessageType]dhcpv4.MessageType{
		dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck,
	}
	b := answer(client, answers[kind], func(p *dhcpv4.DHCPv4) { p.YourIPAddr = ip })
	copy(b[ethernetLen+16:], ip.To4())
	return b
}

func TestEveryClientGetsALease(t *testing.T) {
	s := fakeServer(t, func(client uint32, kind dhcpv4.MessageType, _ int) [][]byte {
		return [][]byte{lend(client, kind), lend(client, kind)} // the second one counts for nothing
	})
	for name, l := range map[string]Load{
		"at a rate":   {Clients: 100, Rate: 10_000, Patience: time.Minute},
		"in a window": {Clients: 100, First: 100, Window: 4, Patience: time.Minute},
	} {
		got, err := s.Run(t.Context(), l)
		require.NoError(t, err, name)
		require.Equal(t, 100, got.Bound, name)
		require.Len(t, got.Offers, 100, name)
		require.Len(t, got.Acks, 100, name)
		require.IsIncreasing(t, append([]time.Duration{-1}, got.Offers[0], got.Offers[99]+1), name)
		require.Zero(t, got.Lost, name)
		require.Zero(t, got.Retries, name)
	}
}

func TestWhatNoServerMayDo(t *testing.T) {
	for name, c := range map[string]struct {
		reply func(client uint32, kind dhcpv4.MessageType) []byte
		want  string
	}{
		"one address for all": {func(client uint32, kind dhcpv4.MessageType) []byte {
			return lendAddr(client, kind, net.IPv4(192, 0, 2, 99))
		}, "192.0.2.99 was given to client"},
		"another address than was offered": {func(client uint32, kind dhcpv4.MessageType) []byte {
			return lendAddr(client, kind, net.IPv4(192, 0, byte(kind), byte(client)))
		}, "asked for 192.0.1."},
		"a NAK after an OFFER": {func(client uint32, kind dhcpv4.MessageType) []byte {
			if kind == dhcpv4.MessageTypeRequest {
				return answer(client, dhcpv4.MessageTypeNak, nil)
			}
			return lend(client, kind)
		}, "got no lease of 192.0.2."},
		"a frame to somebody else": {func(client uint32, kind dhcpv4.MessageType) []byte {
			b := lend(client, kind)
			b[5]++
			return b
		}, "which is at no address yet"},
		"bytes that are no packet": {func(client uint32, kind dhcpv4.MessageType) []byte {
			b := lend(client, kind)
			b[headersLen+236]++ // the magic cookie
			return b
		}, "no DHCP packet"},
	} {
		t.Run(name, func(t *testing.T) {
			s := fakeServer(t, func(client uint32, kind dhcpv4.MessageType, _ int) [][]byte { return [][]byte{c.reply(client, kind)} })
			_, err := s.Run(t.Context(), Load{Clients: 8, Window: 8, Patience: time.Minute})
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestClientsWithoutAnAnswer(t *testing.T) {
	s := fakeServer(t, func(client uint32, kind dhcpv4.MessageType, before int) [][]byte {
		if client%2 == 0 && before == 0 {
			return nil // it must ask again
		}
		return [][]byte{lend(client, kind)}
	})
	got, err := s.Run(t.Context(), Load{Clients: 8, Rate: 10_000, Patience: 100 * time.Millisecond})
	require.NoError(t, err)
	require.Equal(t, 4, got.Lost)
	require.Equal(t, 4, got.Bound)
	got, err = s.Run(t.Context(), Load{Clients: 8, First: 8, Rate: 10_000, Patience: time.Minute, Retry: true})
	require.NoError(t, err)
	require.Equal(t, 4, got.Retries)
	require.Equal(t, 8, got.Bound)
	require.GreaterOrEqual(t, Percentile(got.Offers, 100), time.Second, "counted from the first packet")
}

func TestRunRefuses(t *testing.T) {
	s := fakeServer(t, func(uint32, dhcpv4.MessageType, int) [][]byte { return nil })
	for _, l := range []Load{{}, {Clients: 1}, {Rate: 1}, {Clients: 1 << 24, First: 1, Rate: 1}, {Clients: 1, First: -1, Rate: 1}} {
		_, err := s.Run(t.Context(), l)
		require.Error(t, err, "%+v", l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Run(ctx, Load{Clients: 1, Rate: 1})
	require.True(t, errors.Is(err, context.Canceled))
}
