package vm

import (
	"bufio"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A moduleGroup is a list of kernel modules that the guest loads together.
type moduleGroup struct {
	name    string
	modules []string
}

// neededModules are the kernel modules that the guest needs, without those they
// depend on. The first group is loaded by every boot, the others by the boots that
// use them: an emulated processor takes a second for NFS. What the kernel has built
// in is passed over.
func neededModules() []moduleGroup {
	return []moduleGroup{
		{"base", []string{"virtio_pci", "virtio_net", "loop", "squashfs", "overlay"}},
		{"nbd", []string{"nbd", "isofs"}},
		{"nfs", []string{"nfsv3"}},
	}
}

// ingredients are the files of the host that a medium is made of.
type ingredients struct {
	kernel string // the kernel's image
	// modules are the files of neededModules and of what they depend on, in the
	// order in which they must be loaded; what the first group has no other has.
	modules []moduleGroup
	// programs are those of the initramfs, by their place there, and libraries what
	// those need, which keep their place.
	programs  map[string]string
	libraries []string
	busybox   string
	loaders   []string // pxelinux and its modules
}

func findIngredients() (*ingredients, error) {
	if line := Missing(); line != "" {
		return nil, errors.New(line)
	}
	kernels, err := filepath.Glob(kernelPattern)
	if err != nil {
		return nil, err
	}
	in := &ingredients{kernel: slices.MaxFunc(kernels, compareVersions)}
	release := strings.TrimPrefix(filepath.Base(in.kernel), "vmlinuz-")
	for i, group := range neededModules() {
		files, err := resolveModules("/lib/modules/"+release, group.modules)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			files = slices.DeleteFunc(files, func(f string) bool { return slices.Contains(in.modules[0].modules, f) })
		}
		in.modules = append(in.modules, moduleGroup{group.name, files})
	}

	in.programs = map[string]string{}
	for _, name := range klibcPrograms() {
		in.programs[klibcDir+"/"+name] = "/" + klibcDir + "/" + name
	}
	for place, name := range map[string]string{
		"bin/busybox": "busybox", "usr/bin/curl": "curl", "usr/bin/sha512sum": "sha512sum", "usr/bin/ip": "ip",
		"usr/bin/nbd-client": "nbd-client",
	} {
		if in.programs[place], err = exec.LookPath(name); err != nil {
			return nil, fmt.Errorf("vm: program for the guest: %w", err)
		}
	}
	in.busybox = in.programs["bin/busybox"]
	for _, program := range in.programs {
		libs, err := librariesOf(program)
		if err != nil {
			return nil, err
		}
		in.libraries = append(in.libraries, libs...)
	}
	slices.Sort(in.libraries)
	in.libraries = slices.Compact(in.libraries)

	if in.loaders, err = filepath.Glob(syslinuxDir + "/*.c32"); err != nil {
		return nil, err
	}
	in.loaders = append(in.loaders, pxelinuxDir+"/lpxelinux.0")
	return in, nil
}

// key names this state of the ingredients: it changes when a package is upgraded.
func (in *ingredients) key() (string, error) {
	files := slices.Concat([]string{in.kernel}, in.libraries, in.loaders)
	for _, group := range in.modules {
		files = append(files, group.modules...)
	}
	for _, program := range in.programs {
		files = append(files, program)
	}
	slices.Sort(files)
	h := sha256.New()
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return "", fmt.Errorf("vm: %w", err)
		}
		fmt.Fprintln(h, name, info.Size(), info.ModTime().UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// resolveModules returns the files of the modules and of all that they depend on,
// each behind its dependencies, from modules.dep in dir.
func resolveModules(dir string, names []string) ([]string, error) {
	f, err := os.Open(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, fmt.Errorf("vm: modules of the kernel: %w", err)
	}
	defer f.Close()
	deps, paths := map[string][]string{}, map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		file, rest, _ := strings.Cut(lines.Text(), ":")
		deps[file] = strings.Fields(rest)
		paths[moduleName(file)] = file
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("vm: modules of the kernel: %w", err)
	}
	for _, file := range strings.Fields(string(builtin)) {
		if _, ok := paths[moduleName(file)]; !ok {
			paths[moduleName(file)] = ""
		}
	}

	var order []string
	var add func(file string)
	add = func(file string) {
		full := filepath.Join(dir, file)
		if slices.Contains(order, full) {
			return
		}
		for _, dep := range deps[file] {
			add(dep)
		}
		order = append(order, full)
	}
	for _, name := range names {
		file, ok := paths[name]
		if !ok {
			return nil, fmt.Errorf("vm: the kernel of %s has no module %s", dir, name)
		}
		if file != "" {
			add(file)
		}
	}
	return order, nil
}

// moduleName is "virtio_net" for "kernel/drivers/net/virtio-net.ko.xz".
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// readModule returns a module as the kernel takes it: newer Debian compresses them.
func readModule(file string) ([]byte, error) {
	if filepath.Ext(file) != ".xz" {
		return os.ReadFile(file)
	}
	data, err := exec.Command("xz", "-dc", file).Output()
	if err != nil {
		return nil, fmt.Errorf("vm: decompress %s: %w", file, err)
	}
	return data, nil
}

// librariesOf returns the files that a program needs to be run: its interpreter and
// its shared libraries; none for a static program.
func librariesOf(program string) ([]string, error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, fmt.Errorf("vm: program %s: %w", program, err)
	}
	defer f.Close()
	var libs []string
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(p.Open())
			if err != nil {
				return nil, fmt.Errorf("vm: interpreter of %s: %w", program, err)
			}
			libs = append(libs, strings.TrimRight(string(name), "\x00"))
		}
	}
	if imported, err := f.ImportedLibraries(); err != nil || len(imported) == 0 {
		return libs, err // klibc's programs have an interpreter and nothing else
	}
	out, err := exec.Command("ldd", program).Output()
	if err != nil {
		return nil, fmt.Errorf("vm: ldd %s: %w", program, err)
	}
	return append(libs, parseLDD(string(out))...), nil
}

// parseLDD takes the paths out of lines like "libz.so.1 => /lib/libz.so.1 (0x7f…)".
func parseLDD(out string) []string {
	var libs []string
	for line := range strings.Lines(out) {
		if _, file, ok := strings.Cut(line, "=> "); ok {
			if file, _, ok := strings.Cut(file, " ("); ok && filepath.IsAbs(file) {
				libs = append(libs, file)
			}
		}
	}
	return libs
}

// compareVersions orders names by the numbers in them: 6.1.0-9 before 6.1.0-10.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		na, nb := leadingDigits(a), leadingDigits(b)
		if na > 0 && nb > 0 {
			x, y := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if c := strings.Compare(x, y); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func leadingDigits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}
