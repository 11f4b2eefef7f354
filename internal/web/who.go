package web

// mayReadPatients reports whether somebody may see bodies of messages and what else names a patient.
func mayReadPatients(who *session) bool { return who != nil && who.Role == "privacy" }

// actorOf is how the audit trail names somebody.
func actorOf(who *session) string { return who.Name }
