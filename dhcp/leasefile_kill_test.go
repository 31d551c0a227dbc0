package dhcp

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	killFileEnv   = "PXEKIT_KILL_LEASE_FILE" // the child's file
	killRoundsEnv = "PXEKIT_KILL_ROUNDS"     // how often it is killed
	killClients   = 16
)

// TestLeaseFileKilledChild is the process that is killed: clients that claim
// addresses, from those that others have too, and say so once they have them.
func TestLeaseFileKilledChild(t *testing.T) {
	path := os.Getenv(killFileEnv)
	if path == "" {
		return // this is no child of TestLeaseFileKilled
	}
	f, err := OpenLeaseFile(path)
	require.NoError(t, err)
	f.growth = 20 << 10 // compacted all the time
	for c := range killClients {
		go func() {
			for {
				b := boundTo(rand.IntN(300))
				b.HW = mac(c)
				if old, err := f.ByAddr(t.Context(), b.Addr.Addr()); err == nil {
					b.Version = old.Version
				}
				if got, err := f.Claim(t.Context(), b); err == nil {
					fmt.Fprintf(os.Stdout, "acked %s %d %d\n", got.Addr.Addr(), got.Version, c)
				}
			}
		}()
	}
	_, _ = os.Stdin.Read(make([]byte, 1)) // until it is killed, or its parent is
}

// TestLeaseFileKilled kills a process in the middle of its work, again and
// again. Every lease that it acknowledged is there, and no version of an address
// has been given to two. 50 rounds, or as many as PXEKIT_KILL_ROUNDS says.
func TestLeaseFileKilled(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 5
	}
	if s := os.Getenv(killRoundsEnv); s != "" {
		var err error
		rounds, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	path := filepath.Join(t.TempDir(), "leases")
	rnd := rand.New(rand.NewPCG(8, 9))
	type ack struct {
		version uint64
		client  int
	}
	last := map[netip.Addr]ack{}
	given := map[uint64]int{} // versions to clients
	cut := 0
	for round := range rounds {
		child := exec.Command(os.Args[0], "-test.run=^TestLeaseFileKilledChild$")
		child.Env = append(os.Environ(), killFileEnv+"="+path)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		in, err := child.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		lines, killAt := 0, 1+rnd.IntN(500)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			var text string
			var a ack
			if n, _ := fmt.Sscanf(scanner.Text(), "acked %s %d %d", &text, &a.version, &a.client); n != 3 {
				t.Log(scanner.Text()) // what the test framework says
				continue
			}
			who, twice := given[a.version]
			require.False(t, twice, "round %d: version %d to clients %d and %d", round, a.version, who, a.client)
			given[a.version] = a.client
			if at := addr(text); a.version > last[at].version {
				last[at] = a
			}
			if lines++; lines == killAt {
				require.NoError(t, child.Process.Kill())
			}
		}
		_ = child.Wait() // it was killed
		_ = in.Close()
		require.GreaterOrEqual(t, lines, killAt, "round %d: the child ended by itself", round)

		f := openLeases(t, path)
		if f.Discarded() > 0 {
			cut++
		}
		for at, a := range last {
			b, err := f.ByAddr(t.Context(), at)
			require.NoError(t, err, "round %d: %s was acknowledged", round, at)
			require.GreaterOrEqual(t, b.Version, a.version, "round %d: %s", round, at)
			if b.Version == a.version {
				require.Equal(t, mac(a.client), b.HW, "round %d: %s", round, at)
			}
		}
		for _, b := range bindings(t, f) {
			last[b.Addr.Addr()] = ack{b.Version, int(b.HW[5])} // what is there now stays
		}
		require.NoError(t, f.Close())
	}
	t.Logf("%d rounds, %d leases acknowledged, %d appends were cut short", rounds, len(given), cut)
}
