package nphiessim

import (
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Options sets up a simulator. The zero value works.
type Options struct {
	// Logger gets one line per request; nil discards them.
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Seed varies what the protocol leaves open, such as ids and whether a polled answer names its request.
	Seed int64
	// AnswerDelay is how long every NPHIES answer takes.
	AnswerDelay time.Duration
	// SlowDelay is how long the fault "slow" takes; 0 is 3 s.
	SlowDelay time.Duration
	// HangLimit ends the fault "hang" if the sender does not give up; 0 is 5 min.
	HangLimit time.Duration
	// MailboxDelay is how long after the request a later answer enters the mailbox; 0 is at once.
	MailboxDelay time.Duration
	// VerifyClient makes NPHIES compare the client certificate of a TLS connection with the sender's license: an organization
	// (O), serial number or common name of the subject must equal it (GE-00020), and one of them must be there (GE-00019).
	VerifyClient bool
	// CertificateLicenses names further licenses that a certificate may send for, by any of those names of its subject.
	CertificateLicenses map[string][]string
	// Settings are the spelling of answers at the start.
	Settings Settings

	// TeamsRate is how many posts a channel takes in TeamsWindow before it answers 429; 0 is without limit.
	TeamsRate int
	// TeamsWindow is the window of TeamsRate; 0 is 60 s.
	TeamsWindow time.Duration
	// TeamsBurst is how many posts a channel takes within one second; 0 is without limit.
	TeamsBurst int
	// TeamsSig is the value of the URL parameter sig that posts need; "" accepts any that is not empty.
	TeamsSig string
	// SigningKeys are "whsec_…" secrets. With any given, posts need a webhook-signature made with one of them.
	SigningKeys []string
}

// Sim is a simulator. It is safe for concurrent use.
type Sim struct {
	opt  Options
	log  *slog.Logger
	keys [][]byte

	mu          sync.Mutex
	claims      map[string]*claimRecord // by identifier
	claimOrder  []*claimRecord
	eligibility map[string]*eligibilityRecord
	eligOrder   []*eligibilityRecord
	boxes       map[string]*mailbox   // by license
	headers     map[string]string     // sender and MessageHeader.id -> hash of the message
	bundles     map[string]seenBundle // sender and Bundle.id
	choices     map[string]string     // by value of the business identifier, or "*"
	set         Settings
	spent       map[string]bool // faults chosen by an identifier that have struck
	faults      []scripted
	requests    []Request
	kept        map[int]exchange // bytes of the last requests and answers, by Request.ID
	keptFrom    int              // the smallest id in kept
	keptBytes   int
	requestID   int
	stats       Stats
	serial      uint64
	teams       teamsState
	pager       pagerState

	closed    chan struct{}
	closeOnce sync.Once
}

// New makes a simulator. Signing keys that cannot be read never match a signature.
func New(o Options) *Sim {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SlowDelay == 0 {
		o.SlowDelay = 3 * time.Second
	}
	if o.HangLimit == 0 {
		o.HangLimit = 5 * time.Minute
	}
	if o.TeamsWindow == 0 {
		o.TeamsWindow = time.Minute
	}
	s := &Sim{opt: o, log: o.Logger, closed: make(chan struct{})}
	for _, k := range o.SigningKeys {
		key, err := parseSigningKey(k)
		if err != nil {
			s.log.Error("signing key ignored", slog.Any("error", err))
			key = nil
		}
		s.keys = append(s.keys, key)
	}
	s.Reset()
	return s
}

// Reset forgets everything: claims, mailboxes, cards, faults, choices, changed settings.
func (s *Sim) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claims, s.claimOrder = map[string]*claimRecord{}, nil
	s.eligibility, s.eligOrder = map[string]*eligibilityRecord{}, nil
	s.boxes = map[string]*mailbox{}
	s.headers, s.bundles, s.spent = map[string]string{}, map[string]seenBundle{}, map[string]bool{}
	s.choices, s.set = map[string]string{}, s.opt.Settings.orGuide()
	s.faults, s.requests = nil, nil
	s.kept, s.keptBytes, s.keptFrom, s.requestID = map[int]exchange{}, 0, 1, 0
	s.stats, s.teams = Stats{}, teamsState{byID: map[string]*Card{}, posts: map[string][]time.Time{}}
	s.pager = pagerState{}
}

// Close ends the requests that hang. It may be called more than once.
func (s *Sim) Close() { s.closeOnce.Do(func() { close(s.closed) }) }

// guid makes an id from the seed, what it is for and a running number. The caller holds the lock.
func (s *Sim) guid(purpose string) string {
	s.serial++
	name := strconv.FormatInt(s.opt.Seed, 10) + "|" + purpose + "|" + strconv.FormatUint(s.serial, 10)
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(name)).String()
}

// coin decides evenly, and always alike for the same seed and key, what the protocol leaves open.
func (s *Sim) coin(key string) bool {
	id := uuid.NewSHA1(uuid.NameSpaceOID, []byte(strconv.FormatInt(s.opt.Seed, 10)+"|"+key))
	return id[0]&1 == 1
}
