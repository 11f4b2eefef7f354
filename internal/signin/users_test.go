package signin_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/claimlinc/nphiesq/internal/signin"
)

// argon is a cheap hash of the password, with a cost of choice in its text.
func argon(cost string) string {
	salt := []byte("0123456789abcdef")
	sum := argon2.IDKey([]byte(password), salt, 1, 64, 1, 32)
	return "$argon2id$v=19$" + cost + "$" + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(sum)
}

const cheap = "m=64,t=1,p=1"

func TestParseUsers(t *testing.T) {
	hash := passwordHash()
	apache := "$2y$" + strings.TrimPrefix(hash, "$2a$") // htpasswd's mark
	good := argon(cheap)
	part := strings.Split(good, "$")
	for name, c := range map[string]struct{ text, want string }{
		"two":               {"amal:operator:" + hash + "\nvera:viewer:" + apache, ""},
		"several roles":     {"amal:operator+privacy:" + hash, ""},
		"all roles":         {"amal:viewer+operator+supervisor+privacy:" + hash, ""},
		"argon2id":          {"amal:supervisor:" + good, ""},
		"none":              {" \n ", "MONITOR_USERS: nobody may sign in; want name:role:hash"},
		"plain password":    {"amal:operator:" + hash + " vera:viewer:hunter2", "MONITOR_USERS: entry 2: the hash is no bcrypt hash"},
		"cut hash":          {"amal:operator:" + hash[:59], "entry 1: the hash is no bcrypt hash"},
		"unknown role":      {"amal:admin:" + hash, "entry 1: the role must be viewer, operator, supervisor or privacy"},
		"one unknown role":  {"amal:viewer+admin:" + hash, "entry 1: the role must be viewer"},
		"empty role":        {"amal::" + hash, "entry 1: the role must be viewer"},
		"half a role":       {"amal:operator+:" + hash, "entry 1: the role must be viewer"},
		"no role":           {"amal:" + hash, "entry 1: want name:role:hash"},
		"odd name":          {"<b>:viewer:" + hash, "entry 1: the name"},
		"same name twice":   {"amal:viewer:" + hash + " Amal:operator:" + hash, "entry 2: the name was given before"},
		"too costly":        {"amal:viewer:$2a$31$" + hash[7:], "entry 1: the hash costs too much"},
		"argon2i":           {"amal:viewer:" + strings.Replace(good, "argon2id", "argon2i", 1), "want $argon2id$"},
		"argon2 version":    {"amal:viewer:" + strings.Replace(good, "v=19", "v=16", 1), "want version 19"},
		"too much memory":   {"amal:viewer:" + argon("m=65537,t=1,p=1"), "the cost of argon2id is not allowed; want m up to 65536"},
		"very much memory":  {"amal:viewer:" + argon("m=4294967295,t=1,p=1"), "the cost of argon2id is not allowed"},
		"memory overflows":  {"amal:viewer:" + argon("m=4294967360,t=1,p=1"), "want the cost of argon2id as"},
		"too many passes":   {"amal:viewer:" + argon("m=64,t=11,p=1"), "the cost of argon2id is not allowed"},
		"no passes":         {"amal:viewer:" + argon("m=64,t=0,p=1"), "the cost of argon2id is not allowed"},
		"too many lanes":    {"amal:viewer:" + argon("m=64,t=1,p=9"), "the cost of argon2id is not allowed"},
		"no lanes":          {"amal:viewer:" + argon("m=64,t=1,p=0"), "the cost of argon2id is not allowed"},
		"memory below":      {"amal:viewer:" + argon("m=15,t=1,p=2"), "the cost of argon2id is not allowed"},
		"cost in disorder":  {"amal:viewer:" + argon("t=1,m=64,p=1"), "want the cost of argon2id as"},
		"cost and more":     {"amal:viewer:" + argon("m=64,t=1,p=1,x=1"), "want the cost of argon2id as"},
		"short salt":        {"amal:viewer:" + strings.Replace(good, part[4], "MTIzNDU2Nw", 1), "want a salt of 8 to 64 bytes"},
		"short sum":         {"amal:viewer:" + strings.Replace(good, part[5], "MTIzNDU2Nw", 1), "want a hash of 16 to 64 bytes"},
		"sum is no base64":  {"amal:viewer:" + good + "=", "want a hash of 16 to 64 bytes"},
		"argon2 cut":        {"amal:viewer:$argon2id$v=19$" + cheap, "want $argon2id$"},
		"argon2 with blank": {"amal:viewer:$argon2id$v= 19$" + cheap, "want $argon2id$"},
	} {
		_, err := signin.ParseUsers(c.text)
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), hash[10:], name)
		require.NotContains(t, err.Error(), part[5], name)
		require.NotContains(t, err.Error(), "hunter2", name)
	}
}

func TestHash(t *testing.T) {
	h, err := signin.Hash([]byte(password))
	require.NoError(t, err)
	require.NoError(t, bcrypt.CompareHashAndPassword([]byte(h), []byte(password)))
	for _, bad := range []string{"short", strings.Repeat("x", 73)} {
		_, err = signin.Hash([]byte(bad))
		require.ErrorContains(t, err, "12 to 72 bytes")
	}
}

func TestRoles(t *testing.T) {
	for roles, want := range map[string]string{
		"": "", "viewer": "viewer", "operator": "viewer operator", "supervisor": "viewer operator supervisor", "privacy": "viewer privacy",
		"operator privacy": "viewer operator privacy",
	} {
		var p signin.Person
		for r := range strings.FieldsSeq(roles) {
			p.Roles = append(p.Roles, signin.Role(r))
		}
		var has []string
		for _, r := range signin.Roles() {
			if p.Has(r) {
				has = append(has, string(r))
			}
		}
		require.Equal(t, strings.Fields(want), append([]string{}, has...), roles)
		require.Equal(t, p.Has(signin.Operator), p.Operator())
		require.Equal(t, p.Has(signin.Privacy), p.Privacy())
		require.False(t, p.Has("admin"))
		require.False(t, p.Has(""))
	}
	require.Equal(t, "operator, privacy", signin.Person{Roles: []signin.Role{signin.Operator, signin.Privacy}}.Role())
	require.Equal(t, "amal", signin.Person{ID: "local:amal", Name: "amal", Method: signin.ByPassword}.Actor())
	require.Equal(t, "amal (7f)", signin.Person{ID: "7f", Name: "amal", Method: signin.ByOIDC}.Actor(), "who calls themselves like a local user is told from that one")
}

// write puts content into the file; the time of the change is told apart even where the file system's clock is coarse.
func write(t *testing.T, file, content string, age time.Duration) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	at := time.Now().Add(-age)
	require.NoError(t, os.Chtimes(file, at, at))
}

// TestUsersFileChanges: what changes in the file holds at once, also for those who are signed in.
func TestUsersFileChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	hash, strong := passwordHash(), argon(cheap)
	write(t, file, "# who\n\n amal:operator:"+hash+"  # the boss\nvera:viewer:"+strong+"\nzoe:viewer:"+hash+"\n", 90*time.Second)
	h := open(t, func(o *signin.Options) {
		var err error
		o.Users, err = signin.LoadUsers("olga:operator:"+hash, file, o.Log)
		require.NoError(t, err)
	})
	amal, vera, olga, zoe := h.signIn(t, "amal"), h.signIn(t, "vera"), h.signIn(t, "olga"), h.signIn(t, "zoe")
	require.Equal(t, "local:amal|amal|operator||password", amal.who())

	write(t, file, "amal:viewer:"+hash+"\nvera:viewer:"+strong+"\n", 80*time.Second)
	require.Empty(t, amal.who(), "a role was taken: the session ends")
	require.Empty(t, zoe.who(), "no user any more")
	require.NotEmpty(t, vera.who())
	require.NotEmpty(t, olga.who(), "one of the setting")
	require.Equal(t, http.StatusUnauthorized, h.visitor(t).post("/signin", url.Values{"name": {"zoe"}, "password": {password}}).status)
	require.Equal(t, "local:amal|amal|viewer||password", h.signIn(t, "amal").who())
	write(t, file, "amal:operator:"+hash+"\nvera:viewer:"+hash+"\n", 70*time.Second)
	require.Empty(t, amal.who(), "what has ended does not come back with the role")
	require.Empty(t, vera.who(), "another password")

	vera = h.signIn(t, "vera")
	write(t, file, "amal:operator:oops\nvera:viewer:"+hash+"\n", 60*time.Second)
	require.NotEmpty(t, vera.who())
	require.Equal(t, http.StatusUnauthorized, h.visitor(t).post("/signin", url.Values{"name": {"amal"}, "password": {password}}).status, "a wrong entry is left out")
	require.Contains(t, h.log.String(), "line 1: the hash is no bcrypt hash")
	require.NoError(t, os.Remove(file))
	require.NotEmpty(t, vera.who(), "the former entries hold")
	require.NotEmpty(t, vera.who())
	require.Equal(t, 1, strings.Count(h.log.String(), "cannot be read again"), "told once")
	write(t, file, "# nobody\n", 50*time.Second)
	require.Empty(t, vera.who())
	require.NotEmpty(t, olga.who())
	require.NotContains(t, h.log.String(), hash[10:])
}

func TestUsersFileAtStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	hash := passwordHash()
	for content, want := range map[string]string{
		"amal:operator:" + hash + "\nvera:viewer:x\nbob\n": "MONITOR_USERS_FILE: line 2: the hash is no bcrypt hash",
		"olga:viewer:" + hash:                              "MONITOR_USERS_FILE: line 1: the name was given before",
		"a:viewer:" + hash + " b:viewer:" + hash:           "MONITOR_USERS_FILE: line 1: the hash is no bcrypt hash",
	} {
		write(t, file, content, 0)
		_, err := signin.LoadUsers("olga:operator:"+hash, file, nil)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), hash[10:])
	}
	_, err := signin.LoadUsers("", filepath.Join(t.TempDir(), "none"), nil)
	require.EqualError(t, err, "MONITOR_USERS_FILE: cannot read the file: no such file or directory")
	_, err = signin.LoadUsers("", t.TempDir(), nil)
	require.ErrorContains(t, err, "MONITOR_USERS_FILE: no file of at most 1 MB")
	write(t, file, "# nobody\n", 0)
	_, err = signin.LoadUsers("", file, nil)
	require.ErrorContains(t, err, "nobody may sign in")
}
