package vm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
)

// Relayed is a segment from which the server is reached through a relay agent and
// router only: ISC's dhcrelay, on a host of its own ([Peer]).
type Relayed struct {
	// Network is where machines are plugged. The server's host has no address on it.
	*Network
	// Relay is the relay agent's address there, which machines have as their router.
	Relay netip.Addr

	host  *Peer
	agent *Process
}

// RelayOptions are what a relay agent adds to what it relays.
type RelayOptions struct {
	// Circuit adds option 82 with the interface's name (RFC 3046).
	Circuit bool
}

// NewRelayed makes the segment name, as [NewNetwork] does, and a relay agent between
// it and upstream: with the address relay there and the address on upstream above,
// which the server's host gets a route through.
func NewRelayed(ctx context.Context, name string, relay netip.Prefix, upstream *Network, above netip.Addr, o RelayOptions) (*Relayed, error) {
	n, err := NewNetwork(ctx, name, netip.Prefix{})
	if err != nil {
		return nil, err
	}
	r := &Relayed{Network: n, Relay: relay.Addr()}
	if err := r.start(ctx, relay, upstream, above, o); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Relayed) start(ctx context.Context, relay netip.Prefix, upstream *Network, above netip.Addr, o RelayOptions) error {
	var err error
	if r.host, err = NewPeer(ctx); err != nil {
		return err
	}
	down, err := r.host.Plug(ctx, r.Network, relay)
	if err != nil {
		return err
	}
	up, err := r.host.Plug(ctx, upstream, netip.PrefixFrom(above, upstream.addr.Bits()))
	if err != nil {
		return err
	}
	if err := ip(ctx, fmt.Sprintf("route add %s via %s", relay.Masked(), above)); err != nil {
		return err
	}
	args := []string{"-4", "-d", "--no-pid", "-id", down, "-iu", up}
	if o.Circuit {
		args = append(args, "-a")
	}
	program, args := r.host.command("dhcrelay", append(args, upstream.addr.Addr().String())...)
	// Its sockets are open when it says this, the last of its lines.
	r.agent, err = start(ctx, exec.CommandContext(ctx, program, args...), `^Sending on +Socket/fallback`)
	return err
}

// Log is what the relay agent said of the messages that it passed on.
func (r *Relayed) Log() *Transcript { return r.agent.Stderr }

// MissingRelay says in one line what a relay agent needs beyond what machines need;
// "" if nothing is missing.
func MissingRelay() string {
	return missing([]requirement{
		{pkg: "isc-dhcp-relay", program: "dhcrelay"},
		{pkg: "procps", program: "sysctl"},
	})
}

// Close takes the relay agent and the segment away. Stop the machines first.
func (r *Relayed) Close() error {
	if r.agent != nil {
		r.agent.Kill()
	}
	var err error
	if r.host != nil {
		err = r.host.Close()
	}
	return errors.Join(err, r.Network.Close())
}
