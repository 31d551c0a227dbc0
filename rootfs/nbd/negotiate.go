package nbd

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

const (
	// maxOption is the longest option that is read, in bytes. The longest that
	// means anything here is a GO with a name of 4096 and a few requests for
	// information.
	maxOption = 64 << 10
	// maxOptions bounds the options of one negotiation. A client that lists and
	// asks about each export needs one for each.
	maxOptions = 1024
)

// negotiation is the option haggling of one connection (doc/proto.md, Fixed
// newstyle negotiation).
type negotiation struct {
	*conn
	ctx context.Context

	fixed, noZeroes bool

	// What STARTTLS makes forgotten.
	structured bool
	export     *opened // of the last INFO, or the one chosen

	left  int    // bytes of the option's data that were not read yet
	reply []byte // of the option, sent in one piece
}

// run ends with nil when the client has chosen n.export.
func (n *negotiation) run() error {
	if err := n.greet(); err != nil {
		return err
	}
	for range maxOptions {
		chosen, err := n.next()
		if chosen || err != nil {
			return err
		}
	}
	return malformed("the client sends one option after the other")
}

func (n *negotiation) greet() error {
	var hello []byte
	hello = binary.BigEndian.AppendUint64(hello, protocol.NEGOTIATION_MAGIC_OLDSTYLE)
	hello = binary.BigEndian.AppendUint64(hello, protocol.NEGOTIATION_MAGIC_OPTION)
	hello = binary.BigEndian.AppendUint16(hello, protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE|flagNoZeroes)
	if _, err := n.stream.Write(hello); err != nil {
		return err
	}
	p, err := n.take(4)
	if err != nil {
		return err
	}
	flags := binary.BigEndian.Uint32(p)
	n.fixed = flags&uint32(protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE) != 0
	n.noZeroes = flags&uint32(flagNoZeroes) != 0
	if flags&^uint32(protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE|flagNoZeroes) != 0 {
		return malformed("the client sets flags that the server did not offer")
	}
	return nil
}

// take reads size bytes, which are valid until the next read and at most
// inputSize.
func (n *negotiation) take(size int) ([]byte, error) {
	p, err := n.in.Peek(size)
	if err != nil {
		return nil, err
	}
	n.in.Discard(size)
	return p, nil
}

// next reads and answers one option; chosen ends the negotiation.
func (n *negotiation) next() (chosen bool, err error) {
	header, err := n.take(16)
	if err != nil {
		return false, err
	}
	option, length := binary.BigEndian.Uint32(header[8:]), binary.BigEndian.Uint32(header[12:])
	switch {
	case binary.BigEndian.Uint64(header) != protocol.NEGOTIATION_MAGIC_OPTION:
		return false, malformed("the client sent something else where an option belongs")
	case !n.fixed && option != optExportName:
		return false, malformed("a client without fixed newstyle negotiation sent an option that it cannot understand the answer to")
	case option == protocol.NEGOTIATION_ID_OPTION_ABORT:
		// Its data is ignored, so it need not arrive.
		n.answer(option, protocol.NEGOTIATION_TYPE_REPLY_ACK)
		if err := n.send(); err != nil {
			return false, err
		}
		return false, errAborted
	case length > maxOption && option != optExportName: // which checks for itself
		n.answer(option, repErrTooBig)
		if err := n.send(); err != nil {
			return false, err
		}
		return false, malformed("the client sent an option that is too long")
	}
	if option == optExportName {
		return true, n.exportName(length)
	}
	n.left = int(length)
	upgrade := false
	switch {
	case n.stopping():
		n.answer(option, repErrShutdown)
	case n.server.RequireTLS && !n.secure() && option != optStartTLS:
		n.server.drop(DropTLSRequired, n.client, nil)
		n.answer(option, repErrTLSReqd)
	default:
		chosen, upgrade, err = n.handle(option)
		if err != nil {
			return false, err
		}
	}
	// Before the answer, or a client that sends all before it reads would wait
	// for ever.
	if _, err := n.in.Discard(n.left); err != nil {
		return false, err
	}
	if err := n.send(); err != nil {
		return false, err
	}
	if upgrade {
		return false, n.startTLS()
	}
	return chosen, nil
}

// handle puts the answer to an option into n.reply.
func (n *negotiation) handle(option uint32) (chosen, upgrade bool, err error) {
	switch option {
	case protocol.NEGOTIATION_ID_OPTION_INFO, protocol.NEGOTIATION_ID_OPTION_GO:
		chosen, err = n.info(option)
		return chosen, false, err
	case protocol.NEGOTIATION_ID_OPTION_LIST:
		if n.left != 0 {
			n.answer(option, repErrInvalid)
			return false, false, nil
		}
		n.list()
	case optStructuredReply:
		if n.left != 0 {
			n.answer(option, repErrInvalid)
			return false, false, nil
		}
		n.structured = true
		n.answer(option, protocol.NEGOTIATION_TYPE_REPLY_ACK)
	case optStartTLS:
		switch {
		case n.left != 0 || n.secure():
			n.answer(option, repErrInvalid)
		case n.server.TLS == nil:
			n.answer(option, protocol.NEGOTIATION_TYPE_REPLY_ERR_UNSUPPORTED)
		default:
			n.answer(option, protocol.NEGOTIATION_TYPE_REPLY_ACK)
			return false, true, nil
		}
	default:
		// Meta contexts (9 and 10) are among them: they tell a client which
		// parts are holes, and an image that was made to be booted has none
		// worth the questions.
		n.answer(option, protocol.NEGOTIATION_TYPE_REPLY_ERR_UNSUPPORTED)
	}
	return false, false, nil
}

func (n *negotiation) secure() bool { return n.stream != n.net }

func (n *negotiation) stopping() bool {
	select {
	case <-n.draining:
		return true
	default:
		return false
	}
}

// answer adds a reply to the option.
func (n *negotiation) answer(option, kind uint32, data ...[]byte) {
	n.reply = appendReply(n.reply, option, kind, data...)
}

func (n *negotiation) send() error {
	if n.ctx.Err() != nil { // it ended while the export was opened
		return context.Cause(n.ctx)
	}
	_, err := n.stream.Write(n.reply)
	n.reply = nil
	return err
}

// startTLS takes the connection to TLS after the ACK has left. What was
// negotiated before might have come from someone in between and is forgotten
// (doc/proto.md, TLS versions; CVE-2021-3716).
func (n *negotiation) startTLS() error {
	if n.in.Buffered() != 0 {
		return malformed("the client sent more before its STARTTLS was acknowledged")
	}
	secure := tls.Server(n.net, n.server.TLS)
	if err := secure.HandshakeContext(n.ctx); err != nil {
		return &dropped{DropTLS, err}
	}
	n.stream, n.in = secure, bufio.NewReaderSize(secure, inputSize)
	n.structured = false
	n.forget()
	return nil
}

// forget closes the export of an INFO.
func (n *negotiation) forget() {
	if n.export != nil {
		export := n.export
		n.export = nil // also if it panics
		export.close()
	}
}

// name reads the name of an export; n.left is at least length. An error of
// checkString is problem.
func (n *negotiation) name(length int) (name string, problem, err error) {
	p := make([]byte, min(length, maxString))
	if _, err := io.ReadFull(n.in, p); err != nil {
		return "", nil, err
	}
	n.left -= len(p)
	return string(p), checkString(string(p)), nil
}
