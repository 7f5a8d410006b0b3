//! When a thread may use its own copy of the token without asking, by clocks that jump.

use super::*;

struct OneToken;

impl Source for OneToken {
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
    let lease = cache.get(Duration::from_secs(1), &OneToken).expect("a token");
    let (monotonic, wall) = system::coarse_clocks();
    let clocks = (monotonic - monotonic_moved * SECOND, wall - wall_moved * SECOND);
    Recent::keep(lease, clocks);
    cache
}

#[test]
fn a_copy_does_while_the_token_is_fresh_and_no_longer() {
    assert!(Recent::token(&kept(0, 0)).is_some());
    // The token is fresh for 1470 s at least, 1620 s at most.
    assert!(Recent::token(&kept(1460, 1460)).is_some());
    assert!(Recent::token(&kept(1625, 1625)).is_none());
}

#[test]
fn a_suspend_and_a_wall_clock_that_is_set_are_noticed() {
    for wall_moved in [3600, 60, 2, -2, -60, -3600] {
        assert!(Recent::token(&kept(0, wall_moved)).is_none(), "{wall_moved}");
    }
}

#[test]
fn a_copy_of_a_token_that_is_current_no_more_does_not_do() {
    let cache = kept(0, 0);
    cache.reject("t");
    assert!(Recent::token(&cache).is_none());
    let cache = kept(0, 0);
    cache.close();
    assert!(Recent::token(&cache).is_none());
    assert!(Recent::token(&Cache::new(None)).is_none(), "of another client");
}

#[test]
fn the_child_of_a_fork_has_the_short_path_too() {
    let cache = kept(0, 0);
    assert!(Recent::token(&cache.for_child(None)).is_some());
    cache.reject("t");
    assert!(Recent::token(&cache.for_child(None)).is_none());
}

#[test]
fn every_thread_has_a_copy_of_its_own_that_goes_with_it() {
    let cache = Cache::new(None);
    let shared = cache.get(Duration::from_secs(1), &OneToken).expect("a token").token;
    let before = Arc::strong_count(&shared);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lease = cache.cached().expect("a token");
            let own = Recent::keep(lease, system::coarse_clocks());
            assert!(!Arc::ptr_eq(&own, &shared));
            assert!(Arc::ptr_eq(&own, &Recent::token(&cache).expect("kept")));
        });
    });
    assert_eq!(Arc::strong_count(&shared), before);
}
