//! What a response of the token endpoint means: a `Grant` or an `Error`. With its siblings `json` and
//! `page`, the only module that knows JSON, and what OneAccess and the gateways before it send.

use std::time::{Duration, SystemTime};

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::json::{self, Fields};
use super::page;

use crate::error::{Error, ErrorKind};
use crate::redact::Redactor;
use crate::token::{Grant, Token};
use crate::transport::{MAX_BODY_BYTES, Reply};

/// For a response whose `expires_in` is missing or not a number.
const DEFAULT_LIFE: Duration = Duration::from_secs(300);
const MAX_LIFE_S: f64 = i32::MAX as f64;
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

type Secret = Zeroizing<String>;

/// Turns a response into a `Grant` or an `Error`.
pub(super) struct Interpreter<'a> {
    /// Host and port of the token endpoint, for messages.
    pub host: String,
    pub redactor: Redactor<'a>,
}

/// The error that the body of a response describes. It is not redacted yet.
struct VendorError {
    /// Empty if there is none.
    code: Secret,
    text: Option<Secret>,
}

/// The kind of a failure by its HTTP status and the vendor's error code. The code is `None` if the
/// body describes no error, and `Some("")` if it describes one without a code.
fn classify(status: u16, code: Option<&str>) -> ErrorKind {
    match (status, code) {
        (300..=399, _) => ErrorKind::Protocol,
        // APIG.0308: the API gateway before OneAccess throttles.
        (429, _) | (_, Some("APIG.0308")) => ErrorKind::Throttled,
        (408 | 425 | 500..=599, _) => ErrorKind::Server,
        // The first two belong to the authorization endpoint (RFC 6749, section 4.1.2.1), but some
        // servers send them from the token endpoint. IDAAS.TENANT.COM.0002: "system busy".
        (_, Some("temporarily_unavailable" | "server_error" | "IDAAS.TENANT.COM.0002")) => {
            ErrorKind::Server
        }
        (401 | 403, _) | (200 | 400..=499, Some(_)) => ErrorKind::Denied,
        _ => ErrorKind::Protocol,
    }
}

/// Whether the status says what went wrong even if the body cannot be read. For example a 503 is a
/// server error, and a 200 or 400 without a body says nothing.
fn is_conclusive(status: u16) -> bool {
    matches!(status, 300..=399) || classify(status, None) != ErrorKind::Protocol
}

impl Interpreter<'_> {
    pub fn interpret(&self, reply: Reply) -> Result<Grant, Error> {
        let status = reply.status;
        match &reply.body {
            Err(error) if !is_conclusive(status) => return Err(error.clone()),
            _ => {}
        }
        let mut repaired = Secret::default();
        let body = body_text(&reply, &mut repaired);
        let page = body.as_ref().ok().copied().filter(|body| page::is_page(body));
        let (vendor_error, why) = match body.and_then(Fields::parse) {
            Ok(fields) => {
                let why = match status {
                    200 => match grant(&fields) {
                        Ok(grant) => return Ok(grant),
                        Err(why) => why,
                    },
                    201..=299 => "may contain one, but a token is accepted with HTTP 200 only",
                    _ => "is not a OneAccess response",
                };
                (vendor_error(&fields), why.to_owned())
            }
            Err(_) if page.is_some() => (None, "is a web page".to_owned()),
            Err(why) => (None, why),
        };
        let error = match vendor_error {
            _ if (300..400).contains(&status) => self.redirect(status, reply.header("location")),
            Some(vendor_error) => self.with_vendor_error(status, vendor_error),
            None => self.without_vendor_error(status, &why, page),
        };
        Err(match retry_after(&reply) {
            Some(after) => error.with_retry_after(after),
            None => error,
        })
    }

    fn with_vendor_error(&self, status: u16, VendorError { code, text }: VendorError) -> Error {
        let host = &self.host;
        let kind = classify(status, Some(&code));
        let what = match kind {
            ErrorKind::Throttled => "throttled the request",
            ErrorKind::Server => "failed to process the request",
            ErrorKind::Denied => "denied the request",
            _ => "sent an error instead of a token",
        };
        let advice = match code.as_str() {
            "invalid_client" | "unauthorized" | "unauthorized_client" => {
                "; check client_id and client_secret (after a reset the old client_secret is invalid at once)"
            }
            _ => "",
        };
        let code = (!code.is_empty()).then(|| self.redactor.code(&code, 64));
        let text = text.map(|text| self.redactor.sentence(&text, 300));
        let parts: Vec<&str> = [&code, &text].into_iter().flatten().map(String::as_str).collect();
        let message = format!("{host} {what}: {} (HTTP {status}){advice}", parts.join(": "));
        Error::new(kind, message).with_answer(status, code.as_deref())
    }

    /// `why`: what follows "the body …" in a message. `page`: the body, if it is a web page.
    fn without_vendor_error(&self, status: u16, why: &str, page: Option<&str>) -> Error {
        let host = &self.host;
        let kind = classify(status, None);
        let title = page.and_then(page::title).map(|title| self.redactor.sentence(&title, 100));
        let what = match (kind, title) {
            (_, Some(title)) => format!("sent a web page instead of a token: {title}"),
            (ErrorKind::Throttled, _) => "throttled the request".to_owned(),
            (ErrorKind::Server, _) => "failed to process the request".to_owned(),
            (ErrorKind::Denied, _) => "denied the request without a reason".to_owned(),
            _ => format!("sent no usable token: the body {why}"),
        };
        let advice = match (kind, page::advice(status, page.unwrap_or_default())) {
            (_, Some(advice)) => format!("; {advice}"),
            (ErrorKind::Denied, _) => "; check client_id and client_secret, and that no proxy \
                 or portal before OneAccess requires a login"
                .to_owned(),
            (ErrorKind::Protocol, _) if page.is_some() || status >= 400 => {
                "; check the endpoint".to_owned()
            }
            _ => String::new(),
        };
        let message = format!("{host} {what} (HTTP {status}){advice}");
        Error::new(kind, message).with_answer(status, None)
    }

    fn redirect(&self, status: u16, location: Option<&str>) -> Error {
        let target = match location.and_then(host_of) {
            Some(host) => format!(" to {}", self.redactor.host(host, 100)),
            None => String::new(),
        };
        let message = format!(
            "{} sent a redirect{target} (HTTP {status}); redirects are not followed, since the \
             request contains the client secret; check the endpoint",
            self.host
        );
        Error::new(ErrorKind::Protocol, message).with_answer(status, None)
    }
}

/// OneAccess describes errors in two ways: `error_code` with `error_msg`, and as OAuth does, `error`
/// with `error_description` (RFC 6749, section 5.2). Gateways before it send an object instead,
/// `{"error": {"code": "E17", "message": "not today"}}`; where that has no message, the whole object is
/// quoted.
fn vendor_error(fields: &Fields) -> Option<VendorError> {
    let shapes = [(fields.error_code, fields.error_msg), (fields.error, fields.error_description)];
    for (code, description) in shapes {
        if let Some(code) = code.and_then(text_or_number) {
            return Some(VendorError { code, text: description.and_then(text_or_number) });
        }
    }
    let errors = [fields.error, fields.error_code].into_iter().flatten();
    let nested = errors.into_iter().find(|value| value.get().starts_with(['{', '[']))?;
    let fields = Fields::of_object(nested).unwrap_or_default();
    let message = fields.message.and_then(text_or_number);
    Some(VendorError {
        code: fields.code.or(fields.error_code).and_then(text_or_number).unwrap_or_default(),
        text: message.or_else(|| Some(nested.get().to_owned().into())),
    })
}

/// The body as text, or why it cannot be read: what follows "the body …" in a message. A body that is
/// not UTF-8 is repaired, in `repaired`, since a badly encoded description must not cost the error
/// code beside it.
fn body_text<'a>(reply: &'a Reply, repaired: &'a mut Secret) -> Result<&'a str, String> {
    let body = match &reply.body {
        Ok(Some(body)) => body,
        Ok(None) => return Err(format!("is longer than {MAX_BODY_BYTES} bytes")),
        Err(_) => return Err("is incomplete".to_owned()),
    };
    match reply.header("content-encoding") {
        None | Some("" | "identity") => {}
        Some(_) => return Err("is compressed, although no compression was requested".to_owned()),
    }
    let text = std::str::from_utf8(body).unwrap_or_else(|_| {
        *repaired = json::from_utf8_lossy(body);
        repaired
    });
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text) }
}

/// The token in the fields, or why there is none: what follows "the body …" in a message.
fn grant(fields: &Fields) -> Result<Grant, &'static str> {
    let access_token = match fields.access_token.map(json::decode_string) {
        Some(Some(text)) => text,
        Some(None) => return Err("has an access_token that is not a string"),
        None => return Err("has no access_token"),
    };
    if access_token.is_empty() || !access_token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("has an access_token that is empty or not visible ASCII");
    }
    let token_type = fields.token_type.filter(|value| value.get() != "null");
    match token_type.map(json::decode_string) {
        None => {}
        Some(Some(kind)) if kind.trim().eq_ignore_ascii_case("bearer") => {}
        Some(_) => return Err("has a token_type other than Bearer"),
    }
    let scope = fields.scope.and_then(json::decode_string);
    let id_token = fields.id_token.and_then(json::decode_string);
    let (scope, id_token) = (scope.as_deref(), id_token.as_deref());
    Ok(Grant {
        token: Token::new(&access_token, scope.map(String::as_str), id_token.map(String::as_str)),
        expires_in: fields.expires_in.and_then(life).unwrap_or(DEFAULT_LIFE),
    })
}

/// The value of `expires_in`; `None` if it is not a number.
fn life(expires_in: &RawValue) -> Option<Duration> {
    let seconds: f64 = text_or_number(expires_in)?.parse().ok()?;
    // `1e400` does not fit into an f64 and becomes infinite, and so does the text "inf".
    seconds.is_finite().then(|| Duration::from_secs_f64(seconds.clamp(0.0, MAX_LIFE_S)))
}

/// A string that is not blank, trimmed, or a number as it is written.
fn text_or_number(value: &RawValue) -> Option<Secret> {
    let text = match value.get().as_bytes() {
        [b'"', ..] => json::decode_string(value)?,
        [b'-' | b'0'..=b'9', ..] => value.get().to_owned().into(),
        _ => return None,
    };
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned().into())
}

/// Retry-After (RFC 9110, section 10.2.3): seconds, or a date. The date is compared with the
/// response's own Date rather than with the clock of this machine, which may be wrong.
fn retry_after(reply: &Reply) -> Option<Duration> {
    let text = reply.header("retry-after")?.trim();
    let after = match httpdate::parse_http_date(text) {
        Ok(date) => {
            let sent = reply.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
            date.duration_since(sent.unwrap_or_else(SystemTime::now)).unwrap_or_default()
        }
        Err(_) => Duration::from_secs(text.parse().ok()?),
    };
    Some(after.min(MAX_RETRY_AFTER))
}

/// The host in an absolute URL, with its port and without user and password.
fn host_of(location: &str) -> Option<&str> {
    let (_, rest) = location.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit('@').next()
}

/// The token or the error message of a response, as text.
#[cfg(fuzzing)]
pub fn fuzz_answer(status: u16, retry_after: &[u8], body: &[u8], secret: &str) -> String {
    let redactor = Redactor { client_id: "id", secret, latest_token: None, headers: &[] };
    let interpreter = Interpreter { host: "host:443".to_owned(), redactor };
    match interpreter.interpret(Reply::made_of(status, retry_after, body)) {
        Ok(grant) => format!("{grant:?}"),
        Err(error) => format!("{error} {error:?}"),
    }
}
