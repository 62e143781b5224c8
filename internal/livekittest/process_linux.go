package livekittest

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel kill the server when a test binary dies without its cleanup (panic, timeout).
func dieWithParent(cmd *exec.Cmd) {
	// Its own process group: an interrupt from the terminal is for the parent, which ends the server in its own order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
