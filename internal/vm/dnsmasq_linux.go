package vm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
)

// Dnsmasq is Debian's dnsmasq as the DHCP server that a network already has. It is
// another computer on the segment ([Peer]), so that its port 67 is not ours.
type Dnsmasq struct {
	// Network is the segment.
	Network *Network
	// Addr is its own address there, which must not be the Network's.
	Addr netip.Addr
	// First and Last are the addresses that it hands out.
	First, Last netip.Addr
	// Options are further arguments of dnsmasq. Without any it tells machines
	// nothing about booting.
	Options []string
}

// RunningDnsmasq is a [Dnsmasq] that was started.
type RunningDnsmasq struct {
	// Stderr tells what it does with each message, as "DHCPACK(eth0) ADDRESS MAC".
	*Process
	host *Peer
}

// MissingDnsmasq says in one line what must be installed before [Dnsmasq] can
// start; "" if nothing is missing.
func MissingDnsmasq() string {
	return missing([]requirement{
		{pkg: "dnsmasq-base", program: "dnsmasq"},
		{pkg: "procps", program: "sysctl"},
	})
}

// Start starts the server and returns when it answers. When ctx ends, so does the
// server. Close it before its network.
func (d Dnsmasq) Start(ctx context.Context) (*RunningDnsmasq, error) {
	host, err := NewPeer(ctx)
	if err != nil {
		return nil, err
	}
	process, err := d.start(ctx, host)
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	return &RunningDnsmasq{process, host}, nil
}

func (d Dnsmasq) start(ctx context.Context, host *Peer) (*Process, error) {
	iface, err := host.Plug(ctx, d.Network, netip.PrefixFrom(d.Addr, d.Network.addr.Bits()))
	if err != nil {
		return nil, err
	}
	program, args := host.command("dnsmasq", append([]string{
		// Nothing of this computer: no configuration, no users, no files, no DNS.
		"--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--port=0",
		"--user=root", "--group=root", "--pid-file=", "--leasefile-ro",
		"--keep-in-foreground", "--log-facility=-", "--log-dhcp",
		"--interface=" + iface, "--no-ping",
		fmt.Sprintf("--dhcp-range=%s,%s,1h", d.First, d.Last),
	}, d.Options...)...)
	return start(ctx, exec.CommandContext(ctx, program, args...), `started, version`)
}

// Close ends the server, and takes its host away.
func (d *RunningDnsmasq) Close() error {
	d.Kill()
	return d.host.Close()
}
