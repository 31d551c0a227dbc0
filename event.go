package pxe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pxekit/pxe/dhcp"
)

// Stage is a step of a boot, in the order in which a machine takes them.
type Stage string

// The stages of a boot. A stage may repeat: firmware asks for its loader twice,
// and every DHCP client of a boot discovers anew.
const (
	StageDiscover Stage = "discover" // the firmware or a boot loader looks for a DHCP server
	StageBooter   Stage = "booter"   // the Booter decides what this machine boots
	StageOffer    Stage = "offer"    // it was offered an address and a boot file
	StageRequest  Stage = "request"  // it asks for what it was offered
	StageACK      Stage = "ack"      // it has its lease
	StageNAK      Stage = "nak"      // it was refused an address that is not its own
	StageLoader   Stage = "loader"   // boot loader, and the modules of the loader
	StageConfig   Stage = "config"   // the loader's configuration: menu or script
	StageKernel   Stage = "kernel"
	StageInitrd   Stage = "initrd"
	StageLease    Stage = "lease"  // the initramfs asks for a lease itself
	StageRoot     Stage = "root"   // root file system; its checksum too
	StageSystem   Stage = "system" // the booted system asks for a lease: it is up
	StageFile     Stage = "file"   // any other file
	StageRelease  Stage = "release"
	StageDecline  Stage = "decline"
	StageInform   Stage = "inform"
	StageDrop     Stage = "drop" // a message was thrown away; Drop says why
)

// Event is one thing that happened while a machine booted. A step is reported
// when the server is about to do it and again, with Done, when it is over; a
// long download also about once a second in between, with its Bytes so far.
// When a step begins is in the order of the boot. When it is over may be told
// after the machine has begun the next one.
// Texts that a client sent are in Name only; print them with %q, as String does.
type Event struct {
	// Time is when it happened.
	Time time.Time
	// Boot names the boot, from a machine's first DISCOVER to its next one;
	// empty when the machine or its boot is not known.
	Boot string
	// Machine is the hardware address, nil when not known.
	Machine net.HardwareAddr
	// Addr is the machine's address: the one it has, or is about to be offered,
	// or had in its boot before; zero when none is known.
	Addr netip.Addr
	// Stage says what the event is about.
	Stage Stage
	// Name is the file; for a DHCP stage which client of the boot it was; for
	// StageBooter the title of the menu; for StageDrop who sent the message.
	Name string
	// Via is the service: "dhcp", "tftp", "http", "https" or "nbd".
	Via string
	// Style is how PXE firmware was told of its boot file in an offer or ACK, by the
	// quirks that apply to it or as Treatment says; zero in other events, and where
	// the machine was told of none.
	Style dhcp.Style
	// Bytes is how much of a file was sent, Size how much there is; Size is -1
	// when not known, both are 0 where no file is meant. By NBD machines read
	// what they need, as often as they like, so Bytes may be less or more.
	Bytes, Size int64
	// Done says that the step is over.
	Done bool
	// Aborted says that the machine broke off. Firmware does so after asking
	// for a file's size; it is no failure.
	Aborted bool
	// Err is why the step failed. Loaders probe for files: one that wraps
	// fs.ErrNotExist is the ordinary answer to that. Its text may name internals: it is for the
	// operator, and never went to the machine.
	Err error
	// Drop is why a message was thrown away, by the name that the service's
	// counters use.
	Drop string
}

// String is one line without a line break, for logs. A file that is not there is
// not-found in it rather than an error.
func (e Event) String() string {
	var b strings.Builder
	b.WriteString(e.Time.Format("15:04:05.000"))
	if e.Machine != nil {
		fmt.Fprintf(&b, " %s", e.Machine)
	}
	if e.Boot != "" {
		fmt.Fprintf(&b, " boot=%s", e.Boot)
	}
	fmt.Fprintf(&b, " %s", e.Stage)
	if e.Name != "" {
		fmt.Fprintf(&b, " %s", quoted(e.Name))
	}
	if e.Addr.IsValid() {
		fmt.Fprintf(&b, " addr=%s", e.Addr)
	}
	if e.Style != 0 {
		fmt.Fprintf(&b, " style=%s", e.Style)
	}
	if e.Via != "" && e.Via != "dhcp" {
		fmt.Fprintf(&b, " via=%s", e.Via)
		if e.Done || e.Bytes > 0 {
			fmt.Fprintf(&b, " bytes=%d", e.Bytes)
		}
		if e.Size >= 0 {
			fmt.Fprintf(&b, " size=%d", e.Size)
		}
	}
	if e.Drop != "" {
		fmt.Fprintf(&b, " dropped=%s", e.Drop)
	}
	switch {
	case e.Aborted:
		b.WriteString(" broken off by the machine")
	case e.Done && e.Err == nil:
		b.WriteString(" done")
	}
	if e.Err != nil {
		key := "error"
		if e.Via != "" && errors.Is(e.Err, fs.ErrNotExist) {
			key = "not-found"
		}
		fmt.Fprintf(&b, " %s=%q", key, e.Err.Error())
	}
	return b.String()
}

// quoted leaves plain names as they are and quotes what could break a line or
// forge a field.
func quoted(s string) string {
	for _, r := range s {
		if r <= ' ' || r == '"' || r == '\\' || r == '=' || !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

// MarshalJSON writes the event as one flat object with the keys time, boot,
// machine, addr, stage, name, via, style, bytes, size, done, aborted, error and drop;
// empty ones are left out.
func (e Event) MarshalJSON() ([]byte, error) {
	flat := struct {
		Time    time.Time `json:"time"`
		Boot    string    `json:"boot,omitempty"`
		Machine string    `json:"machine,omitempty"`
		Addr    string    `json:"addr,omitempty"`
		Stage   Stage     `json:"stage"`
		Name    string    `json:"name,omitempty"`
		Via     string    `json:"via,omitempty"`
		Style   string    `json:"style,omitempty"`
		Bytes   int64     `json:"bytes,omitempty"`
		Size    int64     `json:"size,omitempty"`
		Done    bool      `json:"done,omitempty"`
		Aborted bool      `json:"aborted,omitempty"`
		Error   string    `json:"error,omitempty"`
		Drop    string    `json:"drop,omitempty"`
	}{
		Time: e.Time, Boot: e.Boot, Machine: e.Machine.String(), Stage: e.Stage, Name: e.Name, Via: e.Via,
		Bytes: e.Bytes, Size: e.Size, Done: e.Done, Aborted: e.Aborted, Drop: e.Drop,
	}
	if e.Addr.IsValid() {
		flat.Addr = e.Addr.String()
	}
	if e.Style != 0 {
		flat.Style = e.Style.String()
	}
	if e.Err != nil {
		flat.Error = e.Err.Error()
	}
	return json.Marshal(flat)
}
