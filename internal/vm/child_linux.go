package vm

import (
	"os/exec"
	"runtime"
	"syscall"
)

// startChild starts cmd so that it dies with this process, and waits for it: the
// result of Wait comes out of the channel, once.
//
// The kernel sends Pdeathsig when the *thread* ends that started the child, so a
// goroutine stays locked to that thread as long as the child lives.
func startChild(cmd *exec.Cmd) (<-chan error, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error, 1)
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return ended, nil
}
