// Package postgres holds the scripts for PostgreSQL that the programs run themselves.
package postgres

import _ "embed"

// Grants says what the roles may do with the tables. It is run as their owner after each migration: `worker migrate grants`.
//
//go:embed grants.sql
var Grants string
