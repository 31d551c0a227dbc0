package rootfs_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

var (
	hinted  = rootfs.NFS{Export: "192.0.2.9:/srv/rescue"}
	segment = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.7/32")}
)

func TestNFSExportsLine(t *testing.T) {
	for want, share := range map[string]rootfs.NFSShare{
		"/srv/rescue *(ro,no_subtree_check)":           {},
		"/srv/rescue *(ro,no_subtree_check,fsid=1,mp)": {ISO: "/srv/iso/rescue.iso"},
		"/srv/rescue 192.0.2.0/24(ro,no_subtree_check,fsid=9,mp) 198.51.100.7/32(ro,no_subtree_check,fsid=9,mp)": {ISO: "/a.iso", Clients: segment, ID: 9},
	} {
		line, err := hinted.ExportsLine(share)
		require.NoError(t, err)
		require.Equal(t, want, line)
	}
}

func TestNFSGaneshaExport(t *testing.T) {
	block, err := hinted.GaneshaExport(rootfs.NFSShare{Clients: segment, ID: 9})
	require.NoError(t, err)
	require.Equal(t, `EXPORT {
	Export_Id = 9;
	Path = "/srv/rescue";
	Pseudo = "/srv/rescue";
	Filesystem_Id = 9.1;
	Protocols = 3;
	Transports = TCP;
	SecType = none, sys;
	Squash = root_squash;
	Access_Type = None;
	FSAL { Name = VFS; }
	CLIENT { Clients = 192.0.2.0/24; Access_Type = RO; }
	CLIENT { Clients = 198.51.100.7/32; Access_Type = RO; }
}
`, block)
	block, err = rootfs.NFS{Export: "192.0.2.9:/", Options: []string{"udp"}}.GaneshaExport(rootfs.NFSShare{})
	require.NoError(t, err)
	require.Contains(t, block, "Transports = UDP;\n")
	require.Contains(t, block, "Export_Id = 1;\n")
	require.Contains(t, block, "\tAccess_Type = RO;\n\tFSAL")
}

func TestNFSShareErrors(t *testing.T) {
	for says, share := range map[string]rootfs.NFSShare{
		`NFSShare.ISO "rescue.iso" is no path`:             {ISO: "rescue.iso"},
		`NFSShare.ISO "/a/../b" is no path`:                {ISO: "/a/../b"},
		`NFSShare.ISO "/" is no path`:                      {ISO: "/"},
		`NFSShare.ISO "/a\x00b" is no path`:                {ISO: "/a\x00b"},
		"NFSShare.Clients: 2001:db8::/32 is no IPv4":       {Clients: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}},
		"NFSShare.Clients: invalid Prefix is no IPv4":      {Clients: make([]netip.Prefix, 1)},
		"192.0.2.9/24 is not the network's own address; w": {Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/24")}},
	} {
		for _, hint := range []func(rootfs.NFSShare) (string, error){hinted.ExportsLine, hinted.GaneshaExport, hinted.FstabLine} {
			text, err := hint(share)
			require.ErrorContains(t, err, says)
			require.Empty(t, text)
		}
	}
	_, err := hinted.FstabLine(rootfs.NFSShare{})
	require.ErrorContains(t, err, "a directory needs no line")
	_, err = rootfs.NFS{Export: "nas:/srv"}.ExportsLine(rootfs.NFSShare{})
	require.ErrorContains(t, err, "dotted IPv4")
	_, err = rootfs.NFS{Export: "192.0.2.9:/srv it"}.GaneshaExport(rootfs.NFSShare{})
	require.ErrorContains(t, err, "' '")
}
