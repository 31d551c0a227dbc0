package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/pojntfx/go-nbd/pkg/backend"
	"github.com/stretchr/testify/require"
)

func TestN008_ExportName(t *testing.T) {
	s := disk()
	s.Exports = append(s.Exports, exportOf("", ReaderAt(pattern{}, 77)))
	addr := start(t, s)
	for name, size := range map[string]int{"disk": diskSize, "": 77} {
		c := connect(t, addr)
		c.put(option(oExportName, []byte(name)...))
		p := c.take(10)
		require.EqualValues(t, size, binary.BigEndian.Uint64(p))
		require.EqualValues(t, 1|2|4|1<<8|1<<10, binary.BigEndian.Uint16(p[8:]))
		data, errno := c.read(false, 7, 70)
		require.Zero(t, errno)
		require.Equal(t, patternBytes(7, 70), data)
	}
	for _, name := range []string{"disc", "disk ", "DISK", "dis", "/disk"} {
		c := connect(t, addr)
		c.put(option(oExportName, []byte(name)...))
		c.requireClosed()
	}
	require.Eventually(t, func() bool { return s.Drops()[DropUnknownExport] == 5 }, patience, time.Millisecond)
}

func TestN009_Abort(t *testing.T) {
	s := disk()
	addr := start(t, s)
	for _, data := range [][]byte{nil, []byte("goodbye"), make([]byte, 1000)} {
		c := connect(t, addr)
		c.put(option(oAbort, data...))
		require.Equal(t, reply{rACK, []byte{}}, c.reply(oAbort))
		c.requireClosed()
	}
	c := connect(t, addr)
	c.put(binary.BigEndian.AppendUint32(option(oAbort)[:12], 1<<32-1)) // data that never comes
	require.EqualValues(t, rACK, c.reply(oAbort).kind)
	c.requireClosed()
	requireServes(t, addr)
	require.Empty(t, s.Drops(), "an ABORT is no drop")
}

func TestN010_List(t *testing.T) {
	s := &Server{Exports: []Export{
		exportOf("", ReaderAt(pattern{}, 1)), exportOf("archiso", ReaderAt(pattern{}, 2)), exportOf("RESCUE1200", ReaderAt(pattern{}, 3)),
	}}
	s.Exports[1].Description = "the medium"
	c := connect(t, start(t, s))
	require.EqualValues(t, rInvalid, c.ask(oList, 0))
	require.EqualValues(t, rInvalid, c.ask(oList, naming("archiso")...))
	c.put(option(oList))
	got, last := c.replies(oList)
	require.EqualValues(t, rACK, last)
	require.Equal(t, []reply{
		{rServer, []byte("\x00\x00\x00\x00")},
		{rServer, []byte("\x00\x00\x00\x07archisothe medium")},
		{rServer, []byte("\x00\x00\x00\x0aRESCUE1200")},
	}, got)
}

func TestN013_InfoAndGoAddUp(t *testing.T) {
	s := disk()
	c := connect(t, start(t, s))
	good := naming("disk", 0, 3)
	patched := func(at int, p ...byte) []byte {
		return append(append(slices.Clone(good[:at]), p...), good[at+len(p):]...)
	}
	bad := map[string][]byte{
		"empty":                       {},
		"five bytes":                  good[:5],
		"cut in the name":             good[:7],
		"cut before the count":        good[:8],
		"cut in the count":            good[:9],
		"cut in the requests":         good[:len(good)-1],
		"a request missing":           good[:len(good)-2],
		"a byte more":                 append(slices.Clone(good), 0),
		"a request more":              append(slices.Clone(good), 0, 0),
		"name longer than the option": patched(0, 0, 0, 0, 9),
		"name of 4 GiB":               patched(0, 255, 255, 255, 255),
		"name of 4 GiB less 6":        patched(0, 255, 255, 255, 250),
		"name shorter":                patched(0, 0, 0, 0, 3),
		"count of 65535":              patched(8, 255, 255),
		"count of 0":                  patched(8, 0, 0),
	}
	for name, data := range bad {
		require.EqualValues(t, rInvalid, c.ask(oInfo, data...), name)
		require.EqualValues(t, rInvalid, c.ask(oGo, data...), name)
	}
	require.EqualValues(t, rUnknown, c.ask(oInfo, naming("nothing")...))
	require.EqualValues(t, rUnknown, c.ask(oGo, naming("nothing", 3, 3)...))
	require.EqualValues(t, 2, s.Drops()[DropUnknownExport])

	// Unknown requests and repeated ones change nothing, however many.
	many := make([]uint16, 30000)
	for i := range many {
		many[i] = uint16(4 + i)
	}
	c.put(option(oGo, naming("disk", many...)...))
	infos, last := c.replies(oGo)
	require.EqualValues(t, rACK, last)
	require.Len(t, infos, 1)
	c.alive(false)
}

func TestN014_InfoThenGo(t *testing.T) {
	s := disk()
	s.Exports[0].Description = "a disk"
	c := connect(t, start(t, s))
	ask := func(id uint32) []reply {
		c.put(option(id, naming("disk", 1, 2, 3, 3, 9999, 0)...))
		infos, last := c.replies(id)
		require.EqualValues(t, rACK, last)
		return infos
	}
	first := ask(oInfo)
	require.Len(t, first, 4)
	size, flags := exportInfo(t, first[0])
	require.EqualValues(t, diskSize, size)
	require.EqualValues(t, 1|2|4|1<<8|1<<10, flags)
	require.Equal(t, reply{rInfo, []byte("\x00\x01disk")}, first[1])
	require.Equal(t, reply{rInfo, []byte("\x00\x02a disk")}, first[2])
	require.Len(t, first[3].data, 14)
	require.Equal(t, first, ask(oInfo))
	require.Equal(t, first, ask(oGo))
	c.alive(false) // no zeroes in between
}

func TestN014_GoAfterAnotherInfo(t *testing.T) {
	var opened []string
	s := &Server{Find: func(_ context.Context, name string) (*Export, error) {
		if name == "none" {
			return nil, nil
		}
		e := exportOf(name, ReaderAt(pattern{}, int64(len(name))))
		opened = append(opened, name)
		return &e, nil
	}}
	c := connect(t, start(t, s))
	require.EqualValues(t, rACK, c.ask(oInfo, naming("one")...))
	require.EqualValues(t, rUnknown, c.ask(oGo, naming("none")...), "not the export of the INFO")
	require.EqualValues(t, rACK, c.ask(oInfo, naming("three")...))
	size, _ := c.open("three")
	require.EqualValues(t, 5, size)
	require.Equal(t, []string{"one", "three"}, opened, "a GO takes what the INFO opened")
}

func TestN015_BlockSizes(t *testing.T) {
	s := disk()
	c := connect(t, start(t, s))
	c.put(option(oInfo, naming("disk", 3)...))
	infos, last := c.replies(oInfo)
	require.EqualValues(t, rACK, last)
	require.Len(t, infos, 2)
	p := infos[1].data
	require.EqualValues(t, 3, binary.BigEndian.Uint16(p))
	least, preferred, most := binary.BigEndian.Uint32(p[2:]), binary.BigEndian.Uint32(p[6:]), binary.BigEndian.Uint32(p[10:])
	require.EqualValues(t, 1, least, "so that no client needs to ask")
	require.Zero(t, preferred&(preferred-1))
	require.GreaterOrEqual(t, preferred, uint32(512))
	require.EqualValues(t, 32<<20, most)
	require.Zero(t, most%preferred)

	// A client that has not asked is not refused, and may read as it likes.
	c = session(t, start(t, disk()), false)
	data, errno := c.read(false, 3, 1)
	require.Zero(t, errno)
	require.Equal(t, patternBytes(3, 1), data)
}

func TestN016_StructuredReply(t *testing.T) {
	addr := start(t, disk())
	c := connect(t, addr)
	require.EqualValues(t, rInvalid, c.ask(oStructured, 0))
	require.EqualValues(t, rInvalid, c.ask(oStructured, make([]byte, 100)...))
	c.open("disk")
	c.alive(false)

	c = connect(t, addr)
	require.EqualValues(t, rACK, c.ask(oStructured))
	require.EqualValues(t, rACK, c.ask(oStructured), "again is no harm")
	c.open("disk")
	for _, length := range []uint32{0, 1, 4096, 32 << 10, 256 << 10, 256<<10 + 1, 1 << 20} {
		data, errno := c.read(true, 100, length) // which fails on a simple reply
		require.Zero(t, errno)
		require.Equal(t, patternBytes(100, int(length)), data)
	}
	_, errno := c.read(true, diskSize, 1)
	require.EqualValues(t, eINVAL, errno)
}

// Meta contexts are not offered, whatever was negotiated and whatever lengths
// their parts claim.
func TestN017_MetaContextsAreNotOffered(t *testing.T) {
	query := append(naming("disk")[:8], 0, 0, 0, 1, 0, 0, 0, 15)
	query = append(query, "base:allocation"...)
	c := connect(t, start(t, disk()))
	for range 2 {
		for _, id := range []uint32{oListMeta, oSetMeta} {
			for cut := range len(query) + 1 {
				require.EqualValues(t, rUnsup, c.ask(id, query[:cut]...))
			}
			require.EqualValues(t, rUnsup, c.ask(id, append(slices.Clone(query), 0)...))
		}
		require.EqualValues(t, rACK, c.ask(oStructured))
	}
	_, flags := c.open("disk")
	require.Zero(t, flags&^(1|2|4|1<<7|1<<8|1<<10))
	c.put(command(0, kBlockStatus, 1, 0, 4096))
	_, errno := c.simple()
	require.EqualValues(t, eINVAL, errno)
	c.alive(true)
}

func TestN019_BackendIsOpenedWhenNamed(t *testing.T) {
	s, b := counted()
	s.Exports = append(s.Exports, exportOf("other", ReaderAt(pattern{}, 1)))
	addr := start(t, s)
	c := connect(t, addr)
	require.EqualValues(t, rACK, c.ask(oList))
	require.EqualValues(t, rACK, c.ask(oStructured))
	require.EqualValues(t, rUnknown, c.ask(oGo, naming("nothing")...))
	require.EqualValues(t, rInvalid, c.ask(oGo, naming("disk")[:9]...))
	require.EqualValues(t, rUnsup, c.ask(oSetMeta, naming("disk")...))
	require.Zero(t, b.opens.Load())
	require.EqualValues(t, rACK, c.ask(oInfo, naming("disk")...))
	require.EqualValues(t, rACK, c.ask(oInfo, naming("disk")...))
	require.EqualValues(t, 1, b.opens.Load())
	require.EqualValues(t, rACK, c.ask(oInfo, naming("other")...))
	require.EqualValues(t, 1, b.closes.Load(), "the client wants another")
	c.open("disk")
	c.alive(true)
	require.EqualValues(t, 2, b.opens.Load())
	require.EqualValues(t, 1, b.closes.Load())
	c.put(command(0, kDisc, 0, 0, 0))
	c.requireClosed()
	require.Eventually(t, func() bool { return b.closes.Load() == 2 }, patience, time.Millisecond)
}

func TestExportsThatDoNotOpen(t *testing.T) {
	broken := func(b backend.Backend, err error) Export {
		return Export{Name: "x", Open: func(context.Context) (backend.Backend, error) { return b, err }}
	}
	tests := []struct {
		name   string
		export Export
		kind   uint32
		reason DropReason
	}{
		{"gone", broken(nil, fmt.Errorf("/srv/image: %w", fs.ErrNotExist)), rUnknown, DropUnknownExport},
		{"forbidden", broken(nil, fmt.Errorf("/srv/image: %w", fs.ErrPermission)), rPolicy, DropUnavailable},
		{"broken", broken(nil, errBroken), rUnknown, DropUnavailable},
		{"neither", broken(nil, nil), rUnknown, DropUnavailable},
		{"negative size", broken(ReaderAt(pattern{}, -1), nil), rUnknown, DropUnavailable},
		{"size unknown", broken(sizeless{ReaderAt(pattern{}, 1)}, nil), rUnknown, DropUnavailable},
		{"no Open", Export{Name: "x"}, rUnknown, DropUnavailable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := disk()
			s.Find = func(context.Context, string) (*Export, error) { return &test.export, nil }
			addr := start(t, s)
			c := connect(t, addr)
			c.put(option(oGo, naming("x")...))
			require.Equal(t, reply{test.kind, []byte{}}, c.reply(oGo), "no word about why")
			c.open("disk")
			c.alive(false)

			old := connect(t, addr)
			old.put(option(oExportName, 'x'))
			old.requireClosed()
			require.Eventually(t, func() bool { return s.Drops()[test.reason] == 2 }, patience, time.Millisecond)
		})
	}
}

type sizeless struct{ backend.Backend }

func (sizeless) Size() (int64, error) { return 0, errBroken }

// What Find gives is described by what the client asked for if its own names
// cannot be sent.
func TestFind(t *testing.T) {
	s := disk()
	r := record(s)
	s.Find = func(_ context.Context, name string) (*Export, error) {
		switch name {
		case "archiso~17":
			e := exportOf("archiso", ReaderAt(pattern{}, diskSize))
			return &e, nil
		case "odd":
			e := exportOf("\xff", ReaderAt(pattern{}, diskSize))
			return &e, nil
		}
		return nil, errors.Join(errors.New("no"), fs.ErrNotExist)
	}
	c := connect(t, start(t, s))
	for asked, canonical := range map[string]string{"archiso~17": "archiso", "odd": "odd"} {
		c.put(option(oInfo, naming(asked, 1)...))
		infos, last := c.replies(oInfo)
		require.EqualValues(t, rACK, last)
		require.Equal(t, "\x00\x01"+canonical, string(infos[1].data))
	}
	require.EqualValues(t, rUnknown, c.ask(oGo, naming("archiso~18")...))
	c.open("archiso~17")
	c.put(command(0, kDisc, 0, 0, 0))
	c.requireClosed()
	require.Equal(t, Result{}, <-r.done)
	require.Equal(t, "archiso~17", r.started[0].Export, "as the client asked for it")
}
