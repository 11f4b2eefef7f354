// Package nphiessim plays NPHIES, the Saudi health-insurance exchange, and the Microsoft Teams webhooks that a sender of
// claims posts to. It is written from the protocol alone and shares no code with our client, so that a misreading of the
// guide on one side shows up as a refusal by the other.
//
// A [Sim] holds everything in memory and offers three handlers: [Sim.NPHIES] answers POST …/$process-message,
// [Sim.Teams] takes adaptive cards and shows them, [Sim.Control] scripts faults and tells what arrived.
//
// What becomes of a message is chosen by the message itself: a business identifier such as "CLM-7-SIM-PARTIAL" asks for
// the behaviour PARTIAL (see [Behaviours]). With the same seed and the same messages the answers are the same.
//
// The simulator judges requests strictly and knows no mercy for what real payers may let pass; [Rules] lists what it
// checks. It does not know the code lists of NPHIES (services, medicines, diagnoses), checks no licenses against a
// register, and plays no prescriptions and no referrals.
package nphiessim
