package cards

import "time"

// Heartbeat is the details of "teams.channel.heartbeat": a channel in which nothing happened shows that it works.
type Heartbeat struct {
	Channel     string    `json:"channel"`
	SilentSince time.Time `json:"silent_since,omitzero"`
	// Stakeholders are those of the channel: nobody else hears of it.
	Stakeholders []Stakeholder `json:"stakeholders"`
}

func routeHeartbeat(d Heartbeat, p Priority, all []Stakeholder) (Priority, []Stakeholder) {
	if len(d.Stakeholders) > 0 {
		return p, d.Stakeholders
	}
	return p, all
}

func buildHeartbeat(d Heartbeat, _ Event, l Links) content {
	return content{
		object: d.Channel,
		facts: []fact{
			must("Channel", d.Channel),
			may("Silent since", moment(d.SilentSince)),
		},
		actions: fleetActions(l, l.Monitor),
	}
}
