package vm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Network is a segment: a bridge, with the server's address on it, to which
// machines are plugged. It has no spanning tree, so a machine's first packet
// already gets through. Methods may be called concurrently.
type Network struct {
	bridge string
	addr   netip.Prefix

	router *router

	mu   sync.Mutex
	taps []string
	next int
}

// NewNetwork makes the bridge name (at most 10 bytes, so that names of its ports can
// be made from it) with the address and mask addr, none if that is zero, and brings
// the loopback interface up. It works only in a namespace made by [EnterNamespace]: it refuses to touch
// the network of the host.
//
// An IPv6 router is there too, which has nothing to offer and says so: iPXE waits
// 17 seconds for one otherwise.
func NewNetwork(ctx context.Context, name string, addr netip.Prefix) (*Network, error) {
	inside, _, err := insideNamespace()
	if err != nil {
		return nil, err
	}
	if !inside {
		return nil, errors.New("vm: NewNetwork outside a namespace of its own: call EnterNamespace first")
	}
	if len(name) == 0 || len(name) > 10 {
		return nil, fmt.Errorf("vm: bridge name %q: 1 to 10 bytes are possible", name)
	}
	n := &Network{bridge: name, addr: addr}
	for _, args := range []string{
		"link set lo up",
		// An address of its own: a bridge without one takes its ports' lowest and
		// changes it as machines come and go.
		fmt.Sprintf("link add %s address %s type bridge stp_state 0 forward_delay 0 mcast_snooping 0", name, bridgeAddr(name)),
	} {
		if err := ip(ctx, args); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	if addr.IsValid() {
		if err := n.AddAddr(ctx, addr); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	for _, args := range []string{
		fmt.Sprintf("addr add %s/64 dev %s nodad", routerAddr, name),
		fmt.Sprintf("link set %s up", name),
	} {
		if err := ip(ctx, args); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	if n.router, err = startRouter(name); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// bridgeAddr makes a locally administered hardware address out of a bridge's name,
// distinct for names that differ in their last four bytes.
func bridgeAddr(name string) string {
	var b [4]byte
	copy(b[:], name[max(0, len(name)-len(b)):])
	return fmt.Sprintf("02:ff:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}

// AddAddr gives the server's host a further address on this network.
func (n *Network) AddAddr(ctx context.Context, addr netip.Prefix) error {
	return ip(ctx, fmt.Sprintf("addr add %s dev %s", addr, n.bridge))
}

// Interface is the bridge's name: the interface on which the server listens.
func (n *Network) Interface() string { return n.bridge }

// Addr is the server's address and mask on this network.
func (n *Network) Addr() netip.Prefix { return n.addr }

// tap makes a port of the bridge for one NIC of one machine.
func (n *Network) tap(ctx context.Context) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name := fmt.Sprintf("%st%d", n.bridge, n.next)
	if err := ip(ctx, "tuntap add dev "+name+" mode tap"); err != nil {
		return "", err
	}
	n.next++
	n.taps = append(n.taps, name)
	return name, ip(ctx, fmt.Sprintf("link set %s master %s up", name, n.bridge))
}

// cable makes a port of the bridge whose other end is the interface peer in the
// network namespace of the process pid, and returns its name. It goes when the other
// end does.
func (n *Network) cable(ctx context.Context, peer string, pid int) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name := fmt.Sprintf("%sv%d", n.bridge, n.next)
	if err := ip(ctx, fmt.Sprintf("link add %s type veth peer name %s netns %d", name, peer, pid)); err != nil {
		return "", err
	}
	n.next++
	return name, ip(ctx, fmt.Sprintf("link set %s master %s up", name, n.bridge))
}

// awaitForwarding waits until a port passes packets on: the bridge hears that both
// ends of a cable are up with a delay of up to a second.
func awaitForwarding(ctx context.Context, port string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		out, err := exec.CommandContext(ctx, "ip", "-d", "link", "show", "dev", port).Output()
		if err == nil && strings.Contains(string(out), "bridge_slave state forwarding") {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("vm: bridge port %s does not pass packets on: %w", port, errors.Join(err, ctx.Err()))
		}
	}
}

// Close takes the bridge and its taps away. Stop the machines first.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	if n.router != nil {
		errs = append(errs, n.router.close())
	}
	for _, name := range append(n.taps, n.bridge) {
		errs = append(errs, ip(context.Background(), "link del "+name))
	}
	n.taps = nil
	return errors.Join(errs...)
}

// ip runs the ip command of iproute2. No argument of ours contains blanks.
func ip(ctx context.Context, args string) error {
	out, err := exec.CommandContext(ctx, "ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("vm: ip %s: %w: %s", args, err, strings.TrimSpace(string(out)))
	}
	return nil
}
