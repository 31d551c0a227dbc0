package dhcp

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// TestP005_PXELinuxOptions looks at the forms of RFC 5071, and at what reaches a
// client that has not asked for them.
func TestP005_PXELinuxOptions(t *testing.T) {
	config, err := PXELinuxConfigFile("pxelinux.cfg/rescue")
	require.NoError(t, err)
	prefix, err := PXELinuxPathPrefix("http://192.0.2.1/boot/")
	require.NoError(t, err)
	reboot, err := PXELinuxRebootTime(10 * time.Minute)
	require.NoError(t, err)
	s := newServer(func(s *Server) {
		s.BootFile = func(context.Context, *Request) (*BootFile, error) {
			return &BootFile{Name: "lpxelinux.0", Options: []dhcpv4.Option{PXELinuxMagic(), config, prefix, reboot}}, nil
		}
	})
	x := ask(t, s, discover(mac(1), optText(60, "PXEClient"), opt(93, 0, 0), opt(55, 1, 3)))
	require.Equal(t, "OFFER", x.kind(), "%s %v", x.reason, x.err)
	require.Equal(t, []byte{0xf1, 0x00, 0x74, 0x7e}, x.reply.Options[208])
	require.Equal(t, "pxelinux.cfg/rescue", string(x.reply.Options[209]))
	require.Equal(t, "http://192.0.2.1/boot/", string(x.reply.Options[210]))
	require.Equal(t, []byte{0, 0, 2, 88}, x.reply.Options[211])

	longest, err := PXELinuxRebootTime(math.MaxUint32 * time.Second)
	require.NoError(t, err)
	require.Equal(t, []byte{255, 255, 255, 255}, longest.Value.ToBytes())
	_, err = PXELinuxPathPrefix(strings.Repeat("x", 255))
	require.NoError(t, err)
}

func TestP005_PXELinuxOptionsOfAnotherFormAreRefused(t *testing.T) {
	for _, text := range []string{"", strings.Repeat("x", 256), "a\nb", "a\x00", "é", "\x7f"} {
		_, err := PXELinuxConfigFile(text)
		require.ErrorContains(t, err, "configuration file")
		_, err = PXELinuxPathPrefix(text)
		require.ErrorContains(t, err, "path prefix")
	}
	for _, d := range []time.Duration{0, -time.Second, time.Millisecond, 1500 * time.Millisecond, (math.MaxUint32 + 1) * time.Second} {
		_, err := PXELinuxRebootTime(d)
		require.ErrorContains(t, err, "whole number of seconds")
	}
}

// TestP004_SiteOptionsOnlyIfConfigured: options 128 to 135 are the client's to
// ask for and the administrator's to give.
func TestP004_SiteOptionsOnlyIfConfigured(t *testing.T) {
	list := opt(55, 1, 3, 128, 129, 130, 131, 132, 133, 134, 135)
	client := []dhcpv4.Modifier{optText(60, "PXEClient"), opt(93, 0, 0), list}

	x := ask(t, newServer(withBoot("lpxelinux.0")), discover(mac(1), client...))
	require.Equal(t, "OFFER", x.kind())
	for code := uint8(128); code <= 135; code++ {
		require.NotContains(t, x.reply.Options, code, "nobody has configured it")
	}

	s := newServer(withBoot("lpxelinux.0"), func(s *Server) {
		for code := uint8(128); code <= 135; code++ {
			s.Networks[0].Options = append(s.Networks[0].Options, dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), []byte{code}))
		}
	})
	x = ask(t, s, discover(mac(1), client...))
	for code := uint8(128); code <= 135; code++ {
		require.Equal(t, []byte{code}, x.reply.Options[code])
	}
	x = ask(t, s, discover(mac(1), opt(55, 1, 3)))
	for code := uint8(128); code <= 135; code++ {
		require.NotContains(t, x.reply.Options, code, "the client has not asked for it")
	}
}
