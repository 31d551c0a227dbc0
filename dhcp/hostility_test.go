package dhcp

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// maxGrowth is how much more memory a server may use after a flood than after its
// beginning.
const maxGrowth = 16 << 20

// mutatedPackets is how many packets are sent.
func mutatedPackets() int {
	if testing.Short() {
		return 20_000
	}
	return 1_000_000
}

// TestCVE_2010_3611_CVE_2018_5732_CVE_2022_2928_MutatedPackets is for crashes and
// for what leaks with each packet, of ISC's server and others (CVE-2010-3616,
// CVE-2011-2748, -2749 and -4539, CVE-2012-3570 and -3954, CVE-2018-5733). After
// each thousand packets a normal client leases an address.
func TestCVE_2010_3611_CVE_2018_5732_CVE_2022_2928_MutatedPackets(t *testing.T) {
	n := mutatedPackets()
	synctest.Test(t, func(t *testing.T) {
		pool := &Pool{First: addr("192.0.2.100"), Last: addr("192.0.2.199"), LeaseTime: 10 * time.Minute,
			Reservations: []Reservation{{HardwareAddr: mac(4711), Addr: addr("192.0.2.50")}}}
		s := newServer(rich, withBoot("x"), withPool(pool), withRelays)
		c := serve(t, s)
		c.unjudged = true // mutated packets of many clients have one transaction
		m := mutator{rand.New(rand.NewPCG(5, 5)), corpus()}
		var begin uint64
		replies := 0
		for i := range n {
			ifname := []string{"eth1", "eth1", "eth1", "eth2", "eth9"}[m.rnd.IntN(5)]
			to := []netip.Addr{broadcastAddr(), addr(serverIP), {}}[m.rnd.IntN(3)]
			c.in <- fakePacket{m.packet(), netip.AddrPortFrom(addr4(m.rnd.Uint32()), uint16(m.rnd.Uint32())), to, ifname}
			if i%100 == 99 {
				synctest.Wait() // a packet is not to be lost because too many clients are in work
			}
			for len(c.out) > 0 {
				_, err := dhcpv4.FromBytes((<-c.out).b)
				require.NoError(t, err)
				replies++
			}
			if i%1000 != 999 {
				continue
			}
			require.Equal(t, "192.0.2.50", doraOn(t, c, mac(4711)))
			time.Sleep(time.Minute)
			synctest.Wait()
			if i == 9999 {
				begin = inUse()
			}
		}
		require.Greater(t, replies, n/100, "some of the packets were still good")
		end := inUse()
		t.Logf("%d packets, %d replies, drops %v, heap %d KiB, then %d KiB", n, replies, s.Drops(), begin>>10, end>>10)
		require.Less(t, end, begin+maxGrowth)
		require.Less(t, uint64(len(pool.table.slots)), uint64(102))
	})
}

// inUse is the memory in use once all that is not has been collected.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// corpus are good packets to begin with.
func corpus() (all [][]byte) {
	for i, mods := range [][]dhcpv4.Modifier{asBIOS, asUEFI, asHTTP, asIPXE, asUBoot, asPlain} {
		more := append(with(mods), opt(61, 255, 1, 2, 3), opt(82, 1, 2, 'a', 'b', 5, 4, 192, 0, 2, 0), giaddr("192.0.2.2"))
		pxe := append(with(mods), opt(43, 71, 4, 0, 0, 0, 0, 255), opt(52, 3), opt(57, 5, 0xdc))
		for _, mods := range [][]dhcpv4.Modifier{mods, more, pxe} {
			a := fmt.Sprintf("192.0.2.%d", 100+i)
			for _, p := range []*dhcpv4.DHCPv4{
				discover(mac(i), mods...), request(mac(i), append(mods, selecting(a))...), request(mac(i), append(mods, optAddr(50, a))...),
				request(mac(i), append(mods, ciaddr(a))...), release(i, a, mods...), decline(i, a, mods...),
				message(dhcpv4.MessageTypeInform, mac(i), append(mods, ciaddr(a))...),
			} {
				all = append(all, p.ToBytes())
			}
		}
	}
	return all
}

// mutator makes packets out of others.
type mutator struct {
	rnd  *rand.Rand
	good [][]byte
}

func (m mutator) packet() []byte {
	b := append([]byte(nil), m.good[m.rnd.IntN(len(m.good))]...)
	if m.rnd.IntN(2) == 0 { // another client
		binary.BigEndian.PutUint32(b[offsetChaddr+2:], m.rnd.Uint32())
	}
	for range m.rnd.IntN(3) {
		at := offsetOptions + m.rnd.IntN(len(b)-offsetOptions)
		if m.rnd.IntN(3) == 0 {
			at = m.rnd.IntN(len(b))
		}
		switch m.rnd.IntN(7) {
		case 0:
			b[at] ^= 1 << m.rnd.IntN(8)
		case 1:
			b[at] = byte(m.rnd.Uint32())
		case 2:
			b[at] = []byte{0, 1, 52, 61, 77, 82, 255}[m.rnd.IntN(7)]
		case 3:
			b = b[:max(at, offsetOptions+1)]
		case 4:
			n := m.rnd.IntN(300)
			b = append(b[:at:at], append(make([]byte, n), b[at:]...)...)
		case 5: // the end of another packet
			other := m.good[m.rnd.IntN(len(m.good))]
			b = append(b[:at:at], other[min(at, len(other)):]...)
		case 6: // a part of its own again
			b = append(b[:at:at], b[at/2:]...)
		}
		if len(b) <= offsetOptions+1 || len(b) > maxPacket {
			break
		}
	}
	return b
}

// TestStarvation: a flood of DISCOVERs with random hardware addresses, client
// identifiers or both costs nobody an address who has one or to whom one is
// reserved, and leaves nothing behind.
func TestStarvation(t *testing.T) {
	const flood = 100000
	for name, c := range map[string]struct {
		bits   int // of the network
		strict bool
		hw, id bool // what is random
	}{
		"hardware addresses, a small pool":              {24, false, true, false},
		"hardware addresses, a large pool":              {16, false, true, false},
		"hardware addresses and identifiers":            {16, false, true, true},
		"strict, identifiers of one hardware address":   {16, true, false, true},
		"not strict, identifiers of a hardware address": {24, false, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				prefix := netip.PrefixFrom(addr(serverIP), c.bits)
				store := &MemoryStore{}
				pool := &Pool{First: addr4(number(prefix.Masked().Addr()) + 2), Last: addr4(number(broadcastOf(prefix)) - 1),
					StrictIdentity: c.strict, Store: store, Reservations: []Reservation{{HardwareAddr: mac(1), Addr: addr("192.0.2.50")}}}
				s := newServer(withPool(pool), func(s *Server) { s.Networks[0].Addr = prefix })
				known := dora(t, s, mac(2))
				rnd := rand.New(rand.NewPCG(1, uint64(c.bits)))
				before := inUse()
				for i := range flood {
					p := discover(mac(99999))
					if c.hw {
						p = discover(mac(1000 + rnd.IntN(1<<30)))
					}
					if c.id {
						opt(61, binary.BigEndian.AppendUint32([]byte{0}, rnd.Uint32())...)(p)
					}
					r := &Request{Interface: "eth1", Source: netip.MustParseAddrPort("0.0.0.0:68"), Received: time.Now()}
					reason, err := s.read(r, p.ToBytes(), nil)
					require.Empty(t, reason, "%v", err)
					if _, reason, err = s.answer(t.Context(), r); reason != "" {
						require.Equal(t, NoAddress, reason, "%v", err)
					}
					if i%10000 == 0 {
						require.Equal(t, "ACK", ask(t, s, request(mac(2), ciaddr(known))).kind())
					}
				}
				require.LessOrEqual(t, pool.table.holds.Len(), maxHolds)
				require.Less(t, inUse(), before+maxGrowth)
				require.Equal(t, known, dora(t, s, mac(2)), "who is known")
				require.Equal(t, "192.0.2.50", dora(t, s, mac(1)), "for whom an address is reserved")
				require.Len(t, bindings(t, store), 2, "no lease for a DISCOVER")

				time.Sleep(time.Minute)
				dora(t, s, mac(3))
				require.Zero(t, pool.table.holds.Len(), "all are free again")
				require.Empty(t, pool.table.holders)
				require.Len(t, pool.table.slots, 3)
				checkTable(t, pool.table)
			})
		})
	}
}
