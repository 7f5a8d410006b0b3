//! Keeps one token fresh for many threads. `policy` and `answered` decide; this module waits, and
//! makes requests. It knows neither HTTP nor JSON, and holds no lock while a request is under way.

mod answered;
mod backoff;
mod cached;
mod policy;
mod refresh;
mod shared;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::os::{self, Snapshot};
use crate::store::{Entry, Turn, Visit, is_shareable};
use crate::token::{Grant, Token};
use answered::Next;
use cached::CachedToken;
use policy::{Caller, State, Step};
use shared::WhileOthersRefresh;

pub(crate) use policy::Counts;

/// A waiting call reads the clock at least this often: a wait on a condition variable does not
/// count the time for which the machine was suspended, but a deadline does.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Requests tokens. The exchange is one; the tests have others.
pub(crate) trait TokenSource {
    /// Makes one request, within `timeout`. Error messages do not contain the cached token.
    fn request(&self, timeout: Duration, cached: Option<&Token>) -> Result<Grant, Error>;
    /// Whether the secret comes from a file that has changed since the last request.
    fn secret_changed(&self) -> bool;
    /// The store that processes share, for one refresh that may take `time`; `None` if there is none.
    fn visit_store(&self, _time: Duration) -> Option<Visit<'_>> {
        None
    }
    /// Leaves there what the last request brought, unless that was made with another secret than the
    /// visit: they may not know the new one.
    fn leave_in_store(&self, _: &mut Visit, _: &Entry) {}
}

/// A token from the cache. While it is fresh, a thread may use it again without asking the cache.
pub(crate) struct ServedToken {
    pub token: Arc<Token>,
    /// Zero for a token that is refresh-due or stale.
    pub fresh_for: Duration,
}

pub(crate) struct Cache {
    state: Mutex<State>,
    /// Notified when a refresh completes, the secret changes, or the client is closed.
    changed: Condvar,
    /// See `current_address`.
    current_address: AtomicUsize,
    /// The cached token again, for the child of a fork: `state` may be locked there forever.
    latest: Snapshot<Option<CachedToken>>,
    closed: AtomicBool,
}

impl Cache {
    pub fn new(expiry_margin: Option<Duration>) -> Cache {
        Cache::with(expiry_margin, None, false)
    }

    /// A cache for the child of a fork, with the same token. It takes no lock of this one.
    pub fn for_child(&self, expiry_margin: Option<Duration>) -> Cache {
        let cached = Option::clone(&self.latest.get());
        Cache::with(expiry_margin, cached, self.is_closed())
    }

    fn with(expiry_margin: Option<Duration>, cached: Option<CachedToken>, closed: bool) -> Cache {
        let state = State::new(expiry_margin, Box::new(os::random), cached);
        Cache {
            current_address: AtomicUsize::new(address_unless_rejected(state.cached())),
            latest: Snapshot::new(state.cached().cloned()),
            state: Mutex::new(state),
            changed: Condvar::new(),
            closed: AtomicBool::new(closed),
        }
    }

    /// Returns a token, waiting and making requests for at most `timeout`; or why there is none.
    pub fn get(&self, timeout: Duration, source: &impl TokenSource) -> Result<ServedToken, Error> {
        let mut caller = Caller::new(os::now().boot + timeout);
        let mut state = self.lock();
        loop {
            self.check_open()?;
            let now = os::now();
            match state.ask(now, &mut caller) {
                Step::Give(token) => {
                    let fresh_for = state.fresh_for(now, &token);
                    return Ok(ServedToken { token, fresh_for });
                }
                Step::Fail(error) => return Err(error),
                Step::Wait(until) => state = self.wait_until(state, until),
                Step::Lead => {
                    drop(state);
                    self.lead_refresh(&mut caller, source);
                    state = self.lock();
                }
                Step::CheckSecret => {
                    drop(state);
                    // If it panics the caller still gets its token, or the remembered error.
                    let changed = catch_panic(|| source.secret_changed()).unwrap_or(false);
                    state = self.lock();
                    state.secret_checked(os::now(), changed);
                }
            }
        }
    }

    /// Completes the refresh: with what another process has left in the store, or by requests, whose
    /// result it leaves there.
    fn lead_refresh(&self, caller: &mut Caller, source: &impl TokenSource) {
        let time = caller.time_left(os::now().boot);
        let mut visit = catch_panic(|| source.visit_store(time)).ok().flatten();
        if let Some(visit) = &mut visit {
            let completed = catch_panic(|| self.take_turn(caller, visit)).unwrap_or(false);
            if completed {
                return self.changed.notify_all();
            }
        }
        let shareable = self.make_requests(caller, source);
        self.changed.notify_all();
        if let Some(visit) = &mut visit {
            visit.renew_time(caller.time_left(os::now().boot));
        }
        if let Some(mut visit) = visit.filter(|_| shareable) {
            let _ = catch_panic(|| {
                let found = visit.look();
                let entry = self.lock().to_share(os::now(), found.as_ref());
                entry.map(|entry| source.leave_in_store(&mut visit, &entry))
            });
        }
    }

    /// Looks into the store until it is this process's turn to make a request. Returns whether there is
    /// no need to: the refresh has completed.
    fn take_turn(&self, caller: &mut Caller, visit: &mut Visit) -> bool {
        let (mut pause, max_pause) = visit.pauses();
        loop {
            visit.renew_time(caller.time_left(os::now().boot));
            let entry = visit.look();
            if self.take_found(caller, entry.as_ref()) {
                return true;
            }
            let lease = self.lock().lease(entry.as_ref());
            match visit.lock(lease) {
                Turn::Ours => {
                    // What the holder before has left.
                    let entry = visit.look();
                    if self.take_found(caller, entry.as_ref()) {
                        return true;
                    }
                    if entry.is_some_and(|entry| self.lock().is_rejected(&entry)) {
                        visit.remove();
                    }
                    return self.lock().ran_out_of_time(os::now(), caller);
                }
                Turn::Nobodys => return self.lock().ran_out_of_time(os::now(), caller),
                Turn::Others(left) => {
                    let mut state = self.lock();
                    // Jitter: many processes wait.
                    let pause = pause.mul_f64(0.5 + os::random());
                    match state.others_refresh(os::now(), caller, left, pause) {
                        WhileOthersRefresh::Completed => return true,
                        WhileOthersRefresh::Request => {
                            return state.ran_out_of_time(os::now(), caller);
                        }
                        WhileOthersRefresh::LookAgain(at) => state = self.pause(state, at),
                    }
                    if self.is_closed() {
                        state.give_up(caller);
                        return true;
                    }
                }
            }
            pause = max_pause.min(pause.mul_f64(1.5));
        }
    }

    fn take_found(&self, caller: &mut Caller, entry: Option<&Entry>) -> bool {
        let Some(entry) = entry else { return false };
        let mut state = self.lock();
        let completed = state.found(os::now(), caller, entry);
        self.publish(&state);
        completed
    }

    /// Makes requests until the refresh has completed or the client is closed. Returns whether their
    /// result concerns other processes too.
    fn make_requests(&self, caller: &mut Caller, source: &impl TokenSource) -> bool {
        let mut state = self.lock();
        loop {
            let sent = os::now();
            let time = state.attempt(sent, caller);
            let cached = state.cached().map(|cached| cached.token.clone());
            drop(state);
            let answer = self.request(time, cached.as_deref(), source);
            let shareable = answer.as_ref().err().is_none_or(|error| is_shareable(error.kind()));
            state = self.lock();
            if !self.is_closed() {
                let next = state.answered(sent, os::now(), time, caller, answer);
                self.publish(&state);
                match next {
                    Next::Completed => return shareable,
                    Next::Again(at) => state = self.pause(state, at),
                }
            }
            if self.is_closed() {
                state.give_up(caller);
                return false;
            }
        }
    }

    /// Makes and logs one request. Returns in any case: followers wait for its result.
    fn request(
        &self,
        time: Duration,
        cached: Option<&Token>,
        source: &impl TokenSource,
    ) -> Result<Grant, Error> {
        let answer = catch_panic(|| source.request(time, cached)).and_then(|answer| answer);
        // The logger belongs to the program, and may panic too.
        catch_panic(|| self.log(&answer)).and(answer)
    }

    fn log(&self, answer: &Result<Grant, Error>) {
        match answer {
            Ok(grant) => log::debug!("got an access token that expires in {:?}", grant.expires_in),
            // Closing the client interrupts requests: no failure to warn of.
            Err(_) if self.is_closed() => {}
            Err(error) => log::warn!("token request failed: {error}"),
        }
    }

    /// Updates the copies that are read without the lock.
    fn publish(&self, state: &State) {
        self.current_address.store(address_unless_rejected(state.cached()), Ordering::Release);
        self.latest.set(state.cached().cloned());
    }

    /// Waits until `end`, however often it is notified, or until the client is closed.
    fn pause<'a>(&self, mut state: MutexGuard<'a, State>, end: Duration) -> MutexGuard<'a, State> {
        while os::now().boot < end && !self.is_closed() {
            state = self.wait_until(state, end);
        }
        state
    }

    /// Waits until `until` or a notification; may return early.
    fn wait_until<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Duration,
    ) -> MutexGuard<'a, State> {
        let time = until.saturating_sub(os::now().boot).min(MAX_WAIT);
        let woken = self.changed.wait_timeout(state, time);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The address of the cached token; 0 if there is none, it was rejected, or the client was
    /// closed. A thread cache whose token has this address can use it, until it is no longer fresh
    /// by the clocks.
    #[inline]
    pub fn current_address(&self) -> usize {
        self.current_address.load(Ordering::Acquire)
    }

    /// The cached token, if it is usable. Never waits for a request.
    pub fn cached(&self) -> Option<ServedToken> {
        let state = self.lock();
        self.check_open().ok()?;
        let now = os::now();
        let token = state.usable(now)?;
        let fresh_for = state.fresh_for(now, &token);
        Some(ServedToken { token, fresh_for })
    }

    /// How long until a call would make a request; `None` once the client is closed.
    pub fn refresh_in(&self) -> Option<Duration> {
        let state = self.lock();
        self.check_open().ok()?;
        Some(state.refresh_in(os::now()))
    }

    pub fn reject(&self, access_token: &str) {
        let mut state = self.lock();
        if state.reject(os::now(), access_token) {
            self.publish(&state);
        }
    }

    pub fn secret_changed(&self) {
        self.lock().secret_changed();
        self.changed.notify_all();
    }

    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// The time since the cached token was requested, and the time until it expires.
    pub fn age_and_remaining_life(&self) -> Option<(Duration, Duration)> {
        self.lock().age_and_remaining_life(os::now())
    }

    pub fn last_error(&self) -> Option<Error> {
        self.lock().last_error().map(Error::as_remembered)
    }

    /// Ends every call, now waiting or made later.
    pub fn close(&self) {
        // With the lock: otherwise a call that has just found the cache open, and is about to wait,
        // would miss the notification.
        let _state = self.lock();
        self.closed.store(true, Ordering::Relaxed);
        self.current_address.store(0, Ordering::Release);
        self.changed.notify_all();
    }

    fn check_open(&self) -> Result<(), Error> {
        match self.is_closed() {
            true => Err(Error::new(ErrorKind::Closed, "the client was closed")),
            false => Ok(()),
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns a panic into an error, so that a refresh whose leader panics completes.
fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        let what =
            "a token request panicked: this is a bug in this library, or in the program's logger";
        Error::new(ErrorKind::Internal, what)
    })
}

/// Identifies a token in `current_address`; 0 for none.
fn address_unless_rejected(cached: Option<&CachedToken>) -> usize {
    cached.filter(|cached| !cached.is_rejected()).map_or(0, |cached| address(&cached.token))
}

#[inline]
pub(crate) fn address(token: &Arc<Token>) -> usize {
    Arc::as_ptr(token).addr()
}

#[cfg(test)]
#[path = "../../tests/freshness/threads.rs"]
mod threads;
