package vm

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// restartPoint is a place in a boot where the server is killed and started again. The
// machine is kept there until then: what it asks for next is thrown away, so that it
// asks again, as after a packet that was lost.
type restartPoint struct {
	after string // the step that is behind it, for messages
	// hold is what nft throws away. Empty: nothing; the machine is busy by itself for
	// longer than a restart takes.
	hold string
	// event is what the server must have said where nothing is held.
	event string
}

// What machines ask for, for nft: a REQUEST of a client that puts the message type
// first, and names by TFTP.
const (
	holdRequest = `udp dport 67 @th,1984,24 0x350103`
	holdTFTP    = `udp dport 69`
	holdConfig  = `udp dport 69 @th,80,96 0x7078656c696e75782e636667` // pxelinux.cfg
	holdHTTP    = `tcp dport 80`
)

// kernelStarts is said when the machine has the last file before its kernel starts.
const kernelStarts = `"stage":"initrd","name":"[^"]*sysresccd\.img".*"done":true}$`

var restartCases = []arrangement{
	{
		name: "restart-bios", firmware: BIOS, missing: missingNFT,
		what: "the server killed and started again five times: before loader, configuration, kernel, the initramfs's lease, and the root file system",
		boot: bootRestarted(BIOS, "pxelinux",
			restartPoint{after: "the firmware's lease", hold: holdTFTP},
			restartPoint{after: "the loader", hold: holdConfig},
			restartPoint{after: "the configuration", hold: holdHTTP},
			restartPoint{after: "the kernel's files", event: kernelStarts},
			restartPoint{after: "the initramfs's lease", hold: holdHTTP}),
	},
	{
		name: "restart-uefi", firmware: UEFIx64, missing: missingNFT,
		what: "the server killed and started again three times: between OFFER and REQUEST, before iPXE's script, and before the initramfs's lease",
		boot: bootRestarted(UEFIx64, "auto",
			restartPoint{after: "the OFFER", hold: holdRequest},
			restartPoint{after: "iPXE's lease", hold: holdHTTP},
			restartPoint{after: "the kernel's files", event: kernelStarts}),
	},
}

func missingNFT() string { return missing([]requirement{{pkg: "nftables", program: "nft"}}) }

// bootRestarted boots a machine whose server is killed on the way. What it knows after
// that are its leases.
func bootRestarted(firmware Firmware, loader string, points ...restartPoint) func(*testing.T, context.Context) time.Duration {
	return func(t *testing.T, ctx context.Context) time.Duration {
		s := newSegment(t, ctx)
		watch := watchDHCP(t, s)
		appliance, leases := buildAppliance(t), filepath.Join(t.TempDir(), "leases")
		start := func() *Process {
			return startAppliance(t, ctx, appliance, s, "-leases", leases, "-loader", loader)
		}
		held := make([]*held, len(points))
		// prepare is called while the machine is kept at the point before.
		prepare := func(i int) {
			if i < len(points) && points[i].hold != "" {
				held[i] = hold(t, ctx, fmt.Sprintf("pxekit%d", i), points[i].hold)
			}
		}
		prepare(0)
		servers := []*Process{start()}
		machine := s.boot(t, ctx, Machine{Firmware: firmware, NICs: []NIC{s.nic(1)}})
		for i, p := range points {
			server := servers[len(servers)-1]
			reached := func() bool {
				return slices.ContainsFunc(server.Stdout.Lines(), func(l Line) bool { return regexp.MustCompile(p.event).MatchString(l.Text) })
			}
			if held[i] != nil {
				reached = func() bool { return held[i].count(t, ctx) > 0 }
			}
			wait(t, ctx, machine, reached)
			server.Kill()
			t.Logf("killed after %s", p.after)
			prepare(i + 1)
			servers = append(servers, start())
			if held[i] != nil {
				held[i].release(t, ctx)
			}
		}

		address := see(t, ctx, machine, `PXEKIT ip (\S+)`)[1]
		see(t, ctx, machine, `PXEKIT checksum ok`)
		checked, content, err := machine.Console.WaitFor(ctx, `PXEKIT root-content ok (\S+)`)
		require.NoError(t, err)
		require.Equal(t, s.medium.Content, content[1])
		require.Equal(t, address, see(t, ctx, machine, `PXEKIT os-ip (\S+)`)[1])
		see(t, ctx, machine, `PXEKIT up`)

		replies, others := watch.by(netip.MustParseAddr("192.0.2.1"))
		require.Empty(t, others)
		for _, m := range replies {
			require.Equal(t, address, m.YourIPAddr.String(), m.Summary())
		}
		for _, server := range servers {
			for _, line := range server.Stdout.Lines() {
				e := readEvent(t, line.Text) // of this machine, also where a file was asked for
				if e.Addr != "" {
					require.Equal(t, address, e.Addr, line.Text)
				}
			}
		}
		return checked.At
	}
}

// held is a rule that throws away packets and counts them.
type held struct{ table string }

// hold throws away what comes to this host and matches, until release or the end of
// the test.
func hold(t *testing.T, ctx context.Context, table, match string) *held {
	t.Helper()
	h := &held{table}
	h.nft(t, ctx, fmt.Sprintf(`table inet %s {
		counter held { }
		chain input { type filter hook input priority 0; %s counter name held drop; }
	}`, table, match))
	t.Cleanup(func() {
		if h.table != "" {
			h.release(t, context.Background())
		}
	})
	return h
}

func (h *held) nft(t *testing.T, ctx context.Context, command string) string {
	t.Helper()
	out, err := exec.CommandContext(ctx, "nft", command).CombinedOutput()
	require.NoError(t, err, "%s: %s", command, out)
	return string(out)
}

// count is how many packets were thrown away.
func (h *held) count(t *testing.T, ctx context.Context) int {
	t.Helper()
	match := regexp.MustCompile(`packets (\d+)`).FindStringSubmatch(h.nft(t, ctx, "list counter inet "+h.table+" held"))
	require.NotNil(t, match)
	n, err := strconv.Atoi(match[1])
	require.NoError(t, err)
	return n
}

// wait returns when the machine has come so far.
func wait(t *testing.T, ctx context.Context, machine *Running, reached func() bool) {
	t.Helper()
	for !reached() {
		hopes := !slices.ContainsFunc(machine.Console.Lines(), func(l Line) bool { return hopeless.MatchString(l.Text) })
		require.True(t, hopes, "the boot failed")
		select {
		case <-time.After(50 * time.Millisecond):
		case <-machine.Done():
			require.FailNow(t, "the machine is off")
		case <-ctx.Done():
			require.NoError(t, ctx.Err())
		}
	}
}

// release lets pass what is held.
func (h *held) release(t *testing.T, ctx context.Context) {
	t.Helper()
	h.nft(t, ctx, "delete table inet "+h.table)
	h.table = ""
}
