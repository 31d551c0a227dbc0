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
)

// options are the command line, read but not yet acted upon.
type options struct {
	iface      string
	addr       netip.Prefix
	first      netip.Addr
	last       netip.Addr
	router     []netip.Addr
	dns        []netip.Addr
	domain     string
	leaseTime  time.Duration
	media      string
	loaders    string
	loader     string
	params     []string
	noChecksum bool
	events     string
	root       string
	nfs        string
	live       bool
	http, tftp string
	nbd        string
}

const usage = `usage: appliance -interface NAME -range FIRST-LAST -media PATH [flags]

A boot server: gives machines on a network their addresses and boots SystemRescue
on them, straight out of the ISO.

  appliance -interface eth1 -range 192.0.2.100-192.0.2.199 -media systemrescue.iso

It needs the privilege to open ports 67, 69 and 80 (root, or CAP_NET_BIND_SERVICE
and CAP_NET_RAW), and a network on which no other DHCP server answers.

`

// later are flags and values of features that are not there yet: they are
// refused rather than ignored.
func later(what string) error {
	return fmt.Errorf("%s is not supported yet by this version", what)
}

// parse reads the command line. It returns flag.ErrHelp after -h, and all other
// mistakes at once.
func parse(args []string, output io.Writer) (*options, error) {
	var (
		o                                            options
		addr, addrRange, router, dns, params, leases string
		proxy                                        bool
	)
	flags := flag.NewFlagSet("appliance", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.Usage = func() {
		fmt.Fprint(output, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.iface, "interface", "", "network `interface` to serve")
	flags.StringVar(&addr, "addr", "", "our address there, as `IP/PREFIX` (default: the interface's first IPv4 address)")
	flags.StringVar(&addrRange, "range", "", "addresses to give out, as `FIRST-LAST`")
	flags.BoolVar(&proxy, "proxy", false, "leave addresses to another DHCP server on the network (not supported yet)")
	flags.StringVar(&router, "router", "", "default router `IP` to announce")
	flags.StringVar(&dns, "dns", "", "DNS servers to announce, as `IP,IP`")
	flags.StringVar(&o.domain, "domain", "", "domain `name` to announce")
	flags.DurationVar(&o.leaseTime, "lease-time", time.Hour, "how long a lease lasts")
	flags.StringVar(&leases, "leases", "", "`file` that leases survive in (not supported yet; empty: memory)")
	flags.StringVar(&o.media, "media", "", "SystemRescue ISO or a directory with its files (`path`)")
	flags.StringVar(&o.loaders, "loaders", "", "`directory` with more boot loaders, named as distributions name them; they come before the system's")
	flags.StringVar(&o.loader, "loader", "auto", "boot loader `family` that every client gets: auto, pxelinux or ipxe")
	flags.StringVar(&o.root, "root", "http", "`way` to the root file system: http, nbd, nfs or tftp (which is slow)")
	flags.StringVar(&o.nfs, "nfs", "", "NFS `export` that has the medium's files, as 192.0.2.9:/srv/rescue (for -root nfs)")
	flags.BoolVar(&o.live, "live", false, "keep machines on the root file system instead of copying it to memory (for -root nfs and nbd)")
	flags.StringVar(&params, "params", "", "extra kernel `parameters`, separated by blanks")
	flags.BoolVar(&o.noChecksum, "no-checksum", false, "do not let machines verify the root file system after the download")
	flags.StringVar(&o.events, "events", "", "write events as JSON lines to `file`; - is standard output")
	flags.StringVar(&o.http, "http", ":80", "`address` of the HTTP server")
	flags.StringVar(&o.tftp, "tftp", ":69", "`address` of the TFTP server")
	flags.StringVar(&o.nbd, "nbd", ":10809", "`address` of the NBD server (for -root nbd; SystemRescue knows no other port)")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}

	var errs []error
	check := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if flags.NArg() > 0 {
		check(fmt.Errorf("unexpected argument %q: every option begins with a dash", flags.Arg(0)))
	}
	if o.iface == "" {
		check(errors.New("-interface is missing: name the network interface to serve"))
	}
	if o.media == "" {
		check(errors.New("-media is missing: give the path of a SystemRescue ISO or a directory"))
	}
	if addr != "" {
		var err error
		o.addr, err = netip.ParsePrefix(addr)
		if err != nil || !o.addr.Addr().Is4() {
			check(fmt.Errorf("-addr %q: write an IPv4 address and its prefix, as 192.0.2.1/24", addr))
		}
	}
	switch {
	case proxy:
		check(later("-proxy"))
	case addrRange == "":
		check(errors.New("-range is missing: give the addresses to hand out, as -range 192.0.2.100-192.0.2.199"))
	default:
		var err error
		o.first, o.last, err = parseRange(addrRange)
		check(err)
	}
	var err error
	o.router, err = parseAddrs("-router", router)
	check(err)
	o.dns, err = parseAddrs("-dns", dns)
	check(err)
	o.params = strings.Fields(params)
	switch o.loader {
	case "auto", "pxelinux", "ipxe":
	case "grub":
		check(later("-loader grub"))
	default:
		check(fmt.Errorf("-loader %q: use auto, pxelinux or ipxe", o.loader))
	}
	check(o.checkRoot())
	if leases != "" {
		check(later("-leases"))
	}
	return &o, errors.Join(errs...)
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
	if _, port, err := net.SplitHostPort(o.nbd); o.root == "nbd" && (err != nil || port != "10809") {
		return fmt.Errorf("-nbd %q: SystemRescue knows no port but 10809; choose the address only, as -nbd 192.0.2.1:10809", o.nbd)
	}
	if o.live && o.root != "nfs" && o.root != "nbd" {
		return fmt.Errorf("-live is for -root nfs and nbd: what comes by %s is always copied to memory", o.root)
	}
	return nil
}

func parseRange(s string) (first, last netip.Addr, err error) {
	a, b, ok := strings.Cut(s, "-")
	first, err1 := netip.ParseAddr(strings.TrimSpace(a))
	last, err2 := netip.ParseAddr(strings.TrimSpace(b))
	if !ok || err1 != nil || err2 != nil || !first.Is4() || !last.Is4() || last.Less(first) {
		return first, last, fmt.Errorf("-range %q: write the first and the last IPv4 address, as 192.0.2.100-192.0.2.199", s)
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
			return nil, fmt.Errorf("%s %q: %q is no IPv4 address", name, s, part)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}
