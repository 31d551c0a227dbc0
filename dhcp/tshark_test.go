package dhcp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tsharkPackets is how many replies tshark is shown; PXE_TSHARK_PACKETS in the
// environment makes it another number.
const tsharkPackets = 2000

// TestTsharkFindsNothingMalformed shows replies of all kinds to a judge that has
// never seen this code.
func TestTsharkFindsNothingMalformed(t *testing.T) {
	n := tsharkPackets
	if v := os.Getenv("PXE_TSHARK_PACKETS"); v != "" {
		var err error
		n, err = strconv.Atoi(v)
		require.NoError(t, err, "PXE_TSHARK_PACKETS")
	}
	seen := tshark(t, func(w io.Writer) int {
		for i, g := 0, newTraffic(1); i < n; i++ {
			x := g.next(t)
			port := uint16(67)
			if x.r.PXEPort {
				port = 4011
			}
			writePacket(t, w, netip.AddrPortFrom(addr(serverIP), port), x.d.To, x.raw)
		}
		return n
	})
	for i, complaint := range seen {
		require.Empty(t, complaint, "packet %d", i+1)
	}
}

// tsharkError is the severity of an error in the words of tshark.
const tsharkError = "8388608"

// It has to be able to find something.
func TestTsharkFindsMalformedReplies(t *testing.T) {
	good := ask(t, newServer(rich), discover(mac(1))).raw
	bad := map[string][]byte{
		"cut in an option": good[:len(good)-45],
		"a mask of 3":      edit(good, bytes.Index(good, []byte{1, 4, 255})+1, 3),
	}
	for name, b := range bad {
		seen := tshark(t, func(w io.Writer) int {
			to := netip.MustParseAddrPort("255.255.255.255:68")
			writePacket(t, w, netip.MustParseAddrPort("192.0.2.1:67"), to, good)
			writePacket(t, w, netip.MustParseAddrPort("192.0.2.1:67"), to, b)
			return 2
		})
		require.Empty(t, seen[0])
		require.NotEmpty(t, seen[1], name)
	}
}

// tshark returns what tshark says against each of the packets that write writes,
// all of which it must take for DHCP.
func tshark(t *testing.T, write func(io.Writer) int) []string {
	t.Helper()
	program, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("in CI this test is not skipped: there is no tshark; install the package tshark")
		}
		t.Skip("there is no tshark; install the package tshark")
	}
	name := filepath.Join(t.TempDir(), "replies.pcap")
	file, err := os.Create(name)
	require.NoError(t, err)
	w := bufio.NewWriter(file)
	// The header of a capture file; 101: its packets begin with IP.
	header := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	header = append(header, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0)
	_, err = w.Write(header)
	require.NoError(t, err)
	n := write(w)
	require.NoError(t, w.Flush())
	require.NoError(t, file.Close())

	command := exec.CommandContext(t.Context(), program, "-n", "-r", name, "-T", "fields", "-E", "separator=|",
		"-e", "dhcp.cookie", "-e", "_ws.expert.severity", "-e", "_ws.malformed", "-e", "_ws.expert.message")
	command.Env = append(os.Environ(), "HOME="+t.TempDir())
	var complaints strings.Builder
	command.Stderr = &complaints
	out, err := command.Output()
	require.NoError(t, err, complaints.String())
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	require.Len(t, lines, n)
	for i, line := range lines {
		fields := strings.SplitN(line, "|", 4)
		require.Len(t, fields, 4, line)
		require.Equal(t, "99.130.83.99", fields[0], "packet %d is not taken for DHCP", i+1)
		// Less than errors are remarks on what the client sent and gets back: that
		// it has no hardware address, or strange bytes in its identifier.
		lines[i] = ""
		if fields[2] != "" || strings.Contains(fields[1], tsharkError) {
			lines[i] = fields[2] + " " + fields[3]
		}
	}
	return lines
}

// writePacket writes a UDP datagram to a capture file.
func writePacket(t *testing.T, w io.Writer, from, to netip.AddrPort, payload []byte) {
	t.Helper()
	now, size := time.Now(), 28+len(payload)
	b := binary.LittleEndian.AppendUint32(nil, uint32(now.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(now.Nanosecond()/1000))
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	ip := append([]byte{0x45, 0, byte(size >> 8), byte(size), 0, 0, 0x40, 0, 64, 17, 0, 0}, from.Addr().AsSlice()...)
	ip = append(ip, to.Addr().AsSlice()...)
	sum := uint32(0)
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	udp := binary.BigEndian.AppendUint16(nil, from.Port())
	udp = binary.BigEndian.AppendUint16(udp, to.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(size-20))
	udp = append(udp, 0, 0) // no checksum (RFC 768)
	for _, part := range [][]byte{b, ip, udp, payload} {
		_, err := w.Write(part)
		require.NoError(t, err)
	}
}
