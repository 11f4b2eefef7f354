// Package nphiesclient builds, checks, sends, reads and explains NPHIES messages. It knows no queue and no database.
//
// The way out: a claim document (our own JSON, see ClaimDocument and schema/) or a ready FHIR message Bundle becomes a
// Request, whose Body is final: it is stored once and every retry sends the same bytes. Client.Send posts it.
//
// The way back: Parse (or ParseHTTP for a whole HTTP answer) reads any NPHIES message tolerantly into an Answer;
// Classify says what its errors mean for a retry; Inspect explains requests and answers alike.
//
// All money is decimal, SAR, two places; all times are Asia/Riyadh (+03:00, no daylight saving). Error texts name places
// in a document, never values of patient fields.
//
// Source: NPHIES financial-services Implementation Guide 2.7 and 2.8, its profile, code and rule workbooks.
package nphiesclient
