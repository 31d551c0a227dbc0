package pxetest

import (
	"errors"
	"fmt"
	"strings"
)

// The language of grub.cfg, as far as boot menus use it: commands, if, menuentry,
// comments, quoting, variables. Loops and functions are refused.

// grubWord is a word before its variables are put in.
type grubWord []grubPart

type grubPart struct {
	text     string
	variable bool // text is its name
	quoted   bool
}

// grubStatement is a command, or an if, or a menuentry with a body.
type grubStatement struct {
	line  int
	words []grubWord
	// body is what a menuentry holds in braces.
	body    []grubStatement
	hasBody bool
	// clauses make it an if: one per if and elif. otherwise is its else.
	clauses   []grubClause
	otherwise []grubStatement
}

type grubClause struct{ condition, body []grubStatement }

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

func isGRUBName(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// grubParser makes statements of tokens.
type grubParser struct {
	lexer grubLexer
	token grubToken
	depth int
}

// parseGRUB reads a whole script. An error names the line.
func parseGRUB(name, text string) ([]grubStatement, error) {
	p := grubParser{lexer: grubLexer{text: text, line: 1}}
	err := p.advance()
	var l []grubStatement
	if err == nil {
		l, err = p.list()
	}
	if err == nil && (p.token.op != "" || p.token.word != nil) {
		err = fmt.Errorf("%s is not expected here", p.seen())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s:%d: %w", ErrConfig, name, max(p.token.line, 1), err)
	}
	return l, nil
}

func (p *grubParser) advance() error {
	line := p.lexer.line
	t, err := p.lexer.next()
	if err != nil {
		t.line = line
	}
	p.token = t
	return err
}

// seen is the token for an error.
func (p *grubParser) seen() string {
	switch {
	case len(p.token.word) > 0:
		return fmt.Sprintf("%q", p.token.word[0].text)
	case p.token.op == "":
		return "the end"
	}
	return fmt.Sprintf("%q", p.token.op)
}

// list reads statements up to a word or operator that ends a list.
func (p *grubParser) list() ([]grubStatement, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	defer func() { p.depth-- }()
	var l []grubStatement
	for {
		for p.token.op == "\n" || p.token.op == ";" {
			if err := p.advance(); err != nil {
				return nil, err
			}
		}
		if p.token.ends() {
			return l, nil
		}
		for _, end := range []string{"then", "elif", "else", "fi"} {
			if p.token.is(end) {
				return l, nil
			}
		}
		s, err := p.statement()
		if err != nil {
			return nil, err
		}
		l = append(l, s)
	}
}

func (p *grubParser) statement() (grubStatement, error) {
	s := grubStatement{line: p.token.line}
	for _, word := range []string{"for", "while", "until", "function", "submenu"} {
		if p.token.is(word) {
			return s, fmt.Errorf("%s is not played", word)
		}
	}
	if p.token.is("if") {
		return p.conditional()
	}
	menuentry := p.token.is("menuentry")
	for !p.token.ends() {
		s.words = append(s.words, p.token.word)
		if err := p.advance(); err != nil {
			return s, err
		}
	}
	if !menuentry {
		if p.token.op == "{" {
			return s, errors.New("{ is not expected here")
		}
		return s, nil
	}
	if p.token.op != "{" {
		return s, fmt.Errorf("menuentry wants {, not %s", p.seen())
	}
	err := p.advance()
	if err == nil {
		s.hasBody = true
		s.body, err = p.list()
	}
	if err == nil && p.token.op != "}" {
		err = fmt.Errorf("menuentry wants }, not %s", p.seen())
	}
	if err == nil {
		err = p.advance()
	}
	return s, err
}

func (p *grubParser) conditional() (grubStatement, error) {
	s := grubStatement{line: p.token.line}
	keyword := func(want string) error {
		if !p.token.is(want) {
			return fmt.Errorf("if wants %s, not %s", want, p.seen())
		}
		return p.advance()
	}
	for {
		var c grubClause
		err := p.advance() // if, elif
		if err == nil {
			c.condition, err = p.list()
		}
		if err == nil {
			err = keyword("then")
		}
		if err == nil {
			c.body, err = p.list()
		}
		if err != nil {
			return s, err
		}
		if len(c.condition) == 0 {
			return s, errors.New("if without a condition")
		}
		if s.clauses = append(s.clauses, c); !p.token.is("elif") {
			break
		}
	}
	if p.token.is("else") {
		err := p.advance()
		if err == nil {
			s.otherwise, err = p.list()
		}
		if err != nil {
			return s, err
		}
	}
	return s, keyword("fi")
}
