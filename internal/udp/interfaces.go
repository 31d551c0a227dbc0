package udp

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// interfaceTTL bounds how long an interface's index and addresses are
// remembered. Asking the kernel costs more than answering a DHCP message; a
// second is short beside anything an administrator does.
const interfaceTTL = time.Second

// interfaces remembers what the kernel says of its interfaces. A name is what
// configurations speak of and what survives when an interface is deleted and
// re-created; an index is what packets carry. The zero value is ready.
type interfaces struct {
	mu      sync.Mutex
	asked   time.Time
	byIndex map[int]string
	byName  map[string]int
	addrsOf map[string][]netip.Prefix
}

// name returns the name of the interface with this index, or "" when there is
// none any more.
func (i *interfaces) name(index int) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	name, ok := i.byIndex[index]
	if ok && time.Since(i.asked) < interfaceTTL {
		return name
	}
	i.refresh()
	return i.byIndex[index]
}

func (i *interfaces) index(name string) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	index, ok := i.byName[name]
	if ok && time.Since(i.asked) < interfaceTTL {
		return index, nil
	}
	i.refresh()
	if index, ok = i.byName[name]; ok {
		return index, nil
	}
	return 0, fmt.Errorf("no network interface named %q", name)
}

func (i *interfaces) addrs(name string) ([]netip.Prefix, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if addrs, ok := i.addrsOf[name]; ok && time.Since(i.asked) < interfaceTTL {
		return addrs, nil
	}
	i.refresh()
	if addrs, ok := i.addrsOf[name]; ok {
		return addrs, nil
	}
	addrs, err := InterfaceAddrs(name)
	if err != nil {
		return nil, err
	}
	i.addrsOf[name] = addrs
	return addrs, nil
}

// forget makes the next question ask the kernel again.
func (i *interfaces) forget() {
	i.mu.Lock()
	i.asked = time.Time{}
	i.mu.Unlock()
}

// refresh asks the kernel. When it does not answer nothing is known, which
// callers report as a missing interface.
func (i *interfaces) refresh() {
	i.asked = time.Now()
	i.byIndex, i.byName = make(map[int]string), make(map[string]int)
	i.addrsOf = make(map[string][]netip.Prefix)
	list, err := net.Interfaces()
	if err != nil {
		return
	}
	for _, ifi := range list {
		i.byIndex[ifi.Index] = ifi.Name
		i.byName[ifi.Name] = ifi.Index
	}
}

// InterfaceAddrs returns the IPv4 addresses of the interface named name, the
// primary one first; of all interfaces for "".
func InterfaceAddrs(name string) ([]netip.Prefix, error) {
	ask := net.InterfaceAddrs
	if name != "" {
		ifi, err := net.InterfaceByName(name)
		if err != nil {
			return nil, fmt.Errorf("no network interface named %q", name)
		}
		ask = ifi.Addrs
	}
	list, err := ask()
	if err != nil {
		return nil, fmt.Errorf("addresses of %s: %w", name, err)
	}
	var prefixes []netip.Prefix
	for _, a := range list {
		ipnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		addr, ok := netip.AddrFromSlice(ipnet.IP)
		addr = addr.Unmap()
		ones, bits := ipnet.Mask.Size()
		if ok && addr.Is4() && bits == 32 {
			prefixes = append(prefixes, netip.PrefixFrom(addr, ones))
		}
	}
	return prefixes, nil
}
