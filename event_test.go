package pxe

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp"
)

func TestAnEventIsOneLineAndOneFlatObject(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	e := Event{
		Time: at, Boot: "abcdefghijklm", Machine: mac(1), Addr: netip.MustParseAddr("192.0.2.100"),
		Stage: StageKernel, Name: "sysresccd/boot/x86_64/vmlinuz", Via: "http", Bytes: 10, Size: 10, Done: true,
	}
	require.Equal(t, "03:04:05.678 02:00:00:00:00:01 boot=abcdefghijklm kernel sysresccd/boot/x86_64/vmlinuz addr=192.0.2.100 via=http bytes=10 size=10 done", e.String())
	got, err := json.Marshal(e)
	require.NoError(t, err)
	require.JSONEq(t, `{"time":"2026-01-02T03:04:05.678Z","boot":"abcdefghijklm","machine":"02:00:00:00:00:01",
		"addr":"192.0.2.100","stage":"kernel","name":"sysresccd/boot/x86_64/vmlinuz","via":"http","bytes":10,"size":10,"done":true}`, string(got))

	got, err = json.Marshal(Event{Time: at, Stage: StageOffer, Name: "pxe", Via: "dhcp", Style: dhcp.StyleClass | dhcp.StyleDirect, Done: true})
	require.NoError(t, err)
	require.JSONEq(t, `{"time":"2026-01-02T03:04:05.678Z","stage":"offer","name":"pxe","via":"dhcp","style":"class+direct","done":true}`, string(got))

	got, err = json.Marshal(Event{Time: at, Stage: StageDrop, Drop: "malformed", Err: errors.New("too short")})
	require.NoError(t, err)
	require.JSONEq(t, `{"time":"2026-01-02T03:04:05.678Z","stage":"drop","drop":"malformed","error":"too short"}`, string(got))
}

func TestAnEventsLineSaysWhatPeopleLookFor(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	missing := &fs.PathError{Op: "open", Path: "grub/fs.lst", Err: fs.ErrNotExist}
	for want, e := range map[string]Event{
		"offer pxe style=class+direct done": {Stage: StageOffer, Name: "pxe", Via: "dhcp", Style: dhcp.StyleClass | dhcp.StyleDirect, Done: true},
		"offer ipxe done":                   {Stage: StageOffer, Name: "ipxe", Via: "dhcp", Done: true},
		"kernel k via=http size=9":          {Stage: StageKernel, Name: "k", Via: "http", Size: 9},
		"kernel k via=http bytes=4 size=9":  {Stage: StageKernel, Name: "k", Via: "http", Bytes: 4, Size: 9},
		`loader l via=tftp bytes=0 not-found="open grub/fs.lst: file does not exist"`: {Stage: StageLoader, Name: "l", Via: "tftp", Size: -1, Done: true, Err: missing},
		`booter error="open inventory: file does not exist"`:                          {Stage: StageBooter, Done: true, Err: &fs.PathError{Op: "open", Path: "inventory", Err: fs.ErrNotExist}},
		`loader l via=tftp bytes=0 error="too late"`:                                  {Stage: StageLoader, Name: "l", Via: "tftp", Size: -1, Done: true, Err: errors.New("too late")},
	} {
		e.Time = at
		require.Equal(t, "03:04:05.678 "+want, e.String())
	}
}

func TestWhatAClientSentCannotForgeAnEventsLine(t *testing.T) {
	marker := "a\n12:00:00.000 02:00:00:00:00:09 root done \"\x1b[2J boot=x"
	line := Event{Stage: StageFile, Name: marker, Err: errors.New(marker), Size: -1}.String()
	require.NotContains(t, line, "\n")
	require.NotContains(t, line, "\x1b")
	require.Equal(t, 1, strings.Count(line, " file "), "%s", line)
}
