package pxetest

import (
	"errors"
	"fmt"
	"strings"
)

// The language of grub.cfg, as far as boot menus use it: commands, if, while, until,
// for, menuentry, comments, quoting, variables. Functions are refused.

// grubWord is a word before its variables are put in.
type grubWord []grubPart

type grubPart struct {
	text     string
	variable bool // text is its name
	quoted   bool
}

// grubStatement is a command, or an if, or a loop, or a menuentry with a body.
type grubStatement struct {
	line  int
	words []grubWord
	// body is what a menuentry holds in braces.
	body    []grubStatement
	hasBody bool
	// clauses make it an if: one per if and elif. otherwise is its else.
	clauses   []grubClause
	otherwise []grubStatement
	loop      *grubLoop
}

type grubClause struct{ condition, body []grubStatement }

// grubLoop is a while or an until with its condition, or a for with the words that
// its variable stands for in turn.
type grubLoop struct {
	condition []grubStatement
	until     bool
	variable  string
	words     []grubWord
	body      []grubStatement
}

// grubToken is a word, or an operator: "\n", ";", "{", "}"; at the end "".
type grubToken struct {
	word grubWord
	op   string
	line int
}

// is tells a keyword, which loses its meaning by quoting.
func (t grubToken) is(keyword string) bool {
	return len(t.word) == 1 && !t.word[0].quoted && !t.word[0].variable && t.word[0].text == keyword
}

func (t grubToken) ends() bool { return t.word == nil }

// grubLexer divides a script into tokens.
type grubLexer struct {
	text string
	pos  int
	line int
}

func (l *grubLexer) peek() byte {
	if l.pos < len(l.text) {
		return l.text[l.pos]
	}
	return 0
}

func (l *grubLexer) next() (grubToken, error) {
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case c == ' ' || c == '\t' || c == '\r':
			l.pos++
		case c == '\\' && strings.HasPrefix(l.text[l.pos:], "\\\n"):
			l.pos += 2
			l.line++
		case c == '#':
			if n := strings.IndexByte(l.text[l.pos:], '\n'); n >= 0 {
				l.pos += n
			} else {
				l.pos = len(l.text)
			}
		case c == '\n':
			l.pos++
			l.line++
			return grubToken{op: "\n", line: l.line - 1}, nil
		case c == ';' || c == '{' || c == '}':
			l.pos++
			return grubToken{op: string(c), line: l.line}, nil
		default:
			line := l.line
			w, err := l.word()
			return grubToken{word: w, line: line}, err
		}
	}
	return grubToken{line: l.line}, nil
}

// word reads up to a blank or an operator that is not quoted.
func (l *grubLexer) word() (grubWord, error) {
	w := grubWord{}
	add := func(text string, quoted bool) {
		if n := len(w) - 1; n >= 0 && !w[n].variable && w[n].quoted == quoted {
			w[n].text += text
			return
		}
		w = append(w, grubPart{text: text, quoted: quoted})
	}
	for l.pos < len(l.text) {
		c := l.text[l.pos]
		switch {
		case strings.IndexByte(" \t\r\n;{}", c) >= 0:
			return w, nil
		case strings.IndexByte("|&<>", c) >= 0:
			return nil, fmt.Errorf("%q is reserved in GRUB's scripts: quote it", c)
		case c == '\'':
			n := strings.IndexByte(l.text[l.pos+1:], '\'')
			if n < 0 {
				return nil, errors.New("a ' is not closed")
			}
			text := l.text[l.pos+1 : l.pos+1+n]
			l.line += strings.Count(text, "\n")
			add(text, true)
			l.pos += n + 2
		case c == '"':
			l.pos++
			add("", true)
			if err := l.quoted(&w, add); err != nil {
				return nil, err
			}
		case c == '\\':
			l.pos++
			if l.pos < len(l.text) {
				if l.text[l.pos] == '\n' {
					l.line++
				} else {
					add(l.text[l.pos:l.pos+1], true)
				}
				l.pos++
			}
		case c == '$':
			if err := l.variable(&w, add, false); err != nil {
				return nil, err
			}
		default:
			add(string(c), false)
			l.pos++
		}
	}
	return w, nil
}

// quoted reads what is between double quotes.
func (l *grubLexer) quoted(w *grubWord, add func(string, bool)) error {
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; c {
		case '"':
			l.pos++
			return nil
		case '\\':
			l.pos++
			switch e := l.peek(); {
			case e == '\n':
				l.line++
			case e == '"' || e == '\\' || e == '$':
				add(string(e), true)
			default:
				add("\\", true)
				continue
			}
			l.pos++
		case '$':
			if err := l.variable(w, add, true); err != nil {
				return err
			}
		default:
			if c == '\n' {
				l.line++
			}
			add(l.text[l.pos:l.pos+1], true)
			l.pos++
		}
	}
	return errors.New(`a " is not closed`)
}

// variable reads $name or ${name}; a $ before anything else is itself.
func (l *grubLexer) variable(w *grubWord, add func(string, bool), quoted bool) error {
	l.pos++
	braces := l.peek() == '{'
	if braces {
		l.pos++
	}
	start := l.pos
	for l.pos < len(l.text) && isGRUBName(l.text[l.pos]) {
		l.pos++
	}
	name := l.text[start:l.pos]
	switch {
	case braces && l.peek() != '}':
		return errors.New("${ without a name and }")
	case braces:
		l.pos++
	case name == "":
		add("$", quoted)
		return nil
	}
	*w = append(*w, grubPart{text: name, variable: true, quoted: quoted})
	return nil
}

func notInGRUBName(c rune) bool { return c > 127 || !isGRUBName(byte(c)) }

func isGRUBName(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
