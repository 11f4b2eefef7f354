package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// enq runs the command line in this process.
func enq(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return out.String(), errs.String(), code
}

func site(t *testing.T) {
	t.Helper()
	t.Setenv("DATABASE_URL", testenv.DatabaseURL(t))
	t.Setenv("REDIS_URL", testenv.RedisURL(t))
}

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func example(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("../../examples", name))
	require.NoError(t, err)
	return string(body)
}

func TestSubmitTakesEachClaimOnce(t *testing.T) {
	site(t)
	claims, _, code := enq(t, "", "generate", "-n", "20", "--seed", "3")
	require.Zero(t, code)
	require.Equal(t, 20, strings.Count(claims, "\n"))
	before, _, code := enq(t, "", "generate", "-n", "5", "--kind", "priorauth", "--type", "oral")
	require.Zero(t, code)
	require.Equal(t, 5, strings.Count(before, `"use":"preauthorization","type":"oral"`))
	out, _, code := enq(t, before, "validate", "-")
	require.Zero(t, code, out)
	out, stderr, code := enq(t, claims, "submit", "-")
	require.Zero(t, code, stderr)
	require.Equal(t, 20, strings.Count(out, "\tqueued\n"))
	again, stderr, code := enq(t, claims, "submit", "-")
	require.Zero(t, code)
	require.Equal(t, strings.ReplaceAll(out, "queued", "exists"), again, "the same ids")
	require.NotContains(t, stderr, "other content")

	// As an array, in another file, with other spacing: still the same claims.
	array := file(t, "list.json", "[\n"+strings.ReplaceAll(strings.TrimSpace(claims), "\n", ",\n")+"\n]")
	again, _, code = enq(t, "", "submit", array)
	require.Zero(t, code)
	require.Equal(t, 20, strings.Count(again, "\texists\n"))

	// Another claim under a known number: told, and nothing is sent.
	first, _, _ := strings.Cut(claims, "\n")
	changed := strings.Replace(first, `"episode":"`, `"episode":"X`, 1)
	require.NotEqual(t, first, changed)
	again, stderr, code = enq(t, changed, "submit", "-")
	require.Equal(t, 1, code, "the other content was not taken")
	require.Contains(t, again, "\texists\n")
	require.Contains(t, stderr, "other content")
	require.Contains(t, stderr, "stdin:1")

	rc, err := broker.Connect(os.Getenv("REDIS_URL"))
	require.NoError(t, err)
	defer rc.Close()
	info, err := broker.New(rc).Inspector().GetQueueInfo(tasks.QueueSubmit)
	require.NoError(t, err)
	require.Equal(t, 20, info.Pending)

	list, _, code := enq(t, "", "list", "--output", "json", "--state", "received")
	require.Zero(t, code)
	require.Equal(t, 20, strings.Count(list, "\n"))
	var v map[string]any
	line, _, _ := strings.Cut(list, "\n")
	require.NoError(t, json.Unmarshal([]byte(line), &v))
	for _, key := range []string{"id", "identifier", "license", "payer", "state", "amounts", "last_error", "created_at", "updated_at"} {
		require.Contains(t, v, key)
	}
	require.Regexp(t, `^\d+\.\d\d$`, v["amounts"].(map[string]any)["claimed"])
	one, _, code := enq(t, "", "status", v["id"].(string), "--output", "json")
	require.Zero(t, code)
	require.Equal(t, line+"\n", one)
	_, stderr, code = enq(t, "", "status", "no-such-claim")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "no-such-claim")
	out, _, code = enq(t, "", "status")
	require.Zero(t, code)
	require.Contains(t, out, "received\t20\t")
}

func TestBadInputDoesNotStopTheRest(t *testing.T) {
	site(t)
	good := strings.TrimSpace(example(t, "claims/01-professional-approved.json"))
	var doc map[string]any
	require.NoError(t, json.Unmarshal([]byte(good), &doc))
	compact, err := json.Marshal(doc)
	require.NoError(t, err)
	without := func(field string) string {
		m := map[string]any{}
		require.NoError(t, json.Unmarshal(compact, &m))
		delete(m, field)
		out, err := json.Marshal(m)
		require.NoError(t, err)
		return string(out)
	}
	unknown := strings.Replace(string(compact), `{`, `{"colour":"red",`, 1)
	path := file(t, "claims.ndjson", strings.Join([]string{without("diagnoses"), `{"document":"nphiesq/claim/v1",`, without("episode"), unknown, string(compact)}, "\n"))
	out, stderr, code := enq(t, "", "submit", path, example2(t), "/nonexistent.json")
	require.Equal(t, 1, code)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 6, out)
	require.Contains(t, lines[0], "-\tinvalid: "+path+":1: ")
	require.Contains(t, lines[0], "diagnoses")
	require.Contains(t, lines[1], "-\tinvalid: "+path+":2")
	require.Contains(t, lines[2], "IC-01453")
	require.Contains(t, lines[3], "colour")
	require.Contains(t, lines[4], "\tqueued")
	require.Contains(t, lines[5], "eligibility-request: enqueue eligibility takes it")
	require.Contains(t, stderr, "/nonexistent.json")
	for _, l := range lines {
		require.NotContains(t, l, "Demo Patient", "no patient in an error")
	}

	out, _, code = enq(t, "", "validate", path)
	require.Equal(t, 1, code)
	require.Contains(t, out, path+":3\terror\tIC-01453\tepisode\t")
	require.Contains(t, out, path+":5\tvalid\t")
	out, _, code = enq(t, "", "validate", "--output", "json", path)
	require.Equal(t, 1, code)
	for line := range strings.Lines(out) {
		require.True(t, json.Valid([]byte(line)), line)
	}
}

func TestBrokenJSONIsNamedByItsLine(t *testing.T) {
	site(t)
	lines := strings.Split(example(t, "claims/01-professional-approved.json"), "\n")
	lines[20] += " oops"
	path := file(t, "broken.json", strings.Join(lines, "\n"))
	out, _, code := enq(t, "", "submit", path)
	require.Equal(t, 1, code)
	require.Regexp(t, `broken\.json:2[12]: `, out)
	// A value the record cannot hold stops only itself.
	var doc bytes.Buffer
	require.NoError(t, json.Compact(&doc, []byte(example(t, "claims/01-professional-approved.json"))))
	bad := strings.Replace(doc.String(), `"claim_number":"`, `"claim_number":"A\u0000`, 1)
	out, _, code = enq(t, bad+"\n"+doc.String(), "submit", "-")
	require.Equal(t, 1, code)
	require.Contains(t, out, "-\tinvalid: stdin:1")
	require.Contains(t, out, "\tqueued\n")
}

func example2(t *testing.T) string {
	t.Helper()
	return file(t, "check.json", example(t, "eligibility/01-eligible.json"))
}

func TestEligibilityAndPoll(t *testing.T) {
	site(t)
	out, stderr, code := enq(t, "", "eligibility", example2(t))
	require.Zero(t, code, stderr)
	require.Contains(t, out, "\tqueued\n")
	out, _, code = enq(t, "", "eligibility", example2(t))
	require.Zero(t, code)
	require.Contains(t, out, "\texists\n")
	out, _, code = enq(t, "", "status", "ELG-DEMO-0001")
	require.Zero(t, code)
	require.Contains(t, out, "\treceived\t")
	_, stderr, code = enq(t, "", "poll")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "--license")
	out, _, code = enq(t, "", "poll", "--license", "PR-9")
	require.Zero(t, code)
	require.Equal(t, "PR-9\tqueued\n", out)
	t.Setenv("NPHIES_PROVIDER_LICENSE", "PR-1,PR-2")
	out, _, code = enq(t, "", "poll")
	require.Zero(t, code)
	require.Equal(t, "PR-1\tqueued\nPR-2\tqueued\n", out)
}

func TestWaitFollowsToTheOutcome(t *testing.T) {
	site(t)
	path := file(t, "c.json", example(t, "claims/01-professional-approved.json"))
	out, stderr, code := enq(t, "", "submit", "--wait", "--timeout", "1ms", path)
	require.Equal(t, 1, code, "without a worker there is none")
	require.Contains(t, stderr, "1 without an outcome")
	id, _, _ := strings.Cut(out, "\t")

	done := make(chan string)
	go func() {
		out, _, _ := enq(t, "", "submit", "--wait", path)
		done <- out
	}()
	c, err := pgx.Connect(t.Context(), os.Getenv("DATABASE_URL"))
	require.NoError(t, err)
	defer c.Close(t.Context())
	_, err = c.Exec(t.Context(), `UPDATE claims SET state = 'approved'`)
	require.NoError(t, err)
	require.Equal(t, id+"\texists\n"+id+"\tapproved\n", <-done)
}

func TestInspect(t *testing.T) {
	messages, err := filepath.Glob("../../nphiesclient/testdata/messages/*.json")
	require.NoError(t, err)
	require.Greater(t, len(messages), 20)
	out, stderr, code := enq(t, "", append([]string{"inspect", "--output", "json"}, messages...)...)
	require.Zero(t, code, stderr)
	require.Equal(t, len(messages), strings.Count(out, "\n"), "one object per message")
	out, _, code = enq(t, example(t, "../nphiesclient/testdata/messages/claim-response-partial.json"), "inspect", "--output", "json", "-")
	require.Zero(t, code)
	var v struct {
		Event, Outcome, Adjudication string
		Request                      store.Identifier
		Totals                       map[string]string
	}
	require.NoError(t, json.Unmarshal([]byte(out), &v))
	require.Equal(t, "partial", v.Adjudication)
	require.Equal(t, "333.50", v.Totals["submitted"])
	require.Equal(t, "CLM-DEMO-000201", v.Request.Value)
	out, _, code = enq(t, "", "inspect", messages[0])
	require.Zero(t, code)
	require.Contains(t, out, "event")
	_, stderr, code = enq(t, "<html>", "inspect", "-")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "stdin:1")
}

// TestAFilterTellsWhatItLeavesOut: a decision about "all of a kind" that takes a hundred says so.
func TestAFilterTellsWhatItLeavesOut(t *testing.T) {
	site(t)
	s := store.New(testenvPool(t), store.Options{})
	for n := range 2 {
		_, _, _, err := s.RecordDeadLetter(t.Context(), store.DeadLetter{
			Queue: tasks.QueuePoll, TaskType: tasks.TypePoll, TaskID: fmt.Sprint("1.poll.", n), License: "PR", Reference: fmt.Sprint("MORE-", n), ErrorKind: "jwt", ErrorText: "away",
			FirstFailedAt: time.Now(), LastFailedAt: time.Now(),
		}, nil)
		require.NoError(t, err)
	}
	_, stderr, code := enq(t, "", "dead", "discard", "--error-kind", "jwt", "--reason", "gone", "--limit", "1", "--dry-run")
	require.Zero(t, code)
	require.Contains(t, stderr, "1 shown, 1 more match: --limit 0")
	_, stderr, code = enq(t, "", "dead", "discard", "--error-kind", "jwt", "--reason", "gone", "--limit", "1")
	require.Zero(t, code)
	require.Contains(t, stderr, "1 decided, 1 more match: --limit 0")
	_, stderr, code = enq(t, "", "dead", "discard", "--error-kind", "jwt", "--reason", "gone", "--limit", "0")
	require.Zero(t, code)
	require.Empty(t, stderr)
}

func TestDeadLettersOnTheCommandLine(t *testing.T) {
	site(t)
	pool := testenvPool(t)
	s := store.New(pool, store.Options{})
	id, _, _, err := s.RecordDeadLetter(t.Context(), store.DeadLetter{
		Queue: tasks.QueuePoll, TaskType: tasks.TypePoll, TaskID: "1.poll.PR", License: "PR", Reference: "PR", ErrorKind: "network", ErrorText: "poll: network: away",
		FirstFailedAt: time.Now(), LastFailedAt: time.Now(),
	}, nil)
	require.NoError(t, err)
	for code, list := range map[int][][]string{
		1: {{"dead", "retry", "--reason", "x", "0192f0c1-0000-7000-8000-0000000000aa"}, {"dead", "show", "0192f0c1-0000-7000-8000-0000000000aa"}},
		2: {
			{"dead", "retry", "--reason", "x"},
			{"dead", "retry", "--reason", " ", id.String()},
			{"dead", "retry", "--reason", "x", "--queue", "other"},
			{"dead", "discard", "--reason", "x", "--error-kind", "other"},
		},
	} {
		for _, bad := range list {
			_, stderr, got := enq(t, "", bad...)
			require.Equal(t, code, got, "%v", bad)
			require.NotEmpty(t, stderr)
		}
	}
	out, _, code := enq(t, "", "dead", "list", "--output", "json")
	require.Zero(t, code)
	require.Contains(t, out, `"reference":"PR"`)
	out, _, code = enq(t, "", "dead", "discard", "--reference", "PR", "--reason", "gone", "--dry-run")
	require.Zero(t, code)
	require.Contains(t, out, "would be decided")
	out, _, code = enq(t, "", "dead", "discard", "--reference", "PR", "--reason", "gone")
	require.Zero(t, code)
	require.Contains(t, out, "\tapplied\n")
	out, _, code = enq(t, "", "dead", "show", "--output", "json", id.String())
	require.Zero(t, code)
	require.Contains(t, out, `"reason":"gone"`)
	out, _, code = enq(t, "", "audit", "verify")
	require.Zero(t, code)
	require.Regexp(t, `^whole\t1 rows\t1:[0-9a-f]{64}\n$`, out)
	end := strings.TrimSpace(out[strings.LastIndex(out, "\t")+1:])
	out, _, code = enq(t, "", "audit", "list")
	require.Zero(t, code)
	require.Contains(t, out, "\tdiscard\tdead_letter "+id.String()+"\tapplied\tgone\n")
	_, _, code = enq(t, "", "audit", "verify", "--expect", end)
	require.Zero(t, code)
	_, stderr, code := enq(t, "", "audit", "verify", "--expect", "2:"+end[2:])
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "the audit trail ends at row 1; before it had 2")
	_, stderr, code = enq(t, "", "audit", "verify", "--expect", "1:"+strings.Repeat("0", 64))
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "made anew")
	_, stderr, code = enq(t, "", "audit", "verify", "--expect", "soon")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "want ROW:HASH")
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"submit"}, {"fly"}, {"list", "--output", "xml"}, {"dead", "retry"}, {"dead", "show", "no-uuid"}, {"generate", "-n", "-1"}} {
		_, stderr, code := enq(t, "", args...)
		require.Equal(t, 2, code, "%v", args)
		require.Contains(t, stderr, "enqueue: ")
	}
	out, _, code := enq(t, "", "--help")
	require.Zero(t, code)
	require.Contains(t, out, "Exit status: 0")
	for _, args := range [][]string{{"list", "--state", "lost"}, {"generate", "--n=-1"}, {"generate", "--kinds", "fishing"}} {
		_, stderr, code := enq(t, "", args...)
		require.Equal(t, 2, code)
		require.Contains(t, stderr, "is not allowed; want")
	}
	t.Setenv("DATABASE_URL", testenv.EmptyDatabaseURL(t))
	t.Setenv("REDIS_URL", testenv.RedisURL(t))
	_, stderr, code := enq(t, "", "list")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "worker migrate up")
	t.Setenv("TEAMS_MAX_RETRIES", "9")
	_, stderr, code = enq(t, "", "list")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "TEAMS_MAX_RETRIES: 9 is not allowed; want 0 to 3")
}

// testenvPool connects to the database of the settings.
func testenvPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), os.Getenv("DATABASE_URL"))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// TestValidateSaysWhatToDo: documents and ready messages, findings and warnings, and rules changed by a setting.
func TestValidateSaysWhatToDo(t *testing.T) {
	change := func(name, old, with string) string {
		body := example(t, name)
		require.Contains(t, body, old)
		return file(t, filepath.Base(name), strings.Replace(body, old, with, 1))
	}
	document := change("claims/01-professional-approved.json", `"tax": 30.00,`, `"tax": 30.00, "net": 230.01,`)
	message := change("claims/50-ready-message.json", "extension-episode", "extension-epizode")
	const episode = "Bundle.entry[1].resource.extension('http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/extension-episode')"

	out, _, code := enq(t, "", "validate", document, message)
	require.Equal(t, 1, code)
	require.Contains(t, out, document+":1\terror\tBV-00251\titems[0].net\tBundle.entry[1].resource.item[0].net\tis 230.01, but ")
	require.Contains(t, out, "Correct the amounts, or leave net out to be computed.\n")
	require.Contains(t, out, message+":1\terror\tIC-01453\t"+episode+"\t"+episode+"\tis missing. Enter the episode number.\n")

	out, _, code = enq(t, "", "validate", "--output", "json", document)
	require.Equal(t, 1, code)
	var got struct {
		Result   string
		Findings []struct{ Rule, Path, Expression, Severity, Text, Fix string }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	require.Equal(t, "invalid", got.Result)
	require.Equal(t, "BV-00251 items[0].net Bundle.entry[1].resource.item[0].net error",
		strings.Join([]string{got.Findings[0].Rule, got.Findings[0].Path, got.Findings[0].Expression, got.Findings[0].Severity}, " "))
	require.NotEmpty(t, got.Findings[0].Fix)

	moving := file(t, "moving.json", strings.Replace(example(t, "claims/01-professional-approved.json"), "{", `{"a\u202eb\u001b[2J": 1,`, 1))
	out, _, code = enq(t, "", "validate", moving)
	require.Equal(t, 1, code)
	require.NotContains(t, out, "\u202e")
	require.NotContains(t, out, "\x1b")

	many := change("claims/50-ready-message.json", `"item": [`, `"item": [`+strings.Repeat(`{"sequence": 1},`, 2000))
	out, _, code = enq(t, "", "validate", many)
	require.Equal(t, 1, code)
	require.Equal(t, 101, strings.Count(out, "\n"))
	require.Regexp(t, many+`:1\terror\tdocument\t-\t-\tand \d{4,5} more\.\n$`, out)
	fields := file(t, "fields.json", strings.Replace(example(t, "claims/01-professional-approved.json"), "{", "{"+strings.Repeat(`"x": 1,`, 2000), 1))
	out, _, code = enq(t, "", "validate", fields)
	require.Equal(t, 1, code)
	require.Equal(t, 101, strings.Count(out, "\n"))

	t.Setenv("NPHIES_RULES", "IC-01453=warning")
	out, _, code = enq(t, "", "validate", message)
	require.Equal(t, 0, code)
	require.Contains(t, out, message+":1\twarning\tIC-01453\t")
	require.Contains(t, out, message+":1\tvalid\t")
	t.Setenv("NPHIES_RULES", "BV-1=off")
	_, stderr, code := enq(t, "", "validate", message)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, `NPHIES_RULES: "BV-1=off" names no rule`)
	t.Setenv("NPHIES_RULES", "")
	own := change("claims/01-professional-approved.json", `{"response": "ELR-DEMO-77101"}`, `{"request": "ELG-1"}`)
	out, _, code = enq(t, "", "validate", own)
	require.Equal(t, 0, code, out)
}
