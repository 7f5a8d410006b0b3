//! The C ABI, in the order of the header, which is generated from this file: its rules stand in
//! `cbindgen.toml`, and `BLESS=1 cargo test --test header` writes it. The only module that knows C.

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
/// The call was wrong: NULL, not UTF-8, negative. The program needs fixing.
pub const ONEACCESS_ERROR_ARGUMENT: i32 = 1;
/// A setting cannot be used: endpoint, CA file, key, secret file, environment.
pub const ONEACCESS_ERROR_CONFIG: i32 = 2;
/// No answer: name lookup, connection.
pub const ONEACCESS_ERROR_TRANSPORT: i32 = 3;
/// The proxy refused or failed.
pub const ONEACCESS_ERROR_PROXY: i32 = 4;
/// The server could not be trusted, or the TLS handshake failed.
pub const ONEACCESS_ERROR_TLS: i32 = 5;
/// The time given to the call was over.
pub const ONEACCESS_ERROR_TIMEOUT: i32 = 6;
/// OneAccess refused the client, its secret or the request.
pub const ONEACCESS_ERROR_DENIED: i32 = 7;
/// OneAccess, or a gateway before it, asked for fewer requests.
pub const ONEACCESS_ERROR_THROTTLED: i32 = 8;
/// HTTP 5xx, or an error code that says "busy": OneAccess failed.
pub const ONEACCESS_ERROR_SERVER: i32 = 9;
/// The answer was not a token: web page, redirect, firewall, broken JSON.
pub const ONEACCESS_ERROR_PROTOCOL: i32 = 10;
/// The client was closed.
pub const ONEACCESS_ERROR_CLOSED: i32 = 11;
/// A bug in this library.
pub const ONEACCESS_ERROR_INTERNAL: i32 = 12;

/// Efforts to get a token; each is one or more attempts.
pub const ONEACCESS_STAT_REFRESHES: i32 = 1;
/// Token requests that were sent, or tried.
pub const ONEACCESS_STAT_ATTEMPTS: i32 = 2;
/// Refreshes that brought no token.
pub const ONEACCESS_STAT_FAILURES: i32 = 3;
/// Calls that waited for another call's refresh.
pub const ONEACCESS_STAT_WAITS: i32 = 4;
/// Rejections that made the token spent; those that were ignored are not counted.
pub const ONEACCESS_STAT_REJECTIONS: i32 = 5;
/// Refreshes that OneAccess denied.
pub const ONEACCESS_STAT_DENIALS: i32 = 6;
/// Milliseconds since the current token was asked for; -1 without a token.
pub const ONEACCESS_STAT_TOKEN_AGE_MS: i32 = 7;
/// Milliseconds until the current token expires, not less than 0; -1 without a token.
pub const ONEACCESS_STAT_TOKEN_REMAINING_MS: i32 = 8;

/// The settings of a client. Made, changed and freed by one thread at a time; clients made from it
/// keep a copy, so that it can be freed, or changed for the next client, right after.
#[derive(Default)]
pub struct oneaccess_config(Config);

/// Gets access tokens for one application and keeps them fresh. Make one per application and
/// process, share it among all threads. It starts no thread of its own. The child of a fork can go
/// on using it (Linux). Tokens and errors outlive it.
pub struct oneaccess_client(Client);

/// An access token, immutable. Outlives its client.
pub struct oneaccess_token {
    _opaque: [u8; 0],
}

/// Why a call failed, immutable. Holds no secret and no token.
pub struct oneaccess_error(Error);

/// Version of the loaded library, such as "0.1.0"; ONEACCESS_VERSION is the header's.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// The same as major * 1000000 + minor * 1000 + patch, to compare with ONEACCESS_VERSION_NUMBER.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_version_number() -> i32 {
    let part = |text: &str| text.parse::<i32>().unwrap_or(0);
    part(env!("CARGO_PKG_VERSION_MAJOR")) * 1_000_000
        + part(env!("CARGO_PKG_VERSION_MINOR")) * 1_000
        + part(env!("CARGO_PKG_VERSION_PATCH"))
}

/// A configuration with the three things every client needs. Never fails: mistakes are remembered
/// and reported by oneaccess_client_new().
///
/// endpoint: `host`, `host:port`, `https://host/` or the whole token URL as the console shows it.
/// `http://` is for loopback hosts only. client_secret may be NULL if
/// oneaccess_config_set_client_secret_file() follows.
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

/// The same from the environment: ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, then
/// ONEACCESS_CLIENT_SECRET or ONEACCESS_CLIENT_SECRET_FILE, and, where set, ONEACCESS_CA_FILE. An
/// empty variable counts as not set. What is missing is reported by oneaccess_client_new().
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_new_from_env() -> Option<Box<oneaccess_config>> {
    guard(None, || Some(Box::new(oneaccess_config(Config::from_env()))))
}

/// Reads the client secret from this file, again before every request, so that a rotated secret is
/// used without anybody's doing. A regular file of UTF-8 text, at most 64 KiB; a byte order mark at
/// its start and one trailing line break are not part of the secret. Replaces the secret given to
/// oneaccess_config_new(), which may be NULL then. Default: NULL, no file.
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

/// Sends the credentials as HTTP Basic authentication instead of form fields, if on is not 0: as they
/// are (RFC 7617), which OneAccess expects, and not form-encoded first (RFC 6749, section 2.3.1).
/// Default: 0.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set_basic_auth(config: Option<&mut oneaccess_config>, on: i32) {
    change(config, |config| config.basic_auth(on != 0));
}

/// Adds a header to every request, for example X-tenant-id. Not those that the library sets itself:
/// Host, Authorization, Content-* and what governs the connection; visible ASCII and blanks only; at
/// most 32 KiB, names and values of all together.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_add_header(
    config: Option<&mut oneaccess_config>,
    name: *const c_char,
    value: *const c_char,
) {
    change(config, |mut config| match (text(name), text(value)) {
        (Ok(Some(name)), Ok(Some(value))) => config.header(name, value),
        _ => {
            config.mistake(ErrorKind::Argument, "a header's name or value is NULL or not UTF-8");
            config
        }
    });
}

/// How long a whole call may take, in milliseconds: name lookup, connection, TLS, the answer,
/// retries and waiting for others. Default: 30000. At least 1; more than a day counts as a day.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set_timeout_ms(
    config: Option<&mut oneaccess_config>,
    timeout_ms: i64,
) {
    change_duration(config, "timeout_ms", timeout_ms, |config, ms| {
        config.timeout(Duration::from_millis(ms))
    });
}

/// How long before its expiry a token counts as spent, in seconds, since it may die under way.
/// Default: 30, or a twentieth of the token's life if that is less. Never more than half of it.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set_expiry_margin_s(
    config: Option<&mut oneaccess_config>,
    expiry_margin_s: i64,
) {
    change_duration(config, "expiry_margin_s", expiry_margin_s, |config, seconds| {
        config.expiry_margin(Duration::from_secs(seconds))
    });
}

/// Trusts the certificates in this PEM file, at most 16 MiB, besides the operating system's roots.
/// Default: NULL, none. Use it for a tenant with a private CA; there is no way to switch verification off.
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

/// Trusts the operating system's roots, or those that SSL_CERT_FILE and SSL_CERT_DIR name instead, if
/// on is not 0, and only the CA file otherwise. Default: 1.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set_system_roots(
    config: Option<&mut oneaccess_config>,
    on: i32,
) {
    change(config, |config| config.system_roots(on != 0));
}

/// Shows this certificate to servers that want one (mutual TLS). The key is PEM: PKCS #8, PKCS #1
/// or SEC 1, not encrypted. Default: NULL and NULL, none.
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
            let what = "the client certificate needs two paths, of the certificate and of its key";
            config.mistake(ErrorKind::Argument, what);
            config
        }
    });
}

/// NULL, the default: the proxy that the environment names when the client is made (https_proxy,
/// HTTPS_PROXY, all_proxy, ALL_PROXY; no_proxy, NO_PROXY), by the rules of curl 7.88. Beyond them, in
/// no_proxy an entry may have a port, `*` may stand among others and IPv6 addresses may have brackets;
/// a value that is not usable is an error, never ignored. "": no proxy. Else http://, https://,
/// socks4:// or socks5:// with `user:password@` if the proxy wants them, percent-encoded; it is then
/// used for every host.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_set_proxy(
    config: Option<&mut oneaccess_config>,
    url: *const c_char,
) {
    change_text(config, "the URL of the proxy", url, |config, url| config.proxy(url));
}

/// Frees a configuration. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_config_free(config: Option<Box<oneaccess_config>>) {
    guard((), || drop(config));
}

/// Makes a client. Checks the configuration, reads the environment's proxy and the files that are
/// named, sends nothing.
///
/// Errors: ARGUMENT or CONFIG; the message lists every mistake of the configuration.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_new(
    config: Option<&oneaccess_config>,
    out: Option<&mut MaybeUninit<*mut oneaccess_client>>,
) -> Option<Box<oneaccess_error>> {
    answer(out, || {
        let config = config.ok_or_else(|| is_null("the configuration"))?;
        let client = Client::new(&config.0)?;
        Ok(Box::into_raw(Box::new(oneaccess_client(client))))
    })
}

/// A token that can be used now. Mostly from memory, within nanoseconds; about once in a token's
/// life one caller makes a request and blocks, at most for the configured timeout. Call it before
/// every use instead of keeping the token, and release what it gives after the use.
///
/// Errors: only without a token that is alive; an outage is not an error while there is one.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_get_token(
    client: Option<&oneaccess_client>,
    out: Option<&mut MaybeUninit<*mut oneaccess_token>>,
) -> Option<Box<oneaccess_error>> {
    answer(out, || Ok(handle(get(client)?.token()?)))
}

/// The same with a timeout of its own, in milliseconds. 0: what is there, a token or a remembered
/// error, or TIMEOUT; it never waits and never sends a request. More than a day counts as a day.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_get_token_within(
    client: Option<&oneaccess_client>,
    timeout_ms: i64,
    out: Option<&mut MaybeUninit<*mut oneaccess_token>>,
) -> Option<Box<oneaccess_error>> {
    answer(out, || {
        let client = get(client)?;
        let timeout = u64::try_from(timeout_ms).map_err(|_| {
            Error::new(ErrorKind::Argument, format!("timeout_ms is negative ({timeout_ms})"))
        })?;
        Ok(handle(client.token_within(Duration::from_millis(timeout))?))
    })
}

/// The token, if there is one that is not about to expire; else NULL. Never blocks, never sends a
/// request: for event loops, together with oneaccess_client_refresh_in_ms().
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_get_cached_token(
    client: Option<&oneaccess_client>,
) -> *mut oneaccess_token {
    guard(std::ptr::null_mut(), || {
        let token = client.and_then(|client| client.0.cached_token());
        token.map_or(std::ptr::null_mut(), handle)
    })
}

/// Milliseconds until oneaccess_client_get_token() would do something useful, rounded up: until the
/// token is to be refreshed, or, after a failure, until the next request is allowed. 0: now.
/// -1: never, the client is closed. A host with timers calls again then, from a thread that may
/// block.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_refresh_in_ms(client: Option<&oneaccess_client>) -> i64 {
    guard(0, || client.map_or(0, |client| client.0.refresh_in().map_or(-1, milliseconds_up)))
}

/// Tells that a management API did not accept this access token. It says so with HTTP 400 and
/// `invalid_token` in the body, or with 401: who looks for 401 only never recovers. If it is the
/// current token, the next call gets another. Many threads that reject one token cause one request;
/// rejections of a token that has just come are ignored for a while (1 to 60 seconds), since a lack
/// of permission looks the same. NULL is ignored.
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

/// Uses another client secret from now on, and forgets a denial of the old one. The token stays.
///
/// Errors: ARGUMENT, if the secret is NULL, empty, not UTF-8, or read from a file.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_set_client_secret(
    client: Option<&oneaccess_client>,
    client_secret: *const c_char,
) -> Option<Box<oneaccess_error>> {
    guard_error(|| {
        let secret = text(client_secret)
            .map_err(|()| Error::new(ErrorKind::Argument, not_utf8("client_secret")))?;
        get(client)?.set_client_secret(secret.ok_or_else(|| is_null("client_secret"))?)
    })
}

/// One of the ONEACCESS_STAT_* numbers, of this process; -1 for an unknown one.
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

/// The error of the last failed request, also one that no caller was told of because there was a
/// token; NULL if there was none since the last success. Yours to free.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_get_last_error(
    client: Option<&oneaccess_client>,
) -> Option<Box<oneaccess_error>> {
    guard(None, || Some(Box::new(oneaccess_error(client?.0.last_error()?))))
}

/// Ends every call on this client, those under way and those to come, with CLOSED; returns at once.
/// If other threads may still be in a call: close, wait until their calls have returned, then free.
/// They return within milliseconds; while packets are dropped a connect can take 3 seconds more.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_close(client: Option<&oneaccess_client>) {
    guard((), || {
        if let Some(client) = client {
            client.0.close();
        }
    });
}

/// Frees a client. Does no I/O. Its tokens and errors stay valid. NULL is fine.
///
/// The client secret is wiped from memory. Every other thread that asked this client for a token
/// keeps the last one in memory until it is given another token or ends.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_client_free(client: Option<Box<oneaccess_client>>) {
    guard((), || drop(client));
}

/// The access token itself.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_access_token(token: *const oneaccess_token) -> *const c_char {
    borrowed(token).map_or(null(), Token::access_token_ptr)
}

/// How many bytes the access token has, not counting the NUL behind it, for those who copy it.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_access_token_length(token: *const oneaccess_token) -> i64 {
    borrowed(token).map_or(0, |token| token.access_token().len() as i64)
}

/// "Bearer ...": the value of an Authorization header (RFC 6750, section 2.1).
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_authorization(token: *const oneaccess_token) -> *const c_char {
    lent(borrowed(token).map(Token::authorization_text))
}

/// Always "Bearer": an answer with another type is an error.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_token_type(token: *const oneaccess_token) -> *const c_char {
    borrowed(token).map_or(null(), |_| c"Bearer".as_ptr())
}

/// The scope of the answer, or NULL if it had none.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_scope(token: *const oneaccess_token) -> *const c_char {
    lent(borrowed(token).and_then(Token::scope_text))
}

/// The id_token of the answer, or NULL if it had none; opaque here.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_id_token(token: *const oneaccess_token) -> *const c_char {
    lent(borrowed(token).and_then(Token::id_token_text))
}

/// When the token expires, in seconds since the Unix epoch, by this machine's clock. To show, not
/// to decide: ask the client for a token before every use, it knows when to replace it.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_expires_at(token: *const oneaccess_token) -> i64 {
    borrowed(token).map_or(0, |token| unix_seconds(token.expires_at()))
}

/// Releases a token. NULL is fine. It is wiped from memory once the client has another one or is
/// freed, and so have the threads that asked for it: each keeps the last token that it was given
/// until it is given another or ends. What TLS kept of the answer is not wiped.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_token_free(token: *mut oneaccess_token) {
    if !token.is_null() {
        // SAFETY: the pointer came from `handle`, and by rule 1 of the header it comes back once.
        guard((), || ThreadCache::take_back(unsafe { Arc::from_raw(token.cast_const().cast()) }));
    }
}

/// One of the ONEACCESS_ERROR_* numbers. Newer libraries may have more of them. 0 for NULL.
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

/// The HTTP status of the answer; 0 if there was none.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_http_status(error: Option<&oneaccess_error>) -> i32 {
    error.map_or(0, |error| i32::from(error.0.http_status()))
}

/// The vendor's error_code, or the OAuth error (RFC 6749, section 5.2), as it came; NULL if the
/// answer had none.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_vendor_code(error: Option<&oneaccess_error>) -> *const c_char {
    lent(error.and_then(|error| error.0.vendor_code_text()))
}

/// One line for people: what happened, with whom, and what to do about it.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_message(error: Option<&oneaccess_error>) -> *const c_char {
    lent(error.map(|error| error.0.message_text()))
}

/// 1 if the same request may succeed later without anybody changing anything, else 0.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_is_retryable(error: Option<&oneaccess_error>) -> i32 {
    error.map_or(0, |error| i32::from(error.0.is_retryable()))
}

/// 1 if the error comes from an earlier request, which this call neither sent nor waited for. Else 0.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_is_remembered(error: Option<&oneaccess_error>) -> i32 {
    error.map_or(0, |error| i32::from(error.0.is_remembered()))
}

/// When the request failed, in seconds since the Unix epoch.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_occurred_at(error: Option<&oneaccess_error>) -> i64 {
    error.map_or(0, |error| unix_seconds(error.0.occurred_at()))
}

/// Milliseconds from now until another request is worth sending, computed when asked; 0: no advice,
/// or over.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_retry_after_ms(error: Option<&oneaccess_error>) -> i64 {
    error.and_then(|error| error.0.retry_after()).map_or(0, milliseconds_up)
}

/// Frees an error. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn oneaccess_error_free(error: Option<Box<oneaccess_error>>) {
    guard((), || drop(error));
}

/// A panic must not unwind into C.
fn guard<T>(neutral: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(neutral)
}

fn guard_error(work: impl FnOnce() -> Result<(), Error>) -> Option<Box<oneaccess_error>> {
    let panicked = || {
        let what = "a bug in this library ended the call; please report it";
        Err(Error::new(ErrorKind::Internal, what))
    };
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| panicked());
    result.err().map(|error| Box::new(oneaccess_error(error)))
}

/// Writes `out` in any case, and works only if there is one.
fn answer<T>(
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

fn get(client: Option<&oneaccess_client>) -> Result<&Client, Error> {
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

/// `None` for NULL; an error if it is not UTF-8. Whoever calls copies it before returning to C.
fn text<'a>(text: *const c_char) -> Result<Option<&'a str>, ()> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: by rule 2 of the header text is NUL-terminated, and it lives at least until the
    // function that was called returns.
    unsafe { CStr::from_ptr(text) }.to_str().map(Some).map_err(drop)
}

fn lent(text: Option<&Text>) -> *const c_char {
    text.map_or(null(), Text::as_ptr)
}

/// What the caller owns: one count of the token, no second allocation.
fn handle(token: Arc<Token>) -> *mut oneaccess_token {
    Arc::into_raw(token).cast_mut().cast()
}

fn borrowed<'a>(token: *const oneaccess_token) -> Option<&'a Token> {
    // SAFETY: the pointer is NULL or came from `handle`, and by rule 1 of the header it was not
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
