/**
 * @file
 * Gets access tokens of Huawei Cloud OneAccess (also sold as Bamboocloud) and keeps them fresh.
 *
 * Rules for all functions:
 *
 * 1. Ownership. You own what a function stores in `*out`, what a function with `_new` or `_get_` in
 *    its name returns, and every error. Free each object once, with the `_free` function of its
 *    type, from any thread. You own nothing else, and only `_free` takes ownership.
 * 2. Text. Arguments are NUL-terminated UTF-8 and are copied; NULL means unset. Returned strings are
 *    NUL-terminated UTF-8 and valid until the object they come from is freed; NULL means absent.
 *    Never free a string.
 * 3. Errors. A function that can fail returns NULL on success. Otherwise it returns an error, which
 *    you own, and sets `*out` to NULL.
 * 4. NULL. Every object argument may be NULL: a `_free` function does nothing, a getter returns NULL
 *    or 0, and a function that returns an error returns ONEACCESS_ERROR_ARGUMENT.
 * 5. Threads. Clients, tokens and errors can be used by many threads at once, a configuration by one
 *    thread at a time. Do not free an object while another thread uses it: to free a client, call
 *    oneaccess_client_close() first and wait until the calls of the other threads have returned. Do
 *    not cancel a thread (pthread_cancel) during a call: that aborts the process. Close the client
 *    instead.
 *
 * A token is fresh, then refresh-due (one call refreshes it; the others get it without waiting), then
 * stale (used only if it cannot be refreshed), then expired (never used). A token is usable while it
 * is fresh or refresh-due, and valid until it has expired.
 *
 * The library calls no callbacks, installs no signal handlers and starts no threads, except one
 * short-lived thread for a name lookup. Running out of memory aborts the process.
 *
 * To parse this file without a preprocessor: sed '/^#/d; /C++ only/d'
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
 * An argument is invalid: NULL, not UTF-8, negative, out of range. The program needs a fix.
 */
#define ONEACCESS_ERROR_ARGUMENT 1

/**
 * A setting is not usable: endpoint, CA file, key, secret file, environment variable.
 */
#define ONEACCESS_ERROR_CONFIG 2

/**
 * The name lookup or the connection failed.
 */
#define ONEACCESS_ERROR_TRANSPORT 3

/**
 * The proxy refused the connection or failed.
 */
#define ONEACCESS_ERROR_PROXY 4

/**
 * The TLS handshake failed, or the server's certificate is not trusted.
 */
#define ONEACCESS_ERROR_TLS 5

/**
 * The call timed out.
 */
#define ONEACCESS_ERROR_TIMEOUT 6

/**
 * OneAccess denied the request: wrong client id or secret, disabled application, invalid
 * request.
 */
#define ONEACCESS_ERROR_DENIED 7

/**
 * OneAccess, or a gateway in front of it, limits the number of requests (HTTP 429, for example).
 */
#define ONEACCESS_ERROR_THROTTLED 8

/**
 * OneAccess failed: HTTP 5xx, or a vendor error code that means "busy".
 */
#define ONEACCESS_ERROR_SERVER 9

/**
 * The response contains no usable token: a web page, a redirect, invalid JSON.
 */
#define ONEACCESS_ERROR_PROTOCOL 10

/**
 * The client was closed with oneaccess_client_close().
 */
#define ONEACCESS_ERROR_CLOSED 11

/**
 * A bug in this library. Please report it.
 */
#define ONEACCESS_ERROR_INTERNAL 12

/**
 * Refreshes started. One refresh makes one or more attempts to get a token.
 */
#define ONEACCESS_STAT_REFRESHES 1

/**
 * Attempts: token requests sent, including those that failed before they reached the server.
 */
#define ONEACCESS_STAT_ATTEMPTS 2

/**
 * Refreshes that failed.
 */
#define ONEACCESS_STAT_FAILURES 3

/**
 * Followers: calls that waited for a refresh that another call was making.
 */
#define ONEACCESS_STAT_WAITS 4

/**
 * Rejected tokens: calls of oneaccess_client_reject_token() that made the current token stale.
 * Ignored calls are not counted.
 */
#define ONEACCESS_STAT_REJECTIONS 5

/**
 * Refreshes that failed with ONEACCESS_ERROR_DENIED.
 */
#define ONEACCESS_STAT_DENIALS 6

/**
 * Milliseconds since the current token was requested; -1 if there is no token.
 */
#define ONEACCESS_STAT_TOKEN_AGE_MS 7

/**
 * Milliseconds until the current token expires, never negative; -1 if there is no token.
 */
#define ONEACCESS_STAT_TOKEN_REMAINING_MS 8

/**
 * Refreshes that the shared store answered: another process had requested the token.
 */
#define ONEACCESS_STAT_STORE_HITS 9

/**
 * Failures of the shared store. After each the call went on as without a store; see
 * oneaccess_client_get_last_store_error().
 */
#define ONEACCESS_STAT_STORE_FAILURES 10

/**
 * Gets access tokens for one application and keeps them fresh. Create one per application and
 * process, and share it among all threads. After fork() (Linux), the child process can continue
 * to use it. Tokens and errors remain valid after the client is freed.
 */
typedef struct oneaccess_client oneaccess_client;

/**
 * The settings of a client. Use it from one thread at a time. oneaccess_client_new() copies the
 * settings: the configuration can be freed right after, or changed for the next client.
 */
typedef struct oneaccess_config oneaccess_config;

/**
 * The reason why a call failed. Immutable; contains no secret and no token.
 */
typedef struct oneaccess_error oneaccess_error;

/**
 * An access token. Immutable; remains valid after its client is freed.
 */
typedef struct oneaccess_token oneaccess_token;

/**
 * Version of the loaded library, such as "0.1.0". A static string, never NULL. Compare it with
 * ONEACCESS_VERSION, the version of this header.
 */
const char *oneaccess_version(void);

/**
 * Version of the loaded library as a number: major * 1000000 + minor * 1000 + patch. Compare it
 * with ONEACCESS_VERSION_NUMBER.
 */
int32_t oneaccess_version_number(void);

/**
 * Creates a configuration from the three settings that every client needs. Mistakes, such as an
 * invalid endpoint, are reported later, by oneaccess_client_new().
 *
 * endpoint: `host`, `host:port`, `https://host/`, or the whole token URL as the OneAccess
 * console shows it. `http://` is accepted for loopback hosts only.
 *
 * client_secret: may be NULL if the setting client_secret_file is set.
 *
 * Returns NULL only after a bug in this library.
 */
oneaccess_config *oneaccess_config_new(const char *endpoint,
                                       const char *client_id,
                                       const char *client_secret);

/**
 * Creates a configuration from environment variables: ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID,
 * ONEACCESS_CLIENT_SECRET, and ONEACCESS_ with the name in capitals for each setting of
 * oneaccess_config_set(), for example ONEACCESS_CLIENT_SECRET_FILE or ONEACCESS_TIMEOUT_MS. An empty
 * variable counts as unset; an empty ONEACCESS_PROXY means no proxy. What is missing or invalid is
 * reported by oneaccess_client_new().
 *
 * Returns NULL only after a bug in this library.
 */
oneaccess_config *oneaccess_config_new_from_env(void);

/**
 * Sets the setting `name` to `value`; NULL sets it back to its default. Numbers are decimal,
 * booleans `true`, `false`, `1` or `0`, paths are used as they are. An unknown name and a value that
 * is not allowed are reported by oneaccess_client_new(), with the nearest known name, or with what
 * is allowed. The settings:
 *
 * - client_secret_file: Path of a file that holds the client secret, instead of the secret itself.
 *   It is read again before every request, so that a rotated secret is used without a restart.
 *   UTF-8 text of at most 64 KiB; a byte order mark at its start and one line break at its end
 *   are not part of the secret. Default: none.
 * - basic_auth: true: sends the credentials as HTTP Basic authentication instead of form fields,
 *   as they are (RFC 7617), which OneAccess expects, and not form-encoded first (RFC 6749,
 *   section 2.3.1). true or false. Default: false.
 * - timeout_ms: How long a whole call may take, in milliseconds: name lookup, connection, TLS, the
 *   answer, retries and waiting for other callers. 1 to 86400000. Default: 30000.
 * - expiry_margin_s: How long before its expiry a token counts as stale, in seconds, since it may
 *   expire on its way to the API. 0 to 86400, but never more than half of the token's lifetime.
 *   Default: 30, or a twentieth of the lifetime if that is less.
 * - ca_file: Path of a PEM file, at most 16 MiB, whose certificates are trusted besides the
 *   operating system's roots: for a tenant with a private CA. There is no way to switch
 *   verification off. Default: none.
 * - system_roots: true: trusts the operating system's roots, or those that SSL_CERT_FILE and
 *   SSL_CERT_DIR name instead. They are read at the first request of the process, once for all
 *   clients: before a chroot, for example, get a token. false: only ca_file. true or false.
 *   Default: true.
 * - client_certificate_file: Path of a PEM file with the certificate, and its intermediate
 *   certificates, that is shown to servers which ask for one (mutual TLS); needs
 *   client_key_file. Default: none.
 * - client_key_file: Path of a PEM file with the private key of client_certificate_file: PKCS #8,
 *   PKCS #1 or SEC 1, not encrypted. Default: none.
 * - proxy: URL of the proxy: http://, https://, socks4://, socks4a://, socks5:// or socks5h://,
 *   with user:password@ if the proxy wants them, percent-encoded. Empty: no proxy. Default: the
 *   proxy that the environment names when the client is made (https_proxy, HTTPS_PROXY,
 *   all_proxy, ALL_PROXY; no_proxy, NO_PROXY), by the rules of curl 7.88; beyond them, an entry
 *   of no_proxy may have a port, * may stand among others, and IPv6 addresses may have brackets.
 * - headers: Headers for every request, as `Name: value`, one a line; for example X-tenant-id.
 *   Visible ASCII and blanks, at most 32 KiB together; not those that the library sets itself:
 *   Host, Authorization, Content-* and those that govern the connection. Default: none.
 * - store: Where the processes of an application share their token, so that they make one request
 *   together: `file:` and the absolute path of a folder, which is created if only its last part is
 *   missing; `file`, for the folder oneaccess in the user's folder for caches ($XDG_CACHE_HOME or
 *   ~/.cache, ~/Library/Caches, %LOCALAPPDATA%); or redis://host:port/database (rediss:// for
 *   TLS), a Redis or Valkey server. What is stored is encrypted with the client secret. A store
 *   that cannot be used is skipped, never an error. Default: none.
 */
void oneaccess_config_set(oneaccess_config *config,
                          const char *name,
                          const char *value);

/**
 * Adds a header to every request, for example X-tenant-id. Name and value must be printable
 * ASCII; all headers together can have at most 32 KiB. Headers that the library sets itself are
 * not allowed: Host, Authorization, Content-* and those that control the connection. Default: no
 * extra headers.
 */
void oneaccess_config_add_header(oneaccess_config *config, const char *name, const char *value);

/**
 * Frees a configuration. NULL is ignored.
 */
void oneaccess_config_free(oneaccess_config *config);

/**
 * Creates a client and stores it in `*out`. Checks the configuration and reads the proxy
 * variables and the files that it names. Sends no request.
 *
 * Errors: ARGUMENT or CONFIG. The message lists all mistakes in the configuration.
 */
oneaccess_error *oneaccess_client_new(const oneaccess_config *config, oneaccess_client **out);

/**
 * Stores a valid token in `*out`. Call it before each use instead of storing the token, and
 * free the token after the use.
 *
 * Usually the token is in memory, and the call takes less than a microsecond. About once in a
 * token's lifetime, one call requests a new token and blocks, at most for the configured
 * timeout.
 *
 * Errors: only if there is no valid token, or the client is closed. If a refresh fails while the
 * token is valid, the call stores that token and returns NULL.
 */
oneaccess_error *oneaccess_client_get_token(const oneaccess_client *client, oneaccess_token **out);

/**
 * Like oneaccess_client_get_token(), with a timeout for this call, in milliseconds. More than a
 * day counts as a day; a negative value is an ARGUMENT error.
 *
 * With 0, the call neither waits nor sends a request. It gives the cached token, or returns the
 * remembered error of an earlier request, or TIMEOUT.
 */
oneaccess_error *oneaccess_client_get_token_within(const oneaccess_client *client,
                                                   int64_t timeout_ms,
                                                   oneaccess_token **out);

/**
 * Returns the cached token if it is usable, else NULL. Never waits and never sends a request.
 * Use it in event loops, together with oneaccess_client_refresh_in_ms().
 */
oneaccess_token *oneaccess_client_get_cached_token(const oneaccess_client *client);

/**
 * Milliseconds, rounded up, until oneaccess_client_get_token() should be called to refresh the
 * token; after a failure, until the next request is allowed. 0: now. -1: never, the client is
 * closed.
 *
 * For event loops: set a timer, then call oneaccess_client_get_token() from a thread that may
 * block.
 */
int64_t oneaccess_client_refresh_in_ms(const oneaccess_client *client);

/**
 * Reports that a management API rejected this access token; if it is the current token, the next
 * call of oneaccess_client_get_token() requests a new one. OneAccess rejects a token with HTTP
 * 400 and `invalid_token` in the body, or with HTTP 401: check for both.
 *
 * If many threads reject the same token, one request is sent. After a rejection has caused a
 * refresh, further rejections are ignored for 1 to 60 seconds, since missing permissions can
 * look the same. NULL is ignored.
 */
void oneaccess_client_reject_token(const oneaccess_client *client, const char *access_token);

/**
 * Uses this client secret for all further requests, and forgets a denial of the old one. The
 * current token is kept.
 *
 * Errors: ARGUMENT if the secret is NULL, empty or not UTF-8, or if the client reads its secret
 * from a file.
 */
oneaccess_error *oneaccess_client_set_client_secret(const oneaccess_client *client,
                                                    const char *client_secret);

/**
 * Returns one of the ONEACCESS_STAT_* numbers, counted since the client was created, in this
 * process; -1 if stat is unknown.
 */
int64_t oneaccess_client_stat(const oneaccess_client *client, int32_t stat);

/**
 * Returns the error of the last failed request, or NULL if the last request succeeded. Also
 * returns errors that no call reported because the token was still valid. Free it with
 * oneaccess_error_free().
 */
oneaccess_error *oneaccess_client_get_last_error(const oneaccess_client *client);

/**
 * Returns the last failure of the shared store (setting `store`), however long ago, or NULL if
 * there was none. No call reports these errors, because a store that cannot be used is skipped.
 * Free it with oneaccess_error_free().
 */
oneaccess_error *oneaccess_client_get_last_store_error(const oneaccess_client *client);

/**
 * Closes the client: all its calls, running and future ones, fail with CLOSED. Does not block.
 *
 * To free a client while other threads may be in a call: close it, wait until their calls have
 * returned, then free it. They return within milliseconds, or within 3 seconds if a connection
 * is being established and the network drops packets.
 */
void oneaccess_client_close(const oneaccess_client *client);

/**
 * Frees a client. Does not block; sends nothing. Tokens and errors remain valid. NULL is
 * ignored.
 *
 * The client secret is wiped from memory. Each other thread that got a token from this client
 * keeps its last token in memory until it gets a token of another client or ends.
 */
void oneaccess_client_free(oneaccess_client *client);

/**
 * The access token, without "Bearer". Never NULL for a token.
 */
const char *oneaccess_token_access_token(const oneaccess_token *token);

/**
 * Length of the access token in bytes, without the terminating NUL.
 */
int64_t oneaccess_token_access_token_length(const oneaccess_token *token);

/**
 * The value of an Authorization header: "Bearer " and the access token (RFC 6750, section 2.1).
 */
const char *oneaccess_token_authorization(const oneaccess_token *token);

/**
 * The token type, always "Bearer". A response with another type is an error (PROTOCOL).
 */
const char *oneaccess_token_token_type(const oneaccess_token *token);

/**
 * The scope in the response; NULL if there was none.
 */
const char *oneaccess_token_scope(const oneaccess_token *token);

/**
 * The id_token in the response, which this library does not interpret; NULL if there was none.
 */
const char *oneaccess_token_id_token(const oneaccess_token *token);

/**
 * When the token expires, in seconds since the Unix epoch, by the clock of this machine. For
 * display only: the client decides when to refresh a token.
 */
int64_t oneaccess_token_expires_at(const oneaccess_token *token);

/**
 * Frees a token. NULL is ignored.
 *
 * The token is wiped from memory when its last user has freed it. The client is a user while it
 * is the current token; each thread that got it is a user until that thread gets a token after
 * the client has released this one, or ends. Buffers in which TLS decrypted the response are not wiped.
 */
void oneaccess_token_free(oneaccess_token *token);

/**
 * One of the ONEACCESS_ERROR_* numbers; 0 for NULL. Newer versions of the library can return
 * numbers that this header does not define.
 */
int32_t oneaccess_error_kind(const oneaccess_error *error);

/**
 * The HTTP status of the response; 0 if there was none.
 */
int32_t oneaccess_error_http_status(const oneaccess_error *error);

/**
 * The error_code of OneAccess, or the OAuth error (RFC 6749, section 5.2); NULL if the response
 * had neither. Control characters, and anything that could be a secret or a token, are removed.
 */
const char *oneaccess_error_vendor_code(const oneaccess_error *error);

/**
 * A message of one line for people: what failed, with which server, and how to fix it. The text
 * can change in any version.
 */
const char *oneaccess_error_message(const oneaccess_error *error);

/**
 * 1 if the same request may succeed later without any change to the program or the settings,
 * else 0.
 */
int32_t oneaccess_error_is_retryable(const oneaccess_error *error);

/**
 * 1 if the error comes from an earlier request that this call neither sent nor waited for, else
 * 0.
 */
int32_t oneaccess_error_is_remembered(const oneaccess_error *error);

/**
 * When the request failed, in seconds since the Unix epoch.
 */
int64_t oneaccess_error_occurred_at(const oneaccess_error *error);

/**
 * Milliseconds from now until a retry makes sense; 0 if unknown or already passed.
 */
int64_t oneaccess_error_retry_after_ms(const oneaccess_error *error);

/**
 * Frees an error. NULL is ignored.
 */
void oneaccess_error_free(oneaccess_error *error);

#ifdef __cplusplus
} /* C++ only */
#endif

#endif /* ONEACCESS_H */
