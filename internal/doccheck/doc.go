// Package doccheck holds the documentation to what the programs do: a test walks README.md, CONTRIBUTING.md, examples and docs, carries out
// the commands, runs the queries, and looks up the settings, flags, links and pages that are named. How a block is marked says what is
// done with it:
//
//	sh              executed, page by page, in the order of the page, against real servers with a worker, in a folder that has the
//	                repository's examples/ and deploy/; those of docs/runbooks with the roles and users of an installation
//	sh serve        executed in the background, until the page ends
//	sh tenant       not executed: it needs something of yours (a Vault, a cluster, a directory of Microsoft's, a terminal). One of the
//	                commands of a closed list must be in it
//	sh script       not executed here: one of scripts/ takes it with doc-blocks.sh, and is run by hand (make try-image, try-systemd)
//	sh make         targets of the Makefile: they must be there
//	sql             executed against the migrated database, in a transaction that is rolled back
//	env             settings, one a line: they must exist
//	json, yaml      parsed
//	hcl             policies of Vault: their lines must stand in deploy/vault
//	text, conf      shown
//
// In all of sh the commands of ours, also those that run within a container or a pod, must fit the programs' own grammar, and so must those
// between backquotes in the text. That is all that is known of what is not executed: whether it does what the page says nobody has tried.
package doccheck
