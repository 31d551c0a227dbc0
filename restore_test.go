package pxe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
)

const machineUUID = "12345678-1234-1234-1234-123456789abc"

// restarting are services as a restart leaves them: they know nothing but what the
// store has.
func restarting(t *testing.T, bindings ...dhcp.Binding) *services {
	t.Helper()
	store := new(dhcp.MemoryStore)
	for _, b := range bindings {
		_, err := store.Claim(t.Context(), b)
		require.NoError(t, err)
	}
	return &services{
		server: &Server{
			Networks: []Network{{Interface: "eth1", Mode: dhcp.Full, Leases: &dhcp.Pool{
				First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.199"), Store: store,
			}}},
			Booter: BooterFunc(func(_ context.Context, m *Machine) (*bootcfg.Menu, error) {
				return &bootcfg.Menu{
					Entries: []bootcfg.Entry{{Name: "own", Kernel: "kernel", Params: []string{"for=" + m.HardwareAddr.String()}}},
					Files:   map[string][]byte{"kernel": []byte("kernel of " + m.HardwareAddr.String())},
				}, nil
			}),
		},
		registry: newRegistry(0), httpPort: 80, tftpPort: 69,
	}
}

// leased is a binding of a machine that boots from the network.
func leased(n byte, addr string) dhcp.Binding {
	return dhcp.Binding{
		HW: mac(n), UUID: machineUUID, Addr: netip.PrefixFrom(netip.MustParseAddr(addr), 32),
		State: dhcp.Bound, Until: time.Now().Add(time.Hour),
	}
}

var ourAddr = netip.MustParseAddr("192.0.2.1")

// ask asks for a name as openTFTP, or the HTTP server, does.
func (v *services) askFor(t *testing.T, name, from string, byHTTP bool) (*boot, string) {
	t.Helper()
	b, rest := v.bootOfRequest(t.Context(), name, netip.MustParseAddr(from), ourAddr, byHTTP)
	file, err := v.open(t.Context(), b, rest)
	if err != nil {
		return b, ""
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	require.NoError(t, err)
	return b, string(content)
}

func TestAMachineIsKnownByItsLeaseAndGetsItsOwnFiles(t *testing.T) {
	v := restarting(t, leased(1, "192.0.2.100"), leased(2, "192.0.2.101"))
	first, config := v.askFor(t, "pxelinux.cfg/01-02-00-00-00-00-02", "192.0.2.100", false)
	require.Contains(t, config, "for=02:00:00:00:00:01", "who asks decides, not the name")
	require.Equal(t, mac(1), first.hw)
	machine := first.machine
	require.Equal(t, "192.0.2.100", machine.Addr.String())
	require.Equal(t, machineUUID, machine.UUID)
	require.Equal(t, "eth1", machine.Interface)
	require.Equal(t, ourAddr, machine.ServerAddr)
	require.Equal(t, dhcp.Plain, machine.Kind)

	again, kernel := v.askFor(t, "kernel", "192.0.2.100", false)
	require.Same(t, first, again)
	require.Equal(t, "kernel of 02:00:00:00:00:01", kernel)
	second, kernel := v.askFor(t, "~aaaaaaaaaaaaa/kernel", "192.0.2.101", true)
	require.NotEqual(t, first.id, second.id)
	require.Equal(t, "kernel of 02:00:00:00:00:02", kernel, "the ID is one of before the restart")
}

func TestARestoredBootHasAConfigurationForEachLoader(t *testing.T) {
	withLPXELinux := asset.Memory{"lpxelinux.0": []byte("loader"), "pxelinux.0": []byte("loader")}
	withPXELinux := asset.Memory{"pxelinux.0": []byte("loader")}
	for name, test := range map[string]struct {
		files  FileSource
		byHTTP bool
		want   string
	}{
		"pxelinux.cfg/" + machineUUID:          {withLPXELinux, false, "LINUX http://192.0.2.1/~"},
		"pxelinux.cfg/01-02-00-00-00-00-01":    {withPXELinux, false, "LINUX tftp://192.0.2.1/kernel"},
		"dir/pxelinux.cfg/default":             {withPXELinux, false, "LINUX tftp://192.0.2.1/kernel"},
		"boot.ipxe":                            {nil, true, "http://192.0.2.1/~"},
		"/boot.ipxe":                           {nil, false, "tftp://192.0.2.1/"},
		"~aaaaaaaaaaaaa/boot.ipxe":             {nil, true, "http://192.0.2.1/~"},
		"grub/grub.cfg":                        {nil, false, "menuentry"},
		"grub/grub.cfg-01-02-00-00-00-00-01":   {nil, false, "menuentry"},
		"~aaaaaaaaaaaaa/grub/http.cfg":         {nil, true, "(http,192.0.2.1)"},
		"/pxelinux.cfg/01-02-00-00-00-00-01":   {nil, false, "  LINUX kernel"},
		"pxelinux.cfg/default-arm-bcm283x-rpi": {nil, false, "  LINUX kernel"},
	} {
		t.Run(name, func(t *testing.T) {
			b := leased(1, "192.0.2.100")
			b.UUID = "" // QEMU's machines have none unless they are given one
			v := restarting(t, b)
			v.server.Files = test.files
			_, config := v.askFor(t, strings.TrimPrefix(name, "/"), "192.0.2.100", test.byHTTP)
			require.Contains(t, config, test.want)
		})
	}
}

func TestOnlyALeaseThatLastsMakesAMachineKnown(t *testing.T) {
	change := func(f func(*dhcp.Binding)) dhcp.Binding {
		b := leased(1, "192.0.2.100")
		f(&b)
		return b
	}
	for name, binding := range map[string]dhcp.Binding{
		"another's": leased(1, "192.0.2.101"),
		"ended":     change(func(b *dhcp.Binding) { b.Until = time.Now().Add(-time.Second) }),
		"released":  change(func(b *dhcp.Binding) { b.State = dhcp.Released }),
		"declined":  change(func(b *dhcp.Binding) { b.State = dhcp.Declined }),
		"of nobody": change(func(b *dhcp.Binding) { b.HW, b.ID = nil, []byte{1} }),
	} {
		t.Run(name, func(t *testing.T) {
			v := restarting(t, binding)
			for _, asked := range []string{"pxelinux.cfg/" + machineUUID, "~aaaaaaaaaaaaa/kernel", "kernel"} {
				b, content := v.askFor(t, asked, "192.0.2.100", true)
				require.Nil(t, b)
				require.Empty(t, content)
			}
			require.Empty(t, v.registry.byHW)
		})
	}
	v := restarting(t, change(func(b *dhcp.Binding) { b.Until = time.Time{} }))
	_, content := v.askFor(t, "kernel", "192.0.2.100", true)
	require.NotEmpty(t, content, "a lease without end")
}

// A lease alone is no boot: the Booter is not to be asked about a telephone.
func TestWhoNeverBootedIsNoBootForAFile(t *testing.T) {
	b := leased(1, "192.0.2.100")
	b.UUID = ""
	v := restarting(t, b)
	got, _ := v.askFor(t, "phone.cfg", "192.0.2.100", false)
	require.Nil(t, got)
	got, _ = v.askFor(t, "~aaaaaaaaaaaaa/phone.cfg", "192.0.2.100", true)
	require.NotNil(t, got, "the name is one that a boot was given")
	for _, name := range []string{"lpxelinux.0", "ldlinux.c32", "grubx64.efi"} {
		v = restarting(t, b)
		got, _ = v.askFor(t, name, "192.0.2.100", false)
		require.Equal(t, StageLoader, got.stageOf(name))
	}

	v = restarting(t, leased(1, "192.0.2.100"))
	v.server.Booter = nil
	got, _ = v.askFor(t, "boot.ipxe", "192.0.2.100", true)
	require.Nil(t, got, "nothing boots from here")
}

func TestWhatWasHeardSinceTheStartCountsMoreThanALeaseOfBefore(t *testing.T) {
	now, addr := time.Now(), netip.MustParseAddr("192.0.2.100")
	r := newRegistry(0)
	r.bound(mac(1), netip.MustParseAddr("192.0.2.150"))
	require.Nil(t, r.restore(Machine{HardwareAddr: mac(1), Addr: addr}, now), "it has moved")
	r.bound(mac(2), addr)
	require.Nil(t, r.restore(Machine{HardwareAddr: mac(1), Addr: addr}, now), "another has it now")

	opened, _ := r.begin(Machine{HardwareAddr: mac(3), Kind: dhcp.PXE}, true, transaction(1), now)
	b := r.restore(Machine{HardwareAddr: mac(3), Addr: netip.MustParseAddr("192.0.2.103")}, now)
	require.Same(t, opened, b, "it is in a boot already")
	require.False(t, b.restored)
}

func TestTheNextDISCOVEREndsARestoredBoot(t *testing.T) {
	v := restarting(t, leased(1, "192.0.2.100"))
	restored, _ := v.askFor(t, "snponly.efi", "192.0.2.100", false)
	require.True(t, restored.restored)
	b, opened := v.registry.begin(Machine{
		HardwareAddr: mac(1), Kind: dhcp.IPXE, network: netip.MustParsePrefix("192.0.2.0/24"),
	}, true, transaction(1), time.Now())
	require.True(t, opened, "now more is known of it")
	require.False(t, b.restored)
}

// Some loaders ask again, from another port, before they were answered.
func TestWhoAsksAtTheSameTimeHasAllConfigurationsToo(t *testing.T) {
	names := []string{"pxelinux.cfg/default", "boot.ipxe", "grub/grub.cfg", "pxelinux.cfg/" + machineUUID}
	var menu bootcfg.Menu // it takes some time to write
	for i := range bootcfg.MaxEntries {
		menu.Entries = append(menu.Entries, bootcfg.Entry{Name: fmt.Sprintf("entry%d", i), Kernel: "kernel"})
	}
	for range 100 {
		v := restarting(t, leased(1, "192.0.2.100"))
		asked := 0
		v.server.Booter = BooterFunc(func(context.Context, *Machine) (*bootcfg.Menu, error) {
			asked++
			return &menu, nil
		})
		errs := make([]error, len(names))
		var group sync.WaitGroup
		for i, name := range names {
			group.Go(func() {
				b, rest := v.bootOfRequest(t.Context(), name, netip.MustParseAddr("192.0.2.100"), ourAddr, true)
				_, errs[i] = v.open(t.Context(), b, rest)
			})
		}
		group.Wait()
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, 1, asked)
	}
}

func TestABooterThatFailsAfterARestartIsAskedAgain(t *testing.T) {
	v := restarting(t, leased(1, "192.0.2.100"))
	answer, fails := v.server.Booter, true
	v.server.Booter = BooterFunc(func(ctx context.Context, m *Machine) (*bootcfg.Menu, error) {
		if fails {
			return nil, errors.New("the inventory is away")
		}
		return answer.Boot(ctx, m)
	})
	_, content := v.askFor(t, "boot.ipxe", "192.0.2.100", true)
	require.Empty(t, content)
	fails = false
	_, content = v.askFor(t, "boot.ipxe", "192.0.2.100", true)
	require.NotEmpty(t, content)
}

func TestAServerBehindATranslationIsNamedByItsOutsideAddress(t *testing.T) {
	v := restarting(t, leased(1, "192.0.2.100"))
	v.server.Networks[0].ServerAddr = netip.MustParseAddr("203.0.113.1")
	_, script := v.askFor(t, "boot.ipxe", "192.0.2.100", true)
	require.Contains(t, script, "http://203.0.113.1/~")
	v = restarting(t, leased(1, "192.0.2.100"))
	b, _ := v.bootOfRequest(t.Context(), "boot.ipxe", netip.MustParseAddr("192.0.2.100"), netip.Addr{}, false)
	require.Nil(t, b, "a socket that cannot tell, and a network that does not say")
	v.server.Networks[0].Addr = netip.MustParsePrefix("192.0.2.1/24")
	b, _ = v.bootOfRequest(t.Context(), "boot.ipxe", netip.MustParseAddr("192.0.2.100"), netip.Addr{}, false)
	require.Equal(t, ourAddr, b.machine.ServerAddr)
}

func TestABootProgramIsTheLoaderOfARestoredBoot(t *testing.T) {
	v := restarting(t, leased(1, "192.0.2.100"))
	v.server.Booter = BooterFunc(func(context.Context, *Machine) (*bootcfg.Menu, error) {
		return &bootcfg.Menu{Program: &bootcfg.Program{File: "installer/start"}}, nil
	})
	b, _ := v.askFor(t, "installer/start", "192.0.2.100", false)
	require.Equal(t, StageLoader, b.stageOf("installer/start"))
	require.Equal(t, StageFile, b.stageOf("installer/more"))
}

func TestOneLeasePolicyForSeveralNetworks(t *testing.T) {
	v := restarting(t, leased(1, "192.0.2.100"))
	own := v.server.Networks[0]
	other := Network{
		Interface: "eth0", Mode: dhcp.Full, Leases: own.Leases,
		Addr: netip.MustParsePrefix("198.51.100.1/24"), ServerAddr: netip.MustParseAddr("203.0.113.1"),
	}
	relayed := own
	relayed.Interface, relayed.Subnet = "", netip.MustParsePrefix("192.0.2.0/24")
	own.Addr = netip.MustParsePrefix("192.0.2.1/24")
	for want, networks := range map[string][]Network{"eth1": {other, own}, "": {other, relayed}, "eth0": {other}} {
		v.server.Networks = networks
		n, lease := v.leaseAt(t.Context(), netip.MustParseAddr("192.0.2.100"))
		require.Equal(t, want, n.Interface)
		require.Equal(t, mac(1), lease.HardwareAddr())
	}
}

func TestWhatAStrangerAsksForIsNotLookedAt(t *testing.T) {
	b := leased(1, "192.0.2.100")
	b.UUID = ""
	v := restarting(t, b)
	looked := 0
	booting := func() bool { looked++; return true }
	require.Nil(t, v.restore(t.Context(), netip.MustParseAddr("192.0.2.101"), ourAddr, booting))
	require.Zero(t, looked)
	require.NotNil(t, v.restore(t.Context(), netip.MustParseAddr("192.0.2.100"), ourAddr, booting))
	require.Equal(t, 1, looked)
}
