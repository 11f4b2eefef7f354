package web

import (
	"context"
	"sync"
	"time"

	"github.com/shopspring/decimal"

	"github.com/claimlinc/nphiesq/internal/store"
)

const (
	// chartDays is how many days the chart of claims has.
	chartDays = 14
	// countsFresh is how long counts of all claims serve all pages: at a million claims they cost a quarter of a second.
	countsFresh = 5 * time.Second
	// The chart is drawn in units of its own; the style sheet scales it.
	chartWidth, chartHeight, chartFoot = 700, 160, 22
)

// chart is the claims by the day they were taken in and by where they stand now, as stacked bars and as a table.
type chart struct {
	Bars   []bar
	Rows   []chartRow
	States []store.State
	// Top is what the highest bar counts.
	Top, Width, Height, Foot int
}

// bar is a part of a stack.
type bar struct {
	State               store.State
	X, Y, Width, Height int
}

// chartRow is a day.
type chartRow struct {
	Day    string
	Label  string
	X      int
	Counts []int
	Total  int
	// Claimed is what was asked for, Approved what was granted, in SAR.
	Claimed, Approved decimal.Decimal
}

// drawChart draws days that end with the one of now.
func drawChart(counts []store.DayCount, from time.Time) chart {
	c := chart{Width: chartWidth, Height: chartHeight, Foot: chartHeight + chartFoot}
	byDay := map[string]map[store.State]int{}
	rows := make([]chartRow, chartDays)
	for i := range rows {
		day := from.AddDate(0, 0, i)
		rows[i].Day, rows[i].Label = day.Format(time.DateOnly), day.Format("01-02")
		byDay[rows[i].Day] = map[store.State]int{}
	}
	used := map[store.State]bool{}
	for _, n := range counts {
		day := n.At.In(riyadh).Format(time.DateOnly)
		if byDay[day] == nil {
			continue
		}
		byDay[day][n.State] += n.Count
		used[n.State] = true
		for i := range rows {
			if rows[i].Day == day {
				rows[i].Total += n.Count
				rows[i].Claimed, rows[i].Approved = rows[i].Claimed.Add(n.Claimed), rows[i].Approved.Add(n.Approved)
				c.Top = max(c.Top, rows[i].Total)
			}
		}
	}
	for _, st := range store.States() {
		if used[st] {
			c.States = append(c.States, st)
		}
	}
	step := chartWidth / chartDays
	for i := range rows {
		rows[i].X = i*step + step/2
		y := chartHeight
		for _, st := range c.States {
			n := byDay[rows[i].Day][st]
			rows[i].Counts = append(rows[i].Counts, n)
			if n == 0 {
				continue
			}
			h := max(n*(chartHeight-10)/c.Top, 2) // few among many stay visible
			y -= h
			c.Bars = append(c.Bars, bar{st, i*step + 5, max(y, 0), step - 10, h})
		}
	}
	c.Rows = rows
	return c
}

// claimWatch counts claims, once for all pages that want to know at the same time.
type claimWatch struct {
	mu    sync.Mutex
	at    time.Time
	state []store.StateCount
	chart chart
}

// look returns the counts by state and the chart, at most five seconds old.
func (c *claimWatch) look(ctx context.Context, s *store.Store, now time.Time) ([]store.StateCount, chart, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if age := now.Sub(c.at); !c.at.IsZero() && age >= 0 && age < countsFresh {
		return c.state, c.chart, nil
	}
	began := time.Now()
	state, err := s.ClaimCounts(ctx)
	if err != nil {
		return nil, chart{}, err
	}
	today := now.In(riyadh)
	from := time.Date(today.Year(), today.Month(), today.Day(), 0, 0, 0, 0, riyadh).AddDate(0, 0, 1-chartDays)
	days, err := s.ClaimsOverTime(ctx, from, 24*time.Hour)
	if err != nil {
		return nil, chart{}, err
	}
	c.state, c.chart, c.at = state, drawChart(days, from), time.Time{}
	if time.Since(began) > 100*time.Millisecond { // what is cheap is always fresh
		c.at = now
	}
	return c.state, c.chart, nil
}
