//! Gets access tokens for the management APIs of Huawei Cloud OneAccess (also sold as Bamboocloud)
//! and keeps them fresh. Blocking, for programs with threads.
//!
//! ```no_run
//! use oneaccess::{Client, Config};
//!
//! let config = Config::new("example.huaweioneaccess.com", "client-id", "client-secret");
//! let client = Client::new(&config)?;
//! // Before every use, from any thread. It almost always returns the cached token.
//! let token = client.token()?;
//! println!("Authorization: {}", token.authorization());
//! # Ok::<(), oneaccess::Error>(())
//! ```
//!
//! [`Config`] has the settings. A [`Client`] made from it returns a [`Token`] or an [`Error`]. It
//! has no background thread; only a name lookup runs on a thread of its own, which the call gives
//! up at its timeout. The child of a `fork` can go on using a client (Linux).
//!
//! # Logging
//! Events are logged through the [`log`] facade, under targets that begin with `oneaccess`, without
//! secrets. Limit the targets `ureq` and `ureq_proto` to `debug`: at `trace` they log whole
//! responses, including tokens.
//!
//! # Features
//! `capi` (default): the C ABI of `include/oneaccess.h`. Rust programs should set
//! `default-features = false`: otherwise a shared library that depends on this crate exports the C
//! functions too.
//! `redis` (default): the shared store in a Redis or Valkey server.
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
mod settings;
mod store;
mod thread_cache;
mod token;
mod transport;

pub use client::{Client, Stat};
pub use config::Config;
pub use error::{Error, ErrorKind};
pub use token::Token;

/// Entry points for the fuzz targets in `tests/fuzz`.
#[cfg(fuzzing)]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod fuzzing {
    pub use crate::exchange::fuzz_answer as answer;
    pub use crate::store::fuzz_replies as replies;

    pub fn endpoint(text: &str) -> Option<(String, u16)> {
        let endpoint = crate::endpoint::Endpoint::parse(text).ok()?;
        Some((endpoint.host().to_owned(), endpoint.port()))
    }
}
