package vm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Peer is a host beside the server: a network namespace of its own, plugged to
// segments by interfaces of its own. It forwards IPv4 between them.
type Peer struct {
	holder *exec.Cmd // keeps the namespace alive, and has nothing else to do
	ended  <-chan error
	cables []string // its interfaces on segments
}

// NewPeer makes a host with no interface but its loopback.
func NewPeer(ctx context.Context) (*Peer, error) {
	if inside, _, err := insideNamespace(); err != nil || !inside {
		return nil, errors.Join(err, errors.New("vm: NewPeer outside a namespace of its own: call EnterNamespace first"))
	}
	p := &Peer{holder: exec.Command("sleep", "infinity")}
	p.holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	var err error
	if p.ended, err = startChild(p.holder); err != nil {
		return nil, fmt.Errorf("vm: a network namespace beside the server's: %w", err)
	}
	err = errors.Join(
		p.run(ctx, "ip", "link", "set", "lo", "up"),
		p.run(ctx, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"),
	)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Plug gives the host an interface on the network, with the address and mask addr
// unless that is zero, and returns its name.
func (p *Peer) Plug(ctx context.Context, n *Network, addr netip.Prefix) (string, error) {
	name := fmt.Sprintf("eth%d", len(p.cables))
	port, err := n.cable(ctx, name, p.holder.Process.Pid)
	if err != nil {
		return "", err
	}
	p.cables = append(p.cables, name)
	var errs []error
	if addr.IsValid() {
		errs = append(errs, p.run(ctx, "ip", "addr", "add", addr.String(), "dev", name))
	}
	errs = append(errs, p.run(ctx, "ip", "link", "set", name, "up"))
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	return name, awaitForwarding(ctx, port)
}

// Do calls f on a thread of the host's: sockets that f itself opens, and does not
// leave to another goroutine to open, are the host's.
func (p *Peer) Do(f func() error) error {
	space, err := os.Open(p.path())
	if err != nil {
		return fmt.Errorf("vm: namespace of a host: %w", err)
	}
	defer space.Close()
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and nobody else gets
		// one that is in the wrong namespace.
		runtime.LockOSThread()
		if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("vm: enter the namespace of a host: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// run runs a program on the host.
func (p *Peer) run(ctx context.Context, name string, args ...string) error {
	command, args := p.command(name, args...)
	return run(ctx, command, args...)
}

// command is what runs a program on the host.
func (p *Peer) command(name string, args ...string) (string, []string) {
	return "nsenter", append([]string{"--net=" + p.path(), name}, args...)
}

func (p *Peer) path() string { return "/proc/" + strconv.Itoa(p.holder.Process.Pid) + "/ns/net" }

// Close takes the host away, and its interfaces. Stop its programs first.
func (p *Peer) Close() error {
	var errs []error
	// With the namespace they would go some time later, and their other ends.
	for _, name := range p.cables {
		errs = append(errs, p.run(context.Background(), "ip", "link", "del", name))
	}
	_ = p.holder.Process.Kill() // it has not ended by itself
	<-p.ended
	return errors.Join(errs...)
}
