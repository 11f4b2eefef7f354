package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/config"
)

func TestCardsLanguage(t *testing.T) {
	for value, want := range map[string]cards.Language{"": cards.English, "en": cards.English, "ar": cards.Arabic} {
		c, err := config.LoadFrom(map[string]string{"CARDS_LANGUAGE": value})
		require.NoError(t, err)
		require.Equal(t, want, app.Links(c).Language)
	}
}
