package pxetest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGRUBSyntax(t *testing.T) {
	for text, says := range map[string]string{
		"echo 'open":                            "a ' is not closed",
		"\n\necho \"open":                       `:3: a " is not closed`,
		"echo ${a":                              "${ without",
		"if true":                               "if wants then, not the end",
		"if true; then echo":                    "if wants fi, not the end",
		"if; then echo; fi":                     "if without a condition",
		"fi":                                    `"fi" is not expected`,
		"echo a }":                              `"}" is not expected`,
		"echo a {":                              "{ is not expected",
		"menuentry a":                           "menuentry wants {",
		"menuentry a { echo":                    "menuentry wants }, not the end",
		"function f { echo }":                   "function is not played",
		"while true":                            "while wants do, not the end",
		"while true; do echo":                   "while wants done, not the end",
		"until; do echo; done":                  "until without a condition",
		"for i in a; echo":                      `for wants do, not "echo"`,
		"for i a; do echo; done":                `for wants in, not "a"`,
		"for $i in a; do echo; done":            "for wants the name of a variable",
		"done":                                  `"done" is not expected`,
		"a | b":                                 "reserved",
		strings.Repeat("menuentry a {\n", 1000): "nested deeper",
	} {
		_, err := parseGRUB("grub.cfg", text)
		require.ErrorIs(t, err, ErrConfig, text)
		require.ErrorContains(t, err, says, text)
	}
	l, err := parseGRUB("grub.cfg", "# c\n'if' a\\;b; echo \"}\" fi\\\nx # not\nif a; then b; elif c\nthen d; else e; fi;;menuentry t --id i {\n f\n}\n")
	require.NoError(t, err)
	require.Len(t, l, 4)
	require.Equal(t, "if", l[0].words[0][0].text)
	require.Equal(t, 2, l[0].line)
	require.Len(t, l[1].words, 3)
	require.Len(t, l[2].clauses, 2)
	require.Len(t, l[2].otherwise, 1)
	require.True(t, l[3].hasBody)
	require.Len(t, l[3].body, 1)
}

// FuzzGRUBScript: whatever a script is, a text in single quotes is one word of that
// text, and no script makes the parser go wrong.
func FuzzGRUBScript(f *testing.F) {
	f.Add("menuentry 'a' { linux $x \"${y}\" \\$z }\nif true; then false; fi")
	f.Add("a'b")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseGRUB("x", text)
		if err == nil {
			for _, s := range l {
				require.LessOrEqual(t, s.line, 1+strings.Count(text, "\n"))
			}
		}
		l, err = parseGRUB("x", "echo '"+strings.ReplaceAll(text, "'", `'\''`)+"'")
		require.NoError(t, err)
		s := grubShell{vars: map[string]string{}}
		require.Equal(t, []string{"echo", text}, s.expand(l[0].words))
	})
}
