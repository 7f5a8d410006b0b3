//! The short path of a cached token: what a thread was given last it is given again, as long as that
//! does. It shares no counter and no lock with other threads: what they do share is only read.

use std::cell::Cell;
use std::sync::Arc;

use crate::cache::{Cache, Lease, address};
use crate::system::{Coarse, coarse_monotonic};
use crate::token::Token;

const SECOND: i64 = 1_000_000_000;

thread_local! {
    static RECENT: Recent = const { Recent::none() };
}

/// The token that this thread was given last, until it asks again or ends; one only, whatever the
/// number of clients.
pub(crate) struct Recent {
    /// The cache's, kept so that no other token can come to have its address, by which it is known.
    shared: Cell<Option<Arc<Token>>>,
    shared_address: Cell<usize>,
    /// This thread's own copy, with a reference count of its own.
    own: Cell<Option<Arc<Token>>>,
    own_address: Cell<usize>,
    /// A count of it that came back, for the next who asks.
    spare: Cell<Option<Arc<Token>>>,
    /// By the coarse clocks, in nanoseconds: until when it is certainly fresh, and what lay between
    /// the wall clock and the other one. A clock that was set, and a suspend, change that.
    fresh_until: Cell<i64>,
    between_clocks: Cell<i64>,
    /// When both were looked at. They tick together: until the one moves the other has not either.
    looked: Cell<i64>,
}

impl Recent {
    const fn none() -> Recent {
        Recent {
            shared: Cell::new(None),
            shared_address: Cell::new(0),
            own: Cell::new(None),
            own_address: Cell::new(0),
            spare: Cell::new(None),
            fresh_until: Cell::new(0),
            between_clocks: Cell::new(0),
            looked: Cell::new(0),
        }
    }

    /// What the cache would give, without asking it.
    #[inline]
    pub fn token(cache: &Cache) -> Option<Arc<Token>> {
        // While the thread ends there is none.
        RECENT.try_with(|recent| recent.given(cache)).ok()?
    }

    #[inline]
    fn given(&self, cache: &Cache) -> Option<Arc<Token>> {
        let address = self.shared_address.get();
        let does = address != 0 && cache.current() == address && self.is_fresh();
        if does { self.spare.take().or_else(|| self.another()) } else { None }
    }

    #[cold]
    fn another(&self) -> Option<Arc<Token>> {
        let own = self.own.take();
        self.own.set(own.clone());
        own
    }

    #[inline]
    fn is_fresh(&self) -> bool {
        coarse_monotonic() == self.looked.get() || self.looks_fresh()
    }

    #[cold]
    fn looks_fresh(&self) -> bool {
        let Coarse { monotonic, wall } = Coarse::now();
        let between_clocks = wall - monotonic;
        let fresh = monotonic < self.fresh_until.get()
            && (between_clocks - self.between_clocks.get()).abs() < SECOND;
        if fresh {
            self.looked.set(monotonic);
        }
        fresh
    }

    /// Remembers a lease that lasts; gives its token. `clocks`: from before it was asked for, so that
    /// no time is lost between.
    pub fn keep(lease: Lease, clocks: Coarse) -> Arc<Token> {
        // Within the last second the precise clocks decide.
        let nanoseconds = i64::try_from(lease.fresh_for.as_nanos()).unwrap_or(i64::MAX / 2);
        if nanoseconds <= SECOND {
            Recent::forget();
            return lease.token;
        }
        let own = Arc::new(Token::clone(&lease.token));
        let _ = RECENT.try_with(|recent| {
            recent.shared_address.set(address(&lease.token));
            recent.shared.set(Some(lease.token));
            recent.own_address.set(address(&own));
            recent.own.set(Some(own.clone()));
            recent.spare.set(None);
            recent.fresh_until.set(clocks.monotonic + nanoseconds - SECOND);
            recent.between_clocks.set(clocks.wall - clocks.monotonic);
            recent.looked.set(clocks.monotonic);
        });
        own
    }

    /// Lets go of a token, unless this thread may be given it again.
    #[cfg(feature = "capi")]
    #[inline]
    pub fn take_back(token: Arc<Token>) {
        let _ = RECENT.try_with(|recent| {
            if recent.own_address.get() == address(&token) {
                recent.spare.set(Some(token));
            }
        });
    }

    /// Lets go of this thread's token.
    pub fn forget() {
        let _ = RECENT.try_with(|recent| {
            recent.shared_address.set(0);
            recent.own_address.set(0);
            for token in [&recent.shared, &recent.own, &recent.spare] {
                token.set(None);
            }
        });
    }
}

#[cfg(test)]
#[path = "../tests/recent/mod.rs"]
mod tests;
