package vm

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

const dhcpLeaseTime = dhcpv4.OptionIPAddressLeaseTime

var update = flag.Bool("update", false, "write docs/boots.md from this run of TestMatrix")

const bootsFile = "../../docs/boots.md"

// bootRow is a boot that passed.
type bootRow struct {
	name     string
	firmware Firmware
	proxy    bool
	loaders  string
	kernel   string
	took     time.Duration
}

// bootPackages are the Debian packages whose versions matter for a boot.
const bootPackages = "qemu-system-x86 ovmf ovmf-ia32 ipxe-qemu ipxe pxelinux shim-signed grub-efi-amd64-signed grub-efi-amd64-bin grub-efi-ia32-bin linux-image-cloud-amd64 dnsmasq-base qemu-system-arm qemu-efi-aarch64 isc-dhcp-relay"

const bootsHead = `# What was booted

Made by ` + "`go test ./internal/vm -run TestMatrix -update`" + ` out of one run on %s; do not edit.

Each row is a virtual machine (QEMU, its processor emulated, two cores shared with
everything else) that booted from a server of this library to its root file system by
HTTP (bios-stock-nbd: by NBD). The seconds are from power-on until the root file system was mounted and every file
in it read and compared; they include the menu's waiting time. With DHCP "full" the
server gives the addresses; with "proxy" a dnsmasq does, and the server is proxyDHCP
beside it. For GRUB that dnsmasq names this server as the next one
(dhcp-option=option:server-ip-address,ADDRESS). internal/vm/doc.go says what such a boot proves and what not.

| firmware | DHCP | chain | boot loaders, in order | kernel by | s |
|---|---|---|---|---|---:|
`

// arrangedRow is an arrangement that passed.
type arrangedRow struct {
	arrangement
	took time.Duration
}

const arrangedHead = `
Other circumstances, with this server as the only one but where it says so. The seconds are until the root
file system was checked, or the local disk had started, of the slower one where there
are two machines, and together where one boots twice.

| firmware | circumstances | s |
|---|---|---:|
`

// writeBoots writes docs/boots.md.
func writeBoots(t *testing.T, rows []bootRow, arranged []arrangedRow) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, bootsHead, time.Now().UTC().Format(time.DateOnly))
	for _, r := range rows {
		mode, loaders := "full", r.loaders
		if r.proxy {
			mode = "proxy"
		}
		if loaders == "" {
			loaders = "none: iPXE is in the ROM"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %.0f |\n", r.firmware, mode, r.name, loaders, r.kernel, r.took.Seconds())
	}
	b.WriteString(arrangedHead)
	for _, r := range arranged {
		fmt.Fprintf(&b, "| %s | %s | %.0f |\n", r.firmware, r.what, r.took.Seconds())
	}
	b.WriteString("\nVersions of the Debian packages:\n\n")
	for _, pkg := range strings.Fields(bootPackages) {
		version, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", pkg).Output()
		require.NoError(t, err, "version of %s", pkg)
		fmt.Fprintf(&b, "- %s %s\n", pkg, version)
	}
	require.NoError(t, os.WriteFile(filepath.FromSlash(bootsFile), []byte(b.String()), 0o644))
}
