package pxetest

import (
	"errors"
	"fmt"
	"strings"
)

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
		for _, end := range []string{"then", "elif", "else", "fi", "do", "done"} {
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
	for _, word := range []string{"function", "submenu"} {
		if p.token.is(word) {
			return s, fmt.Errorf("%s is not played", word)
		}
	}
	switch {
	case p.token.is("if"):
		return p.conditional()
	case p.token.is("while"), p.token.is("until"):
		return p.whileLoop()
	case p.token.is("for"):
		return p.forLoop()
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
	for {
		var c grubClause
		err := p.advance() // if, elif
		if err == nil {
			c.condition, err = p.list()
		}
		if err == nil {
			err = p.keyword("if", "then")
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
	return s, p.keyword("if", "fi")
}

// keyword reads a keyword that a statement must go on with.
func (p *grubParser) keyword(statement, want string) error {
	if !p.token.is(want) {
		return fmt.Errorf("%s wants %s, not %s", statement, want, p.seen())
	}
	return p.advance()
}

func (p *grubParser) whileLoop() (grubStatement, error) {
	s := grubStatement{line: p.token.line, loop: &grubLoop{until: p.token.is("until")}}
	name := p.token.word[0].text
	err := p.advance()
	if err == nil {
		s.loop.condition, err = p.list()
	}
	if err == nil && len(s.loop.condition) == 0 {
		err = fmt.Errorf("%s without a condition", name)
	}
	if err != nil {
		return s, err
	}
	return s, p.loopBody(name, s.loop)
}

func (p *grubParser) forLoop() (grubStatement, error) {
	s := grubStatement{line: p.token.line, loop: &grubLoop{}}
	if err := p.advance(); err != nil {
		return s, err
	}
	w := p.token.word
	if len(w) != 1 || w[0].quoted || w[0].variable || strings.IndexFunc(w[0].text, notInGRUBName) >= 0 {
		return s, fmt.Errorf("for wants the name of a variable, not %s", p.seen())
	}
	s.loop.variable = w[0].text
	err := p.advance()
	if err == nil {
		err = p.keyword("for", "in")
	}
	for err == nil && !p.token.ends() {
		s.loop.words = append(s.loop.words, p.token.word)
		err = p.advance()
	}
	for err == nil && (p.token.op == "\n" || p.token.op == ";") {
		err = p.advance()
	}
	if err != nil {
		return s, err
	}
	return s, p.loopBody("for", s.loop)
}

func (p *grubParser) loopBody(name string, l *grubLoop) error {
	err := p.keyword(name, "do")
	if err == nil {
		l.body, err = p.list()
	}
	if err == nil {
		err = p.keyword(name, "done")
	}
	return err
}
