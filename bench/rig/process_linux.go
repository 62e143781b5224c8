package rig

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel end a program whose benchmark died without stopping it.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
