package asset

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// host makes a directory that stands for / with these files, each containing
// its path.
func host(t *testing.T, paths ...string) systemLoaders {
	t.Helper()
	root := t.TempDir()
	for _, p := range paths {
		local := filepath.Join(root, filepath.FromSlash(p))
		require.NoError(t, os.MkdirAll(filepath.Dir(local), 0o755))
		require.NoError(t, os.WriteFile(local, []byte(p), 0o600))
	}
	return systemLoaders{sets: loaderSets(), root: root, stat: os.Stat}
}

func content(t *testing.T, src FileSource, name string) string {
	t.Helper()
	f, err := src.OpenFile(context.Background(), name)
	require.NoError(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	return string(b)
}

func TestSystemLoadersOnEachDistribution(t *testing.T) {
	for name, tt := range map[string]struct {
		has  []string
		want map[string]string
	}{
		"Debian": {
			[]string{"/usr/lib/PXELINUX/lpxelinux.0", "/usr/lib/syslinux/modules/bios/ldlinux.c32", "/usr/lib/syslinux/modules/efi64/ldlinux.e64",
				"/usr/lib/ipxe/snponly.efi", "/usr/lib/shim/shimx64.efi.signed", "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"},
			map[string]string{"lpxelinux.0": "/usr/lib/PXELINUX/lpxelinux.0", "ldlinux.c32": "/usr/lib/syslinux/modules/bios/ldlinux.c32",
				"snponly.efi": "/usr/lib/ipxe/snponly.efi", "shimx64.efi": "/usr/lib/shim/shimx64.efi.signed",
				"grubx64.efi": "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"},
		},
		"Fedora": {
			[]string{"/tftpboot/lpxelinux.0", "/tftpboot/menu.c32", "/usr/share/ipxe/ipxe-snponly-x86_64.efi", "/usr/share/ipxe/undionly.kpxe",
				"/boot/efi/EFI/fedora/grubx64.efi", "/boot/efi/EFI/fedora/shimx64.efi"},
			map[string]string{"lpxelinux.0": "/tftpboot/lpxelinux.0", "menu.c32": "/tftpboot/menu.c32",
				"snponly.efi": "/usr/share/ipxe/ipxe-snponly-x86_64.efi", "undionly.kpxe": "/usr/share/ipxe/undionly.kpxe",
				"shimx64.efi": "/boot/efi/EFI/fedora/shimx64.efi"},
		},
		"Arch": {
			[]string{"/usr/lib/syslinux/bios/lpxelinux.0", "/usr/lib/syslinux/bios/ldlinux.c32", "/usr/share/ipxe/x86_64/ipxe.efi"},
			map[string]string{"lpxelinux.0": "/usr/lib/syslinux/bios/lpxelinux.0", "ldlinux.c32": "/usr/lib/syslinux/bios/ldlinux.c32",
				"ipxe.efi": "/usr/share/ipxe/x86_64/ipxe.efi"},
		},
		"Alpine": {
			[]string{"/usr/share/syslinux/lpxelinux.0", "/usr/share/syslinux/ldlinux.c32"},
			map[string]string{"lpxelinux.0": "/usr/share/syslinux/lpxelinux.0", "ldlinux.c32": "/usr/share/syslinux/ldlinux.c32"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := host(t, tt.has...)
			for name, want := range tt.want {
				require.Equal(t, want, content(t, src, name), name)
			}
		})
	}
}

func TestSystemLoadersAreCoherent(t *testing.T) {
	// The modules of Arch's place must not be served with Debian's loader,
	// nor Fedora's shim with Debian's GRUB.
	src := host(t, "/usr/lib/PXELINUX/lpxelinux.0", "/usr/lib/syslinux/bios/lpxelinux.0", "/usr/lib/syslinux/bios/ldlinux.c32",
		"/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", "/boot/efi/EFI/fedora/grubx64.efi", "/boot/efi/EFI/fedora/shimx64.efi")
	_, err := src.OpenFile(context.Background(), "ldlinux.c32")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.EqualError(t, err, "open ldlinux.c32: boot loader not installed: install the package syslinux-common (Debian)")
	_, err = src.OpenFile(context.Background(), "shimx64.efi")
	require.ErrorContains(t, err, "shim-signed (Debian)")
	require.NotContains(t, err.Error(), src.root)
}

func TestSystemLoadersSayWhatToInstall(t *testing.T) {
	src := host(t)
	_, err := src.OpenFile(context.Background(), "undionly.kpxe")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "ipxe (Debian) or ipxe-bootimgs-x86 (Fedora)")
	for _, name := range []string{"vmlinuz", "sub/lpxelinux.0", "x/../ldlinux.c32", "../ldlinux.c32", ".c32", "LDLINUX.C32", "a b.c32"} {
		_, err := src.OpenFile(context.Background(), name)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "install", name)
	}
	require.Equal(t, LoaderPackage{"Debian", "syslinux-common"}, LoaderPackages("vesamenu.c32")[0])
	require.Empty(t, LoaderPackages("vmlinuz"))
	require.Equal(t, "pxelinux (Debian)", LoaderPackages("lpxelinux.0")[0].String())
}

// denied makes every file below these paths one that this user may not look
// at, as a directory of mode 0700 does, which would not stop root.
func denied(s systemLoaders, paths ...string) systemLoaders {
	stat := s.stat
	s.stat = func(name string) (fs.FileInfo, error) {
		for _, p := range paths {
			if strings.HasPrefix(name, s.local(p)) {
				return nil, &fs.PathError{Op: "stat", Path: name, Err: syscall.EACCES}
			}
		}
		return stat(name)
	}
	return s
}

func TestSystemLoadersWhereThisUserMayNotLook(t *testing.T) {
	src := denied(host(t), "/boot/efi")
	_, err := src.OpenFile(context.Background(), "shimx64.efi")
	require.ErrorIs(t, err, fs.ErrPermission)
	require.NotErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "this user may not read the boot loader of the package shim-x64 (Fedora) or ")
	require.ErrorContains(t, err, ": run as root, or copy the loader to a directory of your own; if it is not installed, install the package shim-signed (Debian)")
	require.NotContains(t, err.Error(), "/boot")

	_, err = src.OpenFile(context.Background(), "undionly.kpxe")
	require.ErrorIs(t, err, fs.ErrNotExist, "others are as ever")

	// What can be read serves, whatever else cannot be.
	src = denied(host(t, "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", "/usr/lib/shim/shimx64.efi.signed"), "/boot/efi")
	require.Equal(t, "/usr/lib/shim/shimx64.efi.signed", content(t, src, "shimx64.efi"))
	src = denied(host(t, "/boot/efi/EFI/rocky/grubx64.efi", "/boot/efi/EFI/rocky/shimx64.efi"), "/boot/efi/EFI/fedora")
	require.Equal(t, "/boot/efi/EFI/rocky/shimx64.efi", content(t, src, "shimx64.efi"))
}

func TestSystemLoadersThatMayNotBeRead(t *testing.T) {
	if os.Geteuid() <= 0 {
		t.Skip("root, and Windows, may read all")
	}
	src := host(t, "/usr/share/ipxe/undionly.kpxe", "/usr/share/syslinux/lpxelinux.0", "/usr/share/syslinux/menu.c32")
	for name, says := range map[string]string{
		"undionly.kpxe": "of the package ipxe-bootimgs-x86 (Fedora): run as root, or copy the loader to a directory of your own; if it is not installed, install the package ipxe (Debian)",
		"menu.c32":      "of the package syslinux-nonlinux (Fedora) or syslinux (Alpine): run as root, or copy the loader to a directory of your own",
	} {
		p := "/usr/share/syslinux/" + name
		if name == "undionly.kpxe" {
			p = "/usr/share/ipxe/" + name
		}
		require.NoError(t, os.Chmod(src.local(p), 0))
		_, err := src.OpenFile(context.Background(), name)
		require.ErrorIs(t, err, fs.ErrPermission)
		require.ErrorContains(t, err, says)
	}
}

// A shim and the GRUB that it trusts, for each processor.
func TestSystemLoadersForSecureBoot(t *testing.T) {
	for _, cpu := range []string{"x64", "ia32", "aa64"} {
		dir := map[string]string{"x64": "x86_64-efi", "ia32": "i386-efi", "aa64": "arm64-efi"}[cpu]
		debian := []string{"/usr/lib/grub/" + dir + "-signed/grubnet" + cpu + ".efi.signed",
			"/usr/lib/shim/shim" + cpu + ".efi.signed", "/usr/lib/shim/mm" + cpu + ".efi.signed"}
		src := host(t, debian...)
		for i, name := range []string{"grub", "shim", "mm"} {
			require.Equal(t, debian[i], content(t, src, name+cpu+".efi"))
		}
		rocky := "/boot/efi/EFI/rocky/"
		src = host(t, rocky+"grub"+cpu+".efi", rocky+"shim"+cpu+".efi", rocky+"mm"+cpu+".efi")
		for _, name := range []string{"grub", "shim", "mm"} {
			require.Equal(t, rocky+name+cpu+".efi", content(t, src, name+cpu+".efi"))
		}
	}
}

// An image without a signature serves where there is none with one, and no shim
// beside it: it would refuse to load it.
func TestSystemLoadersWithoutSignature(t *testing.T) {
	for cpu, dir := range map[string]string{"x64": "x86_64-efi", "ia32": "i386-efi", "aa64": "arm64-efi"} {
		plain := "/usr/lib/grub/" + dir + "/monolithic/grubnet" + cpu + ".efi"
		signed := "/usr/lib/grub/" + dir + "-signed/grubnet" + cpu + ".efi.signed"
		shim := "/usr/lib/shim/shim" + cpu + ".efi.signed"
		require.Equal(t, signed, content(t, host(t, plain, signed, shim), "grub"+cpu+".efi"), "the signed one comes first")
		src := host(t, plain, shim)
		require.Equal(t, plain, content(t, src, "grub"+cpu+".efi"))
		_, err := src.OpenFile(context.Background(), "shim"+cpu+".efi")
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
}

// What a shim asks for and does without is missing without a word about packages.
func TestSystemLoadersWithoutRevocations(t *testing.T) {
	src := host(t, "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", "/usr/lib/shim/shimx64.efi.signed")
	for _, name := range []string{"revocations_sbat.efi", "revocations_sku.efi", "shim_certificate_0.efi"} {
		_, err := src.OpenFile(context.Background(), name)
		require.EqualError(t, err, "open "+name+": file does not exist")
		require.Empty(t, LoaderPackages(name))
	}
}

func TestSystemLoadersListWhoSharesADirectory(t *testing.T) {
	src := host(t, "/usr/share/syslinux/lpxelinux.0")
	_, err := src.OpenFile(context.Background(), "memdisk")
	require.EqualError(t, err, "open memdisk: boot loader not installed: install the package syslinux-nonlinux (Fedora) or syslinux (Alpine)")
}

func TestLoaderTable(t *testing.T) {
	for _, set := range loaderSets() {
		if set.lead != "" {
			_, ok := set.find(set.lead)
			require.True(t, ok, "%s: its lead %s is not in the set", set.distribution, set.lead)
		}
		for _, file := range set.files {
			require.True(t, strings.HasPrefix(file.path, "/"), file.path)
			require.NotEmpty(t, file.pkg)
			require.True(t, fs.ValidPath(file.name) && !strings.Contains(file.name, "/"), file.name)
		}
	}
}

func TestMediumLoaders(t *testing.T) {
	src := MediumLoaders(Memory{
		"isolinux/ldlinux.c32":                []byte("isolinux's"),
		"isolinux/lpxelinux.0":                []byte("isolinux's"),
		"sysresccd/boot/syslinux/lpxelinux.0": []byte("medium's"),
		"sysresccd/boot/syslinux/menu.c32":    []byte("menu"),
		"sysresccd/boot/syslinux/secret.cfg":  []byte("no loader"),
	})
	require.Equal(t, "medium's", content(t, src, "lpxelinux.0"))
	require.Equal(t, "menu", content(t, src, "menu.c32"))
	for _, name := range []string{"ldlinux.c32", "secret.cfg", "memdisk", "boot/menu.c32"} {
		_, err := src.OpenFile(context.Background(), name)
		require.ErrorIs(t, err, fs.ErrNotExist, "%s: the set is not mixed", name)
	}
	src = MediumLoaders(Memory{"arch/boot/syslinux/pxelinux.0": []byte("plain"), "arch/boot/syslinux/ldlinux.c32": []byte("module")})
	require.Equal(t, "module", content(t, src, "ldlinux.c32"))
	_, err := src.OpenFile(context.Background(), "lpxelinux.0")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
