package vm

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"
)

// monitorPrompt is what QEMU's monitor prints when it waits for a command.
const monitorPrompt = "(qemu) "

// monitorSocket is where QEMU's monitor listens.
func monitorSocket(dir string) string { return filepath.Join(dir, "monitor") }

// Monitor asks QEMU's monitor, which knows about a machine what the machine itself
// can no longer tell: `info registers` says where a hung processor stands. It waits at
// most ten seconds.
func (r *Running) Monitor(command string) (string, error) {
	conn, err := net.Dial("unix", monitorSocket(r.dir))
	if err != nil {
		return "", fmt.Errorf("vm: monitor: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", fmt.Errorf("vm: monitor: %w", err)
	}
	if _, err := readUntil(conn, monitorPrompt); err != nil {
		return "", fmt.Errorf("vm: monitor: %w", err)
	}
	if _, err := fmt.Fprintln(conn, command); err != nil {
		return "", fmt.Errorf("vm: monitor: %w", err)
	}
	answer, err := readUntil(conn, monitorPrompt)
	if err != nil {
		return "", fmt.Errorf("vm: monitor: %s: %w", command, err)
	}
	// The first line is the command as it was typed.
	_, answer, _ = strings.Cut(answer, "\n")
	return strings.TrimSuffix(answer, monitorPrompt), nil
}

// readUntil reads at most a mebibyte, up to and with end.
func readUntil(conn net.Conn, end string) (string, error) {
	var got bytes.Buffer
	buf := make([]byte, 4096)
	for got.Len() < 1<<20 {
		n, err := conn.Read(buf)
		got.Write(buf[:n])
		if bytes.HasSuffix(got.Bytes(), []byte(end)) {
			return got.String(), nil
		}
		if err != nil {
			return got.String(), err
		}
	}
	return got.String(), errors.New("more than a mebibyte without an end")
}
