package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/rootfs"
)

func TestMistakesOnTheCommandLineNameTheFlagAndTheRemedy(t *testing.T) {
	complete := []string{"-interface", "eth1", "-range", "192.0.2.100-192.0.2.199", "-media", "rescue.iso"}
	tests := map[string]struct {
		args []string
		want []string
	}{
		"nothing":            {nil, []string{"-interface is missing", "-range is missing", "-media is missing"}},
		"proxy and range":    {append(complete, "-proxy"), []string{"-proxy leaves addresses to another server: -range"}},
		"network twice":      {append(complete, "-network", "iface=eth2,range=198.51.100.9-198.51.100.19"), []string{"use the one or the other"}},
		"network of nothing": {[]string{"-network", "eth1"}, []string{`"eth1" is no key=value`}},
		"network, no range":  {[]string{"-network", "iface=eth1"}, []string{"-network iface=eth1: no range"}},
		"network, odd key":   {[]string{"-network", "iface=eth1,colour=red"}, []string{`unknown key "colour"`, "router"}},
		"network, odd mode":  {[]string{"-network", "iface=eth1,mode=half"}, []string{"mode=half: use full, proxy or bootserver"}},
		"proxy with range":   {[]string{"-network", "iface=eth1,mode=proxy,range=192.0.2.9-192.0.2.19"}, []string{"another server gives out the addresses"}},
		"key twice":          {[]string{"-network", "iface=eth1,iface=eth2"}, []string{"iface= stands there twice"}},
		"subnet":             {append(complete, "-subnet", "198.51.100.1,range=198.51.100.9-198.51.100.19"), []string{"begin with the subnet, as 198.51.100.0/24"}},
		"reservation":        {append(complete, "-reserve", "192.0.2.10"), []string{"-reserve", "02:00:00:00:00:01=192.0.2.10"}},
		"boot once":          {append(complete, "-boot-once", "me"), []string{"-boot-once", "02:00:00:00:00:01"}},
		"stock by NFS":       {append(complete, "-loader", "stock", "-root", "nfs", "-nfs", "192.0.2.9:/x"), []string{"-root, -nfs and -live are for menus made here"}},
		"stock, live":        {append(complete, "-loader", "stock", "-root", "nbd", "-live"), []string{"-root, -nfs and -live are for menus made here"}},
		"stock, HTTP port":   {append(complete, "-loader", "stock", "-http", ":8080"), []string{"-http", "no port but 80"}},
		"stock, NBD port":    {append(complete, "-loader", "stock", "-nbd", ":10810"), []string{"-nbd", "no port but 10809"}},
		"stock, unverified":  {append(complete, "-loader", "stock", "-no-checksum"), []string{"-no-checksum is for menus made here"}},
		"stock with params":  {append(complete, "-loader", "stock", "-params", "x"), []string{"-params is for menus made here"}},
		"range backwards":    {append(complete, "-range", "192.0.2.9-192.0.2.1"), []string{"-range", "192.0.2.100-192.0.2.199"}},
		"range of IPv6":      {append(complete, "-range", "2001:db8::1-2001:db8::9"), []string{"-range"}},
		"address":            {append(complete, "-addr", "192.0.2.1"), []string{"-addr", "192.0.2.1/24"}},
		"router":             {append(complete, "-router", "gateway"), []string{"-router", `"gateway" is no IPv4 address`}},
		"one of two DNS":     {append(complete, "-dns", "192.0.2.1,x"), []string{"-dns", `"x"`}},
		"unknown loader":     {append(complete, "-loader", "lilo"), []string{"use auto, pxelinux, ipxe, grub or stock"}},
		"unknown root":       {append(complete, "-root", "smb"), []string{"use http, nbd, nfs or tftp"}},
		"NFS without -nfs":   {append(complete, "-root", "nfs"), []string{"-nfs is missing", "-nfs 192.0.2.9:/srv/rescue"}},
		"-nfs without NFS":   {append(complete, "-nfs", "192.0.2.9:/x"), []string{"-nfs is for -root nfs"}},
		"NBD on a port":      {append(complete, "-root", "nbd", "-nbd", ":10810"), []string{"-nbd", "no port but 10809"}},
		"live by HTTP":       {append(complete, "-live"), []string{"-live is for -root nfs and nbd"}},
		"leases of another":  {[]string{"-interface", "eth1", "-proxy", "-leases", "x"}, []string{"-leases keeps the addresses that are given out here"}},
		"repair of nothing":  {append(complete, "-leases-repair"), []string{"-leases-repair is for a file"}},
		"forgotten dash":     {append(complete, "router"), []string{`unexpected argument "router"`}},
		"several at a time":  {append(complete, "-router", "x", "-root", "y"), []string{"-router", "-root"}},
		"not a duration":     {append(complete, "-lease-time", "x"), []string{"-lease-time"}},
		"unknown flag":       {append(complete, "-sauce"), []string{"-sauce"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse(test.args, io.Discard)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	o, err := parse(append(complete, "-params", " nomodeset  console=ttyS0 ", "-dns", "192.0.2.3, 192.0.2.4"), io.Discard)
	require.NoError(t, err)
	require.Equal(t, []string{"nomodeset", "console=ttyS0"}, o.params)
	require.Len(t, o.networks[0].dns, 2)
}

func TestNetworksAndReservations(t *testing.T) {
	o, err := parse([]string{
		"-network", "iface=eth1,addr=192.0.2.1/24,range=192.0.2.100-192.0.2.199,router=192.0.2.254,dns=192.0.2.53,192.0.2.54",
		"-network", "iface=eth2,mode=proxy",
		"-subnet", "198.51.100.0/24,range=198.51.100.100-198.51.100.199,router=198.51.100.1",
		"-reserve", "02:00:00:00:00:01=192.0.2.10", "-reserve", "02:00:00:00:00:02=198.51.100.10", "-media", "rescue.iso",
	}, io.Discard)
	require.NoError(t, err)
	networks, err := o.newNetworks(nil)
	require.NoError(t, err)
	require.Len(t, networks, 3)
	require.NoError(t, (&pxe.Server{Networks: networks}).Validate())
	require.Equal(t, "192.0.2.10", networks[0].Leases.(*dhcp.Pool).Reservations[0].Addr.String())
	require.Len(t, networks[0].DNS, 2)
	require.Equal(t, dhcp.Proxy, networks[1].Mode)
	require.Nil(t, networks[1].Leases)
	require.Equal(t, "198.51.100.10", networks[2].Leases.(*dhcp.Pool).Reservations[0].Addr.String())

	o, err = parse([]string{"-interface", "eth1", "-proxy", "-subnet", "198.51.100.0/24,range=198.51.100.100-198.51.100.199", "-media", "rescue.iso"}, io.Discard)
	require.NoError(t, err)
	require.Len(t, o.networks, 2)
	require.Equal(t, dhcp.Proxy, o.networks[0].mode)

	o.reservations = []reservation{{net.HardwareAddr{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("203.0.113.9")}}
	_, err = o.newNetworks(nil)
	require.ErrorContains(t, err, "203.0.113.9: the address is in none of the networks")
}

func TestABootServerSaysWhatTheOtherServerMustBeTold(t *testing.T) {
	parsed := func(network string) *options {
		o, err := parse([]string{"-network", network, "-media", "rescue.iso"}, io.Discard)
		require.NoError(t, err)
		return o
	}
	hint := parsed("iface=eth1,addr=192.0.2.1/24,mode=bootserver").hint()
	require.Contains(t, hint, "the DHCP server on eth1 must send machines here")
	require.Contains(t, hint, "\n  dhcp-boot=tag:pxeclient,,,192.0.2.1\n")
	require.Contains(t, parsed("iface=no-such-if0,mode=bootserver").hint(), "is not known")
	require.Empty(t, parsed("iface=eth1,addr=192.0.2.1/24,mode=proxy").hint())
	require.Empty(t, parsed("iface=eth1,addr=192.0.2.1/24,range=192.0.2.100-192.0.2.199").hint())
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var out bytes.Buffer
	require.ErrorIs(t, run(context.Background(), []string{"-h"}, io.Discard, &out), flag.ErrHelp)
	for _, name := range strings.Fields("interface addr range proxy router dns network subnet reserve boot-once detect domain lease-time leases leases-repair media loaders loader root nfs live params no-checksum events http tftp nbd") {
		require.Contains(t, out.String(), "\n  -"+name)
	}
}

func TestAMediumThatIsNoneIsRefusedBeforeAnySocketIsOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rescue.iso")
	args := []string{"-interface", "no-such-if0", "-range", "192.0.2.100-192.0.2.199", "-media", path}
	err := run(t.Context(), args, io.Discard, io.Discard)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, make([]byte, 1<<16), 0o600))
	require.ErrorContains(t, run(t.Context(), args, io.Discard, io.Discard), "-media")
	empty := run(t.Context(), append(args, "-media", t.TempDir()), io.Discard, io.Discard)
	require.ErrorContains(t, empty, "it has no sysresccd/")
}

func TestAMediumWithoutMicrocodeBoots(t *testing.T) {
	files := asset.Memory{}
	for _, name := range []string{"boot/x86_64/vmlinuz", "boot/x86_64/sysresccd.img", "x86_64/airootfs.sfs", "x86_64/airootfs.sha512"} {
		files["sysresccd/"+name] = []byte("x")
	}
	initrds, err := checkMedium(t.Context(), files, pxe.SystemRescue{Checksum: true}, "http")
	require.NoError(t, err)
	require.Equal(t, []string{"sysresccd/boot/x86_64/sysresccd.img"}, initrds)
	delete(files, "sysresccd/x86_64/airootfs.sha512")
	_, err = checkMedium(t.Context(), files, pxe.SystemRescue{Checksum: true}, "http")
	require.ErrorContains(t, err, "it has no sysresccd/x86_64/airootfs.sha512")
	_, err = checkMedium(t.Context(), files, pxe.SystemRescue{}, "http")
	require.NoError(t, err, "nobody asks for the checksum")
}

func TestTheStockMenuComesWithNBDAndIsLookedForBeforeAnyMachineDoes(t *testing.T) {
	o, err := parse([]string{"-network", "iface=eth1,mode=proxy", "-media", "rescue.iso", "-loader", "stock"}, io.Discard)
	require.NoError(t, err, "also beside another server")
	root, err := o.newRoot(&asset.ISO{})
	require.NoError(t, err)
	require.IsType(t, &rootfs.NBD{}, root)

	files := asset.Memory{"sysresccd/boot/syslinux/lpxelinux.0": []byte("x"), "sysresccd/boot/syslinux/sysresccd.cfg": []byte("x")}
	warning, err := checkStockMedium(t.Context(), files, &asset.ISO{}, pxe.SystemRescue{})
	require.NoError(t, err)
	require.Empty(t, warning)
	warning, err = checkStockMedium(t.Context(), files, files, pxe.SystemRescue{})
	require.NoError(t, err)
	require.Regexp(t, "^warning: .* begins with NBD.*\n$", warning)
	delete(files, "sysresccd/boot/syslinux/sysresccd.cfg")
	_, err = checkStockMedium(t.Context(), files, files, pxe.SystemRescue{})
	require.ErrorContains(t, err, "sysresccd/boot/syslinux/sysresccd.cfg")
}

func TestLoadersOfTheDirectoryComeBeforeAllOthers(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "snponly.efi"), []byte("own"), 0o600))
	files, err := withLoaders(asset.Memory{"snponly.efi": []byte("medium's"), "x": []byte("y")}, dir)
	require.NoError(t, err)
	file, err := files.OpenFile(t.Context(), "snponly.efi")
	require.NoError(t, err)
	content, err := io.ReadAll(file)
	require.NoError(t, err)
	require.Equal(t, "own", string(content))
	_, err = withLoaders(asset.Memory{}, filepath.Join(dir, "missing"))
	require.ErrorContains(t, err, "-loaders")
}

func TestEventsGoToPeopleAsLinesAndToProgramsAsJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	var people bytes.Buffer
	report, closeReport, err := reporter(path, io.Discard, &people)
	require.NoError(t, err)
	report(pxe.Event{Stage: pxe.StageKernel, Name: "vmlinuz", Done: true})
	report(pxe.Event{Stage: pxe.StageRoot})
	require.NoError(t, closeReport())
	require.Contains(t, people.String(), "kernel vmlinuz")
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(written)), "\n")
	require.Len(t, lines, 2)
	for _, line := range lines {
		require.True(t, json.Valid([]byte(line)), line)
	}
}
