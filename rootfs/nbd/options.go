package nbd

import (
	"encoding/binary"
	"errors"
	"io/fs"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// zeroes follow the answer to EXPORT_NAME unless they were declined.
const zeroes = 124

// exportName answers NBD_OPT_EXPORT_NAME, which has no way to say no but to end
// the connection.
func (n *negotiation) exportName(length uint32) error {
	switch {
	case n.stopping():
		return ErrServerClosed
	case n.server.RequireTLS && !n.secure():
		return &dropped{DropTLSRequired, errors.New("nbd: the client asks for an export without TLS")}
	case length > maxString:
		return malformed("the client asks for an export by a name that is too long")
	}
	name, problem, err := n.name(int(length))
	if err != nil {
		return err
	}
	if problem != nil {
		return &dropped{DropMalformed, problem}
	}
	if kind, why := n.open(name); kind != 0 {
		return why
	}
	n.reply = binary.BigEndian.AppendUint64(n.reply, uint64(n.export.size))
	n.reply = binary.BigEndian.AppendUint16(n.reply, n.flags())
	if !n.noZeroes {
		n.reply = append(n.reply, make([]byte, zeroes)...)
	}
	return n.send()
}

// list answers NBD_OPT_LIST.
func (n *negotiation) list() {
	const option = protocol.NEGOTIATION_ID_OPTION_LIST
	for _, e := range n.server.Exports {
		length := binary.BigEndian.AppendUint32(nil, uint32(len(e.Name)))
		n.answer(option, protocol.NEGOTIATION_TYPE_REPLY_SERVER, length, []byte(e.Name), []byte(e.Description))
	}
	n.answer(option, protocol.NEGOTIATION_TYPE_REPLY_ACK)
}

// info answers NBD_OPT_INFO and NBD_OPT_GO: the length of the name, the name,
// the number of requests for information, and 16 bits for each of them.
func (n *negotiation) info(option uint32) (chosen bool, err error) {
	length := n.left
	if length < 6 {
		n.answer(option, repErrInvalid)
		return false, nil
	}
	p, err := n.take(4)
	if err != nil {
		return false, err
	}
	n.left -= 4
	nameLength := binary.BigEndian.Uint32(p)
	if uint64(nameLength) > uint64(length-6) || nameLength > maxString {
		n.answer(option, repErrInvalid)
		return false, nil
	}
	name, problem, err := n.name(int(nameLength))
	if err != nil {
		return false, err
	}
	if p, err = n.take(2); err != nil {
		return false, err
	}
	n.left -= 2
	requests := int(binary.BigEndian.Uint16(p))
	if problem != nil || n.left != 2*requests {
		n.answer(option, repErrInvalid)
		return false, nil
	}
	wanted, err := n.wanted()
	if err != nil {
		return false, err
	}
	if kind, why := n.open(name); kind != 0 {
		var d *dropped
		if n.ctx.Err() == nil && errors.As(why, &d) {
			n.server.drop(d.reason, n.client, d.err)
		}
		n.answer(option, kind)
		return false, nil
	}
	n.describe(option, wanted)
	return option == protocol.NEGOTIATION_ID_OPTION_GO, nil
}

// wanted reads the rest of the option, the requests for information, of which
// those not known are ignored. One that is there twice is there once.
func (n *negotiation) wanted() (wanted [4]bool, err error) {
	for n.left > 0 {
		p, err := n.take(2)
		if err != nil {
			return wanted, err
		}
		n.left -= 2
		if kind := binary.BigEndian.Uint16(p); int(kind) < len(wanted) {
			wanted[kind] = true
		}
	}
	return wanted, nil
}

// describe answers with what is known about n.export, and an ACK.
func (n *negotiation) describe(option uint32, wanted [4]bool) {
	be := binary.BigEndian
	info := be.AppendUint16(nil, protocol.NEGOTIATION_TYPE_INFO_EXPORT)
	info = be.AppendUint64(info, uint64(n.export.size))
	info = be.AppendUint16(info, n.flags())
	n.answer(option, protocol.NEGOTIATION_TYPE_REPLY_INFO, info)
	if wanted[protocol.NEGOTIATION_TYPE_INFO_NAME] {
		n.answer(option, protocol.NEGOTIATION_TYPE_REPLY_INFO,
			be.AppendUint16(nil, protocol.NEGOTIATION_TYPE_INFO_NAME), []byte(n.export.canonical))
	}
	if wanted[protocol.NEGOTIATION_TYPE_INFO_DESCRIPTION] && n.export.description != "" {
		n.answer(option, protocol.NEGOTIATION_TYPE_REPLY_INFO,
			be.AppendUint16(nil, protocol.NEGOTIATION_TYPE_INFO_DESCRIPTION), []byte(n.export.description))
	}
	if wanted[protocol.NEGOTIATION_TYPE_INFO_BLOCKSIZE] {
		// A minimum of 1 means that no client needs to ask.
		info := be.AppendUint16(nil, protocol.NEGOTIATION_TYPE_INFO_BLOCKSIZE)
		info = be.AppendUint32(info, 1)
		info = be.AppendUint32(info, preferredBlock)
		info = be.AppendUint32(info, maxRequest)
		n.answer(option, protocol.NEGOTIATION_TYPE_REPLY_INFO, info)
	}
	n.answer(option, protocol.NEGOTIATION_TYPE_REPLY_ACK)
}

// flags are the transmission flags. One image that nobody writes to is the same
// over every connection, so CAN_MULTI_CONN holds; a FLUSH has nothing to do and
// succeeds, which clients like that send one at the end.
func (n *negotiation) flags() uint16 {
	flags := protocol.NEGOTIATION_REPLY_FLAGS_HAS_FLAGS | protocol.NEGOTIATION_REPLY_FLAGS_CAN_MULTI_CONN |
		transReadOnly | transSendFlush | transSendCache
	if n.structured {
		flags |= transSendDF
	}
	return flags
}

// open makes the export of that name n.export. If there is none, it returns the
// kind of the reply, and why.
func (n *negotiation) open(name string) (kind uint32, why error) {
	if n.export != nil && n.export.name == name {
		return 0, nil // an INFO before the GO
	}
	n.forget()
	export, err := n.server.open(n.ctx, name)
	switch {
	case err == nil:
		n.export = export
		return 0, nil
	case errors.Is(err, fs.ErrNotExist):
		return protocol.NEGOTIATION_TYPE_REPLY_ERR_UNKNOWN, &dropped{DropUnknownExport, err}
	case errors.Is(err, fs.ErrPermission):
		return repErrPolicy, &dropped{DropUnavailable, err}
	default:
		return protocol.NEGOTIATION_TYPE_REPLY_ERR_UNKNOWN, &dropped{DropUnavailable, err}
	}
}
