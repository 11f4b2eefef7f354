// Command licenses lists the modules that are linked into the programs with their licences: a table for docs/dependencies.md, and the
// licence texts, which go into every package. It fails on a licence that is not allowed. Run it by make generate.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	classifier "github.com/google/licenseclassifier/v2"
	"github.com/google/licenseclassifier/v2/assets"
)

// allowed are the licences (SPDX) under which the programs may be handed on in binary form with no more than the texts.
// MPL-2.0 asks for its own files only, and they are unchanged.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "Unlicense", "CC0-1.0"}

// programs are those that are shipped.
var programs = []string{"worker", "enqueue", "monitor", "nphiessim"}

type module struct {
	Path, Version, Dir string
	folders            []string // of its packages that are linked
	programs           []string
	licenses           []string
	files              []file
}

type file struct {
	name string
	text []byte
}

func main() {
	root := flag.String("root", "../..", "folder of the project")
	table := flag.String("table", "", "file to write the table to")
	texts := flag.String("texts", "", "file to write the texts to")
	flag.Parse()
	if err := run(*root, *table, *texts); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func run(root, table, texts string) error {
	std, err := toolchain(root)
	if err != nil {
		return err
	}
	found := map[string]*module{}
	for _, p := range programs {
		list, err := linked(root, "./cmd/"+p, std)
		if err != nil {
			return err
		}
		for _, m := range list {
			f := found[m.Path]
			if f == nil {
				found[m.Path], f = m, m
			}
			f.programs = append(f.programs, p)
			f.folders = append(f.folders, m.folders...)
		}
	}
	modules := []*module{std}
	for _, p := range slices.Sorted(maps.Keys(found)) {
		modules = append(modules, found[p])
	}
	c, err := assets.DefaultClassifier()
	if err != nil {
		return err
	}
	var bad []error
	for _, m := range modules {
		bad = append(bad, m.read(c))
	}
	if err := errors.Join(bad...); err != nil {
		return err
	}
	if table != "" {
		err = os.WriteFile(table, markdown(modules), 0o644)
	}
	if err == nil && texts != "" {
		err = os.WriteFile(texts, together(modules), 0o644)
	}
	return err
}

// linked are the modules of a program as it is built for servers. The table must not depend on who makes it. Folders of Go's library go to std.
func linked(root, program string, std *module) ([]*module, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,Module,Standard", program)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-mod=readonly")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", program, err)
	}
	var list []*module
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p struct {
			Dir      string
			Standard bool
			Module   *struct {
				Path, Version, Dir string
				Main               bool
				Replace            *struct{ Path, Version, Dir string }
			}
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		m := p.Module
		if p.Standard {
			std.folders = append(std.folders, p.Dir)
		}
		if m == nil || m.Main {
			continue
		}
		if i := slices.IndexFunc(list, func(o *module) bool { return o.Path == m.Path }); i >= 0 {
			list[i].folders = append(list[i].folders, p.Dir)
			continue
		}
		if m.Replace != nil {
			m.Version, m.Dir = m.Replace.Version, m.Replace.Dir
		}
		list = append(list, &module{Path: m.Path, Version: m.Version, Dir: m.Dir, folders: []string{p.Dir}})
	}
}

// toolchain is Go itself, whose library is in each program. Its version is that of whoever builds, so the table has none.
func toolchain(root string) (*module, error) {
	cmd := exec.Command("go", "env", "GOROOT")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	return &module{Path: "Go standard library", Dir: strings.TrimSpace(string(out)), programs: programs}, nil
}

var (
	isLicense = regexp.MustCompile(`(?i)licen[cs]e|copying|copyright|notice|patents`)
	// isBeside are those that need not be a licence themselves.
	isBeside = regexp.MustCompile(`(?i)copyright|notice|patents`)
)

// notLinked are licences in the folder of a linked package that are of something else there.
var notLinked = map[string]bool{
	// Of the object of BoringSSL, which only GOEXPERIMENT=boringcrypto links; without it the package is empty functions.
	"Go standard library: src/crypto/internal/boring/LICENSE": true,
}

// read finds the licence files of a module and says what they are: in the folder of each package that is linked, and above it up to the module's top.
// A folder may be under another licence than the rest.
func (m *module) read(c *classifier.Classifier) error {
	folders := map[string]bool{m.Dir: true}
	for _, dir := range m.folders {
		for inside(m.Dir, dir) && !folders[dir] {
			folders[dir] = true
			dir = filepath.Dir(dir)
		}
	}
	var bad []error
	for _, dir := range slices.Sorted(maps.Keys(folders)) {
		bad = append(bad, m.readFolder(c, dir))
	}
	if err := errors.Join(bad...); err != nil {
		return err
	}
	// What a bundler noted of the scripts in web pages that are linked in.
	bundled, err := filepath.Glob(filepath.Join(m.Dir, "ui/build/static/js/*.LICENSE.txt"))
	if err != nil {
		return err
	}
	for _, name := range bundled {
		text, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		m.files = append(m.files, file{filepath.Base(name), text})
	}
	if len(m.licenses) == 0 {
		return fmt.Errorf("%s: no licence found in %s", m.Path, m.Dir)
	}
	slices.Sort(m.licenses)
	for _, l := range m.licenses {
		if !slices.Contains(allowed, l) {
			return fmt.Errorf("%s %s: licence %s is not allowed; allowed are %s", m.Path, m.Version, l, strings.Join(allowed, ", "))
		}
	}
	return nil
}

// inside says whether a folder lies below another one, whatever links name them.
func inside(top, dir string) bool {
	rel, err := filepath.Rel(top, dir)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}

func (m *module) readFolder(c *classifier.Classifier, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	for _, e := range entries {
		if e.IsDir() || !isLicense.MatchString(e.Name()) || path.Ext(e.Name()) == ".go" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		name, err := filepath.Rel(m.Dir, filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if notLinked[m.Path+": "+name] {
			continue
		}
		m.files = append(m.files, file{name, text})
		known := false
		for _, match := range c.Match(text).Matches {
			if match.MatchType != "License" {
				continue
			}
			known = true
			if !slices.Contains(m.licenses, match.Name) {
				m.licenses = append(m.licenses, match.Name)
			}
		}
		if !known && !isBeside.MatchString(e.Name()) {
			return fmt.Errorf("%s: %s is like no known licence: look at it", m.Path, name)
		}
	}
	return nil
}

func markdown(modules []*module) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Dependencies\n\nThe modules that are linked into the shipped programs (Linux), with the licences that files in the folders of the linked packages name. Their texts are part of every package:\n"+
		"`THIRD_PARTY_LICENSES`; for the scripts in asynqmon's pages, what their bundler noted. Allowed: %s. This page is generated by `make generate`.\n\n| module | version | licence | in |\n|---|---|---|---|\n", strings.Join(allowed, ", "))
	for _, m := range modules {
		in := strings.Join(m.programs, ", ")
		if len(m.programs) == len(programs) {
			in = "all"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", m.Path, m.Version, strings.Join(m.licenses, ", "), in)
	}
	return b.Bytes()
}

func together(modules []*module) []byte {
	var b bytes.Buffer
	b.WriteString("nphiesq is under the Apache License 2.0 (file LICENSE). Its programs contain the following, under the licences given here.\n")
	for _, m := range modules {
		for _, f := range m.files {
			fmt.Fprintf(&b, "\n%[1]s\n%[2]s %[3]s: %[4]s\n%[1]s\n\n%[5]s\n", strings.Repeat("=", 100), m.Path, m.Version, f.name, bytes.TrimRight(f.text, "\n"))
		}
	}
	return b.Bytes()
}
