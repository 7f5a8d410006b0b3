//! What the connectors share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How often a wait checks whether the client was closed.
pub(super) const CLOSE_CHECK: Duration = Duration::from_millis(20);

#[derive(Clone)]
pub(super) struct Context {
    /// Scheme, host and port of the proxy, if there is one.
    pub proxy: Option<Arc<str>>,
    pub closed: Arc<AtomicBool>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}
