//! The fast path: each thread remembers the token that it got last, and uses it again while the
//! token is current and fresh.
//!
//! This path takes no lock and writes no memory that threads share, not even a reference count:
//! with 64 threads the cache line of one shared count would travel between 64 cores at each call.
//! It only reads the cache's `current_address`, which changes once in a token's life, and a coarse
//! clock.

use std::cell::Cell;
use std::sync::Arc;

use crate::cache::{Cache, ServedToken, address};
use crate::os::{Coarse, coarse_monotonic};
use crate::token::Token;

const SECOND: i64 = 1_000_000_000;

thread_local! {
    static THREAD_CACHE: ThreadCache = const { ThreadCache::empty() };
}

/// The token that this thread got last. It is one for all clients: a thread that uses two in turn
/// takes the slow path each time.
pub(crate) struct ThreadCache {
    /// The cache's token, and its address, which tells whether it is still current. The reference
    /// keeps the address in use: otherwise it could be freed, a later token allocated there, and
    /// that one mistaken for this one.
    shared: Cell<Option<Arc<Token>>>,
    shared_address: Cell<usize>,
    /// This thread's copy of the token, which callers get. Its reference count is not shared.
    copy: Cell<Option<Arc<Token>>>,
    copy_address: Cell<usize>,
    /// A reference to the copy that a caller gave back, for the next caller. It saves counting up
    /// and down: a program that gets and frees a token in turn changes no count at all.
    spare: Cell<Option<Arc<Token>>>,
    /// Until when the token is certainly fresh, by the coarse monotonic clock in nanoseconds.
    fresh_until: Cell<i64>,
    /// The wall clock minus the monotonic one when the token was kept. Example: the machine was
    /// suspended for an hour; the monotonic clock stood still, and the difference has grown by an
    /// hour. It changes too when the wall clock is set. In both cases the token may no longer be
    /// fresh.
    clock_difference: Cell<i64>,
    /// The monotonic time of the last check of both clocks. They advance at the same ticks: while
    /// one has not moved, neither has the other, so that it is enough to read one.
    checked_at: Cell<i64>,
}

impl ThreadCache {
    const fn empty() -> ThreadCache {
        ThreadCache {
            shared: Cell::new(None),
            shared_address: Cell::new(0),
            copy: Cell::new(None),
            copy_address: Cell::new(0),
            spare: Cell::new(None),
            fresh_until: Cell::new(0),
            clock_difference: Cell::new(0),
            checked_at: Cell::new(0),
        }
    }

    /// The token that `cache` would give, if this thread has it and knows it to be fresh.
    #[inline]
    pub fn token(cache: &Cache) -> Option<Arc<Token>> {
        // While a thread ends, its thread-local values are gone, but other destructors may call
        // this.
        THREAD_CACHE.try_with(|thread_cache| thread_cache.get(cache)).ok()?
    }

    #[inline]
    fn get(&self, cache: &Cache) -> Option<Arc<Token>> {
        let address = self.shared_address.get();
        let is_current = address != 0 && cache.current_address() == address;
        if is_current && self.is_fresh() {
            self.spare.take().or_else(|| self.new_reference())
        } else {
            None
        }
    }

    #[cold]
    fn new_reference(&self) -> Option<Arc<Token>> {
        let copy = self.copy.take();
        self.copy.set(copy.clone());
        copy
    }

    #[inline]
    fn is_fresh(&self) -> bool {
        coarse_monotonic() == self.checked_at.get() || self.recheck_clocks()
    }

    #[cold]
    fn recheck_clocks(&self) -> bool {
        let Coarse { monotonic, wall } = Coarse::now();
        let clock_difference = wall - monotonic;
        // A small difference comes from NTP, which slews the wall clock; a second or more from a
        // suspend or a clock that was set.
        let is_fresh = monotonic < self.fresh_until.get()
            && (clock_difference - self.clock_difference.get()).abs() < SECOND;
        if is_fresh {
            self.checked_at.set(monotonic);
        }
        is_fresh
    }

    /// Keeps a token from the cache for this thread, and returns this thread's copy. `clocks` were
    /// read before the cache was asked: the time that this took must not make the token appear
    /// fresh longer.
    pub fn keep(served: ServedToken, clocks: Coarse) -> Arc<Token> {
        // The coarse clocks are some milliseconds late, and a wall clock that is set by less than a
        // second goes unnoticed. So in the last second the cache decides, with its precise clocks.
        let nanoseconds = i64::try_from(served.fresh_for.as_nanos()).unwrap_or(i64::MAX / 2);
        if nanoseconds <= SECOND {
            ThreadCache::forget();
            return served.token;
        }
        let copy = Arc::new(Token::clone(&served.token));
        let _ = THREAD_CACHE.try_with(|thread_cache| {
            thread_cache.shared_address.set(address(&served.token));
            thread_cache.shared.set(Some(served.token));
            thread_cache.copy_address.set(address(&copy));
            thread_cache.copy.set(Some(copy.clone()));
            thread_cache.spare.set(None);
            thread_cache.fresh_until.set(clocks.monotonic + nanoseconds - SECOND);
            thread_cache.clock_difference.set(clocks.wall - clocks.monotonic);
            thread_cache.checked_at.set(clocks.monotonic);
        });
        copy
    }

    /// Drops a reference to a token, or keeps it as the spare one if it is to this thread's copy.
    #[cfg(feature = "capi")]
    #[inline]
    pub fn take_back(token: Arc<Token>) {
        let _ = THREAD_CACHE.try_with(|thread_cache| {
            if thread_cache.copy_address.get() == address(&token) {
                thread_cache.spare.set(Some(token));
            }
        });
    }

    /// Drops this thread's token.
    pub fn forget() {
        let _ = THREAD_CACHE.try_with(|thread_cache| {
            thread_cache.shared_address.set(0);
            thread_cache.copy_address.set(0);
            for token in [&thread_cache.shared, &thread_cache.copy, &thread_cache.spare] {
                token.set(None);
            }
        });
    }
}

#[cfg(test)]
#[path = "../tests/thread_cache/mod.rs"]
mod tests;
