package actionlink

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	first  = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	second = "k2:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	// vector is that of the protocol's section 3.3.
	vector = "v1.k1.eyJqIjoiMDFKSDhXOVYzVDAwMDAwMDAwMDAwMDAwMDIiLCJhIjoiYWxyXzAxSkg4VzlWM1QwMDAwMDAwMDAwMDAwMDAwIiwidiI6ImFja25vd2xlZGdlIiwiYyI6InNyZSIsImkiOjE3NjcyMjU2MDAsImUiOjE3NjczMTIwMDB9.oTCliaThNeOW75Gq7fMEEyhS-x0XezKT42RJ2pbnprA"
)

var issued = time.Unix(1767225600, 0).UTC()

func keys(t testing.TB, text string) Keys {
	t.Helper()
	k, err := ParseKeys(text)
	require.NoError(t, err)
	return k
}

func TestTheVector(t *testing.T) {
	k := keys(t, first)
	want := Token{
		ID: "01JH8W9V3T0000000000000002", Alert: "alr_01JH8W9V3T0000000000000000", Verb: "acknowledge", Audience: "sre",
		Issued: issued, Expires: issued.Add(24 * time.Hour),
	}
	token, err := k.Mint(want)
	require.NoError(t, err)
	require.Equal(t, vector, token)
	got, err := k.Verify(vector, issued.Add(time.Hour))
	require.NoError(t, err)
	want.KeyID = "k1"
	require.Equal(t, want, got)
}

func TestEveryLinkIsAnother(t *testing.T) {
	k := keys(t, first)
	a, err := k.Mint(Token{Alert: "a", Verb: "retry", Issued: issued, Expires: issued.Add(time.Hour)})
	require.NoError(t, err)
	b, err := k.Mint(Token{Alert: "a", Verb: "retry", Issued: issued, Expires: issued.Add(time.Hour)})
	require.NoError(t, err)
	require.NotEqual(t, a, b)
	_, err = k.Mint(Token{Alert: strings.Repeat("a", 400), Verb: "retry", Issued: issued, Expires: issued.Add(time.Hour)})
	require.ErrorContains(t, err, "at most 512")
	_, err = Keys{}.Mint(Token{})
	require.Error(t, err)
}

func TestWhatIsNotAccepted(t *testing.T) {
	k := keys(t, first)
	now := issued.Add(time.Minute)
	parts := strings.Split(vector, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	other := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(raw), "acknowledge", "discard", 1)))
	for name, token := range map[string]string{
		"empty": "", "not a token": "x", "another version": "v2" + vector[2:], "another key's id": "v1.k2." + parts[2] + "." + parts[3],
		"another verb": "v1.k1." + other + "." + parts[3], "no signature": "v1.k1." + parts[2] + ".", "cut": vector[:len(vector)-1],
		"signature with padding": vector + "=", "line end": vector + "\n", "more parts": vector + ".x", "too long": vector + strings.Repeat("A", 300),
	} {
		_, err := k.Verify(token, now)
		require.ErrorIs(t, err, ErrToken, name)
	}
	for i := range len(vector) { // no character may be another
		for _, c := range []byte{'A', 'B', '-', '.'} {
			if vector[i] == c {
				continue
			}
			_, err := k.Verify(vector[:i]+string(c)+vector[i+1:], now)
			require.ErrorIs(t, err, ErrToken, "%d %c", i, c)
		}
	}
	_, err = k.Verify(vector, issued.Add(24*time.Hour))
	require.ErrorIs(t, err, ErrExpired)
	_, err = k.Verify(vector, issued.Add(24*time.Hour-time.Second))
	require.NoError(t, err)
	_, err = k.Verify(vector, issued.Add(-2*time.Minute))
	require.ErrorIs(t, err, ErrToken, "from the future")
	// Signed, but not a link: a key that is used for something else says nothing here.
	token, err := k.sign(payload{J: "j", A: "a", V: "retry", I: 2, E: 1})
	require.NoError(t, err)
	_, err = k.Verify(token, now)
	require.ErrorIs(t, err, ErrToken)
}

func TestKeysAreChanged(t *testing.T) {
	old := keys(t, first)
	token, err := old.Mint(Token{Alert: "a", Verb: "retry", Issued: issued, Expires: issued.Add(time.Hour)})
	require.NoError(t, err)
	both := keys(t, second+" "+first)
	got, err := both.Verify(token, issued)
	require.NoError(t, err)
	require.Equal(t, "k1", got.KeyID)
	token, err = both.Mint(Token{Alert: "a", Verb: "retry", Issued: issued, Expires: issued.Add(time.Hour)})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(token, "v1.k2."))
	_, err = old.Verify(token, issued)
	require.ErrorIs(t, err, ErrToken)
	for text, want := range map[string]string{
		"abc": "key 1: want id:base64", "K1:x": "key 1: want id:base64", "k1:x": "key 1: want 32 bytes", "k1:" + strings.Repeat("A", 44): "key 1: want 32 bytes",
		first + " " + first: "key 2: its id was given before", first + " " + second + " k3:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=": "3 keys",
	} {
		_, err := ParseKeys(text)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "MDEy")
	}
}

func FuzzVerify(f *testing.F) {
	k := keys(f, first)
	f.Add(vector)
	f.Add("v1.k1..")
	f.Fuzz(func(t *testing.T, token string) {
		if got, err := k.Verify(token, issued.Add(time.Minute)); err == nil && token != vector {
			t.Fatalf("accepted %q: %+v", token, got)
		}
	})
}
