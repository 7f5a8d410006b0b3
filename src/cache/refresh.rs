//! A refresh gets a token on behalf of all callers. One caller, the leader, makes one or more
//! attempts, each of which is one request; the followers wait for its outcome (the technique is
//! known as single flight).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::os::Random;
use crate::token::Token;

/// Of one refresh.
const MAX_ATTEMPTS: u32 = 3;
/// Before the second and the third attempt; each times 0.5 to 1 (jitter).
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];
/// One attempt may not use up the whole timeout of 30 s: after a lost packet a second one often
/// succeeds.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
/// A proactive attempt delays a caller that has a usable token.
const PROACTIVE_LIMIT: Duration = Duration::from_secs(3);
/// If a leader has less time than this, its timeout may be the only reason why the refresh fails.
const SHORT_TIME: Duration = Duration::from_secs(5);
/// A refresh that has not completed this long after its end is abandoned: its leader is stuck.
const ABANDON_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Refresh {
    /// Shared by the leader and its followers; set once, by the leader.
    pub outcome: Arc<OnceLock<Outcome>>,
    pub start: Duration,
    /// The deadline of the refresh.
    pub end: Duration,
    attempts_left: u32,
    pub attempts_made: usize,
    /// Whether the token was usable when the refresh began.
    pub proactive: bool,
    /// Whether its end is early only because its leader has little time.
    pub short: bool,
    /// The version of the secret that the latest attempt sent; before the first one, that at its start.
    pub secret_version: u64,
}

#[derive(Clone)]
pub(super) enum Outcome {
    Token(Arc<Token>),
    Failed(Error),
    /// Nothing that followers can use: each decides again.
    DecideAgain,
}

impl Refresh {
    /// A refresh of a usable token, within `time`.
    pub fn proactive(now: Duration, time: Duration) -> Refresh {
        let short = time < PROACTIVE_LIMIT;
        Refresh { proactive: true, short, ..Refresh::new(now, now + time, 1) }
    }

    /// A refresh of a token that is stale, expired or missing. `time` is what its leader has left.
    /// After an earlier failure there is only one attempt: the backoff spaces them out already.
    pub fn required(now: Duration, end: Duration, time: Duration, failures: u32) -> Refresh {
        let attempts = if failures == 0 { MAX_ATTEMPTS } else { 1 };
        Refresh { short: time < SHORT_TIME, ..Refresh::new(now, end, attempts) }
    }

    fn new(start: Duration, end: Duration, attempts: u32) -> Refresh {
        Refresh {
            outcome: Arc::default(),
            start,
            end,
            attempts_left: attempts,
            attempts_made: 0,
            proactive: false,
            short: false,
            secret_version: 0,
        }
    }

    /// Whether both are the same refresh.
    pub fn is(&self, other: &Refresh) -> bool {
        Arc::ptr_eq(&self.outcome, &other.outcome)
    }

    pub fn abandoned_at(&self) -> Duration {
        self.end + ABANDON_AFTER
    }

    pub fn count_attempt(&mut self) {
        self.attempts_left = self.attempts_left.saturating_sub(1);
        self.attempts_made += 1;
    }

    /// When to make the next attempt after this failure; `None` if there is to be none.
    pub fn next_attempt(
        &self,
        now: Duration,
        error: &Error,
        random: &mut Random,
    ) -> Option<Duration> {
        let retry =
            error.is_retryable() && error.initial_retry_after().is_none() && self.attempts_left > 0;
        let pause = PAUSES.get(self.attempts_made - 1).filter(|_| retry)?;
        let again = now + pause.mul_f64(0.5 + 0.5 * random());
        (again < self.end).then_some(again)
    }
}

/// How long requests take, and how long the next one may take.
#[derive(Default)]
pub(super) struct Pace {
    /// How long the last successful request took.
    pub last_exchange: Duration,
    /// The number of attempts in a row that reached their time limit.
    long_attempts: u32,
}

impl Pace {
    /// How long an attempt may take: 10 s, or twice the last exchange if that is more. Doubled
    /// after each attempt that reached the limit (10, 20, 40 s …), so that a server that needs 15 s
    /// gets them at the second attempt.
    pub fn attempt_limit(&self) -> Duration {
        ATTEMPT_LIMIT.max(2 * self.last_exchange) * (1 << self.long_attempts.min(6))
    }

    /// How long a proactive attempt may take: 3 s, or twice the last exchange if that is more, but
    /// at most 10 s.
    pub fn proactive_limit(&self) -> Duration {
        (2 * self.last_exchange).clamp(PROACTIVE_LIMIT, ATTEMPT_LIMIT)
    }

    /// In the first half of the refresh window, a caller with less time than this leaves the
    /// refresh to another one: 1 to 3 s.
    pub fn min_time_for_early_refresh(&self) -> Duration {
        (2 * self.last_exchange).clamp(Duration::from_secs(1), PROACTIVE_LIMIT)
    }

    /// Whether a proactive attempt that may take `time` can succeed. A useless one would delay the
    /// next refresh, the one that follows the expiry of the token, by the minimum interval.
    pub fn is_worthwhile(&self, time: Duration) -> bool {
        !time.is_zero() && time >= self.last_exchange.min(Duration::from_secs(1))
    }

    /// Records a failed attempt that was allowed to take `time`.
    pub fn failed(&mut self, time: Duration, proactive: bool, error: &Error) {
        let reached_limit = time >= self.attempt_limit() && !proactive;
        if error.kind() == ErrorKind::Timeout && reached_limit {
            self.long_attempts += 1;
        }
    }

    pub fn forget_long_attempts(&mut self) {
        self.long_attempts = 0;
    }
}
