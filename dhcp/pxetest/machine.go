package pxetest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Machine is a bare computer that boots from the network.
//
// Its fields may be changed between boots. It boots once at a time; different
// machines boot concurrently.
type Machine struct {
	// HardwareAddr is the address of its network card, 6 bytes.
	HardwareAddr net.HardwareAddr
	Firmware     Firmware
	// UUID is the machine's identity as option 97 and pxelinux tell it, in its text
	// form. The bytes go over the wire in the order of the text. Empty: one made of
	// the hardware address.
	UUID string
	// Choose is the menu entry that somebody at the machine picks at once, by its
	// name or its title. Empty: nobody is there, so the default boots after the
	// menu's timeout, and a menu without a timeout is ErrNoChoice.
	Choose string
	// Observe, if set, is told how the boot goes on: when a step begins, now and
	// then as bytes arrive, and when it is done. It is called on Boot's goroutine.
	Observe func(Step)

	plug func(net.HardwareAddr) (link, error)
}

// Machine puts a machine on the segment, switched off. Nothing but Boot makes it
// speak.
func (s *Segment) Machine(mac string, firmware Firmware) *Machine {
	s.t.Helper()
	m, err := newMachine(mac, firmware, s.plug)
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	return m
}

// Machine puts a machine behind the relay, switched off.
func (l *Loopback) Machine(mac string, firmware Firmware) (*Machine, error) {
	return newMachine(mac, firmware, l.plug)
}

func newMachine(mac string, firmware Firmware, plug func(net.HardwareAddr) (link, error)) (*Machine, error) {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 || hw[0]&1 != 0 {
		return nil, fmt.Errorf("pxetest: %q is not the hardware address of an Ethernet card, such as 02:00:00:00:00:01", mac)
	}
	if !firmware.known() {
		return nil, fmt.Errorf("pxetest: no such firmware: %v", firmware)
	}
	return &Machine{HardwareAddr: hw, Firmware: firmware, plug: plug}, nil
}

// Boot switches the machine on and plays its boot until the root file system is
// reached: the firmware's DHCP exchange and loader, the loader's configuration and
// menu, kernel and initramfs, the initramfs' own DHCP exchange, the root. Whatever
// real clients check in what they are sent is checked.
//
// It waits as long as they do, so a server that is silent costs a minute: real on
// a Loopback, none in a testing/synctest bubble. The machine is switched off when
// Boot returns.
//
// The Boot is never nil. The error is an *Error.
func (m *Machine) Boot(ctx context.Context) (*Boot, error) {
	r := &run{ctx: ctx, m: m, boot: &Boot{}, stage: StageDiscover, ipxe: m.Firmware.ipxe()}
	err := r.start()
	if err == nil {
		return r.boot, nil
	}
	e := &Error{Machine: m.HardwareAddr, Firmware: m.Firmware, Stage: r.stage, Err: err}
	var saw *sawError
	if errors.As(err, &saw) {
		e.Saw = saw.saw
	}
	r.step(Step{Stage: r.stage, Total: -1, Done: true, Err: e})
	return r.boot, e
}

// run is one boot under way.
type run struct {
	ctx   context.Context
	m     *Machine
	boot  *Boot
	link  link
	uuid  [16]byte
	stage Stage
	ipxe  bool     // an iPXE is at work, from ROM or loaded
	lease Lease    // the latest
	saw   []string // what came of it, for the error that it is of no use
}

func (r *run) start() error {
	var err error
	if r.uuid, err = r.m.uuid(); err != nil {
		return err
	}
	if r.m.plug == nil {
		return errors.New("a machine is made by the Machine method of a Segment or a Loopback")
	}
	if r.link, err = r.m.plug(r.m.HardwareAddr); err != nil {
		return err
	}
	defer r.link.close()
	if err := r.dhcp(exchangeOf(r.m.Firmware, r.ipxe, r.m.HardwareAddr, r.uuid), StageDiscover, StageLease); err != nil {
		return err
	}
	r.boot.Loader = r.lease.BootFile
	switch {
	case r.ipxe:
		err = r.ipxeBootFile()
	case r.m.Firmware.http():
		err = r.httpBootFile()
	default:
		err = r.romBootFile()
	}
	if err != nil || r.boot.Local {
		return err
	}
	return r.startKernel()
}

func (m *Machine) uuid() ([16]byte, error) {
	if m.UUID == "" {
		u := [16]byte{0x70, 0x78, 0x65, 0x6b, 0, 0, 0x40, 0, 0x80, 0}
		copy(u[10:], m.HardwareAddr)
		return u, nil
	}
	b, err := hex.DecodeString(strings.ReplaceAll(m.UUID, "-", ""))
	if err != nil || len(b) != 16 {
		return [16]byte{}, fmt.Errorf("%q is not a UUID", m.UUID)
	}
	return [16]byte(b), nil
}

func uuidText(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// dhcp plays an exchange and gives the machine its address.
func (r *run) dhcp(x *exchange, discover, lease Stage) error {
	r.step(Step{Stage: discover, Name: x.client, Total: -1})
	if err := r.link.configure(netip.Prefix{}, nil); err != nil {
		return err
	}
	port, err := r.link.openDHCP()
	if err != nil {
		return err
	}
	x.port, x.source, x.alone = port, r.link.ports().DHCP, r.link.alone()
	p, ack, err := x.run(r.ctx, func() {
		if discover != lease {
			r.step(Step{Stage: discover, Name: x.client, Total: -1, Done: true})
			r.step(Step{Stage: lease, Name: x.client, Total: -1})
		}
	})
	port.close()
	if err != nil {
		return err
	}
	r.lease = ack.lease(x.client, x.optionFirst)
	if err := r.link.configure(r.lease.Addr, r.lease.Routers); err != nil {
		return err
	}
	r.step(Step{Stage: lease, Name: x.client + " " + r.lease.Addr.String(), Total: -1, Done: true})
	c := collected{optionFirst: x.optionFirst}
	x.saw.add("%s", c.describe(p.offer))
	err = r.bootReply(x, p)
	r.boot.Leases = append(r.boot.Leases, r.lease)
	r.saw = x.saw.list()
	return err
}

// step notes where the boot is and tells the observer.
func (r *run) step(s Step) {
	r.stage = s.Stage
	if r.m.Observe != nil {
		s.Machine = r.m.HardwareAddr
		r.m.Observe(s)
	}
}
