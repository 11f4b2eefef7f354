package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/claimlinc/nphiesq/internal/signin"
)

// hash prints the bcrypt hash of a password. On a terminal it is asked for twice and not shown; else it is the first line.
func hash(stdin io.Reader, stdout, stderr io.Writer) error {
	password, err := readPassword(stdin, stderr)
	if err != nil {
		return err
	}
	h, err := signin.Hash(password)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, h)
	return err
}

func readPassword(stdin io.Reader, stderr io.Writer) ([]byte, error) {
	file, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		all, err := io.ReadAll(io.LimitReader(stdin, 4096))
		if err != nil {
			return nil, errors.New("cannot read standard input")
		}
		line, _, _ := bytes.Cut(all, []byte("\n"))
		return bytes.TrimSuffix(line, []byte("\r")), nil
	}
	ask := func(what string) ([]byte, error) {
		_, _ = fmt.Fprint(stderr, what)
		defer fmt.Fprintln(stderr)
		return term.ReadPassword(int(file.Fd()))
	}
	first, err := ask("Password: ")
	if err != nil {
		return nil, errors.New("cannot read from the terminal")
	}
	second, err := ask("Once more: ")
	if err != nil {
		return nil, errors.New("cannot read from the terminal")
	}
	if !bytes.Equal(first, second) {
		return nil, errors.New("the two passwords differ")
	}
	return first, nil
}
