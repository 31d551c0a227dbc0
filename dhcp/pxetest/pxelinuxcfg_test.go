package pxetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func parsePXELinux(text string, files map[string]string) (pxelinuxConfig, error) {
	p := pxelinuxParser{include: func(name string) (string, error) {
		t, ok := files[name]
		if !ok {
			return "", errors.New("no such file")
		}
		return t, nil
	}}
	err := p.parse("default", text, 0)
	return p.pxelinuxConfig, err
}

func TestPXELinuxConfig(t *testing.T) {
	got, err := parsePXELinux(`# comment
ui menu.c32
Prompt 0
TIMEOUT 600
APPEND global
SYSAPPEND 2
MENU TITLE a title
DISPLAY screen.txt
F1 help.txt
LABEL one
	MENU LABEL ^One and only
	MENU DEFAULT
	TEXT HELP
	LABEL not-a-label
	ENDTEXT
	LINUX vmlinuz
	INITRD a.img,b.img
	APPEND x y=z
	IPAPPEND 0x3
INCLUDE more.cfg
label disk
  localboot 0
`, map[string]string{"more.cfg": "LABEL two\r\nKERNEL memtest.c32\r\nAPPEND -\r\n"})
	require.NoError(t, err)
	require.Equal(t, pxelinuxConfig{
		ui: "menu.c32", display: "screen.txt", timeout: time.Minute, append: "global", sysAppend: 2, menuDefault: "one",
		labels: []pxelinuxLabel{
			{name: "one", title: "One and only", kernel: "vmlinuz", initrd: "a.img,b.img", append: "x y=z", hasAppend: true, sysAppend: 3},
			{name: "two", kernel: "memtest.c32", module: true, append: "-", hasAppend: true, sysAppend: -1},
			{name: "disk", local: true, sysAppend: -1},
		},
	}, got)
}

func TestPXELinuxConfigErrors(t *testing.T) {
	loop := map[string]string{"loop": "INCLUDE loop\n", "twice": "INCLUDE twice\nINCLUDE twice\n"}
	for text, says := range map[string]string{
		"FROBNICATE 1":                `default:1: unknown directive "frobnicate"`,
		"\nLABEL":                     "default:2: LABEL without a name",
		"LABEL a\nLABEL a":            "twice",
		"LINUX vmlinuz":               "before the first LABEL",
		"LABEL a\nLINUX":              "without a value",
		"TIMEOUT soon":                "soon",
		"TIMEOUT -1":                  "-1",
		"PROMPT yes":                  "yes",
		"SYSAPPEND x":                 "not a number",
		"INCLUDE nothing":             "no such file",
		"INCLUDE loop":                "deeper than 16",
		"INCLUDE twice":               "deeper than 16",
		strings.Repeat("x", 5000):     "5000 bytes",
		manyLabels(maxLabels + 1):     "more than 1024 labels",
		manyIncludes(maxIncludes + 1): "more than 64 INCLUDEs",
	} {
		_, err := parsePXELinux(text, map[string]string{"loop": loop["loop"], "twice": loop["twice"], "empty": ""})
		require.ErrorIs(t, err, ErrConfig, says)
		require.ErrorContains(t, err, says)
	}
}

func manyLabels(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "LABEL l%d\n", i)
	}
	return b.String()
}

func manyIncludes(n int) string { return strings.Repeat("INCLUDE empty\n", n) }

// write is the parser's inverse.
func (c *pxelinuxConfig) write() string {
	var b strings.Builder
	line := func(keyword, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s %s\n", keyword, value)
		}
	}
	line("DEFAULT", c.def)
	line("ONTIMEOUT", c.onTimeout)
	line("UI", c.ui)
	line("DISPLAY", c.display)
	if c.prompt {
		line("PROMPT", "1")
	}
	line("TIMEOUT", fmt.Sprint(int64(c.timeout/(100*time.Millisecond))))
	line("APPEND", c.append)
	line("SYSAPPEND", fmt.Sprint(c.sysAppend))
	line("MENU DEFAULT", c.menuDefault)
	for _, l := range c.labels {
		line("LABEL", l.name)
		line("MENU LABEL", l.title)
		if l.kernel != "" {
			if l.module {
				line("COM32", l.kernel)
			} else {
				line("LINUX", l.kernel)
			}
		}
		if l.local {
			line("LOCALBOOT", "0")
		}
		line("INITRD", l.initrd)
		if l.hasAppend {
			fmt.Fprintf(&b, "APPEND %s\n", l.append)
		}
		if l.sysAppend >= 0 {
			line("SYSAPPEND", fmt.Sprint(l.sysAppend))
		}
	}
	return b.String()
}

func FuzzPXELinuxConfig(f *testing.F) {
	f.Add("PROMPT 1\nTIMEOUT 50\nDEFAULT a\nLABEL a\n MENU LABEL ^A b\n LINUX vmlinuz\n INITRD x,y\n APPEND p q\n SYSAPPEND 2\n")
	f.Add("UI menu.c32\nLABEL x\nTEXT HELP\nhello\nENDTEXT\nLOCALBOOT 0\nMENU DEFAULT\n")
	f.Add("LABEL m\nKERNEL memtest.c32\nAPPEND\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parsePXELinux(text, map[string]string{"x": "LABEL included\n"})
		if err != nil {
			require.ErrorIs(t, err, ErrConfig)
			return
		}
		// Written out and read again it is the same configuration.
		written := c.write()
		again, err := parsePXELinux(written, nil)
		if err != nil && strings.Contains(err.Error(), "Syslinux reads") {
			return // our keyword is longer than the one that was there
		}
		require.NoError(t, err, "%q", written)
		require.Equal(t, c, again, "%q", written)
	})
}
