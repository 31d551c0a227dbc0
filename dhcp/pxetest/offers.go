package pxetest

import (
	"fmt"
	"net/netip"
	"time"
)

// offer is an OFFER that a client keeps while it collects.
type offer struct {
	*reply
	from netip.AddrPort
}

// proxy: it comes from a server that gives no addresses (PXE 2.1 section 2.2.3).
func (o *offer) proxy() bool { return o.yiaddr.IsUnspecified() }

// server is where the one who offers is reached: siaddr, else option 54.
func (o *offer) server() netip.Addr {
	if !o.siaddr.IsUnspecified() {
		return o.siaddr
	}
	return o.addr(optServerID)
}

// collected is what a client looks at when it chooses.
type collected struct {
	offers      []*offer
	optionFirst bool
	alone       bool
	waited      bool          // a wait is over, rather than an OFFER come
	waits       int           // how many are over
	elapsed     time.Duration // since the first DISCOVER
	saw         *sightings
}

// plan is what a client does about the OFFERs.
type plan struct {
	offer *offer // whose address it requests
	// boot is the proxy's OFFER that names the boot file.
	boot *offer
	// ask are the OFFERs whose senders are asked at port 4011, in turn.
	ask []*offer
	// server, if set, is asked instead, for the boot item (option 43.71).
	server netip.Addr
	item   []byte
	// fromAck: the boot file is that of the ACK.
	fromAck bool
	// optional: without the answer of a proxy the client goes on.
	optional bool
}

func (c *collected) addressed() bool {
	return c.first(func(o *offer) bool { return !o.proxy() }) != nil
}

func (c *collected) first(fits func(*offer) bool) *offer {
	for _, o := range c.offers {
		if fits(o) {
			return o
		}
	}
	return nil
}

func (c *collected) all(fits func(*offer) bool) []*offer {
	var l []*offer
	for _, o := range c.offers {
		if fits(o) {
			l = append(l, o)
		}
	}
	return l
}

func (c *collected) file(o *offer) string { return o.bootFile(c.optionFirst) }

// describe says what an OFFER was like, for who wonders why it did not do.
func (c *collected) describe(o *offer) string {
	what := fmt.Sprintf("OFFER of %v from %v", o.yiaddr, o.from)
	if o.proxy() {
		what = fmt.Sprintf("proxy OFFER from %v", o.from)
	}
	file := "without a boot file"
	if f := c.file(o); f != "" {
		file = fmt.Sprintf("with the boot file %q", f)
	}
	if class := o.text(optVendorClass); class != "" {
		file += fmt.Sprintf(", class %q", class)
	}
	if v := o.options[optVendor]; v != nil {
		file += fmt.Sprintf(", option 43 %x", v)
	}
	return what + " " + file
}

// firstAddress is a DHCP client that does not boot: the first OFFER is taken.
func firstAddress(c collected) (plan, bool) { return plan{offer: c.offers[0]}, true }

// chooseROM is PXE 2.1 section 2.2: OFFERs are collected while a wait lasts. One
// that gives an address and has PXE options is best, then an address and a proxy;
// a plain OFFER with a boot file is taken when no proxy came in the first two
// waits. PXE options without instructions (option 43) send the client to port 4011.
func chooseROM(c collected) (plan, bool) {
	if !c.waited {
		return plan{}, false
	}
	pxe := func(o *offer) bool { return o.isClass(classPXE) }
	if o := c.first(func(o *offer) bool { return !o.proxy() && pxe(o) }); o != nil {
		if p, ok := c.instructed(o, o); ok {
			return p, true
		}
	}
	address := c.first(func(o *offer) bool { return !o.proxy() })
	if address == nil {
		return plan{}, false
	}
	for _, o := range c.all(func(o *offer) bool { return o.proxy() && pxe(o) }) {
		if p, ok := c.instructed(address, o); ok {
			return p, true
		}
	}
	plain := c.first(func(o *offer) bool { return !o.proxy() && !pxe(o) && c.file(o) != "" })
	if plain == nil || c.waits < 2 && !c.alone {
		return plan{}, false
	}
	return plan{offer: plain, fromAck: true}, true
}

// instructed follows the PXE options of an OFFER.
func (c *collected) instructed(address, o *offer) (plan, bool) {
	v, err := parseVendor(o.options[optVendor])
	if err != nil {
		c.saw.add("OFFER from %v with a malformed option 43: %v", o.from, err)
		return plan{}, false
	}
	p := plan{offer: address}
	switch {
	case !v.discovers():
		p.ask = []*offer{o}
	case v.direct():
		if c.file(o) == "" {
			c.saw.add("OFFER from %v says that its boot file is to be used (option 43.6, bit 3) and has none", o.from)
			return plan{}, false
		}
		if p.fromAck = address == o; !p.fromAck {
			p.boot = o
		}
	default:
		var err error
		if p.server, p.item, err = v.bootServer(); err != nil {
			c.saw.add("OFFER from %v: %v", o.from, err)
			return plan{}, false
		}
	}
	return p, true
}

// chooseEDK2 is PxeBcDhcp4.c, which chooses whenever a wait is over. The kinds of
// OFFERs are its own: with the class PXEClient and discovery options in option 43
// (PXE 1.0), with the class alone (BINL: ask at port 4011), without the class
// (DHCP only). Proxies of the first kind are lost: all but the latest versions
// keep the second and later ones only.
func chooseEDK2(c collected) (plan, bool) {
	if !c.waited {
		return plan{}, false
	}
	kind := func(o *offer) (pxe, binl bool) {
		v, err := parseVendor(o.options[optVendor])
		pxe = o.isClass(classPXE)
		return pxe && err == nil && v.discovers(), pxe && (err != nil || !v.discovers())
	}
	address := func(fits func(pxe, binl bool) bool) *offer {
		return c.first(func(o *offer) bool { return !o.proxy() && fits(kind(o)) })
	}
	if o := address(func(pxe, _ bool) bool { return pxe }); o != nil {
		if p, ok := c.instructed(o, o); ok {
			return p, true
		}
	}
	if o := address(func(_, binl bool) bool { return binl }); o != nil {
		return plan{offer: o, ask: []*offer{o}}, true
	}
	only := address(func(pxe, binl bool) bool { return !pxe && !binl })
	proxies := c.all(func(o *offer) bool {
		pxe, binl := kind(o)
		if o.proxy() && pxe {
			c.saw.add("proxy OFFER from %v with discovery options in option 43, which most versions of EDK2 lose", o.from)
		}
		return o.proxy() && binl
	})
	if only != nil && len(proxies) > 0 {
		return plan{offer: only, ask: proxies}, true
	}
	only = c.first(func(o *offer) bool { return !o.proxy() && !o.isClass(classPXE) && c.file(o) != "" })
	return plan{offer: only, fromAck: true}, only != nil
}

// chooseHTTP is HttpBootDhcp4.c: the class HTTPClient and a URL, from the DHCP
// server or from a proxy beside it.
func chooseHTTP(c collected) (plan, bool) {
	if !c.waited {
		return plan{}, false
	}
	urls := c.all(func(o *offer) bool { return o.isClass(classHTTP) && isURL(c.file(o)) })
	for _, o := range urls {
		if !o.proxy() {
			return plan{offer: o, fromAck: true}, true
		}
	}
	address := c.first(func(o *offer) bool { return !o.proxy() && !o.isClass(classHTTP) })
	if address == nil || len(urls) == 0 {
		return plan{}, false
	}
	return plan{offer: address, boot: urls[0]}, true
}

// ipxeProxyWait is how long iPXE waits for a proxy (DHCP_DISC_PROXY_TIMEOUT_SEC).
const ipxeProxyWait = 2 * time.Second

// chooseIPXE is net/udp/dhcp.c: the latest of the OFFERs of an address, unless one
// has a higher priority (option 175.1), with the latest proxy. It goes on as soon
// as it has both, or is told that there is no proxy (175.176), or has waited long
// enough. A proxy that names no boot file is asked at port 4011.
func chooseIPXE(c collected) (plan, bool) {
	var address, proxy *offer
	for _, o := range c.offers {
		if !o.proxy() && (address == nil || o.priority() >= address.priority()) {
			address = o
		}
		if o.isClass(classPXE) && (proxy == nil || o.priority() >= proxy.priority()) {
			proxy = o
		}
	}
	if address == nil {
		return plan{}, false
	}
	alone := len(address.ipxe(176)) > 0 && address.ipxe(176)[0] != 0
	if !alone && proxy == nil && c.elapsed <= ipxeProxyWait {
		return plan{}, false
	}
	p := plan{offer: address}
	switch {
	case alone || proxy == nil:
	case c.file(proxy) != "" && !proxy.siaddr.IsUnspecified():
		if proxy != address {
			p.boot = proxy
		}
	default:
		p.ask, p.optional = []*offer{proxy}, true
	}
	return p, true
}

func (o *offer) priority() int8 {
	if v := o.ipxe(1); len(v) == 1 {
		return int8(v[0])
	}
	return 0
}

// ipxe is a setting of iPXE's own, in option 175.
func (o *offer) ipxe(code byte) []byte {
	settings, _ := suboptions(o.options[optIPXE])
	return settings[code]
}
