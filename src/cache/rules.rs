//! The decisions, pure: what a caller gets at a certain instant, and what an answer changes.
//! Nothing here waits, sends or reads a clock. `docs/freshness.md` states the rules with their
//! reasons.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::system::Now;
use crate::token::{Grant, Token};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const MARGIN: Duration = seconds(30);
const LEAD: Duration = seconds(300);
/// Two answers with the same token and ends this close mean the same end: the server truncates.
const SAME_END: Duration = seconds(2);
const SAME_TOKEN_MARGIN: Duration = seconds(1);
/// No two flights start closer to each other.
const FLOOR: Duration = seconds(1);
/// How long callers wait for somebody else's flight while they hold a token that may still do.
const SPENT_WAIT: Duration = seconds(3);
const AHEAD_ATTEMPT: Duration = seconds(3);
const ATTEMPT: Duration = seconds(10);
const ATTEMPTS: u32 = 3;
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];
/// A flyer with less time than this may fail for lack of it.
const SHORT: Duration = seconds(5);
const SHORT_FLIGHTS: u32 = 3;
/// How long a caller lets one with more time go first after a flight that lacked time.
const YIELD: Duration = Duration::from_millis(50);
const BACKOFF: Duration = seconds(1);
const BACKOFF_USABLE: Duration = seconds(60);
const BACKOFF_WITHOUT: Duration = seconds(10);
const RETRY_AFTER_USABLE: Duration = seconds(300);
const RETRY_AFTER_WITHOUT: Duration = seconds(60);
const DENIAL: Duration = seconds(5);
const LONGEST_DENIAL: Duration = seconds(60);
const SECRET_CHECK: Duration = seconds(1);
const IGNORE_REJECTIONS: Duration = seconds(1);
const LONGEST_IGNORE: Duration = seconds(60);
/// How long the callers of a client that has worked before ride out an outage.
const RIDE_OUT: Duration = seconds(15);
/// A request may end this much later than it should.
const OVERRUN: Duration = Duration::from_millis(100);
/// A flight this long past its end is abandoned.
const ABANDON: Duration = seconds(1);

/// What a caller is to do next.
#[derive(Debug)]
pub(crate) enum Step {
    Give(Arc<Token>),
    Fail(Error),
    /// Make a request, as long as `attempt` says, and tell `answered`.
    Fly,
    /// Wait until then, or until something changes, and ask again.
    Wait(Duration),
    /// Look whether the secret file changed, tell `secret_checked`, and ask again.
    CheckSecret,
}

/// What a flyer does after an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    Landed,
    /// One more request of the same flight, not before then.
    Again(Duration),
}

/// One effort to get a token, made by one caller for everybody.
#[derive(Clone)]
struct Flight {
    outcome: Arc<OnceLock<Outcome>>,
    end: Duration,
    attempts_left: u32,
    attempts_made: usize,
    /// Began while the token was usable.
    ahead: bool,
    /// Ends early only because its flyer has little time.
    short: bool,
    secret_version: u64,
}

impl Flight {
    fn is(&self, other: &Flight) -> bool {
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
    /// The flight it made or waits for.
    flight: Option<Flight>,
    spent_wait_end: Option<Duration>,
    /// What a flight brought that it made or waited for.
    error: Option<Error>,
    has_flown_ahead: bool,
    has_yielded: bool,
    has_waited: bool,
}

impl Caller {
    pub fn new(deadline: Duration) -> Caller {
        Caller {
            deadline,
            flight: None,
            spent_wait_end: None,
            error: None,
            has_flown_ahead: false,
            has_yielded: false,
            has_waited: false,
        }
    }

    fn own_flight(&mut self) -> &mut Flight {
        self.flight.as_mut().expect("only who was told to fly asks")
    }
}

/// What is counted; hits are not: counting them would slow them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub flights: u64,
    pub attempts: u64,
    pub failures: u64,
    pub waits: u64,
    pub rejections: u64,
    pub denials: u64,
}

/// The token that is there, and its edges.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub token: Arc<Token>,
    life: Duration,
    sent: Now,
    end: Now,
    margin: Duration,
    lead: Duration,
    rejected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Fresh,
    Ageing,
    Spent,
    Dead,
}

impl Held {
    /// How long it stays usable, if it is.
    fn usable_for(&self, now: Now) -> Option<Duration> {
        match self.phase(now) {
            Phase::Fresh | Phase::Ageing => Some(self.left(now).saturating_sub(self.margin)),
            Phase::Spent | Phase::Dead => None,
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

    fn is_dead(&self, now: Now) -> bool {
        let left = self.end.boot.saturating_sub(now.boot);
        left.is_zero() || left < dead_time(self.life)
    }

    /// How long a request may take that leaves time to give this token if it fails.
    fn room(&self, boot: Duration) -> Duration {
        let dead = dead_time(self.life);
        let left = self.end.boot.saturating_sub(boot);
        left.saturating_sub(dead + OVERRUN.min(dead))
    }

    fn phase(&self, now: Now) -> Phase {
        let left = self.left(now);
        match () {
            () if self.is_dead(now) => Phase::Dead,
            () if self.rejected || left < self.margin || left.is_zero() => Phase::Spent,
            () if left < self.margin + self.lead => Phase::Ageing,
            () => Phase::Fresh,
        }
    }
}

/// What keeps a caller from making a request itself.
enum Barrier {
    Flight(Flight),
    Denial,
    Backoff(Duration),
    Floor(Duration),
}

/// With less than this left of its life a token is dead: it would expire on its way to the API.
fn dead_time(life: Duration) -> Duration {
    seconds(1).min(life / 20)
}

type Chance = Box<dyn FnMut() -> f64 + Send>;

/// Everything a client remembers.
pub(crate) struct State {
    expiry_margin: Option<Duration>,
    /// From 0 up to 1.
    chance: Chance,
    held: Option<Held>,
    flight: Option<Flight>,
    last_start: Option<Duration>,
    last_exchange: Duration,
    long_attempts: u32,
    short_flights: u32,
    /// The latest deadline among those who wait for the flight.
    latest_deadline: Duration,
    failures_in_a_row: u32,
    /// After a failure while the token was usable: when it becomes spent, and failures count anew.
    spent_at: Option<Duration>,
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
    pub fn new(expiry_margin: Option<Duration>, chance: Chance, held: Option<Held>) -> State {
        let mut state = State {
            expiry_margin,
            chance,
            held,
            flight: None,
            last_start: None,
            last_exchange: Duration::ZERO,
            long_attempts: 0,
            short_flights: 0,
            latest_deadline: Duration::ZERO,
            failures_in_a_row: 0,
            spent_at: None,
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
        if let Some(mut held) = state.held.take() {
            // The child of a fork does not refresh at the same moment as its parent: it draws a
            // moment of its own, and has another `Arc`, so that the forking thread, which still
            // knows its parent's by address, asks about it too.
            if !held.lead.is_zero() {
                held.lead = state.draw_lead(held.life);
            }
            held.token = Arc::new(Token::clone(&held.token));
            state.held = Some(held);
        }
        state
    }

    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// What the caller is to do now.
    pub fn ask(&mut self, now: Now, caller: &mut Caller) -> Step {
        if let Some(given) = self.landed(now, caller) {
            return given;
        }
        let phase = self.held.as_ref().map(|held| held.phase(now));
        match phase {
            Some(Phase::Fresh | Phase::Ageing) => self.outage_start = None,
            // A rejection and the wall clock may make it so sooner than was to be expected.
            _ => self.spent_at = self.spent_at.map(|spent_at| spent_at.min(now.boot)),
        }
        match phase {
            Some(Phase::Fresh) => self.give(),
            Some(Phase::Ageing) => self.ask_ageing(now, caller),
            Some(Phase::Spent) => self.ask_spent(now, caller),
            Some(Phase::Dead) | None => self.ask_without(now, caller),
        }
    }

    /// What the flight brought that the caller made or waited for.
    fn landed(&self, now: Now, caller: &mut Caller) -> Option<Step> {
        let outcome = caller.flight.as_ref()?.outcome.get()?.clone();
        caller.flight = None;
        match outcome {
            Outcome::Token(token) => {
                let held = self.held.as_ref().filter(|held| Arc::ptr_eq(&held.token, &token));
                held.is_some_and(|held| !held.is_dead(now)).then_some(Step::Give(token))
            }
            Outcome::Failed(error) if is_final(&error) => {
                let alive = self.held.as_ref().filter(|held| !held.is_dead(now));
                Some(alive.map_or(Step::Fail(error), |held| Step::Give(held.token.clone())))
            }
            Outcome::Failed(error) => {
                caller.error = Some(error);
                None
            }
            Outcome::Look => None,
        }
    }

    fn give(&self) -> Step {
        let held = self.held.as_ref().expect("a phase is a token's");
        Step::Give(held.token.clone())
    }

    fn ask_ageing(&mut self, now: Now, caller: &mut Caller) -> Step {
        let held = self.held.as_ref().expect("ageing is a token's");
        let early = held.left(now) > held.margin + held.lead / 2;
        let limit = (2 * self.last_exchange).clamp(AHEAD_ATTEMPT, ATTEMPT);
        let time = limit.min(caller.deadline.saturating_sub(now.boot) / 2);
        let room = held.room(now.boot);
        let enough = (2 * self.last_exchange).clamp(seconds(1), AHEAD_ATTEMPT);
        if time.is_zero() || caller.has_flown_ahead || !self.is_enough(room) {
            return self.give();
        }
        match self.barrier(now) {
            Some(Barrier::Denial | Barrier::Backoff(_)) if self.checks_secret(now) => {
                Step::CheckSecret
            }
            Some(_) => self.give(),
            None if early && time < enough => self.give(),
            None => {
                caller.has_flown_ahead = true;
                let time = time.min(room);
                let flight = self.plan(now.boot + time, 1);
                let short = time < AHEAD_ATTEMPT;
                self.take_off(now, caller, Flight { ahead: true, short, ..flight })
            }
        }
    }

    fn ask_spent(&mut self, now: Now, caller: &mut Caller) -> Step {
        if now.boot >= caller.deadline || caller.has_flown_ahead {
            return self.give();
        }
        match self.barrier(now) {
            Some(Barrier::Flight(flight)) => {
                let end = *caller.spent_wait_end.get_or_insert(now.boot + SPENT_WAIT);
                let end = end.min(caller.deadline);
                if now.boot < end { self.join(flight, end, caller) } else { self.give() }
            }
            Some(Barrier::Denial | Barrier::Backoff(_)) if self.checks_secret(now) => {
                Step::CheckSecret
            }
            Some(Barrier::Floor(end)) if end < caller.deadline => Step::Wait(end),
            Some(_) => self.give(),
            // A caller that holds a token waits for no more than one attempt.
            None => self.fly(now, caller, caller.deadline.min(now.boot + self.attempt_limit())),
        }
    }

    fn ask_without(&mut self, now: Now, caller: &mut Caller) -> Step {
        let riding_out = self.rides_out(now);
        if now.boot >= caller.deadline {
            return self.fail(now, caller);
        }
        let spare = seconds(1).min(caller.deadline.saturating_sub(now.boot) / 4);
        match self.barrier(now) {
            Some(Barrier::Flight(flight)) => self.join(flight, caller.deadline, caller),
            Some(Barrier::Denial | Barrier::Backoff(_)) if self.checks_secret(now) => {
                Step::CheckSecret
            }
            Some(Barrier::Backoff(end)) if riding_out && end + spare < caller.deadline => {
                Step::Wait(end)
            }
            Some(Barrier::Floor(end)) if end < caller.deadline => Step::Wait(end),
            Some(_) => self.fail(now, caller),
            None => self.fly(now, caller, caller.deadline),
        }
    }

    fn barrier(&self, now: Now) -> Option<Barrier> {
        let (backoff_end, floor_end) = (self.backoff_end(now), self.floor_end());
        match self.flight_under_way(now) {
            Some(flight) => Some(Barrier::Flight(flight)),
            None if now.boot < self.denial_end => Some(Barrier::Denial),
            None if now.boot < backoff_end => Some(Barrier::Backoff(backoff_end)),
            None if now.boot < floor_end => Some(Barrier::Floor(floor_end)),
            None => None,
        }
    }

    fn fly(&mut self, now: Now, caller: &mut Caller, end: Duration) -> Step {
        let lacked_time = self.short_flights > 0;
        if lacked_time && caller.deadline < self.latest_deadline && !caller.has_yielded {
            caller.has_yielded = true;
            return Step::Wait(caller.deadline.min(now.boot + YIELD));
        }
        let attempts = if self.failures(now) == 0 { ATTEMPTS } else { 1 };
        let short = caller.deadline.saturating_sub(now.boot) < SHORT;
        let flight = self.plan(end, attempts);
        self.take_off(now, caller, Flight { short, ..flight })
    }

    fn plan(&self, end: Duration, attempts: u32) -> Flight {
        Flight {
            outcome: Arc::default(),
            end,
            attempts_left: attempts,
            attempts_made: 0,
            ahead: false,
            short: false,
            secret_version: self.secret_version,
        }
    }

    fn take_off(&mut self, now: Now, caller: &mut Caller, flight: Flight) -> Step {
        caller.error = None;
        caller.flight = Some(flight.clone());
        self.flight = Some(flight);
        self.last_start = Some(now.boot);
        self.latest_deadline = Duration::ZERO;
        self.counts.flights += 1;
        Step::Fly
    }

    fn join(&mut self, flight: Flight, until: Duration, caller: &mut Caller) -> Step {
        self.latest_deadline = self.latest_deadline.max(caller.deadline);
        if !caller.has_waited {
            caller.has_waited = true;
            self.counts.waits += 1;
        }
        let abandoned = flight.end + ABANDON;
        caller.flight = Some(flight);
        Step::Wait(until.min(abandoned))
    }

    /// Without a token to give: what this call's flight brought, or what is remembered.
    fn fail(&self, now: Now, caller: &mut Caller) -> Step {
        if let Some(error) = caller.error.take() {
            return Step::Fail(error);
        }
        let timeout = |what: &str| Step::Fail(Error::new(ErrorKind::Timeout, what));
        if self.flight_under_way(now).is_some() {
            return timeout("no cached token, and another call's request is still under way");
        }
        let next_request = self.backoff_end(now).max(self.denial_end).max(self.floor_end());
        match &self.last_error {
            Some(error) if now.boot < next_request => Step::Fail(error.as_remembered()),
            _ => timeout("no cached token, and no time left to request one"),
        }
    }

    fn flight_under_way(&self, now: Now) -> Option<Flight> {
        let flight = self.flight.as_ref()?;
        (now.boot < flight.end + ABANDON).then(|| flight.clone())
    }

    fn floor_end(&self) -> Duration {
        self.last_start.map_or(Duration::ZERO, |start| start + FLOOR)
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
    /// to fail would only delay the next one by the floor.
    fn is_enough(&self, room: Duration) -> bool {
        !room.is_zero() && room >= self.last_exchange.min(seconds(1))
    }

    fn rides_out(&self, now: Now) -> bool {
        let has_worked = self.held.is_some();
        has_worked && self.outage_start.is_none_or(|start| now.boot < start + RIDE_OUT)
    }

    /// A backoff from when the token was usable ends when it is spent, but for what the server
    /// advised.
    fn backoff_end(&self, now: Now) -> Duration {
        let Some(expected) = self.spent_at else {
            return self.backoff_end;
        };
        let usable_for = self.held.as_ref().and_then(|held| held.usable_for(now));
        let spent = usable_for.map_or(expected.min(now.boot), |time| now.boot + time);
        let advised = self.retry_after_end.min(spent + RETRY_AFTER_WITHOUT);
        self.backoff_end.min(spent.max(advised))
    }

    /// Those from when the token was usable no longer count once it is not.
    fn failures(&self, now: Now) -> u32 {
        let usable = self.held.as_ref().is_some_and(|held| held.usable_for(now).is_some());
        if self.spent_at.is_some() && !usable { 0 } else { self.failures_in_a_row }
    }

    fn attempt_limit(&self) -> Duration {
        ATTEMPT.max(2 * self.last_exchange) * (1 << self.long_attempts.min(6))
    }

    /// How long the next attempt of the caller's flight may last.
    pub fn attempt(&mut self, now: Now, caller: &mut Caller) -> Duration {
        self.counts.attempts += 1;
        let flight = caller.own_flight();
        flight.secret_version = self.secret_version;
        let left = flight.end.saturating_sub(now.boot);
        if flight.ahead { left } else { left.min(self.attempt_limit()) }
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
        let flight = caller.own_flight();
        flight.attempts_left = flight.attempts_left.saturating_sub(1);
        flight.attempts_made += 1;
        let flight = flight.clone();
        let abandoned = !self.flight.as_ref().is_some_and(|current| current.is(&flight));
        if answer.is_ok() && !abandoned {
            // A suspend meanwhile is not the server's slowness.
            self.last_exchange = now.boot.saturating_sub(sent.boot).min(time);
        }
        let outcome = match answer.and_then(|grant| self.granted(sent, now, &flight, &grant)) {
            Ok(Some(again)) => return Next::Again(again),
            Ok(None) => match &self.held {
                // A late answer of an abandoned flight changes nothing.
                Some(held) if held.sent == sent => Outcome::Token(held.token.clone()),
                _ => Outcome::Look,
            },
            Err(error) if abandoned => {
                caller.error = Some(error);
                Outcome::Look
            }
            Err(error) => {
                if let Some(again) = self.next_attempt(now, time, &flight, &error) {
                    return Next::Again(again);
                }
                caller.error = Some(error.clone());
                self.record_failure(now, time, &flight, error)
            }
        };
        self.land(&flight, outcome);
        Next::Landed
    }

    /// Ends a flight that was given up, because its client was closed.
    pub fn give_up(&mut self, caller: &mut Caller) {
        let flight = caller.own_flight().clone();
        self.land(&flight, Outcome::Look);
    }

    fn land(&mut self, flight: &Flight, outcome: Outcome) {
        if self.flight.as_ref().is_some_and(|current| current.is(flight)) {
            self.flight = None;
        }
        // Nobody else sets it.
        let _ = flight.outcome.set(outcome);
    }

    /// Holds the token of an answer, if it is newer than the one that is held and not dead. When to
    /// ask again, if the server has only a token that is about to die.
    fn granted(
        &mut self,
        sent: Now,
        now: Now,
        flight: &Flight,
        grant: &Grant,
    ) -> Result<Option<Duration>, Error> {
        if self.held.as_ref().is_some_and(|held| held.sent.boot > sent.boot) {
            return Ok(None);
        }
        let (new, known) = self.candidate(sent, grant);
        let end = new.end.boot;
        let dead = new.is_dead(now);
        let dying = known && end.saturating_sub(now.boot) < SAME_END;
        if !dead {
            self.hold(now, new);
            if !dying {
                return Ok(None);
            }
        }
        let again =
            end.max(now.boot) + seconds(1) + Duration::from_millis(500).mul_f64((self.chance)());
        let in_time = again + self.last_exchange < flight.end;
        match in_time && !flight.ahead && flight.attempts_made <= 2 {
            true => Ok(Some(again)),
            false if dead => Err(dead_on_arrival(sent, now, grant, again)),
            false => Ok(None),
        }
    }

    /// The token of an answer, and whether it is the one that is held.
    fn candidate(&mut self, sent: Now, grant: &Grant) -> (Held, bool) {
        let life = grant.expires_in;
        let mut end = Now { boot: sent.boot + life, wall: sent.wall + life };
        let same = self.held.as_ref();
        let same = same.filter(|held| held.token.access_token() == grant.token.access_token());
        let known = same.is_some();
        let (margin, lead) = match same {
            Some(old) => {
                let later = old.end.boot.saturating_sub(end.boot);
                if later < SAME_END {
                    end = Now { boot: end.boot + later, wall: end.wall + later };
                }
                (SAME_TOKEN_MARGIN, Duration::ZERO)
            }
            None => (self.margin(life), self.draw_lead(life)),
        };
        let token = Arc::new(grant.token.expiring_at(end.wall));
        (Held { token, life, sent, end, margin, lead, rejected: false }, known)
    }

    fn hold(&mut self, now: Now, new: Held) {
        if self.held.as_ref().is_some_and(|old| old.rejected) {
            self.ignore_rejections(now);
        }
        self.held = Some(new);
        self.forget_failures();
    }

    fn forget_failures(&mut self) {
        self.long_attempts = 0;
        self.short_flights = 0;
        self.last_error = None;
        self.forget_backoff();
        self.forget_denial();
    }

    fn forget_backoff(&mut self) {
        self.spent_at = None;
        self.failures_in_a_row = 0;
        self.backoff_end = Duration::ZERO;
        self.retry_after_end = Duration::ZERO;
        self.outage_start = None;
    }

    fn margin(&self, life: Duration) -> Duration {
        let margin = match self.expiry_margin {
            Some(margin) => margin.min(life / 2),
            None => MARGIN.min(life / 20),
        };
        margin.max(dead_time(life))
    }

    fn draw_lead(&mut self, life: Duration) -> Duration {
        let lead = LEAD.min(life / 5).mul_f64(0.5 + 0.5 * (self.chance)());
        lead.max(2 * self.last_exchange).min(life / 2)
    }

    /// When the flight tries once more, if it does.
    fn next_attempt(
        &mut self,
        now: Now,
        time: Duration,
        flight: &Flight,
        error: &Error,
    ) -> Option<Duration> {
        let reached_limit = time >= self.attempt_limit() && !flight.ahead;
        if error.kind() == ErrorKind::Timeout && reached_limit {
            self.long_attempts += 1;
        }
        let retry = error.is_retryable()
            && error.retry_after_at_first().is_none()
            && flight.attempts_left > 0;
        let pause = PAUSES.get(flight.attempts_made - 1).filter(|_| retry)?;
        let again = now.boot + pause.mul_f64(0.5 + 0.5 * (self.chance)());
        (again < flight.end).then_some(again)
    }

    /// What a failed flight means for later ones, and what those who wait are told.
    fn record_failure(
        &mut self,
        now: Now,
        time: Duration,
        flight: &Flight,
        error: Error,
    ) -> Outcome {
        if is_final(&error) {
            return Outcome::Failed(error);
        }
        self.counts.failures += 1;
        let out_of_time = error.kind() == ErrorKind::Timeout && time < self.attempt_limit();
        if flight.short && out_of_time && self.short_flights < SHORT_FLIGHTS {
            self.short_flights += 1;
            self.last_error = Some(error);
            return Outcome::Look;
        }
        let wait = match error.kind() {
            ErrorKind::Denied if flight.secret_version != self.secret_version => {
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
        if flight.ahead { Outcome::Look } else { Outcome::Failed(error) }
    }

    fn denied(&mut self, now: Now) -> Duration {
        let wait = doubled(DENIAL, self.denials_in_a_row, LONGEST_DENIAL);
        self.denials_in_a_row += 1;
        self.counts.denials += 1;
        self.denial_end = now.boot + wait;
        self.secret_checked = now.boot;
        wait
    }

    fn back_off(&mut self, now: Now, error: &Error) -> Duration {
        let until_spent = self.held.as_ref().and_then(|held| held.usable_for(now));
        let longest = if until_spent.is_some() { BACKOFF_USABLE } else { BACKOFF_WITHOUT };
        let failures = self.failures(now);
        let mut wait = doubled(BACKOFF, failures, longest);
        if let Some(until_spent) = until_spent {
            // Room for two more attempts.
            wait = wait.min(until_spent / 3).max(BACKOFF);
        } else if self.outage_start.is_none() {
            self.outage_start = Some(now.boot);
        }
        self.spent_at = until_spent.map(|time| now.boot + time);
        wait = wait.mul_f64(0.8 + 0.4 * (self.chance)());
        if let Some(advised) = error.retry_after_at_first() {
            let most = if until_spent.is_some() { RETRY_AFTER_USABLE } else { RETRY_AFTER_WITHOUT };
            let advised = advised.min(most).mul_f64(1.0 + 0.2 * (self.chance)());
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
        match &mut self.held {
            Some(held)
                if !ignored && !held.rejected && held.token.access_token() == access_token =>
            {
                held.rejected = true;
                self.counts.rejections += 1;
                true
            }
            _ => false,
        }
    }

    fn ignore_rejections(&mut self, now: Now) {
        let quiet = now.boot >= self.ignore_rejections_end + LONGEST_IGNORE;
        self.ignore_rejections = match quiet || self.ignore_rejections.is_zero() {
            true => IGNORE_REJECTIONS,
            false => (2 * self.ignore_rejections).min(LONGEST_IGNORE),
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
        let held = self.held.as_ref()?;
        let usable = matches!(held.phase(now), Phase::Fresh | Phase::Ageing);
        usable.then(|| held.token.clone())
    }

    /// How long that token stays fresh.
    pub fn fresh_for(&self, now: Now, token: &Arc<Token>) -> Duration {
        match &self.held {
            Some(held) if Arc::ptr_eq(&held.token, token) && held.phase(now) == Phase::Fresh => {
                held.left(now).saturating_sub(held.margin + held.lead)
            }
            _ => Duration::ZERO,
        }
    }

    /// How long until a call would do something useful.
    pub fn refresh_in(&self, now: Now) -> Duration {
        let fresh = self.held.as_ref().filter(|held| held.phase(now) == Phase::Fresh);
        let due = fresh.map_or(now.boot, |held| {
            now.boot + held.left(now).saturating_sub(held.margin + held.lead)
        });
        let landing = self
            .flight_under_way(now)
            .map_or(Duration::ZERO, |flight| (flight.end + ABANDON).min(now.boot + FLOOR));
        let barred = [landing, self.floor_end(), self.backoff_end(now), self.denial_end];
        let earliest = barred.into_iter().fold(due, Duration::max).saturating_sub(now.boot);
        let usable_for = self.held.as_ref().and_then(|held| {
            // Too late for a request ahead of time, too early for one that everybody waits for.
            let late = !self.is_enough(held.room(now.boot + earliest));
            held.usable_for(now).filter(|_| late)
        });
        earliest.max(usable_for.unwrap_or_default())
    }

    pub fn last_error(&self) -> Option<&Error> {
        self.last_error.as_ref()
    }

    /// Since the current token was asked for, and until it expires.
    pub fn age_and_remaining_life(&self, now: Now) -> Option<(Duration, Duration)> {
        let held = self.held.as_ref()?;
        Some((now.boot.saturating_sub(held.sent.boot), held.left(now)))
    }
}

fn dead_on_arrival(sent: Now, now: Now, grant: &Grant, again: Duration) -> Error {
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
