//! The C ABI. `include/oneaccess.h` is generated from this file, in the same order, and its
//! introduction is in `cbindgen.toml`; `BLESS=1 cargo test --test header` writes it.

#![allow(non_camel_case_types)]

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::client::{Client, Stat};
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::secret::Text;
use crate::settings;
use crate::thread_cache::ThreadCache;
use crate::token::Token;

/// No error.
pub const ONEACCESS_ERROR_NONE: i32 = 0;
/// An argument is invalid: NULL, not UTF-8, negative, out of range. The program needs a fix.
pub const ONEACCESS_ERROR_ARGUMENT: i32 = 1;
/// A setting is not usable: endpoint, CA file, key, secret file, environment variable.
pub const ONEACCESS_ERROR_CONFIG: i32 = 2;
/// The name lookup or the connection failed.
pub const ONEACCESS_ERROR_TRANSPORT: i32 = 3;
/// The proxy refused the connection or failed.
pub const ONEACCESS_ERROR_PROXY: i32 = 4;
/// The TLS handshake failed, or the server's certificate is not trusted.
pub const ONEACCESS_ERROR_TLS: i32 = 5;
/// The call timed out.
pub const ONEACCESS_ERROR_TIMEOUT: i32 = 6;
/// OneAccess denied the request: wrong client id or secret, disabled application, invalid
/// request.
pub const ONEACCESS_ERROR_DENIED: i32 = 7;
/// OneAccess, or a gateway in front of it, limits the number of requests (HTTP 429, for example).
pub const ONEACCESS_ERROR_THROTTLED: i32 = 8;
/// OneAccess failed: HTTP 5xx, or a vendor error code that means "busy".
pub const ONEACCESS_ERROR_SERVER: i32 = 9;
/// The response contains no usable token: a web page, a redirect, invalid JSON.
pub const ONEACCESS_ERROR_PROTOCOL: i32 = 10;
/// The client was closed with oneaccess_client_close().
pub const ONEACCESS_ERROR_CLOSED: i32 = 11;
/// A bug in this library. Please report it.
pub const ONEACCESS_ERROR_INTERNAL: i32 = 12;

/// Refreshes started. One refresh makes one or more attempts to get a token.
pub const ONEACCESS_STAT_REFRESHES: i32 = 1;
/// Attempts: token requests sent, including those that failed before they reached the server.
pub const ONEACCESS_STAT_ATTEMPTS: i32 = 2;
/// Refreshes that failed.
pub const ONEACCESS_STAT_FAILURES: i32 = 3;
/// Followers: calls that waited for a refresh that another call was making.
pub const ONEACCESS_STAT_WAITS: i32 = 4;
/// Rejected tokens: calls of oneaccess_client_reject_token() that made the current token stale.
/// Ignored calls are not counted.
pub const ONEACCESS_STAT_REJECTIONS: i32 = 5;
/// Refreshes that failed with ONEACCESS_ERROR_DENIED.
pub const ONEACCESS_STAT_DENIALS: i32 = 6;
/// Milliseconds since the current token was requested; -1 if there is no token.
pub const ONEACCESS_STAT_TOKEN_AGE_MS: i32 = 7;
/// Milliseconds until the current token expires, never negative; -1 if there is no token.
pub const ONEACCESS_STAT_TOKEN_REMAINING_MS: i32 = 8;
/// Refreshes that the shared store answered: another process had requested the token.
pub const ONEACCESS_STAT_STORE_HITS: i32 = 9;
/// Failures of the shared store. After each the call went on as without a store; see
/// oneaccess_client_get_last_store_error().
pub const ONEACCESS_STAT_STORE_FAILURES: i32 = 10;

/// The settings of a client. Use it from one thread at a time. oneaccess_client_new() copies the
/// settings: the configuration can be freed right after, or changed for the next client.
pub struct oneaccess_config(Config);

/// Gets access tokens for one application and keeps them fresh. Create one per application and
/// process, and share it among all threads. After fork() (Linux), the child process can continue
/// to use it. Tokens and errors remain valid after the client is freed.
pub struct oneaccess_client(Client);

/// An access token. Immutable; remains valid after its client is freed.
pub struct oneaccess_token {
    _opaque: [u8; 0],
}

/// The reason why a call failed. Immutable; contains no secret and no token.
pub struct oneaccess_error(Error);

/// Version of the loaded library, such as "0.1.0". A static string, never NULL. Compare it with
/// ONEACCESS_VERSION, the version of this header.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Version of the loaded library as a number: major * 1000000 + minor * 1000 + patch. Compare it
/// with ONEACCESS_VERSION_NUMBER.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_version_number() -> i32 {
    let part = |text: &str| text.parse::<i32>().unwrap_or(0);
    part(env!("CARGO_PKG_VERSION_MAJOR")) * 1_000_000
        + part(env!("CARGO_PKG_VERSION_MINOR")) * 1_000
        + part(env!("CARGO_PKG_VERSION_PATCH"))
}

/// Creates a configuration from the three settings that every client needs. Mistakes, such as an
/// invalid endpoint, are reported later, by oneaccess_client_new().
///
/// endpoint: `host`, `host:port`, `https://host/`, or the whole token URL as the OneAccess
/// console shows it. `http://` is accepted for loopback hosts only.
///
/// client_secret: may be NULL if the setting client_secret_file is set.
///
/// Returns NULL only after a bug in this library.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_new(
    endpoint: *const c_char,
    client_id: *const c_char,
    client_secret: *const c_char,
) -> Option<Box<oneaccess_config>> {
    guard(None, || {
        let texts = [endpoint, client_id, client_secret].map(text);
        let [endpoint, client_id, client_secret] = texts.map(|text| text.ok().flatten());
        let [endpoint, client_id, client_secret] =
            [endpoint, client_id, client_secret].map(Option::unwrap_or_default);
        let mut config = Config::new(endpoint, client_id, client_secret);
        for (name, text) in ["endpoint", "client_id", "client_secret"].into_iter().zip(texts) {
            if text.is_err() {
                config.mistake(ErrorKind::Argument, not_utf8(name));
            }
        }
        Some(Box::new(oneaccess_config(config)))
    })
}

/// Creates a configuration from environment variables: ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID,
/// ONEACCESS_CLIENT_SECRET, and ONEACCESS_ with the name in capitals for each setting of
/// oneaccess_config_set(), for example ONEACCESS_CLIENT_SECRET_FILE or ONEACCESS_TIMEOUT_MS. An empty
/// variable counts as unset; an empty ONEACCESS_PROXY means no proxy. What is missing or invalid is
/// reported by oneaccess_client_new().
///
/// Returns NULL only after a bug in this library.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_new_from_env() -> Option<Box<oneaccess_config>> {
    guard(None, || Some(Box::new(oneaccess_config(Config::from_env()))))
}

/// Sets the setting `name` to `value`; NULL sets it back to its default. Numbers are decimal,
/// booleans `true`, `false`, `1` or `0`, paths are used as they are. An unknown name and a value that
/// is not allowed are reported by oneaccess_client_new(), with the nearest known name, or with what
/// is allowed. The settings:
///
/// - client_secret_file: Path of a file that holds the client secret, instead of the secret itself.
///   It is read again before every request, so that a rotated secret is used without a restart.
///   UTF-8 text of at most 64 KiB; a byte order mark at its start and one line break at its end
///   are not part of the secret. Default: none.
/// - basic_auth: true: sends the credentials as HTTP Basic authentication instead of form fields,
///   as they are (RFC 7617), which OneAccess expects, and not form-encoded first (RFC 6749,
///   section 2.3.1). true or false. Default: false.
/// - timeout_ms: How long a whole call may take, in milliseconds: name lookup, connection, TLS, the
///   answer, retries and waiting for other callers. 1 to 86400000. Default: 30000.
/// - expiry_margin_s: How long before its expiry a token counts as stale, in seconds, since it may
///   expire on its way to the API. 0 to 86400, but never more than half of the token's lifetime.
///   Default: 30, or a twentieth of the lifetime if that is less.
/// - ca_file: Path of a PEM file, at most 16 MiB, whose certificates are trusted besides the
///   operating system's roots: for a tenant with a private CA. There is no way to switch
///   verification off. Default: none.
/// - system_roots: true: trusts the operating system's roots, or those that SSL_CERT_FILE and
///   SSL_CERT_DIR name instead. They are read at the first request of the process, once for all
///   clients: before a chroot, for example, get a token. false: only ca_file. true or false.
///   Default: true.
/// - client_certificate_file: Path of a PEM file with the certificate, and its intermediate
///   certificates, that is shown to servers which ask for one (mutual TLS); needs
///   client_key_file. Default: none.
/// - client_key_file: Path of a PEM file with the private key of client_certificate_file: PKCS #8,
///   PKCS #1 or SEC 1, not encrypted. Default: none.
/// - proxy: URL of the proxy: http://, https://, socks4://, socks4a://, socks5:// or socks5h://,
///   with user:password@ if the proxy wants them, percent-encoded. Empty: no proxy. Default: the
///   proxy that the environment names when the client is made (https_proxy, HTTPS_PROXY,
///   all_proxy, ALL_PROXY; no_proxy, NO_PROXY), by the rules of curl 7.88; beyond them, an entry
///   of no_proxy may have a port, * may stand among others, and IPv6 addresses may have brackets.
/// - headers: Headers for every request, as `Name: value`, one a line; for example X-tenant-id.
///   Visible ASCII and blanks, at most 32 KiB together; not those that the library sets itself:
///   Host, Authorization, Content-* and those that govern the connection. Default: none.
/// - store: Where the processes of an application share their token, so that they make one request
///   together: `file:` and the absolute path of a folder, which is created if only its last part is
///   missing; `file`, for the folder oneaccess in the user's folder for caches ($XDG_CACHE_HOME or
///   ~/.cache, ~/Library/Caches, %LOCALAPPDATA%); or redis://host:port/database (rediss:// for
///   TLS), a Redis or Valkey server. What is stored is encrypted with the client secret. A store
///   that cannot be used is skipped, never an error. Default: none.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set(
    config: Option<&mut oneaccess_config>,
    name: *const c_char,
    value: *const c_char,
) {
    change(config, |config| match (text(name), text(value)) {
        (Ok(Some(name)), Ok(value)) => settings::set(config, name, name, value),
        (Ok(Some(name)), Err(())) => config.mistake(ErrorKind::Argument, not_utf8(name)),
        _ => config.mistake(ErrorKind::Argument, "the name of a setting is NULL or not UTF-8"),
    });
}

/// Adds a header to every request, for example X-tenant-id. Name and value must be printable
/// ASCII; all headers together can have at most 32 KiB. Headers that the library sets itself are
/// not allowed: Host, Authorization, Content-* and those that control the connection. Default: no
/// extra headers.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_add_header(
    config: Option<&mut oneaccess_config>,
    name: *const c_char,
    value: *const c_char,
) {
    change(config, |config| match (text(name), text(value)) {
        (Ok(Some(name)), Ok(Some(value))) => config.add_header(name, value),
        _ => config
            .mistake(ErrorKind::Argument, "the name or the value of a header is NULL or not UTF-8"),
    });
}

/// Frees a configuration. NULL is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_free(config: Option<Box<oneaccess_config>>) {
    guard((), || drop(config));
}

/// Creates a client and stores it in `*out`. Checks the configuration and reads the proxy
/// variables and the files that it names. Sends no request.
///
/// Errors: ARGUMENT or CONFIG. The message lists all mistakes in the configuration.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_new(
    config: Option<&oneaccess_config>,
    out: Option<&mut MaybeUninit<*mut oneaccess_client>>,
) -> Option<Box<oneaccess_error>> {
    store_result(out, || {
        let config = config.ok_or_else(|| is_null("the configuration"))?;
        let client = Client::new(&config.0)?;
        Ok(Box::into_raw(Box::new(oneaccess_client(client))))
    })
}

/// Stores a valid token in `*out`. Call it before each use instead of storing the token, and
/// free the token after the use.
///
/// Usually the token is in memory, and the call takes less than a microsecond. About once in a
/// token's lifetime, one call requests a new token and blocks, at most for the configured
/// timeout.
///
/// Errors: only if there is no valid token, or the client is closed. If a refresh fails while the
/// token is valid, the call stores that token and returns NULL.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_get_token(
    client: Option<&oneaccess_client>,
    out: Option<&mut MaybeUninit<*mut oneaccess_token>>,
) -> Option<Box<oneaccess_error>> {
    store_result(out, || Ok(handle(required(client)?.token()?)))
}

/// Like oneaccess_client_get_token(), with a timeout for this call, in milliseconds. More than a
/// day counts as a day; a negative value is an ARGUMENT error.
///
/// With 0, the call neither waits nor sends a request. It gives the cached token, or returns the
/// remembered error of an earlier request, or TIMEOUT.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_get_token_within(
    client: Option<&oneaccess_client>,
    timeout_ms: i64,
    out: Option<&mut MaybeUninit<*mut oneaccess_token>>,
) -> Option<Box<oneaccess_error>> {
    store_result(out, || {
        let client = required(client)?;
        let timeout = u64::try_from(timeout_ms).map_err(|_| {
            Error::new(ErrorKind::Argument, format!("timeout_ms is negative ({timeout_ms})"))
        })?;
        Ok(handle(client.token_within(Duration::from_millis(timeout))?))
    })
}

/// Returns the cached token if it is usable, else NULL. Never waits and never sends a request.
/// Use it in event loops, together with oneaccess_client_refresh_in_ms().
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_get_cached_token(
    client: Option<&oneaccess_client>,
) -> *mut oneaccess_token {
    guard(std::ptr::null_mut(), || {
        let token = client.and_then(|client| client.0.cached_token());
        token.map_or(std::ptr::null_mut(), handle)
    })
}

/// Milliseconds, rounded up, until oneaccess_client_get_token() should be called to refresh the
/// token; after a failure, until the next request is allowed. 0: now. -1: never, the client is
/// closed.
///
/// For event loops: set a timer, then call oneaccess_client_get_token() from a thread that may
/// block.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_refresh_in_ms(client: Option<&oneaccess_client>) -> i64 {
    guard(0, || client.map_or(0, |client| client.0.refresh_in().map_or(-1, milliseconds_up)))
}

/// Reports that a management API rejected this access token; if it is the current token, the next
/// call of oneaccess_client_get_token() requests a new one. OneAccess rejects a token with HTTP
/// 400 and `invalid_token` in the body, or with HTTP 401: check for both.
///
/// If many threads reject the same token, one request is sent. After a rejection has caused a
/// refresh, further rejections are ignored for 1 to 60 seconds, since missing permissions can
/// look the same. NULL is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_reject_token(
    client: Option<&oneaccess_client>,
    access_token: *const c_char,
) {
    guard((), || {
        if let (Some(client), Ok(Some(token))) = (client, text(access_token)) {
            client.0.reject(token);
        }
    });
}

/// Uses this client secret for all further requests, and forgets a denial of the old one. The
/// current token is kept.
///
/// Errors: ARGUMENT if the secret is NULL, empty or not UTF-8, or if the client reads its secret
/// from a file.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_set_client_secret(
    client: Option<&oneaccess_client>,
    client_secret: *const c_char,
) -> Option<Box<oneaccess_error>> {
    guard_error(|| {
        let secret = text(client_secret)
            .map_err(|()| Error::new(ErrorKind::Argument, not_utf8("client_secret")))?;
        required(client)?.set_client_secret(secret.ok_or_else(|| is_null("client_secret"))?)
    })
}

/// Returns one of the ONEACCESS_STAT_* numbers, counted since the client was created, in this
/// process; -1 if stat is unknown.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_stat(client: Option<&oneaccess_client>, stat: i32) -> i64 {
    let stat = match stat {
        ONEACCESS_STAT_REFRESHES => Stat::Refreshes,
        ONEACCESS_STAT_ATTEMPTS => Stat::Attempts,
        ONEACCESS_STAT_FAILURES => Stat::Failures,
        ONEACCESS_STAT_WAITS => Stat::Waits,
        ONEACCESS_STAT_REJECTIONS => Stat::Rejections,
        ONEACCESS_STAT_DENIALS => Stat::Denials,
        ONEACCESS_STAT_TOKEN_AGE_MS => Stat::TokenAgeMs,
        ONEACCESS_STAT_TOKEN_REMAINING_MS => Stat::TokenRemainingMs,
        ONEACCESS_STAT_STORE_HITS => Stat::StoreHits,
        ONEACCESS_STAT_STORE_FAILURES => Stat::StoreFailures,
        _ => return -1,
    };
    guard(0, || client.map_or(0, |client| client.0.stat(stat)))
}

/// Returns the error of the last failed request, or NULL if the last request succeeded. Also
/// returns errors that no call reported because the token was still valid. Free it with
/// oneaccess_error_free().
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_get_last_error(
    client: Option<&oneaccess_client>,
) -> Option<Box<oneaccess_error>> {
    guard(None, || Some(Box::new(oneaccess_error(client?.0.last_error()?))))
}

/// Returns the last failure of the shared store (setting `store`), however long ago, or NULL if
/// there was none. No call reports these errors, because a store that cannot be used is skipped.
/// Free it with oneaccess_error_free().
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_get_last_store_error(
    client: Option<&oneaccess_client>,
) -> Option<Box<oneaccess_error>> {
    guard(None, || Some(Box::new(oneaccess_error(client?.0.last_store_error()?))))
}

/// Closes the client: all its calls, running and future ones, fail with CLOSED. Does not block.
///
/// To free a client while other threads may be in a call: close it, wait until their calls have
/// returned, then free it. They return within milliseconds, or within 3 seconds if a connection
/// is being established and the network drops packets.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_close(client: Option<&oneaccess_client>) {
    guard((), || {
        if let Some(client) = client {
            client.0.close();
        }
    });
}

/// Frees a client. Does not block; sends nothing. Tokens and errors remain valid. NULL is
/// ignored.
///
/// The client secret is wiped from memory. Each other thread that got a token from this client
/// keeps its last token in memory until it gets a token of another client or ends.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_free(client: Option<Box<oneaccess_client>>) {
    guard((), || drop(client));
}

/// The access token, without "Bearer". Never NULL for a token.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_access_token(token: *const oneaccess_token) -> *const c_char {
    borrowed(token).map_or(null(), Token::access_token_ptr)
}

/// Length of the access token in bytes, without the terminating NUL.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_access_token_length(token: *const oneaccess_token) -> i64 {
    borrowed(token).map_or(0, |token| token.access_token().len() as i64)
}

/// The value of an Authorization header: "Bearer " and the access token (RFC 6750, section 2.1).
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_authorization(token: *const oneaccess_token) -> *const c_char {
    c_string(borrowed(token).map(Token::authorization_text))
}

/// The token type, always "Bearer". A response with another type is an error (PROTOCOL).
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_token_type(token: *const oneaccess_token) -> *const c_char {
    borrowed(token).map_or(null(), |_| c"Bearer".as_ptr())
}

/// The scope in the response; NULL if there was none.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_scope(token: *const oneaccess_token) -> *const c_char {
    c_string(borrowed(token).and_then(Token::scope_text))
}

/// The id_token in the response, which this library does not interpret; NULL if there was none.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_id_token(token: *const oneaccess_token) -> *const c_char {
    c_string(borrowed(token).and_then(Token::id_token_text))
}

/// When the token expires, in seconds since the Unix epoch, by the clock of this machine. For
/// display only: the client decides when to refresh a token.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_expires_at(token: *const oneaccess_token) -> i64 {
    borrowed(token).map_or(0, |token| unix_seconds(token.expires_at()))
}

/// Frees a token. NULL is ignored.
///
/// The token is wiped from memory when its last user has freed it. The client is a user while it
/// is the current token; each thread that got it is a user until that thread gets a token after
/// the client has released this one, or ends. Buffers in which TLS decrypted the response are not wiped.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_free(token: *mut oneaccess_token) {
    if !token.is_null() {
        // SAFETY: the pointer came from `handle`, and by rule 1 of the header it is freed only once.
        guard((), || ThreadCache::take_back(unsafe { Arc::from_raw(token.cast_const().cast()) }));
    }
}

/// One of the ONEACCESS_ERROR_* numbers; 0 for NULL. Newer versions of the library can return
/// numbers that this header does not define.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_kind(error: Option<&oneaccess_error>) -> i32 {
    error.map_or(ONEACCESS_ERROR_NONE, |error| match error.0.kind() {
        ErrorKind::Argument => ONEACCESS_ERROR_ARGUMENT,
        ErrorKind::Config => ONEACCESS_ERROR_CONFIG,
        ErrorKind::Transport => ONEACCESS_ERROR_TRANSPORT,
        ErrorKind::Proxy => ONEACCESS_ERROR_PROXY,
        ErrorKind::Tls => ONEACCESS_ERROR_TLS,
        ErrorKind::Timeout => ONEACCESS_ERROR_TIMEOUT,
        ErrorKind::Denied => ONEACCESS_ERROR_DENIED,
        ErrorKind::Throttled => ONEACCESS_ERROR_THROTTLED,
        ErrorKind::Server => ONEACCESS_ERROR_SERVER,
        ErrorKind::Protocol => ONEACCESS_ERROR_PROTOCOL,
        ErrorKind::Closed => ONEACCESS_ERROR_CLOSED,
        ErrorKind::Internal => ONEACCESS_ERROR_INTERNAL,
    })
}

/// The HTTP status of the response; 0 if there was none.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_http_status(error: Option<&oneaccess_error>) -> i32 {
    error.map_or(0, |error| i32::from(error.0.http_status()))
}

/// The error_code of OneAccess, or the OAuth error (RFC 6749, section 5.2); NULL if the response
/// had neither. Control characters, and anything that could be a secret or a token, are removed.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_vendor_code(error: Option<&oneaccess_error>) -> *const c_char {
    c_string(error.and_then(|error| error.0.vendor_code_text()))
}

/// A message of one line for people: what failed, with which server, and how to fix it. The text
/// can change in any version.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_message(error: Option<&oneaccess_error>) -> *const c_char {
    c_string(error.map(|error| error.0.message_text()))
}

/// 1 if the same request may succeed later without any change to the program or the settings,
/// else 0.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_is_retryable(error: Option<&oneaccess_error>) -> i32 {
    error.map_or(0, |error| i32::from(error.0.is_retryable()))
}

/// 1 if the error comes from an earlier request that this call neither sent nor waited for, else
/// 0.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_is_remembered(error: Option<&oneaccess_error>) -> i32 {
    error.map_or(0, |error| i32::from(error.0.is_remembered()))
}

/// When the request failed, in seconds since the Unix epoch.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_occurred_at(error: Option<&oneaccess_error>) -> i64 {
    error.map_or(0, |error| unix_seconds(error.0.occurred_at()))
}

/// Milliseconds from now until a retry makes sense; 0 if unknown or already passed.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_retry_after_ms(error: Option<&oneaccess_error>) -> i64 {
    error.and_then(|error| error.0.retry_after()).map_or(0, milliseconds_up)
}

/// Frees an error. NULL is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_free(error: Option<Box<oneaccess_error>>) {
    guard((), || drop(error));
}

/// Returns `neutral` after a panic, which must not unwind into C.
fn guard<T>(neutral: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(neutral)
}

/// Like `guard`, for functions that return an error: a panic becomes an `Internal` error.
fn guard_error(work: impl FnOnce() -> Result<(), Error>) -> Option<Box<oneaccess_error>> {
    let panicked = || {
        let what = "the call failed because of a bug in this library; please report it";
        Err(Error::new(ErrorKind::Internal, what))
    };
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| panicked());
    result.err().map(|error| Box::new(oneaccess_error(error)))
}

/// Runs `work` and stores its result in `out`. `out` is set to NULL first, so that a caller who
/// ignores the error finds NULL instead of uninitialized memory.
fn store_result<T>(
    out: Option<&mut MaybeUninit<*mut T>>,
    work: impl FnOnce() -> Result<*mut T, Error>,
) -> Option<Box<oneaccess_error>> {
    guard_error(|| {
        let out = out.ok_or_else(|| is_null("out"))?;
        let out = out.write(std::ptr::null_mut());
        *out = work()?;
        Ok(())
    })
}

fn required(client: Option<&oneaccess_client>) -> Result<&Client, Error> {
    client.map(|client| &client.0).ok_or_else(|| is_null("the client"))
}

fn is_null(what: &str) -> Error {
    Error::new(ErrorKind::Argument, format!("{what} is NULL"))
}

fn not_utf8(what: &str) -> String {
    format!("{what} is not UTF-8")
}

fn change(config: Option<&mut oneaccess_config>, change: impl FnOnce(&mut Config)) {
    guard((), || {
        if let Some(oneaccess_config(config)) = config {
            change(config);
        }
    });
}

/// `None` for NULL; an error if the text is not UTF-8. C may free the text as soon as the exported
/// function returns, so callers copy it.
fn text<'a>(text: *const c_char) -> Result<Option<&'a str>, ()> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: by rule 2 of the header the text is NUL-terminated, and C keeps it valid until the
    // exported function returns.
    unsafe { CStr::from_ptr(text) }.to_str().map(Some).map_err(drop)
}

fn c_string(text: Option<&Text>) -> *const c_char {
    text.map_or(null(), Text::as_ptr)
}

/// The handle of a token is its `Arc` itself: one reference count, without another allocation.
fn handle(token: Arc<Token>) -> *mut oneaccess_token {
    Arc::into_raw(token).cast_mut().cast()
}

fn borrowed<'a>(token: *const oneaccess_token) -> Option<&'a Token> {
    // SAFETY: the pointer is NULL or came from `handle`, and by rule 1 of the header it has not been
    // freed yet.
    unsafe { token.cast::<Token>().as_ref() }
}

fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn milliseconds_up(time: Duration) -> i64 {
    i64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "../tests/ffi/mod.rs"]
mod tests;
