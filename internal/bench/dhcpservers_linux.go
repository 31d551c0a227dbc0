package main

import (
	"os"
	"path/filepath"
)

var perfdhcpProgram = program{"perfdhcp", "kea-admin", []string{"perfdhcp", "-v"}}

// dhcpServers are the servers of DHCP leases. All give out the same million
// addresses for an hour, start without leases, log no more than warnings, and none
// looks by ping or ARP whether an address is in use. None is told of sockets'
// buffers or of threads: that is as it comes.
var dhcpServers = []server{
	oursDHCP(oursName, func(in *inputs) string { return in.fresh("leases") }),
	{
		name: "kea-dhcp4", serves: servesDHCP, program: program{"kea-dhcp4", "kea-dhcp4-server", []string{"kea-dhcp4", "-v"}},
		command: func(in *inputs, _ string) ([]string, error) {
			path, err := in.config("kea-dhcp4.conf", keaConfig, serverEnd, in.fresh("kea-leases"), firstLeased, lastLeased, serverAddr)
			return []string{"env", "KEA_LOCKFILE_DIR=" + in.dir, "KEA_PIDFILE_DIR=" + in.dir, "kea-dhcp4", "-c", path}, err
		},
	},
	{
		name: "dnsmasq", serves: servesDHCP, program: program{"dnsmasq", "dnsmasq-base", []string{"dnsmasq", "-v"}},
		command: func(in *inputs, _ string) ([]string, error) {
			return []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--log-facility=/dev/null",
				"--pid-file=", "--no-ping", "--interface=" + serverEnd, "--bind-interfaces",
				"--dhcp-range=" + firstLeased + "," + lastLeased + ",255.0.0.0,1h", "--dhcp-option=option:router," + serverAddr,
				"--dhcp-authoritative", "--dhcp-lease-max=2000000", "--dhcp-leasefile=" + in.fresh("dnsmasq-leases")}, nil
		},
	},
	oursDHCP(inMemory, func(*inputs) string { return "" }),
}

const inMemory = "in memory"

// oursDHCP is our server with its leases in a file, or without a path in memory,
// which shows what the disk costs.
func oursDHCP(name string, path func(*inputs) string) server {
	return server{
		name: name, serves: servesDHCP,
		command: func(in *inputs, _ string) ([]string, error) {
			self, err := os.Executable()
			profile := in.profile
			if name == inMemory {
				profile = "" // there is one of oursName
			}
			return []string{self, serveCommand, "dhcp", path(in), serverEnd, profile}, err
		},
	}
}

// keaConfig is the Debian package's own, as far as it decides about leases, but
// for the lease time and for a log of every lease, which the others do not write.
const keaConfig = `{"Dhcp4": {
	"interfaces-config": {"interfaces": ["%[1]s"]},
	"lease-database": {"type": "memfile", "lfc-interval": 3600, "name": "%[2]s"},
	"expired-leases-processing": {
		"reclaim-timer-wait-time": 10, "flush-reclaimed-timer-wait-time": 25, "hold-reclaimed-time": 3600,
		"max-reclaim-leases": 100, "max-reclaim-time": 250, "unwarned-reclaim-cycles": 5
	},
	"valid-lifetime": 3600,
	"subnet4": [{
		"subnet": "10.0.0.0/8", "interface": "%[1]s", "pools": [{"pool": "%[3]s - %[4]s"}],
		"option-data": [{"name": "routers", "data": "%[5]s"}]
	}],
	"loggers": [{"name": "kea-dhcp4", "severity": "WARN", "output_options": [{"output": "stdout"}]}]
}}
`

// fresh is the path of a file, in the folder of this run, that is not there.
func (in *inputs) fresh(name string) string {
	path := filepath.Join(in.dir, name)
	for _, old := range []string{path, path + ".2", path + ".1", path + ".completed", path + ".output"} { // Kea's
		_ = os.RemoveAll(old) // mostly there is none; a server says what it does not like
	}
	return path
}
