package web

import (
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/internal/store"
)

var notificationStates = []string{"waiting", "sent", "dead"}

type notificationListPage struct {
	Notifications   []store.Notification
	Channels        []store.ChannelCount
	States          []string
	Status, Channel string
	Full            bool
}

func (s *Server) notificationList(w http.ResponseWriter, r *http.Request) {
	p := notificationListPage{States: notificationStates, Status: r.FormValue("status"), Channel: r.FormValue("channel")}
	if !slices.Contains(notificationStates, p.Status) {
		p.Status = ""
	}
	var err error
	if p.Channels, err = s.opt.Store.ChannelCounts(r.Context()); err != nil {
		s.failed(w, r, err)
		return
	}
	if p.Notifications, err = s.opt.Store.ListNotifications(r.Context(), store.NotificationFilter{Status: p.Status, Channel: p.Channel, Limit: listed}); err != nil {
		s.failed(w, r, err)
		return
	}
	p.Full = len(p.Notifications) == listed
	s.render(w, r, http.StatusOK, "notifications", "Notifications", p)
}

type notificationPage struct {
	ID            uuid.UUID
	Notifications []store.Notification
}

// notificationPage shows one notification, or all that went out in one digest card, which links here.
func (s *Server) notificationPage(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	p := notificationPage{ID: id}
	if p.Notifications, err = s.opt.Store.ListNotifications(r.Context(), store.NotificationFilter{Either: id.String()}); err != nil {
		s.failed(w, r, err)
		return
	}
	if len(p.Notifications) == 0 {
		s.failed(w, r, store.ErrNotFound)
		return
	}
	title := "Notification"
	if len(p.Notifications) > 1 {
		title = "Notifications of one card"
	}
	s.render(w, r, http.StatusOK, "notification", title, p)
}
