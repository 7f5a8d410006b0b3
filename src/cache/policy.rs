//! The decisions, pure: what a caller gets at a certain instant, and what an answer changes.
//! Nothing here waits, sends or reads a clock. `docs/freshness.md` states the rules with their
//! reasons.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::os::Now;
use crate::token::{Grant, Token};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const EXPIRY_MARGIN: Duration = seconds(30);
const REFRESH_WINDOW: Duration = seconds(300);
/// Two answers with the same token and ends this close mean the same end: the server truncates.
const SAME_END: Duration = seconds(2);
const SAME_TOKEN_MARGIN: Duration = seconds(1);
/// No two refreshes start closer to each other.
const MIN_INTERVAL: Duration = seconds(1);
/// How long callers wait for somebody else's refresh while they hold a token that may still do.
const STALE_WAIT: Duration = seconds(3);
const PROACTIVE_ATTEMPT: Duration = seconds(3);
const ATTEMPT: Duration = seconds(10);
const ATTEMPTS: u32 = 3;
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];
/// A leader with less time than this may fail for lack of it.
const SHORT_TIME: Duration = seconds(5);
const MAX_SHORT_REFRESHES: u32 = 3;
/// How long a caller lets one with more time go first after a refresh that lacked time.
const YIELD: Duration = Duration::from_millis(50);
const BACKOFF: Duration = seconds(1);
const BACKOFF_USABLE: Duration = seconds(60);
const BACKOFF_WITHOUT: Duration = seconds(10);
const RETRY_AFTER_USABLE: Duration = seconds(300);
const RETRY_AFTER_WITHOUT: Duration = seconds(60);
const NEGATIVE_CACHE: Duration = seconds(5);
const MAX_NEGATIVE_CACHE: Duration = seconds(60);
const SECRET_CHECK: Duration = seconds(1);
const IGNORE_REJECTIONS: Duration = seconds(1);
const MAX_IGNORE_REJECTIONS: Duration = seconds(60);
/// How long the callers of a client that has worked before ride out an outage.
const GRACE_PERIOD: Duration = seconds(15);
/// A request may end this much later than it should.
const OVERRUN: Duration = Duration::from_millis(100);
/// A refresh this long past its end is abandoned.
const ABANDON_AFTER: Duration = seconds(1);

/// What a caller is to do next.
#[derive(Debug)]
pub(crate) enum Step {
    Give(Arc<Token>),
    Fail(Error),
    /// Make a request, as long as `attempt` says, and tell `answered`.
    Lead,
    /// Wait until then, or until something changes, and ask again.
    Wait(Duration),
    /// Look whether the secret file changed, tell `secret_checked`, and ask again.
    CheckSecret,
}

/// What a leader does after an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    Completed,
    /// One more request of the same refresh, not before then.
    Again(Duration),
}

/// One effort to get a token, made by one caller for everybody.
#[derive(Clone)]
struct Refresh {
    outcome: Arc<OnceLock<Outcome>>,
    end: Duration,
    attempts_left: u32,
    attempts_made: usize,
    /// Began while the token was usable.
    proactive: bool,
    /// Ends early only because its leader has little time.
    short: bool,
    secret_version: u64,
}

impl Refresh {
    fn is(&self, other: &Refresh) -> bool {
        Arc::ptr_eq(&self.outcome, &other.outcome)
    }
}

#[derive(Clone)]
enum Outcome {
    Token(Arc<Token>),
    Failed(Error),
    /// Nothing to share: look at the table again.
    Look,
}

/// One call, as long as it lasts.
pub(crate) struct Caller {
    deadline: Duration,
    /// The refresh it made or waits for.
    refresh: Option<Refresh>,
    stale_wait_end: Option<Duration>,
    /// What a refresh brought that it made or waited for.
    error: Option<Error>,
    was_proactive: bool,
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
            was_proactive: false,
            has_yielded: false,
            has_waited: false,
        }
    }

    fn own_refresh(&mut self) -> &mut Refresh {
        self.refresh.as_mut().expect("only who was told to fly asks")
    }
}

/// What is counted; hits are not: counting them would slow them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub refreshes: u64,
    pub attempts: u64,
    pub failures: u64,
    pub waits: u64,
    pub rejections: u64,
    pub denials: u64,
}

/// The token that is there, and its edges.
#[derive(Clone, Debug)]
pub(crate) struct CachedToken {
    pub token: Arc<Token>,
    life: Duration,
    sent: Now,
    end: Now,
    margin: Duration,
    refresh_window: Duration,
    rejected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Fresh,
    RefreshDue,
    Stale,
    Expired,
}

impl CachedToken {
    /// How long it stays usable, if it is.
    fn usable_for(&self, now: Now) -> Option<Duration> {
        match self.phase(now) {
            Phase::Fresh | Phase::RefreshDue => Some(self.left(now).saturating_sub(self.margin)),
            Phase::Stale | Phase::Expired => None,
        }
    }

    pub fn is_rejected(&self) -> bool {
        self.rejected
    }

    /// By the clock that says less.
    fn left(&self, now: Now) -> Duration {
        let boot = self.end.boot.saturating_sub(now.boot);
        boot.min(self.end.wall.saturating_sub(now.wall))
    }

    fn is_expired(&self, now: Now) -> bool {
        let left = self.end.boot.saturating_sub(now.boot);
        left.is_zero() || left < min_remaining_life(self.life)
    }

    /// How long a request may take that leaves time to give this token if it fails.
    fn room(&self, boot: Duration) -> Duration {
        let expired = min_remaining_life(self.life);
        let left = self.end.boot.saturating_sub(boot);
        left.saturating_sub(expired + OVERRUN.min(expired))
    }

    fn phase(&self, now: Now) -> Phase {
        let left = self.left(now);
        match () {
            () if self.is_expired(now) => Phase::Expired,
            () if self.rejected || left < self.margin || left.is_zero() => Phase::Stale,
            () if left < self.margin + self.refresh_window => Phase::RefreshDue,
            () => Phase::Fresh,
        }
    }
}

/// What keeps a caller from making a request itself.
enum Barrier {
    Refresh(Refresh),
    Denial,
    Backoff(Duration),
    MinInterval(Duration),
}

/// With less than this left of its life a token is dead: it would expire on its way to the API.
fn min_remaining_life(life: Duration) -> Duration {
    seconds(1).min(life / 20)
}

type Random = Box<dyn FnMut() -> f64 + Send>;

/// Everything a client remembers.
pub(crate) struct State {
    expiry_margin: Option<Duration>,
    /// From 0 up to 1.
    random: Random,
    cached: Option<CachedToken>,
    refresh: Option<Refresh>,
    last_start: Option<Duration>,
    last_exchange: Duration,
    long_attempts: u32,
    short_refreshes: u32,
    /// The latest deadline among those who wait for the refresh.
    latest_deadline: Duration,
    failures_in_a_row: u32,
    /// After a failure while the token was usable: when it becomes spent, and failures count anew.
    stale_at: Option<Duration>,
    last_error: Option<Error>,
    backoff_end: Duration,
    retry_after_end: Duration,
    outage_start: Option<Duration>,
    denials_in_a_row: u32,
    denial_end: Duration,
    secret_version: u64,
    secret_checked: Duration,
    ignore_rejections: Duration,
    ignore_rejections_end: Duration,
    pub counts: Counts,
}

impl State {
    /// `held` is what a parent process had.
    pub fn new(
        expiry_margin: Option<Duration>,
        random: Random,
        cached: Option<CachedToken>,
    ) -> State {
        let mut state = State {
            expiry_margin,
            random,
            cached,
            refresh: None,
            last_start: None,
            last_exchange: Duration::ZERO,
            long_attempts: 0,
            short_refreshes: 0,
            latest_deadline: Duration::ZERO,
            failures_in_a_row: 0,
            stale_at: None,
            last_error: None,
            backoff_end: Duration::ZERO,
            retry_after_end: Duration::ZERO,
            outage_start: None,
            denials_in_a_row: 0,
            denial_end: Duration::ZERO,
            secret_version: 0,
            secret_checked: Duration::ZERO,
            ignore_rejections: Duration::ZERO,
            ignore_rejections_end: Duration::ZERO,
            counts: Counts::default(),
        };
        if let Some(mut cached) = state.cached.take() {
            // The child of a fork does not refresh at the same moment as its parent: it draws a
            // moment of its own, and has another `Arc`, so that the forking thread, which still
            // knows its parent's by address, asks about it too.
            if !cached.refresh_window.is_zero() {
                cached.refresh_window = state.draw_refresh_window(cached.life);
            }
            cached.token = Arc::new(Token::clone(&cached.token));
            state.cached = Some(cached);
        }
        state
    }

    pub fn cached(&self) -> Option<&CachedToken> {
        self.cached.as_ref()
    }

    /// What the caller is to do now.
    pub fn ask(&mut self, now: Now, caller: &mut Caller) -> Step {
        if let Some(given) = self.completed(now, caller) {
            return given;
        }
        let phase = self.cached.as_ref().map(|cached| cached.phase(now));
        match phase {
            Some(Phase::Fresh | Phase::RefreshDue) => self.outage_start = None,
            // A rejection and the wall clock may make it so sooner than was to be expected.
            _ => self.stale_at = self.stale_at.map(|stale_at| stale_at.min(now.boot)),
        }
        match phase {
            Some(Phase::Fresh) => self.give(),
            Some(Phase::RefreshDue) => self.ask_refresh_due(now, caller),
            Some(Phase::Stale) => self.ask_stale(now, caller),
            Some(Phase::Expired) | None => self.ask_without_token(now, caller),
        }
    }

    /// What the refresh brought that the caller made or waited for.
    fn completed(&self, now: Now, caller: &mut Caller) -> Option<Step> {
        let outcome = caller.refresh.as_ref()?.outcome.get()?.clone();
        caller.refresh = None;
        match outcome {
            Outcome::Token(token) => {
                let cached =
                    self.cached.as_ref().filter(|cached| Arc::ptr_eq(&cached.token, &token));
                cached.is_some_and(|cached| !cached.is_expired(now)).then_some(Step::Give(token))
            }
            Outcome::Failed(error) if is_final(&error) => {
                let alive = self.cached.as_ref().filter(|cached| !cached.is_expired(now));
                Some(alive.map_or(Step::Fail(error), |cached| Step::Give(cached.token.clone())))
            }
            Outcome::Failed(error) => {
                caller.error = Some(error);
                None
            }
            Outcome::Look => None,
        }
    }

    fn give(&self) -> Step {
        let cached = self.cached.as_ref().expect("a phase is a token's");
        Step::Give(cached.token.clone())
    }

    fn ask_refresh_due(&mut self, now: Now, caller: &mut Caller) -> Step {
        let cached = self.cached.as_ref().expect("refresh-due is a token's");
        let early = cached.left(now) > cached.margin + cached.refresh_window / 2;
        let limit = (2 * self.last_exchange).clamp(PROACTIVE_ATTEMPT, ATTEMPT);
        let time = limit.min(caller.deadline.saturating_sub(now.boot) / 2);
        let room = cached.room(now.boot);
        let enough = (2 * self.last_exchange).clamp(seconds(1), PROACTIVE_ATTEMPT);
        if time.is_zero() || caller.was_proactive || !self.is_enough(room) {
            return self.give();
        }
        match self.barrier(now) {
            Some(Barrier::Denial | Barrier::Backoff(_)) if self.checks_secret(now) => {
                Step::CheckSecret
            }
            Some(_) => self.give(),
            None if early && time < enough => self.give(),
            None => {
                caller.was_proactive = true;
                let time = time.min(room);
                let refresh = self.plan(now.boot + time, 1);
                let short = time < PROACTIVE_ATTEMPT;
                self.begin_refresh(now, caller, Refresh { proactive: true, short, ..refresh })
            }
        }
    }

    fn ask_stale(&mut self, now: Now, caller: &mut Caller) -> Step {
        if now.boot >= caller.deadline || caller.was_proactive {
            return self.give();
        }
        match self.barrier(now) {
            Some(Barrier::Refresh(refresh)) => {
                let end = *caller.stale_wait_end.get_or_insert(now.boot + STALE_WAIT);
                let end = end.min(caller.deadline);
                if now.boot < end { self.join(refresh, end, caller) } else { self.give() }
            }
            Some(Barrier::Denial | Barrier::Backoff(_)) if self.checks_secret(now) => {
                Step::CheckSecret
            }
            Some(Barrier::MinInterval(end)) if end < caller.deadline => Step::Wait(end),
            Some(_) => self.give(),
            // A caller that holds a token waits for no more than one attempt.
            None => {
                self.lead_refresh(now, caller, caller.deadline.min(now.boot + self.attempt_limit()))
            }
        }
    }

    fn ask_without_token(&mut self, now: Now, caller: &mut Caller) -> Step {
        let in_grace_period = self.in_grace_period(now);
        if now.boot >= caller.deadline {
            return self.fail(now, caller);
        }
        let spare = seconds(1).min(caller.deadline.saturating_sub(now.boot) / 4);
        match self.barrier(now) {
            Some(Barrier::Refresh(refresh)) => self.join(refresh, caller.deadline, caller),
            Some(Barrier::Denial | Barrier::Backoff(_)) if self.checks_secret(now) => {
                Step::CheckSecret
            }
            Some(Barrier::Backoff(end)) if in_grace_period && end + spare < caller.deadline => {
                Step::Wait(end)
            }
            Some(Barrier::MinInterval(end)) if end < caller.deadline => Step::Wait(end),
            Some(_) => self.fail(now, caller),
            None => self.lead_refresh(now, caller, caller.deadline),
        }
    }

    fn barrier(&self, now: Now) -> Option<Barrier> {
        let (backoff_end, min_interval_end) = (self.backoff_end(now), self.min_interval_end());
        match self.refresh_under_way(now) {
            Some(refresh) => Some(Barrier::Refresh(refresh)),
            None if now.boot < self.denial_end => Some(Barrier::Denial),
            None if now.boot < backoff_end => Some(Barrier::Backoff(backoff_end)),
            None if now.boot < min_interval_end => Some(Barrier::MinInterval(min_interval_end)),
            None => None,
        }
    }

    fn lead_refresh(&mut self, now: Now, caller: &mut Caller, end: Duration) -> Step {
        let lacked_time = self.short_refreshes > 0;
        if lacked_time && caller.deadline < self.latest_deadline && !caller.has_yielded {
            caller.has_yielded = true;
            return Step::Wait(caller.deadline.min(now.boot + YIELD));
        }
        let attempts = if self.failures(now) == 0 { ATTEMPTS } else { 1 };
        let short = caller.deadline.saturating_sub(now.boot) < SHORT_TIME;
        let refresh = self.plan(end, attempts);
        self.begin_refresh(now, caller, Refresh { short, ..refresh })
    }

    fn plan(&self, end: Duration, attempts: u32) -> Refresh {
        Refresh {
            outcome: Arc::default(),
            end,
            attempts_left: attempts,
            attempts_made: 0,
            proactive: false,
            short: false,
            secret_version: self.secret_version,
        }
    }

    fn begin_refresh(&mut self, now: Now, caller: &mut Caller, refresh: Refresh) -> Step {
        caller.error = None;
        caller.refresh = Some(refresh.clone());
        self.refresh = Some(refresh);
        self.last_start = Some(now.boot);
        self.latest_deadline = Duration::ZERO;
        self.counts.refreshes += 1;
        Step::Lead
    }

    fn join(&mut self, refresh: Refresh, until: Duration, caller: &mut Caller) -> Step {
        self.latest_deadline = self.latest_deadline.max(caller.deadline);
        if !caller.has_waited {
            caller.has_waited = true;
            self.counts.waits += 1;
        }
        let abandoned = refresh.end + ABANDON_AFTER;
        caller.refresh = Some(refresh);
        Step::Wait(until.min(abandoned))
    }

    /// Without a token to give: what this call's refresh brought, or what is remembered.
    fn fail(&self, now: Now, caller: &mut Caller) -> Step {
        if let Some(error) = caller.error.take() {
            return Step::Fail(error);
        }
        let timeout = |what: &str| Step::Fail(Error::new(ErrorKind::Timeout, what));
        if self.refresh_under_way(now).is_some() {
            return timeout("no cached token, and another call's request is still under way");
        }
        let next_request = self.backoff_end(now).max(self.denial_end).max(self.min_interval_end());
        match &self.last_error {
            Some(error) if now.boot < next_request => Step::Fail(error.as_remembered()),
            _ => timeout("no cached token, and no time left to request one"),
        }
    }

    fn refresh_under_way(&self, now: Now) -> Option<Refresh> {
        let refresh = self.refresh.as_ref()?;
        (now.boot < refresh.end + ABANDON_AFTER).then(|| refresh.clone())
    }

    fn min_interval_end(&self) -> Duration {
        self.last_start.map_or(Duration::ZERO, |start| start + MIN_INTERVAL)
    }

    /// Whether the last request failed because the secret file could not be read: nothing else that
    /// a request needs is a matter of configuration.
    fn lacks_secret(&self) -> bool {
        self.last_error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Config)
    }

    /// Whether this caller looks at the secret file, for everybody.
    fn checks_secret(&mut self, now: Now) -> bool {
        let helps = now.boot < self.denial_end || self.lacks_secret();
        let due = helps && now.boot >= self.secret_checked + SECRET_CHECK;
        if due {
            self.secret_checked = now.boot;
        }
        due
    }

    /// Whether a request ahead of time that may take so long could bring something. One that is bound
    /// to fail would only delay the next one by the minimum interval.
    fn is_enough(&self, room: Duration) -> bool {
        !room.is_zero() && room >= self.last_exchange.min(seconds(1))
    }

    fn in_grace_period(&self, now: Now) -> bool {
        let has_worked = self.cached.is_some();
        has_worked && self.outage_start.is_none_or(|start| now.boot < start + GRACE_PERIOD)
    }

    /// A backoff from when the token was usable ends when it is spent, but for what the server
    /// advised.
    fn backoff_end(&self, now: Now) -> Duration {
        let Some(expected) = self.stale_at else {
            return self.backoff_end;
        };
        let usable_for = self.cached.as_ref().and_then(|cached| cached.usable_for(now));
        let stale = usable_for.map_or(expected.min(now.boot), |time| now.boot + time);
        let advised = self.retry_after_end.min(stale + RETRY_AFTER_WITHOUT);
        self.backoff_end.min(stale.max(advised))
    }

    /// Those from when the token was usable no longer count once it is not.
    fn failures(&self, now: Now) -> u32 {
        let usable = self.cached.as_ref().is_some_and(|cached| cached.usable_for(now).is_some());
        if self.stale_at.is_some() && !usable { 0 } else { self.failures_in_a_row }
    }

    fn attempt_limit(&self) -> Duration {
        ATTEMPT.max(2 * self.last_exchange) * (1 << self.long_attempts.min(6))
    }

    /// How long the next attempt of the caller's refresh may last.
    pub fn attempt(&mut self, now: Now, caller: &mut Caller) -> Duration {
        self.counts.attempts += 1;
        let refresh = caller.own_refresh();
        refresh.secret_version = self.secret_version;
        let left = refresh.end.saturating_sub(now.boot);
        if refresh.proactive { left } else { left.min(self.attempt_limit()) }
    }

    /// Takes the answer to the request that was sent at `sent` with `time` to answer.
    pub fn answered(
        &mut self,
        sent: Now,
        now: Now,
        time: Duration,
        caller: &mut Caller,
        answer: Result<Grant, Error>,
    ) -> Next {
        let refresh = caller.own_refresh();
        refresh.attempts_left = refresh.attempts_left.saturating_sub(1);
        refresh.attempts_made += 1;
        let refresh = refresh.clone();
        let abandoned = !self.refresh.as_ref().is_some_and(|current| current.is(&refresh));
        if answer.is_ok() && !abandoned {
            // A suspend meanwhile is not the server's slowness.
            self.last_exchange = now.boot.saturating_sub(sent.boot).min(time);
        }
        let outcome = match answer.and_then(|grant| self.granted(sent, now, &refresh, &grant)) {
            Ok(Some(again)) => return Next::Again(again),
            Ok(None) => match &self.cached {
                // A late answer of an abandoned refresh changes nothing.
                Some(cached) if cached.sent == sent => Outcome::Token(cached.token.clone()),
                _ => Outcome::Look,
            },
            Err(error) if abandoned => {
                caller.error = Some(error);
                Outcome::Look
            }
            Err(error) => {
                if let Some(again) = self.next_attempt(now, time, &refresh, &error) {
                    return Next::Again(again);
                }
                caller.error = Some(error.clone());
                self.record_failure(now, time, &refresh, error)
            }
        };
        self.complete(&refresh, outcome);
        Next::Completed
    }

    /// Ends a refresh that was given up, because its client was closed.
    pub fn give_up(&mut self, caller: &mut Caller) {
        let refresh = caller.own_refresh().clone();
        self.complete(&refresh, Outcome::Look);
    }

    fn complete(&mut self, refresh: &Refresh, outcome: Outcome) {
        if self.refresh.as_ref().is_some_and(|current| current.is(refresh)) {
            self.refresh = None;
        }
        // Nobody else sets it.
        let _ = refresh.outcome.set(outcome);
    }

    /// Holds the token of an answer, if it is newer than the one that is held and not dead. When to
    /// ask again, if the server has only a token that is about to die.
    fn granted(
        &mut self,
        sent: Now,
        now: Now,
        refresh: &Refresh,
        grant: &Grant,
    ) -> Result<Option<Duration>, Error> {
        if self.cached.as_ref().is_some_and(|cached| cached.sent.boot > sent.boot) {
            return Ok(None);
        }
        let (new, known) = self.candidate(sent, grant);
        let end = new.end.boot;
        let expired = new.is_expired(now);
        let expiring = known && end.saturating_sub(now.boot) < SAME_END;
        if !expired {
            self.replace_cached(now, new);
            if !expiring {
                return Ok(None);
            }
        }
        let again =
            end.max(now.boot) + seconds(1) + Duration::from_millis(500).mul_f64((self.random)());
        let in_time = again + self.last_exchange < refresh.end;
        match in_time && !refresh.proactive && refresh.attempts_made <= 2 {
            true => Ok(Some(again)),
            false if expired => Err(expired_on_arrival(sent, now, grant, again)),
            false => Ok(None),
        }
    }

    /// The token of an answer, and whether it is the one that is held.
    fn candidate(&mut self, sent: Now, grant: &Grant) -> (CachedToken, bool) {
        let life = grant.expires_in;
        let mut end = Now { boot: sent.boot + life, wall: sent.wall + life };
        let same = self.cached.as_ref();
        let same = same.filter(|cached| cached.token.access_token() == grant.token.access_token());
        let known = same.is_some();
        let (margin, refresh_window) = match same {
            Some(old) => {
                let later = old.end.boot.saturating_sub(end.boot);
                if later < SAME_END {
                    end = Now { boot: end.boot + later, wall: end.wall + later };
                }
                (SAME_TOKEN_MARGIN, Duration::ZERO)
            }
            None => (self.margin(life), self.draw_refresh_window(life)),
        };
        let token = Arc::new(grant.token.expiring_at(end.wall));
        (CachedToken { token, life, sent, end, margin, refresh_window, rejected: false }, known)
    }

    fn replace_cached(&mut self, now: Now, new: CachedToken) {
        if self.cached.as_ref().is_some_and(|old| old.rejected) {
            self.ignore_rejections(now);
        }
        self.cached = Some(new);
        self.forget_failures();
    }

    fn forget_failures(&mut self) {
        self.long_attempts = 0;
        self.short_refreshes = 0;
        self.last_error = None;
        self.forget_backoff();
        self.forget_denial();
    }

    fn forget_backoff(&mut self) {
        self.stale_at = None;
        self.failures_in_a_row = 0;
        self.backoff_end = Duration::ZERO;
        self.retry_after_end = Duration::ZERO;
        self.outage_start = None;
    }

    fn margin(&self, life: Duration) -> Duration {
        let margin = match self.expiry_margin {
            Some(margin) => margin.min(life / 2),
            None => EXPIRY_MARGIN.min(life / 20),
        };
        margin.max(min_remaining_life(life))
    }

    fn draw_refresh_window(&mut self, life: Duration) -> Duration {
        let refresh_window = REFRESH_WINDOW.min(life / 5).mul_f64(0.5 + 0.5 * (self.random)());
        refresh_window.max(2 * self.last_exchange).min(life / 2)
    }

    /// When the refresh tries once more, if it does.
    fn next_attempt(
        &mut self,
        now: Now,
        time: Duration,
        refresh: &Refresh,
        error: &Error,
    ) -> Option<Duration> {
        let reached_limit = time >= self.attempt_limit() && !refresh.proactive;
        if error.kind() == ErrorKind::Timeout && reached_limit {
            self.long_attempts += 1;
        }
        let retry = error.is_retryable()
            && error.retry_after_at_first().is_none()
            && refresh.attempts_left > 0;
        let pause = PAUSES.get(refresh.attempts_made - 1).filter(|_| retry)?;
        let again = now.boot + pause.mul_f64(0.5 + 0.5 * (self.random)());
        (again < refresh.end).then_some(again)
    }

    /// What a failed refresh means for later ones, and what those who wait are told.
    fn record_failure(
        &mut self,
        now: Now,
        time: Duration,
        refresh: &Refresh,
        error: Error,
    ) -> Outcome {
        if is_final(&error) {
            return Outcome::Failed(error);
        }
        self.counts.failures += 1;
        let out_of_time = error.kind() == ErrorKind::Timeout && time < self.attempt_limit();
        if refresh.short && out_of_time && self.short_refreshes < MAX_SHORT_REFRESHES {
            self.short_refreshes += 1;
            self.last_error = Some(error);
            return Outcome::Look;
        }
        let wait = match error.kind() {
            ErrorKind::Denied if refresh.secret_version != self.secret_version => {
                self.last_error = Some(error);
                return Outcome::Look;
            }
            ErrorKind::Denied => self.denied(now),
            ErrorKind::Config => {
                self.secret_checked = now.boot;
                self.back_off(now, &error)
            }
            _ => self.back_off(now, &error),
        };
        let error = error.with_retry_after(wait);
        self.last_error = Some(error.clone());
        if refresh.proactive { Outcome::Look } else { Outcome::Failed(error) }
    }

    fn denied(&mut self, now: Now) -> Duration {
        let wait = doubled(NEGATIVE_CACHE, self.denials_in_a_row, MAX_NEGATIVE_CACHE);
        self.denials_in_a_row += 1;
        self.counts.denials += 1;
        self.denial_end = now.boot + wait;
        self.secret_checked = now.boot;
        wait
    }

    fn back_off(&mut self, now: Now, error: &Error) -> Duration {
        let until_stale = self.cached.as_ref().and_then(|cached| cached.usable_for(now));
        let longest = if until_stale.is_some() { BACKOFF_USABLE } else { BACKOFF_WITHOUT };
        let failures = self.failures(now);
        let mut wait = doubled(BACKOFF, failures, longest);
        if let Some(until_stale) = until_stale {
            // Room for two more attempts.
            wait = wait.min(until_stale / 3).max(BACKOFF);
        } else if self.outage_start.is_none() {
            self.outage_start = Some(now.boot);
        }
        self.stale_at = until_stale.map(|time| now.boot + time);
        wait = wait.mul_f64(0.8 + 0.4 * (self.random)());
        if let Some(advised) = error.retry_after_at_first() {
            let most = if until_stale.is_some() { RETRY_AFTER_USABLE } else { RETRY_AFTER_WITHOUT };
            let advised = advised.min(most).mul_f64(1.0 + 0.2 * (self.random)());
            wait = wait.max(advised);
            self.retry_after_end = now.boot + advised;
        }
        self.failures_in_a_row = failures + 1;
        self.backoff_end = now.boot + wait;
        wait
    }

    /// The management API did not accept this access token. Whether it was the one we have.
    pub fn reject(&mut self, now: Now, access_token: &str) -> bool {
        let ignored = now.boot < self.ignore_rejections_end;
        match &mut self.cached {
            Some(cached)
                if !ignored && !cached.rejected && cached.token.access_token() == access_token =>
            {
                cached.rejected = true;
                self.counts.rejections += 1;
                true
            }
            _ => false,
        }
    }

    fn ignore_rejections(&mut self, now: Now) {
        let quiet = now.boot >= self.ignore_rejections_end + MAX_IGNORE_REJECTIONS;
        self.ignore_rejections = match quiet || self.ignore_rejections.is_zero() {
            true => IGNORE_REJECTIONS,
            false => (2 * self.ignore_rejections).min(MAX_IGNORE_REJECTIONS),
        };
        self.ignore_rejections_end = now.boot + self.ignore_rejections;
    }

    /// There is another secret: what failed for the old one, or for want of one, counts no more.
    pub fn secret_changed(&mut self) {
        self.secret_version += 1;
        self.forget_denial();
        if self.lacks_secret() {
            self.forget_backoff();
        }
    }

    /// What a look at the secret file showed.
    pub fn secret_checked(&mut self, now: Now, changed: bool) {
        self.secret_checked = now.boot;
        if changed {
            self.secret_changed();
        }
    }

    fn forget_denial(&mut self) {
        self.denials_in_a_row = 0;
        self.denial_end = Duration::ZERO;
    }

    /// The token, if it is usable.
    pub fn usable(&self, now: Now) -> Option<Arc<Token>> {
        let cached = self.cached.as_ref()?;
        let usable = matches!(cached.phase(now), Phase::Fresh | Phase::RefreshDue);
        usable.then(|| cached.token.clone())
    }

    /// How long that token stays fresh.
    pub fn fresh_for(&self, now: Now, token: &Arc<Token>) -> Duration {
        match &self.cached {
            Some(cached)
                if Arc::ptr_eq(&cached.token, token) && cached.phase(now) == Phase::Fresh =>
            {
                cached.left(now).saturating_sub(cached.margin + cached.refresh_window)
            }
            _ => Duration::ZERO,
        }
    }

    /// How long until a call would do something useful.
    pub fn refresh_in(&self, now: Now) -> Duration {
        let fresh = self.cached.as_ref().filter(|cached| cached.phase(now) == Phase::Fresh);
        let due = fresh.map_or(now.boot, |cached| {
            now.boot + cached.left(now).saturating_sub(cached.margin + cached.refresh_window)
        });
        let completion = self.refresh_under_way(now).map_or(Duration::ZERO, |refresh| {
            (refresh.end + ABANDON_AFTER).min(now.boot + MIN_INTERVAL)
        });
        let barred = [completion, self.min_interval_end(), self.backoff_end(now), self.denial_end];
        let earliest = barred.into_iter().fold(due, Duration::max).saturating_sub(now.boot);
        let usable_for = self.cached.as_ref().and_then(|cached| {
            // Too late for a request ahead of time, too early for one that everybody waits for.
            let late = !self.is_enough(cached.room(now.boot + earliest));
            cached.usable_for(now).filter(|_| late)
        });
        earliest.max(usable_for.unwrap_or_default())
    }

    pub fn last_error(&self) -> Option<&Error> {
        self.last_error.as_ref()
    }

    /// Since the current token was asked for, and until it expires.
    pub fn age_and_remaining_life(&self, now: Now) -> Option<(Duration, Duration)> {
        let cached = self.cached.as_ref()?;
        Some((now.boot.saturating_sub(cached.sent.boot), cached.left(now)))
    }
}

fn expired_on_arrival(sent: Now, now: Now, grant: &Grant, again: Duration) -> Error {
    let took = now.boot.saturating_sub(sent.boot).as_secs_f64();
    let message = format!(
        "the access token had expired when it arrived: OneAccess said that it was valid for {} s, \
         and the request took {took:.1} s",
        grant.expires_in.as_secs()
    );
    let error = Error::new(ErrorKind::Protocol, message).with_retryable(true);
    error.with_retry_after(again.saturating_sub(now.boot))
}

/// Says nothing about the server: not remembered, and not tried again.
fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Argument | ErrorKind::Closed)
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    (first * (1 << times.min(10))).min(longest)
}

#[cfg(test)]
#[path = "../../tests/freshness/mod.rs"]
mod scenarios;
