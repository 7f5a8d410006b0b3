// Package oneaccess gets access tokens of Huawei Cloud OneAccess (Bamboocloud) and keeps them fresh.
//
//	client, err := oneaccess.NewFromEnv(nil) // one for the whole process
//	token, err := client.Token(ctx)          // before every use, from any goroutine
//	request.Header.Set("Authorization", token.Authorization)
package oneaccess

// #cgo LDFLAGS: -loneaccess
// #include <oneaccess.h>
import "C"

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// Kind says what failed. The library's README says what to do about each kind. Newer versions of
// the library can return other numbers.
type Kind int32

const (
	KindArgument  Kind = C.ONEACCESS_ERROR_ARGUMENT
	KindConfig    Kind = C.ONEACCESS_ERROR_CONFIG
	KindTransport Kind = C.ONEACCESS_ERROR_TRANSPORT
	KindProxy     Kind = C.ONEACCESS_ERROR_PROXY
	KindTLS       Kind = C.ONEACCESS_ERROR_TLS
	KindTimeout   Kind = C.ONEACCESS_ERROR_TIMEOUT
	KindDenied    Kind = C.ONEACCESS_ERROR_DENIED
	KindThrottled Kind = C.ONEACCESS_ERROR_THROTTLED
	KindServer    Kind = C.ONEACCESS_ERROR_SERVER
	KindProtocol  Kind = C.ONEACCESS_ERROR_PROTOCOL
	KindClosed    Kind = C.ONEACCESS_ERROR_CLOSED
	KindInternal  Kind = C.ONEACCESS_ERROR_INTERNAL
)

var kinds = map[Kind]string{
	KindArgument: "Argument", KindConfig: "Config", KindTransport: "Transport", KindProxy: "Proxy", KindTLS: "TLS",
	KindTimeout: "Timeout", KindDenied: "Denied", KindThrottled: "Throttled", KindServer: "Server",
	KindProtocol: "Protocol", KindClosed: "Closed", KindInternal: "Internal",
}

func (k Kind) String() string {
	if name, ok := kinds[k]; ok {
		return name
	}
	return fmt.Sprintf("Kind(%d)", int32(k))
}

// An Error is a call that failed. It contains no secret.
type Error struct {
	Message    string // one line that says what to do
	Kind       Kind
	HTTPStatus int           // 0 if there was no response
	VendorCode string        // error_code of OneAccess, or the OAuth error
	Retryable  bool          // may succeed later without any change
	Remembered bool          // from an earlier request; this call sent none
	OccurredAt time.Time     // when the request failed
	RetryAfter time.Duration // until a retry makes sense, when the call returned
}

func (e *Error) Error() string { return e.Message }

// Is makes errors.Is(err, context.DeadlineExceeded) true for KindTimeout.
func (e *Error) Is(target error) bool {
	return e.Kind == KindTimeout && target == context.DeadlineExceeded
}

// A Token is an access token. It must not be changed, since many goroutines have the same one.
// Printing it, or encoding it as text or JSON, shows no secrets.
type Token struct {
	AccessToken   string
	Authorization string // "Bearer ...", the value of the header
	TokenType     string
	Scope         string    // "" if the response had none
	IDToken       string    // "" if the response had none
	ExpiresAt     time.Time // for display; the client decides when to refresh
}

func (t Token) String() string {
	return "oneaccess.Token that expires at " + t.ExpiresAt.Format(time.RFC3339)
}

// Format prints String() for all verbs, such as %+v and %#v.
func (t Token) Format(state fmt.State, _ rune) { fmt.Fprint(state, t.String()) }

// MarshalText encodes String(), for JSON, XML and log handlers.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Settings are those of docs/settings.md, by name. A value is a string, an int (of any size), a
// bool, or nil for the default; "headers" can also be a map[string]string.
type Settings map[string]any

// Statistics are the ONEACCESS_STAT_* numbers of oneaccess.h.
type Statistics struct {
	Refreshes, Attempts, Failures, Waits, Rejections, Denials int64

	StoreHits, StoreFailures int64

	TokenAge, TokenRemaining time.Duration // negative if there is no token
}

// A Client gets access tokens for one application. Share one client among all goroutines, and do
// not copy it.
type Client struct {
	calls  sync.RWMutex // read-locked during calls
	handle *C.oneaccess_client
	closed error // what calls return after Close

	mutex   sync.Mutex
	refresh *refresh // nil if none is running
}

type refresh struct {
	done  chan struct{}
	token *Token
	err   error
}

// New creates a client. With the setting client_secret_file, pass an empty clientSecret.
func New(endpoint, clientID, clientSecret string, settings Settings) (*Client, error) {
	var texts [3]*C.char
	for i, text := range []string{endpoint, clientID, clientSecret} {
		if text == "" {
			continue
		}
		var err error
		name := [...]string{"endpoint", "clientID", "clientSecret"}[i]
		if texts[i], err = cText(name, text); err != nil {
			return nil, err
		}
	}
	return open(C.oneaccess_config_new(texts[0], texts[1], texts[2]), settings)
}

// NewFromEnv creates a client from ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID,
// ONEACCESS_CLIENT_SECRET and all settings in the environment; the given settings take precedence.
func NewFromEnv(settings Settings) (*Client, error) {
	return open(C.oneaccess_config_new_from_env(), settings)
}

func open(config *C.oneaccess_config, settings Settings) (*Client, error) {
	defer C.oneaccess_config_free(config)
	for name, value := range settings {
		if err := set(config, name, value); err != nil {
			return nil, err
		}
	}
	client := &Client{}
	if err := takeError(C.oneaccess_client_new(config, &client.handle)); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(client, (*Client).Close)
	return client, nil
}

func set(config *C.oneaccess_config, name string, value any) error {
	cName, err := cText("the name of a setting", name)
	if err != nil {
		return err
	}
	switch value := value.(type) {
	case nil:
		return nil
	case map[string]string:
		if name != "headers" {
			return fmt.Errorf("oneaccess: %s must be a string, an int or a bool, not %T", name, value)
		}
		C.oneaccess_config_set(config, cName, nil) // removes those from the environment
		for header, text := range value {
			cHeader, err := cText(name, header)
			if err != nil {
				return err
			}
			cValue, err := cText(name, text)
			if err != nil {
				return err
			}
			C.oneaccess_config_add_header(config, cHeader, cValue)
		}
		return nil
	case string, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		cValue, err := cText(name, fmt.Sprint(value))
		if err != nil {
			return err
		}
		C.oneaccess_config_set(config, cName, cValue)
		return nil
	default:
		return fmt.Errorf("oneaccess: %s must be a string, an int or a bool, not %T", name, value)
	}
}

// Token returns a valid token; call it before each use. Usually it comes from memory. If it is due
// to be refreshed, one goroutine does so in the background, and all callers go on with the token
// they have. Without a token, all wait for that goroutine until ctx is done, at most for the setting
// timeout_ms. If the deadline of ctx has passed, Token returns what it can without a request.
func (c *Client) Token(ctx context.Context) (*Token, error) {
	token := c.CachedToken()
	if delay, _ := c.RefreshIn(); token != nil && delay != 0 {
		return token, nil
	}
	if ctx.Err() == nil {
		refresh := c.startRefresh()
		if token != nil {
			return token, nil
		}
		select {
		case <-refresh.done:
			return refresh.token, refresh.err
		case <-ctx.Done():
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err()
	}
	return c.get(false)
}

func (c *Client) startRefresh() *refresh {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.refresh == nil {
		c.refresh = &refresh{done: make(chan struct{})}
		go c.run(c.refresh)
	}
	return c.refresh
}

func (c *Client) run(refresh *refresh) {
	refresh.token, refresh.err = c.get(true)
	c.mutex.Lock()
	c.refresh = nil
	c.mutex.Unlock()
	close(refresh.done)
}

func (c *Client) get(mayRequest bool) (*Token, error) {
	c.calls.RLock()
	defer c.calls.RUnlock()
	if c.closed != nil {
		return nil, c.closed
	}
	var token *C.oneaccess_token
	var err error
	if mayRequest {
		err = takeError(C.oneaccess_client_get_token(c.handle, &token))
	} else {
		err = takeError(C.oneaccess_client_get_token_within(c.handle, 0, &token))
	}
	if err != nil {
		return nil, err
	}
	return takeToken(token), nil
}

// CachedToken returns the token in memory if it is usable, else nil. It never waits and never sends
// a request.
func (c *Client) CachedToken() *Token {
	c.calls.RLock()
	defer c.calls.RUnlock()
	token := C.oneaccess_client_get_cached_token(c.handle)
	if token == nil {
		return nil
	}
	return takeToken(token)
}

// RefreshIn returns the time until Token should be called to refresh the token; false if the client
// is closed.
func (c *Client) RefreshIn() (time.Duration, bool) {
	c.calls.RLock()
	defer c.calls.RUnlock()
	if c.closed != nil {
		return 0, false
	}
	delay := int64(C.oneaccess_client_refresh_in_ms(c.handle))
	return milliseconds(delay), delay >= 0
}

// Reject reports that a management API rejected this access token: HTTP 401, or HTTP 400 with
// invalid_token in the body. The next call of Token requests a new one.
func (c *Client) Reject(accessToken string) {
	text, err := cText("accessToken", accessToken)
	if err != nil {
		return // such a text is not a token
	}
	c.calls.RLock()
	defer c.calls.RUnlock()
	C.oneaccess_client_reject_token(c.handle, text)
}

// SetClientSecret uses this secret for all further requests. The current token is kept.
func (c *Client) SetClientSecret(clientSecret string) error {
	text, err := cText("clientSecret", clientSecret)
	if err != nil {
		return err
	}
	c.calls.RLock()
	defer c.calls.RUnlock()
	if c.closed != nil {
		return c.closed
	}
	return takeError(C.oneaccess_client_set_client_secret(c.handle, text))
}

// Statistics returns numbers counted since the client was created. They are 0 after Close.
func (c *Client) Statistics() Statistics {
	c.calls.RLock()
	defer c.calls.RUnlock()
	stat := func(number C.int32_t) int64 { return int64(C.oneaccess_client_stat(c.handle, number)) }
	return Statistics{
		Refreshes:      stat(C.ONEACCESS_STAT_REFRESHES),
		Attempts:       stat(C.ONEACCESS_STAT_ATTEMPTS),
		Failures:       stat(C.ONEACCESS_STAT_FAILURES),
		Waits:          stat(C.ONEACCESS_STAT_WAITS),
		Rejections:     stat(C.ONEACCESS_STAT_REJECTIONS),
		Denials:        stat(C.ONEACCESS_STAT_DENIALS),
		TokenAge:       milliseconds(stat(C.ONEACCESS_STAT_TOKEN_AGE_MS)),
		TokenRemaining: milliseconds(stat(C.ONEACCESS_STAT_TOKEN_REMAINING_MS)),
		StoreHits:      stat(C.ONEACCESS_STAT_STORE_HITS),
		StoreFailures:  stat(C.ONEACCESS_STAT_STORE_FAILURES),
	}
}

// LastError returns why the last request failed, also if no call reported it because the token was
// still valid. It is nil if the request succeeded, or after Close.
func (c *Client) LastError() error {
	c.calls.RLock()
	defer c.calls.RUnlock()
	return takeError(C.oneaccess_client_get_last_error(c.handle))
}

// LastStoreError returns the last failure of the shared store (setting store), however long ago. No
// call reports it: the call goes on without the store. It is nil if there was none, or after Close.
func (c *Client) LastStoreError() error {
	c.calls.RLock()
	defer c.calls.RUnlock()
	return takeError(C.oneaccess_client_get_last_store_error(c.handle))
}

// Close ends all calls with KindClosed, also those of other goroutines, and frees the client. Calls
// return within milliseconds, or within 3 seconds if a connection is being established.
func (c *Client) Close() {
	c.calls.RLock()
	C.oneaccess_client_close(c.handle)
	c.calls.RUnlock()
	_, closed := c.get(false)
	c.calls.Lock() // waits for the calls
	defer c.calls.Unlock()
	C.oneaccess_client_free(c.handle)
	c.handle = nil
	c.closed = closed
	runtime.SetFinalizer(c, nil)
}

// Version returns the version of the loaded library.
func Version() string { return C.GoString(C.oneaccess_version()) }

// cText returns a copy for C, which the garbage collector frees.
func cText(name, text string) (*C.char, error) {
	if strings.IndexByte(text, 0) >= 0 {
		return nil, fmt.Errorf("oneaccess: %s must not contain a NUL character", name)
	}
	bytes := append([]byte(text), 0)
	return (*C.char)(unsafe.Pointer(&bytes[0])), nil
}

func takeToken(token *C.oneaccess_token) *Token {
	defer C.oneaccess_token_free(token)
	return &Token{
		AccessToken:   C.GoString(C.oneaccess_token_access_token(token)),
		Authorization: C.GoString(C.oneaccess_token_authorization(token)),
		TokenType:     C.GoString(C.oneaccess_token_token_type(token)),
		Scope:         C.GoString(C.oneaccess_token_scope(token)),
		IDToken:       C.GoString(C.oneaccess_token_id_token(token)),
		ExpiresAt:     time.Unix(int64(C.oneaccess_token_expires_at(token)), 0),
	}
}

func takeError(err *C.oneaccess_error) error {
	if err == nil {
		return nil
	}
	defer C.oneaccess_error_free(err)
	return &Error{
		Message:    C.GoString(C.oneaccess_error_message(err)),
		Kind:       Kind(C.oneaccess_error_kind(err)),
		HTTPStatus: int(C.oneaccess_error_http_status(err)),
		VendorCode: C.GoString(C.oneaccess_error_vendor_code(err)),
		Retryable:  C.oneaccess_error_is_retryable(err) != 0,
		Remembered: C.oneaccess_error_is_remembered(err) != 0,
		OccurredAt: time.Unix(int64(C.oneaccess_error_occurred_at(err)), 0),
		RetryAfter: milliseconds(int64(C.oneaccess_error_retry_after_ms(err))),
	}
}

func milliseconds(count int64) time.Duration { return time.Duration(count) * time.Millisecond }
