// Check checks the wrapper. It prints one line per check: those that tests/bindings.rs expects.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"time"

	"oneaccess"
)

var (
	ctx      = context.Background()
	endpoint = os.Getenv("ONEACCESS_ENDPOINT")
	id       = os.Getenv("ONEACCESS_CLIENT_ID")
	secret   = os.Getenv("ONEACCESS_CLIENT_SECRET")
	caFile   = os.Getenv("ONEACCESS_CA_FILE")
)

func check(name string, passed bool) {
	if passed {
		fmt.Println("ok", name)
	} else {
		fmt.Println("FAILED", name)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// failure returns the *oneaccess.Error in err; one without a kind if there is none.
func failure(err error) *oneaccess.Error {
	failure := &oneaccess.Error{}
	errors.As(err, &failure)
	return failure
}

func newClient(endpoint, id, secret string) *oneaccess.Client {
	return must(oneaccess.New(endpoint, id, secret, oneaccess.Settings{"ca_file": caFile}))
}

func newError(endpoint, secret string, settings oneaccess.Settings) error {
	_, err := oneaccess.New(endpoint, id, secret, settings)
	return err
}

func checkSettings() {
	// The environment has everything, but must not complete explicit credentials.
	check("no endpoint", failure(newError("", secret, nil)).Kind == oneaccess.KindArgument)
	check("no secret", failure(newError(endpoint, "", nil)).Kind == oneaccess.KindArgument)
	err := newError(endpoint, secret, oneaccess.Settings{"timeout": 5})
	check("unknown setting", failure(err).Kind == oneaccess.KindConfig &&
		strings.Contains(err.Error(), "timeout_ms"))
	err = newError(endpoint, secret, oneaccess.Settings{"timeout_ms": 0})
	check("bad value", failure(err).Kind == oneaccess.KindConfig)
	err = newError(endpoint, secret, oneaccess.Settings{"ca_file": "a\x00b"})
	wrongType := newError(endpoint, secret, oneaccess.Settings{"timeout_ms": time.Second})
	check("NUL character", strings.Contains(err.Error(), "ca_file") && failure(err).Kind == 0 &&
		strings.Contains(wrongType.Error(), "timeout_ms") && failure(wrongType).Kind == 0)
	lineBreak := map[string]string{"X": "1\r\nY: 2"}
	err = newError(endpoint, secret, oneaccess.Settings{"headers": lineBreak})
	wrongName := newError(endpoint, secret, oneaccess.Settings{"proxy": lineBreak})
	check("headers", failure(err).Kind == oneaccess.KindArgument && failure(wrongName).Kind == 0 &&
		strings.Contains(wrongName.Error(), "proxy"))
}

func checkTokens(client *oneaccess.Client) *oneaccess.Token {
	delay, open := client.RefreshIn()
	nothing := client.CachedToken() == nil && delay == 0 && open
	past, cancel := context.WithTimeout(ctx, 0)
	defer cancel()
	_, err := client.Token(past)
	check("no token yet", nothing && failure(err).Kind == oneaccess.KindTimeout &&
		errors.Is(err, context.DeadlineExceeded))
	token := must(client.Token(ctx))
	life := time.Until(token.ExpiresAt)
	check("token", token.TokenType == "Bearer" && token.Scope == "all" &&
		strings.Count(token.IDToken, ".") == 2 &&
		token.Authorization == "Bearer "+token.AccessToken &&
		life > 0 && life <= 1801*time.Second)
	check("cached token", *client.CachedToken() == *token && *must(client.Token(past)) == *token)
	delay, _ = client.RefreshIn()
	check("refresh in", delay > 0 && delay < 1800*time.Second)
	client.Reject(token.AccessToken)
	newToken := must(client.Token(ctx))
	check("rejected token", *newToken != *token)
	client.Reject(newToken.AccessToken) // too early after the first rejection: ignored
	check("rejected again", *must(client.Token(ctx)) == *newToken)
	numbers := client.Statistics()
	times := numbers.TokenAge >= 0 && numbers.TokenRemaining > 0
	numbers.TokenAge, numbers.TokenRemaining = 0, 0
	expected := oneaccess.Statistics{Refreshes: 2, Attempts: 2, Rejections: 1}
	check("statistics", times && numbers == expected)
	check("threads", sameToken(client, 8) == *newToken)
	return newToken
}

// sameToken calls Token in goroutines, and returns the token if all got the same one.
func sameToken(client *oneaccess.Client, count int) oneaccess.Token {
	tokens := make(chan *oneaccess.Token)
	for i := 0; i < count; i++ {
		go func() { tokens <- must(client.Token(ctx)) }()
	}
	first := <-tokens
	for i := 1; i < count; i++ {
		if *<-tokens != *first {
			return oneaccess.Token{}
		}
	}
	return *first
}

func checkAsynchronous() {
	client := newClient(endpoint, id, secret)
	defer client.Close()
	same := sameToken(client, 100).AccessToken != "" && client.Statistics().Attempts == 1

	// A server that never answers.
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	defer listener.Close()
	waiting := newClient("http://"+listener.Addr().String(), id, secret)
	defer waiting.Close()
	begin := time.Now()
	limited, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	_, timeout := waiting.Token(limited)
	cancel()
	cancelled, cancel := context.WithCancel(ctx)
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := waiting.Token(cancelled)
	check("asynchronous", same && time.Since(begin) < 5*time.Second &&
		failure(timeout).Kind == oneaccess.KindTimeout && errors.Is(err, context.Canceled) &&
		waiting.Statistics().Attempts == 1)
}

func checkErrors() {
	wrong := newClient(endpoint, id, "wrong")
	defer wrong.Close()
	_, err := wrong.Token(ctx)
	denied := failure(err)
	age := time.Since(denied.OccurredAt)
	check("denied", denied.Kind == oneaccess.KindDenied && denied.HTTPStatus == 401 &&
		denied.VendorCode == "invalid_client" && age >= 0 && age < time.Minute &&
		!denied.Retryable && !denied.Remembered)
	_, err = wrong.Token(ctx)
	remembered := failure(err)
	check("remembered", remembered.Remembered &&
		remembered.RetryAfter > 0 && remembered.RetryAfter < time.Hour)
	check("last error", failure(wrong.LastError()).Kind == oneaccess.KindDenied)
	check("empty secret", failure(wrong.SetClientSecret("")).Kind == oneaccess.KindArgument)
	err = wrong.SetClientSecret(secret)
	check("new secret", err == nil && must(wrong.Token(ctx)).TokenType == "Bearer" &&
		wrong.LastError() == nil)
	disabled := newClient(endpoint, "disabled-id", secret)
	defer disabled.Close()
	_, err = disabled.Token(ctx)
	check("vendor code", failure(err).VendorCode == "APP.0003" &&
		strings.Contains(err.Error(), "应用已禁用"))
}

func checkStore() {
	folder := must(os.MkdirTemp("", "oneaccess"))
	defer os.RemoveAll(folder)
	with := func(folder string) *oneaccess.Client {
		settings := oneaccess.Settings{"ca_file": caFile, "store": "file:" + folder}
		return must(oneaccess.New(endpoint, id, secret, settings))
	}
	first, second := with(folder+"/store"), with(folder+"/store")
	without := with("/nonexistent/folder")
	defer first.Close()
	defer second.Close()
	defer without.Close()
	same := *must(first.Token(ctx)) == *must(second.Token(ctx))
	numbers := second.Statistics()
	shared := same && numbers.StoreHits == 1 && numbers.Attempts == 0 &&
		second.LastStoreError() == nil
	bearer := must(without.Token(ctx)).TokenType == "Bearer"
	numbers = without.Statistics()
	check("shared store", shared && bearer && numbers.StoreFailures >= 1 &&
		numbers.StoreHits == 0 && numbers.Attempts == 1 &&
		failure(without.LastStoreError()).Kind == oneaccess.KindConfig)
}

func main() {
	check("version", oneaccess.Version() == "0.1.0")
	checkSettings()
	client := must(oneaccess.New(endpoint, id, secret, oneaccess.Settings{
		"ca_file":         caFile,
		"timeout_ms":      20_000,
		"system_roots":    false,
		"client_key_file": nil,
		"headers":         map[string]string{"X-Test": "bindings"},
	}))
	token := checkTokens(client)
	checkAsynchronous()
	checkErrors()
	checkStore()
	shown := string(must(json.Marshal([]any{token, *token, client})))
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		shown += fmt.Sprintf(format+format+format, token, *token, client)
	}
	check("secrets hidden", !strings.Contains(shown, secret) &&
		!strings.Contains(shown, token.AccessToken) && !strings.Contains(shown, token.IDToken))

	client.Close()
	client.Close()
	_, open := client.RefreshIn()
	_, err := client.Token(ctx)
	check("closed", client.CachedToken() == nil && !open &&
		failure(err).Kind == oneaccess.KindClosed)
	headers := map[string]string{"X-Test": "settings"}
	client = must(oneaccess.NewFromEnv(oneaccess.Settings{"timeout_ms": 20_000, "headers": headers}))
	check("from the environment", must(client.Token(ctx)).TokenType == "Bearer")
	client.Close()
}
