package pxe_test

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

// restartable is a server that is started anew, with the leases of before or without.
type restartable struct {
	host   *pxetest.Host
	leases string // path of the lease file; empty: memory
	setup  func(*pxe.Server)
	events recorder

	server *pxe.Server
	served chan error // gets what Serve returns
	file   *dhcp.LeaseFile
}

func (r *restartable) start(t *testing.T) {
	t.Helper()
	r.server = grubServer(&r.events)
	r.server.Files.(asset.Memory)["lpxelinux.0"] = medium()["lpxelinux.0"]
	r.server.Booter = pxe.SystemRescue{Checksum: true}
	if r.setup != nil {
		r.setup(r.server)
	}
	if r.leases != "" {
		var err error
		r.file, err = dhcp.OpenLeaseFile(r.leases)
		require.NoError(t, err)
		r.server.Networks[0].Leases.(*dhcp.Pool).Store = r.file
	}
	sockets := r.host.Sockets()
	server, served := r.server, make(chan error, 1)
	r.served = served
	go func() { served <- server.Serve(sockets) }()
}

func (r *restartable) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, r.server.Close())
	require.ErrorIs(t, <-r.served, pxe.ErrServerClosed) // only then are its sockets closed for certain
	if r.file != nil {
		require.NoError(t, r.file.Close())
	}
}

// bootWithRestarts boots a machine whose server is started anew after each step for
// which when says so. between is called while it is down.
func bootWithRestarts(t *testing.T, r *restartable, firmware pxetest.Firmware, when func(pxetest.Step) bool, between func(*testing.T)) (boot *pxetest.Boot, restarts int, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		segment := newSegment(t)
		r.host = segment.Host("eth0", "192.0.2.1/24")
		r.start(t)
		machine := segment.Machine("02:00:00:00:00:01", firmware)
		machine.Observe = func(s pxetest.Step) {
			if !s.Done || s.Err != nil || !when(s) {
				return
			}
			restarts++
			r.stop(t)
			if between != nil {
				between(t)
			}
			r.start(t)
		}
		boot, err = machine.Boot(t.Context())
		r.stop(t)
	})
	return boot, restarts, err
}

// The stages after whose first step the server is started anew.
var restartStages = []pxetest.Stage{
	pxetest.StageDiscover, // between OFFER and REQUEST
	pxetest.StageLease,    // between ACK and the loader, or the script
	pxetest.StageLoader,   // between the loader and its configuration
	pxetest.StageConfig,   // between that and the kernel
	pxetest.StageKernel,
	pxetest.StageInitrd, // between the kernel's files and the lease of the initramfs
	pxetest.StageNetwork,
	pxetest.StageRoot,
}

func firstOf(stage pxetest.Stage) func(pxetest.Step) bool {
	seen := false
	return func(s pxetest.Step) bool {
		if s.Stage != stage || seen {
			return false
		}
		seen = true
		return true
	}
}

func everyStep(pxetest.Step) bool { return true }

// restartChains are all that machines boot by.
var restartChains = map[string]struct {
	firmware pxetest.Firmware
	family   dhcp.Family
	// needs are the stages after which the leases are needed: by the configuration,
	// which is asked for by a name that says nothing of a boot.
	needs []pxetest.Stage
}{
	"BIOS PXE, lpxelinux":  {pxetest.BIOSPXE, 0, []pxetest.Stage{pxetest.StageLease, pxetest.StageLoader}},
	"BIOS PXE, undionly":   {pxetest.BIOSPXE, dhcp.FamilyIPXE, nil},
	"iPXE ROM":             {pxetest.IPXEROM, 0, []pxetest.Stage{pxetest.StageLease}},
	"UEFI x64, iPXE":       {pxetest.UEFIx64, 0, nil},
	"UEFI x64, shim, GRUB": {pxetest.UEFIx64, dhcp.FamilyGRUB, []pxetest.Stage{pxetest.StageLease, pxetest.StageLoader}},
	"UEFI IA32, GRUB":      {pxetest.UEFIIA32, dhcp.FamilyGRUB, []pxetest.Stage{pxetest.StageLease, pxetest.StageLoader}},
	"UEFI x64 HTTP, iPXE":  {pxetest.UEFIx64HTTP, 0, nil},
}

func TestAMachineComesUpWhateverItsServerIsRestartedBetween(t *testing.T) {
	for name, chain := range restartChains {
		for _, stage := range append(restartStages, "every") {
			t.Run(name+", "+string(stage), func(t *testing.T) {
				t.Parallel() // most of the time the disk is waited for
				when := firstOf(stage)
				if stage == "every" {
					when = everyStep
				}
				r := &restartable{leases: filepath.Join(t.TempDir(), "leases"), setup: func(s *pxe.Server) { s.Loader = chain.family }}
				boot, restarts, err := bootWithRestarts(t, r, chain.firmware, when, nil)
				require.NoError(t, err)
				require.True(t, boot.Root.Verified)
				for _, lease := range boot.Leases {
					require.Equal(t, boot.Leases[0].Addr, lease.Addr, "one address over the whole boot")
				}
				for _, e := range r.events.all() {
					require.Equal(t, "02:00:00:00:00:01", e.Machine.String(), "%s", e)
					require.NotEqual(t, pxe.StageNAK, e.Stage)
				}
				switch {
				case stage == "every":
					require.Greater(t, restarts, len(restartStages))
				case stage == pxetest.StageLoader && chain.firmware == pxetest.IPXEROM:
					require.Zero(t, restarts, "its loader is in the ROM")
				default:
					require.Equal(t, 1, restarts)
				}
			})
		}
	}
}

func TestAServerWithoutItsLeasesKnowsNoMachineInTheMiddleOfItsBoot(t *testing.T) {
	for name, chain := range restartChains {
		for _, stage := range chain.needs {
			t.Run(name+", "+string(stage), func(t *testing.T) {
				r := &restartable{setup: func(s *pxe.Server) { s.Loader = chain.family }}
				_, restarts, err := bootWithRestarts(t, r, chain.firmware, firstOf(stage), nil)
				require.Error(t, err)
				require.Equal(t, 1, restarts)
			})
		}
	}
}

// An offer is never in the store. Its address is the client's all the same.
func TestAnOfferOfBeforeTheRestartIsGranted(t *testing.T) {
	for name, file := range map[string]string{"memory": "", "lease file": "leases"} {
		t.Run(name, func(t *testing.T) {
			r := &restartable{}
			if file != "" {
				r.leases = filepath.Join(t.TempDir(), file)
			}
			boot, restarts, err := bootWithRestarts(t, r, pxetest.BIOSPXE, firstOf(pxetest.StageDiscover), nil)
			require.NoError(t, err)
			require.Equal(t, 1, restarts)
			var offered netip.Addr
			discovers := 0
			for _, e := range r.events.all() {
				if e.Stage == pxe.StageOffer && !offered.IsValid() {
					offered = e.Addr
				}
				if e.Stage == pxe.StageDiscover && e.Name == "pxe" {
					discovers++
				}
			}
			require.Equal(t, offered, boot.Leases[0].Addr.Addr())
			require.Equal(t, 1, discovers, "it did not have to begin again")
		})
	}
}

func TestAnOfferOfBeforeTheRestartThatAnotherHasIsRefused(t *testing.T) {
	r := &restartable{leases: filepath.Join(t.TempDir(), "leases")}
	var offered netip.Addr
	boot, _, err := bootWithRestarts(t, r, pxetest.BIOSPXE, firstOf(pxetest.StageDiscover), func(t *testing.T) {
		for _, e := range r.events.all() {
			if e.Stage == pxe.StageOffer {
				offered = e.Addr
			}
		}
		store, err := dhcp.OpenLeaseFile(r.leases)
		require.NoError(t, err)
		_, err = store.Claim(context.Background(), dhcp.Binding{
			HW: net.HardwareAddr{2, 0, 0, 0, 0, 2}, Addr: netip.PrefixFrom(offered, 32),
			State: dhcp.Bound, Until: time.Now().Add(time.Hour),
		})
		require.NoError(t, err)
		require.NoError(t, store.Close())
	})
	require.NoError(t, err)
	require.True(t, boot.Root.Verified)
	for _, lease := range boot.Leases {
		require.NotEqual(t, offered, lease.Addr.Addr(), "it is another machine's")
		require.Equal(t, boot.Leases[0].Addr, lease.Addr)
	}
	var refused []pxe.Event
	for _, e := range r.events.all() {
		if e.Stage == pxe.StageNAK {
			refused = append(refused, e)
		}
	}
	require.Len(t, refused, 1)
}
