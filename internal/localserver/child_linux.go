package localserver

import (
	"os/exec"
	"syscall"
)

// bindToParent lets the kernel end the child when this process dies, even by kill -9, and keeps a terminal's Ctrl-C from it.
func bindToParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

func asServerAccount(cmd *exec.Cmd) {
	if uid, gid, ok := serverAccount(); ok {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}} //nolint:gosec // ids of the user database
	}
}
