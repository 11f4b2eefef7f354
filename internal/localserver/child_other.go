//go:build !linux

package localserver

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
)

func bindToParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}

func asServerAccount(cmd *exec.Cmd) {
	if uid, gid, ok := serverAccount(); ok {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}} //nolint:gosec // ids of the user database
	}
}

// parents maps each process to its parent.
func parents() map[int]int {
	out := map[int]int{}
	list, err := exec.CommandContext(context.Background(), "ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return out
	}
	for line := range strings.Lines(string(list)) {
		var pid, ppid int
		if _, err := fmt.Sscan(line, &pid, &ppid); err == nil {
			out[pid] = ppid
		}
	}
	return out
}
