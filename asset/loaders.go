package asset

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// SystemLoaders is a source of the boot loaders that the host's distribution
// has packaged, under plain names without directories: lpxelinux.0,
// ldlinux.c32 and the other *.c32, memdisk, undionly.kpxe, ipxe.efi,
// snponly.efi, ipxe-arm64.efi, shimx64.efi, grubx64.efi and so on. It knows
// where Debian (and Ubuntu), Fedora (and its relatives), Arch and Alpine put
// them, and looks at each request anew, so a package installed later is found.
//
// Loaders that only work together come from one set of packages: every *.c32
// from where the lpxelinux.0 comes from, the shim from where GRUB comes from.
// *.c32 are the BIOS ones.
//
// For a loader that no package brought, the error is fs.ErrNotExist and its
// text says which package would; see [LoaderPackages]. If it may be where this
// user may not look, such as in /boot/efi, it is fs.ErrPermission.
func SystemLoaders() FileSource {
	return systemLoaders{sets: loaderSets(), root: "/", stat: os.Stat}
}

// LoaderPackage says what brings a boot loader on a distribution.
type LoaderPackage struct {
	// Distribution is its name, such as "Debian".
	Distribution string
	// Package is the name of the package there.
	Package string
}

// String is of the form "pxelinux (Debian)".
func (p LoaderPackage) String() string { return p.Package + " (" + p.Distribution + ")" }

// LoaderPackages returns the packages that bring the boot loader with this
// plain name, one for each distribution that has one, for messages that tell
// people what to install. It is empty for a name that SystemLoaders does not
// know.
func LoaderPackages(name string) []LoaderPackage {
	var packages []LoaderPackage
	for _, set := range loaderSets() {
		if file, ok := set.find(name); ok {
			packages = append(packages, LoaderPackage{set.distribution, file.pkg})
		}
	}
	return packages
}

// loaderSet is what one distribution has of loaders that belong together.
type loaderSet struct {
	distribution string
	// lead is the plain name of the file without which the set is not
	// installed; "": every file stands alone.
	lead  string
	files []loaderFile
}

// loaderFile is where a package puts a loader.
type loaderFile struct {
	name string // plain name; "*.c32": every name of that form
	path string // on the host, absolute; for "*.c32" the directory
	pkg  string
}

// find returns the row for a plain name, with its path completed.
func (s loaderSet) find(name string) (loaderFile, bool) {
	for _, file := range s.files {
		if file.name == name {
			return file, true
		}
		if file.name == "*.c32" && isModule(name) {
			file.path += "/" + name
			return file, true
		}
	}
	return loaderFile{}, false
}

// isModule reports whether name is a plain name of a syslinux module. The
// characters are those that such names have: it becomes a path of the host.
func isModule(name string) bool {
	stem, ok := strings.CutSuffix(name, ".c32")
	return ok && stem != "" && strings.Trim(stem, "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

type systemLoaders struct {
	sets []loaderSet
	root string // "/", or a directory that stands for it in tests
	stat func(path string) (fs.FileInfo, error)
}

func (s systemLoaders) OpenFile(ctx context.Context, name string) (File, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	missing := &missingLoader{}
	for _, set := range s.sets {
		wanted, ok := set.find(name)
		if !ok {
			continue
		}
		lead, hasLead := set.find(set.lead)
		if hasLead {
			if _, err := s.stat(s.local(lead.path)); err != nil {
				missing.add(LoaderPackage{set.distribution, wanted.pkg}, err)
				continue
			}
		}
		// Opened as the distribution laid it out, links and all: the paths
		// are ours, and Debian's ipxe.efi is a link to /boot.
		f, err := os.Open(s.local(wanted.path))
		switch {
		case err == nil:
			return newHostFile(f, name)
		case !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist):
			return nil, hideHost("open", name, err)
		case !hasLead:
			missing.add(LoaderPackage{set.distribution, wanted.pkg}, err)
			continue
		}
		// This set is in use, and only its package can help. But Fedora and
		// Alpine have theirs in one place, so it may be either's.
		missing = &missingLoader{}
		for _, other := range s.sets {
			otherLead, _ := other.find(other.lead)
			if file, ok := other.find(name); ok && otherLead.path == lead.path {
				missing.add(LoaderPackage{other.distribution, file.pkg}, err)
			}
		}
		break
	}
	if len(missing.absent)+len(missing.denied) == 0 {
		return nil, pathError(name, fs.ErrNotExist)
	}
	return nil, pathError(name, missing)
}

func (s systemLoaders) local(p string) string {
	return filepath.Join(s.root, filepath.FromSlash(p))
}

// missingLoader tells what to do about a loader that cannot be had.
type missingLoader struct {
	absent []LoaderPackage // not installed
	denied []LoaderPackage // may be installed, where this user may not look
}

func (m *missingLoader) add(p LoaderPackage, err error) {
	if errors.Is(err, fs.ErrPermission) {
		m.denied = append(m.denied, p)
	} else {
		m.absent = append(m.absent, p)
	}
}

func (m *missingLoader) Error() string {
	list := func(packages []LoaderPackage) string {
		names := make([]string, len(packages))
		for i, p := range packages {
			names[i] = p.String()
		}
		return strings.Join(names, " or ")
	}
	if len(m.denied) == 0 {
		return "boot loader not installed: install the package " + list(m.absent)
	}
	text := "this user may not read the boot loader of the package " + list(m.denied) +
		": run as root, or copy the loader to a directory of your own"
	if len(m.absent) > 0 {
		text += "; if it is not installed, install the package " + list(m.absent)
	}
	return text
}

func (m *missingLoader) Unwrap() error {
	if len(m.denied) > 0 {
		return fs.ErrPermission
	}
	return fs.ErrNotExist
}

// MediumLoaders is a source of the BIOS boot loader that a medium brings for
// booting over a network, under plain names: lpxelinux.0 or pxelinux.0, and
// the *.c32, memdisk that lie beside it. It looks where SystemRescue
// (sysresccd/boot/syslinux), Arch (arch/boot/syslinux, boot/syslinux) and
// others (isolinux) have it; the first directory with a network loader is the
// one that serves. Such media have no loader that boots UEFI over a network.
func MediumLoaders(src FileSource) FileSource { return mediumLoaders{src} }

type mediumLoaders struct{ src FileSource }

func (m mediumLoaders) OpenFile(ctx context.Context, name string) (File, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	if name != "lpxelinux.0" && name != "pxelinux.0" && name != "memdisk" && !isModule(name) {
		return nil, pathError(name, fs.ErrNotExist)
	}
	for _, dir := range mediumLoaderDirs() {
		for _, lead := range []string{"lpxelinux.0", "pxelinux.0"} {
			file, err := m.src.OpenFile(ctx, path.Join(dir, lead))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil && lead != name {
				_ = file.Close()
				file, err = m.src.OpenFile(ctx, path.Join(dir, name))
			}
			if err != nil {
				return nil, renamed(name, err)
			}
			return file, nil
		}
	}
	return nil, pathError(name, fs.ErrNotExist)
}
