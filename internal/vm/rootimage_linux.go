package vm

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed guest/rootinit.sh
var guestRootInit []byte

//go:embed guest/liveinit.sh
var guestLiveInit []byte

//go:embed guest/udhcpc-script
var guestUDHCPC []byte

// The content of the root file system: enough that a transfer takes many packets
// and an error in the middle would show, little enough for an emulated processor to
// read it twice.
const (
	contentFiles    = 48
	contentFileSize = 512 << 10 // on average
)

// writeRootTree makes the root file system's tree in dir and returns the SHA-256
// of its list of checksums, /content.sha256.
func writeRootTree(dir string, in *ingredients) (string, error) {
	busybox, err := os.ReadFile(in.busybox)
	if err != nil {
		return "", fmt.Errorf("vm: busybox for the root file system: %w", err)
	}
	t := &tree{dir: dir}
	for _, name := range []string{"dev", "proc", "sys", "run", "tmp", "etc"} {
		t.mkdir(name)
	}
	t.file("sbin/init", 0o755, guestRootInit)
	t.file("sbin/liveinit", 0o755, guestLiveInit)
	// systemd in an initramfs takes nothing for a system that does not name itself.
	t.file("etc/os-release", 0o644, []byte("ID=pxekit\nNAME=\"pxekit test system\"\n"))
	t.file("bin/udhcpc-script", 0o755, guestUDHCPC)
	t.file("bin/busybox", 0o755, busybox)
	for _, name := range in.applets {
		t.link("bin/"+name, "busybox")
	}

	// The same content on every machine: a fixed seed.
	random := rand.NewChaCha8([32]byte([]byte("content of the test root system.")))
	sizes := rand.New(rand.NewPCG(1, 2))
	var sums []string
	for i := range contentFiles {
		name := fmt.Sprintf("content/%d/%03d", i%7, i)
		data := make([]byte, 1+sizes.IntN(2*contentFileSize))
		if _, err := random.Read(data); err != nil {
			return "", err
		}
		if i%3 == 0 { // some that compress, as most of a real system does
			data = []byte(hex.EncodeToString(data[:len(data)/2]))
		}
		t.file(name, 0o644, data)
		sum := sha256.Sum256(data)
		sums = append(sums, hex.EncodeToString(sum[:])+"  "+name+"\n")
	}
	slices.Sort(sums)
	list := []byte(strings.Join(sums, ""))
	t.file("content.sha256", 0o644, list)
	sum := sha256.Sum256(list)
	return hex.EncodeToString(sum[:]), t.err
}

// squash makes the squashfs image out of the tree in dir.
func squash(ctx context.Context, dir, image string) error {
	return run(ctx, "mksquashfs", dir, image,
		"-comp", "zstd", "-all-root", "-all-time", "0", "-mkfs-time", "0", "-no-xattrs", "-no-progress", "-quiet", "-noappend")
}

// tree writes files below a directory; the first error sticks.
type tree struct {
	dir string
	err error
}

func (t *tree) mkdir(name string) {
	if t.err == nil {
		t.err = os.MkdirAll(filepath.Join(t.dir, name), 0o755)
	}
}

func (t *tree) file(name string, perm os.FileMode, data []byte) {
	t.mkdir(filepath.Dir(name))
	if t.err == nil {
		t.err = os.WriteFile(filepath.Join(t.dir, name), data, perm)
	}
}

func (t *tree) link(name, target string) {
	t.mkdir(filepath.Dir(name))
	if t.err == nil {
		t.err = os.Symlink(target, filepath.Join(t.dir, name))
	}
}

// copy copies the file source of the host.
func (t *tree) copy(name, source string) {
	if t.err != nil {
		return
	}
	data, err := os.ReadFile(source)
	if err != nil {
		t.err = err
		return
	}
	t.file(name, 0o644, data)
}

// run runs a program; the error has what it printed.
func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("vm: %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
