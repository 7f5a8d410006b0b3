//! Access tokens for the management APIs of Huawei Cloud OneAccess (also sold as Bamboocloud), kept
//! fresh: blocking, for programs with threads.
//!
//! ```no_run
//! use oneaccess::{Client, Config};
//!
//! let config = Config::new("example.huaweioneaccess.com", "client-id", "client-secret");
//! let client = Client::new(&config)?;
//! // Before every use, from any thread: mostly from memory.
//! let token = client.token()?;
//! println!("Authorization: {}", token.authorization());
//! # Ok::<(), oneaccess::Error>(())
//! ```
//!
//! [`Config`] holds the settings, [`Client`] gives a [`Token`] or an [`Error`]. A client starts no
//! thread, except that a name lookup under a deadline borrows one, and can be used by the child of a
//! `fork` (Linux).
//!
//! Events go to the [`log`] facade below the target `oneaccess`, without secrets. Cap the targets
//! `ureq` and `ureq_proto` at debug: at trace they show answers, tokens included.
//!
//! # Features
//! `capi` (default): the C ABI of `include/oneaccess.h`. Rust programs want `default-features = false`:
//! a shared library that depends on this crate would otherwise export our C symbols as its own.
#![warn(missing_docs)]

mod cache;
mod client;
mod config;
mod endpoint;
mod error;
mod exchange;
#[cfg(feature = "capi")]
mod ffi;
mod file;
mod os;
mod redact;
mod secret;
mod thread_cache;
mod token;
mod transport;

pub use client::{Client, Stat};
pub use config::Config;
pub use error::{Error, ErrorKind};
pub use token::Token;

/// What the fuzz targets of `tests/fuzz` call.
#[cfg(fuzzing)]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod fuzzing {
    pub use crate::exchange::fuzz_answer as answer;

    pub fn endpoint(text: &str) -> Option<(String, u16)> {
        let endpoint = crate::endpoint::Endpoint::parse(text).ok()?;
        Some((endpoint.host().to_owned(), endpoint.port()))
    }
}
