//! A refresh: one effort of one caller, the leader, to get a token for everybody. It is one or more
//! attempts, each of which is one request.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::os::Random;
use crate::token::Token;

const MAX_ATTEMPTS: u32 = 3;
/// Before the second and the third attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];
/// A lost packet must not cost the whole timeout.
const ATTEMPT: Duration = Duration::from_secs(10);
const PROACTIVE_ATTEMPT: Duration = Duration::from_secs(3);
/// A refresh whose leader has less time than this may fail for lack of it.
const SHORT_TIME: Duration = Duration::from_secs(5);
/// A refresh this long past its end is abandoned: its leader is stuck.
const ABANDON_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Refresh {
    pub outcome: Arc<OnceLock<Outcome>>,
    pub end: Duration,
    attempts_left: u32,
    pub attempts_made: usize,
    /// It began while the token was usable.
    pub proactive: bool,
    /// It ends early only because its leader has little time.
    pub short: bool,
    /// Of the secret that the latest attempt sent.
    pub secret_version: u64,
}

#[derive(Clone)]
pub(super) enum Outcome {
    Token(Arc<Token>),
    Failed(Error),
    /// Nothing to share: the followers decide again.
    DecideAgain,
}

impl Refresh {
    /// Of a usable token, within `time`.
    pub fn proactive(now: Duration, time: Duration) -> Refresh {
        let short = time < PROACTIVE_ATTEMPT;
        Refresh { proactive: true, short, ..Refresh::until(now + time, 1) }
    }

    /// Of a token that is stale or missing. `time` is what its leader has.
    pub fn required(end: Duration, time: Duration, failures: u32) -> Refresh {
        let attempts = if failures == 0 { MAX_ATTEMPTS } else { 1 };
        Refresh { short: time < SHORT_TIME, ..Refresh::until(end, attempts) }
    }

    fn until(end: Duration, attempts: u32) -> Refresh {
        Refresh {
            outcome: Arc::default(),
            end,
            attempts_left: attempts,
            attempts_made: 0,
            proactive: false,
            short: false,
            secret_version: 0,
        }
    }

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

    /// When to try again after this failure, if at all.
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

/// How long requests take, and how long the next one may.
#[derive(Default)]
pub(super) struct Pace {
    /// How long the last successful request took.
    pub last_exchange: Duration,
    /// Attempts in a row that used up their limit.
    long_attempts: u32,
}

impl Pace {
    /// 10 s, or twice the last exchange; doubled after each attempt that took so long, so that a slow
    /// server is not cut off for ever: 10, 20, 40 s.
    pub fn attempt_limit(&self) -> Duration {
        ATTEMPT.max(2 * self.last_exchange) * (1 << self.long_attempts.min(6))
    }

    /// The same for a proactive attempt: 3 s; 6 s where the last exchange took 3 s; never over 10 s.
    pub fn proactive_limit(&self) -> Duration {
        (2 * self.last_exchange).clamp(PROACTIVE_ATTEMPT, ATTEMPT)
    }

    /// A caller with less time than this leaves an early refresh to others.
    pub fn comfortable(&self) -> Duration {
        (2 * self.last_exchange).clamp(Duration::from_secs(1), PROACTIVE_ATTEMPT)
    }

    /// Whether a proactive attempt that may take `time` could succeed. One that is bound to fail would
    /// only delay the next one by the minimum interval.
    pub fn is_worthwhile(&self, time: Duration) -> bool {
        !time.is_zero() && time >= self.last_exchange.min(Duration::from_secs(1))
    }

    /// After a failed attempt that had `time`.
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
