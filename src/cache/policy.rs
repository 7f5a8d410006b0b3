//! The decisions: what a caller gets at a given instant. Pure: nothing here waits, sends or reads a
//! clock, so that the tests need not wait. `answered` is the other half: what an answer changes.
//! `docs/freshness.md` states the rules with their reasons.
//!
//! Here and in the files beside, a `Duration` that is an instant (`now`, `end`, `deadline`, `…_at`)
//! is on the boot clock; see `Now`.

use std::sync::Arc;
use std::time::Duration;

use super::backoff::{Backoff, NegativeCache, Rejections};
use super::cached::{CachedToken, Phase};
use super::refresh::{Outcome, Pace, Refresh};
use crate::error::{Error, ErrorKind};
use crate::os::{Now, Random};
use crate::token::Token;

/// The minimum interval between the starts of two refreshes.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// How long a follower waits before it gets the stale token.
pub(super) const MAX_STALE_WAIT: Duration = Duration::from_secs(3);
/// How long a caller waits for one with a later deadline to lead.
const YIELD_TIME: Duration = Duration::from_millis(50);
/// The time between two looks at the secret file.
const SECRET_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What a caller is to do next.
#[derive(Debug)]
pub(crate) enum Step {
    Give(Arc<Token>),
    Fail(Error),
    /// Make a request within the time that `attempt` returns, and report its answer to `answered`.
    Lead,
    /// Wait until this instant, or until something changes, and ask again.
    Wait(Duration),
    /// Check whether the secret file has changed, report that to `secret_checked`, and ask again.
    CheckSecret,
}

/// One call for a token, and what it remembers from one step to the next.
pub(crate) struct Caller {
    deadline: Duration,
    /// The refresh that it leads or follows.
    refresh: Option<Refresh>,
    /// When it stops waiting and takes the stale token.
    pub(super) stale_wait_end: Option<Duration>,
    /// The error of the refresh that it led or followed.
    pub(super) error: Option<Error>,
    /// Whether it takes the cached token, if that is valid: it has led a proactive refresh, of which
    /// one call leads at most one, or has waited for another process.
    pub(super) takes_cached: bool,
    /// Whether it has let a caller with a later deadline go first: it does so once.
    has_yielded: bool,
    has_waited: bool,
}

impl Caller {
    pub fn new(deadline: Duration) -> Caller {
        Caller {
            deadline,
            refresh: None,
            stale_wait_end: None,
            error: None,
            takes_cached: false,
            has_yielded: false,
            has_waited: false,
        }
    }

    pub(super) fn time_left(&self, now: Duration) -> Duration {
        self.deadline.saturating_sub(now)
    }

    pub(super) fn own_refresh(&mut self) -> &mut Refresh {
        self.refresh.as_mut().expect("the caller leads a refresh")
    }
}

/// The statistics. Tokens given from the cache are not counted: threads would contend for the
/// counter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub refreshes: u64,
    pub attempts: u64,
    pub failures: u64,
    pub waits: u64,
    pub rejections: u64,
    pub denials: u64,
    /// Refreshes that the shared store answered.
    pub store_hits: u64,
}

/// What prevents a caller from leading a refresh now.
enum Barrier {
    Refresh(Refresh),
    Denial,
    Backoff(Duration),
    MinInterval(Duration),
}

/// Everything that a client remembers in one process.
pub(crate) struct State {
    pub(super) expiry_margin: Option<Duration>,
    pub(super) random: Random,
    pub(super) cached: Option<CachedToken>,
    pub(super) refresh: Option<Refresh>,
    /// When the last refresh sent its first request.
    pub(super) last_start: Option<Duration>,
    /// The latest deadline of all followers of the current or last refresh.
    pub(super) latest_deadline: Duration,
    pub(super) pace: Pace,
    /// Refreshes in a row that failed for lack of time; see `MAX_SHORT_REFRESHES`.
    pub(super) short_refreshes: u32,
    pub(super) backoff: Backoff,
    pub(super) negative_cache: NegativeCache,
    pub(super) rejections: Rejections,
    pub(super) last_error: Option<Error>,
    /// Counts the changes of the secret.
    pub(super) secret_version: u64,
    /// When the secret file was last read.
    pub(super) secret_checked: Duration,
    pub counts: Counts,
}

impl State {
    /// `inherited` is the parent process's token, in the child of a fork.
    pub fn new(
        expiry_margin: Option<Duration>,
        mut random: Random,
        inherited: Option<CachedToken>,
    ) -> State {
        let cached = inherited.map(|cached| cached.for_child(&mut random));
        State {
            expiry_margin,
            random,
            cached,
            refresh: None,
            last_start: None,
            latest_deadline: Duration::ZERO,
            pace: Pace::default(),
            short_refreshes: 0,
            backoff: Backoff::default(),
            negative_cache: NegativeCache::default(),
            rejections: Rejections::default(),
            last_error: None,
            secret_version: 0,
            secret_checked: Duration::ZERO,
            counts: Counts::default(),
        }
    }

    pub fn cached(&self) -> Option<&CachedToken> {
        self.cached.as_ref()
    }

    /// What the caller is to do now. It asks again after each step until it gets a token or an
    /// error.
    pub fn ask(&mut self, now: Now, caller: &mut Caller) -> Step {
        if let Some(step) = self.outcome_for(now, caller) {
            return step;
        }
        let phase = self.cached.as_ref().map(|cached| cached.phase(now));
        let usable = matches!(phase, Some(Phase::Fresh | Phase::RefreshDue));
        self.backoff.observe(now.boot, usable);
        match phase {
            Some(Phase::Fresh) => self.give(),
            Some(Phase::RefreshDue) => self.ask_refresh_due(now, caller),
            Some(Phase::Stale) => self.ask_stale(now, caller),
            Some(Phase::Expired) | None => self.ask_without_token(now, caller),
        }
    }

    /// If the refresh that the caller led or followed has completed, and that decides the call: the
    /// last step. An error that may be retried is only noted, since the caller may still wait and
    /// try again.
    fn outcome_for(&self, now: Now, caller: &mut Caller) -> Option<Step> {
        let outcome = caller.refresh.as_ref()?.outcome.get()?.clone();
        caller.refresh = None;
        let valid = self.cached.as_ref().filter(|cached| !cached.is_expired(now));
        match outcome {
            Outcome::Token(token) => valid
                .is_some_and(|valid| Arc::ptr_eq(&valid.token, &token))
                .then_some(Step::Give(token)),
            Outcome::Failed(error) if is_final(&error) => {
                Some(valid.map_or(Step::Fail(error), |valid| Step::Give(valid.token.clone())))
            }
            Outcome::Failed(error) => {
                caller.error = Some(error);
                None
            }
            Outcome::DecideAgain => None,
        }
    }

    fn give(&self) -> Step {
        let cached = self.cached.as_ref().expect("only a token has a phase");
        Step::Give(cached.token.clone())
    }

    fn ask_refresh_due(&mut self, now: Now, caller: &mut Caller) -> Step {
        let cached = self.cached.as_ref().expect("only a token has a phase");
        let early = cached.is_in_first_half_of_window(now);
        let available = cached.time_for_a_request(now.boot);
        // The caller has a usable token, so a refresh may cost it only half of its time.
        let half = caller.deadline.saturating_sub(now.boot) / 2;
        let time = half.min(self.pace.proactive_limit());
        if time.is_zero() || caller.takes_cached || !self.pace.is_worthwhile(available) {
            return self.give();
        }
        match self.barrier(now) {
            Some(Barrier::Denial | Barrier::Backoff(_)) if self.should_check_secret(now) => {
                Step::CheckSecret
            }
            Some(_) => self.give(),
            None if early && time < self.pace.min_time_for_early_refresh() => self.give(),
            None => {
                caller.takes_cached = true;
                self.begin(caller, Refresh::proactive(now.boot, time.min(available)))
            }
        }
    }

    fn ask_stale(&mut self, now: Now, caller: &mut Caller) -> Step {
        if now.boot >= caller.deadline || caller.takes_cached {
            return self.give();
        }
        let wait_end = *caller.stale_wait_end.get_or_insert(now.boot + MAX_STALE_WAIT);
        let wait_end = wait_end.min(caller.deadline);
        match self.barrier(now) {
            Some(Barrier::Refresh(refresh)) if now.boot < wait_end => {
                self.follow(refresh, wait_end, caller)
            }
            Some(Barrier::Denial | Barrier::Backoff(_)) if self.should_check_secret(now) => {
                Step::CheckSecret
            }
            Some(Barrier::MinInterval(end)) if end < wait_end => Step::Wait(end),
            Some(_) => self.give(),
            // The caller has a valid token: it waits for one attempt at most.
            None => {
                let end = caller.deadline.min(now.boot + self.pace.attempt_limit());
                self.lead(now, caller, end)
            }
        }
    }

    fn ask_without_token(&mut self, now: Now, caller: &mut Caller) -> Step {
        // A client that never had a token fails at once: its endpoint is probably mistyped.
        let had_token = self.cached.is_some();
        let in_grace_period = had_token && self.backoff.in_grace_period(now.boot);
        if now.boot >= caller.deadline {
            return self.fail(now, caller);
        }
        // Waiting for the backoff is of use only if there is time for an attempt after it: 1 s, or
        // a quarter of what is left. Example: to wait 4 s a caller needs more than 5 s, to wait
        // 0.6 s more than 0.8 s.
        let spare = Duration::from_secs(1).min(caller.deadline.saturating_sub(now.boot) / 4);
        match self.barrier(now) {
            Some(Barrier::Refresh(refresh)) => self.follow(refresh, caller.deadline, caller),
            Some(Barrier::Denial | Barrier::Backoff(_)) if self.should_check_secret(now) => {
                Step::CheckSecret
            }
            Some(Barrier::Backoff(end)) if in_grace_period && end + spare < caller.deadline => {
                Step::Wait(end)
            }
            Some(Barrier::MinInterval(end)) if end < caller.deadline => Step::Wait(end),
            Some(_) => self.fail(now, caller),
            None => self.lead(now, caller, caller.deadline),
        }
    }

    /// The first of these in this order, because callers treat them differently: they follow a
    /// refresh, do not wait for the end of a denial, wait for that of a backoff only in the grace
    /// period, and for that of the minimum interval always.
    fn barrier(&self, now: Now) -> Option<Barrier> {
        let (backoff_end, min_interval_end) = (self.backoff_end(now), self.min_interval_end());
        match self.refresh_under_way(now) {
            Some(refresh) => Some(Barrier::Refresh(refresh)),
            None if now.boot < self.negative_cache.end => Some(Barrier::Denial),
            None if now.boot < backoff_end => Some(Barrier::Backoff(backoff_end)),
            None if now.boot < min_interval_end => Some(Barrier::MinInterval(min_interval_end)),
            None => None,
        }
    }

    fn lead(&mut self, now: Now, caller: &mut Caller, end: Duration) -> Step {
        // After a refresh that failed for lack of time, a caller with a later deadline leads.
        // Example: the server needs 2 s. If callers with a timeout of 1 s always led, and a new one
        // came each second, a caller with 30 s would never get a token.
        let lacked_time = self.short_refreshes > 0;
        if lacked_time && caller.deadline < self.latest_deadline && !caller.has_yielded {
            caller.has_yielded = true;
            return Step::Wait(caller.deadline.min(now.boot + YIELD_TIME));
        }
        let failures = self.backoff.failures(self.usable_for(now).is_some());
        let time = caller.deadline.saturating_sub(now.boot);
        self.begin(caller, Refresh::required(now.boot, end, time, failures))
    }

    fn begin(&mut self, caller: &mut Caller, mut refresh: Refresh) -> Step {
        refresh.secret_version = self.secret_version;
        caller.error = None;
        caller.refresh = Some(refresh.clone());
        self.refresh = Some(refresh);
        self.latest_deadline = Duration::ZERO;
        self.counts.refreshes += 1;
        Step::Lead
    }

    fn follow(&mut self, refresh: Refresh, until: Duration, caller: &mut Caller) -> Step {
        self.latest_deadline = self.latest_deadline.max(caller.deadline);
        if !caller.has_waited {
            caller.has_waited = true;
            self.counts.waits += 1;
        }
        let until = until.min(refresh.abandoned_at());
        caller.refresh = Some(refresh);
        Step::Wait(until)
    }

    /// The error for a caller that gets no token: that of its own refresh, else the remembered one.
    fn fail(&self, now: Now, caller: &mut Caller) -> Step {
        if let Some(error) = caller.error.take() {
            return Step::Fail(error);
        }
        let timeout = |what: &str| Step::Fail(Error::new(ErrorKind::Timeout, what));
        if self.refresh_under_way(now).is_some() {
            return timeout("no cached token, and another call's request is still under way");
        }
        let next_request =
            self.backoff_end(now).max(self.negative_cache.end).max(self.min_interval_end());
        match &self.last_error {
            Some(error) if now.boot < next_request => Step::Fail(error.as_remembered()),
            _ => timeout("no cached token, and no time left to request one"),
        }
    }

    fn refresh_under_way(&self, now: Now) -> Option<Refresh> {
        self.refresh.clone().filter(|refresh| now.boot < refresh.abandoned_at())
    }

    fn min_interval_end(&self) -> Duration {
        self.last_start.map_or(Duration::ZERO, |start| start + MIN_INTERVAL)
    }

    fn backoff_end(&self, now: Now) -> Duration {
        self.backoff.end(now.boot, self.usable_for(now))
    }

    pub(super) fn usable_for(&self, now: Now) -> Option<Duration> {
        self.cached.as_ref()?.usable_for(now)
    }

    /// Whether the last request failed because the secret file could not be read. The operating
    /// system's roots may have been missing too: then a look at the secret file does no harm.
    fn lacks_secret(&self) -> bool {
        self.last_error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Config)
    }

    /// Whether this caller should check the secret file, on behalf of all: at most one does each
    /// second, and only while a new secret would end what prevents a refresh.
    fn should_check_secret(&mut self, now: Now) -> bool {
        let may_help = now.boot < self.negative_cache.end || self.lacks_secret();
        let due = may_help && now.boot >= self.secret_checked + SECRET_CHECK_INTERVAL;
        if due {
            self.secret_checked = now.boot;
        }
        due
    }

    /// The management API rejected this access token. Returns whether that made the cached token
    /// stale.
    pub fn reject(&mut self, now: Now, access_token: &str) -> bool {
        let ignored = now.boot < self.rejections.ignored_until;
        match &mut self.cached {
            Some(cached) if !ignored && !cached.rejected && cached.is(access_token) => {
                cached.rejected = true;
                self.counts.rejections += 1;
                true
            }
            _ => false,
        }
    }

    /// The secret was replaced: failures of the old one, or for lack of one, no longer count.
    pub fn secret_changed(&mut self) {
        self.secret_version += 1;
        self.negative_cache = NegativeCache::default();
        if self.lacks_secret() {
            self.backoff = Backoff::default();
        }
    }

    /// Takes the result of a check of the secret file.
    pub fn secret_checked(&mut self, now: Now, changed: bool) {
        self.secret_checked = now.boot;
        if changed {
            self.secret_changed();
        }
    }

    /// The cached token, if it is usable.
    pub fn usable(&self, now: Now) -> Option<Arc<Token>> {
        let cached = self.cached.as_ref().filter(|cached| cached.usable_for(now).is_some());
        cached.map(|cached| cached.token.clone())
    }

    /// How long this token stays fresh; zero if it is not, or is not the cached one.
    pub fn fresh_for(&self, now: Now, token: &Arc<Token>) -> Duration {
        let cached = self.cached.as_ref().filter(|cached| Arc::ptr_eq(&cached.token, token));
        cached.and_then(|cached| cached.fresh_for(now)).unwrap_or_default()
    }

    /// How long until a call would make a request, as far as is known now.
    pub fn refresh_in(&self, now: Now) -> Duration {
        let fresh_for = self.cached.as_ref().and_then(|cached| cached.fresh_for(now));
        let due = now.boot + fresh_for.unwrap_or_default();
        // A refresh under way will probably complete soon: look again after a second.
        let completion = self
            .refresh_under_way(now)
            .map_or(Duration::ZERO, |refresh| refresh.abandoned_at().min(now.boot + MIN_INTERVAL));
        let barred =
            [completion, self.min_interval_end(), self.backoff_end(now), self.negative_cache.end];
        let earliest = barred.into_iter().fold(due, Duration::max);
        let usable_for = self.cached.as_ref().and_then(|cached| {
            // Too late for a proactive refresh: a request could outlast the token. Then the next
            // useful moment is when the token becomes stale.
            let late = !self.pace.is_worthwhile(cached.time_for_a_request(earliest));
            cached.usable_for(now).filter(|_| late)
        });
        earliest.saturating_sub(now.boot).max(usable_for.unwrap_or_default())
    }

    pub fn last_error(&self) -> Option<&Error> {
        self.last_error.as_ref()
    }

    /// The time since the cached token was requested, and the time until it expires.
    pub fn age_and_remaining_life(&self, now: Now) -> Option<(Duration, Duration)> {
        let cached = self.cached.as_ref()?;
        Some((now.boot.saturating_sub(cached.sent.boot), cached.left(now)))
    }
}

/// Whether the error says nothing about the server. It is neither remembered nor retried.
pub(super) fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Argument | ErrorKind::Closed)
}

#[cfg(test)]
#[path = "../../tests/freshness/mod.rs"]
mod scenarios;
