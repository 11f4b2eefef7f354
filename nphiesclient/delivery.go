package nphiesclient

import "errors"

// Delivery says how far a request got before an error. It decides what is safe: a request that was not sent may go out
// again freely, one whose fate is unknown only with identical bytes.
type Delivery string

const (
	// DeliveryNotSent means: no byte of the request left, or the other side refused the connection before reading it.
	DeliveryNotSent Delivery = "not sent"
	// DeliveryUnknown means: the request, or part of it, was sent, and no answer came. NPHIES may have processed it.
	DeliveryUnknown Delivery = "sent, unknown"
	// DeliveryAnswered means: something answered, though with nothing usable.
	DeliveryAnswered Delivery = "answered"
)

// SendError is the cause inside the faults of Send and ParseHTTP.
type SendError struct {
	Delivery Delivery
	// Err is the cause, for logs only: it holds addresses. May be nil.
	Err error
}

// Error returns the delivery and the cause.
func (e *SendError) Error() string {
	if e.Err == nil {
		return string(e.Delivery)
	}
	return string(e.Delivery) + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }

// DeliveryOf returns how far the request behind err got; DeliveryUnknown, the careful answer, for errors that do not say.
func DeliveryOf(err error) Delivery {
	if e, ok := errors.AsType[*SendError](err); ok {
		return e.Delivery
	}
	return DeliveryUnknown
}
