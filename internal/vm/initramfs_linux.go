package vm

import (
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed guest/init
var guestInit []byte

// writeInitramfs writes the initramfs: busybox, the programs that SystemRescue's
// uses, the modules, and guest/init.
func writeInitramfs(w io.Writer, in *ingredients) error {
	// The guest's emulated processor unpacks it, and a loader fetches it first:
	// gzip is the best of both worlds among what Go writes.
	zip := gzip.NewWriter(w)
	c := newCPIOWriter(zip)
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp", "etc", "new_root"} {
		c.dir(dir)
	}
	c.file("init", 0o755, guestInit)
	for _, name := range in.applets {
		c.link("bin/"+name, "busybox")
	}
	for place, target := range in.links {
		c.link(place, target)
	}
	for place, source := range in.files {
		if err := addFile(c, place, source); err != nil {
			return err
		}
	}
	for _, group := range in.modules {
		var order strings.Builder
		for _, module := range group.modules {
			name := moduleName(module) + ".ko"
			data, err := readModule(module)
			if err != nil {
				return err
			}
			c.file("lib/modules/"+name, 0o644, data)
			fmt.Fprintln(&order, name)
		}
		c.file("lib/modules/"+group.name, 0o644, []byte(order.String()))
	}
	if err := c.close(); err != nil {
		return err
	}
	return zip.Close()
}

func addFile(c *cpioWriter, place, name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("vm: file for the guest: %w", err)
	}
	c.file(place, 0o755, data)
	return nil
}

// busyboxApplets lists the commands that busybox can be called as.
func busyboxApplets(busybox string) ([]string, error) {
	out, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("vm: %s --list: %w", filepath.Base(busybox), err)
	}
	var names []string
	for name := range strings.Lines(string(out)) {
		if name = strings.TrimSpace(name); name != "busybox" {
			names = append(names, name)
		}
	}
	return names, nil
}

// writeMicrocode writes an early archive as the kernel expects one in front of the
// initramfs, with content that suits no processor.
func writeMicrocode(w io.Writer, vendor string) error {
	c := newCPIOWriter(w)
	c.file("kernel/x86/microcode/"+vendor+".bin", 0o644, make([]byte, 64))
	return c.close()
}
