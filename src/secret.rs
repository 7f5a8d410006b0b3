//! Text that is wiped when dropped and never shown by `Debug`, and its encodings.
//!
//! Every buffer for a secret is allocated at its final size: a buffer that grows is moved, and
//! leaves a copy of the secret in the memory that it no longer uses.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use zeroize::Zeroizing;

/// UTF-8 text with a terminating NUL, so that `ffi` can lend it to C without a copy.
#[derive(Clone)]
pub(crate) struct Text(Zeroizing<Box<str>>);

impl Text {
    /// `None` if the text contains a NUL, which would cut it short in C.
    pub fn new(text: &str) -> Option<Text> {
        if text.contains('\0') {
            return None;
        }
        let mut terminated = String::with_capacity(text.len() + 1);
        terminated.push_str(text);
        terminated.push('\0');
        Some(Text(Zeroizing::new(terminated.into_boxed_str())))
    }

    pub fn as_str(&self) -> &str {
        &self.0[..self.0.len() - 1]
    }

    /// The NUL-terminated bytes, valid until `self` is dropped.
    #[cfg(feature = "capi")]
    pub fn as_ptr(&self) -> *const std::ffi::c_char {
        self.0.as_ptr().cast()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

pub(crate) fn percent_encode(text: &str, set: &'static AsciiSet) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(3 * text.len()));
    encoded.extend(utf8_percent_encode(text, set));
    encoded
}

pub(crate) fn base64(text: &str) -> Zeroizing<String> {
    // `encode_string` would copy through a buffer on the stack, which it does not wipe.
    let mut encoded = Zeroizing::new(vec![0; 4 * text.len().div_ceil(3)]);
    let length =
        BASE64_STANDARD.encode_slice(text, &mut encoded).expect("the buffer is large enough");
    debug_assert_eq!(length, encoded.len());
    Zeroizing::new(String::from_utf8(std::mem::take(&mut *encoded)).expect("base64 is ASCII"))
}

// The tests read the memory of another process.
#[cfg(all(test, target_os = "linux"))]
#[path = "../tests/secret/mod.rs"]
mod tests;
