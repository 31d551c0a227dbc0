package rootfs

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// ErrBusy is the reason when a download was refused with status 503 because of
// [Limits].Downloads.
var ErrBusy = errors.New("rootfs: too many downloads at once")

// Limits keep a boot storm in order. The zero value sets none: one machine then
// has as much of the network as TCP gives it, and so have a thousand.
//
// They are about downloads, that is, answers with a body of 4 MiB or more:
// kernels, initramfs images and root file systems. What is smaller goes ahead of
// them (boot loaders, their configurations, checksums, the one-byte range by which
// initramfs scripts look for a file), so a machine gets as far as its menu
// whatever goes on around it.
//
// Clients are told apart by IP address as net/http reports it: behind a reverse
// proxy or address translation all are one.
type Limits struct {
	// Rate is how many bytes of files a second leave altogether. Downloads have
	// equal shares of it, piece by piece (64 to 256 KiB); small answers go ahead
	// of them, by as much as leaves in a second. Zero or less: no limit.
	Rate int64

	// ClientRate is how many bytes of files a second leave to one client, over
	// all its connections and small answers too. Zero or less: no limit.
	ClientRate int64

	// Downloads is how many downloads run at once. Others wait until one is
	// over, in the order in which they came. Zero or less: no limit.
	//
	// They wait, instead of being sent away at once, since few clients come
	// back: iPXE heeds status 503 with Retry-After, and so does curl with
	// --retry, as dracut calls it; but the curl of archiso and SystemRescue and
	// the wget of live-boot take any 503 for the end of the boot, and drop to a
	// rescue shell. All of them wait for an answer as long as the connection
	// lives. EDK2's HTTP boot does not, but only for some seconds; what it
	// loads first is small.
	Downloads int

	// ClientDownloads is how many downloads of one client run and wait at once,
	// where Downloads is set; more get a 503 with Retry-After. Zero means 16: a
	// machine has one or two. Raise it where many machines share an address.
	// Negative: no limit.
	ClientDownloads int

	// Wait is how long a download may wait; then it gets a 503 with Retry-After.
	// Zero: as long as the client does, and it may be hours for the last of a
	// storm. Negative: it does not wait at all. No more than 1,024 downloads
	// wait, whatever this says: a waiting one holds a connection with its memory
	// (some 20 KiB), and the file that it has opened.
	Wait time.Duration
}

// downloadSize is the least body that counts as a download. The largest boot
// loaders (GRUB with its modules) are below it, the smallest kernels above.
const downloadSize = 4 << 20

// paidPiece is the most and the least that is sent at a time under a rate: small
// enough that a thousand downloads take turns, large enough that the turns of a
// fast network are not too many for timers.
const (
	leastPaid = pieceSize
	mostPaid  = 256 << 10
)

// busyRetryAfter is when a client that was sent away is to come back, in
// seconds. It differs, or all that were sent away would come back together.
func busyRetryAfter() string { return strconv.Itoa(5 + rand.IntN(11)) }

// defaultClientDownloads is the ClientDownloads that zero means.
const defaultClientDownloads = 16

// smallAhead is how far small answers may be ahead of the rate. It bounds what
// they can keep from the downloads behind them.
const smallAhead = time.Second

// permit is what one answer has of the limits. The zero value has none, and
// nothing to leave.
type permit struct {
	files  *Files
	ctx    context.Context
	remote netip.Addr
	small  bool // no download
	placed bool // has a place among Downloads
	client *client
	piece  int64 // how much to pay for at a time
}

// enter waits until an answer with a body of the given length may begin. It
// fails with ErrBusy, or with the context's error when the client went away.
func (p *permit) enter(files *Files, r *http.Request, length int64) error {
	limits := &files.Limits
	p.files, p.ctx, p.small, p.piece = files, r.Context(), length < downloadSize, sendfilePiece
	remote, _ := netip.ParseAddrPort(r.RemoteAddr)
	p.remote = remote.Addr().Unmap()
	if limits.Downloads > 0 && !p.small {
		share := limits.ClientDownloads
		switch {
		case share == 0:
			share = defaultClientDownloads
		case share < 0:
			share = math.MaxInt
		}
		if err := files.line.enter(p.ctx, p.remote, limits.Downloads, share, limits.Wait); err != nil {
			return err
		}
		p.placed = true
	}
	slowest := int64(math.MaxInt64)
	if limits.Rate > 0 {
		slowest = limits.Rate
	}
	if limits.ClientRate > 0 {
		slowest = min(slowest, limits.ClientRate)
		p.client = files.clients.enter(p.remote)
	}
	if slowest < math.MaxInt64 {
		p.piece = min(max(slowest/64, leastPaid), mostPaid)
	}
	return nil
}

// pay waits until n more bytes may be sent. It fails when the client is gone.
func (p *permit) pay(n int64) error {
	if p.client != nil {
		if err := p.client.clock.pay(p.ctx, n, p.files.Limits.ClientRate, 0); err != nil {
			return err
		}
	}
	if p.files == nil || p.files.Limits.Rate <= 0 {
		return nil
	}
	ahead := time.Duration(0)
	if p.small {
		ahead = smallAhead
	}
	return p.files.pace.pay(p.ctx, n, p.files.Limits.Rate, ahead)
}

// leave gives everything back.
func (p *permit) leave() {
	if p.placed {
		p.files.line.leave(p.remote)
	}
	if p.client != nil {
		p.files.clients.leave(p.client)
	}
}

// shortest is the shortest time worth sleeping; timers are no more precise. The
// next piece waits for this one too, so nothing is lost.
const shortest = time.Millisecond

// sleep waits for d, or until the client is gone. A client that has closed its
// side of the connection for writing counts as gone: none that boots does.
func sleep(ctx context.Context, d time.Duration) error {
	if d < shortest {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
