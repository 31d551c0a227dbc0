package pxe

import (
	"context"
	"io/fs"
	"net/http"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/rootfs"
	"github.com/pxekit/pxe/tftp"
)

// The hooks of the protocol servers, turned into one stream of events.

// dhcpReceived hears of every message before it is answered. It opens boots:
// what the machine does later belongs to the one that is open.
func (v *services) dhcpReceived(r *dhcp.Request) {
	stage := stageOfMessage(r.Type())
	var b *boot
	// A client without a hardware address cannot be told from the next one.
	if r.Client.Kind != dhcp.Plain && len(r.HardwareAddr()) > 0 && (stage == StageDiscover || stage == StageRequest || r.PXEPort) {
		// A boot server does not hear the DISCOVER.
		opens := stage == StageDiscover || r.PXEPort && r.Network.Mode == dhcp.BootServer
		var opened bool
		if b, opened = v.registry.begin(machineOf(r), opens, r.Packet.TransactionID, r.Received); opened {
			v.connections.reset(b.addr())
		}
	} else {
		b = v.registry.ofMachine(r.HardwareAddr())
	}
	if r.Network.Mode != dhcp.Full && stage == StageRequest {
		v.overheard(r, b)
		return
	}
	e := Event{Stage: stage, Name: r.Client.Kind.String(), Via: "dhcp", Machine: r.HardwareAddr()}
	if later := b.laterLease(); later != "" && r.Client.Kind == dhcp.Plain {
		switch stage {
		case StageDiscover:
			e.Stage, e.Name = later, clientOf(later)
		case StageRequest:
			return // one lease is one step: begun by its DISCOVER
		}
	}
	v.emit(b.event(e))
}

// overheard learns from a REQUEST which address another server gives to a machine:
// what the machine fetches later tells only that. At port 4011 it has it already.
//
// A REQUEST is a claim. It counts where the client takes an offer, of an address of
// its own network, which nobody was given here; for the rest the kernel is asked when
// the machine comes, see bootAt.
func (v *services) overheard(r *dhcp.Request, b *boot) {
	if b == nil {
		return // somebody else's client
	}
	switch addr := r.RequestedAddr(); {
	case r.PXEPort:
		v.registry.heard(r.HardwareAddr(), r.YourAddr)
	case r.Packet.Options.Has(dhcpv4.OptionServerIdentifier) && r.Prefix.Contains(addr):
		v.registry.heard(r.HardwareAddr(), addr)
	}
	e := Event{Stage: StageRequest, Name: r.Client.Kind.String(), Via: "dhcp", Machine: r.HardwareAddr()}
	if later := b.laterLease(); later != "" && r.Client.Kind == dhcp.Plain {
		// Neither its DISCOVER nor the other server's answer is heard: this is the
		// first and the last of it.
		e.Stage, e.Name = later, clientOf(later)
		v.emit(b.event(e))
		e.Done = true
		b.leased(later)
	}
	v.emit(b.event(e))
}

// leased notes that a later client of the boot has its lease.
func (b *boot) leased(later Stage) {
	if later == StageLease && b.rootElsewhere() {
		b.delivered(StageRoot) // we shall not see it: the next to ask is the system
	}
}

// stageOfMessage returns the step that begins with a client's message.
func stageOfMessage(t dhcpv4.MessageType) Stage {
	switch t {
	case dhcpv4.MessageTypeDiscover:
		return StageDiscover
	case dhcpv4.MessageTypeRequest:
		return StageRequest
	case dhcpv4.MessageTypeDecline:
		return StageDecline
	case dhcpv4.MessageTypeRelease:
		return StageRelease
	default:
		return StageInform
	}
}

// laterLease tells which client of a boot asks for a lease once the kernel was
// fetched: the initramfs, or the system after it had its root. It is empty
// before that.
func (b *boot) laterLease() Stage {
	if b == nil {
		return ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.progress >= inSystem:
		return StageSystem
	case b.kernel:
		return StageLease
	}
	return ""
}

// clientOf names the client that asks for a later lease.
func clientOf(later Stage) string {
	if later == StageSystem {
		return "system"
	}
	return "initramfs"
}

func machineOf(r *dhcp.Request) Machine {
	return Machine{
		HardwareAddr: r.HardwareAddr(), UUID: r.Client.UUID, Kind: r.Client.Kind, Arch: r.Client.Arch,
		VendorClass: r.Client.VendorClass, UserClass: r.Client.UserClass,
		Interface: r.Interface, RelayAddr: r.RelayAddr(), ServerAddr: r.ServerAddr,
		network: r.Prefix.Masked(),
	}
}

// dhcpSending hears of a reply before it leaves: the machine may ask for its
// first file as soon as it has the ACK.
func (v *services) dhcpSending(r *dhcp.Request, reply *dhcpv4.DHCPv4) {
	if reply.MessageType() != dhcpv4.MessageTypeAck || r.Type() != dhcpv4.MessageTypeRequest || r.PXEPort {
		return
	}
	if len(r.HardwareAddr()) > 0 && r.YourAddr.IsValid() {
		v.registry.bound(r.HardwareAddr(), r.YourAddr)
		if b := v.registry.ofMachine(r.HardwareAddr()); r.Client.Kind != dhcp.Plain && r.Packet.ClientIPAddr.IsUnspecified() && b.acknowledge(r.Packet.TransactionID) {
			v.connections.reset(r.YourAddr) // it may have had another address before
		}
	}
}

// acknowledge notes that a transaction of firmware is acknowledged, and reports
// whether the machine begins with it: it has come no further than to a lease, and
// this is no copy of a message, with whose first answer it went on already.
func (b *boot) acknowledge(xid [4]byte) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.xids {
		if seen := &b.xids[i]; seen.id == xid && !seen.at.IsZero() {
			if seen.acknowledged {
				return false
			}
			seen.acknowledged = true
		}
	}
	return b.progress == inDiscover && !b.kernel
}

// addr is the machine's address, the zero Addr if that is not known.
func (b *boot) addr() netip.Addr {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.machine.Addr
}

func (v *services) dhcpSent(r *dhcp.Request, reply *dhcpv4.DHCPv4, d dhcp.Delivery) {
	b := v.registry.ofMachine(r.HardwareAddr())
	if d.Err != nil {
		v.noFrames.Do(func() {
			v.logger().Warn("pxe: clients without an address are answered by broadcast", "because", d.Err)
		})
	}
	e := Event{Name: r.Client.Kind.String(), Via: "dhcp", Machine: r.HardwareAddr(), Addr: r.YourAddr, Style: told(r, reply), Done: true}
	switch reply.MessageType() {
	case dhcpv4.MessageTypeOffer:
		e.Stage = StageOffer
	case dhcpv4.MessageTypeAck:
		e.Stage = StageACK
		if r.Type() == dhcpv4.MessageTypeInform {
			e.Stage = StageInform
		}
	case dhcpv4.MessageTypeNak:
		e.Stage = StageNAK
	}
	if later := b.laterLease(); later != "" && r.Client.Kind == dhcp.Plain {
		switch e.Stage {
		case StageOffer:
			return
		case StageACK:
			e.Stage, e.Name = later, clientOf(later)
			b.leased(later)
		}
	}
	v.emit(b.event(e))
}

// told returns how firmware was told of its boot file, zero if it was told of none.
func told(r *dhcp.Request, reply *dhcpv4.DHCPv4) dhcp.Style {
	hasFile := reply.BootFileName != "" || reply.Options.Has(dhcpv4.OptionBootfileName)
	if r.Client.Kind != dhcp.PXE || r.Network.Mode == dhcp.Full && !hasFile {
		return 0 // beside another server nobody is answered who is told of none
	}
	return r.Client.Style
}

// rootElsewhere reports whether another computer serves the root file system.
func (b *boot) rootElsewhere() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.root != nil && (b.root.Scheme == "nfs" || b.root.Hostname() != b.machine.ServerAddr.String())
}

func (v *services) dhcpDropped(d dhcp.Drop) {
	if d.Reason == dhcp.NotForUs && v.server.pxePort() {
		return // counted: beside another server it is everybody's traffic
	}
	v.emit(v.registry.ofMachine(d.HardwareAddr).event(Event{
		Stage: StageDrop, Name: d.Source.String(), Via: "dhcp", Machine: d.HardwareAddr,
		Drop: string(d.Reason), Err: d.Err,
	}))
}

// transfer is what is known of a TFTP transfer since its start: its end belongs
// to the same boot, also when the machine has begun another one by then.
type transfer struct {
	boot  *boot
	stage Stage
	name  string
}

func (v *services) tftpStart(ctx context.Context, r *tftp.Request) {
	b, name := v.bootOfRequest(ctx, r.Name, r.Remote.Addr(), r.Local, false)
	t := transfer{b, b.stageOf(name), name}
	v.transfers.Store(r, t) // until tftpDone, which comes once for each start
	b.asked(t.stage)
	v.emit(b.event(Event{Stage: t.stage, Name: name, Via: "tftp", Addr: r.Remote.Addr(), Size: -1}))
}

// transferOf returns what tftpStart found out about a transfer that runs.
func (v *services) transferOf(r *tftp.Request) transfer {
	started, _ := v.transfers.Load(r)
	t, _ := started.(transfer)
	return t
}

func (v *services) tftpDone(r *tftp.Request, result tftp.Result) {
	t := v.transferOf(r)
	v.transfers.Delete(r)
	v.fileDone(t.boot, Event{
		Stage: t.stage, Name: t.name, Via: "tftp", Addr: r.Remote.Addr(),
		Bytes: result.Bytes, Size: result.Size, Aborted: result.Aborted, Err: result.Err,
	}, 0)
}

func (v *services) tftpDropped(reason tftp.DropReason, from netip.AddrPort) {
	v.emit(v.registry.ofAddr(from.Addr()).event(Event{
		Stage: StageDrop, Name: from.String(), Via: "tftp", Addr: from.Addr().Unmap(), Drop: string(reason),
	}))
}

func (v *services) httpStart(r *http.Request, name string, size int64) {
	b := bootOf(r.Context())
	stage := b.stageOf(name)
	b.asked(stage)
	v.emit(b.event(Event{Stage: stage, Name: name, Via: schemeOf(r), Addr: remoteAddr(r), Size: size}))
}

func (v *services) httpProgress(r *http.Request, name string, bytes, size int64) {
	b := bootOf(r.Context())
	v.emit(b.event(Event{Stage: b.stageOf(name), Name: name, Via: schemeOf(r), Addr: remoteAddr(r), Bytes: bytes, Size: size}))
}

func (v *services) httpDone(r *http.Request, name string, result rootfs.Result) {
	b := bootOf(r.Context())
	v.fileDone(b, Event{
		Stage: b.stageOf(name), Name: name, Via: schemeOf(r), Addr: remoteAddr(r),
		Bytes: result.Bytes, Size: result.Size, Aborted: result.Aborted, Err: result.Err,
	}, result.First)
}

// fileDone reports the end of a transfer, which began with byte first of the file,
// and takes a whole file into account.
func (v *services) fileDone(b *boot, e Event, first int64) {
	e.Done = true
	if b != nil && b.received(e, first) {
		b.delivered(e.Stage)
		v.booted(b, e.Stage, e.Name)
	}
	v.emit(b.event(e))
}

func schemeOf(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

func remoteAddr(r *http.Request) netip.Addr {
	remote, _ := netip.ParseAddrPort(r.RemoteAddr)
	return remote.Addr().Unmap()
}

// rootBegan hears that a machine mounts its root file system.
func (v *services) rootBegan(s rootfs.Session) {
	b := v.bootOfSession(s)
	// It may stay mounted for as long as the machine runs: what asks for a lease
	// from now on is the system.
	if b != nil {
		b.delivered(StageRoot)
	}
	v.emit(b.event(Event{Stage: StageRoot, Name: s.Name, Via: "nbd", Addr: s.Client.Addr().Unmap(), Size: s.Size}))
}

func (v *services) rootEnded(s rootfs.Session) {
	v.emit(v.bootOfSession(s).event(Event{
		Stage: StageRoot, Name: s.Name, Via: "nbd", Addr: s.Client.Addr().Unmap(),
		Bytes: s.Bytes, Size: s.Size, Aborted: s.Aborted, Err: s.Err, Done: true,
	}))
}

func (v *services) rootDropped(reason string, client netip.AddrPort, err error) {
	v.rootDrops.Add(reason)
	v.emit(v.registry.ofAddr(client.Addr()).event(Event{
		Stage: StageDrop, Name: client.String(), Via: "nbd", Addr: client.Addr().Unmap(), Drop: reason, Err: err,
	}))
}

// bootOfSession returns the boot that a session names. The address tells only of
// one that names none: a connection may outlive its boot, and the address be in
// the next one by then.
func (v *services) bootOfSession(s rootfs.Session) *boot {
	if s.BootID != "" {
		return v.registry.ofID(s.BootID)
	}
	return v.bootAt(s.Client.Addr())
}

// bootAt returns the boot of the machine that has an address, nil when not known.
// Where another server gives addresses its REQUEST may not have been heard: it may
// have come before this server began. Then the kernel knows whose address it is,
// since the machine has asked for a file.
func (v *services) bootAt(addr netip.Addr) *boot {
	b := v.registry.ofAddr(addr)
	if b != nil || !v.server.pxePort() {
		return b
	}
	hw := v.neighbours.Lookup(addr)
	if hw == nil {
		return nil
	}
	if b = v.registry.ofMachine(hw); b != nil {
		v.registry.heard(hw, addr.Unmap())
	}
	return b
}

// openRoot opens a file for the transport of the root file system.
func (v *services) openRoot(ctx context.Context, name string) (fs.File, error) {
	return v.open(ctx, nil, name)
}
