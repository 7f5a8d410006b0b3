use std::io::{self, ErrorKind};
use std::time::Instant;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use percent_encoding::percent_decode_str;

use super::answer::find_header;

pub(super) const HEAD_LIMIT: usize = 64 * 1024;
pub(super) const BODY_LIMIT: usize = 1024 * 1024;

/// A request as received.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With the query string, if there was one.
    pub path: String,
    /// In the order and case in which they were received.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// When the last byte was read.
    pub received_at: Instant,
    pub(super) keep_alive: bool,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }

    /// The form fields in the body, decoded, in their order.
    pub fn form(&self) -> Vec<(String, String)> {
        decode_form(&String::from_utf8_lossy(&self.body))
    }

    pub fn form_field(&self, name: &str) -> Option<String> {
        find_field(self.form(), name)
    }

    pub fn query_field(&self, name: &str) -> Option<String> {
        let (_, query) = self.path.split_once('?')?;
        find_field(decode_form(query), name)
    }

    /// Client id and secret in a valid HTTP Basic header.
    pub fn basic_credentials(&self) -> Option<(String, String)> {
        let encoded = self.header("Authorization")?.strip_prefix("Basic ")?;
        let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
        let (client_id, client_secret) = decoded.split_once(':')?;
        Some((client_id.into(), client_secret.into()))
    }

    /// The request without its body, the length of the head and the length of the body; `None` if the
    /// head is incomplete.
    pub(super) fn parse_head(received: &[u8]) -> io::Result<Option<(Request, usize, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut parsed = httparse::Request::new(&mut headers);
        let head_length = match parsed.parse(received) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if received.len() <= HEAD_LIMIT => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(invalid("The head is too long")),
            Err(error) => return Err(invalid(&error.to_string())),
        };
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let headers = parsed.headers.iter();
        let mut request = Request {
            method: parsed.method.unwrap_or_default().into(),
            path: parsed.path.unwrap_or_default().into(),
            headers: headers.map(|h| (h.name.to_owned(), text(h.value))).collect(),
            body: Vec::new(),
            received_at: Instant::now(),
            keep_alive: parsed.version == Some(1),
        };
        if let Some(connection) = request.header("Connection") {
            request.keep_alive = !connection.eq_ignore_ascii_case("close");
        }
        let body_length = request.body_length()?;
        Ok(Some((request, head_length, body_length)))
    }

    fn body_length(&self) -> io::Result<usize> {
        if self.header("Transfer-Encoding").is_some() {
            return Err(invalid("Content-Length is required"));
        }
        match self.header("Content-Length").unwrap_or("0").parse() {
            Ok(length) if length <= BODY_LIMIT => Ok(length),
            _ => Err(invalid("Bad Content-Length")),
        }
    }
}

fn decode_form(text: &str) -> Vec<(String, String)> {
    let text = text.replace('+', " ");
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    text.split('&')
        .filter_map(|field| field.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn find_field(fields: Vec<(String, String)>, name: &str) -> Option<String> {
    fields.into_iter().find(|(field, _)| field == name).map(|(_, value)| value)
}

pub(super) fn invalid(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}
