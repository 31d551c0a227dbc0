package pxe_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

// stutter is a socket that receives messages again, some of them after later ones.
type stutter struct {
	*pxetest.PacketConn
	random *rand.Rand
	past   []datagram
}

type datagram struct {
	p      []byte
	from   netip.AddrPort
	to     netip.Addr
	ifname string
}

func (s *stutter) ReadFromLocal(p []byte) (int, netip.AddrPort, netip.Addr, string, error) {
	if len(s.past) > 0 && s.random.IntN(2) == 0 {
		d := s.past[s.random.IntN(len(s.past))]
		return copy(p, d.p), d.from, d.to, d.ifname, nil
	}
	n, from, to, ifname, err := s.PacketConn.ReadFromLocal(p)
	if err == nil {
		s.past = append(s.past, datagram{append([]byte(nil), p[:n]...), from, to, ifname})
		s.past = s.past[max(0, len(s.past)-4):]
	}
	return n, from, to, ifname, err
}

// onceServer boots what is marked once and has nothing for others.
func onceServer(events *recorder) (*pxe.Server, *pxe.BootOnce) {
	srv := rescueServer(events)
	once := &pxe.BootOnce{Once: srv.Booter}
	srv.Booter = once
	return srv, once
}

func TestAMarkedMachineBootsExactlyOnce(t *testing.T) {
	for _, firmware := range []pxetest.Firmware{pxetest.BIOSPXE, pxetest.UEFIx64, pxetest.IPXEROM} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprint(firmware, seed), func(t *testing.T) {
				var events recorder
				srv, once := onceServer(&events)
				synctest.Test(t, func(t *testing.T) {
					segment := newSegment(t)
					sockets := pxe.Sockets(segment.Sockets("192.0.2.1/24"))
					sockets.DHCP = &stutter{PacketConn: sockets.DHCP.(*pxetest.PacketConn), random: rand.New(rand.NewPCG(seed, 0))}
					served := make(chan error, 1)
					go func() { served <- srv.Serve(sockets) }()
					machine := segment.Machine("02:00:00:00:00:01", firmware)
					require.NoError(t, once.Mark(t.Context(), machine.HardwareAddr, time.Time{}))

					boot, err := machine.Boot(t.Context())
					require.NoError(t, err)
					require.True(t, boot.Root.Verified)
					synctest.Wait() // the server has written all before it has noted all
					_, marked, err := once.Marked(t.Context(), machine.HardwareAddr)
					require.NoError(t, err)
					require.False(t, marked, "used up")

					for range 2 {
						time.Sleep(10 * time.Second)
						boot, err = machine.Boot(t.Context())
						require.Error(t, err)
						require.Empty(t, boot.Loader)
					}
					require.NoError(t, srv.Close())
					require.ErrorIs(t, <-served, pxe.ErrServerClosed)
				})
			})
		}
	}
}

func TestAMachineThatFailedBeforeItHadItsKernelTriesAgain(t *testing.T) {
	var events recorder
	srv, once := onceServer(&events)
	files := medium()
	kernel := files["sysresccd/boot/x86_64/vmlinuz"]
	delete(files, "sysresccd/boot/x86_64/vmlinuz")
	srv.Files = files
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		machine := segment.Machine("02:00:00:00:00:01", pxetest.BIOSPXE)
		require.NoError(t, once.Mark(t.Context(), machine.HardwareAddr, time.Time{}))
		_, err := machine.Boot(t.Context())
		require.Error(t, err, "the kernel is missing")
		mark, marked, err := once.Marked(t.Context(), machine.HardwareAddr)
		require.NoError(t, err)
		require.True(t, marked)
		require.NotEmpty(t, mark.Boot, "claimed")

		files["sysresccd/boot/x86_64/vmlinuz"] = kernel
		_, err = machine.Boot(t.Context())
		require.NoError(t, err)
		synctest.Wait() // the server has written all before it has noted all
		_, marked, err = once.Marked(t.Context(), machine.HardwareAddr)
		require.NoError(t, err)
		require.False(t, marked)
	})
}

func TestAMarkEnds(t *testing.T) {
	var events recorder
	srv, once := onceServer(&events)
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		machine := segment.Machine("02:00:00:00:00:01", pxetest.BIOSPXE)
		require.NoError(t, once.Mark(t.Context(), machine.HardwareAddr, time.Now().Add(time.Hour)))
		time.Sleep(2 * time.Hour)
		boot, err := machine.Boot(t.Context())
		require.Error(t, err)
		require.Empty(t, boot.Loader)
		require.NoError(t, once.Mark(t.Context(), machine.HardwareAddr, time.Now().Add(time.Hour)))
		require.NoError(t, once.Unmark(t.Context(), machine.HardwareAddr))
		_, err = machine.Boot(t.Context())
		require.Error(t, err)
	})
}

// Two servers that share marks hear the same machine: it is given what is marked, and
// nothing of the mark is left when it has fetched it.
func TestAMarkIsUsedUpWhoeverClaimedItLast(t *testing.T) {
	shared := &pxe.MemoryMarks{}
	hw := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for range 200 {
		a, b := &pxe.BootOnce{Once: pxe.SystemRescue{}, Marks: shared}, &pxe.BootOnce{Once: pxe.SystemRescue{}, Marks: shared}
		require.NoError(t, a.Mark(t.Context(), hw, time.Time{}))
		var given atomic.Int32
		var wg sync.WaitGroup
		for i, once := range []*pxe.BootOnce{a, b} {
			wg.Go(func() {
				m := &pxe.Machine{HardwareAddr: hw, BootID: fmt.Sprint(i)}
				// SystemRescue without a Root is an error: that of who has the claim.
				if _, err := once.Boot(t.Context(), m); err != nil {
					given.Add(1)
				}
				if err := once.Booted(t.Context(), m); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.Positive(t, given.Load())
		_, marked, err := b.Marked(t.Context(), hw)
		require.NoError(t, err)
		require.False(t, marked)
	}
}

// brokenMarks fails when a mark is to be changed, or always says that it has been.
type brokenMarks struct {
	pxe.MemoryMarks
	err error
}

func (s *brokenMarks) Swap(ctx context.Context, hw net.HardwareAddr, old, new *pxe.Mark) error {
	if s.err != nil {
		return s.err
	}
	return s.MemoryMarks.Swap(ctx, hw, old, new)
}

func TestAMachineIsNotGivenWhatCannotBeClaimed(t *testing.T) {
	for _, err := range []error{errors.New("no space left"), pxe.ErrMarkChanged} {
		var events recorder
		srv, once := onceServer(&events)
		marks := &brokenMarks{}
		once.Marks = marks
		on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
			machine := segment.Machine("02:00:00:00:00:01", pxetest.BIOSPXE)
			require.NoError(t, once.Mark(t.Context(), machine.HardwareAddr, time.Time{}))
			marks.err = err
			_, bootErr := machine.Boot(t.Context())
			require.Error(t, bootErr)
			require.ErrorIs(t, once.Mark(t.Context(), machine.HardwareAddr, time.Time{}), err)
		})
		said := false
		for _, e := range events.all() {
			said = said || e.Stage == pxe.StageBooter && errors.Is(e.Err, err)
		}
		require.True(t, said, "the operator learns why")
	}
}

func TestAMachineIsSentOnToItsLocalDisk(t *testing.T) {
	for _, firmware := range []pxetest.Firmware{pxetest.BIOSPXE, pxetest.IPXEROM, pxetest.UEFIx64, pxetest.UEFIx64HTTP} {
		var events recorder
		srv, once := onceServer(&events)
		once.Otherwise = pxe.LocalDisk{}
		on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
			machine := segment.Machine("02:00:00:00:00:01", firmware)
			require.NoError(t, once.Mark(t.Context(), machine.HardwareAddr, time.Time{}))
			boot, err := machine.Boot(t.Context())
			require.NoError(t, err, firmware)
			require.False(t, boot.Local)
			synctest.Wait() // the server has written all before it has noted all
			boot, err = machine.Boot(t.Context())
			require.NoError(t, err, firmware)
			require.True(t, boot.Local, firmware)
		})
	}
}

func TestBootOnceNeedsSomethingToBoot(t *testing.T) {
	srv := onLoopback()
	srv.Booter = &pxe.BootOnce{}
	require.ErrorContains(t, srv.Validate(), "BootOnce without Once")
	srv.Booter = &pxe.BootOnce{Once: pxe.SystemRescue{}}
	require.ErrorContains(t, srv.Validate(), "root file system", "what it would boot is checked too")
}
