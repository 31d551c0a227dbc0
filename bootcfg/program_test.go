package bootcfg

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func programMenu() *Menu {
	return &Menu{Title: "Memory test", Program: &Program{File: "memtest.efi"}}
}

func TestProgramValidate(t *testing.T) {
	require.NoError(t, programMenu().Validate())
	full := &Menu{Program: &Program{File: "a/lpxelinux.0", ConfigFile: strings.Repeat("c", 255), PathPrefix: "/a b/"},
		Files: map[string][]byte{"a/x": nil}}
	require.NoError(t, full.Validate())
	for _, test := range []struct {
		name, want string
		change     func(m *Menu)
	}{
		{"no file", "menu program: is no file name", func(m *Menu) { m.Program.File = "" }},
		{"absolute", `menu program "/x"`, func(m *Menu) { m.Program.File = "/x" }},
		{"parent", `menu program "../x"`, func(m *Menu) { m.Program.File = "../x" }},
		{"long configuration", "has 256 bytes", func(m *Menu) { m.Program.ConfigFile = strings.Repeat("c", 256) }},
		{"newline", "something else than printable", func(m *Menu) { m.Program.ConfigFile = "a\nb" }},
		{"long prefix", "menu program: path prefix", func(m *Menu) { m.Program.PathPrefix = strings.Repeat("c", 256) }},
		{"not ASCII", "menu program: path prefix", func(m *Menu) { m.Program.PathPrefix = "/é/" }},
		{"entries", "has entries beside a program", func(m *Menu) { m.Entries = plainMenu().Entries }},
		{"prompt", "has a prompt", func(m *Menu) { m.Prompt = true }},
		{"timeout", "has a prompt, timeout", func(m *Menu) { m.Timeout = time.Second }},
		{"help", "default or help texts", func(m *Menu) { m.Help = fullMenu().Help }},
		{"default", "names no entry", func(m *Menu) { m.Default = "x" }},
		{"file", `menu file "/x"`, func(m *Menu) { m.Files = map[string][]byte{"/x": nil} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := programMenu()
			test.change(m)
			err := m.Validate()
			require.ErrorContains(t, err, test.want)
			var v *ValueError
			require.True(t, errors.As(err, &v))
			require.NotEmpty(t, v.Remedy)
		})
	}
}

// There is nothing to render of a program, and no renderer pretends otherwise.
func TestRenderersRefuseAProgram(t *testing.T) {
	for _, r := range []Renderer{PXELinux{}, IPXE{}, GRUB{}, UBoot{}} {
		t.Run(fmt.Sprintf("%T", r), func(t *testing.T) {
			c, err := r.Render(programMenu(), bases())
			require.Nil(t, c)
			require.EqualError(t, err, `bootcfg: menu program "memtest.efi": is a boot program, for which there is no configuration to write; `+
				"name it to the machine as its boot file, or use Entries")
		})
	}
}

func TestStockMenu(t *testing.T) {
	m, err := SystemRescue{}.StockMenu()
	require.NoError(t, err)
	require.Equal(t, &Program{File: "sysresccd/boot/syslinux/lpxelinux.0", Arches: []uint16{0}, ConfigFile: "boot/syslinux/sysresccd.cfg", PathPrefix: "/sysresccd/"}, m.Program)
	m, err = SystemRescue{BaseDir: "media/rescue"}.StockMenu()
	require.NoError(t, err)
	require.Equal(t, "/media/rescue/", m.Program.PathPrefix)
	_, err = SystemRescue{BaseDir: "../x"}.StockMenu()
	require.Error(t, err)
}
