//! Access tokens of Huawei Cloud OneAccess (also sold as Bamboocloud), kept fresh.

mod cache;
mod client;
mod config;
mod error;
mod exchange;
#[cfg(feature = "capi")]
mod ffi;
mod redact;
mod secret;
mod system;
mod token;
mod transport;

pub use client::{Client, Stat};
pub use config::Config;
pub use error::{Error, ErrorKind};
pub use token::Token;
