package pxetest

import (
	"fmt"
	"strings"
)

// maxCommandLine is what an x86 kernel keeps (COMMAND_LINE_SIZE less its NUL); it
// cuts the rest off without a word.
const maxCommandLine = 2047

// splitCommandLine divides a command line at blanks; quotes hold blanks together.
func splitCommandLine(line string) ([]string, error) {
	if len(line) > maxCommandLine {
		return nil, fmt.Errorf("%w: it has %d bytes, the kernel keeps %d", ErrCommandLine, len(line), maxCommandLine)
	}
	var words []string
	start := -1
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == 0 || c == '\n' || c == '\r':
			return nil, fmt.Errorf("%w: it has a control character, %q", ErrCommandLine, c)
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == ' ' || c == '\t':
			if start >= 0 {
				words = append(words, line[start:i])
				start = -1
			}
			continue
		case (c == '"' || c == '\'') && (start < 0 || line[i-1] == '='):
			quote = c
		}
		if start < 0 {
			start = i
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("%w: a quote is not closed", ErrCommandLine)
	}
	if start >= 0 {
		words = append(words, line[start:])
	}
	return words, nil
}

// kernelParams is how the initramfs' init reads the words: the last occurrence
// wins, a bare word is "y", a word that begins with # ends it, names that no shell
// variable can have are passed over.
func kernelParams(words []string) map[string]string {
	params := make(map[string]string)
	for _, w := range words {
		if strings.HasPrefix(w, "#") {
			break
		}
		name, value, ok := strings.Cut(w, "=")
		if !isShellName(name) {
			continue
		}
		if !ok {
			value = "y"
		}
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		params[name] = value
	}
	return params
}

func isShellName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || i > 0 && '0' <= c && c <= '9') {
			return false
		}
	}
	return s != ""
}

// shellSafe says whether a text may be evaluated by a shell without becoming more
// than itself.
func shellSafe(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			strings.IndexByte("._~:/@%+=,[]-", c) >= 0) {
			return false
		}
	}
	return true
}
