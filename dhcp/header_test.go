package dhcp

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// A reply copies what table 3 of RFC 2131 says, and nothing else of the header.
func TestD010_D011_WhatIsCopiedOfTheHeader(t *testing.T) {
	b := raw(255)
	b[3] = 7                                                                       // hops
	copy(b[8:10], []byte{1, 2})                                                    // secs
	copy(b[16:24], bytes.Repeat([]byte{9}, 8))                                     // yiaddr, siaddr
	copy(b[24:28], []byte{192, 0, 2, 2})                                           // giaddr
	copy(b[offsetChaddr+6:offsetSname], []byte("padding..."))                      // behind hlen
	copy(b[offsetSname:offsetCookie], bytes.Repeat([]byte("x"), snameLen+fileLen)) // sname, file
	x := askRaw(t, newServer(), b)
	require.Equal(t, "OFFER", x.kind(), "%v", x.err)
	require.Zero(t, x.raw[3], "hops")
	require.Equal(t, []byte{0, 0}, x.raw[8:10], "secs")
	require.Equal(t, b[4:8], x.raw[4:8], "xid")
	require.Equal(t, b[24:offsetSname], x.raw[24:offsetSname], "giaddr, chaddr and its padding")
	require.NotContains(t, string(x.raw[16:24]), "\x09\x09")
	require.Equal(t, make([]byte, snameLen+fileLen), x.raw[offsetSname:offsetCookie])
}
