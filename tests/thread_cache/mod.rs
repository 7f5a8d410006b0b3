//! When a thread may use its own copy of the token without asking, by clocks that jump.

use std::time::Duration;

use super::*;
use crate::cache::TokenSource;
use crate::error::Error;
use crate::token::Grant;

struct OneToken;

impl TokenSource for OneToken {
    fn request(&self, _: Duration) -> Result<Grant, Error> {
        let token = Token::new("t", None, None);
        Ok(Grant { token, expires_in: Duration::from_secs(1800) })
    }

    fn secret_changed(&self) -> bool {
        false
    }
}

/// A cache whose token this thread keeps, with the clocks moved by so many seconds since.
fn kept(monotonic_moved: i64, wall_moved: i64) -> Cache {
    let cache = Cache::new(None);
    let served = cache.get(Duration::from_secs(1), &OneToken).expect("a token");
    let Coarse { monotonic, wall } = Coarse::now();
    ThreadCache::keep(
        served,
        Coarse {
            monotonic: monotonic - monotonic_moved * SECOND,
            wall: wall - wall_moved * SECOND,
        },
    );
    // As if it had not been looked at in this tick.
    THREAD_CACHE.with(|thread_cache| thread_cache.checked_at.set(0));
    cache
}

#[test]
fn a_copy_does_while_the_token_is_fresh_and_no_longer() {
    assert!(ThreadCache::token(&kept(0, 0)).is_some());
    // The token is fresh for 1470 s at least, 1620 s at most.
    assert!(ThreadCache::token(&kept(1460, 1460)).is_some());
    assert!(ThreadCache::token(&kept(1625, 1625)).is_none());
}

/// The lease of a new token that stays fresh for so many milliseconds, and its cache.
fn lease_of(fresh_ms: u64) -> (ServedToken, Cache) {
    let cache = Cache::new(None);
    let served = cache.get(Duration::from_secs(1), &OneToken).expect("a token");
    (ServedToken { fresh_for: Duration::from_millis(fresh_ms), ..served }, cache)
}

#[test]
fn within_the_last_second_the_precise_clocks_decide() {
    for (age_ms, is_given) in [(8000, true), (8900, true), (9100, false), (9900, false)] {
        let (served, cache) = lease_of(10_000);
        let Coarse { monotonic, wall } = Coarse::now();
        let age = age_ms * SECOND / 1000;
        ThreadCache::keep(served, Coarse { monotonic: monotonic - age, wall: wall - age });
        THREAD_CACHE.with(|thread_cache| thread_cache.checked_at.set(0));
        let given = ThreadCache::token(&cache).is_some();
        // A slow machine makes it older.
        let is_slow = coarse_monotonic() - monotonic > SECOND / 20;
        assert!(given == is_given || is_slow, "{age_ms}");
    }
}

#[test]
fn a_token_that_is_not_fresh_for_long_is_not_kept() {
    for fresh_ms in [0, 1, 1000] {
        let old = ThreadCache::token(&kept(0, 0)).expect("kept");
        let (served, cache) = lease_of(fresh_ms);
        ThreadCache::keep(served, Coarse::now());
        assert!(ThreadCache::token(&cache).is_none());
        assert_eq!(Arc::strong_count(&old), 1, "nor is the one before");
    }
}

/// Else another token could come to have its address, and be taken for it.
#[test]
fn the_token_of_the_cache_is_kept_with_the_copy() {
    let (served, _cache) = lease_of(10_000);
    let shared = Arc::downgrade(&served.token);
    let with_the_cache = shared.strong_count();
    ThreadCache::keep(served, Coarse::now());
    assert_eq!(shared.strong_count(), with_the_cache);
    ThreadCache::forget();
    assert_eq!(shared.strong_count(), with_the_cache - 1);
}

#[test]
fn a_suspend_and_a_wall_clock_that_is_set_are_noticed() {
    for wall_moved in [3600, 60, 2, -2, -60, -3600] {
        assert!(ThreadCache::token(&kept(0, wall_moved)).is_none(), "{wall_moved}");
    }
}

#[test]
fn a_copy_of_a_token_that_is_current_no_more_does_not_do() {
    let cache = kept(0, 0);
    cache.reject("t");
    assert!(ThreadCache::token(&cache).is_none());
    let cache = kept(0, 0);
    cache.close();
    assert!(ThreadCache::token(&cache).is_none());
    assert!(ThreadCache::token(&Cache::new(None)).is_none(), "of another client");
}

/// Its copy knows only when the parent is to refresh.
#[test]
fn the_forking_thread_asks_once_in_the_child() {
    let cache = kept(0, 0);
    let child = cache.for_child(None);
    assert!(ThreadCache::token(&child).is_none());
    ThreadCache::keep(child.cached().expect("a token"), Coarse::now());
    assert!(ThreadCache::token(&child).is_some());
    assert!(ThreadCache::token(&cache).is_none());
}

#[test]
fn every_thread_has_a_copy_of_its_own_that_goes_with_it() {
    let cache = Cache::new(None);
    let shared = cache.get(Duration::from_secs(1), &OneToken).expect("a token").token;
    let before = Arc::strong_count(&shared);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let served = cache.cached().expect("a token");
            let own = ThreadCache::keep(served, Coarse::now());
            assert!(!Arc::ptr_eq(&own, &shared));
            assert!(Arc::ptr_eq(&own, &ThreadCache::token(&cache).expect("kept")));
        });
        // The scope alone does not wait until what the thread had of its own is gone.
        thread.join().expect("no panic");
    });
    assert_eq!(Arc::strong_count(&shared), before);
}

#[test]
fn clocks_are_looked_at_again_as_soon_as_they_tick() {
    let cache = kept(0, 0);
    for _ in 0..3 {
        assert!(ThreadCache::token(&cache).is_some());
        let checked_at = THREAD_CACHE.with(|thread_cache| thread_cache.checked_at.get());
        while coarse_monotonic() == checked_at {}
        THREAD_CACHE.with(|thread_cache| {
            thread_cache.clock_difference.set(thread_cache.clock_difference.get() - 2 * SECOND)
        });
        assert!(ThreadCache::token(&cache).is_none(), "the wall clock was set");
        // Nor is what was found taken for good in the rest of this tick.
        assert!(ThreadCache::token(&cache).is_none());
        THREAD_CACHE.with(|thread_cache| {
            thread_cache.clock_difference.set(thread_cache.clock_difference.get() + 2 * SECOND)
        });
    }
}

#[cfg(feature = "capi")]
#[test]
fn what_was_given_back_is_given_again_without_counting() {
    let cache = kept(0, 0);
    let first = ThreadCache::token(&cache).expect("kept");
    let (one_out, address) = (Arc::strong_count(&first), Arc::as_ptr(&first));
    let counted = Arc::downgrade(&first);
    ThreadCache::take_back(first);
    assert_eq!(counted.strong_count(), one_out);
    for _ in 0..3 {
        let again = ThreadCache::token(&cache).expect("kept");
        assert_eq!((Arc::strong_count(&again), Arc::as_ptr(&again)), (one_out, address));
        let second = ThreadCache::token(&cache).expect("kept");
        assert_eq!(Arc::strong_count(&again), one_out + 1);
        // One is kept, the other let go of.
        ThreadCache::take_back(again);
        ThreadCache::take_back(second);
    }
    let last = ThreadCache::token(&cache).expect("kept");
    ThreadCache::take_back(last.clone());
    ThreadCache::forget();
    assert_eq!(Arc::strong_count(&last), 1, "nothing stays behind");
    ThreadCache::take_back(last.clone());
    assert_eq!(Arc::strong_count(&last), 1, "nor comes back later");
}

#[cfg(feature = "capi")]
#[test]
fn what_another_token_leaves_is_not_given_again() {
    let cache = kept(0, 0);
    let old = ThreadCache::token(&cache).expect("kept");
    let cache = kept(0, 0);
    ThreadCache::take_back(old.clone());
    assert_eq!(Arc::strong_count(&old), 1);
    assert!(!Arc::ptr_eq(&old, &ThreadCache::token(&cache).expect("kept")));
}

#[cfg(feature = "capi")]
#[test]
fn a_new_token_replaces_what_was_given_back() {
    let cache = kept(0, 0);
    let old = ThreadCache::token(&cache).expect("kept");
    ThreadCache::take_back(old.clone());
    let cache = kept(0, 0);
    assert_eq!(Arc::strong_count(&old), 1);
    assert!(!Arc::ptr_eq(&old, &ThreadCache::token(&cache).expect("kept")));
}
