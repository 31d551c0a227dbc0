package dhcp

import (
	"bytes"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// raw is a valid DISCOVER with the given option bytes behind its message type.
func raw(options ...byte) []byte {
	b := discover(mac(1)).ToBytes()[:240]
	return append(append(b, 53, 1, 1), options...)
}

func edit(b []byte, at int, v ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], v)
	return b
}

func TestDecode(t *testing.T) {
	good := raw(255)
	for name, c := range map[string]struct {
		b      []byte
		reason DropReason
	}{
		"D-001 shortest":                        {raw(255), ""},
		"D-001 empty":                           {nil, Malformed},
		"D-001 one byte short of options":       {good[:239], Malformed},
		"D-001 wrong cookie":                    {edit(good, 236, 1), Malformed},
		"D-001 longest":                         {append(raw(255), make([]byte, maxPacket-244)...), ""},
		"D-001 longer":                          {append(raw(255), make([]byte, maxPacket-243)...), Malformed},
		"D-002 BOOTREPLY":                       {edit(good, 0, 2), RFCViolation},
		"D-002 op 0":                            {edit(good, 0, 0), RFCViolation},
		"D-003 hlen 16":                         {edit(good, 2, 16), ""},
		"D-003 hlen 17":                         {edit(good, 2, 17), Malformed},
		"D-003 hlen 255":                        {edit(good, 2, 255), Malformed},
		"D-003 hlen 0 without client-id":        {edit(good, 2, 0), RFCViolation},
		"D-003 hlen 0 with client-id":           {edit(raw(61, 2, 0, 1, 255), 2, 0), ""},
		"D-003 hlen 0 with client-id of a byte": {edit(raw(61, 1, 0, 255), 2, 0), RFCViolation},
		"D-005 no END":                          {raw(), ""},
		"D-005 no END, padded":                  {raw(0, 0, 0), ""},
		"D-006 two instances":                   {raw(60, 1, 'a', 60, 1, 'b', 255), ""},
		"D-007 overload file":                   {edit(raw(52, 1, 1, 255), offsetFile, 60, 1, 'a', 255), ""},
		"D-007 overload without end":            {edit(raw(52, 1, 2, 255), offsetSname, 60, 1, 'a'), ""},
		"D-093 client-id of 255 bytes":          {discover(mac(1), opt(61, make([]byte, 255)...)).ToBytes(), ""},
		"D-093 client-id of 256 bytes":          {discover(mac(1), opt(61, make([]byte, 256)...)).ToBytes(), Malformed},
		"D-093 client-id in parts":              {raw(61, 2, 0, 1, 61, 2, 2, 3, 255), ""},
		"D-093 client-id of 253 bytes, parted":  {edit(raw(append(append([]byte{61, 128}, make([]byte, 128)...), 52, 1, 1, 255)...), offsetFile, append([]byte{61, 125}, make([]byte, 126)...)...), ""},
		"D-093 client-id of 315 bytes, parted":  {edit(edit(raw(append(append([]byte{61, 128}, make([]byte, 128)...), 52, 1, 3, 255)...), offsetFile, append([]byte{61, 125}, make([]byte, 126)...)...), offsetSname, 61, 62), Malformed},
		"D-007 overload 0":                      {raw(52, 1, 0, 255), Malformed},
		"D-007 overload 4":                      {raw(52, 1, 4, 255), Malformed},
		"D-007 overload empty":                  {raw(52, 0, 255), Malformed},
		"D-007 option past the end of file":     {edit(raw(52, 1, 1, 255), offsetFile+126, 60, 1), Malformed},
		"O-001 length past the end":             {raw(60, 9, 'a', 255), Malformed},
		"O-001 code without length":             {raw(60), Malformed},
		"O-001 what follows END does not count": {raw(255, 60, 200), ""},
		"O-002 53 of 2 bytes":                   {raw(53, 1, 1, 255), Malformed},
		"O-002 50 of 3 bytes":                   {raw(50, 3, 1, 2, 3, 255), Malformed},
		"O-002 50 twice":                        {raw(50, 4, 1, 2, 3, 4, 50, 4, 1, 2, 3, 4, 255), Malformed},
		"O-002 54 of 5 bytes":                   {raw(54, 5, 1, 2, 3, 4, 5, 255), Malformed},
		"O-002 54 empty":                        {raw(54, 0, 255), Malformed},
		"O-002 51 of 2 bytes is ignored":        {raw(51, 2, 0, 0, 255), ""},
		"O-002 57 of 1 byte is ignored":         {raw(57, 1, 0, 255), ""},
		"O-005 type 0":                          {edit(good, 242, 0), RFCViolation},
		"O-005 type 2, a server's":              {edit(good, 242, 2), RFCViolation},
		"O-005 type 8, INFORM":                  {edit(good, 242, 8), ""},
		"O-005 type 9, FORCERENEW":              {edit(good, 242, 9), RFCViolation},
		"O-005 type 10, LEASEQUERY":             {edit(good, 242, 10), RFCViolation},
		"O-005 no type: BOOTP":                  {append(good[:240:240], 255), RFCViolation},
		"O-018 FORCERENEW with authentication":  {edit(raw(90, 3, 1, 2, 3, 255), 242, 9), RFCViolation},
	} {
		t.Run(name, func(t *testing.T) {
			d, reason, err := decode(c.b)
			require.Equal(t, c.reason, reason, "%v", err)
			require.Equal(t, reason != "", err != nil, "a reason has a text")
			if reason == "" {
				require.NotNil(t, d.packet)
			}
		})
	}
}

func TestD005_MissingEndIsCountedAndAnswered(t *testing.T) {
	s := newServer()
	require.Equal(t, "OFFER", askRaw(t, s, raw()).kind())
	require.EqualValues(t, 1, s.Drops()[RFCViolation])
	require.Equal(t, "OFFER", askRaw(t, s, raw(255)).kind())
	require.EqualValues(t, 1, s.Drops()[RFCViolation])
}

func TestD006_O007_InstancesAreJoinedInOrderOfTheFields(t *testing.T) {
	b := raw(60, 3, 'o', 'p', 't', 52, 1, 3, 60, 1, '-', 255)
	copy(b[offsetFile:], []byte{60, 4, 'f', 'i', 'l', 'e', 255})
	copy(b[offsetSname:], []byte{60, 5, 's', 'n', 'a', 'm', 'e', 255})
	d, reason, err := decode(b)
	require.Empty(t, reason, "%v", err)
	require.Equal(t, "opt-filesname", string(d.packet.Options.Get(dhcpv4.OptionClassIdentifier)))
	require.Empty(t, d.packet.BootFileName, "an overloaded field is no name")
	require.Empty(t, d.packet.ServerHostName)
}

func TestD004_ReservedFlagsAreIgnoredAndCopied(t *testing.T) {
	s := newServer()
	x := askRaw(t, s, edit(raw(255), 10, 0x7f, 0xff))
	require.Equal(t, "OFFER", x.kind())
	require.EqualValues(t, 0x7fff, x.reply.Flags)
	require.Equal(t, ByFrame, x.d.Route, "only the first bit asks for broadcast")
}

func TestDecodeKeepsNothingOfTheBuffer(t *testing.T) {
	b := raw(60, 3, 'a', 'b', 'c', 255)
	d, _, _ := decode(b)
	for i := range b {
		b[i] = 0xa5
	}
	require.Equal(t, "abc", string(d.packet.Options.Get(dhcpv4.OptionClassIdentifier)))
	require.Equal(t, mac(1), d.packet.ClientHWAddr)
}
