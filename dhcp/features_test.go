package dhcp

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestI001_Features(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want Features
	}{
		"absent":      {nil, Features{}},
		"empty":       {[]byte{}, Features{}},
		"pads":        {[]byte{0, 0, 255}, Features{}},
		"after END":   {[]byte{255, 19, 1, 1}, Features{}},
		"no length":   {[]byte{19}, Features{}},
		"cut":         {[]byte{19, 2, 1}, Features{}},
		"a long cut":  {[]byte{19, 255}, Features{}},
		"one":         {[]byte{19, 1, 1}, Features{Known: true, HTTP: true}},
		"cut later":   {[]byte{19, 1, 1, 20, 9, 1}, Features{Known: true, HTTP: true}},
		"unknown":     {[]byte{99, 3, 1, 2, 3, 0, 21, 1, 1, 255}, Features{Known: true, TFTP: true}},
		"taken away":  {[]byte{19, 1, 0, 21, 1, 2}, Features{Known: true, TFTP: true}},
		"of no byte":  {[]byte{19, 0, 20, 2, 1, 1}, Features{Known: true}},
		"version":     {[]byte{235, 3, 1, 21, 1}, Features{Known: true, Version: "1.21.1"}},
		"bad version": {[]byte{235, 2, 1, 21, 235, 4, 1, 2, 3, 4}, Features{Known: true}},
		"PCI":         {[]byte{177, 5, 1, 0x80, 0x86, 0x10, 0x0e}, Features{Known: true, Bus: "pci 8086:100e"}},
		"another bus": {[]byte{177, 5, 7, 0, 0, 0, 1}, Features{Known: true, Bus: "bus 7 0000:0001"}},
		"bad bus":     {[]byte{177, 4, 1, 2, 3, 4}, Features{Known: true}},
		"the ROM of QEMU 7.2": {[]byte{
			177, 5, 1, 0x1a, 0xf4, 0x10, 0, 235, 3, 1, 0, 0, 23, 1, 1, 34, 1, 1, 19, 1, 1, 17, 1, 1, 39, 1, 1, 25, 1, 1,
			41, 1, 1, 16, 1, 2, 33, 1, 1, 21, 1, 1, 24, 1, 1, 18, 1, 1,
		}, Features{Known: true, Version: "1.0.0", Bus: "pci 1af4:1000", DNS: true, ELF: true, HTTP: true, ISCSI: true, Menu: true,
			Multiboot: true, NFS: true, PXE: true, TFTP: true, BzImage: true, AoE: true}},
		"what that has not": {[]byte{
			20, 1, 1, 22, 1, 1, 35, 1, 1, 36, 1, 1, 37, 1, 1, 38, 1, 1, 40, 1, 1,
		}, Features{Known: true, HTTPS: true, FTP: true, COMBOOT: true, EFI: true, FCoE: true, VLAN: true, SDI: true}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, featuresOf(c.b)) })
	}
}

// FuzzFeatures: whatever the bytes, the texts are of our making, and an option put
// in front of them changes nothing but itself.
func FuzzFeatures(f *testing.F) {
	f.Add([]byte{177, 5, 1, 0x80, 0x86, 0x10, 0x0e, 235, 3, 1, 0, 0, 24, 1, 1})
	f.Add([]byte{0, 255, 19})
	f.Add([]byte{19, 1, 1, 20, 200})
	version, bus := regexp.MustCompile(`^(\d{1,3}(\.\d{1,3}){2})?$`), regexp.MustCompile(`^((pci|bus \d{1,3}) [0-9a-f]{4}:[0-9a-f]{4})?$`)
	f.Fuzz(func(t *testing.T, b []byte) {
		got := featuresOf(b)
		require.Regexp(t, version, got.Version)
		require.Regexp(t, bus, got.Bus)
		if !got.Known {
			require.Equal(t, Features{}, got)
		}
		behind := featuresOf(append([]byte{optionPad, 41, 1, 1}, b...))
		require.True(t, behind.Known)
		again := got
		again.Known, again.NFS = true, behind.NFS
		require.Equal(t, again, behind, "%x", b)
	})
}
