// Command gallery shows every golden card in the reference renderer of Adaptive Cards, in a headless Chromium, light and dark, and
// writes the pictures and their page to docs/cards. A complaint of the parser at version 1.4, text that became a link, a button that
// is cut or a wrong direction fails it. With -check it writes nothing, and where npm or Chromium is missing it says so and succeeds.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
)

//go:embed page.html
var page []byte

// frameWidth is about that of a channel's column in Teams, in pixels; page.html has it too.
const frameWidth = 560

// themes are the host configurations of Teams.
var themes = []string{"light", "dark"}

func main() {
	root := flag.String("root", ".", "the repository")
	check := flag.Bool("check", false, "render only, write nothing")

	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	err := run(ctx, *root, *check)
	var missing *missingError
	if *check && errors.As(err, &missing) {
		fmt.Fprintln(os.Stderr, "LEFT OUT: cards in the reference renderer:", err)
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cards:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to cancel
	}
}

// missingError names what is not on this machine.
type missingError struct{ what string }

func (e *missingError) Error() string { return e.what + " is not on this machine" }

func run(ctx context.Context, root string, check bool) error {
	browser, err := find("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless_shell",
		"/Applications/Chromium.app/Contents/MacOS/Chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
	if err != nil {
		return err
	}
	if _, err := find("npm"); err != nil {
		return err
	}
	shows, err := load(root)
	if err != nil {
		return err
	}
	var scripts bytes.Buffer
	for _, l := range libraries {
		js, err := l.read(ctx, filepath.Join(root, ".cache", "npm"))
		if err != nil {
			return err
		}
		scripts.WriteString("<script>" + strings.ReplaceAll(string(js), "</script", `<\/script`) + "</script>\n")
	}
	dir, err := os.MkdirTemp("", "gallery")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	html := bytes.Replace(page, []byte("<script>\nconst md"), append(scripts.Bytes(), []byte("<script>\nconst md")...), 1)
	if err := os.WriteFile(filepath.Join(dir, "page.html"), html, 0o600); err != nil {
		return err
	}
	gallery := filepath.Join(root, "docs", "cards")
	pictures, err := shoot(ctx, browser, dir, root, shows, check)
	if err != nil {
		return err
	}
	if check {
		return fresh(gallery, shows)
	}
	return write(gallery, shows, pictures)
}

// fresh reports whether the pictures are of the cards as they are now.
func fresh(dir string, shows []shown) error {
	have, err := fs.ReadFile(os.DirFS(dir), sumsFile)
	if err != nil || !bytes.Equal(have, sums(shows)) {
		return errors.Join(err, errors.New("docs/cards is older than cards/testdata/golden: run make cards"))
	}
	return nil
}

// sumsFile says which cards the pictures are of.
const sumsFile = "cards.sum"

func sums(shows []shown) []byte {
	var b bytes.Buffer
	for _, s := range shows {
		var card bytes.Buffer
		if err := json.Compact(&card, s.Card); err != nil {
			card.Write(s.Card)
		}
		fmt.Fprintf(&b, "%s %x\n", s.name, sha256.Sum256(card.Bytes()))
	}
	return b.Bytes()
}

func find(names ...string) (string, error) {
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return path, nil
		}
	}
	return "", &missingError{names[0]}
}

// shown is one golden card.
type shown struct {
	name string
	Note string          `json:"note"`
	Card json.RawMessage `json:"card"`
}

// load reads the golden cards, in the order of their names.
func load(root string) ([]shown, error) {
	golden := os.DirFS(filepath.Join(root, "cards", "testdata", "golden"))
	paths, err := fs.Glob(golden, "*.json")
	if err != nil || len(paths) == 0 {
		return nil, errors.Join(err, errors.New("no golden cards found: run it at the root of the repository"))
	}
	var out []shown
	for _, p := range paths {
		raw, err := fs.ReadFile(golden, p)
		if err != nil {
			return nil, err
		}
		s := shown{name: strings.TrimSuffix(p, ".json")}
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// shoot renders every card in every theme. The pictures' names are <card>-<theme>.png.
func shoot(ctx context.Context, browser, dir, root string, shows []shown, check bool) (map[string][]byte, error) {
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(browser), chromedp.UserDataDir(filepath.Join(dir, "profile")), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-background-networking", true),
	}
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(opts...))
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(frameWidth, 900), chromedp.Navigate("file://"+filepath.ToSlash(filepath.Join(dir, "page.html")))); err != nil {
		return nil, err
	}
	pictures := map[string][]byte{}
	var wrong []error
	for _, theme := range themes {
		host, err := fs.ReadFile(os.DirFS(filepath.Join(root, "cards", "testdata")), "hostconfig-teams-"+theme+".json")
		if err != nil {
			return nil, err
		}
		for _, s := range shows {
			complaints, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](fmt.Sprintf("show(%s, %s)", s.Card, host)))
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", s.name, theme, err)
			}
			for _, c := range complaints {
				wrong = append(wrong, fmt.Errorf("%s, %s: %s", s.name, theme, c))
			}
			if check {
				continue
			}
			shot, err := picture(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", s.name, theme, err)
			}
			if pictures[s.name+"-"+theme+".png"], err = shrink(shot); err != nil {
				return nil, err
			}
		}
	}
	fmt.Fprintf(os.Stderr, "cards: %d cards in %d themes, %d complaints\n", len(shows), len(themes), len(wrong))
	return pictures, errors.Join(wrong...)
}

// picture takes a picture of the frame.
func picture(ctx context.Context) ([]byte, error) {
	height, err := chromedp.Run(ctx, chromedp.Evaluate[float64](`document.getElementById('frame').getBoundingClientRect().height`))
	if err != nil {
		return nil, err
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(frameWidth, int64(math.Ceil(height)))); err != nil {
		return nil, err
	}
	return chromedp.Run(ctx, chromedp.CaptureScreenshot())
}

// write replaces the gallery.
func write(dir string, shows []shown, pictures map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // documentation
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.png"))
	if err != nil {
		return err
	}
	for _, p := range old {
		if _, ok := pictures[filepath.Base(p)]; !ok {
			if err := os.Remove(p); err != nil {
				return err
			}
		}
	}
	for name, p := range pictures {
		if err := os.WriteFile(filepath.Join(dir, name), p, 0o644); err != nil { //nolint:gosec // documentation
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, sumsFile), sums(shows), 0o644); err != nil { //nolint:gosec // documentation
		return err
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), readme(shows), 0o644) //nolint:gosec // documentation
}

// readme is the gallery's page.
func readme(shows []shown) []byte {
	var b bytes.Buffer
	b.WriteString("# Cards\n\nEvery golden card of `cards/testdata/golden`, drawn by the reference renderer of Adaptive Cards (`adaptivecards` 3.0.5) with the host\n" +
		"configurations of Teams that Microsoft publishes. Teams itself draws buttons and spacing a little differently. `make cards` writes\nthis page; do not edit it.\n")
	for _, section := range []struct{ prefix, title string }{{"", "Events"}, {"form_", "Forms and priorities"}, {"ar_", "In Arabic (`CARDS_LANGUAGE=ar`)"}} {
		fmt.Fprintf(&b, "\n## %s\n\n| card | light | dark |\n|---|---|---|\n", section.title)
		for _, s := range shows {
			own := strings.HasPrefix(s.name, section.prefix)
			if section.prefix == "" {
				own = !slices.ContainsFunc([]string{"form_", "ar_"}, func(p string) bool { return strings.HasPrefix(s.name, p) })
			}
			if !own {
				continue
			}
			note := s.Note
			if note != "" {
				note = "<br>" + note
			}
			fmt.Fprintf(&b, "| [%s](../../cards/testdata/golden/%s.json)%s | ![%s, light](%s-light.png) | ![%s, dark](%s-dark.png) |\n",
				strings.ReplaceAll(s.name, "_", " "), s.name, note, s.name, s.name, s.name, s.name)
		}
	}
	return b.Bytes()
}
