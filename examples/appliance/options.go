package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/pxekit/pxe/dhcp"
)

// options are the command line, read but not yet acted upon.
type options struct {
	networks     []network
	reservations []reservation
	bootOnce     []net.HardwareAddr
	domain       string
	leaseTime    time.Duration
	leases       string
	leasesRepair bool
	media        string
	loaders      string
	loader       string
	params       []string
	noChecksum   bool
	detect       bool
	events       string
	root         string
	nfs          string
	live         bool
	http, tftp   string
	nbd          string
}

const usage = `usage: appliance -interface NAME -range FIRST-LAST -media PATH [flags]
       appliance -interface NAME -proxy -media PATH [flags]
       appliance -network iface=NAME,range=FIRST-LAST [-network ...] -media PATH [flags]

A boot server: gives machines on a network their addresses and boots SystemRescue
on them, straight out of the ISO. With -proxy another DHCP server on the network
gives out the addresses.

  appliance -interface eth1 -range 192.0.2.100-192.0.2.199 -media systemrescue.iso

It needs the privilege to open ports 67, 69 and 80 (root, or CAP_NET_BIND_SERVICE
and CAP_NET_RAW), and, without -proxy, a network on which no other DHCP server
answers.

`

// parse reads the command line. It returns flag.ErrHelp after -h, and all other
// mistakes at once.
func parse(args []string, output io.Writer) (*options, error) {
	var (
		o      options
		single network
		proxy  bool
		params string
	)
	flags := flag.NewFlagSet("appliance", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.Usage = func() {
		fmt.Fprint(output, usage)
		flags.PrintDefaults()
	}
	var errs []error
	check := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	// What is wrong is told with all other mistakes, not by package flag.
	value := func(name, usage string, parse func(string) error) {
		flags.Func(name, usage, func(s string) error { check(parse(s)); return nil })
	}
	flags.StringVar(&single.iface, "interface", "", "network `interface` to serve")
	value("addr", "our address there, as `IP/PREFIX` (default: the interface's first IPv4 address)", func(s string) (err error) {
		single.addr, err = parseHost("-addr ", s)
		return err
	})
	value("range", "addresses to give out, as `FIRST-LAST`", func(s string) (err error) {
		single.first, single.last, err = parseRange("-range ", s)
		return err
	})
	flags.BoolVar(&proxy, "proxy", false, "leave addresses to another DHCP server on the network (proxyDHCP)")
	value("router", "default router `IP` to announce", func(s string) (err error) {
		single.router, err = parseAddrs("-router ", s)
		return err
	})
	value("dns", "DNS servers to announce, as `IP,IP`", func(s string) (err error) {
		single.dns, err = parseAddrs("-dns ", s)
		return err
	})
	flags.BoolVar(&o.detect, "detect", false, "first look for five seconds, on each network, whether another server is in the way, and refuse to start then")
	add := func(n network, err error) error {
		if err == nil {
			o.networks = append(o.networks, n)
		}
		return err
	}
	several := 0
	value("network", networkHelp, func(s string) error { several++; return add(parseNetwork(s)) })
	value("subnet", subnetHelp, func(s string) error { return add(parseSubnet(s)) })
	value("reserve", "address for one machine, as `MAC=IP`; may be given several times", func(s string) error {
		r, err := parseReservation(s)
		o.reservations = append(o.reservations, r)
		return err
	})
	value("boot-once", "hardware address (`MAC`) of a machine that boots from here one time only after this program was started, and from its local disk afterwards; may be given several times", func(s string) error {
		hw, err := net.ParseMAC(s)
		if err != nil {
			return fmt.Errorf("-boot-once %q: write a hardware address, as 02:00:00:00:00:01", s)
		}
		o.bootOnce = append(o.bootOnce, hw)
		return nil
	})
	flags.StringVar(&o.domain, "domain", "", "domain `name` to announce")
	flags.DurationVar(&o.leaseTime, "lease-time", time.Hour, "how long a lease lasts")
	flags.StringVar(&o.leases, "leases", "", "`file` to keep leases in, so that they survive a restart and a crash; its directory must exist, and no other server may use it (empty: they are in memory)")
	flags.BoolVar(&o.leasesRepair, "leases-repair", false, "if the file of -leases is damaged keep what is whole, instead of refusing to start; the file as it was stays beside it, with .damaged added to its name; not for always: after a repair an address may be given twice until all machines have renewed theirs")
	flags.StringVar(&o.media, "media", "", "`path` of a SystemRescue ISO, or of a directory with its files")
	flags.StringVar(&o.loaders, "loaders", "", "`directory` with more boot loaders, named as distributions name them; they come before the system's")
	flags.StringVar(&o.loader, "loader", "auto", "boot loader `family` for machines that have one of it (others get theirs as with auto): auto, pxelinux, ipxe, grub (with shim: Secure Boot; with -proxy the other server must name this host as next server), or stock (the medium's own loader and menu, for BIOS machines only: it offers NBD first, and HTTP)")
	flags.StringVar(&o.root, "root", "http", "`way` to the root file system: http, nbd, nfs or tftp (which is slow)")
	flags.StringVar(&o.nfs, "nfs", "", "NFS `export` that has the medium's files, as 192.0.2.9:/srv/rescue (for -root nfs)")
	flags.BoolVar(&o.live, "live", false, "keep machines on the root file system instead of copying it to memory (for -root nfs and nbd)")
	flags.StringVar(&params, "params", "", "extra kernel `parameters`, separated by blanks")
	flags.BoolVar(&o.noChecksum, "no-checksum", false, "do not let machines verify the root file system after the download")
	flags.StringVar(&o.events, "events", "", "write events as JSON lines to `file`; - is standard output (people read them on standard error)")
	flags.StringVar(&o.http, "http", ":80", "`address` of the HTTP server")
	flags.StringVar(&o.tftp, "tftp", ":69", "`address` of the TFTP server")
	flags.StringVar(&o.nbd, "nbd", ":10809", "`address` of the NBD server (for -root nbd and -loader stock; SystemRescue knows no other port)")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		check(fmt.Errorf("unexpected argument %q: every option begins with a dash", flags.Arg(0)))
	}
	if o.media == "" {
		check(errors.New("-media is missing: give the path of a SystemRescue ISO or a directory"))
	}
	switch one := single.iface != "" || single.addr.IsValid() || single.first.IsValid() || single.router != nil || single.dns != nil || proxy; {
	case one && several > 0:
		check(errors.New("-network is given together with flags of a single network (-interface, -addr, -range, -router, -dns, -proxy): use the one or the other"))
	case one || len(o.networks) == 0 && len(errs) == 0 || flags.NFlag() == 0:
		check(single.finish(proxy))
		o.networks = append([]network{single}, o.networks...)
	}
	o.params = strings.Fields(params)
	switch o.loader {
	case "auto", "pxelinux", "ipxe", "grub", "stock":
	default:
		check(fmt.Errorf("-loader %q: use auto, pxelinux, ipxe, grub or stock", o.loader))
	}
	check(o.checkRoot())
	if o.loader == "stock" {
		check(o.checkStock())
	}
	check(o.checkLeases())
	return &o, errors.Join(errs...)
}

// finish completes the network that the flags of a single one describe.
func (n *network) finish(proxy bool) error {
	var errs []error
	if n.iface == "" {
		errs = append(errs, errors.New("-interface is missing: name the network interface to serve, or several by -network"))
	}
	n.mode = dhcp.Full
	if proxy {
		n.mode = dhcp.Proxy
		if n.first.IsValid() || n.router != nil || n.dns != nil {
			errs = append(errs, errors.New("-proxy leaves addresses to another server: -range, -router and -dns are for a server that gives them out"))
		}
	} else if !n.first.IsValid() {
		errs = append(errs, errors.New("-range is missing: give the addresses to hand out, as -range 192.0.2.100-192.0.2.199, or say -proxy if another server does"))
	}
	return errors.Join(errs...)
}

// checkRoot finds flags that do not go with the way to the root file system.
func (o *options) checkRoot() error {
	switch o.root {
	case "http", "tftp", "nbd", "nfs":
	default:
		return fmt.Errorf("-root %q: use http, nbd, nfs or tftp", o.root)
	}
	if o.root == "nfs" && o.nfs == "" {
		return errors.New("-nfs is missing: with -root nfs name the export, as -nfs 192.0.2.9:/srv/rescue")
	}
	if o.root != "nfs" && o.nfs != "" {
		return fmt.Errorf("-nfs is for -root nfs, and the root file system comes by %s", o.root)
	}
	if _, port, err := net.SplitHostPort(o.nbd); (o.root == "nbd" || o.loader == "stock") && (err != nil || port != "10809") {
		return fmt.Errorf("-nbd %q: SystemRescue knows no port but 10809; choose the address only, as -nbd 192.0.2.1:10809", o.nbd)
	}
	if o.live && o.root != "nfs" && o.root != "nbd" {
		return fmt.Errorf("-live is for -root nfs and nbd: what comes by %s is always copied to memory", o.root)
	}
	return nil
}

// checkStock finds flags that the medium's own menu would not heed, or not work with.
func (o *options) checkStock() error {
	var errs []error
	if len(o.params) > 0 {
		errs = append(errs, errors.New("-params is for menus made here, and -loader stock boots the medium's own"))
	}
	if o.noChecksum {
		errs = append(errs, errors.New("-no-checksum is for menus made here, and the medium's own that -loader stock boots says itself what is verified"))
	}
	if o.root == "nfs" || o.root == "tftp" || o.live {
		errs = append(errs, errors.New("-root, -nfs and -live are for menus made here: with -loader stock the medium's own chooses, and is served by HTTP and NBD"))
	}
	if _, port, err := net.SplitHostPort(o.http); err != nil || port != "80" {
		errs = append(errs, fmt.Errorf("-http %q: the menu of -loader stock knows no port but 80; choose the address only, as -http 192.0.2.1:80", o.http))
	}
	return errors.Join(errs...)
}

// parseHost reads an address with its prefix.
func parseHost(name, s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return netip.Prefix{}, fmt.Errorf("%s%q: write an IPv4 address and its prefix, as 192.0.2.1/24", name, s)
	}
	return p, nil
}

func parseRange(name, s string) (first, last netip.Addr, err error) {
	a, b, ok := strings.Cut(s, "-")
	first, err1 := netip.ParseAddr(strings.TrimSpace(a))
	last, err2 := netip.ParseAddr(strings.TrimSpace(b))
	if !ok || err1 != nil || err2 != nil || !first.Is4() || !last.Is4() || last.Less(first) {
		return first, last, fmt.Errorf("%s%q: write the first and the last IPv4 address, as 192.0.2.100-192.0.2.199", name, s)
	}
	return first, last, nil
}

func parseAddrs(name, s string) ([]netip.Addr, error) {
	if s == "" {
		return nil, nil
	}
	var addrs []netip.Addr
	for part := range strings.SplitSeq(s, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil || !a.Is4() {
			return nil, fmt.Errorf("%s%q: %q is no IPv4 address", name, s, part)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}
