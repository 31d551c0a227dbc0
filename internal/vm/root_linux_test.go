package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rootCase is one way to the root file system.
type rootCase struct {
	name  string
	flags []string // of the appliance
	// param is what the guest's command line must have, and no other archiso_*_srv.
	param string
	// via is the service that must have delivered the image, or the medium that it
	// is on: "" is none of the appliance's.
	via string
	// said is what the guest says of how it got there.
	said string
	// ganesha is whether an NFS server runs beside the appliance.
	ganesha bool
	// checksum is whether the initramfs verifies the image, live whether the system
	// stays on it.
	checksum, live bool
}

const nfsExport = "/srv/rescue"

// rootCases do without HTTP with a checksum: so TestMatrix boots all its machines.
var rootCases = []rootCase{
	{
		name: "http-no-checksum", flags: []string{"-root", "http", "-no-checksum"}, via: "http",
		param: `archiso_http_srv=http://192\.0\.2\.1/\S*`, said: `fetched http://\S+/airootfs\.sfs \d+`,
	},
	{
		name: "tftp", flags: []string{"-root", "tftp"}, via: "tftp", checksum: true,
		param: `archiso_http_srv=tftp://192\.0\.2\.1/\S*`, said: `fetched tftp://\S+/airootfs\.sfs \d+`,
	},
	{
		name: "nbd", flags: []string{"-root", "nbd"}, via: "nbd", checksum: true,
		param: `archiso_nbd_srv=192\.0\.2\.1 archiso_nbd_name=archiso\S*`, said: `attached archiso\S* \d+`,
	},
	{
		name: "nbd-live", flags: []string{"-root", "nbd", "-live"}, via: "nbd", checksum: true, live: true,
		param: `archiso_nbd_srv=192\.0\.2\.1 archiso_nbd_name=archiso\S*`, said: `attached archiso\S* \d+`,
	},
	{
		name: "nfs", flags: []string{"-root", "nfs", "-nfs", "192.0.2.1:" + nfsExport}, ganesha: true, checksum: true,
		param: `archiso_nfs_srv=192\.0\.2\.1:` + nfsExport, said: `mounted 192\.0\.2\.1:` + nfsExport,
	},
	{
		name: "nfs-live", flags: []string{"-root", "nfs", "-nfs", "192.0.2.1:" + nfsExport, "-live"}, ganesha: true, checksum: true, live: true,
		param: `archiso_nfs_srv=192\.0\.2\.1:` + nfsExport, said: `mounted 192\.0\.2\.1:` + nfsExport,
	},
}

// TestBootRoot boots a machine from one ISO for each way to the root file system.
func TestBootRoot(t *testing.T) {
	if namespaceError != nil {
		t.Skip(namespaceError)
	}
	appliance := buildAppliance(t)
	for _, c := range rootCases {
		t.Run(c.name, func(t *testing.T) {
			ctx := deadline(t)
			s := newSegment(t, ctx)
			var files *Process
			if c.ganesha {
				needGanesha(t)
				files = startGanesha(t, Ganesha{Path: nfsExport, Source: s.medium.ISO, Config: ganeshaConfig})
			}
			server := startAppliance(t, ctx, appliance, s, c.flags...)
			machine := s.boot(t, ctx, Machine{Firmware: BIOS, NICs: []NIC{s.nic(1)}})

			address := see(t, ctx, machine, `PXEKIT ip (\S+)`)[1]
			see(t, ctx, machine, `PXEKIT `+c.said)
			if c.checksum {
				see(t, ctx, machine, `PXEKIT checksum ok`)
			}
			checkCommandLine(t, c, see(t, ctx, machine, `PXEKIT cmdline (.*)`)[1])
			require.Equal(t, s.medium.Content, see(t, ctx, machine, `PXEKIT root-content ok (\S+)`)[1])
			require.Equal(t, address, see(t, ctx, machine, `PXEKIT os-ip (\S+)`)[1])
			see(t, ctx, machine, `PXEKIT up`)

			if c.live {
				checkLiveReads(t, ctx, machine, s.medium)
			}
			if files != nil && !c.live {
				require.NoError(t, files.Stop(ctx))
			}
			require.NoError(t, server.Stop(ctx))
			switch {
			case !c.live: // the machine goes on without the server
				see(t, ctx, machine, `PXEKIT server-gone`)
				see(t, ctx, machine, `PXEKIT root-content-after-server-gone ok`)
			case !c.ganesha: // it needed the server
				see(t, ctx, machine, `PXEKIT live-read error`)
			}

			events := readEvents(t, server)
			checkLeases(t, address, events)
			checkRootDelivery(t, c, s.medium, events)
		})
	}
}

// TestBootNBDRestart kills the appliance under a client that reads from its export,
// and starts it again: the client reconnects and reads the same bytes.
func TestBootNBDRestart(t *testing.T) {
	if namespaceError != nil {
		t.Skip(namespaceError)
	}
	ctx := deadline(t)
	s := newSegment(t, ctx)
	appliance := buildAppliance(t)
	flags := []string{"-root", "nbd", "-params", "console=ttyS0 quiet pxekit_attach=archiso"}
	server := startAppliance(t, ctx, appliance, s, flags...)
	machine := s.boot(t, ctx, Machine{Firmware: BIOS, NICs: []NIC{s.nic(1)}})

	sums, err := os.ReadFile(filepath.Join(s.medium.Tree, rootFiles[1]))
	require.NoError(t, err)
	want, _, _ := strings.Cut(string(sums), " ")
	require.Equal(t, want, see(t, ctx, machine, `PXEKIT attached-read ok 1 (\S+)`)[1])
	server.Kill()
	before := see(t, ctx, machine, `PXEKIT attached-read error after ([1-9]\d*)`)[1]
	startAppliance(t, ctx, appliance, s, flags...)
	n, err := strconv.Atoi(before)
	require.NoError(t, err)
	for range 2 {
		n++
		match := see(t, ctx, machine, fmt.Sprintf(`PXEKIT attached-read ok %d (\S+) (\d+)`, n))
		require.Equal(t, want, match[1])
		requireFromNetwork(t, s.medium, match[2])
	}
}

// checkCommandLine wants the server that the case asks for on the guest's command
// line, and no second one.
func checkCommandLine(t *testing.T, c rootCase, line string) {
	t.Helper()
	require.Regexp(t, `(^| )`+c.param+`( |$)`, line)
	require.Equal(t, 1, strings.Count(line, "_srv="), line)
	require.Equal(t, c.live, strings.Contains(" "+line+" ", " copytoram=n "), line)
	require.Equal(t, c.checksum, regexp.MustCompile(`(^| )checksum(=y)?( |$)`).MatchString(line), line)
}

// checkLiveReads wants the booted system to read its files again and again, each time
// from the server.
func checkLiveReads(t *testing.T, ctx context.Context, machine *Running, medium *Medium) {
	t.Helper()
	for n := range 2 {
		requireFromNetwork(t, medium, see(t, ctx, machine, fmt.Sprintf(`PXEKIT live-read ok %d (\d+)`, n+1))[1])
	}
}

// requireFromNetwork wants so many received bytes that the root file system must have
// been among them: what is read of it is nearly all of the image.
func requireFromNetwork(t *testing.T, medium *Medium, received string) {
	t.Helper()
	n, err := strconv.ParseInt(received, 10, 64)
	require.NoError(t, err)
	require.Greater(t, n, medium.Root*3/4)
}

// checkRootDelivery wants the root file system to have come whole by the service that
// the case names, and by no other.
func checkRootDelivery(t *testing.T, c rootCase, medium *Medium, events []event) {
	t.Helper()
	var most int64
	for _, e := range events {
		if e.Stage != stageRoot || e.Bytes == 0 {
			continue
		}
		require.Equal(t, c.via, e.Via, "%+v", e)
		// Who stays on it is there when the server stops.
		if e.Done && (e.Error == "" || c.live) {
			most = max(most, e.Bytes)
		}
	}
	if c.via == "" {
		require.Zero(t, most)
	} else {
		require.GreaterOrEqual(t, most, medium.Root)
	}
}

// ganeshaConfig exports nfsExport as an administrator would for NFSv3 clients.
const ganeshaConfig = `
NFS_CORE_PARAM { Protocols = 3; }
EXPORT { Export_Id = 1; Path = "` + nfsExport + `"; Pseudo = "` + nfsExport + `"; Protocols = 3; Access_Type = RO; Squash = None; FSAL { Name = VFS; } }`
