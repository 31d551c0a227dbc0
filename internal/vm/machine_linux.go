package vm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// hopeless matches the console lines after which a machine will not boot any more.
// iPXE's error 00000001 is none: it is what a script ends with to go on to the disk.
var hopeless = regexp.MustCompile(`^PXEKIT failed|grub> |grub rescue> |Kernel panic|No bootable device|UEFI Interactive Shell|BdsDxe: No bootable option|Could not boot image: .*ipxe\.org/0?[1-9a-f]|Boot failed: |Entering emergency mode|Unable to find a (live file system|medium)`)

// Machine describes a virtual machine.
type Machine struct {
	// Firmware is Direct when zero.
	Firmware Firmware
	// NICs are its network interfaces, in the order in which firmware tries to boot
	// from them.
	NICs []NIC
	// Disk is its local disk, which firmware tries after the NICs: the path of a raw
	// image, or of a directory that appears as a FAT file system. Writing is not
	// possible. Empty: there is none.
	Disk string
	// Memory is in MiB; zero is 512.
	Memory int
	// Kernel, Initrd and Params are what [Direct] starts; other firmware ignores them.
	Kernel, Initrd string
	Params         []string
}

// NIC is a network interface of a Machine.
type NIC struct {
	// Network is the segment it is plugged to.
	Network *Network
	// HardwareAddr must be given, and be unique on its network.
	HardwareAddr net.HardwareAddr
	// Model is QEMU's name of the device; empty is "virtio-net-pci". Others always
	// have iPXE's option ROM: UEFI firmware has no driver for them.
	Model string
}

// Running is a machine that has been switched on.
type Running struct {
	// Console is what it prints on its serial port.
	Console *Transcript

	cmd  *exec.Cmd
	done chan struct{} // closed when QEMU has ended
	err  error         // then: why
	dir  string
}

// Start switches the machine on. It runs until [Running.Stop], until ctx ends, or
// until the guest switches itself off or reboots. Errors name what is missing.
func (m Machine) Start(ctx context.Context) (*Running, error) {
	row, ok := firmwares[m.Firmware]
	if !ok {
		return nil, fmt.Errorf("vm: unknown firmware %v", m.Firmware)
	}
	qemu, err := exec.LookPath(cmp.Or(row.program, "qemu-system-x86_64"))
	if err != nil {
		return nil, errors.Join(err, errors.New(Missing()))
	}
	dir, err := os.MkdirTemp("", "pxekit-vm-")
	if err != nil {
		return nil, fmt.Errorf("vm: %w", err)
	}
	r, err := m.start(ctx, qemu, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return r, nil
}

func (m Machine) start(ctx context.Context, qemu, dir string) (*Running, error) {
	args, err := m.arguments(ctx, dir)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, qemu, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	r := &Running{Console: newTranscript(hopeless), cmd: cmd, done: make(chan struct{}), dir: dir}
	stderr := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = r.Console, stderr
	ended, err := startChild(cmd)
	if err != nil {
		return nil, fmt.Errorf("vm: start %s: %w", qemu, err)
	}
	go func() {
		r.err = <-ended
		if text := strings.TrimSpace(stderr.String()); text != "" {
			r.err = errors.Join(r.err, errors.New(text))
		}
		r.Console.end(r.err)
		close(r.done)
	}()
	return r, nil
}

// arguments is QEMU's command line.
func (m Machine) arguments(ctx context.Context, dir string) ([]string, error) {
	row := firmwares[m.Firmware]
	args := []string{
		"-accel", "tcg", // what every machine has; KVM is not there in most CI
		"-cpu", cmp.Or(row.cpu, "max"),
		"-smp", "1",
		"-m", strconv.Itoa(cmp.Or(m.Memory, 512)),
		"-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-monitor", "unix:" + monitorSocket(dir) + ",server=on,wait=off",
	}
	args = append(args, row.args...)
	flash, err := row.flash(dir)
	if err != nil {
		return nil, err
	}
	args = append(args, flash...)
	if m.Firmware == Direct {
		args = append(args, "-kernel", m.Kernel, "-initrd", m.Initrd, "-append", strings.Join(m.Params, " "))
	}
	for i, nic := range m.NICs {
		tap, err := nic.Network.tap(ctx)
		if err != nil {
			return nil, err
		}
		device := fmt.Sprintf("%s,netdev=n%d,mac=%s", cmp.Or(nic.Model, "virtio-net-pci"), i, nic.HardwareAddr)
		if m.Firmware != Direct {
			device += fmt.Sprintf(",bootindex=%d", i)
		}
		if row.noROM && (nic.Model == "" || m.Firmware == Direct) {
			device += ",romfile="
		}
		args = append(args,
			"-netdev", fmt.Sprintf("tap,id=n%d,ifname=%s,script=no,downscript=no", i, tap),
			"-device", device)
	}
	if m.Disk != "" {
		disk, err := diskArguments(m.Disk, len(m.NICs))
		if err != nil {
			return nil, err
		}
		args = append(args, disk...)
	}
	return args, nil
}

// Done is closed when the machine is off.
func (r *Running) Done() <-chan struct{} { return r.done }

// Stop switches the machine off, as pulling the plug does (no
// disk could suffer), and waits for it. It may be called twice.
func (r *Running) Stop() error {
	_ = r.cmd.Process.Kill() // it may have ended by itself
	<-r.done
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("vm: stop: %w", err)
	}
	return nil
}
