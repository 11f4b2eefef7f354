// Package check tests what deploy/ holds: the Helm chart, the compose file, the systemd units. It is a module of its own, so that
// none of what it needs for that gets into the programs.
package check

//go:generate go run ./generate
//go:generate go run ./licenses -table ../../docs/dependencies.md
