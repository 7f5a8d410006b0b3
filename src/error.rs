//! [`Error`]: a kind for programs, a message for people.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::os::{self, Now};
use crate::redact::one_line;
use crate::secret::Text;

/// The kind of a failure. More kinds may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is invalid: NULL, not UTF-8, negative. The program needs fixing.
    Argument,
    /// A setting cannot be used: the endpoint, a CA file, a key, the secret file, a variable of the
    /// environment.
    Config,
    /// No response: the name lookup or the connection failed.
    Transport,
    /// The proxy refused the connection, or failed.
    Proxy,
    /// The TLS handshake failed, or the server's certificate is not trusted.
    Tls,
    /// The timeout of the call expired.
    Timeout,
    /// OneAccess rejected the client, its secret or the request.
    Denied,
    /// OneAccess, or a gateway in front of it, asked for fewer requests, as with HTTP 429.
    Throttled,
    /// OneAccess failed: HTTP 5xx, or an error code that means "busy".
    Server,
    /// The response is not that of a token endpoint: a web page, a redirect, invalid JSON.
    Protocol,
    /// The client was closed.
    Closed,
    /// A panic was caught: a bug in this library, or in the program's logger.
    Internal,
}

/// Why there is no token.
///
/// One failed request may be reported to many callers: they get clones of one error, with the same
/// [`occurred_at`](Error::occurred_at). Cloning is cheap. The message is one line, and contains
/// neither a secret nor a token.
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

    /// `after` counts from the time of the failure.
    pub(crate) fn with_retry_after(self, after: Duration) -> Error {
        self.change(|facts| facts.retry_after = Some(after))
    }

    /// For the error of another process's request.
    pub(crate) fn with_occurred(self, occurred: Now) -> Error {
        self.change(|facts| facts.occurred = occurred)
    }

    pub(crate) fn occurred(&self) -> Now {
        self.facts.occurred
    }

    /// The same error, for a call that sent no request.
    pub(crate) fn as_remembered(&self) -> Error {
        let message = format!("{self} (remembered from an earlier request)");
        let error = self.clone().change(|facts| facts.message = line(&message));
        Error { remembered: true, ..error }
    }

    fn change(mut self, change: impl FnOnce(&mut Facts)) -> Error {
        change(Arc::make_mut(&mut self.facts));
        self
    }

    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        self.facts.kind
    }

    /// The HTTP status of the response; 0 if there was no response.
    pub fn http_status(&self) -> u16 {
        self.facts.http_status
    }

    /// The vendor's `error_code`, or the OAuth `error` (RFC 6749, section 5.2), if the response had
    /// one. Control characters are replaced, and anything that could be the secret or a token.
    pub fn vendor_code(&self) -> Option<&str> {
        self.facts.vendor_code.as_ref().map(Text::as_str)
    }

    /// Whether the same request may succeed later, without a change of the configuration.
    pub fn is_retryable(&self) -> bool {
        self.facts.retryable
    }

    /// Whether the error comes from an earlier request, one that this call neither sent nor waited
    /// for.
    pub fn is_remembered(&self) -> bool {
        self.remembered
    }

    /// When the request failed, by the system clock.
    pub fn occurred_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.facts.occurred.wall
    }

    /// How long to wait, from now, before another call is useful; `None` if that time is over or
    /// unknown.
    pub fn retry_after(&self) -> Option<Duration> {
        let since = os::now().boot.saturating_sub(self.facts.occurred.boot);
        let rest = self.facts.retry_after?.saturating_sub(since);
        (!rest.is_zero()).then_some(rest)
    }

    /// The wait as of the time of the failure: the server's `Retry-After`, replaced by the cache's
    /// own wait once the cache has recorded the failure.
    pub(crate) fn initial_retry_after(&self) -> Option<Duration> {
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
