package vm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestTranscriptLines(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "one\ntwo\n", "one|two"},
		{"without an end", "one\ntw", "one"},
		{"carriage returns", "one\r\ntwo\r\n", "one|two"},
		{"overwritten", "10%\r50%\rdone\n", "done"},
		{"colours", "\x1b[1;32mok\x1b[0m\n", "ok"},
		{"screen control", "\x1b[2J\x1b[01;01H\x1b=3hBdsDxe\n", "3hBdsDxe"},
		{"empty", "\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all, single := newTranscript(nil), newTranscript(nil)
			fmt.Fprint(all, tt.in)
			for _, c := range []byte(tt.in) {
				single.Write([]byte{c})
			}
			require.Equal(t, tt.want, text(all))
			require.Equal(t, tt.want, text(single))
		})
	}
}

func text(t *Transcript) string {
	var lines []string
	for _, l := range t.Lines() {
		lines = append(lines, l.Text)
	}
	return strings.Join(lines, "|")
}

func TestTranscriptIsBounded(t *testing.T) {
	endless := newTranscript(nil)
	endless.Write(make([]byte, 3*maxLineSize))
	require.Len(t, endless.Lines(), 2)
	long := newTranscript(nil)
	for i := range maxLines + 1 {
		fmt.Fprintln(long, i)
	}
	lines := long.Lines()
	require.Len(t, lines, maxLines/2+1)
	require.Equal(t, fmt.Sprint(maxLines), lines[len(lines)-1].Text)
	_, _, err := long.WaitFor(t.Context(), fmt.Sprintf("^%d$", maxLines))
	require.NoError(t, err)
}

func TestWaitFor(t *testing.T) {
	fatal := regexp.MustCompile(`^PXEKIT failed`)
	tests := []struct {
		name  string
		print func(*Transcript)
		want  string // the submatch, or
		err   string // a part of the error
	}{
		{"already there", func(p *Transcript) { fmt.Fprintln(p, "ip 192.0.2.9") }, "192.0.2.9", ""},
		{"comes later", func(p *Transcript) {
			go func() {
				fmt.Fprint(p, "noise\nip 192")
				synctest.Wait()
				fmt.Fprintln(p, ".0.2.9")
			}()
		}, "192.0.2.9", ""},
		{"fatal line", func(p *Transcript) { fmt.Fprintln(p, "PXEKIT failed fetch") }, "", "it said: PXEKIT failed fetch"},
		{"fatal line after the answer", func(p *Transcript) { fmt.Fprint(p, "ip 192.0.2.9\nPXEKIT failed\n") }, "192.0.2.9", ""},
		{"end", func(p *Transcript) { p.end(errors.New("exit status 1")) }, "", "it ended: exit status 1"},
		{"answer without a line end, then the end", func(p *Transcript) {
			fmt.Fprint(p, "ip 192.0.2.9")
			p.end(nil)
		}, "192.0.2.9", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newTranscript(fatal)
				tt.print(p)
				_, match, err := p.WaitFor(t.Context(), `ip (\S+)`)
				if tt.err != "" {
					require.ErrorContains(t, err, tt.err)
					return
				}
				require.NoError(t, err)
				require.Equal(t, tt.want, match[1])
			})
		})
	}
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p := newTranscript(nil)
		fmt.Fprintln(p, "what it said last")
		_, _, err := p.WaitFor(ctx, "never")
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "what it said last")
	})
	t.Run("bad pattern", func(t *testing.T) {
		_, _, err := newTranscript(nil).WaitFor(t.Context(), "(")
		require.Error(t, err)
	})
}
