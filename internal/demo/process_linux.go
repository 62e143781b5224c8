package main

import (
	"os/exec"
	"syscall"
)

// tie makes the kernel kill the process when we die without stopping it. A process group of its own keeps the
// terminal's Ctrl-C away from it: when it stops, and after whom, is for us to say.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
