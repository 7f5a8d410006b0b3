//! The cache with real threads and clocks: leaders, followers and what they get. The token source
//! is scripted, so that it can panic and hang in ways that a server cannot cause.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use super::*;
use crate::os::Now;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A token source that calls `script` with the number of the request, from 1.
struct Scripted<F> {
    requests: AtomicUsize,
    longest_time: Mutex<Duration>,
    script: F,
}

/// A script for a source of which no request is expected.
fn no_request_expected(_: usize) -> Result<Grant, Error> {
    panic!("no request was expected")
}

impl<F: Fn(usize) -> Result<Grant, Error>> Scripted<F> {
    fn new(script: F) -> Scripted<F> {
        Scripted { requests: AtomicUsize::new(0), longest_time: Mutex::default(), script }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl<F: Fn(usize) -> Result<Grant, Error>> TokenSource for Scripted<F> {
    fn request(&self, timeout: Duration, _: Option<&Token>) -> Result<Grant, Error> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let mut longest = self.longest_time.lock().unwrap();
        *longest = timeout.max(*longest);
        drop(longest);
        (self.script)(number)
    }

    fn secret_changed(&self) -> bool {
        false
    }
}

fn grant(name: &str, life: Duration) -> Result<Grant, Error> {
    Ok(Grant { token: Token::new(name, None, None), expires_in: life })
}

/// Waits for other threads until `condition` is true, for up to 20 s: machines may be slow.
fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < 20 * SECOND, "the condition is still false after 20 s");
        thread::sleep(MS);
    }
}

fn kind(result: Result<ServedToken, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn concurrent_callers_share_one_request() {
    let cache = Cache::new(None);
    let source = Scripted::new(|_| {
        until(|| cache.counts().waits == 63);
        grant("t", 1800 * SECOND)
    });
    let start = Barrier::new(64);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                start.wait();
                assert_eq!(cache.get(30 * SECOND, &source).unwrap().token.access_token(), "t");
            });
        }
    });
    assert_eq!(source.requests(), 1);
}

#[test]
fn no_lock_is_held_during_a_request() {
    let cache = Cache::new(None);
    let source = Scripted::new(|_| {
        // Each of these would wait forever if the leader held the lock.
        assert!(cache.cached().is_none());
        cache.refresh_in();
        cache.reject("x");
        cache.secret_changed();
        cache.counts();
        cache.last_error();
        grant("t", 1800 * SECOND)
    });
    assert!(cache.get(SECOND, &source).is_ok());
}

#[test]
fn panicking_leader_fails_its_refresh_as_internal() {
    let cache = Cache::new(None);
    let source = Scripted::new(|number| match number {
        1 => {
            until(|| cache.counts().waits == 3);
            panic!("on purpose");
        }
        _ => grant("t", 1800 * SECOND),
    });
    thread::scope(|scope| {
        let calls: Vec<_> =
            (0..4).map(|_| scope.spawn(|| kind(cache.get(30 * SECOND, &source)))).collect();
        for call in calls {
            assert_eq!(call.join().unwrap(), Some(ErrorKind::Internal));
        }
    });
    assert_eq!(source.requests(), 1);
    thread::sleep(1300 * MS);
    assert!(cache.get(SECOND, &source).is_ok());
}

#[test]
fn stuck_leader_is_abandoned() {
    let released = Barrier::new(2);
    let source = Scripted::new(|number| match number {
        1 => {
            released.wait();
            grant("late", 1800 * SECOND)
        }
        _ => grant("new", 1800 * SECOND),
    });
    let cache = Cache::new(None);
    thread::scope(|scope| {
        let stuck = scope.spawn(|| cache.get(2 * SECOND, &source).unwrap().token);
        until(|| source.requests() == 1);
        assert_eq!(kind(cache.get(100 * MS, &source)), Some(ErrorKind::Timeout));
        assert_eq!(cache.get(30 * SECOND, &source).unwrap().token.access_token(), "new");
        released.wait();
        assert_eq!(stuck.join().unwrap().access_token(), "new");
    });
    assert_eq!(cache.cached().unwrap().token.access_token(), "new");
}

#[test]
fn follower_keeps_its_own_deadline() {
    let cache = Cache::new(None);
    let source = Scripted::new(|_| {
        until(|| cache.is_closed());
        Err(Error::new(ErrorKind::Transport, "closed"))
    });
    thread::scope(|scope| {
        scope.spawn(|| kind(cache.get(30 * SECOND, &source)));
        until(|| source.requests() == 1);
        let in_time = (0..10).any(|_| {
            let start = Instant::now();
            assert_eq!(kind(cache.get(100 * MS, &source)), Some(ErrorKind::Timeout));
            // Ten tries: on a busy machine some may take longer.
            start.elapsed() < 600 * MS
        });
        cache.close();
        assert!(in_time);
    });
}

#[test]
fn close_ends_waits_pauses_and_later_calls() {
    let source = Scripted::new(|_| {
        thread::sleep(300 * MS);
        Err(Error::new(ErrorKind::Server, "503"))
    });
    let cache = Cache::new(None);
    thread::scope(|scope| {
        let calls: Vec<_> =
            (0..8).map(|_| scope.spawn(|| kind(cache.get(30 * SECOND, &source)))).collect();
        // The leader is in the pause after the first attempt, the others wait for it.
        thread::sleep(350 * MS);
        let start = Instant::now();
        cache.close();
        for call in calls {
            assert_eq!(call.join().unwrap(), Some(ErrorKind::Closed));
        }
        assert!(start.elapsed() < 10 * SECOND, "{:?}", start.elapsed());
    });
    assert_eq!(kind(cache.get(SECOND, &source)), Some(ErrorKind::Closed));
}

#[test]
fn a_closed_cache_gives_no_token() {
    let source = Scripted::new(|_| grant("t", 1800 * SECOND));
    let cache = Cache::new(None);
    cache.get(SECOND, &source).unwrap();
    cache.close();
    assert_eq!(kind(cache.get(SECOND, &source)), Some(ErrorKind::Closed));
    assert!(cache.cached().is_none() && cache.refresh_in().is_none());
    assert_eq!(cache.current_address(), 0);
}

#[test]
fn close_ends_a_pause() {
    let cache = Cache::new(None);
    let end = os::now().boot + 30 * SECOND;
    thread::scope(|scope| {
        let state = cache.lock();
        scope.spawn(|| cache.close());
        drop(cache.pause(state, end));
    });
    assert!(os::now().boot < end);
}

#[test]
fn no_request_after_close_during_a_pause() {
    let closed_in_time = (0..20).any(|_| {
        let cache = Cache::new(None);
        let (answered, answer) = mpsc::channel();
        let source = Scripted::new(|_| {
            answered.send(Instant::now()).unwrap();
            Err(Error::new(ErrorKind::Server, "503"))
        });
        thread::scope(|scope| {
            let call = scope.spawn(|| kind(cache.get(30 * SECOND, &source)));
            let start = answer.recv().unwrap();
            cache.close();
            let in_time = start.elapsed() < 90 * MS;
            assert_eq!(call.join().unwrap(), Some(ErrorKind::Closed));
            // If closing took longer, the pause (at least 100 ms) may have ended before.
            assert!(!in_time || source.requests() == 1);
            in_time
        })
    });
    assert!(closed_in_time, "closing took over 90 ms each time");
}

/// Without the notification a waiting call would notice the change up to a second later.
#[test]
fn waiting_calls_are_woken_by_every_change() {
    let completes = |cache: &Cache| drop(cache.get(SECOND, &Scripted::new(|_| grant("t", SECOND))));
    for change in [Cache::close, Cache::secret_changed, completes] {
        let cache = Cache::new(None);
        thread::scope(|scope| {
            let state = cache.lock();
            scope.spawn(|| change(&cache));
            // The change needs the lock, so a call that has it cannot miss the notification.
            thread::sleep(20 * MS);
            let woken = cache.changed.wait_timeout(state, 30 * SECOND).unwrap().1;
            assert!(!woken.timed_out());
        });
    }
}

#[test]
fn a_change_does_not_shorten_a_pause() {
    let sent = Mutex::new(Vec::new());
    let source = Scripted::new(|number| {
        sent.lock().unwrap().push(Instant::now());
        match number {
            1 => Err(Error::new(ErrorKind::Server, "503")),
            _ => grant("t", 1800 * SECOND),
        }
    });
    let cache = Cache::new(None);
    thread::scope(|scope| {
        let call = scope.spawn(|| cache.get(30 * SECOND, &source).map(drop));
        while !call.is_finished() {
            cache.secret_changed();
            thread::sleep(MS);
        }
    });
    let sent = sent.lock().unwrap();
    assert!(sent[1] - sent[0] >= 100 * MS);
}

#[test]
fn token_received_after_close_is_not_given() {
    let cache = Cache::new(None);
    let source = Scripted::new(|_| {
        cache.close();
        grant("t", 1800 * SECOND)
    });
    assert_eq!(kind(cache.get(SECOND, &source)), Some(ErrorKind::Closed));
    assert_eq!((source.requests(), cache.current_address()), (1, 0));
}

#[test]
fn panicking_secret_check_keeps_the_error() {
    struct Panicking;
    impl TokenSource for Panicking {
        fn request(&self, _: Duration, _: Option<&Token>) -> Result<Grant, Error> {
            Err(Error::new(ErrorKind::Denied, "401"))
        }

        fn secret_changed(&self) -> bool {
            panic!("on purpose")
        }
    }
    let cache = Cache::new(None);
    assert_eq!(kind(cache.get(SECOND, &Panicking)), Some(ErrorKind::Denied));
    cache.lock().secret_checked(Now { boot: Duration::ZERO, ..os::now() }, false);
    assert_eq!(kind(cache.get(SECOND, &Panicking)), Some(ErrorKind::Denied));
}

#[test]
fn followers_get_the_error_of_their_refresh() {
    let cache = Cache::new(None);
    let source = Scripted::new(|_| {
        until(|| cache.counts().waits == 15);
        Err(Error::new(ErrorKind::Protocol, "a portal"))
    });
    thread::scope(|scope| {
        let calls: Vec<_> =
            (0..16).map(|_| scope.spawn(|| cache.get(30 * SECOND, &source).err())).collect();
        for call in calls {
            let error = call.join().unwrap().expect("an error");
            assert_eq!((error.kind(), error.is_remembered()), (ErrorKind::Protocol, false));
        }
    });
    assert_eq!(source.requests(), 1);
    let error = cache.get(10 * SECOND, &source).err().expect("the backoff's error");
    assert!(error.is_remembered() && error.retry_after().is_some());
}

#[test]
fn refresh_due_token_is_given_during_a_refresh() {
    let served = AtomicUsize::new(0);
    let source = Scripted::new(|number| {
        if number > 1 {
            until(|| served.load(Ordering::SeqCst) == 15);
        }
        grant(&format!("t{number}"), 10 * SECOND)
    });
    // With a margin of half its life the token is refresh-due for a second or more.
    let cache = Cache::new(Some(5 * SECOND));
    cache.get(SECOND, &source).unwrap();
    until(|| cache.refresh_in() == Some(Duration::ZERO));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                cache.get(30 * SECOND, &source).unwrap();
                served.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    assert_eq!(source.requests(), 2);
    assert!(*source.longest_time.lock().unwrap() <= 3 * SECOND);
}

#[test]
fn token_is_fresh_until_its_refresh_window() {
    let source = Scripted::new(|_| grant("t", 1800 * SECOND));
    let cache = Cache::new(None);
    let served = cache.get(SECOND, &source).unwrap();
    assert_eq!(cache.current_address(), address(&served.token));
    assert!(served.fresh_for <= (1800 - 30 - 150) * SECOND && served.fresh_for >= 1400 * SECOND);
    let cached = cache.cached().unwrap();
    assert!(cached.fresh_for <= served.fresh_for && cached.fresh_for >= 1400 * SECOND);
    cache.reject("another");
    assert_eq!(cache.current_address(), address(&served.token));
    cache.reject("t");
    assert_ne!(cache.current_address(), address(&served.token));
}

#[test]
fn child_has_the_token_of_a_locked_parent() {
    let source = Scripted::new(|_| grant("t", 1800 * SECOND));
    let parent = Cache::new(None);
    parent.get(SECOND, &source).unwrap();
    let _locked_by_another_thread = parent.lock();
    let child = parent.for_child(None);
    assert_eq!(child.get(SECOND, &source).unwrap().token.access_token(), "t");
    assert_eq!(source.requests(), 1);
    assert!(
        child.for_child(None).cached().is_some(),
        "the child of the child has the token as well"
    );
}

#[test]
fn the_child_of_a_closed_cache_is_closed() {
    let source = Scripted::new(|_| grant("t", 1800 * SECOND));
    let parent = Cache::new(None);
    parent.get(SECOND, &source).unwrap();
    parent.close();
    let child = parent.for_child(None);
    assert_eq!(
        kind(child.get(SECOND, &Scripted::new(no_request_expected))),
        Some(ErrorKind::Closed)
    );
    assert!(child.cached().is_none() && child.refresh_in().is_none());
}

#[test]
fn each_child_refreshes_at_its_own_moment() {
    let source = Scripted::new(|_| grant("t", 1800 * SECOND));
    let parent = Cache::new(None);
    let served = parent.get(SECOND, &source).unwrap();
    let none = Scripted::new(no_request_expected);
    let mut moments: Vec<Duration> = (0..32)
        .map(|_| {
            let child = parent.for_child(None);
            let own = child.get(SECOND, &none).unwrap();
            assert_eq!(own.token.access_token(), "t");
            // The forking thread's cache compares addresses: the child's token needs another one.
            assert_eq!(child.current_address(), address(&own.token));
            assert_ne!(child.current_address(), address(&served.token));
            own.fresh_for
        })
        .collect();
    moments.sort();
    // The moments are random within 150 s. The probability of nine of 32 within one second is
    // about 10⁻⁹.
    assert!(moments.windows(9).all(|nine| nine[8] - nine[0] > SECOND), "{moments:?}");
}
