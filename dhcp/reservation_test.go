package dhcp

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// machineUUID is option 97 of the n-th machine, and its text.
func machineUUID(n byte) (dhcpv4.Modifier, string) {
	o := append([]byte{0}, bytes.Repeat([]byte{0x10 + n}, 16)...)
	return opt(97, o...), uuidText(o)
}

// stages are the identities of one machine from power-on to its system.
func stages(n byte) map[string][]dhcpv4.Modifier {
	uuid, _ := machineUUID(n)
	return map[string][]dhcpv4.Modifier{
		"firmware":  {uuid, optText(60, "PXEClient:Arch:00007:UNDI:003016"), opt(61, 0, 0xf0, n)},
		"initramfs": nil,
		"udhcpc":    {opt(61, 1, 2, 0, 0, 0, 0, n)},
		"system":    {opt(61, 255, 0, 1, 2, 3, n)},
	}
}

func TestReservationHoldsForAllStages(t *testing.T) {
	uuid, text := machineUUID(1)
	firmwareID := []byte{0, 0xf0, 1}
	for name, c := range map[string]struct {
		reservation Reservation
		first       []dhcpv4.Modifier // what matches; nil: no stage needs to come first
	}{
		"by hardware address":               {Reservation{HardwareAddr: mac(1)}, nil},
		"by UUID":                           {Reservation{UUID: text}, []dhcpv4.Modifier{uuid}},
		"by client identifier":              {Reservation{ClientID: firmwareID}, []dhcpv4.Modifier{opt(61, firmwareID...)}},
		"by one of several":                 {Reservation{HardwareAddr: mac(99), ClientID: []byte{9, 9}, UUID: text}, []dhcpv4.Modifier{uuid}},
		"by a hardware address of several":  {Reservation{HardwareAddr: mac(1), ClientID: []byte{9, 9}, UUID: text}, nil},
		"by an identifier that is not last": {Reservation{UUID: "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa", ClientID: firmwareID}, []dhcpv4.Modifier{uuid, opt(61, firmwareID...)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.reservation.Addr = addr("192.0.2.101")
				store := &MemoryStore{}
				start := func() *Server {
					pool := small(3)
					pool.Store, pool.Reservations = store, []Reservation{c.reservation}
					return newServer(withPool(pool))
				}
				s := start()
				if c.first != nil {
					require.NotEqual(t, "192.0.2.101", ask(t, s, discover(mac(1), optAddr(50, "192.0.2.101"))).addr(),
						"nothing of this request is known")
				}
				require.Equal(t, "192.0.2.101", dora(t, s, mac(1), c.first...))
				for range 2 {
					for stage, mods := range stages(1) {
						require.Equal(t, "192.0.2.101", dora(t, s, mac(1), mods...), stage)
						require.Equal(t, "ACK", ask(t, s, request(mac(1), append(mods, ciaddr("192.0.2.101"))...)).kind(), stage)
						s = start()
						require.Equal(t, "ACK", ask(t, s, request(mac(1), append(mods, ciaddr("192.0.2.101"))...)).kind(), "restarted, %s", stage)
						s = start()
						require.Equal(t, "192.0.2.101", dora(t, s, mac(1), mods...), "restarted, %s", stage)
					}
					require.Empty(t, ask(t, s, release(1, "192.0.2.101")).reason)
					s = start()
					require.Equal(t, "192.0.2.101", dora(t, s, mac(1)), "released")
					time.Sleep(3 * time.Hour)
					s = start()
					require.Equal(t, "192.0.2.101", dora(t, s, mac(1)), "expired")
				}
				for _, n := range []int{2, 3} {
					require.NotEqual(t, "192.0.2.101", dora(t, s, mac(n), stages(byte(n))["firmware"]...), "a stranger")
				}
				require.Equal(t, NoAddress, ask(t, s, discover(mac(4), optAddr(50, "192.0.2.101"))).reason, "a stranger")
				require.Equal(t, "NAK", ask(t, s, request(mac(4), selecting("192.0.2.101"))).kind(), "a stranger")
				time.Sleep(3 * time.Hour)
				require.NotEqual(t, "192.0.2.101", dora(t, s, mac(4)), "a stranger, and nobody has it")
			})
		})
	}
}

func TestReservationOfAClientWithoutHardwareAddress(t *testing.T) {
	pool := &Pool{Reservations: []Reservation{{ClientID: []byte{0, 1, 2}, Addr: addr("192.0.2.10")}}}
	s := newServer(withPool(pool))
	require.Equal(t, "192.0.2.10", dora(t, s, nil, opt(61, 0, 1, 2)))
	require.Equal(t, NoAddress, ask(t, s, discover(nil, opt(61, 0, 1, 3))).reason)
}

// TestReservationThatGoesToAnother changes the configuration under a lease: what
// is remembered of a client must not outlive the reservation it was good for.
func TestReservationThatGoesToAnother(t *testing.T) {
	one, uuid1 := machineUUID(1)
	two, uuid2 := machineUUID(2)
	synctest.Test(t, func(t *testing.T) {
		store := &MemoryStore{}
		start := func(r ...Reservation) *Server {
			pool := small(9)
			pool.Store, pool.Reservations = store, r
			return newServer(withPool(pool))
		}
		s := start(Reservation{UUID: uuid1, Addr: addr("192.0.2.200")})
		require.Equal(t, "192.0.2.200", dora(t, s, mac(1), one))

		s = start(Reservation{UUID: uuid1, Addr: addr("192.0.2.201")})
		require.Equal(t, "ACK", ask(t, s, request(mac(2), two, selecting("192.0.2.105"))).kind())
		require.Equal(t, "NAK", ask(t, s, request(mac(1), ciaddr("192.0.2.200"))).kind(), "moves to its new one")

		s = start(Reservation{UUID: uuid2, Addr: addr("192.0.2.200")})
		require.Equal(t, "NAK", ask(t, s, request(mac(1), ciaddr("192.0.2.200"))).kind(), "it is another's now")
		require.NotEqual(t, "192.0.2.200", dora(t, s, mac(1), one))
		require.Equal(t, "NAK", ask(t, s, request(mac(2), ciaddr("192.0.2.105"))).kind(), "the system of machine 2 moves to it")
		require.Equal(t, "192.0.2.200", dora(t, s, mac(2)))
	})
}

func TestReservationIsNotTakenFromAnotherOfItsClients(t *testing.T) {
	uuid, text := machineUUID(1)
	synctest.Test(t, func(t *testing.T) {
		pool := small(3)
		pool.Reservations = []Reservation{{UUID: text, Addr: addr("192.0.2.10")}}
		s := newServer(withPool(pool))
		require.Equal(t, "192.0.2.10", dora(t, s, mac(1), uuid), "the first interface")
		other := dora(t, s, mac(2), uuid)
		require.NotEqual(t, "192.0.2.10", other, "the second interface, while the first one has it")
		require.Equal(t, "NAK", ask(t, s, request(mac(2), uuid, selecting("192.0.2.10"))).kind())
		require.Equal(t, "ACK", ask(t, s, request(mac(1), ciaddr("192.0.2.10"))).kind())
		for range 4 {
			time.Sleep(40 * time.Minute)
			require.Equal(t, "ACK", ask(t, s, request(mac(2), ciaddr(other))).kind(), "a running system is not moved")
		}
		require.Equal(t, "192.0.2.10", dora(t, s, mac(2), uuid), "the next boot, the first interface is gone")
		require.NotEqual(t, "192.0.2.10", dora(t, s, mac(1)), "nothing is known of the first one")
	})
}

func TestOrderOfReservations(t *testing.T) {
	uuid, text := machineUUID(1)
	first, second := []byte{1, 1}, []byte{2, 2}
	pool := func(byHW bool) *Pool {
		p := &Pool{Reservations: []Reservation{
			{ClientID: first, Addr: addr("192.0.2.11")}, {ClientID: second, Addr: addr("192.0.2.12")},
			{UUID: text, Addr: addr("192.0.2.13")},
		}}
		if byHW {
			p.Reservations = append(p.Reservations, Reservation{HardwareAddr: mac(1), Addr: addr("192.0.2.14")})
		}
		return p
	}
	s := newServer(withPool(pool(false)))
	require.Equal(t, "192.0.2.12", dora(t, s, mac(1), opt(61, second...)))
	require.Equal(t, "192.0.2.12", dora(t, s, mac(1), opt(61, first...)), "the first one that was sent holds")
	require.Equal(t, "192.0.2.13", dora(t, s, mac(1), opt(61, first...), uuid), "the UUID comes before")
	require.Equal(t, "192.0.2.13", dora(t, s, mac(1), opt(61, first...)))
	s = newServer(withPool(pool(true)))
	require.Equal(t, "192.0.2.14", dora(t, s, mac(1), opt(61, first...), uuid), "the hardware address comes first")
}

func TestReservationOptions(t *testing.T) {
	uuid, text := machineUUID(1)
	pool := small(1)
	pool.Reservations = []Reservation{
		{UUID: text, Options: []dhcpv4.Option{
			dhcpv4.OptHostName("node1"), dhcpv4.OptRouter(net.IP{192, 0, 2, 253})}},
		{HardwareAddr: mac(2), Addr: addr("192.0.2.10"), Options: []dhcpv4.Option{dhcpv4.OptHostName("node2")}},
	}
	s := newServer(rich, withPool(pool))
	offer := ask(t, s, discover(mac(1), uuid))
	require.Equal(t, "192.0.2.100", offer.addr(), "an address of the range")
	ack := ask(t, s, request(mac(1), uuid, selecting("192.0.2.100")))
	later := ask(t, s, request(mac(1), ciaddr("192.0.2.100")))
	for _, x := range []result{offer, ack, later} {
		require.Equal(t, "node1", string(x.reply.Options[12]))
		require.Equal(t, []byte{192, 0, 2, 253}, x.reply.Options[3], "replaces the network's")
	}
	require.NotContains(t, ask(t, s, discover(mac(1), uuid, opt(55, 1, 3))).reply.Options, uint8(12), "not asked for")
	require.Equal(t, "node2", string(ask(t, s, discover(mac(2))).reply.Options[12]))
	require.Equal(t, NoAddress, ask(t, s, discover(mac(3))).reason)

	lease, err := pool.Discover(t.Context(), &Request{Packet: discover(mac(1))})
	require.NoError(t, err)
	require.Implements(t, (*LeaseOptions)(nil), lease)
	lease, err = small(1).Discover(t.Context(), &Request{Packet: discover(mac(1))})
	require.NoError(t, err)
	require.IsType(t, Binding{}, lease, "as ever")
}

func TestReservationValidate(t *testing.T) {
	_, text := machineUUID(1)
	host := addr("192.0.2.9")
	for name, c := range map[string]struct {
		r   []Reservation
		err string
	}{
		"UUID":                     {[]Reservation{{UUID: text, Addr: host}}, ""},
		"client identifier":        {[]Reservation{{ClientID: []byte{0, 1}, Addr: host}}, ""},
		"options alone":            {[]Reservation{{UUID: text, Options: []dhcpv4.Option{dhcpv4.OptHostName("a")}}}, ""},
		"neither":                  {[]Reservation{{UUID: text}}, "neither Addr nor Options"},
		"nobody":                   {[]Reservation{{Addr: host}}, "names no client"},
		"UUID in upper case":       {[]Reservation{{UUID: "ABCDEF01-89ab-cdef-0123-456789abcdef", Addr: host}}, "lower case"},
		"UUID without hyphens":     {[]Reservation{{UUID: "0123456789abcdef0123456789abcdef", Addr: host}}, "form"},
		"UUID and a line":          {[]Reservation{{UUID: text + "\n", Addr: host}}, "form"},
		"UUID of many":             {[]Reservation{{UUID: "00000000-0000-0000-0000-000000000000", Addr: host}}, "every such machine"},
		"UUID of many, ones":       {[]Reservation{{UUID: "ffffffff-ffff-ffff-ffff-ffffffffffff", Addr: host}}, "every such machine"},
		"identifier of one byte":   {[]Reservation{{ClientID: []byte{1}, Addr: host}}, "2 to 255"},
		"identifier too long":      {[]Reservation{{ClientID: make([]byte, 256), Addr: host}}, "2 to 255"},
		"hardware address":         {[]Reservation{{HardwareAddr: make([]byte, 17), Addr: host}}, "1 to 16"},
		"one UUID twice":           {[]Reservation{{UUID: text, Addr: host}, {UUID: text, HardwareAddr: mac(1), Addr: addr("192.0.2.8")}}, "two reservations"},
		"broadcast":                {[]Reservation{{UUID: text, Addr: addr("255.255.255.255")}}, "none of an IPv4 host"},
		"the server's option":      {[]Reservation{{UUID: text, Options: []dhcpv4.Option{dhcpv4.OptSubnetMask(net.IPMask{255, 0, 0, 0})}}}, "server's own"},
		"a command in a host name": {[]Reservation{{UUID: text, Options: []dhcpv4.Option{dhcpv4.OptHostName("$(reboot)")}}}, "option 12"},
		"no value":                 {[]Reservation{{UUID: text, Options: []dhcpv4.Option{{}}}}, "no code"},
		"outside of the network":   {[]Reservation{{UUID: text, Addr: addr("203.0.113.1")}}, "UUID " + text + ", 203.0.113.1, is not inside"},
	} {
		t.Run(name, func(t *testing.T) {
			pool := small(3)
			pool.Reservations = c.r
			err := newServer(withPool(pool)).Validate()
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
		})
	}
	pool := &Pool{Reservations: []Reservation{{UUID: text, Options: []dhcpv4.Option{dhcpv4.OptHostName("a")}}}}
	require.ErrorContains(t, pool.Validate(), "no range")
}

// TestFloodOfIdentities sends what no machine has: nothing of it is kept.
func TestFloodOfIdentities(t *testing.T) {
	_, text := machineUUID(1)
	pool := small(4)
	pool.Reservations = []Reservation{{UUID: text, Addr: addr("192.0.2.10")}}
	s := newServer(withPool(pool))
	for i := range 5000 {
		u, _ := machineUUID(byte(2 + i%200))
		ask(t, s, discover(mac(i), u, opt(61, byte(i), byte(i>>8))))
	}
	require.Len(t, pool.table.slots, 4)
	require.Len(t, pool.table.reserved, 1)
	checkTable(t, pool.table)
	uuid, _ := machineUUID(1)
	require.Equal(t, "192.0.2.10", dora(t, s, mac(9999), uuid))
}

func TestKnowsAndCovers(t *testing.T) {
	_, text := machineUUID(1)
	synctest.Test(t, func(t *testing.T) {
		pool := small(3)
		pool.Reservations = []Reservation{{UUID: text, Addr: addr("192.0.2.10")}}
		s := newServer(withPool(pool))
		knows := func(n int, mods ...dhcpv4.Modifier) (bool, standing) {
			r := &Request{Interface: "eth1", Received: time.Now()}
			_, err := s.read(r, discover(mac(n), mods...).ToBytes(), nil)
			require.NoError(t, err)
			return pool.Knows(t.Context(), r), pool.standing(t.Context(), r)
		}
		want := func(w standing, n int, mods ...dhcpv4.Modifier) {
			t.Helper()
			known, rank := knows(n, mods...)
			require.Equal(t, w, rank)
			require.Equal(t, w != unknownClient, known)
		}
		uuid, _ := machineUUID(1)
		want(reservedClient, 1, uuid)
		want(unknownClient, 1)
		want(unknownClient, 2)
		ask(t, s, discover(mac(2)))
		want(leasedClient, 2)
		time.Sleep(defaultOfferTime)
		want(unknownClient, 2)
		a := dora(t, s, mac(2))
		want(leasedClient, 2)
		time.Sleep(2 * time.Hour)
		want(formerClient, 2)
		require.Equal(t, a, dora(t, s, mac(2)))
		require.Empty(t, ask(t, s, decline(2, a)).reason)
		want(unknownClient, 2)

		for a, want := range map[string]bool{
			"192.0.2.99": false, "192.0.2.100": true, "192.0.2.102": true, "192.0.2.103": false, "192.0.2.10": true,
			"::ffff:192.0.2.101": false, "2001:db8::1": false,
		} {
			require.Equal(t, want, pool.Covers(addr(a)), a)
		}
		require.False(t, pool.Covers(netip.Addr{}))
		require.False(t, (&Pool{Reservations: []Reservation{{UUID: text}}}).Covers(netip.Addr{}))
	})
	broken := small(3)
	broken.Store = &faultyStore{load: context.Canceled}
	require.False(t, broken.Knows(t.Context(), &Request{Packet: discover(mac(1))}))
}

// FuzzUUID checks that a reservation can name each machine that is known by its
// UUID, and that no other text is taken for one.
func FuzzUUID(f *testing.F) {
	f.Add(append([]byte{0}, bytes.Repeat([]byte{0xab}, 16)...), "01234567-89ab-cdef-0123-456789abcdef")
	f.Add(make([]byte, 17), "00000000-0000-0000-0000-000000000000")
	f.Add([]byte{0}, "01234567-89AB-cdef-0123-456789abcdef")
	f.Fuzz(func(t *testing.T, option []byte, text string) {
		if uuid := uuidText(option); uuid != "" {
			require.NoError(t, checkUUID(uuid))
		}
		if checkUUID(text) != nil {
			return
		}
		b := make([]byte, 0, 16)
		for i := 0; i < len(text); {
			if text[i] == '-' {
				i++
				continue
			}
			b = append(b, hexDigit(t, text[i])<<4|hexDigit(t, text[i+1]))
			i += 2
		}
		require.Len(t, b, 16)
		require.Equal(t, text, uuidText([]byte{0, b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6],
			b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]}), "a machine can have it")
	})
}

func hexDigit(t *testing.T, c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	t.Fatalf("%q is no lower-case digit", c)
	return 0
}
