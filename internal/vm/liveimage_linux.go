package vm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// LiveImages are Debian's kernel and two initial RAM disks for it, which Debian's
// own programs make of Debian's own scripts: nothing in them is of this package.
type LiveImages struct {
	// Kernel, LiveBoot and Dracut are the paths of the kernel and of the images of
	// live-boot (by mkinitramfs) and of dracut.
	Kernel, LiveBoot, Dracut string
}

// livePackages are the packages whose programs and scripts end up in the images.
var livePackages = []string{
	"live-boot", "live-boot-initramfs-tools", "initramfs-tools-core", "klibc-utils", "busybox-static",
	"dracut-core", "dracut-network", "dracut-live", "isc-dhcp-client", "curl",
	"nbd-client", "nfs-common", "rpcbind", "kmod", "udev", "systemd", "zstd",
}

// liveRequirements are what the live images need beyond the requirements of the
// medium.
func liveRequirements() []requirement {
	const dracutModules = "/usr/lib/dracut/modules.d/"
	return append(requirements(),
		requirement{pkg: "initramfs-tools-core", program: "mkinitramfs"},
		requirement{pkg: "live-boot", file: "/bin/live-boot"},
		requirement{pkg: "live-boot-initramfs-tools", file: "/usr/share/initramfs-tools/hooks/live"},
		requirement{pkg: "dracut-core", program: "dracut"},
		requirement{pkg: "dracut-network", file: dracutModules + "95nbd"},
		requirement{pkg: "dracut-live", file: dracutModules + "90livenet"},
		requirement{pkg: "procps", program: "pgrep"}, // dracut's network-legacy
		requirement{pkg: "nfs-common", program: "mount.nfs"},
		requirement{pkg: "systemd", file: "/lib/systemd/systemd"},
		requirement{pkg: "zstd", program: "zstd"},
	)
}

// liveBootConfig is what mkinitramfs reads in place of /etc/initramfs-tools, so that
// the host's configuration plays no part. It says what Debian's default says.
var liveBootConfig = map[string]string{
	"initramfs.conf": "MODULES=most\nBUSYBOX=y\nKEYMAP=n\nCOMPRESS=zstd\nDEVICE=\nNFSROOT=auto\nRUNSIZE=10%\nFSTYPE=auto\n",
	"modules":        "",
	"conf.d/resume":  "RESUME=none\n",
}

// dracutArguments make an image for any machine and leave the host's configuration
// out. Of dracut's network modules only network-legacy ever runs what mounts a root
// over the network in Debian 12; without the word it takes systemd-networkd.
var dracutArguments = []string{
	"--conf", "/dev/null", "--no-hostonly", "--no-early-microcode", "--zstd", "--force",
	"--add", "network-legacy livenet nbd nfs",
}

// BuildLiveImages returns the images in the cache directory cache ("": the user's
// own), and makes them there first if there are none yet for the packages installed
// now. That takes a minute. Several processes may do it at the same time.
func BuildLiveImages(ctx context.Context, cache string) (*LiveImages, error) {
	if line := missing(liveRequirements()); line != "" {
		return nil, errors.New(line)
	}
	kernels, err := filepath.Glob(kernelPattern)
	if err != nil {
		return nil, err
	}
	kernel := slices.MaxFunc(kernels, compareVersions)
	release := strings.TrimPrefix(filepath.Base(kernel), "vmlinuz-")
	versions, err := exec.CommandContext(ctx, "dpkg-query",
		append([]string{"-W", "-f", "${Package} ${Version}\n", "linux-image-" + release}, livePackages...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("vm: versions of the live packages: %w", err)
	}
	key := sha256.New()
	fmt.Fprintln(key, string(versions), liveBootConfig, dracutArguments)
	dir, err := cached(cache, fmt.Sprintf("live-%x", key.Sum(nil)[:8]), func(work, done string) error {
		if err := makeLiveBoot(ctx, work, release, filepath.Join(done, "live-boot.img")); err != nil {
			return err
		}
		return makeDracut(ctx, work, release, filepath.Join(done, "dracut.img"))
	})
	if err != nil {
		return nil, err
	}
	return &LiveImages{
		Kernel:   kernel,
		LiveBoot: filepath.Join(dir, "live-boot.img"),
		Dracut:   filepath.Join(dir, "dracut.img"),
	}, nil
}

func makeLiveBoot(ctx context.Context, work, release, image string) error {
	config := &tree{dir: filepath.Join(work, "initramfs-tools")}
	for _, dir := range []string{"conf.d", "hooks", "scripts"} {
		config.mkdir(dir)
	}
	for name, content := range liveBootConfig {
		config.file(name, 0o644, []byte(content))
	}
	if config.err != nil {
		return fmt.Errorf("vm: configuration of mkinitramfs: %w", config.err)
	}
	return run(ctx, "mkinitramfs", "-d", config.dir, "-o", image, release)
}

func makeDracut(ctx context.Context, work, release, image string) error {
	config := filepath.Join(work, "dracut.conf.d")
	if err := os.Mkdir(config, 0o755); err != nil {
		return fmt.Errorf("vm: configuration of dracut: %w", err)
	}
	return run(ctx, "dracut", slices.Concat(dracutArguments, []string{
		"--confdir", config, "--tmpdir", work, "--kver", release, image,
	})...)
}
