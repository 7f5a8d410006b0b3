/**
 * @file
 * Access tokens of Huawei Cloud OneAccess (also sold as Bamboocloud), kept fresh.
 *
 * Rules, for all functions:
 *
 * 1. Ownership. What a function stores through `out`, and what a function with `_new` or `_get_` in
 *    its name returns, is yours: release it with the `_free` of its type, once, from any thread.
 *    Errors too. Nothing else is yours, and only `_free` takes ownership.
 * 2. Text. In: NUL-terminated UTF-8, copied; NULL means unset (where a value is required: a mistake,
 *    remembered). Out: NUL-terminated UTF-8, borrowed, lives as long as the object asked; NULL means
 *    absent. No string is ever freed.
 * 3. Errors. NULL means success. Otherwise you own the error, and `*out` is NULL. `out` is always
 *    written.
 * 4. NULL. Every object argument may be NULL: freeing does nothing, asking answers NULL or 0,
 *    working calls return an ARGUMENT error.
 * 5. Threads. Clients, tokens and errors may be used by many threads at once; a configuration by one
 *    at a time. const means concurrent. Free after the last use: not while another thread is in a
 *    call (oneaccess_client_close() ends those; wait for them). Do not cancel a thread that is in a
 *    call (pthread_cancel): that ends the process. Close the client instead.
 *
 * Nothing here calls back, starts a thread or handles a signal. A name lookup under a deadline
 * borrows one short-lived thread. Out of memory ends the process, as everywhere in Rust.
 *
 * For parsers without a preprocessor: sed '/^#/d; /C++ only/d'
 */

#ifndef ONEACCESS_H
#define ONEACCESS_H

#include <stdint.h>

/** Version of this header. */
#define ONEACCESS_VERSION "0.1.0"
/** The same as major * 1000000 + minor * 1000 + patch. */
#define ONEACCESS_VERSION_NUMBER 1000

#ifdef __cplusplus
extern "C" { /* C++ only */
#endif

/**
 * No error.
 */
#define ONEACCESS_ERROR_NONE 0

/**
 * The call was wrong: NULL, not UTF-8, negative. The program needs fixing.
 */
#define ONEACCESS_ERROR_ARGUMENT 1

/**
 * A setting cannot be used: endpoint, CA file, key, secret file, environment.
 */
#define ONEACCESS_ERROR_CONFIG 2

/**
 * No answer: name lookup, connection.
 */
#define ONEACCESS_ERROR_TRANSPORT 3

/**
 * The proxy refused or failed.
 */
#define ONEACCESS_ERROR_PROXY 4

/**
 * The server could not be trusted, or the TLS handshake failed.
 */
#define ONEACCESS_ERROR_TLS 5

/**
 * The time given to the call was over.
 */
#define ONEACCESS_ERROR_TIMEOUT 6

/**
 * OneAccess refused the client, its secret or the request.
 */
#define ONEACCESS_ERROR_DENIED 7

/**
 * OneAccess, or a gateway before it, asked for fewer requests.
 */
#define ONEACCESS_ERROR_THROTTLED 8

/**
 * HTTP 5xx, or an error code that says "busy": OneAccess failed.
 */
#define ONEACCESS_ERROR_SERVER 9

/**
 * The answer was not a token: web page, redirect, firewall, broken JSON.
 */
#define ONEACCESS_ERROR_PROTOCOL 10

/**
 * The client was closed.
 */
#define ONEACCESS_ERROR_CLOSED 11

/**
 * A bug in this library.
 */
#define ONEACCESS_ERROR_INTERNAL 12

/**
 * Efforts to get a token; each is one or more attempts.
 */
#define ONEACCESS_STAT_REFRESHES 1

/**
 * Token requests that were sent, or tried.
 */
#define ONEACCESS_STAT_ATTEMPTS 2

/**
 * Refreshes that brought no token.
 */
#define ONEACCESS_STAT_FAILURES 3

/**
 * Calls that waited for another call's refresh.
 */
#define ONEACCESS_STAT_WAITS 4

/**
 * Rejections that made the token spent; those that were ignored are not counted.
 */
#define ONEACCESS_STAT_REJECTIONS 5

/**
 * Refreshes that OneAccess denied.
 */
#define ONEACCESS_STAT_DENIALS 6

/**
 * Milliseconds since the current token was asked for; -1 without a token.
 */
#define ONEACCESS_STAT_TOKEN_AGE_MS 7

/**
 * Milliseconds until the current token expires, not less than 0; -1 without a token.
 */
#define ONEACCESS_STAT_TOKEN_REMAINING_MS 8

/**
 * Gets access tokens for one application and keeps them fresh. Make one per application and
 * process, share it among all threads. It starts no thread of its own. The child of a fork can go
 * on using it (Linux). Tokens and errors outlive it.
 */
typedef struct oneaccess_client oneaccess_client;

/**
 * The settings of a client. Made, changed and freed by one thread at a time; clients made from it
 * keep a copy, so that it can be freed, or changed for the next client, right after.
 */
typedef struct oneaccess_config oneaccess_config;

/**
 * Why a call failed, immutable. Holds no secret and no token.
 */
typedef struct oneaccess_error oneaccess_error;

/**
 * An access token, immutable. Outlives its client.
 */
typedef struct oneaccess_token oneaccess_token;

/**
 * Version of the loaded library, such as "0.1.0"; ONEACCESS_VERSION is the header's.
 */
const char *oneaccess_version(void);

/**
 * The same as major * 1000000 + minor * 1000 + patch, to compare with ONEACCESS_VERSION_NUMBER.
 */
int32_t oneaccess_version_number(void);

/**
 * A configuration with the three things every client needs. Never fails: mistakes are remembered
 * and reported by oneaccess_client_new().
 *
 * endpoint: `host`, `host:port`, `https://host/` or the whole token URL as the console shows it.
 * `http://` is for loopback hosts only. client_secret may be NULL if
 * oneaccess_config_set_client_secret_file() follows.
 */
oneaccess_config *oneaccess_config_new(const char *endpoint,
                                       const char *client_id,
                                       const char *client_secret);

/**
 * The same from the environment: ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, then
 * ONEACCESS_CLIENT_SECRET or ONEACCESS_CLIENT_SECRET_FILE, and, where set, ONEACCESS_CA_FILE. An
 * empty variable counts as not set. What is missing is reported by oneaccess_client_new().
 */
oneaccess_config *oneaccess_config_new_from_env(void);

/**
 * Reads the client secret from this file, again before every request, so that a rotated secret is
 * used without anybody's doing. A regular file of UTF-8 text, at most 64 KiB; a byte order mark at
 * its start and one trailing line break are not part of the secret. Replaces the secret given to
 * oneaccess_config_new(), which may be NULL then. Default: NULL, no file.
 */
void oneaccess_config_set_client_secret_file(oneaccess_config *config, const char *path);

/**
 * Sends the credentials as HTTP Basic authentication instead of form fields, if on is not 0: as they
 * are (RFC 7617), which OneAccess expects, and not form-encoded first (RFC 6749, section 2.3.1).
 * Default: 0.
 */
void oneaccess_config_set_basic_auth(oneaccess_config *config,
                                     int32_t on);

/**
 * Adds a header to every request, for example X-tenant-id. Not those that the library sets itself:
 * Host, Authorization, Content-* and what governs the connection; visible ASCII and blanks only; at
 * most 32 KiB, names and values of all together.
 */
void oneaccess_config_add_header(oneaccess_config *config, const char *name, const char *value);

/**
 * How long a whole call may take, in milliseconds: name lookup, connection, TLS, the answer,
 * retries and waiting for others. Default: 30000. At least 1; more than a day counts as a day.
 */
void oneaccess_config_set_timeout_ms(oneaccess_config *config, int64_t timeout_ms);

/**
 * How long before its expiry a token counts as spent, in seconds, since it may die under way.
 * Default: 30, or a twentieth of the token's life if that is less. Never more than half of it.
 */
void oneaccess_config_set_expiry_margin_s(oneaccess_config *config, int64_t expiry_margin_s);

/**
 * Trusts the certificates in this PEM file, at most 16 MiB, besides the operating system's roots.
 * Default: NULL, none. Use it for a tenant with a private CA; there is no way to switch verification off.
 */
void oneaccess_config_set_ca_file(oneaccess_config *config,
                                  const char *pem_path);

/**
 * Trusts the operating system's roots, or those that SSL_CERT_FILE and SSL_CERT_DIR name instead, if
 * on is not 0, and only the CA file otherwise. Default: 1.
 */
void oneaccess_config_set_system_roots(oneaccess_config *config,
                                       int32_t on);

/**
 * Shows this certificate to servers that want one (mutual TLS). The key is PEM: PKCS #8, PKCS #1
 * or SEC 1, not encrypted. Default: NULL and NULL, none.
 */
void oneaccess_config_set_client_certificate_file(oneaccess_config *config,
                                                  const char *cert_pem_path,
                                                  const char *key_pem_path);

/**
 * NULL, the default: the proxy that the environment names when the client is made (https_proxy,
 * HTTPS_PROXY, all_proxy, ALL_PROXY; no_proxy, NO_PROXY), by the rules of curl 7.88. Beyond them, in
 * no_proxy an entry may have a port, `*` may stand among others and IPv6 addresses may have brackets;
 * a value that is not usable is an error, never ignored. "": no proxy. Else http://, https://,
 * socks4:// or socks5:// with `user:password@` if the proxy wants them, percent-encoded; it is then
 * used for every host.
 */
void oneaccess_config_set_proxy(oneaccess_config *config,
                                const char *url);

/**
 * Frees a configuration. NULL is fine.
 */
void oneaccess_config_free(oneaccess_config *config);

/**
 * Makes a client. Checks the configuration, reads the environment's proxy and the files that are
 * named, sends nothing.
 *
 * Errors: ARGUMENT or CONFIG; the message lists every mistake of the configuration.
 */
oneaccess_error *oneaccess_client_new(const oneaccess_config *config, oneaccess_client **out);

/**
 * A token that can be used now. Mostly from memory, within nanoseconds; about once in a token's
 * life one caller makes a request and blocks, at most for the configured timeout. Call it before
 * every use instead of keeping the token, and release what it gives after the use.
 *
 * Errors: only without a token that is alive; an outage is not an error while there is one.
 */
oneaccess_error *oneaccess_client_get_token(const oneaccess_client *client, oneaccess_token **out);

/**
 * The same with a timeout of its own, in milliseconds. 0: what is there, a token or a remembered
 * error, or TIMEOUT; it never waits and never sends a request. More than a day counts as a day.
 */
oneaccess_error *oneaccess_client_get_token_within(const oneaccess_client *client,
                                                   int64_t timeout_ms,
                                                   oneaccess_token **out);

/**
 * The token, if there is one that is not about to expire; else NULL. Never blocks, never sends a
 * request: for event loops, together with oneaccess_client_refresh_in_ms().
 */
oneaccess_token *oneaccess_client_get_cached_token(const oneaccess_client *client);

/**
 * Milliseconds until oneaccess_client_get_token() would do something useful, rounded up: until the
 * token is to be refreshed, or, after a failure, until the next request is allowed. 0: now.
 * -1: never, the client is closed. A host with timers calls again then, from a thread that may
 * block.
 */
int64_t oneaccess_client_refresh_in_ms(const oneaccess_client *client);

/**
 * Tells that a management API did not accept this access token. It says so with HTTP 400 and
 * `invalid_token` in the body, or with 401: who looks for 401 only never recovers. If it is the
 * current token, the next call gets another. Many threads that reject one token cause one request;
 * rejections of a token that has just come are ignored for a while (1 to 60 seconds), since a lack
 * of permission looks the same. NULL is ignored.
 */
void oneaccess_client_reject_token(const oneaccess_client *client, const char *access_token);

/**
 * Uses another client secret from now on, and forgets a denial of the old one. The token stays.
 *
 * Errors: ARGUMENT, if the secret is NULL, empty, not UTF-8, or read from a file.
 */
oneaccess_error *oneaccess_client_set_client_secret(const oneaccess_client *client,
                                                    const char *client_secret);

/**
 * One of the ONEACCESS_STAT_* numbers, of this process; -1 for an unknown one.
 */
int64_t oneaccess_client_stat(const oneaccess_client *client, int32_t stat);

/**
 * The error of the last failed request, also one that no caller was told of because there was a
 * token; NULL if there was none since the last success. Yours to free.
 */
oneaccess_error *oneaccess_client_get_last_error(const oneaccess_client *client);

/**
 * Ends every call on this client, those under way and those to come, with CLOSED; returns at once.
 * If other threads may still be in a call: close, wait until their calls have returned, then free.
 * They return within milliseconds; while packets are dropped a connect can take 3 seconds more.
 */
void oneaccess_client_close(const oneaccess_client *client);

/**
 * Frees a client. Does no I/O. Its tokens and errors stay valid. NULL is fine.
 *
 * The client secret is wiped from memory. Every other thread that asked this client for a token
 * keeps the last one in memory until it is given another token or ends.
 */
void oneaccess_client_free(oneaccess_client *client);

/**
 * The access token itself.
 */
const char *oneaccess_token_access_token(const oneaccess_token *token);

/**
 * How many bytes the access token has, not counting the NUL behind it, for those who copy it.
 */
int64_t oneaccess_token_access_token_length(const oneaccess_token *token);

/**
 * "Bearer ...": the value of an Authorization header (RFC 6750, section 2.1).
 */
const char *oneaccess_token_authorization(const oneaccess_token *token);

/**
 * Always "Bearer": an answer with another type is an error.
 */
const char *oneaccess_token_token_type(const oneaccess_token *token);

/**
 * The scope of the answer, or NULL if it had none.
 */
const char *oneaccess_token_scope(const oneaccess_token *token);

/**
 * The id_token of the answer, or NULL if it had none; opaque here.
 */
const char *oneaccess_token_id_token(const oneaccess_token *token);

/**
 * When the token expires, in seconds since the Unix epoch, by this machine's clock. To show, not
 * to decide: ask the client for a token before every use, it knows when to replace it.
 */
int64_t oneaccess_token_expires_at(const oneaccess_token *token);

/**
 * Releases a token. NULL is fine. It is wiped from memory once the client has another one or is
 * freed, and so have the threads that asked for it: each keeps the last token that it was given
 * until it is given another or ends. What TLS kept of the answer is not wiped.
 */
void oneaccess_token_free(oneaccess_token *token);

/**
 * One of the ONEACCESS_ERROR_* numbers. Newer libraries may have more of them. 0 for NULL.
 */
int32_t oneaccess_error_kind(const oneaccess_error *error);

/**
 * The HTTP status of the answer; 0 if there was none.
 */
int32_t oneaccess_error_http_status(const oneaccess_error *error);

/**
 * The vendor's error_code, or the OAuth error (RFC 6749, section 5.2), as it came; NULL if the
 * answer had none.
 */
const char *oneaccess_error_vendor_code(const oneaccess_error *error);

/**
 * One line for people: what happened, with whom, and what to do about it.
 */
const char *oneaccess_error_message(const oneaccess_error *error);

/**
 * 1 if the same request may succeed later without anybody changing anything, else 0.
 */
int32_t oneaccess_error_is_retryable(const oneaccess_error *error);

/**
 * 1 if the error comes from an earlier request, which this call neither sent nor waited for. Else 0.
 */
int32_t oneaccess_error_is_remembered(const oneaccess_error *error);

/**
 * When the request failed, in seconds since the Unix epoch.
 */
int64_t oneaccess_error_occurred_at(const oneaccess_error *error);

/**
 * Milliseconds from now until another request is worth sending, computed when asked; 0: no advice,
 * or over.
 */
int64_t oneaccess_error_retry_after_ms(const oneaccess_error *error);

/**
 * Frees an error. NULL is fine.
 */
void oneaccess_error_free(oneaccess_error *error);

#ifdef __cplusplus
} /* C++ only */
#endif

#endif /* ONEACCESS_H */
