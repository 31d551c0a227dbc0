package pxe

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pxekit/pxe/dhcp"
)

// DHCPHint says what the DHCP server that a network already has must be told, so
// that machines boot from a [Server] in mode Proxy or BootServer there. Its
// methods write that down for three DHCP servers.
//
// In mode Proxy it is our address as the next server (siaddr) and nothing more.
// Firmware and iPXE do without: they hear of us by our own offer. GRUB reads only
// the lease, and would ask the other server for its menu.
//
// In mode BootServer the other server says of us all there is to say, to clients
// whose vendor class begins with PXEClient: the next server again, PXEClient in
// option 60, and in option 43 that they ask us, and nobody else, at port 4011.
type DHCPHint struct {
	// Mode is that of the [Network]. In mode Full there is no other server.
	Mode dhcp.Mode
	// ServerAddr is our IPv4 address on the network, or its Network.ServerAddr if
	// that is set and port 4011 is reached there too.
	ServerAddr netip.Addr
}

// bootServerItem is the type under which the other server lists us: the second of
// those that are everyone's. We boot whoever asks us by address, whatever the type.
const bootServerItem = 0x8001

// vendorOptions returns option 43, nil where none is needed.
func (h DHCPHint) vendorOptions() ([]byte, error) {
	if !h.ServerAddr.Is4() || h.ServerAddr.IsUnspecified() || h.ServerAddr.IsMulticast() {
		return nil, fmt.Errorf("pxe: DHCPHint.ServerAddr %s: give the IPv4 address at which machines reach this server", h.ServerAddr)
	}
	switch h.Mode {
	case dhcp.Proxy:
		return nil, nil
	case dhcp.BootServer:
	default:
		return nil, fmt.Errorf("pxe: DHCPHint.Mode %s: only in the modes %s and %s is there another DHCP server to tell", h.Mode, dhcp.Proxy, dhcp.BootServer)
	}
	// Firmware of the Intel kind looks at the servers only if there is a menu with a
	// prompt, and then takes its first item at once.
	option, err := dhcp.PXEOptions{
		Control: dhcp.PXENoBroadcast | dhcp.PXENoMulticast | dhcp.PXEListedOnly,
		Servers: []dhcp.PXEServer{{Type: bootServerItem, Addrs: []netip.Addr{h.ServerAddr}}},
		Menu:    []dhcp.PXEMenuItem{{Type: bootServerItem, Text: "Network boot"}},
		Prompt:  &dhcp.PXEPrompt{Text: "Network boot"},
	}.Option()
	if err != nil {
		return nil, err
	}
	return option.Value.ToBytes(), nil
}

// DnsmasqLines returns lines for the configuration of dnsmasq, see dnsmasq(8), each
// with a line feed. They set the tag pxeclient in mode BootServer.
func (h DHCPHint) DnsmasqLines() (string, error) {
	vendor, err := h.vendorOptions()
	if err != nil {
		return "", err
	}
	if vendor == nil {
		return fmt.Sprintf("dhcp-boot=,,%s\n", h.ServerAddr), nil
	}
	return fmt.Sprintf("dhcp-vendorclass=set:pxeclient,PXEClient\n"+
		"dhcp-boot=tag:pxeclient,,,%s\n"+
		"dhcp-option-force=tag:pxeclient,60,PXEClient\n"+
		"dhcp-option-force=tag:pxeclient,43,%s\n", h.ServerAddr, colons(vendor)), nil
}

// ISCStatements returns statements for ISC dhcpd, see dhcpd.conf(5), each with a
// line feed. They go into the declaration of the subnet, or of its shared network.
func (h DHCPHint) ISCStatements() (string, error) {
	vendor, err := h.vendorOptions()
	if err != nil {
		return "", err
	}
	if vendor == nil {
		return fmt.Sprintf("next-server %s;\n", h.ServerAddr), nil
	}
	return fmt.Sprintf("if substring(option vendor-class-identifier, 0, 9) = \"PXEClient\" {\n"+
		"  next-server %s;\n"+
		"  option vendor-class-identifier \"PXEClient\";\n"+
		"  option vendor-encapsulated-options %s;\n"+
		"}\n", h.ServerAddr, colons(vendor)), nil
}

// KeaMember returns a member of the object Dhcp4 in the configuration of Kea, with
// a line feed and without a comma. In mode Proxy it may stand in a subnet instead.
// In mode BootServer it is the list client-classes, for all subnets; its class
// joins those that are there.
func (h DHCPHint) KeaMember() (string, error) {
	vendor, err := h.vendorOptions()
	if err != nil {
		return "", err
	}
	if vendor == nil {
		return fmt.Sprintf("\"next-server\": \"%s\"\n", h.ServerAddr), nil
	}
	// The definition is that of the option as bytes; without it Kea puts together
	// option 43 itself, of sub-options that it must have been told about.
	return fmt.Sprintf(`"client-classes": [ {
  "name": "pxeclient",
  "test": "substring(option[60].hex, 0, 9) == 'PXEClient'",
  "next-server": "%s",
  "option-def": [ { "name": "vendor-encapsulated-options", "code": 43, "type": "binary" } ],
  "option-data": [
    { "name": "vendor-class-identifier", "data": "PXEClient", "always-send": true },
    { "name": "vendor-encapsulated-options", "data": "%s", "always-send": true }
  ]
} ]
`, h.ServerAddr, hex.EncodeToString(vendor)), nil
}

// colons writes bytes as dnsmasq and dhcpd read them.
func colons(b []byte) string {
	return strings.TrimSuffix(strings.ReplaceAll(fmt.Sprintf("% x ", b), " ", ":"), ":")
}
