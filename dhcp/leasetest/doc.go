// Package leasetest checks implementations of [dhcp.Store] and [dhcp.LeasePolicy]
// against what package dhcp says of them: the contracts that stand between a
// network and an address that is given twice. Run it in the tests of a store or a
// policy of your own:
//
//	func TestStore(t *testing.T) {
//		leasetest.TestStore(t, func() dhcp.Store { return newStore(t.TempDir()) },
//			leasetest.Reopen(func(s dhcp.Store) dhcp.Store { return reopen(t, s) }))
//	}
//
//	func TestPolicy(t *testing.T) {
//		leasetest.TestPolicy(t, func() dhcp.LeasePolicy { return newInventory() })
//	}
//
// Every rule that is broken is one error, which says the rule and what was seen.
//
// It cannot see data races by itself: run it with -race. Nor can it pull the plug:
// that a store keeps what it acknowledged is shown by opening it again, which is
// less than a crash.
package leasetest
