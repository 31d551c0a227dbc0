package rootfstest

import (
	"net/netip"
	"net/url"
	"reflect"

	"github.com/pxekit/pxe/rootfs"
)

// knownTarget is one target and what to call it in a message.
type knownTarget struct {
	name   string
	target rootfs.Target
	wanted bool // it must get a URL
}

// bootID has the form of those that a server makes.
const bootID = "b7tq2xk5jhzcw"

// complete returns a target that lacks nothing, of a server at addr.
func complete(addr, machine string) rootfs.Target {
	server := netip.MustParseAddr(addr)
	host := netip.AddrPortFrom(server, 0).String()
	host = host[:len(host)-len(":0")] // with brackets where they belong
	base := func(scheme string) *url.URL {
		return &url.URL{Scheme: scheme, Host: host, Path: "/~" + bootID + "/"}
	}
	return rootfs.Target{
		Server: server, HTTP: base("http"), HTTPS: base("https"), TFTP: base("tftp"),
		NBD:     netip.AddrPortFrom(server, 10809),
		Machine: netip.MustParseAddr(machine), BootID: bootID,
	}
}

// targets returns what transports are asked about; each call new ones.
func (s *suite) targets() []knownTarget {
	list := []knownTarget{
		{name: "a target that knows everything", target: complete("192.0.2.1", "192.0.2.100")},
		{name: "a target whose machine has an IPv6 address", target: complete("2001:db8::1", "2001:db8::64")},
		{name: "a target whose addresses are IPv4 mapped into IPv6", target: complete("::ffff:192.0.2.1", "::ffff:192.0.2.100")},
		{name: "the zero Target"},
		{name: "a target that knows the machine alone", target: rootfs.Target{Machine: netip.MustParseAddr("192.0.2.100")}},
	}
	// One without each field that there is, also those added later.
	fields := reflect.TypeFor[rootfs.Target]()
	for i := range fields.NumField() {
		target := complete("192.0.2.1", "192.0.2.100")
		reflect.ValueOf(&target).Elem().Field(i).SetZero()
		list = append(list, knownTarget{name: "a target without " + fields.Field(i).Name, target: target})
	}
	ported := complete("192.0.2.1", "192.0.2.100")
	for _, u := range bases(ported) {
		u.Host += ":8080"
	}
	list = append(list, knownTarget{name: "a target whose bases have a port", target: ported})
	for _, target := range s.wanted {
		list = append(list, knownTarget{name: "a target given by Targets", target: clone(target), wanted: true})
	}
	return list
}

// bases returns the URLs of a target that are not nil.
func bases(t rootfs.Target) []*url.URL {
	var list []*url.URL
	v := reflect.ValueOf(t)
	for i := range v.NumField() {
		if u, ok := v.Field(i).Interface().(*url.URL); ok && u != nil {
			list = append(list, u)
		}
	}
	return list
}

// clone copies a target and what it points to.
func clone(t rootfs.Target) rootfs.Target {
	v := reflect.ValueOf(&t).Elem()
	for i := range v.NumField() {
		if u, ok := v.Field(i).Interface().(*url.URL); ok && u != nil {
			v.Field(i).Set(reflect.ValueOf(cloneURL(u)))
		}
	}
	return t
}

func cloneURL(u *url.URL) *url.URL {
	c := *u
	if u.User != nil {
		user := *u.User
		c.User = &user
	}
	return &c
}

// sameTarget compares all that a target points to, deeply. netip.Addr has
// pointers of its own: equal ones are equal values.
func sameTarget(a, b rootfs.Target) bool { return reflect.DeepEqual(a, b) }
