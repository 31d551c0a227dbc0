package tftp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/lifecycle/lifecycletest"
)

var clientAddr6 = netip.MustParseAddr("2001:db8::100")

func TestLifecycle(t *testing.T) {
	t.Run("in memory", func(t *testing.T) {
		lifecycletest.Test(t, func(testing.TB) lifecycletest.Subject {
			conn := newMemNet().listen(serverAddr)
			s := &Server{Handler: fsHandler(testFiles)}
			return lifecycletest.Subject{
				Serve: func() error { return s.Serve(conn) }, Shutdown: s.Shutdown, Close: s.Close,
				Closed: conn.isClosed,
				Fail:   func() { conn.Close() }, FailName: "192.0.2.1:69",
			}
		})
	})
	t.Run("over UDP", func(t *testing.T) {
		lifecycletest.Test(t, func(t testing.TB) lifecycletest.Subject {
			conn := listenLoopback(t)
			s := &Server{Handler: fsHandler(testFiles)}
			return lifecycletest.Subject{
				Serve: func() error { return s.Serve(conn) }, Shutdown: s.Shutdown, Close: s.Close,
				Closed: func() bool { return errors.Is(conn.SetDeadline(time.Time{}), net.ErrClosed) },
				Fail:   func() { conn.Close() }, FailName: "127.0.0.1",
			}
		})
	})
}

func listenLoopback(t testing.TB) *net.UDPConn {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// serveLoopback runs a server on a port of its own and returns its address.
func serveLoopback(t testing.TB, s *Server) netip.AddrPort {
	conn := listenLoopback(t)
	done := make(chan error, 1)
	go func() { done <- s.Serve(conn) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, ErrServerClosed)
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestValidateReportsEverything(t *testing.T) {
	require.NoError(t, (&Server{Handler: fsHandler(testFiles)}).Validate())
	err := (&Server{MaxBlockSize: 100, MaxTransfers: -1, MaxTransfersPerClient: -1, Retries: -1}).Validate()
	for _, name := range []string{"Handler", "MaxBlockSize", "MaxTransfers", "MaxTransfersPerClient", "Retries"} {
		require.ErrorContains(t, err, "Server."+name+" is")
	}
	require.Error(t, (&Server{Handler: fsHandler(testFiles), MaxBlockSize: 65465}).Validate())

	conn := newMemNet().listen(serverAddr)
	require.ErrorContains(t, (&Server{}).Serve(conn), "Handler")
	require.True(t, conn.isClosed())
	require.ErrorContains(t, (&Server{}).Serve(nil), "nil")
}

func TestT001_AnswersFromItsOwnPortOnTheSameAddress(t *testing.T) {
	t.Run("over UDP", func(t *testing.T) {
		server := serveLoopback(t, &Server{Handler: fsHandler(testFiles)})
		c := &client{t: t, conn: listenLoopback(t), server: server}
		c.request(rrq("three", "octet"))
		c.expectData(1, testFiles["three"].Data[:512])
		require.Equal(t, server.Addr(), c.peer.Addr())
		require.NotEqual(t, server.Port(), c.peer.Port())
		first := c.peer
		other := &client{t: t, conn: listenLoopback(t), server: server}
		other.request(rrq("three", "octet"))
		other.expectData(1, testFiles["three"].Data[:512])
		require.NotEqual(t, first, other.peer, "a port for each transfer")
		c.abort(0)
		other.abort(0)
	})
	t.Run("the address the request was sent to", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, nil, func(c *memConn) net.PacketConn { return &localConn{memConn: c, ifname: "eth1"} })
			second := netip.MustParseAddrPort("198.51.100.1:69")
			b.net.alias(second, b.conn)
			c := b.client()
			c.server = second
			require.Equal(t, testFiles["three"].Data, c.fetch("three"))
			require.Equal(t, second.Addr(), c.peer.Addr())
			synctest.Wait()
			require.Equal(t, "eth1", b.seen.starts()[0].Interface)
			require.Equal(t, second.Addr(), b.seen.starts()[0].Local)
			require.Equal(t, clientAddr, b.seen.starts()[0].Remote)
		})
	})
	t.Run("a socket that cannot be opened is told to nobody but the embedder", func(t *testing.T) {
		boom := errors.New("no sockets left")
		inMemory(t, func(s *Server) {
			s.OpenTransfer = func(context.Context, netip.Addr, netip.AddrPort) (net.PacketConn, error) { return nil, boom }
		}, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("short", "octet"))
			c.silence(time.Minute)
			require.Equal(t, Result{Size: -1, Err: boom}, b.seen.last(t))
		})
	})
}

func TestT002_StrangersAreTurnedAway(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		c.request(rrq("three", "octet"))
		c.expectData(1, testFiles["three"].Data[:512])
		for _, addr := range []string{"192.0.2.100:2071", "192.0.2.101:2070"} {
			s := b.clientAt(netip.MustParseAddrPort(addr))
			s.sendTo(c.peer, ackPacket(1))
			s.expectError(CodeUnknownTID, "Unknown transfer ID")
			s.sendTo(c.peer, appendError(nil, 0, "stop"))
			s.silence(minTimeout / 4) // an ERROR is not answered, or two servers would never end
		}
		c.ack(1)
		c.expectData(2, testFiles["three"].Data[512:1024])
		c.ack(2)
		c.expectData(3, testFiles["three"].Data[1024:])
		c.ack(3)
		synctest.Wait()
		require.Equal(t, Result{Bytes: 1025, Size: 1025}, b.seen.last(t))
		require.Equal(t, map[DropReason]uint64{DropStranger: 4}, b.server.Drops())
	})
}

func TestT009_BroadcastsAreIgnored(t *testing.T) {
	subnet := netip.MustParsePrefix("192.0.2.1/24")
	for to, answered := range map[string]bool{
		"192.0.2.1": true, "198.51.100.255": true, // somebody else's subnet has this for its broadcast address
		"255.255.255.255": false, "192.0.2.255": false, "224.0.0.1": false,
	} {
		t.Run(to, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, nil, func(c *memConn) net.PacketConn {
					return &localConn{memConn: c, ifname: "eth0", prefixes: []netip.Prefix{subnet}}
				})
				dst := netip.AddrPortFrom(netip.MustParseAddr(to), 69)
				b.net.alias(dst, b.conn)
				c := b.client()
				c.sendTo(dst, rrq("short", "octet"))
				c.sendTo(dst, encodeRequest(opWRQ, "x", "octet"))
				c.sendTo(dst, []byte{0, opRRQ})
				time.Sleep(time.Minute)
				if answered {
					require.Equal(t, map[DropReason]uint64{DropWrite: 1, DropMalformed: 1}, b.server.Drops())
					require.Len(t, b.seen.starts(), 1)
				} else {
					require.Equal(t, map[DropReason]uint64{DropNotForUs: 3}, b.server.Drops())
					require.Empty(t, b.net.sentBy(serverAddr.Addr()))
				}
			})
		})
	}
}

func TestSourcesThatCannotBeAnswered(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		for _, from := range []string{"0.0.0.0:2070", "255.255.255.255:2070", "224.0.0.5:2070", "192.0.2.7:0"} {
			b.net.send(memPacket{from: netip.MustParseAddrPort(from), to: serverAddr, data: string(rrq("short", "octet"))})
		}
		time.Sleep(time.Minute)
		require.Empty(t, b.net.sentBy(serverAddr.Addr()))
		require.Equal(t, map[DropReason]uint64{DropNotForUs: 4}, b.server.Drops())
		b.alive()
	})
}

func TestBroadcastAddresses(t *testing.T) {
	for prefix, want := range map[string]string{
		"192.0.2.1/24": "192.0.2.255", "192.0.2.65/26": "192.0.2.127", "198.51.100.1/22": "198.51.103.255", "192.0.2.1/30": "192.0.2.3",
	} {
		require.Equal(t, want, broadcast(netip.MustParsePrefix(prefix)).String())
	}
	for _, prefix := range []string{"192.0.2.1/31", "192.0.2.1/32", "2001:db8::1/64"} {
		require.False(t, broadcast(netip.MustParsePrefix(prefix)).IsValid())
	}
}

func TestT011_WriteRequestGetsError2(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		c.request(encodeRequest(opWRQ, "new", "octet"))
		c.expectError(CodeAccessViolation, "Access violation")
		require.Equal(t, serverAddr, c.peer)
		c.silence(time.Minute)
		require.Empty(t, b.seen.starts())
		require.Equal(t, map[DropReason]uint64{DropWrite: 1}, b.server.Drops())
		b.alive()
	})
}

func TestRefusalsLeaveByTheWayTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type way struct {
			dst    netip.AddrPort
			from   netip.Addr
			ifname string
		}
		ways := make(chan way, 1)
		b := newBench(t, nil, func(c *memConn) net.PacketConn {
			return &localConn{memConn: c, ifname: "eth1", sent: func(dst netip.AddrPort, from netip.Addr, ifname string) {
				ways <- way{dst, from, ifname}
			}}
		})
		c := b.client()
		c.request(rrq("x", "mail"))
		c.expectError(CodeIllegal, "Illegal TFTP operation")
		require.Equal(t, way{clientAddr, serverAddr.Addr(), "eth1"}, <-ways)
	})
}

func TestShutdownLetsTransfersFinish(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		c.request(rrq("three", "octet"))
		c.expectData(1, testFiles["three"].Data[:512])
		done := make(chan error, 1)
		go func() { done <- b.server.Shutdown(t.Context()) }()
		synctest.Wait()
		require.True(t, b.conn.isClosed(), "no new requests")
		require.Empty(t, done)
		c.ack(1)
		c.expectData(2, testFiles["three"].Data[512:1024])
		c.ack(2)
		c.expectData(3, testFiles["three"].Data[1024:])
		c.ack(3)
		require.NoError(t, <-done)
		require.NoError(t, b.seen.last(t).Err)
	})
}

func TestCloseCutsOffASilentClientAtOnce(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		c.request(rrq("three", "octet", "timeout", "255"))
		c.expectOACK("timeout", "255")
		c.ack(0)
		c.expectData(1, testFiles["three"].Data[:512])
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.server.Shutdown(ctx), context.DeadlineExceeded)
		before := time.Now()
		require.NoError(t, b.server.Close())
		require.Equal(t, before, time.Now(), "no time has passed")
		require.ErrorIs(t, b.seen.last(t).Err, ErrServerClosed)
	})
}

func TestCloseEndsTheHandlersContext(t *testing.T) {
	waits := HandlerFunc(func(ctx context.Context, _ *Transfer) error { <-ctx.Done(); return ctx.Err() })
	inMemory(t, func(s *Server) { s.Handler = waits }, func(t *testing.T, b *bench) {
		b.client().request(rrq("x", "octet"))
		synctest.Wait()
		require.NoError(t, b.server.Close())
		require.ErrorIs(t, b.seen.last(t).Err, context.Canceled)
	})
}

// brokenConn fails to read as often as it is told.
type brokenConn struct {
	*memConn
	err   error
	left  atomic.Int64
	reads atomic.Int64
}

func (c *brokenConn) ReadFrom(p []byte) (int, net.Addr, error) {
	c.reads.Add(1)
	if c.left.Add(-1) >= 0 {
		return 0, nil, &net.OpError{Op: "read", Net: "udp", Err: c.err}
	}
	return c.memConn.ReadFrom(p)
}

func TestTransientReadErrorsKeepServing(t *testing.T) {
	for _, err := range []error{syscall.ECONNREFUSED, syscall.ENOBUFS, syscall.EINTR, syscall.EMSGSIZE, syscall.ENETDOWN, syscall.Errno(10054)} {
		t.Run(err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, nil, func(c *memConn) net.PacketConn {
					broken := &brokenConn{memConn: c, err: err}
					broken.left.Store(1000)
					return broken
				})
				b.alive()
			})
		})
	}
	t.Run("without taking a processor", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var broken *brokenConn
			newBench(t, nil, func(c *memConn) net.PacketConn {
				broken = &brokenConn{memConn: c, err: syscall.ENETDOWN}
				broken.left.Store(1 << 40)
				return broken
			})
			time.Sleep(10 * time.Second)
			require.Less(t, broken.reads.Load(), int64(1100))
		})
	})
}

func TestPersistentReadErrorEndsServe(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EBADF, syscall.EIO} {
		synctest.Test(t, func(t *testing.T) {
			network := newMemNet()
			broken := &brokenConn{memConn: network.listen(serverAddr), err: errno}
			broken.left.Store(1 << 40)
			s := &Server{Handler: fsHandler(testFiles)}
			err := s.Serve(broken)
			require.ErrorIs(t, err, errno)
			require.ErrorContains(t, err, "192.0.2.1:69")
			require.EqualValues(t, 1, broken.reads.Load())
			require.True(t, broken.isClosed())
		})
	}
	t.Run("and cuts off its transfers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := &bench{t: t, net: newMemNet(), seen: &results{}}
			conn := b.net.listen(serverAddr)
			s := &Server{Handler: fsHandler(testFiles), Trace: b.seen.trace(),
				OpenTransfer: func(context.Context, netip.Addr, netip.AddrPort) (net.PacketConn, error) {
					return b.net.listen(netip.AddrPortFrom(serverAddr.Addr(), 0)), nil
				}}
			done := make(chan error)
			go func() { done <- s.Serve(conn) }()
			b.client().request(rrq("big", "octet"))
			synctest.Wait()
			before := time.Now()
			conn.Close()
			require.ErrorIs(t, <-done, net.ErrClosed)
			require.Equal(t, before, time.Now())
			require.Zero(t, b.net.sockets(serverAddr.Addr()))
			require.Len(t, b.seen.ends(), 1)
		})
	})
}

// failingConn fails to write as often as it is told.
type failingConn struct {
	*memConn
	err  error
	left int
}

func (c *failingConn) WriteTo(p []byte, to net.Addr) (int, error) {
	if c.left--; c.left >= 0 {
		return 0, c.err
	}
	return c.memConn.WriteTo(p, to)
}

func TestWriteErrorsWithinATransfer(t *testing.T) {
	with := func(err error, n int) func(*Server) {
		return func(s *Server) {
			open := s.OpenTransfer
			s.OpenTransfer = func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.PacketConn, error) {
				conn, _ := open(ctx, local, remote)
				return &failingConn{conn.(*memConn), err, n}, nil
			}
		}
	}
	t.Run("of the moment are losses", func(t *testing.T) {
		inMemory(t, with(syscall.ENOBUFS, 2), func(t *testing.T, b *bench) {
			require.Equal(t, testFiles["three"].Data, b.client().fetch("three"))
			synctest.Wait()
			require.Equal(t, 2, b.seen.last(t).Retransmits)
		})
	})
	t.Run("others end it", func(t *testing.T) {
		inMemory(t, with(syscall.EMSGSIZE, 1), func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("three", "octet"))
			c.expectError(CodeUndefined, "Internal error")
			synctest.Wait()
			require.ErrorIs(t, b.seen.last(t).Err, syscall.EMSGSIZE)
		})
	})
}
