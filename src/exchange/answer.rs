//! What an answer of the token endpoint means: a `Grant` or an `Error`. The only module that knows
//! JSON and what OneAccess answers.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::redact::Redact;
use crate::token::{Grant, Token};
use crate::transport::{LARGEST_BODY, Reply};

/// When the answer does not say, or says nothing readable.
const DEFAULT_LIFE: Duration = Duration::from_secs(300);
const LONGEST_LIFE: f64 = i32::MAX as f64;
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Finds out what an answer means.
pub(super) struct Reading<'a> {
    pub host: String,
    pub redact: Redact<'a>,
}

/// What OneAccess says went wrong, redacted.
struct Complaint {
    code: Option<String>,
    text: String,
}

impl Reading<'_> {
    pub fn outcome(&self, reply: Reply) -> Result<Grant, Error> {
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
            Some(host) => format!(" to {}", self.redact.host(host, 100)),
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
            let code = self.redact.code(&code, 64);
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
                .map(|code| self.redact.code(&code, 64)),
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
    let as_str = |text: &Option<Zeroizing<String>>| text.as_ref().map(|text| text.to_string());
    Ok(Grant {
        token: Token::new(&access_token, as_str(&scope).as_deref(), as_str(&id_token).as_deref()),
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
    let redact = Redact { client_id: "id", secret, token: None, headers: &[] };
    let reading = Reading { host: "host:443".to_owned(), redact };
    match reading.outcome(Reply::made_of(status, retry_after, body)) {
        Ok(grant) => format!("{grant:?}"),
        Err(error) => format!("{error} {error:?}"),
    }
}
