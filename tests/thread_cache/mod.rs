//! When a thread may use its copy of the token without asking the cache, with clocks that jump.

use std::time::Duration;

use super::*;
use crate::cache::TokenSource;
use crate::error::Error;
use crate::token::Grant;

struct OneTokenSource;

impl TokenSource for OneTokenSource {
    fn request(&self, _: Duration, _: Option<&Token>) -> Result<Grant, Error> {
        let token = Token::new("t", None, None);
        Ok(Grant { token, expires_in: Duration::from_secs(1800) })
    }

    fn secret_changed(&self) -> bool {
        false
    }
}

/// The address of most tests' only client.
const CLIENT: usize = 0x1000;

fn new_cache() -> (ServedToken, Cache) {
    let cache = Cache::new(None);
    (cache.get(Duration::from_secs(1), &OneTokenSource).expect("a token"), cache)
}

/// A cache whose token this thread has kept, and since then each clock has moved by so many
/// seconds.
fn kept(monotonic_moved: i64, wall_moved: i64) -> Cache {
    kept_of(CLIENT, monotonic_moved, wall_moved)
}

fn kept_of(client: usize, monotonic_moved: i64, wall_moved: i64) -> Cache {
    let (served, cache) = new_cache();
    let Coarse { monotonic, wall } = Coarse::now();
    ThreadCache::keep(
        client,
        served,
        Coarse {
            monotonic: monotonic - monotonic_moved * SECOND,
            wall: wall - wall_moved * SECOND,
        },
    );
    expire_clock_checks();
    cache
}

/// As if the clocks had not been checked in this tick.
fn expire_clock_checks() {
    with_entries(|entry| entry.checked_at.set(entry.checked_at.get().min(1)));
}

/// Of the tokens that this thread keeps.
fn with_entries(work: impl Fn(&Entry)) {
    THREAD_CACHE.with(|thread_cache| thread_cache.entries.iter().for_each(work));
}

#[test]
fn copy_is_used_only_while_token_is_fresh() {
    assert!(ThreadCache::token(&kept(0, 0)).is_some());
    // The token stays fresh for 1470 to 1620 s, as its random refresh window says.
    assert!(ThreadCache::token(&kept(1460, 1460)).is_some());
    assert!(ThreadCache::token(&kept(1625, 1625)).is_none());
}

/// A new token, which counts as fresh for so many milliseconds, and its cache.
fn token_fresh_for(fresh_ms: u64) -> (ServedToken, Cache) {
    let (served, cache) = new_cache();
    (ServedToken { fresh_for: Duration::from_millis(fresh_ms), ..served }, cache)
}

#[test]
fn precise_clocks_decide_in_last_second() {
    for (age_ms, is_given) in [(8000, true), (8900, true), (9100, false), (9900, false)] {
        let (served, cache) = token_fresh_for(10_000);
        let Coarse { monotonic, wall } = Coarse::now();
        let age = age_ms * SECOND / 1000;
        ThreadCache::keep(CLIENT, served, Coarse { monotonic: monotonic - age, wall: wall - age });
        expire_clock_checks();
        let given = ThreadCache::token(&cache).is_some();
        // On a slow machine the token may have become older than `age`.
        let is_slow = coarse_monotonic() - monotonic > SECOND / 20;
        assert!(given == is_given || is_slow, "{age_ms}");
    }
}

#[test]
fn token_fresh_for_a_second_is_not_kept() {
    for fresh_ms in [0, 1, 1000] {
        let old = ThreadCache::token(&kept(0, 0)).expect("kept");
        let (served, cache) = token_fresh_for(fresh_ms);
        ThreadCache::keep(CLIENT, served, Coarse::now());
        assert!(ThreadCache::token(&cache).is_none());
        assert_eq!(Arc::strong_count(&old), 1, "the token before is not kept either");
    }
}

/// Otherwise a later token could be allocated at its address and be mistaken for it.
#[test]
fn address_of_shared_token_stays_in_use() {
    let (served, _cache) = token_fresh_for(10_000);
    let shared = served.token.clone();
    let before = Arc::strong_count(&shared);
    ThreadCache::keep(CLIENT, served, Coarse::now());
    assert_eq!((Arc::strong_count(&shared), Arc::weak_count(&shared)), (before - 1, 1));
    ThreadCache::forget(CLIENT);
    assert_eq!(Arc::weak_count(&shared), 0);
}

#[test]
fn suspend_and_set_wall_clock_are_noticed() {
    for wall_moved in [3600, 60, 2, -2, -60, -3600] {
        assert!(ThreadCache::token(&kept(0, wall_moved)).is_none(), "{wall_moved}");
    }
}

#[test]
fn copy_is_used_only_while_token_is_current() {
    let cache = kept(0, 0);
    cache.reject("t");
    assert!(ThreadCache::token(&cache).is_none());
    let cache = kept(0, 0);
    cache.close();
    assert!(ThreadCache::token(&cache).is_none());
    assert!(ThreadCache::token(&Cache::new(None)).is_none(), "of another client");
}

/// The copy has the refresh window of the parent, and the child has another.
#[test]
fn copy_from_the_parent_is_not_used_in_child() {
    let cache = kept(0, 0);
    let child = cache.for_child(None);
    assert!(ThreadCache::token(&child).is_none());
    ThreadCache::keep(CLIENT, child.cached().expect("a token"), Coarse::now());
    assert!(ThreadCache::token(&child).is_some());
    assert!(ThreadCache::token(&cache).is_none());
}

#[test]
fn thread_keeps_a_token_of_each_of_8_clients() {
    let caches: Vec<Cache> = (1..=8).map(|client| kept_of(client, 0, 0)).collect();
    let copies: Vec<_> = caches.iter().filter_map(ThreadCache::token).collect();
    for (cache, copy) in caches.iter().zip(&copies) {
        assert!(Arc::ptr_eq(copy, &ThreadCache::token(cache).expect("kept")));
    }
    assert_eq!(copies.len(), 8);
    // The token that was used least recently makes room for that of another client.
    with_entries(|entry| {
        if entry.client.get() == 5 {
            entry.checked_at.set(1);
        }
    });
    let ninth = kept_of(9, 0, 0);
    let is_kept = |cache: &Cache| ThreadCache::token(cache).is_some();
    let kept: Vec<bool> = caches.iter().map(is_kept).collect();
    assert_eq!(kept, [true, true, true, true, false, true, true, true]);
    assert!(is_kept(&ninth) && Arc::strong_count(&copies[4]) == 1);
}

#[test]
fn forgetting_one_client_keeps_other_tokens() {
    let caches: Vec<Cache> = (1..=3).map(|client| kept_of(client, 0, 0)).collect();
    let copy = ThreadCache::token(&caches[1]).expect("kept");
    ThreadCache::forget(2);
    let kept = caches.iter().map(|cache| ThreadCache::token(cache).is_some());
    assert_eq!(kept.collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(Arc::strong_count(&copy), 1);
}

/// What another thread has freed is noticed at the next tick, or at the next new token.
#[test]
fn token_is_dropped_after_its_client_dropped_it() {
    for new_token in [false, true] {
        let (freed, used) = (kept_of(1, 0, 0), kept_of(2, 0, 0));
        let copy = ThreadCache::token(&freed).expect("kept");
        drop(freed);
        assert_eq!(Arc::strong_count(&copy), 2);
        match new_token {
            true => drop(kept_of(3, 0, 0)),
            false => assert!(ThreadCache::token(&used).is_some()),
        }
        assert_eq!(Arc::strong_count(&copy), 1);
    }
}

#[test]
fn client_at_address_of_another_gets_no_token() {
    drop(kept(0, 0));
    let (served, cache) = new_cache();
    assert!(ThreadCache::token(&cache).is_none());
    let own = ThreadCache::keep(CLIENT, served, Coarse::now());
    assert!(Arc::ptr_eq(&own, &ThreadCache::token(&cache).expect("kept")));
    let kept = std::cell::Cell::new(0);
    with_entries(|entry| kept.set(kept.get() + (entry.client.get() == CLIENT) as u32));
    assert_eq!(kept.get(), 1);
}

#[test]
fn each_thread_has_a_copy_until_it_ends() {
    let cache = Cache::new(None);
    let shared = cache.get(Duration::from_secs(1), &OneTokenSource).expect("a token").token;
    let before = Arc::strong_count(&shared);
    let copy = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let served = cache.cached().expect("a token");
            let own = ThreadCache::keep(CLIENT, served, Coarse::now());
            assert!(!Arc::ptr_eq(&own, &shared));
            assert!(Arc::ptr_eq(&own, &ThreadCache::token(&cache).expect("kept")));
            Arc::downgrade(&own)
        });
        // Only `join` waits until the thread's local values are dropped; the scope does not.
        thread.join().expect("no panic")
    });
    assert_eq!((Arc::strong_count(&shared), Arc::weak_count(&shared)), (before, 0));
    assert_eq!(copy.strong_count(), 0);
}

#[test]
fn clocks_are_rechecked_at_each_tick() {
    let cache = kept(0, 0);
    let set_wall_clock = |by: i64| {
        with_entries(|entry| entry.clock_difference.set(entry.clock_difference.get() - by))
    };
    for _ in 0..3 {
        assert!(ThreadCache::token(&cache).is_some());
        let tick = coarse_monotonic();
        while coarse_monotonic() == tick {}
        set_wall_clock(2 * SECOND);
        assert!(ThreadCache::token(&cache).is_none(), "the wall clock was set");
        // A check that failed is repeated, even within the same tick.
        assert!(ThreadCache::token(&cache).is_none());
        set_wall_clock(-2 * SECOND);
    }
}

#[cfg(feature = "capi")]
#[test]
fn returned_reference_is_reused_without_counting() {
    let cache = kept(0, 0);
    let first = ThreadCache::token(&cache).expect("kept");
    let (one_in_use, address) = (Arc::strong_count(&first), Arc::as_ptr(&first));
    let counted = Arc::downgrade(&first);
    ThreadCache::take_back(first);
    assert_eq!(counted.strong_count(), one_in_use);
    for _ in 0..3 {
        let again = ThreadCache::token(&cache).expect("kept");
        assert_eq!((Arc::strong_count(&again), Arc::as_ptr(&again)), (one_in_use, address));
        let second = ThreadCache::token(&cache).expect("kept");
        assert_eq!(Arc::strong_count(&again), one_in_use + 1);
        // One is kept as the spare, the other dropped.
        ThreadCache::take_back(again);
        ThreadCache::take_back(second);
    }
    let last = ThreadCache::token(&cache).expect("kept");
    ThreadCache::take_back(last.clone());
    ThreadCache::forget(CLIENT);
    assert_eq!(Arc::strong_count(&last), 1, "the spare reference is dropped");
    ThreadCache::take_back(last.clone());
    assert_eq!(Arc::strong_count(&last), 1, "a later one is not kept");
}

#[cfg(feature = "capi")]
#[test]
fn returned_reference_to_old_token_is_dropped() {
    let cache = kept(0, 0);
    let old = ThreadCache::token(&cache).expect("kept");
    let cache = kept(0, 0);
    ThreadCache::take_back(old.clone());
    assert_eq!(Arc::strong_count(&old), 1);
    assert!(!Arc::ptr_eq(&old, &ThreadCache::token(&cache).expect("kept")));
}

#[cfg(feature = "capi")]
#[test]
fn new_token_drops_the_spare_reference() {
    let cache = kept(0, 0);
    let old = ThreadCache::token(&cache).expect("kept");
    ThreadCache::take_back(old.clone());
    let cache = kept(0, 0);
    assert_eq!(Arc::strong_count(&old), 1);
    assert!(!Arc::ptr_eq(&old, &ThreadCache::token(&cache).expect("kept")));
}
