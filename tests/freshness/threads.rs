//! The cache with real threads and clocks: who waits, who flies, who is told what. The source is a
//! double, so that it can panic and hang in ways that a server cannot cause.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use super::*;
use crate::os::Now;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Calls the script with the number of the request, from 1.
struct Scripted<F> {
    requests: AtomicUsize,
    longest_time: Mutex<Duration>,
    script: F,
}

/// A request that is never made.
fn none_wanted(_: usize) -> Result<Grant, Error> {
    panic!("nobody was to make a request")
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
    fn request(&self, timeout: Duration) -> Result<Grant, Error> {
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

/// Waits for other threads, however slow the machine is.
fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < 20 * SECOND, "it does not come to that");
        thread::sleep(MS);
    }
}

fn kind(result: Result<ServedToken, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn sixty_four_threads_share_one_request_and_hear_of_it_together() {
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
fn no_lock_is_held_while_a_request_is_under_way() {
    let cache = Cache::new(None);
    let source = Scripted::new(|_| {
        // Each of these would wait for ever if the leader held the lock.
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
fn a_flyer_that_panics_ends_its_flight_as_internal_and_costs_nobody_else_anything() {
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
fn a_flyer_that_never_comes_back_is_abandoned_and_its_late_answer_changes_nothing() {
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
fn a_waiter_keeps_its_own_deadline() {
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
            // Not all of them fall into a moment in which the machine is busy.
            start.elapsed() < 600 * MS
        });
        cache.close();
        assert!(in_time);
    });
}

#[test]
fn close_ends_the_waiting_the_pausing_and_the_coming_call() {
    let source = Scripted::new(|_| {
        thread::sleep(300 * MS);
        Err(Error::new(ErrorKind::Server, "503"))
    });
    let cache = Cache::new(None);
    thread::scope(|scope| {
        let calls: Vec<_> =
            (0..8).map(|_| scope.spawn(|| kind(cache.get(30 * SECOND, &source)))).collect();
        // In the pause after the first attempt.
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
fn a_pause_ends_when_the_cache_is_closed() {
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
fn there_is_no_request_after_a_pause_in_which_the_cache_was_closed() {
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
            // Otherwise the pause, of 100 ms at least, may have been over.
            assert!(!in_time || source.requests() == 1);
            in_time
        })
    });
    assert!(closed_in_time, "on no machine is every thread that slow");
}

/// Those who wait would notice by themselves, but only within a second.
#[test]
fn whoever_waits_is_woken_when_something_changes() {
    let completes = |cache: &Cache| drop(cache.get(SECOND, &Scripted::new(|_| grant("t", SECOND))));
    for change in [Cache::close, Cache::secret_changed, completes] {
        let cache = Cache::new(None);
        thread::scope(|scope| {
            let state = cache.lock();
            scope.spawn(|| change(&cache));
            // Whoever has looked and does not wait yet misses nothing.
            thread::sleep(20 * MS);
            let woken = cache.changed.wait_timeout(state, 30 * SECOND).unwrap().1;
            assert!(!woken.timed_out());
        });
    }
}

#[test]
fn a_pause_is_no_shorter_when_something_changes() {
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
fn a_token_that_comes_after_close_is_not_given() {
    let cache = Cache::new(None);
    let source = Scripted::new(|_| {
        cache.close();
        grant("t", 1800 * SECOND)
    });
    assert_eq!(kind(cache.get(SECOND, &source)), Some(ErrorKind::Closed));
    assert_eq!((source.requests(), cache.current_address()), (1, 0));
}

#[test]
fn a_panic_of_a_look_at_the_secret_costs_nobody_the_error() {
    struct Panicking;
    impl TokenSource for Panicking {
        fn request(&self, _: Duration) -> Result<Grant, Error> {
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
fn a_failed_flight_is_told_to_all_who_waited_for_it() {
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
fn an_ageing_token_is_everybodys_at_once_while_one_caller_flies() {
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
fn a_lease_lasts_no_longer_than_its_token_is_fresh() {
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
fn the_cache_of_a_child_has_the_token_and_nothing_locked() {
    let source = Scripted::new(|_| grant("t", 1800 * SECOND));
    let parent = Cache::new(None);
    parent.get(SECOND, &source).unwrap();
    let _held_by_a_thread_that_is_gone = parent.lock();
    let child = parent.for_child(None);
    assert_eq!(child.get(SECOND, &source).unwrap().token.access_token(), "t");
    assert_eq!(source.requests(), 1);
    assert!(child.for_child(None).cached().is_some(), "its own child as well");
}

#[test]
fn the_child_of_a_closed_cache_is_closed() {
    let source = Scripted::new(|_| grant("t", 1800 * SECOND));
    let parent = Cache::new(None);
    parent.get(SECOND, &source).unwrap();
    parent.close();
    let child = parent.for_child(None);
    assert_eq!(kind(child.get(SECOND, &Scripted::new(none_wanted))), Some(ErrorKind::Closed));
    assert!(child.cached().is_none() && child.refresh_in().is_none());
}

#[test]
fn every_child_has_a_refresh_moment_of_its_own() {
    let source = Scripted::new(|_| grant("t", 1800 * SECOND));
    let parent = Cache::new(None);
    let served = parent.get(SECOND, &source).unwrap();
    let none = Scripted::new(none_wanted);
    let mut moments: Vec<Duration> = (0..32)
        .map(|_| {
            let child = parent.for_child(None);
            let own = child.get(SECOND, &none).unwrap();
            assert_eq!(own.token.access_token(), "t");
            // By its address a thread knows the token, and so the moment.
            assert_eq!(child.current_address(), address(&own.token));
            assert_ne!(child.current_address(), address(&served.token));
            own.fresh_for
        })
        .collect();
    moments.sort();
    // They lie within 150 s. Chance brings nine of 32 into one second once in a thousand million.
    assert!(moments.windows(9).all(|nine| nine[8] - nine[0] > SECOND), "{moments:?}");
}
