package leasetest_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/leasetest"
)

// pedant is a store that makes an error of what is none.
type pedant struct{ dhcp.MemoryStore }

func (s *pedant) Remove(ctx context.Context, b dhcp.Binding) error {
	if _, err := s.ByAddr(ctx, b.Addr.Addr()); err != nil {
		return err // wrong: what shall be gone is gone
	}
	return s.MemoryStore.Remove(ctx, b)
}

// printer is a TB that prints. In a test it is the *testing.T.
type printer struct{}

func (printer) Helper()                           {}
func (printer) Errorf(format string, args ...any) { fmt.Println(fmt.Sprintf(format, args...)) }

func ExampleTestStore() {
	leasetest.TestStore(printer{}, func() dhcp.Store { return new(pedant) })
	// Output:
	// leasetest: Store: Remove: Remove of an address that has no binding: dhcp: no binding of this address
	// leasetest: Store: Remove: Remove a second time: dhcp: no binding of this address
}

func ExampleTestPolicy() {
	inventory := []net.HardwareAddr{machine(10), machine(11), machine(12), machine(13)}
	leasetest.TestPolicy(printer{}, func() dhcp.LeasePolicy { return newInventory(inventory) },
		leasetest.Clients(inventory...), leasetest.Unknown(machine(99)))
	pool := func() dhcp.LeasePolicy {
		return &dhcp.Pool{First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.109")}
	}
	leasetest.TestPolicy(printer{}, pool, leasetest.Size(10))
	fmt.Println("no rule is broken")
	// Output:
	// no rule is broken
}
