package sunrpc

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// framed is a record in fragments of these sizes, the last of them marked.
func framed(record []byte, sizes ...int) (b []byte) {
	for i, size := range sizes {
		mark := uint32(size)
		if i == len(sizes)-1 {
			mark |= 1 << 31
		}
		b = append(appendUint32(b, mark), record[:size]...)
		record = record[size:]
	}
	return b
}

func TestReadRecord(t *testing.T) {
	record := []byte("twelve bytes")
	for _, sizes := range [][]int{{12}, {4, 8}, {0, 12}, {1, 0, 11, 0}} {
		stream := framed(record, sizes...)
		got, whole, err := readRecord(bytes.NewReader(stream))
		require.NoError(t, err)
		require.Equal(t, record, got)
		require.Equal(t, len(sizes) == 1, whole)
		got, whole, err = readRecord(iotest.OneByteReader(bytes.NewReader(stream)))
		require.NoError(t, err)
		require.Equal(t, record, got)
		require.False(t, whole)
		for cut := range stream {
			_, _, err := readRecord(bytes.NewReader(stream[:cut]))
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, cut)
		}
		_, _, err = readRecord(bytes.NewReader(append(stream, 0)))
		require.ErrorIs(t, err, ErrMalformed)
	}
	largest := make([]byte, maxReply-4)
	_, _, err := readRecord(bytes.NewReader(framed(largest, len(largest))))
	require.NoError(t, err)
	_, _, err = readRecord(bytes.NewReader(framed(append(largest, 0), len(largest)+1)))
	require.ErrorIs(t, err, ErrMalformed)
	// Fragments without end are an error, too.
	_, _, err = readRecord(bytes.NewReader(make([]byte, 2*maxReply)))
	require.ErrorIs(t, err, ErrMalformed)
}

func TestParseReply(t *testing.T) {
	const xid = 7
	results, bare, err := parseReply(appendUint32(nil, xid, 1, 0, 0, 0, 0, 42), xid)
	require.NoError(t, err)
	require.True(t, bare)
	require.Equal(t, appendUint32(nil, 42), results)

	results, bare, err = parseReply(appendUint32(nil, xid, 1, 0, 2, 3, 0, 0, 42), xid)
	require.NoError(t, err)
	require.False(t, bare)
	require.Equal(t, appendUint32(nil, 42), results)

	var refused *AcceptError
	_, _, err = parseReply(appendUint32(nil, xid, 1, 0, 0, 0, ProgramMismatch, 4, 5), xid)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, AcceptError{ProgramMismatch, 4, 5}, *refused)
	require.EqualError(t, err, "the server has versions 4 to 5 of the program")
	_, _, err = parseReply(appendUint32(nil, xid, 1, 0, 0, 0, ProgramUnavailable), xid)
	require.EqualError(t, err, "the server does not have the program")

	var denied *DeniedError
	_, _, err = parseReply(appendUint32(nil, xid, 1, 1, 1, 5), xid)
	require.ErrorAs(t, err, &denied)
	require.EqualValues(t, 5, denied.Auth)
	_, _, err = parseReply(appendUint32(nil, xid, 1, 1, 0, 2, 2), xid)
	require.ErrorAs(t, err, &denied)
	require.Zero(t, denied.Auth)

	for _, bad := range [][]uint32{
		{}, {xid}, {xid, 0, 0, 0, 0, 0}, {xid, 1, 2, 0, 0, 0}, {xid + 1, 1, 0, 0, 0, 0}, {xid, 1, 0, 0, 401, 0}, {xid, 1, 0, 0, 4, 0},
		{xid, 1, 0, 0, 0, ProgramMismatch, 4}, {xid, 1, 1}, {xid, 1, 1, 1}, {xid, 1, 0, 0, 0xffffffff, 0},
	} {
		_, _, err := parseReply(appendUint32(nil, bad...), xid)
		require.ErrorIs(t, err, ErrMalformed, bad)
	}
}

// A call on the wire, byte by byte: RFC 5531 and, for root's credentials, its
// appendix A.
func TestCallOnTheWire(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	require.NoError(t, ours.SetDeadline(time.Now().Add(time.Minute))) // a test that hangs fails
	got := make(chan []byte, 1)
	go func() {
		defer theirs.Close()
		message := make([]byte, 4+4*18)
		_, _ = io.ReadFull(theirs, message)
		got <- message
		reply := append(message[4:8:8], appendUint32(nil, 1, 0, 0, 0, 0, 0, 0, 1)...)
		_, _ = theirs.Write(framed(reply, len(reply)))
	}()
	client := NewClient(ours)
	readable, err := client.Readable(Handle("four"))
	require.NoError(t, err)
	require.True(t, readable)
	require.False(t, client.Awkward)
	message := <-got
	want := appendUint32(nil, 1<<31|72, binary.BigEndian.Uint32(message[4:]), 0, 2, NFS, 3, 4, authSys, 20, 0, 0, 0, 0, 0, 0, 0, 4)
	require.Equal(t, appendUint32(append(want, "four"...), 1), message)
}

// Whatever the pieces in which a reply arrives, it is the same reply.
func FuzzReadRecord(f *testing.F) {
	f.Add(framed([]byte("twelve bytes"), 12))
	f.Add(framed([]byte("twelve bytes"), 4, 0, 8))
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		record, whole, err := readRecord(bytes.NewReader(stream))
		if err != nil {
			require.Nil(t, record)
			return
		}
		require.LessOrEqual(t, len(record), maxReply)
		if whole {
			require.Equal(t, stream[4:], append([]byte{}, record...))
		}
		again, _, err := readRecord(iotest.OneByteReader(bytes.NewReader(stream)))
		require.NoError(t, err)
		require.Equal(t, record, again)
	})
}

// Results are the end of the record, and those of another call never come out.
func FuzzParseReply(f *testing.F) {
	f.Add(appendUint32(nil, 7, 1, 0, 0, 0, 0, 42), uint32(7))
	f.Add(appendUint32(nil, 7, 1, 0, 2, 3, 0, 0, 42), uint32(7))
	f.Add(appendUint32(nil, 7, 1, 0, 0, 0, 2, 4, 5), uint32(7))
	f.Add(appendUint32(nil, 7, 1, 1, 1, 5), uint32(7))
	f.Fuzz(func(t *testing.T, record []byte, xid uint32) {
		results, bare, err := parseReply(record, xid)
		if err != nil {
			require.Nil(t, results)
			require.NotEmpty(t, err.Error())
			return
		}
		require.Equal(t, xid, binary.BigEndian.Uint32(record))
		require.True(t, bytes.HasSuffix(record, results))
		if bare {
			require.Len(t, record, 24+len(results))
		}
		_, _, err = parseReply(record, xid+1)
		require.ErrorIs(t, err, ErrMalformed)
	})
}

// A handle has 1 to 64 bytes, and they are those of the results.
func FuzzResults(f *testing.F) {
	f.Add(append(appendUint32(nil, 0, 4), "four"...))
	f.Add(appendUint32(nil, 2))
	f.Add(appendUint32(make([]byte, 4+attrSize), 1))
	f.Fuzz(func(t *testing.T, results []byte) {
		for _, parse := range []func([]byte) (Handle, error){parseMount, parseLookup} {
			handle, err := parse(results)
			if err != nil {
				require.Empty(t, handle)
				continue
			}
			require.True(t, len(handle) >= 1 && len(handle) <= maxHandle)
			require.True(t, bytes.HasPrefix(results, append(appendUint32(nil, 0, uint32(len(handle))), handle...)))
		}
		if attr, err := parseAttr(results); err == nil {
			require.GreaterOrEqual(t, len(results), 4+attrSize)
			require.Equal(t, results[4:8], appendUint32(nil, attr.Type))
			require.Zero(t, attr.Mode&^0o7777)
		}
		if granted, err := parseAccess(results); err == nil {
			require.Contains(t, [][]byte{results[8:min(12, len(results))], results[min(8+attrSize, len(results)):min(12+attrSize, len(results))]}, appendUint32(nil, granted))
		}
	})
}
