package pxetest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// tftpPair is a client, and a server's side that a script plays.
func tftpPair(t *testing.T, blockSize int) (*tftpClient, func(func(say func(string), hear func() string))) {
	s := NewSegment(t)
	server := s.Host("eth0", "192.0.2.1/24")
	client := s.Host("eth0", "192.0.2.2/24")
	listener, err := server.ListenPacket(netip.MustParseAddrPort("0.0.0.0:69"))
	require.NoError(t, err)
	c := &tftpClient{
		open:   func() (net.PacketConn, error) { return client.ListenPacket(netip.AddrPort{}) },
		server: netip.MustParseAddrPort("192.0.2.1:69"), blockSize: blockSize, tries: 3, wait: time.Second,
	}
	return c, func(script func(say func(string), hear func() string)) {
		go func() {
			b := make([]byte, 1<<16)
			n, from, err := listener.ReadFrom(b)
			if err != nil {
				return
			}
			conn, _ := server.ListenPacket(netip.AddrPort{})
			first := string(b[:n])
			script(func(p string) { conn.WriteTo([]byte(p), from) }, func() string {
				if first != "" {
					f := first
					first = ""
					return f
				}
				n, _, err := conn.ReadFrom(b)
				if err != nil {
					return err.Error()
				}
				return string(b[:n])
			})
		}()
	}
}

func TestTFTPClient(t *testing.T) {
	full := string(bytes.Repeat([]byte("x"), 512))
	tests := []struct {
		name   string
		script func(say func(string), hear func() string)
		want   string
		is     error
		says   string
	}{
		{"without options", func(say func(string), hear func() string) {
			hear()
			say("\x00\x03\x00\x01abc")
		}, "abc", nil, ""},
		{"exact multiple", func(say func(string), hear func() string) {
			hear()
			say("\x00\x03\x00\x01" + full)
			hear()
			say("\x00\x03\x00\x02")
		}, full, nil, ""},
		{"repeated OACK and DATA", func(say func(string), hear func() string) {
			hear()
			say("\x00\x06tsize\x00514\x00")
			hear()
			say("\x00\x06tsize\x00514\x00")
			if hear() != "\x00\x04\x00\x00" {
				return
			}
			say("\x00\x03\x00\x01" + full)
			hear()
			say("\x00\x03\x00\x01" + full)
			if hear() != "\x00\x04\x00\x01" {
				return
			}
			say("\x00\x03\x00\x02ab")
		}, full + "ab", nil, ""},
		{"lost acknowledgement", func(say func(string), hear func() string) {
			hear()
			say("\x00\x06tsize\x000\x00")
			hear()
			if hear() == "\x00\x04\x00\x00" { // repeated after a second
				say("\x00\x03\x00\x01")
			}
		}, "", nil, ""},
		{"not found", func(say func(string), hear func() string) {
			hear()
			say("\x00\x05\x00\x01no such file\x00")
		}, "", fs.ErrNotExist, `error 1: "no such file"`},
		{"permission", func(say func(string), hear func() string) {
			hear()
			say("\x00\x05\x00\x02no\x00")
		}, "", fs.ErrPermission, ""},
		{"mutilated error", func(say func(string), hear func() string) {
			hear()
			say("\x00\x05\x00\x01")
		}, "", nil, "mutilated"},
		{"option not asked for", func(say func(string), hear func() string) {
			hear()
			say("\x00\x06windowsize\x004\x00")
		}, "", ErrTransfer, "windowsize"},
		{"block size raised", func(say func(string), hear func() string) {
			hear()
			say("\x00\x06blksize\x002000\x00")
		}, "", ErrTransfer, "1000 was asked for"},
		{"mutilated OACK", func(say func(string), hear func() string) {
			hear()
			say("\x00\x06tsize\x00")
		}, "", ErrTransfer, "mutilated"},
		{"long block", func(say func(string), hear func() string) {
			hear()
			say("\x00\x03\x00\x01" + full + "x")
		}, "", ErrTransfer, "513 bytes"},
		{"short file", func(say func(string), hear func() string) {
			hear()
			say("\x00\x06tsize\x00100\x00")
			hear()
			say("\x00\x03\x00\x01abc")
		}, "", ErrTransfer, "tsize was 100"},
		{"silence", func(say func(string), hear func() string) { hear() },
			"", ErrTransfer, "silent after 3 tries within 3s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, play := tftpPair(t, 1000)
				play(tt.script)
				var got bytes.Buffer
				n, err := c.get(t.Context(), "file", &got, func(int64, int64) {})
				if tt.is == nil && tt.says == "" {
					require.NoError(t, err)
					require.Equal(t, tt.want, got.String())
					require.Equal(t, int64(len(tt.want)), n)
					return
				}
				require.Error(t, err)
				if tt.is != nil {
					require.ErrorIs(t, err, tt.is)
				}
				require.ErrorContains(t, err, tt.says)
			})
		})
	}
}

// TestTFTPRollover: block 65535 is followed by 0.
func TestTFTPRollover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, play := tftpPair(t, 8)
		const blocks = 1<<16 + 10
		play(func(say func(string), hear func() string) {
			hear()
			say("\x00\x06blksize\x008\x00")
			hear()
			for i := 1; i <= blocks; i++ {
				say(string([]byte{0, 3, byte(i >> 8), byte(i)}) + fmt.Sprintf("%08d", i))
				hear()
			}
			say("\x00\x03" + string([]byte{(blocks + 1) >> 8 & 0xff, (blocks + 1) & 0xff}))
		})
		var got bytes.Buffer
		n, err := c.get(t.Context(), "file", &got, func(int64, int64) {})
		require.NoError(t, err)
		require.Equal(t, int64(8*blocks), n)
		require.Equal(t, fmt.Sprintf("%08d", blocks), got.String()[got.Len()-8:])
	})
}

// TestTFTPStranger: a packet from another socket gets ERROR 5, the transfer goes on.
func TestTFTPStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSegment(t)
		server, stranger := s.Host("eth0", "192.0.2.1/24"), s.Host("eth0", "192.0.2.3/24")
		client := s.Host("eth0", "192.0.2.2/24")
		listener, err := server.ListenPacket(netip.MustParseAddrPort("0.0.0.0:69"))
		require.NoError(t, err)
		told := make(chan string, 2)
		go func() {
			b := make([]byte, 600)
			_, from, _ := listener.ReadFrom(b)
			good, _ := server.ListenPacket(netip.AddrPort{})
			good.WriteTo([]byte("\x00\x06tsize\x000\x00"), from)
			good.ReadFrom(b)
			for _, h := range []*Host{server, stranger} {
				bad, _ := h.ListenPacket(netip.AddrPort{})
				bad.WriteTo([]byte("\x00\x03\x00\x01bad"), from)
				n, _, _ := bad.ReadFrom(b)
				told <- string(b[:n])
			}
			good.WriteTo([]byte("\x00\x03\x00\x01"), from)
		}()
		c := &tftpClient{open: func() (net.PacketConn, error) { return client.ListenPacket(netip.AddrPort{}) },
			server: netip.MustParseAddrPort("192.0.2.1:69"), tries: 3, wait: time.Minute}
		n, err := c.get(t.Context(), "file", &bytes.Buffer{}, func(int64, int64) {})
		require.NoError(t, err)
		require.Zero(t, n)
		require.Equal(t, "\x00\x05\x00\x05unknown transfer ID\x00", <-told)
		require.Equal(t, "\x00\x05\x00\x05unknown transfer ID\x00", <-told)
	})
}

func TestTFTPProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, play := tftpPair(t, 0)
		end := make(chan string, 1)
		play(func(say func(string), hear func() string) {
			hear()
			say("\x00\x06tsize\x0012345\x00")
			end <- hear()
		})
		size, err := c.probe(t.Context(), "file", 8)
		require.NoError(t, err)
		require.Equal(t, int64(12345), size)
		require.Equal(t, "\x00\x05\x00\x08User aborted the transfer\x00", <-end)
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := tftpPair(t, 0)
		_, err := c.probe(ctx, "file", 8)
		require.ErrorIs(t, err, context.Canceled)
	})
}
