package store

// ClaimPageSQL is the query of a page of claims, for tests that look at its plan.
func ClaimPageSQL(f ClaimSearch, t Turn) (string, []any) {
	sql, args, _ := f.pages().sql(t, t.Limit+1)
	return sql, args
}

// ClaimCutSQL is the query that looks where a page without enough rows was cut off.
func ClaimCutSQL(f ClaimSearch, t Turn) (string, []any) {
	sql, args, _ := f.pages().sql(t, 0)
	return sql, args
}

// ClaimPlace is the place of a claim in a list by time.
func ClaimPlace(c Claim) string { return timePlace(c.CreatedAt, c.ID).String() }

// LookAtMost is how many rows are looked at for one page.
const LookAtMost = lookAtMost

// EraseClaimSQL is the statement that empties the messages about a claim.
var EraseClaimSQL = emptyAbout(aboutClaim)
