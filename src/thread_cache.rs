//! The fast path: each thread remembers the token that it got last from each client, and uses it
//! again while the token is current and fresh.
//!
//! This path takes no lock and writes no memory that threads share, not even a reference count:
//! with 64 threads the cache line of one shared count would travel between 64 cores at each call.
//! It only reads the cache's `current_address`, which changes once in a token's life, and a coarse
//! clock.

use std::cell::Cell;
use std::sync::{Arc, Weak};

use crate::cache::{Cache, ServedToken, address};
use crate::os::{Coarse, coarse_monotonic};
use crate::token::Token;

const SECOND: i64 = 1_000_000_000;
/// A thread that uses more clients in turn takes the slow path for some of them.
const MAX_CLIENTS: usize = 8;

thread_local! {
    static THREAD_CACHE: ThreadCache = const { ThreadCache::empty() };
}

/// The tokens that this thread got last.
pub(crate) struct ThreadCache {
    entries: [Entry; MAX_CLIENTS],
}

/// The token that this thread got last from one client.
struct Entry {
    /// The address of the client. It only tells which token a new one replaces: another client, or
    /// the same one in the child of a fork, may have this address too.
    client: Cell<usize>,
    /// The cache's token, and its address, which tells whether it is still current. The reference
    /// keeps the address in use: otherwise it could be freed, a later token allocated there, and
    /// that one mistaken for this one. It is weak to show when the client no longer has the token.
    shared: Cell<Option<Weak<Token>>>,
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
        ThreadCache { entries: [const { Entry::empty() }; MAX_CLIENTS] }
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
        let address = cache.current_address();
        let entry = self.find(|entry| entry.shared_address.get() == address)?;
        if address != 0 && (entry.is_checked() || self.recheck(entry)) {
            entry.spare.take().or_else(|| entry.new_reference())
        } else {
            None
        }
    }

    /// The first entry apart, because most threads have no other.
    #[inline]
    fn find(&self, is_wanted: impl Fn(&&Entry) -> bool) -> Option<&Entry> {
        let [first, others @ ..] = &self.entries;
        if is_wanted(&first) { Some(first) } else { others.iter().find(is_wanted) }
    }

    /// At each tick of the clocks.
    #[cold]
    fn recheck(&self, entry: &Entry) -> bool {
        self.forget_old();
        entry.recheck_clocks()
    }

    /// Keeps a token from the cache of a client for this thread, and returns this thread's copy.
    /// `clocks` were read before the cache was asked: the time that this took must not make the token
    /// appear fresh longer.
    pub fn keep(client: usize, served: ServedToken, clocks: Coarse) -> Arc<Token> {
        ThreadCache::forget(client);
        // The coarse clocks are some milliseconds late, and a wall clock that is set by less than a
        // second goes unnoticed. So in the last second the cache decides, with its precise clocks.
        let nanoseconds = i64::try_from(served.fresh_for.as_nanos()).unwrap_or(i64::MAX / 2);
        if nanoseconds <= SECOND {
            return served.token;
        }
        let copy = Arc::new(Token::clone(&served.token));
        let _ = THREAD_CACHE.try_with(|thread_cache| {
            // An empty entry, or else that of the client which this thread has not used for longest.
            let entries = &thread_cache.entries;
            let entry = entries.iter().min_by_key(|entry| entry.checked_at.get());
            let entry = entry.expect("more than none");
            entry.client.set(client);
            entry.shared_address.set(address(&served.token));
            entry.shared.set(Some(Arc::downgrade(&served.token)));
            entry.copy_address.set(address(&copy));
            entry.copy.set(Some(copy.clone()));
            entry.spare.set(None);
            entry.fresh_until.set(clocks.monotonic + nanoseconds - SECOND);
            entry.clock_difference.set(clocks.wall - clocks.monotonic);
            entry.checked_at.set(clocks.monotonic);
        });
        copy
    }

    /// Drops a reference to a token, or keeps it as the spare one if it is to one of this thread's
    /// copies.
    #[cfg(feature = "capi")]
    #[inline]
    pub fn take_back(token: Arc<Token>) {
        let _ = THREAD_CACHE.try_with(|thread_cache| {
            let address = address(&token);
            if let Some(entry) = thread_cache.find(|entry| entry.copy_address.get() == address) {
                entry.spare.set(Some(token));
            }
        });
    }

    /// Drops this thread's token of a client, and those that their clients no longer have.
    pub fn forget(client: usize) {
        let _ = THREAD_CACHE.try_with(|thread_cache| {
            thread_cache.forget_old();
            let entries = thread_cache.entries.iter();
            entries.filter(|entry| entry.client.get() == client).for_each(Entry::clear);
        });
    }

    /// Drops the tokens that their clients no longer have: they have another, or were freed.
    fn forget_old(&self) {
        self.entries.iter().filter(|entry| entry.is_old()).for_each(Entry::clear);
    }
}

impl Entry {
    const fn empty() -> Entry {
        Entry {
            client: Cell::new(0),
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

    fn clear(&self) {
        for number in [&self.client, &self.shared_address, &self.copy_address] {
            number.set(0);
        }
        self.shared.set(None);
        self.copy.set(None);
        self.spare.set(None);
        self.checked_at.set(0);
    }

    fn is_old(&self) -> bool {
        let shared = self.shared.take();
        let is_old = shared.as_ref().is_some_and(|shared| shared.strong_count() == 0);
        self.shared.set(shared);
        is_old
    }

    #[cold]
    fn new_reference(&self) -> Option<Arc<Token>> {
        let copy = self.copy.take();
        self.copy.set(copy.clone());
        copy
    }

    #[inline]
    fn is_checked(&self) -> bool {
        coarse_monotonic() == self.checked_at.get()
    }

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
}

#[cfg(test)]
#[path = "../tests/thread_cache/mod.rs"]
mod tests;
