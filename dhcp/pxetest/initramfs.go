package pxetest

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// initramfs is archiso's, as SystemRescue has it, reading its command line.
type initramfs struct {
	*run
	params map[string]string
	server netip.Addr // ${pxeserver}
}

// startKernel goes on where the loader ends. Command lines that are not for an
// archiso initramfs are recorded, and no more.
func (r *run) startKernel() error {
	r.step(Step{Stage: StageStart, Name: r.boot.Kernel.Name, Total: -1})
	if r.boot.Kernel.Size == 0 {
		return fmt.Errorf("%w: the kernel %q is empty", ErrLoader, r.boot.Kernel.Name)
	}
	words, err := splitCommandLine(r.boot.CommandLine)
	if err != nil {
		return err
	}
	r.boot.Params = words
	i := &initramfs{run: r, params: kernelParams(words)}
	archiso := false
	for name := range i.params {
		archiso = archiso || strings.HasPrefix(name, "archiso")
	}
	r.step(Step{Stage: StageStart, Name: r.boot.Kernel.Name, Total: -1, Done: true})
	if !archiso {
		return nil
	}
	if err := i.checkBOOTIF(); err != nil {
		return err
	}
	if err := i.network(); err != nil {
		return err
	}
	return i.root()
}

// checkBOOTIF: the hook looks for the network card with exactly this text as its
// address and panics without.
func (i *initramfs) checkBOOTIF() error {
	v, ok := i.params["BOOTIF"]
	if !ok {
		return nil
	}
	mac := strings.ReplaceAll(strings.TrimPrefix(v, "01-"), "-", ":")
	if mac != i.m.HardwareAddr.String() {
		return fmt.Errorf("%w: BOOTIF=%s, the card is %v (lower case matters)", ErrBootIF, v, i.m.HardwareAddr)
	}
	return nil
}

// network is the hook that runs ipconfig for ip=.
func (i *initramfs) network() error {
	ip, ok := i.params["ip"]
	switch {
	case !ok:
		return fmt.Errorf("%w: no ip= on the command line (ip=dhcp is needed): the device did not show up after 30 seconds", ErrNoNetwork)
	case ip == "dhcp" || ip == "on" || ip == "any" || ip == "y":
		return i.networkByDHCP()
	}
	fields := strings.Split(ip, ":")
	if len(fields) > 7 || len(fields) == 1 {
		return fmt.Errorf("%w: ip=%s is neither dhcp nor client:server:gateway:mask[:host:device:protocol]", ErrNoNetwork, ip)
	}
	fields = append(fields, make([]string, 7-len(fields))...)
	if fields[0] == "" || fields[6] == "dhcp" {
		return i.networkByDHCP()
	}
	addr, err := netip.ParseAddr(fields[0])
	if err != nil || !addr.Is4() {
		return fmt.Errorf("%w: ip=%s: %q is no IPv4 address", ErrNoNetwork, ip, fields[0])
	}
	bits, _ := net.IP(addr.AsSlice()).DefaultMask().Size()
	if fields[3] != "" {
		mask, err := netip.ParseAddr(fields[3])
		if err != nil || !mask.Is4() {
			return fmt.Errorf("%w: ip=%s: %q is no mask", ErrNoNetwork, ip, fields[3])
		}
		bits, _ = net.IPMask(mask.AsSlice()).Size()
	}
	i.server, _ = netip.ParseAddr(fields[1])
	var routers []netip.Addr
	if gateway, err := netip.ParseAddr(fields[2]); err == nil {
		routers = append(routers, gateway)
	}
	return i.link.configure(netip.PrefixFrom(addr, bits), routers)
}

func (i *initramfs) networkByDHCP() error {
	if err := i.dhcp(initramfsExchange(i.m.HardwareAddr), StageNetwork, StageNetwork); err != nil {
		return fmt.Errorf("%w: %w", ErrNoNetwork, err)
	}
	// ipconfig writes these into a file that a shell then sources as root.
	for code, name := range map[byte]string{optHostName: "host name", optDomain: "domain name", optRootPath: "root path", optNISDomain: "NIS domain"} {
		if v := strings.TrimRight(string(i.lease.Options[code]), "\x00"); !shellSafe(v) {
			return fmt.Errorf("%w: DHCP option %d (%s) is %q", ErrUnsafe, code, name, v)
		}
	}
	i.server = i.nextServer()
	return nil
}

// evaluated is a parameter that goes through a shell's eval as root.
func (i *initramfs) evaluated(name string) (string, error) {
	v := i.params[name]
	if i.server.IsValid() {
		v = strings.ReplaceAll(v, "${pxeserver}", i.server.String())
	}
	if !shellSafe(v) {
		return "", fmt.Errorf("%w: %s=%s has characters that a shell gives a meaning", ErrUnsafe, name, i.params[name])
	}
	return v, nil
}

// root finds the root file system. Of several transports the last hook wins, in
// this order.
func (i *initramfs) root() error {
	i.step(Step{Stage: StageRoot, Total: -1})
	root := func() error {
		return fmt.Errorf("%w: none of archiso_http_srv, archiso_nfs_srv, archiso_nbd_srv is on the command line", ErrNoRoot)
	}
	for _, hook := range []struct {
		name string
		run  func(value string) error
	}{{"archiso_nbd_srv", i.nbd}, {"archiso_http_srv", i.http}, {"archiso_nfs_srv", i.nfs}} {
		if _, ok := i.params[hook.name]; !ok {
			continue
		}
		v, err := i.evaluated(hook.name)
		if err != nil {
			return err
		}
		root = func() error { return hook.run(v) }
	}
	return root()
}

func (i *initramfs) nbd(server string) error {
	name := i.params["archiso_nbd_name"]
	if name == "" {
		name = "archiso"
	}
	i.boot.Root = Root{Transport: "nbd", URL: "nbd://" + server + ":10809/" + name}
	addr, err := netip.ParseAddr(server)
	port := i.link.ports().NBD
	if err != nil || port == 0 {
		i.step(Step{Stage: StageRoot, Name: i.boot.Root.URL, Total: -1, Done: true})
		return nil
	}
	export, err := i.openExport(i.ctx, netip.AddrPortFrom(addr, port), name)
	if errors.Is(err, syscall.EHOSTUNREACH) {
		i.step(Step{Stage: StageRoot, Name: i.boot.Root.URL, Total: -1, Done: true})
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNoRoot, i.boot.Root.URL, err)
	}
	hash := sha512.New()
	i.boot.Root.Bytes, err = export.copyTo(i.ctx, hash, func(done, total int64) {
		i.step(Step{Stage: StageRoot, Name: i.boot.Root.URL, Bytes: done, Total: total, Done: done == total})
	})
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrTransfer, i.boot.Root.URL, err)
	}
	i.boot.Root.SHA512 = hex.EncodeToString(hash.Sum(nil))
	return nil
}

func (i *initramfs) nfs(server string) error {
	host, path, ok := strings.Cut(server, ":")
	if a, err := netip.ParseAddr(host); !ok || err != nil || !a.Is4() || !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%w: archiso_nfs_srv=%s: nfsmount wants a dotted IPv4 address and an absolute path", ErrNoRoot, server)
	}
	i.boot.Root = Root{Transport: "nfs", URL: "nfs://" + host + path}
	i.step(Step{Stage: StageRoot, Name: i.boot.Root.URL, Total: -1, Done: true})
	return nil
}

// http is curl: the texts are put together as they are.
func (i *initramfs) http(server string) error {
	dir := i.params["archisobasedir"]
	if dir == "" {
		dir = "arch"
	}
	base := server + dir + "/" + i.m.Firmware.linuxArch() + "/"
	at, err := parseSource(base + "airootfs.sfs")
	if err != nil {
		return err
	}
	hash := sha512.New()
	f, err := i.fetch(curlAgent(), StageRoot, at, hash)
	if err != nil {
		if !strings.HasSuffix(server, "/") {
			err = fmt.Errorf("%w (archiso_http_srv=%s does not end in a slash)", err, server)
		}
		return fmt.Errorf("%w: %w", ErrNoRoot, err)
	}
	i.boot.Root = Root{Transport: f.Protocol, URL: at.url.String(), Bytes: f.Size, SHA512: hex.EncodeToString(hash.Sum(nil))}
	if i.params["checksum"] != "y" {
		return nil
	}
	return i.verify(base)
}

// verify is sha512sum -c.
func (i *initramfs) verify(base string) error {
	at, err := parseSource(base + "airootfs.sha512")
	if err != nil {
		return err
	}
	text, err := i.fetchText(curlAgent(), StageChecksum, at)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChecksum, err)
	}
	want, name, _ := strings.Cut(strings.TrimRight(text, "\r\n"), " ")
	if name = strings.TrimLeft(name, " *"); name != "airootfs.sfs" || len(want) != 2*sha512.Size {
		return fmt.Errorf("%w: %s is no line of sha512sum for airootfs.sfs", ErrChecksum, at)
	}
	if !strings.EqualFold(want, i.boot.Root.SHA512) {
		return fmt.Errorf("%w: airootfs.sfs of %d bytes is %s, airootfs.sha512 says %s", ErrChecksum, i.boot.Root.Bytes, i.boot.Root.SHA512, want)
	}
	i.boot.Root.Verified = true
	return nil
}
