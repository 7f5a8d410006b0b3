use std::time::{Duration, SystemTime};

use serde_json::json;

/// How the mock tenant answers a token request; `…AtAccept` and `StallHandshake`: a connection.
#[derive(Clone, Debug, Default)]
pub enum Answer {
    /// As the real server: a token, or the error for this request.
    #[default]
    Normal,
    /// Date, Content-Length and Connection are added unless `headers` names them.
    Status {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// Sends these bytes instead of an HTTP response, then closes cleanly.
    Raw(Vec<u8>),
    /// Never answers. Ends when the client disconnects or the tenant is dropped.
    Hang,
    /// Another answer, decided when the request arrives and sent after this delay.
    Delayed(Duration, Box<Answer>),
    /// Sends these bytes one by one, each followed by a pause, then closes cleanly.
    Drip {
        bytes: Vec<u8>,
        every: Duration,
    },
    /// Sends these bytes, then closes without TLS's close_notify.
    Cut {
        bytes: Vec<u8>,
    },
    /// Resets the TCP connection after reading the request.
    Reset,
    ResetAtAccept,
    CloseAtAccept,
    /// Accepts the connection and never answers the TLS handshake.
    StallHandshake,
}

impl Answer {
    pub fn status(status: u16) -> Answer {
        Answer::Status { status, headers: Vec::new(), body: Vec::new() }
    }

    pub fn json(status: u16, body: &str) -> Answer {
        Answer::text(status, "application/json;charset=UTF-8", body)
    }

    /// An error of OneAccess, for example APP.0003.
    pub fn vendor_error(code: &str, message: &str) -> Answer {
        let body = json!({"error_code": code, "error_msg": message});
        Answer::json(400, &body.to_string())
    }

    pub fn html(status: u16, body: &str) -> Answer {
        Answer::text(status, "text/html;charset=UTF-8", body)
    }

    fn text(status: u16, content_type: &str, body: &str) -> Answer {
        Answer::Status {
            status,
            headers: vec![("Content-Type".into(), content_type.into())],
            body: body.into(),
        }
    }

    pub fn delayed(self, delay: Duration) -> Answer {
        Answer::Delayed(delay, Box::new(self))
    }

    /// Adds a header to a `Status`; other answers are unchanged.
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        if let Answer::Status { headers, .. } = &mut self {
            headers.push((name.into(), value.into()));
        }
        self
    }

    pub(super) fn is_for_a_connection(&self) -> bool {
        match self {
            Answer::ResetAtAccept | Answer::CloseAtAccept | Answer::StallHandshake => true,
            Answer::Delayed(_, answer) => answer.is_for_a_connection(),
            _ => false,
        }
    }
}

pub(super) fn add_default_headers(
    headers: &mut Vec<(String, String)>,
    body_length: usize,
    keep_alive: bool,
) {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    for (name, value) in [
        ("Date", httpdate::fmt_http_date(SystemTime::now())),
        ("Content-Length", body_length.to_string()),
        ("Connection", connection.into()),
    ] {
        if find_header(headers, name).is_none() {
            headers.push((name.into(), value));
        }
    }
}

/// Without a reason phrase, as current Java servers write it.
pub(super) fn render(status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status} \r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn find_header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut headers = headers.iter();
    let found = headers.find(|(header, _)| header.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}
