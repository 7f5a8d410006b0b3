// Package oneaccess gets access tokens of Huawei Cloud OneAccess, kept fresh by liboneaccess.
package oneaccess

// #cgo LDFLAGS: -loneaccess
// #include <oneaccess.h>
// #include <stdlib.h>
import "C"

import (
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// Denied is a kind of error; all of them are in oneaccess.h.
const Denied = C.ONEACCESS_ERROR_DENIED

// Error tells why there is no token.
type Error struct {
	Kind       int
	HTTPStatus int
	VendorCode string
	Message    string
	Retryable  bool
}

func (e *Error) Error() string { return e.Message }

func check(err *C.oneaccess_error) error {
	if err == nil {
		return nil
	}
	defer C.oneaccess_error_free(err)
	return &Error{
		Kind:       int(C.oneaccess_error_kind(err)),
		HTTPStatus: int(C.oneaccess_error_http_status(err)),
		VendorCode: C.GoString(C.oneaccess_error_vendor_code(err)),
		Message:    C.GoString(C.oneaccess_error_message(err)),
		Retryable:  C.oneaccess_error_is_retryable(err) != 0,
	}
}

// Token is a copy: there is nothing to free.
type Token struct {
	AccessToken   string
	Authorization string    // "Bearer ...", ready for the header
	ExpiresAt     time.Time // to show, not to decide
}

// String keeps the token out of logs.
func (t Token) String() string { return "token until " + t.ExpiresAt.String() }

// Client may be shared by all goroutines.
type Client struct {
	calls  sync.RWMutex // held by those who are in a call, and by Close
	handle *C.oneaccess_client
}

// NewFromEnv takes ONEACCESS_ENDPOINT and so on.
func NewFromEnv() (*Client, error) {
	return fromConfig(C.oneaccess_config_new_from_env())
}

// New needs a caFile only for a private CA; "" is none.
func New(endpoint, clientID, clientSecret, caFile string) (*Client, error) {
	var texts []*C.char
	for _, text := range []string{endpoint, clientID, clientSecret, caFile} {
		copied := C.CString(text)
		defer C.free(unsafe.Pointer(copied))
		texts = append(texts, copied)
	}
	config := C.oneaccess_config_new(texts[0], texts[1], texts[2])
	if caFile != "" {
		name := C.CString("ca_file")
		defer C.free(unsafe.Pointer(name))
		C.oneaccess_config_set(config, name, texts[3])
	}
	return fromConfig(config)
}

func fromConfig(config *C.oneaccess_config) (*Client, error) {
	defer C.oneaccess_config_free(config)
	client := &Client{}
	if err := check(C.oneaccess_client_new(config, &client.handle)); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(client, (*Client).Close)
	return client, nil
}

// Token is to be called before every use. It blocks about once in a token's life.
func (c *Client) Token() (Token, error) {
	c.calls.RLock()
	defer c.calls.RUnlock()
	var token *C.oneaccess_token
	if err := check(C.oneaccess_client_get_token(c.handle, &token)); err != nil {
		return Token{}, err
	}
	defer C.oneaccess_token_free(token)
	return Token{
		AccessToken:   C.GoString(C.oneaccess_token_access_token(token)),
		Authorization: C.GoString(C.oneaccess_token_authorization(token)),
		ExpiresAt:     time.Unix(int64(C.oneaccess_token_expires_at(token)), 0),
	}, nil
}

// Reject tells that a management API did not accept this token.
func (c *Client) Reject(token Token) {
	c.calls.RLock()
	defer c.calls.RUnlock()
	text := C.CString(token.AccessToken)
	defer C.free(unsafe.Pointer(text))
	C.oneaccess_client_reject_token(c.handle, text)
}

// Close ends all calls and frees the client after the last one.
func (c *Client) Close() {
	c.calls.RLock()
	C.oneaccess_client_close(c.handle)
	c.calls.RUnlock()
	c.calls.Lock()
	defer c.calls.Unlock()
	C.oneaccess_client_free(c.handle)
	c.handle = nil
}
