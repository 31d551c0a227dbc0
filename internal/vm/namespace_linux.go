package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// outerVariable tells the copy in which network namespace the original runs.
const outerVariable = "PXEKIT_OUTER_NETNS"

// EnterNamespace runs the calling program again, with the same arguments and
// files, in a fresh network namespace. In that copy it returns inside == true at
// once. In the original it returns when the copy has ended, with the copy's exit
// code, and the caller has nothing left to do but to exit with it:
//
//	inside, code, err := vm.EnterNamespace()
//	if err == nil && !inside {
//		os.Exit(code)
//	}
//
// As root the copy differs in its network alone. An unprivileged caller gets a
// user namespace too, in which it is root; where the system forbids that, err says
// so and nothing has been started. Call it before anything else of consequence.
//
// The copy dies with the original, and the namespace with everything in it when
// its last process ends. Signals that ask a program to stop are passed on.
func EnterNamespace() (inside bool, code int, err error) {
	inside, current, err := insideNamespace()
	if err != nil || inside {
		return inside, 0, err
	}
	cmd, err := startCopy(current)
	if err != nil {
		return false, 0, err
	}
	stop := forwardSignals(cmd.Process)
	err = cmd.Wait()
	stop()
	runtime.UnlockOSThread()

	var exit *exec.ExitError
	switch {
	case err == nil:
		return false, 0, nil
	case errors.As(err, &exit) && exit.Exited():
		return false, exit.ExitCode(), nil
	case errors.As(err, &exit):
		// Ended by a signal: what a shell would report.
		return false, 128 + int(exit.Sys().(syscall.WaitStatus).Signal()), nil
	default:
		return false, 0, fmt.Errorf("vm: wait for the program in its namespace: %w", err)
	}
}

// insideNamespace tells whether the program already runs in a namespace made by
// EnterNamespace, and names the current one. The variable alone is not believed:
// a stale one in the environment must not make a test touch the host's network.
func insideNamespace() (inside bool, current string, err error) {
	current, err = os.Readlink("/proc/self/ns/net")
	if err != nil {
		return false, "", fmt.Errorf("vm: name of the network namespace: %w", err)
	}
	outer := os.Getenv(outerVariable)
	return outer != "" && outer != current, current, nil
}

// startCopy starts the program again and leaves the calling goroutine locked to
// its thread: the kernel sends Pdeathsig when the thread ends that started the
// child, not the process.
func startCopy(outer string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("vm: path of this program: %w", err)
	}
	runtime.LockOSThread()
	start := func(flags uintptr) (*exec.Cmd, error) {
		cmd := exec.Command(self, os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), outerVariable+"="+outer)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags&syscall.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		}
		return cmd, cmd.Start()
	}
	if os.Geteuid() == 0 {
		cmd, err := start(syscall.CLONE_NEWNET)
		if err == nil {
			return cmd, nil
		}
		// Root in a container often lacks the capability; a user namespace may do.
	}
	cmd, err := start(syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET)
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("vm: no network namespace of our own: run as root or allow unprivileged user namespaces (sysctl user.max_user_namespaces): %w", err)
	}
	return cmd, nil
}

// forwardSignals passes on to p what asks this process to stop, until stop.
func forwardSignals(p *os.Process) (stop func()) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				_ = p.Signal(s) // it may just have ended: then there is nobody to tell
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}
