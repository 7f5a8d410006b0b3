//! The short path of a cached token: what a thread was given last it is given again, as long as that
//! does. It shares no counter and no lock with other threads: what they do share is only read.

use std::cell::Cell;
use std::sync::Arc;

use crate::cache::{Cache, FreshToken, address};
use crate::os::{Coarse, coarse_monotonic};
use crate::token::Token;

const SECOND: i64 = 1_000_000_000;

thread_local! {
    static THREAD_CACHE: ThreadCache = const { ThreadCache::none() };
}

/// The token that this thread was given last, until it asks again or ends; one only, whatever the
/// number of clients.
pub(crate) struct ThreadCache {
    /// The cache's, kept so that no other token can come to have its address, by which it is known.
    shared: Cell<Option<Arc<Token>>>,
    shared_address: Cell<usize>,
    /// This thread's own copy, with a reference count of its own.
    own: Cell<Option<Arc<Token>>>,
    handle_address: Cell<usize>,
    /// A count of it that came back, for the next who asks.
    spare: Cell<Option<Arc<Token>>>,
    /// By the coarse clocks, in nanoseconds: until when it is certainly fresh, and what lay between
    /// the wall clock and the other one. A clock that was set, and a suspend, change that.
    fresh_until: Cell<i64>,
    clock_difference: Cell<i64>,
    /// When both were looked at. They tick together: until the one moves the other has not either.
    checked_at: Cell<i64>,
}

impl ThreadCache {
    const fn none() -> ThreadCache {
        ThreadCache {
            shared: Cell::new(None),
            shared_address: Cell::new(0),
            own: Cell::new(None),
            handle_address: Cell::new(0),
            spare: Cell::new(None),
            fresh_until: Cell::new(0),
            clock_difference: Cell::new(0),
            checked_at: Cell::new(0),
        }
    }

    /// What the cache would give, without asking it.
    #[inline]
    pub fn token(cache: &Cache) -> Option<Arc<Token>> {
        // While the thread ends there is none.
        THREAD_CACHE.try_with(|thread_cache| thread_cache.given(cache)).ok()?
    }

    #[inline]
    fn given(&self, cache: &Cache) -> Option<Arc<Token>> {
        let address = self.shared_address.get();
        let is_current = address != 0 && cache.current() == address && self.is_fresh();
        if is_current { self.spare.take().or_else(|| self.new_handle()) } else { None }
    }

    #[cold]
    fn new_handle(&self) -> Option<Arc<Token>> {
        let own = self.own.take();
        self.own.set(own.clone());
        own
    }

    #[inline]
    fn is_fresh(&self) -> bool {
        coarse_monotonic() == self.checked_at.get() || self.recheck_clocks()
    }

    #[cold]
    fn recheck_clocks(&self) -> bool {
        let Coarse { monotonic, wall } = Coarse::now();
        let clock_difference = wall - monotonic;
        let fresh = monotonic < self.fresh_until.get()
            && (clock_difference - self.clock_difference.get()).abs() < SECOND;
        if fresh {
            self.checked_at.set(monotonic);
        }
        fresh
    }

    /// Remembers a lease that lasts; gives its token. `clocks`: from before it was asked for, so that
    /// no time is lost between.
    pub fn keep(fresh_token: FreshToken, clocks: Coarse) -> Arc<Token> {
        // Within the last second the precise clocks decide.
        let nanoseconds = i64::try_from(fresh_token.fresh_for.as_nanos()).unwrap_or(i64::MAX / 2);
        if nanoseconds <= SECOND {
            ThreadCache::forget();
            return fresh_token.token;
        }
        let own = Arc::new(Token::clone(&fresh_token.token));
        let _ = THREAD_CACHE.try_with(|thread_cache| {
            thread_cache.shared_address.set(address(&fresh_token.token));
            thread_cache.shared.set(Some(fresh_token.token));
            thread_cache.handle_address.set(address(&own));
            thread_cache.own.set(Some(own.clone()));
            thread_cache.spare.set(None);
            thread_cache.fresh_until.set(clocks.monotonic + nanoseconds - SECOND);
            thread_cache.clock_difference.set(clocks.wall - clocks.monotonic);
            thread_cache.checked_at.set(clocks.monotonic);
        });
        own
    }

    /// Lets go of a token, unless this thread may be given it again.
    #[cfg(feature = "capi")]
    #[inline]
    pub fn take_back(token: Arc<Token>) {
        let _ = THREAD_CACHE.try_with(|thread_cache| {
            if thread_cache.handle_address.get() == address(&token) {
                thread_cache.spare.set(Some(token));
            }
        });
    }

    /// Lets go of this thread's token.
    pub fn forget() {
        let _ = THREAD_CACHE.try_with(|thread_cache| {
            thread_cache.shared_address.set(0);
            thread_cache.handle_address.set(0);
            for token in [&thread_cache.shared, &thread_cache.own, &thread_cache.spare] {
                token.set(None);
            }
        });
    }
}

#[cfg(test)]
#[path = "../tests/thread_cache/mod.rs"]
mod tests;
