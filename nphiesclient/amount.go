package nphiesclient

import (
	"errors"
	"strings"

	"github.com/shopspring/decimal"
)

// Amount is money in SAR. The zero value is 0.00. It is exact: no binary floating point anywhere.
//
// In JSON it is a number with at least two decimals, unquoted (230.00); a quoted number is read too. An amount read with
// more than two decimals keeps them when written, so that nothing is rounded by passing through; GE-00028 forbids sending
// it, and the builders refuse it.
type Amount struct {
	d    decimal.Decimal
	sent string // the digits as they were read, "" for a computed amount
}

// Number is an exact decimal that is not money: a quantity, a factor, a vital sign. In JSON it is a number with the digits
// as they were read; a quoted number is read too. The zero value is 0.
type Number struct {
	d    decimal.Decimal
	sent string
}

var errNumber = errors.New("not a decimal number of a sensible size")

// Sizes that no amount, quantity or measurement reaches. They keep an exponent such as 1e999999999 from becoming a
// gigabyte of digits.
const (
	maxNumberText     = 64
	maxNumberExponent = 24
)

func parseDecimal(s string) (decimal.Decimal, error) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > maxNumberText {
		return decimal.Decimal{}, errNumber
	}
	for _, r := range s {
		if (r < '0' || r > '9') && !strings.ContainsRune("+-.eE", r) {
			return decimal.Decimal{}, errNumber
		}
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if exp := strings.TrimLeft(s[i+1:], "+-0"); len(exp) > 2 {
			return decimal.Decimal{}, errNumber
		}
	}
	d, err := decimal.NewFromString(s)
	if err != nil || d.Exponent() > maxNumberExponent || d.Exponent() < -maxNumberText {
		return decimal.Decimal{}, errNumber
	}
	return d, nil
}

// ParseAmount reads an amount from decimal digits ("230", "230.5", "6.08"). It refuses anything that is no decimal number
// or has more than 64 characters.
func ParseAmount(s string) (Amount, error) {
	d, err := parseDecimal(s)
	if err != nil {
		return Amount{}, err
	}
	return Amount{d: d, sent: strings.TrimSpace(s)}, nil
}

// MustAmount is ParseAmount for constants; it panics on bad digits.
func MustAmount(s string) Amount {
	a, err := ParseAmount(s)
	if err != nil {
		panic("nphiesclient: MustAmount: " + err.Error())
	}
	return a
}

// Halalas returns the amount of n hundredths of a riyal.
func Halalas(n int64) Amount { return Amount{d: decimal.New(n, -2)} }

// String returns the amount with exactly two decimals, rounded half up (away from zero) where it has more: "230.00".
func (a Amount) String() string { return a.d.StringFixed(2) }

// Sent returns the digits as they were read ("230"), or String for a computed amount.
func (a Amount) Sent() string {
	if a.sent != "" {
		return a.sent
	}
	return a.String()
}

// Decimal returns the exact value.
func (a Amount) Decimal() decimal.Decimal { return a.d }

// IsZero reports whether the amount is 0.
func (a Amount) IsZero() bool { return a.d.IsZero() }

// Equal compares values: 230 equals 230.00.
func (a Amount) Equal(b Amount) bool { return a.d.Equal(b.d) }

// Cmp returns -1, 0 or +1 as a is less than, equal to or greater than b.
func (a Amount) Cmp(b Amount) int { return a.d.Cmp(b.d) }

// Add returns a + b.
func (a Amount) Add(b Amount) Amount { return Amount{d: a.d.Add(b.d)} }

// Sub returns a - b.
func (a Amount) Sub(b Amount) Amount { return Amount{d: a.d.Sub(b.d)} }

// Round returns the amount with two decimals, half up (1.455 becomes 1.46), as GE-00028 asks.
func (a Amount) Round() Amount { return Amount{d: a.d.Round(2)} }

// twoPlaces reports whether at most two decimals are significant: 1.500 is fine, 1.505 is not.
func (a Amount) twoPlaces() bool { return a.d.Equal(a.d.Round(2)) }

// exact returns the amount with two decimals, or with all its decimals if more are significant.
func (a Amount) exact() string {
	if !a.twoPlaces() {
		return a.d.String()
	}
	return a.String()
}

// MarshalJSON writes an unquoted number with two decimals, or with all its decimals if more are significant.
func (a Amount) MarshalJSON() ([]byte, error) { return []byte(a.exact()), nil }

// UnmarshalJSON reads a number or a quoted number.
func (a *Amount) UnmarshalJSON(b []byte) error {
	v, err := ParseAmount(unquoteNumber(b))
	if err != nil {
		return err
	}
	*a = v
	return nil
}

// MarshalText writes String, so that an Amount can be a value in text formats.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// ParseNumber reads a Number from decimal digits, with the limits of ParseAmount.
func ParseNumber(s string) (Number, error) {
	d, err := parseDecimal(s)
	if err != nil {
		return Number{}, err
	}
	return Number{d: d, sent: strings.TrimSpace(s)}, nil
}

// MustNumber is ParseNumber for constants; it panics on bad digits.
func MustNumber(s string) Number {
	n, err := ParseNumber(s)
	if err != nil {
		panic("nphiesclient: MustNumber: " + err.Error())
	}
	return n
}

// String returns plain decimal digits without an exponent.
func (n Number) String() string { return n.d.String() }

// Decimal returns the exact value.
func (n Number) Decimal() decimal.Decimal { return n.d }

// IsZero reports whether the number is 0.
func (n Number) IsZero() bool { return n.d.IsZero() }

// Equal compares values: 1 equals 1.0.
func (n Number) Equal(m Number) bool { return n.d.Equal(m.d) }

// MarshalJSON writes the digits as read when they are plain, else the plain form.
func (n Number) MarshalJSON() ([]byte, error) {
	if plainJSONNumber(n.sent) {
		return []byte(n.sent), nil
	}
	return []byte(n.String()), nil
}

// UnmarshalJSON reads a number or a quoted number.
func (n *Number) UnmarshalJSON(b []byte) error {
	v, err := ParseNumber(unquoteNumber(b))
	if err != nil {
		return err
	}
	*n = v
	return nil
}

func unquoteNumber(b []byte) string {
	s := string(b)
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// plainJSONNumber reports whether s is a JSON number without an exponent.
func plainJSONNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	whole, frac, dot := strings.Cut(s, ".")
	if whole == "" || (dot && frac == "") || (len(whole) > 1 && whole[0] == '0') {
		return false
	}
	return strings.Trim(whole+frac, "0123456789") == ""
}
