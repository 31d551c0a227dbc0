package nbd

import (
	"encoding/binary"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// What go-nbd's protocol package lacks of doc/proto.md
// (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md), under
// the names that stand there.
const (
	flagNoZeroes = uint16(1 << 1) // NBD_FLAG_NO_ZEROES, NBD_FLAG_C_NO_ZEROES

	optExportName      = uint32(1)
	optStartTLS        = uint32(5)
	optStructuredReply = uint32(8)

	repErrPolicy   = uint32(1<<31 | 2)
	repErrInvalid  = uint32(1<<31 | 3)
	repErrTLSReqd  = uint32(1<<31 | 5)
	repErrShutdown = uint32(1<<31 | 7)
	repErrTooBig   = uint32(1<<31 | 9)

	transReadOnly  = uint16(1 << 1)
	transSendFlush = uint16(1 << 2)
	transSendDF    = uint16(1 << 7)
	transSendCache = uint16(1 << 10)

	cmdFlush       = uint16(3)
	cmdTrim        = uint16(4)
	cmdCache       = uint16(5)
	cmdWriteZeroes = uint16(6)
	cmdResize      = uint16(8)

	cmdFlagDF = uint16(1 << 2)

	magicStructured = uint32(0x668e33ef)
	chunkDone       = uint16(1 << 0)
	chunkNone       = uint16(0)
	chunkData       = uint16(1)
	chunkError      = uint16(1<<15 | 1)

	errnoIO = uint32(5)
)

const (
	requestSize = 28
	simpleSize  = 16 // the header of a simple reply
	chunkSize   = 20 // the header of a structured reply's chunk
	offsetSize  = 8  // what stands before the data in a chunk of data

	// maxString is the longest string of the protocol, in bytes.
	maxString = 4096
	// maxRequest is the longest READ that is served, in bytes: what clients
	// may rely on where no block sizes were negotiated (doc/proto.md, Block
	// size constraints).
	maxRequest = 32 << 20
	// preferredBlock is the page that clients cache by.
	preferredBlock = 4096
)

// request is the header of a request.
type request struct {
	flags, command uint16
	cookie         uint64
	offset         uint64
	length         uint32
}

// decodeRequest reads the requestSize bytes of p; ok says that the magic is right.
func decodeRequest(p []byte) (r request, ok bool) {
	return request{
		flags:   binary.BigEndian.Uint16(p[4:]),
		command: binary.BigEndian.Uint16(p[6:]),
		cookie:  binary.BigEndian.Uint64(p[8:]),
		offset:  binary.BigEndian.Uint64(p[16:]),
		length:  binary.BigEndian.Uint32(p[24:]),
	}, binary.BigEndian.Uint32(p) == protocol.TRANSMISSION_MAGIC_REQUEST
}

// within says whether the range that r names lies in an export of size bytes.
func (r request) within(size int64) bool {
	return r.offset <= uint64(size) && uint64(r.length) <= uint64(size)-r.offset
}

// appendSimple appends the header of a simple reply.
func appendSimple(p []byte, cookie uint64, errno uint32) []byte {
	p = binary.BigEndian.AppendUint32(p, protocol.TRANSMISSION_MAGIC_REPLY)
	p = binary.BigEndian.AppendUint32(p, errno)
	return binary.BigEndian.AppendUint64(p, cookie)
}

// appendChunk appends the header of a chunk with a payload of length bytes.
func appendChunk(p []byte, cookie uint64, flags, kind uint16, length int) []byte {
	p = binary.BigEndian.AppendUint32(p, magicStructured)
	p = binary.BigEndian.AppendUint16(p, flags)
	p = binary.BigEndian.AppendUint16(p, kind)
	p = binary.BigEndian.AppendUint64(p, cookie)
	return binary.BigEndian.AppendUint32(p, uint32(length))
}

// appendData appends the header of a chunk of n bytes of data, up to the data.
func appendData(p []byte, cookie uint64, flags uint16, offset uint64, n int) []byte {
	p = appendChunk(p, cookie, flags, chunkData, offsetSize+n)
	return binary.BigEndian.AppendUint64(p, offset)
}

// appendErrorChunk appends a last chunk that says how a request failed. It has
// no text: what went wrong is not for strangers.
func appendErrorChunk(p []byte, cookie uint64, errno uint32) []byte {
	p = appendChunk(p, cookie, chunkDone, chunkError, 6)
	p = binary.BigEndian.AppendUint32(p, errno)
	return binary.BigEndian.AppendUint16(p, 0)
}

// appendReply appends the reply to an option, with its data.
func appendReply(p []byte, option, kind uint32, data ...[]byte) []byte {
	length := 0
	for _, d := range data {
		length += len(d)
	}
	p = binary.BigEndian.AppendUint64(p, protocol.NEGOTIATION_MAGIC_REPLY)
	p = binary.BigEndian.AppendUint32(p, option)
	p = binary.BigEndian.AppendUint32(p, kind)
	p = binary.BigEndian.AppendUint32(p, uint32(length))
	for _, d := range data {
		p = append(p, d...)
	}
	return p
}
