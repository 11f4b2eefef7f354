package nphiesclient

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Identity is what a client shows to NPHIES, and what it trusts. It does not change; a renewed certificate is another one.
type Identity struct {
	// Certificate with its chain and key. Leaf is set.
	Certificate tls.Certificate
	// Roots are the authorities that NPHIES' own certificate may be signed by; nil leaves those of Config.TLS.
	Roots *x509.CertPool
}

// Fingerprint is the SHA-256 of the certificate, in lower case hex.
func (i *Identity) Fingerprint() string {
	sum := sha256.Sum256(i.Certificate.Leaf.Raw)
	return hex.EncodeToString(sum[:])
}

// LoadPKCS12 reads the client certificate and key of a .p12 or .pfx file, with the chain it holds, in any order; the older
// forms (RC2, 3DES) as well as AES. Leaf is set, so that the caller can watch NotAfter.
//
// Errors: a fault of Kind Config; it never quotes the passphrase.
func LoadPKCS12(data []byte, passphrase string) (tls.Certificate, error) {
	key, first, rest, err := pkcs12.DecodeChain(data, passphrase)
	if err != nil {
		return tls.Certificate{}, certificateFault("cannot read the PKCS#12 file: wrong passphrase, or not such a file", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return tls.Certificate{}, certificateFault("the PKCS#12 file holds a key of an unknown kind", nil)
	}
	c := tls.Certificate{PrivateKey: key}
	var chain [][]byte
	for _, x := range append([]*x509.Certificate{first}, rest...) {
		if public, ok := signer.Public().(interface{ Equal(x crypto.PublicKey) bool }); c.Leaf == nil && ok && public.Equal(x.PublicKey) {
			c.Leaf = x
			continue
		}
		chain = append(chain, x.Raw)
	}
	if c.Leaf == nil {
		return tls.Certificate{}, certificateFault("the key of the PKCS#12 file does not belong to its certificate", nil)
	}
	c.Certificate = append([][]byte{c.Leaf.Raw}, chain...)
	return c, nil
}

// LoadPEM reads a client certificate, with its chain, and an unencrypted key from PEM text. Leaf is set.
//
// Errors: a fault of Kind Config.
func LoadPEM(certificate, key []byte) (tls.Certificate, error) {
	c, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		if bytes.Contains(key, []byte("ENCRYPTED")) {
			return tls.Certificate{}, certificateFault("the PEM key is encrypted: decrypt it (openssl pkey), or use PKCS#12", err)
		}
		return tls.Certificate{}, certificateFault("cannot read the PEM certificate and key, or they do not belong together", err)
	}
	return c, nil
}

// LoadRoots reads certificates of authorities from PEM text, for a server whose authority the system does not know.
func LoadRoots(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, certificateFault("no certificate in the PEM text of authorities", nil)
	}
	return pool, nil
}

func certificateFault(safe string, err error) error {
	return &fault.Error{Op: "load certificate", Kind: fault.Config, Safe: safe, Permanent: true, Err: err}
}

// Material is what an Identity is made of: PKCS12 with Passphrase, or Certificate with Key. It never prints.
type Material struct {
	PKCS12     []byte
	Passphrase string
	// Certificate (with its chain) and Key are PEM.
	Certificate, Key []byte
	// Roots is PEM; empty for none.
	Roots []byte
}

// String hides the content.
func (Material) String() string { return "<secret>" }

// GoString hides the content from %#v.
func (Material) GoString() string { return "<secret>" }

// Identity reads the material. Errors: a fault of Kind Config.
func (m Material) Identity() (*Identity, error) {
	var id Identity
	var err error
	switch {
	case len(m.PKCS12) > 0 && len(m.Certificate)+len(m.Key) > 0:
		return nil, certificateFault("there is a PKCS#12 and a PEM certificate: keep one of them", nil)
	case len(m.PKCS12) > 0:
		id.Certificate, err = LoadPKCS12(m.PKCS12, m.Passphrase)
	default:
		id.Certificate, err = LoadPEM(m.Certificate, m.Key)
	}
	if err == nil && len(m.Roots) > 0 {
		id.Roots, err = LoadRoots(m.Roots)
	}
	if err != nil {
		return nil, err
	}
	return &id, nil
}

// digest tells one material from another.
func (m Material) digest() string {
	h := sha256.New()
	for _, part := range [][]byte{m.PKCS12, []byte(m.Passphrase), m.Certificate, m.Key, m.Roots} {
		_, _ = fmt.Fprintf(h, "%d:", len(part)) // a hash takes everything
		_, _ = h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Source is where a certificate is kept.
type Source interface {
	// Read returns what is there now. Errors: a fault of Kind NotFound when nothing is there, Unavailable when it cannot be
	// told, Config when it is there and wrong.
	Read(ctx context.Context) (Material, error)
	// String names the place, for people.
	String() string
}

// stamper is a Source that can tell cheaply whether it may have changed: then its stamp differs.
type stamper interface{ stamp() string }

// files is a certificate in files.
type files struct {
	name               string
	pkcs12, passphrase string
	passphraseFile     string // "" when the passphrase is given
	certificate, key   string
}

// PKCS12File is a certificate in a .p12 or .pfx file.
func PKCS12File(path, passphrase string) Source {
	return &files{name: path, pkcs12: path, passphrase: passphrase}
}

// PEMFiles is a certificate, with its chain, and an unencrypted key in two PEM files.
func PEMFiles(certificate, key string) Source {
	return &files{name: certificate, certificate: certificate, key: key}
}

// InDirectory is the certificate of a licence in a folder with one for each: <licence>.p12 with the passphrase in
// <licence>.pass (no such file: no passphrase; blanks and newlines around it do not count), or <licence>.crt with <licence>.key.
func InDirectory(dir, license string) Source {
	base := filepath.Join(dir, license)
	return &files{
		name: base + ".p12 or .crt", pkcs12: base + ".p12", passphraseFile: base + ".pass", certificate: base + ".crt", key: base + ".key",
	}
}

func (f *files) String() string { return f.name }

func (f *files) stamp() string {
	var b strings.Builder
	for _, path := range []string{f.pkcs12, f.passphraseFile, f.certificate, f.key} {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			_, _ = fmt.Fprintf(&b, "%d/%d", info.ModTime().UnixNano(), info.Size())
		}
		b.WriteByte(';')
	}
	return b.String()
}

func (f *files) Read(context.Context) (Material, error) {
	var m Material
	var errs []error
	read := func(path string) []byte {
		if path == "" {
			return nil
		}
		body, err := os.ReadFile(path) //nolint:gosec // the operator names the file or its folder
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, certificateFault("cannot read "+path+": "+cause(err), err))
		}
		return body
	}
	m.PKCS12, m.Certificate, m.Key, m.Passphrase = read(f.pkcs12), read(f.certificate), read(f.key), f.passphrase
	if pass := read(f.passphraseFile); pass != nil {
		m.Passphrase = strings.TrimSpace(string(pass))
	}
	switch {
	case len(errs) > 0:
		return Material{}, errors.Join(errs...)
	case m.PKCS12 == nil && m.Certificate == nil && m.Key == nil:
		return Material{}, &fault.Error{Op: "load certificate", Kind: fault.NotFound, Safe: "no file " + f.name, Permanent: true}
	case m.PKCS12 == nil && m.Certificate == nil:
		return Material{}, certificateFault("no file "+f.certificate+" beside the key", nil)
	case m.PKCS12 == nil && m.Key == nil:
		return Material{}, certificateFault("no file "+f.key+" beside the certificate", nil)
	}
	return m, nil
}

func cause(err error) string {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err.Error()
	}
	return "unreadable"
}

// KV reads a secret of several named values, as Vault keeps them.
type KV interface {
	// ReadKV returns the values at path. Errors as for Source.Read. version is of no use here.
	ReadKV(ctx context.Context, path string) (values map[string]string, version int, err error)
}

// vault is a certificate in Vault.
type vault struct {
	kv   KV
	path string
}

// InVault is a certificate in a secret of Vault's KV engine: pkcs12 (base64) with passphrase, or certificate with key (PEM);
// optionally ca (PEM), the authorities that NPHIES' own certificate may be signed by. Blanks and newlines around the passphrase do
// not count.
func InVault(kv KV, path string) Source { return &vault{kv, path} }

func (v *vault) String() string { return "Vault " + v.path }

func (v *vault) Read(ctx context.Context) (Material, error) {
	values, _, err := v.kv.ReadKV(ctx, v.path)
	if err != nil {
		return Material{}, err
	}
	m := Material{
		Passphrase: strings.TrimSpace(values["passphrase"]), Certificate: []byte(values["certificate"]), Key: []byte(values["key"]), Roots: []byte(values["ca"]),
	}
	// base64 is often written in lines.
	text := strings.Join(strings.Fields(values["pkcs12"]), "")
	if m.PKCS12, err = base64.StdEncoding.DecodeString(text); err != nil {
		return Material{}, certificateFault("pkcs12 in "+v.path+" is not base64", err)
	}
	if len(m.PKCS12) == 0 && (len(m.Certificate) == 0 || len(m.Key) == 0) {
		return Material{}, certificateFault(v.path+" holds neither pkcs12 nor certificate and key", nil)
	}
	return m, nil
}

// CertificateState says how the certificate of one licence stands.
type CertificateState struct {
	// License is the provider licence, or "default" for the certificate of all that have none of their own.
	License string
	// Source names where it is kept.
	Source string
	// Fingerprint is the SHA-256 of the certificate in hex; CommonName, Issuer (its common name), Serial (hex) and NotAfter
	// are what it says. All are empty while none is loaded.
	Fingerprint, CommonName, Issuer, Serial string
	NotAfter                                time.Time
	// Reloads counts the times another certificate came into use; Failures the looks at something new that could not be used.
	Reloads, Failures int
	// Problem is why what is there now is not in use, nil when it is. ProblemID names it: it changes with what is there.
	Problem   error
	ProblemID string
}
