package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startLimit = 20 * time.Second
	stopLimit  = 10 * time.Second
	pause      = 5 * time.Millisecond // between two looks at a process
)

// running is a server in a process of its own.
type running struct {
	addr string // host:port of 127.0.0.1
	pid  int
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	log  string

	cable *cable // of [inputs]
}

// start runs the server and returns when it serves.
func start(ctx context.Context, s server, in *inputs) (*running, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	args, err := s.command(in, addr)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(in.dir, s.name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	r := &running{addr: addr, cmd: exec.Command(args[0], args[1:]...), done: make(chan struct{}), log: log.Name(), cable: in.cable}
	r.cmd.Stdout, r.cmd.Stderr = log, log
	// main is locked to the main thread, whose end is the end of this process.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	r.pid = r.cmd.Process.Pid
	go func() {
		_ = r.cmd.Wait() // what it had to say is in its log
		close(r.done)
	}()
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if s.pidFile != "" {
		err = r.readPID(ctx, filepath.Join(in.dir, s.pidFile))
	}
	if err == nil {
		serves := r.accepts
		if s.serves != nil {
			serves = func(ctx context.Context) error { return s.serves(ctx, r) }
		}
		err = serves(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: %s", s.name, err, r.tail()), r.stop())
	}
	return r, nil
}

// freeAddr finds a port that nobody listens on. In a namespace of our own it
// stays free until the server takes it.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// readPID waits for a server that goes into the background.
func (r *running) readPID(ctx context.Context, path string) error {
	for ctx.Err() == nil {
		if text, err := os.ReadFile(path); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 1 {
				r.pid = pid
				return os.Remove(path)
			}
		}
		time.Sleep(pause)
	}
	return fmt.Errorf("no process id in %s", path)
}

func (r *running) accepts(ctx context.Context) error {
	for ctx.Err() == nil {
		conn, err := net.DialTimeout("tcp", r.addr, time.Second)
		if err == nil {
			return conn.Close()
		}
		if ended(r.pid) {
			return errors.New("ended before it accepted a connection")
		}
		time.Sleep(pause)
	}
	return errors.New("accepted no connection in time")
}

// stop ends the process, and not before it is gone returns.
func (r *running) stop() error {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		_ = syscall.Kill(r.pid, signal) // it may have ended by itself
		for until := time.Now().Add(stopLimit); time.Now().Before(until); time.Sleep(pause) {
			if ended(r.pid) {
				<-r.done
				return nil
			}
		}
	}
	return fmt.Errorf("process %d does not end", r.pid)
}

// tail returns the end of what the server printed.
func (r *running) tail() string {
	text, _ := os.ReadFile(r.log)
	text = bytes.TrimSpace(text)
	return string(text[max(0, len(text)-1000):])
}

// run runs a client to its end and returns what it printed, also with an error.
func run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", name, errors.Join(err, ctx.Err()), strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
