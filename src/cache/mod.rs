//! Keeps one token fresh for many threads. Knows neither HTTP nor JSON; holds no lock while a
//! request is under way. `rules` decides, this waits and flies.

mod answered;
mod backoff;
mod cached;
mod policy;
mod refresh;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::os::{self, Snapshot};
use crate::token::{Grant, Token};
use answered::Next;
use cached::CachedToken;
use policy::{Caller, State, Step};

pub(crate) use policy::Counts;

/// A waiting call looks this often at the clock that counts suspend.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Where tokens come from.
pub(crate) trait Source {
    /// One request, within `timeout`.
    fn request(&self, timeout: Duration) -> Result<Grant, Error>;
    /// Whether a secret that changes by itself did so since the last request.
    fn secret_changed(&self) -> bool;
}

/// A token, and for how long nobody needs to ask about it.
pub(crate) struct FreshToken {
    pub token: Arc<Token>,
    pub fresh_for: Duration,
}

pub(crate) struct Cache {
    state: Mutex<State>,
    changed: Condvar,
    current: AtomicUsize,
    /// For the child of a fork, which cannot wait for `state`.
    latest: Snapshot<Option<CachedToken>>,
    closed: AtomicBool,
}

impl Cache {
    pub fn new(expiry_margin: Option<Duration>) -> Cache {
        Cache::with(expiry_margin, None, false)
    }

    /// The same for the child of a fork: no lock in common.
    pub fn for_child(&self, expiry_margin: Option<Duration>) -> Cache {
        let cached = Option::clone(&self.latest.get());
        Cache::with(expiry_margin, cached, self.is_closed())
    }

    fn with(expiry_margin: Option<Duration>, cached: Option<CachedToken>, closed: bool) -> Cache {
        let state = State::new(expiry_margin, Box::new(os::random), cached);
        Cache {
            current: AtomicUsize::new(address_if_current(state.cached())),
            latest: Snapshot::new(state.cached().cloned()),
            state: Mutex::new(state),
            changed: Condvar::new(),
            closed: AtomicBool::new(closed),
        }
    }

    /// A token within `timeout`, or why there is none.
    pub fn get(&self, timeout: Duration, source: &impl Source) -> Result<FreshToken, Error> {
        let mut caller = Caller::new(os::now().boot + timeout);
        let mut state = self.lock();
        loop {
            self.check_open()?;
            let now = os::now();
            match state.ask(now, &mut caller) {
                Step::Give(token) => {
                    let fresh_for = state.fresh_for(now, &token);
                    return Ok(FreshToken { token, fresh_for });
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
                    // A panic in it costs nobody the token, or the error, that is there.
                    let changed = guarded(|| source.secret_changed()).unwrap_or(false);
                    state = self.lock();
                    state.secret_checked(os::now(), changed);
                }
            }
        }
    }

    /// Makes requests until the refresh has landed.
    fn lead_refresh(&self, caller: &mut Caller, source: &impl Source) {
        let mut state = self.lock();
        loop {
            let sent = os::now();
            let time = state.attempt(sent, caller);
            drop(state);
            let answer = self.request(time, source);
            state = self.lock();
            if !self.is_closed() {
                let next = state.answered(sent, os::now(), time, caller, answer);
                self.publish(&state);
                match next {
                    Next::Completed => break,
                    Next::Again(at) => state = self.pause(state, at),
                }
            }
            if self.is_closed() {
                state.give_up(caller);
                break;
            }
        }
        self.changed.notify_all();
    }

    /// One request, which is logged; its end whatever panics.
    fn request(&self, time: Duration, source: &impl Source) -> Result<Grant, Error> {
        let answer = guarded(|| source.request(time)).and_then(|answer| answer);
        // The logger is the program's: it may panic too.
        guarded(|| self.log(&answer)).and(answer)
    }

    fn log(&self, answer: &Result<Grant, Error>) {
        match answer {
            Ok(grant) => log::debug!("a token with a life of {:?}", grant.expires_in),
            // Expected, when somebody closes the client.
            Err(_) if self.is_closed() => {}
            Err(error) => log::warn!("no token: {error}"),
        }
    }

    /// What those who do not lock may see.
    fn publish(&self, state: &State) {
        self.current.store(address_if_current(state.cached()), Ordering::Release);
        self.latest.set(state.cached().cloned());
    }

    fn pause<'a>(&self, mut state: MutexGuard<'a, State>, end: Duration) -> MutexGuard<'a, State> {
        while os::now().boot < end && !self.is_closed() {
            state = self.wait_until(state, end);
        }
        state
    }

    fn wait_until<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Duration,
    ) -> MutexGuard<'a, State> {
        let time = until.saturating_sub(os::now().boot).min(MAX_WAIT);
        let woken = self.changed.wait_timeout(state, time);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Address of the token of which a lease may go on as it is, its time being the holder's to watch;
    /// 0: of none.
    #[inline]
    pub fn current(&self) -> usize {
        self.current.load(Ordering::Acquire)
    }

    /// The token, if it is usable; never waits for a request.
    pub fn cached(&self) -> Option<FreshToken> {
        let state = self.lock();
        self.check_open().ok()?;
        let now = os::now();
        let token = state.usable(now)?;
        let fresh_for = state.fresh_for(now, &token);
        Some(FreshToken { token, fresh_for })
    }

    /// How long until a call would do something useful; `None` once closed.
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

    /// Since the current token was asked for, and until it expires.
    pub fn age_and_remaining_life(&self) -> Option<(Duration, Duration)> {
        self.lock().age_and_remaining_life(os::now())
    }

    pub fn last_error(&self) -> Option<Error> {
        self.lock().last_error().map(Error::as_remembered)
    }

    /// Ends every call, those under way and those to come.
    pub fn close(&self) {
        let _no_call_between_look_and_nap = self.lock();
        self.closed.store(true, Ordering::Relaxed);
        self.current.store(0, Ordering::Release);
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

/// Turns a panic into an error, so that no refresh stays under way for ever.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        let what =
            "a bug in this library, or in the program's logger, ended a request with a panic";
        Error::new(ErrorKind::Internal, what)
    })
}

fn address_if_current(cached: Option<&CachedToken>) -> usize {
    cached.filter(|cached| !cached.is_rejected()).map_or(0, |cached| address(&cached.token))
}

#[inline]
pub(crate) fn address(token: &Arc<Token>) -> usize {
    Arc::as_ptr(token).addr()
}

#[cfg(test)]
#[path = "../../tests/freshness/threads.rs"]
mod threads;
