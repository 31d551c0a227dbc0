package dhcp_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/pxekit/pxe/dhcp"
)

// A pool whose leases survive: the second time the file has what the first time
// wrote.
func ExampleLeaseFile() {
	dir, err := os.MkdirTemp("", "leases") // in real life /var/lib/...
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	for range 2 {
		store, err := dhcp.OpenLeaseFile(filepath.Join(dir, "leases"))
		if err != nil {
			log.Fatal(err)
		}
		store.OnDisk = func(err error) { log.Println("the disk of the leases:", err) }
		_ = &dhcp.Server{Networks: []dhcp.Network{{
			Interface: "eth1",
			Addr:      netip.MustParsePrefix("192.0.2.1/24"),
			Mode:      dhcp.Full,
			Leases: &dhcp.Pool{
				First: netip.MustParseAddr("192.0.2.100"),
				Last:  netip.MustParseAddr("192.0.2.199"),
				Store: store,
			},
		}}}
		// What the pool does when a client takes its offer:
		b := dhcp.Binding{
			HW:    []byte{2, 0, 0, 0, 0, 1},
			Addr:  netip.MustParsePrefix("192.0.2.100/32"),
			State: dhcp.Bound,
		}
		if old, err := store.ByAddr(context.Background(), b.Addr.Addr()); err == nil {
			fmt.Println(old.Prefix().Addr(), "is", old.State, "to", old.HW)
			b.Version = old.Version
		}
		if _, err := store.Claim(context.Background(), b); err != nil {
			log.Fatal(err)
		}
		if err := store.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output: 192.0.2.100 is bound to 02:00:00:00:00:01
}
