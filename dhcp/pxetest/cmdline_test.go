package pxetest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKernelParams(t *testing.T) {
	tests := []struct {
		name, line string
		words      []string
		params     map[string]string
		bad        bool
	}{
		{name: "plain", line: "a=1  b\tc=x=y", words: []string{"a=1", "b", "c=x=y"}, params: map[string]string{"a": "1", "b": "y", "c": "x=y"}},
		{name: "last wins", line: "ip=dhcp ip=none", words: []string{"ip=dhcp", "ip=none"}, params: map[string]string{"ip": "none"}},
		{name: "quotes", line: `a="x y" b='p q'`, words: []string{`a="x y"`, `b='p q'`}, params: map[string]string{"a": "x y", "b": "p q"}},
		{name: "comment", line: "a # b", words: []string{"a", "#", "b"}, params: map[string]string{"a": "y"}},
		{name: "no variable", line: "rd.x=1 9a -- _b", words: []string{"rd.x=1", "9a", "--", "_b"}, params: map[string]string{"_b": "y"}},
		{name: "empty", params: map[string]string{}},
		{name: "open quote", line: `a="b`, bad: true},
		{name: "newline", line: "a\nb", bad: true},
		{name: "long", line: strings.Repeat("a", 2048), bad: true},
		{name: "longest", line: strings.Repeat("a", 2047), words: []string{strings.Repeat("a", 2047)}, params: map[string]string{strings.Repeat("a", 2047): "y"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			words, err := splitCommandLine(tt.line)
			if tt.bad {
				require.ErrorIs(t, err, ErrCommandLine)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.words, words)
			require.Equal(t, tt.params, kernelParams(words))
		})
	}
}

func FuzzCommandLine(f *testing.F) {
	for _, s := range []string{"a=1 b", `a="x y"`, "ip=dhcp archiso_http_srv=http://192.0.2.1/ checksum", "# x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := splitCommandLine(line)
		if err != nil {
			return
		}
		// Putting the words together and splitting again changes nothing, and no byte
		// but blanks is lost.
		again, err := splitCommandLine(strings.Join(words, " "))
		require.NoError(t, err)
		require.Equal(t, words, again)
		blanks := strings.NewReplacer(" ", "", "\t", "")
		require.Equal(t, blanks.Replace(line), blanks.Replace(strings.Join(words, "")))
		for name := range kernelParams(words) {
			require.True(t, isShellName(name))
		}
	})
}

func TestShellSafe(t *testing.T) {
	require.True(t, shellSafe("http://[2001:db8::1]:80/a-b_c.d~e@f%20+g=,/"))
	for _, c := range " $`;&|<>(){}*?!#'\"\\\n\x00\xff" {
		require.False(t, shellSafe("a"+string(c)), "%q", c)
	}
}
