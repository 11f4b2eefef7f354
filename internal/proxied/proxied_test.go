package proxied_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/proxied"
)

func TestTrust(t *testing.T) {
	proxies, err := proxied.Parse("10.0.0.0/8, 192.0.2.7 2001:db8::/32")
	require.NoError(t, err)
	for name, x := range map[string]struct {
		remote  string
		forward []string
		want    string
	}{
		"no proxy, nothing said":           {"198.51.100.9:4711", nil, "198.51.100.9:4711"},
		"no proxy, but a lie":              {"198.51.100.9:4711", []string{"203.0.113.1"}, "198.51.100.9:4711"},
		"one proxy":                        {"10.1.2.3:80", []string{"203.0.113.1"}, "203.0.113.1:0"},
		"a lie before what the proxy says": {"10.1.2.3:80", []string{"127.0.0.1, 203.0.113.1"}, "203.0.113.1:0"},
		"two proxies":                      {"10.1.2.3:80", []string{"127.0.0.1, 203.0.113.1, 192.0.2.7"}, "203.0.113.1:0"},
		"two headers":                      {"10.1.2.3:80", []string{"127.0.0.1", "203.0.113.1"}, "203.0.113.1:0"},
		"nothing said by the proxy":        {"10.1.2.3:80", nil, "10.1.2.3:0"},
		"nonsense":                         {"10.1.2.3:80", []string{"203.0.113.1, unknown"}, "10.1.2.3:0"},
		"with a port":                      {"10.1.2.3:80", []string{"203.0.113.1:5000"}, "203.0.113.1:0"},
		"the sixth version":                {"[2001:db8::1]:80", []string{"2001:4860::8888"}, "[2001:4860::8888]:0"},
		"in brackets":                      {"[2001:db8::1]:80", []string{"[2001:4860::8888]"}, "[2001:4860::8888]:0"},
		"the fourth as the sixth":          {"[::ffff:10.1.2.3]:80", []string{"::ffff:203.0.113.1"}, "203.0.113.1:0"},
	} {
		got := ""
		h := proxied.Trust(proxies, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.RemoteAddr = x.remote
		for _, f := range x.forward {
			r.Header.Add("X-Forwarded-For", f)
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, x.want, got, name)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{"10.0.0.0/33": "want networks such as", "proxy": "want networks such as", "0.0.0.0/0": "is everybody", "::/0": "is everybody"} {
		_, err := proxied.Parse(text)
		require.ErrorContains(t, err, want)
	}
	none, err := proxied.Parse(" ")
	require.NoError(t, err)
	require.Empty(t, none)
}
