package udp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	arpProbes = 2                      // RFC 5227 sends three, a second apart, for a host that takes its word
	arpWait   = 300 * time.Millisecond // for an answer, after each
)

// ProbeAddr asks by ARP who uses an address on the link of the interface named
// ifname; for "" of the one that has an address in its subnet. It takes 600
// milliseconds if nobody does. The error wraps errors.ErrUnsupported without
// CAP_NET_RAW, and where there is no Ethernet.
func (c *Conn) ProbeAddr(ctx context.Context, addr netip.Addr, ifname string) (hw net.HardwareAddr, inUse bool, err error) {
	if !addr.Is4() {
		return nil, false, fmt.Errorf("ARP for %s: it is no IPv4 address", addr)
	}
	ifi, err := interfaceFor(addr, ifname)
	if err != nil {
		return nil, false, fmt.Errorf("ARP for %s: %w", addr, err)
	}
	hw, err = probeOn(ctx, addr, ifi)
	if err != nil {
		return nil, false, fmt.Errorf("ARP for %s by %s: %w", addr, ifi.Name, err)
	}
	return hw, hw != nil, nil
}

// interfaceFor returns the interface of this name, for "" the one that has an
// address in the subnet of addr.
func interfaceFor(addr netip.Addr, ifname string) (*net.Interface, error) {
	if ifname != "" {
		return net.InterfaceByName(ifname)
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for i := range all {
		prefixes, _ := InterfaceAddrs(all[i].Name) // it may be gone by now
		for _, p := range prefixes {
			if p.Contains(addr) {
				return &all[i], nil
			}
		}
	}
	return nil, errors.New("no interface has an address in its subnet")
}

// probeOn returns the hardware address of who answers, nil if nobody does. The
// socket lasts as long as the probe: an idle server reads nobody's ARP.
func probeOn(ctx context.Context, addr netip.Addr, ifi *net.Interface) (net.HardwareAddr, error) {
	if len(ifi.HardwareAddr) != 6 || ifi.Flags&net.FlagLoopback != 0 {
		return nil, fmt.Errorf("%w: no Ethernet", errors.ErrUnsupported)
	}
	// Protocol 0: it receives nothing until it is bound to the interface.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("%w (AF_PACKET socket: %w; it needs CAP_NET_RAW)", errors.ErrUnsupported, err)
	}
	if err != nil {
		return nil, fmt.Errorf("AF_PACKET socket: %w", err)
	}
	socket := os.NewFile(uintptr(fd), "ARP")
	defer socket.Close()
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ARP), Ifindex: ifi.Index}); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
	defer stop()
	probe := appendARPProbe(nil, ifi.HardwareAddr, addr)
	for range arpProbes {
		if _, err := socket.Write(probe); err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
		hw, err := awaitARP(socket, addr, ifi.HardwareAddr)
		if hw != nil || err != nil {
			return hw, errors.Join(ctx.Err(), err)
		}
	}
	return nil, nil
}

// awaitARP reads until another machine says that it has addr, or the wait is over.
func awaitARP(socket *os.File, addr netip.Addr, own net.HardwareAddr) (net.HardwareAddr, error) {
	if err := socket.SetReadDeadline(time.Now().Add(arpWait)); err != nil {
		return nil, err
	}
	buf := make([]byte, 128)
	for {
		n, err := socket.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if hw := arpSender(buf[:n], addr); hw != nil && !bytes.Equal(hw, own) {
			return hw, nil
		}
	}
}
