package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGalleryIsComplete: every golden card has its two pictures and its line, and the folder stays small.
func TestGalleryIsComplete(t *testing.T) {
	shows, err := load("../..")
	require.NoError(t, err)
	dir := filepath.Join("..", "..", "docs", "cards")
	have, err := os.ReadFile(filepath.Join(dir, "README.md"))
	require.NoError(t, err)
	require.Equal(t, string(readme(shows)), string(have), "run make cards")
	for _, s := range shows {
		require.Equal(t, 1, strings.Count(string(have), "golden/"+s.name+".json"), "%s stands in one section", s.name)
		for _, theme := range themes {
			require.FileExists(t, filepath.Join(dir, s.name+"-"+theme+".png"))
		}
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, len(shows)*len(themes)+2, "something else lies in docs/cards")
	total := int64(0)
	for _, f := range files {
		info, err := f.Info()
		require.NoError(t, err)
		total += info.Size()
	}
	require.Less(t, total, int64(4<<20))
}

func TestShrink(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 100, 100))
	for i := range 100 * 100 {
		img.Set(i%100, i/100, color.RGBA{uint8(i), uint8(i / 7), uint8(i / 100), 255})
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	small, err := shrink(b.Bytes())
	require.NoError(t, err)
	require.Less(t, len(small), b.Len())
	again, err := png.Decode(bytes.NewReader(small))
	require.NoError(t, err)
	require.Equal(t, img.Bounds(), again.Bounds())
	_, err = shrink([]byte("no picture"))
	require.Error(t, err)
}
