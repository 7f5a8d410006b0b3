//! [`Token`]: an access token and what came with it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::secret::Text;

const SCHEME: &str = "Bearer ";

/// An access token. Immutable; can be shared by threads.
///
/// The text is wiped from memory when the last reference is dropped. The client holds a reference
/// until it has another token; a thread that got the token holds one until it gets a token after
/// that, or ends. The buffers in which TLS decrypted the response are freed without being wiped.
#[derive(Clone)]
pub struct Token {
    texts: Arc<Texts>,
    expires_at: SystemTime,
}

struct Texts {
    authorization: Text,
    scope: Option<Text>,
    id_token: Option<Text>,
}

/// A successful response of the token endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub token: Token,
    pub expires_in: Duration,
}

impl Token {
    /// `access_token` must be visible ASCII. An optional field that contains a NUL is left out,
    /// since C could not read it.
    pub(crate) fn new(access_token: &str, scope: Option<&str>, id_token: Option<&str>) -> Token {
        let authorization = zeroize::Zeroizing::new([SCHEME, access_token].concat());
        Token {
            texts: Arc::new(Texts {
                authorization: Text::new(&authorization).expect("visible ASCII has no NUL"),
                scope: scope.and_then(Text::new),
                id_token: id_token.and_then(Text::new),
            }),
            expires_at: SystemTime::UNIX_EPOCH,
        }
    }

    /// The same token with another expiry, as the time since the Unix epoch.
    pub(crate) fn expiring_at(&self, since_epoch: Duration) -> Token {
        Token { texts: self.texts.clone(), expires_at: SystemTime::UNIX_EPOCH + since_epoch }
    }

    /// The access token itself, without the scheme `Bearer`.
    pub fn access_token(&self) -> &str {
        &self.authorization()[SCHEME.len()..]
    }

    /// The value of an `Authorization` header: `Bearer`, a space and the access token (RFC 6750,
    /// section 2.1).
    pub fn authorization(&self) -> &str {
        self.texts.authorization.as_str()
    }

    /// Always `Bearer`: a response with another type is an error.
    pub fn token_type(&self) -> &str {
        "Bearer"
    }

    /// The `scope` of the response, if it had one.
    pub fn scope(&self) -> Option<&str> {
        self.texts.scope.as_ref().map(Text::as_str)
    }

    /// The `id_token` of the response, if it had one. It is neither decoded nor verified.
    pub fn id_token(&self) -> Option<&str> {
        self.texts.id_token.as_ref().map(Text::as_str)
    }

    /// When the token expires, by the system clock of this machine. A client replaces it earlier.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Of all texts together, in bytes.
    pub(crate) fn text_length(&self) -> usize {
        let texts = [Some(self.access_token()), self.scope(), self.id_token()];
        texts.into_iter().flatten().map(str::len).sum()
    }

    #[cfg(feature = "capi")]
    pub(crate) fn authorization_text(&self) -> &Text {
        &self.texts.authorization
    }

    #[cfg(feature = "capi")]
    pub(crate) fn access_token_ptr(&self) -> *const std::ffi::c_char {
        self.texts.authorization.as_ptr().wrapping_add(SCHEME.len())
    }

    #[cfg(feature = "capi")]
    pub(crate) fn scope_text(&self) -> Option<&Text> {
        self.texts.scope.as_ref()
    }

    #[cfg(feature = "capi")]
    pub(crate) fn id_token_text(&self) -> Option<&Text> {
        self.texts.id_token.as_ref()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("scope", &self.scope())
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
