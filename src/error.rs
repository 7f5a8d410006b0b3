//! What can go wrong, told for programs (`kind`) and for people (the message).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::os::{self, Now};
use crate::redact::one_line;
use crate::secret::Text;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call was wrong: NULL, not UTF-8, negative. The program needs fixing.
    Argument,
    /// A setting cannot be used: endpoint, CA file, key, secret file, environment.
    Config,
    /// No answer: name lookup, connection.
    Transport,
    /// The proxy refused or failed.
    Proxy,
    /// The server could not be trusted, or the TLS handshake failed.
    Tls,
    /// The time given to the call was over.
    Timeout,
    /// OneAccess refused the client, its secret or the request.
    Denied,
    /// OneAccess, or a gateway before it, asked for fewer requests.
    Throttled,
    /// HTTP 5xx, or an error code that says "busy": OneAccess failed.
    Server,
    /// The answer was not a token: web page, redirect, firewall, broken JSON.
    Protocol,
    /// The client was closed.
    Closed,
    /// A panic: a bug in this library, or in the program's logger.
    Internal,
}

/// Why there is no token. Cheap to clone; holds no secret and no token.
///
/// An error is one fact shared by all who are given it: a request that failed at a certain time.
#[derive(Clone)]
pub struct Error {
    facts: Arc<Facts>,
    remembered: bool,
}

#[derive(Clone)]
struct Facts {
    kind: ErrorKind,
    message: Text,
    http_status: u16,
    vendor_code: Option<Text>,
    retryable: bool,
    retry_after: Option<Duration>,
    occurred: Now,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl AsRef<str>) -> Error {
        use ErrorKind::*;
        Error {
            facts: Arc::new(Facts {
                kind,
                message: line(message.as_ref()),
                http_status: 0,
                vendor_code: None,
                retryable: matches!(kind, Transport | Proxy | Timeout | Throttled | Server),
                retry_after: None,
                occurred: os::now(),
            }),
            remembered: false,
        }
    }

    pub(crate) fn with_answer(self, http_status: u16, vendor_code: Option<&str>) -> Error {
        self.change(|facts| {
            facts.http_status = http_status;
            facts.vendor_code = vendor_code.and_then(Text::new);
        })
    }

    pub(crate) fn with_retryable(self, retryable: bool) -> Error {
        self.change(|facts| facts.retryable = retryable)
    }

    /// `after` counts from when the error occurred.
    pub(crate) fn with_retry_after(self, after: Duration) -> Error {
        self.change(|facts| facts.retry_after = Some(after))
    }

    /// The same error, given to a call that sent no request.
    pub(crate) fn as_remembered(&self) -> Error {
        let message = format!("{self} (remembered from an earlier request)");
        let error = self.clone().change(|facts| facts.message = line(&message));
        Error { remembered: true, ..error }
    }

    fn change(mut self, change: impl FnOnce(&mut Facts)) -> Error {
        change(Arc::make_mut(&mut self.facts));
        self
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.facts.kind
    }

    /// The HTTP status of the answer; 0 if there was none.
    pub fn http_status(&self) -> u16 {
        self.facts.http_status
    }

    /// The vendor's `error_code`, or the OAuth `error` (RFC 6749, section 5.2), as it came but for
    /// control characters, and what could be the secret or a token.
    pub fn vendor_code(&self) -> Option<&str> {
        self.facts.vendor_code.as_ref().map(Text::as_str)
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        self.facts.retryable
    }

    /// Whether the error comes from an earlier request, which this call neither sent nor waited for.
    pub fn is_remembered(&self) -> bool {
        self.remembered
    }

    /// When the request failed.
    pub fn occurred_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.facts.occurred.wall
    }

    /// How long from now until another request is worth sending; `None`: no advice.
    pub fn retry_after(&self) -> Option<Duration> {
        let since = os::now().boot.saturating_sub(self.facts.occurred.boot);
        let rest = self.facts.retry_after?.saturating_sub(since);
        (!rest.is_zero()).then_some(rest)
    }

    /// The server's own advice (Retry-After), or later the cache's, from when the error occurred.
    pub(crate) fn retry_after_at_first(&self) -> Option<Duration> {
        self.facts.retry_after
    }

    #[cfg(feature = "capi")]
    pub(crate) fn message_text(&self) -> &Text {
        &self.facts.message
    }

    #[cfg(feature = "capi")]
    pub(crate) fn vendor_code_text(&self) -> Option<&Text> {
        self.facts.vendor_code.as_ref()
    }
}

fn line(message: &str) -> Text {
    Text::new(&one_line(message)).expect("control characters were replaced")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts.message.as_str())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("http_status", &self.http_status())
            .field("vendor_code", &self.vendor_code())
            .field("message", &self.facts.message.as_str())
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {}
