package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Process is a running program: the server under test.
type Process struct {
	// Stdout and Stderr are what it prints.
	Stdout, Stderr *Transcript

	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start runs the program name in the network namespace of the caller and returns
// when it has printed a line that begins with "ready" on standard error. When ctx
// ends, so does the program.
func Start(ctx context.Context, name string, args ...string) (*Process, error) {
	return start(ctx, exec.CommandContext(ctx, name, args...), `^ready`)
}

// start runs cmd, made with ctx, and returns when a line that it prints on standard
// error matches the pattern ready.
func start(ctx context.Context, cmd *exec.Cmd, ready string) (*Process, error) {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	p := &Process{Stdout: newTranscript(nil), Stderr: newTranscript(nil), cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.Stdout, p.Stderr
	ended, err := startChild(cmd)
	if err != nil {
		return nil, fmt.Errorf("vm: start %s: %w", cmd.Args[0], err)
	}
	go func() {
		p.err = <-ended
		p.Stdout.end(p.err)
		p.Stderr.end(p.err)
		close(p.done)
	}()
	if _, _, err := p.Stderr.WaitFor(ctx, ready); err != nil {
		p.Kill()
		return nil, fmt.Errorf("%s did not get ready: %w", cmd.Args[0], err)
	}
	return p, nil
}

// Stop sends SIGTERM and waits; nil means that the program ended with status 0.
// When ctx ends first the program is killed.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("vm: stop %s: %w", p.cmd.Path, err)
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("vm: %s did not stop: %w", p.cmd.Path, ctx.Err())
	}
}

// Kill ends the program at once and waits for it; ended already, it does nothing.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}
