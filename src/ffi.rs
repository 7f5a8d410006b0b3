//! The C ABI. `include/oneaccess.h` is generated from this file, in the same order, and its
//! introduction is in `cbindgen.toml`; `BLESS=1 cargo test --test header` writes it.

#![allow(non_camel_case_types)]

use std::ffi::{CStr, c_char};
use std::mem::{MaybeUninit, take};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::client::{Client, Stat};
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::secret::Text;
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

/// The settings of a client. Use it from one thread at a time. oneaccess_client_new() copies the
/// settings: the configuration can be freed right after, or changed for the next client.
#[derive(Default)]
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
/// client_secret: may be NULL if oneaccess_config_set_client_secret_file() is called too.
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
/// and either ONEACCESS_CLIENT_SECRET or ONEACCESS_CLIENT_SECRET_FILE; optionally
/// ONEACCESS_CA_FILE. An empty variable counts as unset. Missing variables are reported by
/// oneaccess_client_new().
///
/// Returns NULL only after a bug in this library.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_new_from_env() -> Option<Box<oneaccess_config>> {
    guard(None, || Some(Box::new(oneaccess_config(Config::from_env()))))
}

/// Reads the client secret from this file. The file is read again before every request, so that a
/// rotated secret is used without a restart. Replaces the secret given to oneaccess_config_new().
///
/// It must be a regular file of UTF-8 text of at most 64 KiB. A byte order mark at its start and
/// one line break at its end are ignored. Default: NULL, no file.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set_client_secret_file(
    config: Option<&mut oneaccess_config>,
    path: *const c_char,
) {
    change_text(config, "the path of the client secret file", path, |config, path| match path {
        Some(path) => config.client_secret_file(path),
        None => config.no_client_secret_file(),
    });
}

/// If on is not 0, sends client id and secret as HTTP Basic authentication instead of form
/// fields: unencoded (RFC 7617), as OneAccess expects, and not form-encoded first (RFC 6749,
/// section 2.3.1). Default: 0, form fields.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set_basic_auth(config: Option<&mut oneaccess_config>, on: i32) {
    change(config, |config| config.basic_auth(on != 0));
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
    change(config, |mut config| match (text(name), text(value)) {
        (Ok(Some(name)), Ok(Some(value))) => config.header(name, value),
        _ => {
            config.mistake(
                ErrorKind::Argument,
                "the name or the value of a header is NULL or not UTF-8",
            );
            config
        }
    });
}

/// Maximum duration of a call, in milliseconds: name lookup, connection, TLS handshake, request,
/// retries, and waiting for the refresh of another thread. From 1 to 86400000 (a day); higher
/// values count as a day. Default: 30000.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set_timeout_ms(
    config: Option<&mut oneaccess_config>,
    timeout_ms: i64,
) {
    change_duration(config, "timeout_ms", timeout_ms, |config, ms| {
        config.timeout(Duration::from_millis(ms))
    });
}

/// Expiry margin, in seconds: a token that expires within this time is stale, since it could
/// expire before the management API checks it. A stale token is used only if it cannot be
/// refreshed. Default: 30, or a twentieth of the token's lifetime if that is less. The margin is
/// never more than half of the lifetime.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set_expiry_margin_s(
    config: Option<&mut oneaccess_config>,
    expiry_margin_s: i64,
) {
    change_duration(config, "expiry_margin_s", expiry_margin_s, |config, seconds| {
        config.expiry_margin(Duration::from_secs(seconds))
    });
}

/// Trusts the certificates in this PEM file (at most 16 MiB), in addition to the root
/// certificates of the operating system. Use it for a tenant whose certificate was issued by a
/// private CA. Certificate verification cannot be disabled. Default: NULL, no file.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set_ca_file(
    config: Option<&mut oneaccess_config>,
    pem_path: *const c_char,
) {
    change_text(config, "the path of the CA file", pem_path, |config, path| match path {
        Some(path) => config.ca_file(path),
        None => config.no_ca_file(),
    });
}

/// If on is not 0, trusts the root certificates of the operating system, or those in
/// SSL_CERT_FILE and SSL_CERT_DIR if these environment variables are set. If 0, trusts the CA
/// file only. Default: 1.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set_system_roots(
    config: Option<&mut oneaccess_config>,
    on: i32,
) {
    change(config, |config| config.system_roots(on != 0));
}

/// Presents this certificate to servers that request one (mutual TLS). Both files are PEM; the
/// key is PKCS #8, PKCS #1 or SEC 1, and not encrypted. Default: NULL and NULL, no certificate.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set_client_certificate_file(
    config: Option<&mut oneaccess_config>,
    cert_pem_path: *const c_char,
    key_pem_path: *const c_char,
) {
    change(config, |mut config| match (text(cert_pem_path), text(key_pem_path)) {
        (Ok(Some(certificate)), Ok(Some(key))) => config.client_certificate_file(certificate, key),
        (Ok(None), Ok(None)) => config.no_client_certificate_file(),
        _ => {
            let what = "the client certificate is incomplete: set both the certificate and its key";
            config.mistake(ErrorKind::Argument, what);
            config
        }
    });
}

/// Sets the proxy.
///
/// - NULL, the default: the proxy in the environment at the time of oneaccess_client_new():
///   https_proxy, HTTPS_PROXY, all_proxy or ALL_PROXY, unless no_proxy or NO_PROXY lists the
///   host. They are read like curl 7.88 does. In addition, an entry of no_proxy can have a port,
///   `*` can be one entry of several, and IPv6 addresses can have brackets. An invalid value is
///   an error; it is never ignored.
/// - "": no proxy, whatever the environment says.
/// - A URL with http://, https://, socks4:// or socks5://: this proxy for every host. It can
///   contain `user:password@`, percent-encoded.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set_proxy(
    config: Option<&mut oneaccess_config>,
    url: *const c_char,
) {
    change_text(config, "the URL of the proxy", url, |config, url| config.proxy(url));
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
/// keeps its last token in memory until it gets another token or ends.
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
/// is the current token; each thread that got it is a user until that thread gets another token
/// or ends. Buffers in which TLS decrypted the response are not wiped.
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

fn change(config: Option<&mut oneaccess_config>, change: impl FnOnce(Config) -> Config) {
    guard((), || {
        if let Some(oneaccess_config(config)) = config {
            *config = change(take(config));
        }
    });
}

fn change_text(
    config: Option<&mut oneaccess_config>,
    what: &str,
    value: *const c_char,
    set: impl FnOnce(Config, Option<&str>) -> Config,
) {
    change(config, |mut config| match text(value) {
        Ok(value) => set(config, value),
        Err(()) => {
            config.mistake(ErrorKind::Argument, not_utf8(what));
            config
        }
    });
}

fn change_duration(
    config: Option<&mut oneaccess_config>,
    what: &str,
    value: i64,
    set: impl FnOnce(Config, u64) -> Config,
) {
    change(config, |mut config| match u64::try_from(value) {
        Ok(value) => set(config, value),
        Err(_) => {
            config.mistake(ErrorKind::Argument, format!("{what} is negative ({value})"));
            config
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
