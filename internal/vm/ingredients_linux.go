package vm

import (
	"bufio"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
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

// Kernel says which of Debian's kernels, and with it which processor, a medium is
// for.
type Kernel int

const (
	// CloudKernel is the amd64 kernel for virtual machines. Of network cards it knows
	// those that only virtual machines have.
	CloudKernel Kernel = iota
	// FullKernel is the amd64 kernel for all hardware; the medium's drives Intel's
	// e1000 and e1000e, too. The initramfs has no modules for NBD and NFS.
	FullKernel
	// ARM64Kernel is the arm64 kernel for virtual machines. The initramfs has
	// busybox's wget in place of curl and no programs and modules for NBD and NFS.
	ARM64Kernel
)

// kernelRow is what a medium for one kernel is made of.
type kernelRow struct {
	arch    string // as "uname -m" says it
	foreign string // the directory of unpacked packages; "": what is installed
	pattern string // of the kernel's image
	modules []moduleGroup
}

// kernelRows name the kernel modules that the guest needs, without those they depend
// on. The first group is loaded by every boot, the others by the boots that use
// them: an emulated processor takes a second for NFS. What the kernel has built in is
// passed over.
func kernelRows() map[Kernel]kernelRow {
	base := []string{"virtio_pci", "virtio_net", "loop", "squashfs", "overlay"}
	return map[Kernel]kernelRow{
		CloudKernel: {arch: "x86_64", pattern: kernelPattern, modules: []moduleGroup{
			{"base", base},
			{"nbd", []string{"nbd", "isofs"}},
			{"nfs", []string{"nfsv3"}},
		}},
		FullKernel: {arch: "x86_64", foreign: "amd64", pattern: "/boot/vmlinuz-*-amd64", modules: []moduleGroup{
			{"base", append([]string{"e1000", "e1000e"}, base...)},
		}},
		ARM64Kernel: {arch: "aarch64", foreign: "arm64", pattern: "/boot/vmlinuz-*-cloud-arm64", modules: []moduleGroup{
			{"base", base},
		}},
	}
}

// ingredients are the files of the host that a medium is made of.
type ingredients struct {
	arch   string // as "uname -m" says it
	kernel string // the kernel's image
	// modules are the files of the modules and of what they depend on, in the order
	// in which they must be loaded; what the first group has no other has.
	modules []moduleGroup
	// files are the programs of the initramfs and the libraries that those need, by
	// their place there, and links what is there under a second name.
	files, links map[string]string
	busybox      string
	applets      []string // what busybox can be called as
	loaders      []string // pxelinux and its modules
}

func findIngredients(kernel Kernel) (*ingredients, error) {
	row, ok := kernelRows()[kernel]
	if !ok {
		return nil, fmt.Errorf("vm: no such kernel: %d", kernel)
	}
	if line := kernel.Missing(); line != "" {
		return nil, errors.New(line)
	}
	root, err := foreignRoot(row.foreign)
	if err != nil {
		return nil, err
	}
	kernels, err := filepath.Glob(filepath.Join(root, row.pattern))
	if err != nil {
		return nil, err
	}
	in := &ingredients{arch: row.arch, kernel: slices.MaxFunc(kernels, compareVersions)}
	if err := in.findModules(root, row.modules); err != nil {
		return nil, err
	}
	programs := hostPrograms
	if row.arch != "x86_64" {
		programs = foreignPrograms
	}
	if err := programs(in, root); err != nil {
		return nil, err
	}
	// A busybox of another processor is of the same Debian release.
	host, err := exec.LookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("vm: program for the guest: %w", err)
	}
	in.applets, err = busyboxApplets(host)
	return in, err
}

// findModules resolves the groups for in.kernel, whose modules are below root.
func (in *ingredients) findModules(root string, groups []moduleGroup) error {
	release := strings.TrimPrefix(filepath.Base(in.kernel), "vmlinuz-")
	for i, group := range groups {
		files, err := resolveModules(filepath.Join(root, "lib/modules", release), group.modules)
		if err != nil {
			return err
		}
		if i > 0 {
			files = slices.DeleteFunc(files, func(f string) bool { return slices.Contains(in.modules[0].modules, f) })
		}
		in.modules = append(in.modules, moduleGroup{group.name, files})
	}
	return nil
}

// hostPrograms finds the programs that SystemRescue's initramfs has, and pxelinux, as
// they are installed here.
func hostPrograms(in *ingredients, _ string) error {
	in.files, in.links = map[string]string{}, map[string]string{}
	for _, name := range klibcPrograms() {
		in.files[klibcDir+"/"+name] = "/" + klibcDir + "/" + name
		in.links["usr/bin/"+name] = "/" + klibcDir + "/" + name
	}
	var err error
	for place, name := range map[string]string{
		"bin/busybox": "busybox", "usr/bin/curl": "curl", "usr/bin/sha512sum": "sha512sum", "usr/bin/ip": "ip",
		"usr/bin/nbd-client": "nbd-client",
	} {
		if in.files[place], err = exec.LookPath(name); err != nil {
			return fmt.Errorf("vm: program for the guest: %w", err)
		}
	}
	in.busybox = in.files["bin/busybox"]
	for _, program := range slices.Collect(maps.Values(in.files)) {
		libs, err := librariesOf(program)
		if err != nil {
			return err
		}
		for _, lib := range libs {
			in.files[strings.TrimPrefix(lib, "/")] = lib
		}
	}
	if in.loaders, err = filepath.Glob(syslinuxDir + "/*.c32"); err != nil {
		return err
	}
	in.loaders = append(in.loaders, pxelinuxDir+"/lpxelinux.0")
	return nil
}

// key names this state of the ingredients: it changes when a package is upgraded.
func (in *ingredients) key() (string, error) {
	files := slices.Concat([]string{in.kernel}, in.loaders, slices.Collect(maps.Values(in.files)))
	for _, group := range in.modules {
		files = append(files, group.modules...)
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
	if interpreter, err := interpreterOf(program); err != nil {
		return nil, err
	} else if interpreter != "" {
		libs = append(libs, interpreter)
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
