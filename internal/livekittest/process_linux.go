package livekittest

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel kill the server when a test binary dies without its cleanup (panic, timeout).
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
