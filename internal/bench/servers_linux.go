package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// program is one of those that are not ours. The zero value is none.
type program struct {
	name, debian string   // what is run and the Debian package that has it
	version      []string // the command that prints it
}

// missing says what to install, or nothing.
func (p program) missing() string {
	if p.name == "" {
		return ""
	}
	if _, err := exec.LookPath(p.name); err != nil {
		return "not installed: apt-get install " + p.debian
	}
	return ""
}

// versionLine is the first line that the program prints about itself.
func (p program) versionLine() string {
	if p.name == "" || p.missing() != "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, p.version[0], p.version[1:]...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if line != "" && line[0] >= '0' && line[0] <= '9' {
		return p.name + " " + line
	}
	return line
}

// The clients that are not ours.
var (
	nbdcopyProgram = program{"nbdcopy", "libnbd-bin", []string{"nbdcopy", "--version"}}
	qemuImgProgram = program{"qemu-img", "qemu-utils", []string{"qemu-img", "--version"}}
	fioProgram     = program{"fio", "fio", []string{"fio", "--version"}}
)

// server is one of those that are compared.
type server struct {
	name    string
	program program // none: ours
	// command returns how to run it in the foreground at addr.
	command func(in *inputs, addr string) ([]string, error)
	// pidFile, in the folder of the run, is where a server that can only run in
	// the background writes its process id.
	pidFile string
	// serves waits until the server does; none: until it accepts a connection.
	serves func(ctx context.Context, r *running) error
}

// oursName is how our side is called in every table.
const oursName = "ours"

// exportName is the NBD export's name on every server.
const exportName = "archiso"

// families are the servers of a table, ours first.
var families = map[string][]server{
	"nbd": {
		ours("nbd"),
		{
			name: "nbdkit", program: program{"nbdkit", "nbdkit", []string{"nbdkit", "--version"}},
			command: func(in *inputs, addr string) ([]string, error) {
				host, port := split(addr)
				return []string{"nbdkit", "--foreground", "--readonly", "--ipaddr", host, "--port", port, "file", filepath.Join(in.plain, bigName)}, nil
			},
		},
		{
			name: "nbd-server", program: program{"nbd-server", "nbd-server", []string{"nbd-server", "--version"}},
			// In the foreground it takes one connection only.
			pidFile: "nbd-server.pid",
			command: func(in *inputs, addr string) ([]string, error) {
				host, port := split(addr)
				path, err := in.config("nbd-server.conf",
					"[generic]\nlistenaddr = %s\nport = %s\nallowlist = true\n[%s]\nexportname = %s\nreadonly = true\n",
					host, port, exportName, filepath.Join(in.plain, bigName))
				return []string{"nbd-server", "-C", path, "-p", filepath.Join(in.dir, "nbd-server.pid")}, err
			},
		},
		{
			name: "qemu-nbd", program: program{"qemu-nbd", "qemu-utils", []string{"qemu-nbd", "--version"}},
			command: func(in *inputs, addr string) ([]string, error) {
				host, port := split(addr)
				return []string{"qemu-nbd", "--read-only", "--persistent", "--shared=0", "--bind=" + host, "--port=" + port,
					"--export-name=" + exportName, "--format=raw", filepath.Join(in.plain, bigName)}, nil
			},
		},
	},
	"http": {
		ours("http"),
		{
			name: "nginx", program: program{"nginx", "nginx-light", []string{"nginx", "-v"}},
			command: func(in *inputs, addr string) ([]string, error) {
				path, err := in.config("nginx.conf", nginxConfig, in.dir, addr, in.plain)
				return []string{"nginx", "-e", "stderr", "-p", in.dir, "-c", path}, err
			},
		},
	},
	"dhcp": dhcpServers,
}

// nginxConfig is the Debian package's own, but for the number of workers, which
// is that of the CPUs of the machines this ran on, connections enough for every
// row, and no log of accesses, which ours does not write either.
const nginxConfig = `
daemon off;
user root;
worker_processes 2;
worker_rlimit_nofile 8192;
error_log stderr;
pid %[1]s/nginx.pid;
events { worker_connections 4096; }
http {
	sendfile on;
	tcp_nopush on;
	types_hash_max_size 2048;
	default_type application/octet-stream;
	access_log off;
	gzip off;
	keepalive_requests 1000000000;
	client_body_temp_path %[1]s/nginx;
	proxy_temp_path %[1]s/nginx;
	fastcgi_temp_path %[1]s/nginx;
	uwsgi_temp_path %[1]s/nginx;
	scgi_temp_path %[1]s/nginx;
	server {
		listen %[2]s;
		root %[3]s;
	}
}
`

func split(addr string) (host, port string) {
	host, port, _ = net.SplitHostPort(addr) // it came from a listener
	return host, port
}

// ours is this program, run again: see serve.
func ours(protocol string) server {
	return server{name: oursName, command: func(in *inputs, addr string) ([]string, error) {
		self, err := os.Executable()
		return []string{self, serveCommand, protocol, in.iso, addr, in.profile}, err
	}}
}
