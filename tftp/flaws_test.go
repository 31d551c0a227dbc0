package tftp

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Flaws that other TFTP servers had. Each test sends the packets that killed
// them and then fetches a file as if nothing had happened.

// dnsmasq: a long name overflowed the heap, an option without a name was a nil
// pointer.
func TestCVE_2009_2957_2958_NameLengths(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		for n := range 601 {
			c.request(rrq(strings.Repeat("a", n), "octet", "blksize", "1468"))
			p := c.receive(patience)
			require.EqualValues(t, opERROR, opcode(p), "length %d", n)
			require.LessOrEqual(t, len(p), 64, "the answer does not grow with the request")
		}
		for _, tail := range []string{"blksize\x00", "blksize", "\x00", "\x00\x00", "blksize\x00\x00"} {
			c.request(append(rrq("missing", "octet"), tail...))
			c.expectError(CodeNotFound, "File not found")
		}
		b.alive()
	})
}

// atftpd: a received ERROR with a long text overflowed the stack.
func TestCVE_2019_11365_LongErrorFromTheClient(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		for _, n := range []int{0, 1, 511, 512, 513, 60000} {
			c := b.clientAt(netip.AddrPortFrom(clientAddr.Addr(), uint16(n+1)))
			c.request(rrq("big", "octet"))
			c.receive(patience)
			c.sendTo(c.peer, append([]byte{0, opERROR, 0, byte(CodeDiskFull)}, strings.Repeat("%s", n)...))
			synctest.Wait()
			var client *ClientError
			require.ErrorAs(t, b.seen.last(t).Err, &client)
			require.LessOrEqual(t, len(client.Message), maxRequest)
		}
		c := b.client()
		c.request(rrq("big", "octet"))
		c.receive(patience)
		c.sendTo(c.peer, []byte{0, opERROR}) // no code
		b.alive()
	})
}

// atftpd: its list of clients was not locked.
func TestCVE_2019_11366_TransfersComeAndGoAtOnce(t *testing.T) {
	inMemory(t, func(s *Server) { s.MaxTransfersPerClient = 1000 }, func(t *testing.T, b *bench) {
		done := make(chan struct{})
		for i := range 50 {
			c := b.clientAt(netip.AddrPortFrom(clientAddr.Addr(), uint16(i+1)))
			go func() {
				defer func() { done <- struct{}{} }()
				for range 5 {
					c.request(rrq("three", "octet"))
					if c.receive(patience) != nil && i%2 == 0 {
						c.abort(0)
					}
				}
			}()
		}
		for range 50 {
			<-done
		}
		time.Sleep(time.Minute)
		b.alive()
		synctest.Wait()
		require.Empty(t, b.server.sessions.clients)
	})
}

// atftpd: the multicast option hit an assertion.
func TestCVE_2020_6097_MulticastOption(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		for _, value := range []string{"", "1", "224.0.0.1,1758,1", "255.255.255.255,0,", strings.Repeat("9", 300)} {
			c.request(rrq("short", "octet", "multicast", value))
			c.expectData(1, testFiles["short"].Data)
			c.ack(1)
			synctest.Wait()
		}
		b.alive()
	})
}

// atftpd: many options overflowed the buffer of the OACK.
func TestCVE_2021_41054_ManyOptions(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		var options []string
		for i := range 100 {
			options = append(options, string(rune('A'+i%26)), "1")
		}
		c.request(rrq("short", "octet", options...))
		c.expectData(1, testFiles["short"].Data)
		c.ack(1)
		options = nil
		for range 20 {
			options = append(options, "tsize", "0", "blksize", "8")
		}
		c.request(rrq("big", "octet", options...))
		c.expectOACK("tsize", "10240", "blksize", "8")
		c.abort(0)
		b.alive()
	})
}

// dnsmasq 2.85 "check sender of all TFTP packets" and 2.77 "length of error
// texts" are TestT002 and TestT012.

// CVE-2001-1265, 2002-1209, 2002-2237, 2005-1813, 2006-1951, 2006-1952,
// 2008-1620, 2009-0288, 2011-4722, 2012-6664: names that leave the root.
func TestTraversal_NamesDoNotLeaveTheRoot(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("secret"), 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "root", "a", "b"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "root", "f"), pattern(3), 0o600))
	links := os.Symlink(filepath.Join(dir, "secret"), filepath.Join(dir, "root", "link")) == nil
	root, err := os.OpenRoot(filepath.Join(dir, "root"))
	require.NoError(t, err)
	defer root.Close()

	names := []string{"link", "link/", "a/../../secret", dir + "/secret", "C:" + dir + "/secret"}
	for _, up := range []string{"..", "...", "....", ".. ", " ..", "..\x00", "%2e%2e", "%252e%252e", "..%2f", "..%5c", "..%00", ".%2e", "\u2024\u2024", "\uff0e\uff0e", "\xc0\xae\xc0\xae", "..;"} {
		for _, separator := range []string{"/", `\`, "//", `\\`, `/\`, "%2f", "%5c", "\xc0\xaf", "\u2215"} {
			for _, prefix := range []string{"", "/", "./", "a/b/", `a\b\`, "/a/"} {
				names = append(names, prefix+up+separator+"secret", prefix+up+separator+up+separator+up+separator+"secret")
			}
		}
	}
	require.Greater(t, len(names), 200)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(s *Server) { s.Handler = fsHandler(root.FS()) }, nil)
		for i, name := range names {
			if i == 0 && !links {
				continue
			}
			c := b.clientAt(netip.AddrPortFrom(clientAddr.Addr(), uint16(i+1)))
			c.request(rrq(name, "octet"))
			p := c.receive(patience)
			require.EqualValues(t, opERROR, opcode(p), "%q", name)
			require.NotContains(t, string(p), "secret")
		}
		require.Equal(t, pattern(3), b.client().fetch("/f"))
	})
}

// Serva CVE-2013-0145 and 2021-44429, Tftpd32 CVE-2006-0328: long requests and
// format strings.
func TestCVE_2006_0328_FormatStrings(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		for _, name := range []string{"%s%s%n", "%x%x%d.%n", strings.Repeat("%n", 200)} {
			c.request(rrq(name, "octet"))
			c.expectError(CodeNotFound, "File not found")
			c.request(rrq("x", name))
			require.EqualValues(t, opERROR, opcode(c.receive(patience)))
		}
		b.alive()
	})
}

// Sieklik et al. 2016: servers that repeat 516 bytes to a forged address.
func TestAmplification_ForgedSourcesGetLittle(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		in := 0
		for port := uint16(1); port <= 1000; port++ {
			p := rrq("big", "octet", "blksize", "65464")
			in += len(p)
			b.net.send(memPacket{from: netip.AddrPortFrom(clientAddr.Addr(), port), to: serverAddr, data: string(p)})
		}
		time.Sleep(time.Minute)
		out := 0
		for _, p := range b.net.sentBy(serverAddr.Addr()) {
			out += len(p.data)
		}
		require.LessOrEqual(t, len(b.net.sentBy(serverAddr.Addr())), unheardLimit(defaultTransfersPerClient)*(1+defaultRetries))
		require.Less(t, out, in, "1000 forged requests with options: fewer bytes leave than came")
		require.EqualValues(t, 1000-unheardLimit(defaultTransfersPerClient), b.server.Drops()[DropLimit])
		b.alive()
	})
}

// pin/tftp 3.2.0, by reading: option names and modes were case-sensitive, error
// texts leaked, a repeated request was a second transfer, a socket that was
// closed took a processor. Its rows are here and in TestT010, TestT012,
// TestT022, TestPersistentReadErrorEndsServe and the lifecycle test.
func TestPinFlaws_CapitalOptionsAndSmallBlocks(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		c.request(rrq("short", "OCTET", "BLKSIZE", "64", "TSize", "0", "TIMEOUT", "3"))
		c.expectOACK("blksize", "64", "tsize", "100", "timeout", "3")
		c.ack(0)
		c.expectData(1, testFiles["short"].Data[:64])
		c.ack(1)
		c.expectData(2, testFiles["short"].Data[64:])
		c.ack(2)
	})
}

// pin/tftp with a single port: extra ACKs panicked the process.
func TestPinFlaws_FloodOfStrayPackets(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		for block := range 2000 {
			c.request(ackPacket(uint16(block)))
			c.request(appendError(nil, ErrorCode(block), "x"))
		}
		c.silence(time.Minute)
		require.Equal(t, map[DropReason]uint64{DropNotForUs: 4000}, b.server.Drops())
		c.request(rrq("three", "octet"))
		c.expectData(1, testFiles["three"].Data[:512])
		for i := range 2000 {
			c.sendTo(c.peer, []byte(fmt.Sprintf("junk %d", i)))
		}
		c.ack(1)
		c.expectData(2, testFiles["three"].Data[512:1024])
		c.abort(0)
		synctest.Wait()
		require.Len(t, b.seen.dropped, 6000)
		require.EqualValues(t, 2000, b.server.Drops()[DropMalformed])
		b.alive()
	})
}
