package pxe_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

func hint(mode dhcp.Mode) pxe.DHCPHint {
	return pxe.DHCPHint{Mode: mode, ServerAddr: netip.MustParseAddr("192.0.2.1")}
}

// hintForms are the forms of a hint, each with a configuration around it and how
// the program that reads it is asked what it thinks.
var hintForms = map[string]struct {
	form    func(pxe.DHCPHint) (string, error)
	config  string
	command []string // with the configuration's path
	pkg     string
	daemon  bool // the package starts a server: tests do not ask for it
}{
	"dnsmasq": {pxe.DHCPHint.DnsmasqLines, "dhcp-range=192.0.2.50,192.0.2.59\n%s", []string{"dnsmasq", "--test", "--conf-file=%s"}, "dnsmasq-base", false},
	"dhcpd": {pxe.DHCPHint.ISCStatements, "subnet 192.0.2.0 netmask 255.255.255.0 {\nrange 192.0.2.50 192.0.2.59;\n%s}\n",
		[]string{"dhcpd", "-t", "-4", "-cf", "%s", "-lf", os.DevNull}, "isc-dhcp-server", true},
	"kea-dhcp4": {pxe.DHCPHint.KeaMember, `{ "Dhcp4": { "subnet4": [ { "id": 1, "subnet": "192.0.2.0/24", "pools": [ { "pool": "192.0.2.50-192.0.2.59" } ] } ],
"lease-database": { "type": "memfile", "persist": false },
%s} }`, []string{"kea-dhcp4", "-t", "%s"}, "kea-dhcp4-server", true},
}

func TestDHCPHintOfAProxyIsTheNextServer(t *testing.T) {
	for program, want := range map[string]string{
		"dnsmasq": "dhcp-boot=,,192.0.2.1\n", "dhcpd": "next-server 192.0.2.1;\n", "kea-dhcp4": "\"next-server\": \"192.0.2.1\"\n",
	} {
		got, err := hintForms[program].form(hint(dhcp.Proxy))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// wantOption43 is what the specification makes of one server, asked by nothing but
// its address, and of a menu that takes its only item at once.
const wantOption43 = "06 01 07" + // no broadcast, no multicast, listed servers only
	"08 07 8001 01 c0000201" +
	"09 0f 8001 0c 4e6574776f726b20626f6f74" + // "Network boot"
	"0a 0d 00 4e6574776f726b20626f6f74" +
	"ff"

// option43 finds what a hint says in option 43.
func option43(t *testing.T, text string) []byte {
	t.Helper()
	found := regexp.MustCompile(`(?:,43,|options |"data": ")([0-9a-f]{2}(?::?[0-9a-f]{2})+)`).FindStringSubmatch(text)
	require.NotNil(t, found, text)
	b, err := hex.DecodeString(strings.ReplaceAll(found[1], ":", ""))
	require.NoError(t, err)
	return b
}

func TestDHCPHintOfABootServer(t *testing.T) {
	want, err := hex.DecodeString(strings.ReplaceAll(wantOption43, " ", ""))
	require.NoError(t, err)
	for program, c := range hintForms {
		got, err := c.form(hint(dhcp.BootServer))
		require.NoError(t, err, program)
		require.Equal(t, want, option43(t, got), program)
		require.Contains(t, got, "PXEClient", program)
		require.Contains(t, got, "192.0.2.1", program)
	}
}

func TestDHCPHintMistakes(t *testing.T) {
	for says, h := range map[string]pxe.DHCPHint{
		"ServerAddr invalid IP: give the IPv4 address": {Mode: dhcp.Proxy},
		"ServerAddr 2001:db8::1":                       {Mode: dhcp.Proxy, ServerAddr: netip.MustParseAddr("2001:db8::1")},
		"ServerAddr ::ffff:192.0.2.1":                  {Mode: dhcp.Proxy, ServerAddr: netip.MustParseAddr("::ffff:192.0.2.1")},
		"ServerAddr 0.0.0.0":                           {Mode: dhcp.BootServer, ServerAddr: netip.IPv4Unspecified()},
		"ServerAddr 224.0.0.1":                         {Mode: dhcp.BootServer, ServerAddr: netip.MustParseAddr("224.0.0.1")},
		"Mode full: only in the modes proxy and boot":  hint(dhcp.Full),
		"Mode mode 0":                                  hint(0),
	} {
		for program, c := range hintForms {
			text, err := c.form(h)
			require.ErrorContains(t, err, says, program)
			require.Empty(t, text, "rather nothing than half of it")
		}
	}
}

// Each program is asked about what it is told, and about the same with its first
// character lost.
func TestDHCPServersAcceptTheirHints(t *testing.T) {
	for program, c := range hintForms {
		for _, mode := range []dhcp.Mode{dhcp.Proxy, dhcp.BootServer} {
			t.Run(program+", "+mode.String(), func(t *testing.T) {
				if _, err := exec.LookPath(program); err != nil {
					if c.daemon {
						t.Skipf("%s comes with a daemon that installs itself, so it is asked where it is there already", program)
					}
					why := fmt.Sprintf("%s is not installed; install the package %s", program, c.pkg)
					if os.Getenv("CI") != "" {
						t.Fatalf("in CI this test is not skipped: %s", why)
					}
					t.Skip(why)
				}
				text, err := c.form(hint(mode))
				require.NoError(t, err)
				out, err := check(t, c.command, fmt.Sprintf(c.config, text))
				require.NoError(t, err, "%s\n%s", text, out)
				out, err = check(t, c.command, fmt.Sprintf(c.config, text[1:]))
				require.Error(t, err, "it must notice what is wrong: %s", out)
			})
		}
	}
}

// check runs a program on a configuration.
func check(t *testing.T, command []string, config string) (string, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(name, []byte(config), 0o644))
	var args []string
	for _, a := range command[1:] {
		args = append(args, strings.ReplaceAll(a, "%s", name))
	}
	cmd := exec.CommandContext(t.Context(), command[0], args...)
	cmd.Env = append(os.Environ(), "KEA_LOCKFILE_DIR=none")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A network whose DHCP server was told what the hint says, and one where it was not.
func TestMachinesBootByTheHint(t *testing.T) {
	for name, c := range map[string]struct {
		firmware pxetest.Firmware
		mode     dhcp.Mode
		family   dhcp.Family
	}{
		"BIOS PXE, boot server":             {pxetest.BIOSPXE, dhcp.BootServer, 0},
		"UEFI x64, shim, GRUB, boot server": {pxetest.UEFIx64, dhcp.BootServer, dhcp.FamilyGRUB},
		"UEFI x64, shim, GRUB, proxy":       {pxetest.UEFIx64, dhcp.Proxy, dhcp.FamilyGRUB},
	} {
		for _, told := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, told %t", name, told), func(t *testing.T) {
				var events recorder
				srv := besideServer(&events, c.mode)
				srv.Loader = c.family
				on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
					other := segment.DHCPServer("192.0.2.2/24", "192.0.2.50", "192.0.2.59")
					h := hint(c.mode)
					if text, err := h.DnsmasqLines(); told {
						require.NoError(t, err)
						other.SetBootFile("", h.ServerAddr)
						if c.mode == dhcp.BootServer {
							other.SetOption(60, []byte("PXEClient"))
							other.SetOption(43, option43(t, text))
						}
					}
					boot, err := segment.Machine("02:00:00:00:00:01", c.firmware).Boot(t.Context())
					if !told {
						require.Error(t, err)
						return
					}
					require.NoError(t, err)
					require.True(t, boot.Root.Verified)
				})
			})
		}
	}
}

func ExampleDHCPHint() {
	h := pxe.DHCPHint{Mode: dhcp.Proxy, ServerAddr: netip.MustParseAddr("192.0.2.1")}
	dnsmasq, _ := h.DnsmasqLines()
	isc, _ := h.ISCStatements()
	fmt.Print(dnsmasq, isc)
	// Output:
	// dhcp-boot=,,192.0.2.1
	// next-server 192.0.2.1;
}
