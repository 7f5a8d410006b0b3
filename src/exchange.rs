//! One request for a token: the form goes out, a `Grant` or an `Error` comes back. The only module
//! that knows JSON and what OneAccess answers.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::file;
use crate::redact::Redact;
use crate::secret::{base64, percent_encode};
use crate::system::Snapshot;
use crate::token::{Grant, Token};
use crate::transport::{LARGEST_BODY, Reply, Transport};

const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');
const LARGEST_SECRET: usize = 64 << 10;
/// When the answer does not say, or says nothing readable.
const DEFAULT_LIFE: Duration = Duration::from_secs(300);
const LONGEST_LIFE: f64 = i32::MAX as f64;
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

type Secret = Zeroizing<String>;

/// Asks the token endpoint. Holds no lock while it does.
pub(crate) struct Exchange {
    config: Arc<Config>,
    transport: Transport,
    secret: Snapshot<Secret>,
    /// What was last read from the secret file.
    last_read: Mutex<Secret>,
    /// The token that an answer is most likely to echo.
    latest: Mutex<Option<Token>>,
}

impl Exchange {
    /// Reads files, sends nothing.
    pub fn new(config: Arc<Config>) -> Result<Exchange, Error> {
        let transport = Transport::new(config.clone())?;
        if let Some(path) = &config.client_secret_file {
            read_secret(path)?;
        }
        Ok(Exchange {
            secret: Snapshot::new(config.client_secret.clone()),
            config,
            transport,
            last_read: Mutex::default(),
            latest: Mutex::default(),
        })
    }

    /// The same for the child of a fork: no lock and no connection in common.
    pub fn for_child(&self) -> Exchange {
        Exchange {
            config: self.config.clone(),
            transport: self.transport.for_child(),
            secret: Snapshot::new(Secret::clone(&self.secret.get())),
            last_read: Mutex::default(),
            latest: Mutex::default(),
        }
    }

    pub fn set_secret(&self, secret: &str) -> Result<(), Error> {
        if let Some(path) = &self.config.client_secret_file {
            let path = path.display();
            let why = format!("the client secret is read from {path}: change that file instead");
            return Err(Error::new(ErrorKind::Argument, why));
        }
        if secret.is_empty() {
            return Err(Error::new(ErrorKind::Argument, "the new client_secret is empty"));
        }
        self.secret.set(Zeroizing::new(secret.to_owned()));
        Ok(())
    }

    /// Whether the secret file holds another secret than the last request used.
    pub fn secret_file_changed(&self) -> bool {
        let Some(path) = &self.config.client_secret_file else {
            return false;
        };
        let used = self.last_read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        read_secret(path).is_ok_and(|secret| secret != used)
    }

    /// Interrupts a request under way.
    pub fn close(&self) {
        self.transport.close();
    }

    /// One request, within `timeout`.
    pub fn request(&self, timeout: Duration) -> Result<Grant, Error> {
        let secret = self.current_secret()?;
        let reply = self.send(&secret, timeout)?;
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reading = Reading {
            host: self.config.endpoint.host_and_port(),
            redact: Redact::new(&self.config.client_id, &secret, latest.as_ref()),
        };
        let outcome = reading.outcome(reply);
        if let Ok(grant) = &outcome {
            *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(grant.token.clone());
        }
        outcome
    }

    fn current_secret(&self) -> Result<Secret, Error> {
        let Some(path) = &self.config.client_secret_file else {
            return Ok(Secret::clone(&self.secret.get()));
        };
        let secret = read_secret(path);
        // After a failure every secret that can be read is another one.
        let read = secret.as_ref().cloned().unwrap_or_default();
        *self.last_read.lock().unwrap_or_else(PoisonError::into_inner) = read;
        secret
    }

    fn send(&self, secret: &str, timeout: Duration) -> Result<Reply, Error> {
        let config = &self.config;
        let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded")];
        for (name, value) in &config.headers {
            headers.push((name, value));
        }
        let basic;
        let form = if config.basic_auth {
            basic = basic_credentials(&config.client_id, secret);
            headers.push(("Authorization", &basic));
            form(&[("grant_type", "client_credentials")])
        } else {
            form(&[
                ("grant_type", "client_credentials"),
                ("client_id", &config.client_id),
                ("client_secret", secret),
            ])
        };
        self.transport.post(&headers, form.as_bytes(), timeout)
    }
}

fn form(fields: &[(&str, &str)]) -> Zeroizing<String> {
    let longest = fields.iter().map(|(name, value)| name.len() + 3 * value.len() + 2);
    let mut form = Zeroizing::new(String::with_capacity(longest.sum()));
    for (name, value) in fields {
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        form.push_str(&percent_encode(value, FORM));
    }
    form
}

fn basic_credentials(client_id: &str, secret: &str) -> Zeroizing<String> {
    let plain = Zeroizing::new([client_id, ":", secret].concat());
    Zeroizing::new(["Basic ", &base64(&plain)].concat())
}

fn read_secret(path: &Path) -> Result<Secret, Error> {
    let unusable = |why: &str| {
        let path = path.display();
        Error::new(ErrorKind::Config, format!("the client secret file {path}: {why}"))
    };
    let bytes = file::read(path, LARGEST_SECRET).map_err(|error| {
        // What the operating system says may pass: the file may be just being replaced.
        unusable(&error.to_string()).with_retryable(error.raw_os_error().is_some())
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unusable("it is not UTF-8 text"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let secret = line.strip_suffix('\r').unwrap_or(line);
    if secret.is_empty() {
        return Err(unusable("it is empty").with_retryable(true));
    }
    Ok(Zeroizing::new(secret.to_owned()))
}

/// Finds out what an answer means.
struct Reading {
    host: String,
    redact: Redact,
}

/// What OneAccess says went wrong, redacted.
struct Complaint {
    code: Option<String>,
    text: String,
}

impl Reading {
    fn outcome(&self, reply: Reply) -> Result<Grant, Error> {
        let status = reply.status;
        let retry_after = retry_after(&reply);
        let location = reply.header("location").map(str::to_owned);
        let fields = match (fields(&reply), reply.body) {
            // Where the status says it all, a body that broke off changes nothing.
            (_, Err(error)) if !says_it_all(status) => return Err(error),
            (fields, _) => fields,
        };
        let complaint = fields.as_ref().ok().and_then(|fields| self.complaint(fields));
        let no_object = match fields {
            Ok(mut fields) if status == 200 => match grant(&mut fields) {
                Ok(grant) => return Ok(grant),
                Err(why) => why,
            },
            Ok(_) => "is not what OneAccess answers".to_owned(),
            Err(why) => why,
        };
        let error = match complaint {
            _ if (300..400).contains(&status) => self.redirect(status, location),
            Some(complaint) => self.complained(status, complaint),
            None => self.without_complaint(status, &no_object),
        };
        Err(match retry_after {
            Some(after) => error.with_retry_after(after),
            None => error,
        })
    }

    fn complained(&self, status: u16, Complaint { code, text }: Complaint) -> Error {
        let host = &self.host;
        let code = code.as_deref();
        let (kind, what) = match status {
            _ if status == 429 || code == Some("APIG.0308") => {
                (ErrorKind::Throttled, "asks for fewer requests")
            }
            500..=599 | 408 | 425 => (ErrorKind::Server, "could not answer"),
            201..=299 => (ErrorKind::Protocol, "gave an answer that is no token"),
            _ => (ErrorKind::Denied, "refused the request"),
        };
        let advice = match code {
            Some("invalid_client" | "unauthorized" | "unauthorized_client") => {
                "; check client_id and client_secret (a secret that was reset is replaced at once)"
            }
            _ => "",
        };
        let message = format!("{host} {what}: {text} (HTTP {status}){advice}");
        Error::new(kind, message).with_answer(status, code)
    }

    fn without_complaint(&self, status: u16, no_object: &str) -> Error {
        let host = &self.host;
        let (kind, message) = match status {
            429 => (ErrorKind::Throttled, format!("{host} asks for fewer requests (HTTP 429)")),
            500..=599 | 408 | 425 => {
                (ErrorKind::Server, format!("{host} could not answer (HTTP {status})"))
            }
            401 | 403 => (
                ErrorKind::Denied,
                format!(
                    "{host} refused the request without saying why (HTTP {status}); check \
                     client_id and client_secret, and that nothing before OneAccess wants a login"
                ),
            ),
            418 => (
                ErrorKind::Protocol,
                format!("a web application firewall before {host} blocked the request (HTTP 418)"),
            ),
            400..=499 => (
                ErrorKind::Protocol,
                format!(
                    "the answer of {host} is not from OneAccess (HTTP {status}, and the body \
                     {no_object}); check the endpoint"
                ),
            ),
            _ => (
                ErrorKind::Protocol,
                format!("{host} answered HTTP {status} without a token: the body {no_object}"),
            ),
        };
        Error::new(kind, message).with_answer(status, None)
    }

    fn redirect(&self, status: u16, location: Option<String>) -> Error {
        let target = match location.as_deref().and_then(host_of) {
            Some(host) => format!(" to {}", self.redact.name(host, 100)),
            None => String::new(),
        };
        let message = format!(
            "{} redirects{target} (HTTP {status}); redirects are not followed with a secret: check \
             the endpoint",
            self.host
        );
        Error::new(ErrorKind::Protocol, message).with_answer(status, None)
    }

    /// OneAccess has two shapes of errors, `error_code` with `error_msg` and OAuth's `error` with
    /// `error_description`; gateways before it have others, whose text is kept as it is.
    fn complaint(&self, fields: &Map<String, Value>) -> Option<Complaint> {
        let field = |name| fields.get(name).and_then(text).filter(|text| !text.is_empty());
        let pairs = [("error_code", "error_msg"), ("error", "error_description")];
        for (code, description) in pairs {
            let Some(code) = field(code) else { continue };
            let code = self.redact.name(&code, 64);
            let text = match field(description) {
                Some(text) => format!("{code}: {}", self.redact.shown(&text, 300)),
                None => code.clone(),
            };
            return Some(Complaint { code: Some(code), text });
        }
        let nested = ["error", "error_code"].iter().find_map(|name| fields.get(*name))?;
        (nested.is_object() || nested.is_array()).then(|| Complaint {
            code: ["code", "error_code"]
                .iter()
                .find_map(|name| nested.get(*name).and_then(text))
                .map(|code| self.redact.name(&code, 64)),
            text: self.redact.shown(&nested.to_string(), 300),
        })
    }
}

fn says_it_all(status: u16) -> bool {
    matches!(status, 300..=399 | 401 | 403 | 408 | 425 | 429 | 500..=599)
}

/// Why the body is not a JSON object, if it is not: what follows "the body …".
fn fields(reply: &Reply) -> Result<Map<String, Value>, String> {
    let body = match &reply.body {
        Ok(Some(body)) => body,
        Ok(None) => return Err(format!("is longer than {LARGEST_BODY} bytes")),
        Err(_) => return Err("broke off".to_owned()),
    };
    match reply.header("content-encoding") {
        None | Some("" | "identity") => {}
        Some(_) => return Err("is compressed, which was not asked for".to_owned()),
    }
    // Texts that are not UTF-8 must not cost the error code beside them.
    let text = Zeroizing::new(String::from_utf8_lossy(body).into_owned());
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err("is JSON but not an object".to_owned()),
        Err(_) if text.starts_with('<') => Err("is a web page".to_owned()),
        Err(error) if error.is_eof() => Err("is JSON that breaks off".to_owned()),
        // serde_json's own text may quote the token.
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            Err(format!("is not JSON (line {line}, column {column})"))
        }
    }
}

/// Or why it is not a token: what follows "the body …".
fn grant(fields: &mut Map<String, Value>) -> Result<Grant, String> {
    let access_token = match fields.get_mut("access_token").map(Value::take) {
        Some(Value::String(text)) => Zeroizing::new(text),
        Some(_) => return Err("has an access_token that is not text".to_owned()),
        None => return Err("has no access_token".to_owned()),
    };
    if access_token.is_empty() || !access_token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("has an access_token that is empty or not visible ASCII".to_owned());
    }
    match fields.get("token_type") {
        None | Some(Value::Null) => {}
        Some(Value::String(kind)) if kind.trim().eq_ignore_ascii_case("bearer") => {}
        Some(_) => return Err("has a token_type other than Bearer".to_owned()),
    }
    let mut optional = |name| match fields.get_mut(name).map(Value::take) {
        Some(Value::String(text)) => Some(Zeroizing::new(text)),
        _ => None,
    };
    let (scope, id_token) = (optional("scope"), optional("id_token"));
    let scope = scope.as_deref().map(String::as_str);
    let id_token = id_token.as_deref().map(String::as_str);
    Ok(Grant {
        token: Token::new(&access_token, scope, id_token),
        expires_in: fields.get("expires_in").map_or(DEFAULT_LIFE, life),
    })
}

fn life(expires_in: &Value) -> Duration {
    let seconds = match expires_in {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match seconds {
        Some(seconds) if seconds.is_finite() => {
            Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_LIFE))
        }
        _ => DEFAULT_LIFE,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Retry-After (RFC 9110, section 10.2.3): seconds, or a date, which counts from the answer's own.
fn retry_after(reply: &Reply) -> Option<Duration> {
    let text = reply.header("retry-after")?.trim();
    let after = match httpdate::parse_http_date(text) {
        Ok(date) => {
            let sent = reply.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
            date.duration_since(sent.unwrap_or_else(SystemTime::now)).unwrap_or_default()
        }
        Err(_) => Duration::from_secs(text.parse().ok()?),
    };
    Some(after.min(LONGEST_RETRY_AFTER))
}

fn host_of(location: &str) -> Option<&str> {
    let (_, rest) = location.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit('@').next()
}

/// The token or the message that comes of an answer.
#[cfg(fuzzing)]
pub fn fuzz_answer(status: u16, retry_after: &[u8], body: &[u8], secret: &str) -> String {
    let reading = Reading { host: "host:443".to_owned(), redact: Redact::new("id", secret, None) };
    match reading.outcome(Reply::made_of(status, retry_after, body)) {
        Ok(grant) => format!("{grant:?}"),
        Err(error) => format!("{error} {error:?}"),
    }
}
