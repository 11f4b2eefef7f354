package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// library is one file of a package of npm. It is fetched into the cache and never becomes part of the repository.
type library struct {
	name, version, integrity, file string
}

// The reference renderer and the Markdown it leaves to its host, both under the MIT licence.
var libraries = []library{
	{"markdown-it", "14.1.0", "sha512-a54IwgWPaeBCAAsv13YgmALOF1elABB08FxO9i+r4VFk5Vl4pKokRPeX8u5TCgSsPi6ec1otfLjdOpVcgbpshg==", "package/dist/markdown-it.min.js"},
	{"adaptivecards", "3.0.5", "sha512-MCj9tJY/G3X8T4aUHM2MOQliKSqsXEyxmIca1FoKXCiJpgSgLPhSifsmjMoz1nb+2HbSCqvvkZ12fxJwvkdtXA==", "package/dist/adaptivecards.js"},
}

// read returns the library's file, from the cache or by npm.
func (l library) read(ctx context.Context, cache string) ([]byte, error) {
	archive := l.name + "-" + l.version + ".tgz"
	packed, err := fs.ReadFile(os.DirFS(cache), archive)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // a cache of public files
			return nil, err
		}
		cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", cache, l.name+"@"+l.version) //nolint:gosec // constants
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%w: npm pack %s@%s: %w", &missingError{"the reference renderer"}, l.name, l.version, err)
		}
		packed, err = fs.ReadFile(os.DirFS(cache), archive)
	}
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum512(packed)
	if "sha512-"+base64.StdEncoding.EncodeToString(sum[:]) != l.integrity {
		_ = os.Remove(filepath.Join(cache, archive))
		return nil, fmt.Errorf("%s@%s is not the package that was looked at", l.name, l.version)
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	for t := tar.NewReader(plain); ; {
		h, err := t.Next()
		if err != nil {
			return nil, fmt.Errorf("%s in %s: %w", l.file, archive, err)
		}
		if h.Name == l.file {
			return io.ReadAll(io.LimitReader(t, 16<<20))
		}
	}
}
