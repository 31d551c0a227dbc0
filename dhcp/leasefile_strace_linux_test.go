package dhcp

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLeaseFileSyncsBeforeTheACK has strace watch a server: each ACK is sent after
// its record was written to a file, and after a sync of that file that began later
// was done. Of stores that do not sync, the same judge says so.
func TestLeaseFileSyncsBeforeTheACK(t *testing.T) {
	if problem := straceWorks(); problem != "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("in CI this test is not skipped: %s", problem)
		}
		t.Skip(problem)
	}
	for store, c := range map[string]struct{ problem string }{
		storeFile: {""}, storeUnsynced: {"not synced"}, storeMemory: {"not written"},
	} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			const relays, leases = 8, 6 // one lease for each machine, so that each has one record
			log := filepath.Join(t.TempDir(), "trace")
			p := startProcess(t, store, filepath.Join(t.TempDir(), "leases"),
				"strace", "-f", "-qq", "-xx", "-s", "70000", "-o", log, "-e", "trace="+straceCalls)
			require.True(t, p.until("serving"))
			var work sync.WaitGroup
			for i := range relays {
				r := newRelay(t)
				r.to = p.addr
				work.Go(func() {
					for j := range leases {
						if _, err := r.lease(nil, mac(i*leases+j)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			work.Wait()
			require.NoError(t, p.in.Close())
			require.False(t, p.until("what it never says"))
			require.NoError(t, p.Wait())
			trace, err := os.ReadFile(log)
			require.NoError(t, err)
			acks, problems := judgeTrace(string(trace))
			require.Equal(t, relays*leases, acks)
			if c.problem == "" {
				require.Empty(t, problems)
				require.Greater(t, p.made, 1, "compacted too")
				return
			}
			require.Len(t, problems, acks)
			for _, problem := range problems {
				require.Contains(t, problem, c.problem)
			}
		})
	}
}

// straceCalls are the calls by which data comes to files and to sockets. Those of
// no system are left out of none: strace knows them all.
const straceCalls = "write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,sync_file_range,close,sendto,sendmsg,sendmmsg,rename,renameat,renameat2"

// straceWorks says why processes cannot be watched here; "": they can.
func straceWorks() string {
	if _, err := exec.LookPath("strace"); err != nil {
		return "strace is missing: install the package strace"
	}
	if out, err := exec.Command("strace", "-qq", "-o", os.DevNull, os.Args[0], "-test.run=^$").CombinedOutput(); err != nil {
		return fmt.Sprintf("strace may not watch processes here: %v: %s", err, out)
	}
	return ""
}

// leaseKey is a lease by who has it.
type leaseKey struct {
	a  netip.Addr
	hw string
}

// traceJudge goes through what a process did. A call takes effect, as far as others
// may rely on it, when it returns; what it works on is what was there when it began.
type traceJudge struct {
	begun    map[string]string            // calls that have not returned, by thread
	syncing  map[string]map[leaseKey]bool // by thread: what was written before it began to sync
	written  map[string]map[leaseKey]bool // by file: what is not on disk
	seen     map[leaseKey]bool            // what was written at all
	durable  map[leaseKey]bool
	replaced bool // a name that has changed is not on disk
	acks     int
	problems []string
}

// judgeTrace reads what strace -f -xx wrote, and returns how many ACKs there are
// and what is wrong with them.
func judgeTrace(trace string) (acks int, problems []string) {
	j := &traceJudge{begun: map[string]string{}, syncing: map[string]map[leaseKey]bool{},
		written: map[string]map[leaseKey]bool{}, seen: map[leaseKey]bool{}, durable: map[leaseKey]bool{}}
	lines := bufio.NewScanner(strings.NewReader(trace))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		thread, call, ok := strings.Cut(lines.Text(), " ")
		call = strings.TrimLeft(call, " ")
		switch begun, unfinished := strings.CutSuffix(call, " <unfinished ...>"); {
		case !ok || strings.HasPrefix(call, "---") || strings.HasPrefix(call, "+++"):
		case unfinished:
			j.begun[thread] = begun
			j.begin(thread, begun)
		case strings.HasPrefix(call, "<... "):
			j.end(thread, j.begun[thread], !strings.Contains(call, "= -1 "))
		default:
			j.begin(thread, call)
			j.end(thread, call, !strings.Contains(call, "= -1 "))
		}
	}
	return j.acks, j.problems
}

// callOf are the name of a call and its first argument, which is mostly a file.
var callOf = regexp.MustCompile(`^(\w+)\(([^,)]*)`)

func (j *traceJudge) begin(thread, call string) {
	m := callOf.FindStringSubmatch(call)
	switch m[1] {
	case "sendto", "sendmsg", "sendmmsg":
		for _, b := range dataOf(call) {
			j.sends(b)
		}
	case "fsync", "fdatasync":
		j.syncing[thread] = make(map[leaseKey]bool)
		for key := range j.written[m[2]] {
			j.syncing[thread][key] = true
		}
	}
}

func (j *traceJudge) end(thread, call string, worked bool) {
	m := callOf.FindStringSubmatch(call)
	switch {
	case !worked:
	case m[1] == "fsync" || m[1] == "fdatasync":
		for key := range j.syncing[thread] {
			j.durable[key] = true
			delete(j.written[m[2]], key)
		}
		if m[1] == "fsync" {
			j.replaced = false
		}
	case m[1] == "close":
		delete(j.written, m[2])
	case strings.HasPrefix(m[1], "rename"):
		j.replaced = true
	case strings.Contains(m[1], "write"):
		for _, key := range recordsIn(bytes.Join(dataOf(call), nil)) {
			if j.replaced {
				j.problems = append(j.problems, fmt.Sprintf("%s is written to a file whose name is not on disk", key.a))
			}
			if j.written[m[2]] == nil {
				j.written[m[2]] = map[leaseKey]bool{}
			}
			j.written[m[2]][key], j.seen[key] = true, true
		}
	}
}

// sends judges a datagram.
func (j *traceJudge) sends(b []byte) {
	if len(b) < offsetOptions || b[0] != 2 || !bytes.Contains(b[offsetOptions:], []byte{53, 1, 5}) {
		return
	}
	j.acks++
	a, _ := netip.AddrFromSlice(b[16:20])
	key := leaseKey{a, net.HardwareAddr(b[offsetChaddr : offsetChaddr+6]).String()}
	if j.durable[key] {
		return
	}
	what := "written"
	if j.seen[key] {
		what = "synced"
	}
	j.problems = append(j.problems, fmt.Sprintf("%s of %s is acknowledged and not %s", key.a, key.hw, what))
}

var quoted = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})+)"`)

// dataOf are the strings in a call.
func dataOf(call string) (all [][]byte) {
	for _, m := range quoted.FindAllStringSubmatch(call, -1) {
		b, err := hex.DecodeString(strings.ReplaceAll(m[1], `\x`, ""))
		if err == nil {
			all = append(all, b)
		}
	}
	return all
}

// recordsIn are the leases in frames of a lease file.
func recordsIn(p []byte) (keys []leaseKey) {
	for len(p) > frameHeaderLen && p[0] == frameBegin {
		n := int(p[1]) | int(p[2])<<8 | int(p[3])<<16
		if n < 1 || len(p) < frameHeaderLen+n {
			return keys
		}
		body := p[frameHeaderLen : frameHeaderLen+n-1]
		p = p[frameHeaderLen+n:]
		for len(body) > 0 {
			a, n, err := scanRecord(body)
			if err != nil {
				return keys
			}
			if body[0] == recordBinding {
				keys = append(keys, leaseKey{a, decodeBinding(string(body[:n])).HW.String()})
			}
			body = body[n:]
		}
	}
	return keys
}

// TestJudgeTrace: the judge itself, by traces that are right and wrong by one line.
func TestJudgeTrace(t *testing.T) {
	hexed := func(b []byte) string {
		return fmt.Sprintf("\"%s\"", regexp.MustCompile("..").ReplaceAllString(hex.EncodeToString(b), `\x$0`))
	}
	b := boundTo(1)
	record := &growing{}
	l := leaseLog{file: record}
	require.NoError(t, l.append(appendBinding(nil, b, 1)))
	reply := make([]byte, offsetOptions, 300)
	reply[0] = 2
	copy(reply[16:], b.Addr.Addr().AsSlice())
	copy(reply[offsetChaddr:], b.HW)
	ack := fmt.Sprintf(`9 sendto(3, %s, 300, 0, {sa_family=AF_INET}, 16) = 300`, hexed(append(reply, 53, 1, 5, 255)))
	write := fmt.Sprintf(`7 pwrite64(6, %s, 90, 40) = 90`, hexed(record.p))
	const sync, begins, ends = `7 fdatasync(6) = 0`, `8 fdatasync(6 <unfinished ...>`, `8 <... fdatasync resumed>) = 0`
	for name, c := range map[string]struct {
		lines   []string
		problem string
	}{
		"in order":                         {[]string{write, sync, ack}, ""},
		"the sync takes a while":           {[]string{write, begins, ends, ack}, ""},
		"no write":                         {[]string{sync, ack}, "not written"},
		"no sync":                          {[]string{write, ack}, "not synced"},
		"synced later":                     {[]string{write, ack, sync}, "not synced"},
		"still syncing":                    {[]string{write, begins, ack, ends}, "not synced"},
		"the sync began before":            {[]string{begins, write, ends, ack}, "not synced"},
		"the sync failed":                  {[]string{write, `7 fdatasync(6) = -1 EIO (Input/output error)`, ack}, "not synced"},
		"another file was synced":          {[]string{write, `7 fdatasync(5) = 0`, ack}, "not synced"},
		"the file was closed":              {[]string{write, `7 close(6) = 0`, sync, ack}, "not synced"},
		"a new name was not synced":        {[]string{`7 renameat(AT_FDCWD, "a", AT_FDCWD, "b") = 0`, write, sync, ack}, "whose name"},
		"a new name was synced":            {[]string{`7 renameat(AT_FDCWD, "a", AT_FDCWD, "b") = 0`, `7 fsync(8) = 0`, write, sync, ack}, ""},
		"something else was sent, unknown": {[]string{`9 sendto(3, "\x01", 1, 0, NULL, 0) = 1`, write, sync, ack}, ""},
	} {
		acks, problems := judgeTrace(strings.Join(c.lines, "\n"))
		require.Equal(t, 1, acks, name)
		if c.problem == "" {
			require.Empty(t, problems, name)
			continue
		}
		require.Len(t, problems, 1, name)
		require.Contains(t, problems[0], c.problem, name)
	}
}
