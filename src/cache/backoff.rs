//! What keeps requests apart: the backoff after failures, the negative cache of denials, and the
//! time for which rejections are ignored.

use std::time::Duration;

use crate::os::Random;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF_WHILE_USABLE: Duration = Duration::from_secs(60);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
const MAX_RETRY_AFTER_WHILE_USABLE: Duration = Duration::from_secs(300);
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
const GRACE_PERIOD: Duration = Duration::from_secs(15);
const FIRST_NEGATIVE_CACHE: Duration = Duration::from_secs(5);
const MAX_NEGATIVE_CACHE: Duration = Duration::from_secs(60);
const FIRST_IGNORE_REJECTIONS: Duration = Duration::from_secs(1);
const MAX_IGNORE_REJECTIONS: Duration = Duration::from_secs(60);

/// The time after a failed refresh in which no other refresh starts.
///
/// Without a usable token it lasts 1, 2, 4, 8, 10, 10 s …; with one, 1, 2, 4 … 32, 60, 60 s …,
/// since callers have a token meanwhile. Each time is multiplied by 0.8 to 1.2 (jitter).
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
    end: Duration,
    /// The end of the server's `Retry-After`, which is not after `end`.
    retry_after_end: Duration,
    /// When the token becomes stale, if it was usable at the last failure. Then the backoff ends
    /// and the count of failures restarts.
    stale_at: Option<Duration>,
    /// When the first of these refreshes failed without a usable token.
    outage_start: Option<Duration>,
}

impl Backoff {
    /// Records a failed refresh, and returns how long the backoff lasts. `usable_for` is how long
    /// the token stays usable, if it is.
    pub fn extend(
        &mut self,
        now: Duration,
        usable_for: Option<Duration>,
        retry_after: Option<Duration>,
        random: &mut Random,
    ) -> Duration {
        let (max, max_retry_after) = match usable_for {
            Some(_) => (MAX_BACKOFF_WHILE_USABLE, MAX_RETRY_AFTER_WHILE_USABLE),
            None => (MAX_BACKOFF, MAX_RETRY_AFTER),
        };
        let failures = self.failures(usable_for.is_some());
        let mut wait = doubled(FIRST_BACKOFF, failures, max);
        match usable_for {
            // Leaves time for two more refreshes: with 30 s left the backoff is at most 10 s.
            Some(usable_for) => wait = wait.min(usable_for / 3).max(FIRST_BACKOFF),
            None => _ = self.outage_start.get_or_insert(now),
        }
        self.stale_at = usable_for.map(|time| now + time);
        wait = wait.mul_f64(0.8 + 0.4 * random());
        if let Some(retry_after) = retry_after {
            // Jitter that only adds, because the server wants no request before. 10 s: 10 to 12 s.
            let retry_after = retry_after.min(max_retry_after).mul_f64(1.0 + 0.2 * random());
            wait = wait.max(retry_after);
            self.retry_after_end = now + retry_after;
        }
        self.failures = failures + 1;
        self.end = now + wait;
        wait
    }

    /// Takes the backoff of another process, which asked on behalf of all.
    pub fn take_over(
        &mut self,
        now: Duration,
        end: Duration,
        failures: u32,
        usable_for: Option<Duration>,
    ) {
        self.stale_at = usable_for.map(|time| now + time);
        if usable_for.is_none() {
            self.outage_start.get_or_insert(now);
        }
        self.end = self.end.max(end);
        self.failures = self.failures.max(failures);
    }

    /// When the backoff ends. One that began while the token was usable may last long, and so ends
    /// when the token becomes stale; only the server's `Retry-After` lasts longer, up to 60 s from
    /// then.
    pub fn end(&self, now: Duration, usable_for: Option<Duration>) -> Duration {
        let Some(expected) = self.stale_at else {
            return self.end;
        };
        let stale = usable_for.map_or(expected.min(now), |time| now + time);
        let retry_after = self.retry_after_end.min(stale + MAX_RETRY_AFTER);
        self.end.min(stale.max(retry_after))
    }

    /// The number of failures in a row. Once the token is not usable, those from the time in which
    /// it was do not count.
    pub fn failures(&self, usable: bool) -> u32 {
        if self.stale_at.is_some() && !usable { 0 } else { self.failures }
    }

    /// Takes notice of whether the token is usable now.
    pub fn observe(&mut self, now: Duration, usable: bool) {
        if usable {
            self.outage_start = None;
        } else {
            // A rejection or a wall clock that was set may have made the token stale early.
            self.stale_at = self.stale_at.map(|stale_at| stale_at.min(now));
        }
    }

    /// Whether callers wait for the end of the backoff instead of failing immediately.
    pub fn in_grace_period(&self, now: Duration) -> bool {
        self.outage_start.is_none_or(|start| now < start + GRACE_PERIOD)
    }
}

/// The negative cache: OneAccess denied the client or its secret. The denial is remembered for 5,
/// 10, 20, 40, 60, 60 s …, so that many callers with a wrong secret do not get the application
/// locked.
#[derive(Default)]
pub(super) struct NegativeCache {
    pub in_a_row: u32,
    pub end: Duration,
}

impl NegativeCache {
    /// Records a denial, and returns how long it is remembered.
    pub fn add(&mut self, now: Duration) -> Duration {
        let wait = doubled(FIRST_NEGATIVE_CACHE, self.in_a_row, MAX_NEGATIVE_CACHE);
        self.in_a_row += 1;
        self.end = now + wait;
        wait
    }

    /// Takes the denial of another process.
    pub fn take_over(&mut self, end: Duration, in_a_row: u32) {
        self.end = self.end.max(end);
        self.in_a_row = self.in_a_row.max(in_a_row);
    }
}

/// After a rejected token was replaced, further rejections are ignored for 1, 2, 4 … 60 s: if the
/// API in fact rejects a caller without permission, each new token would be rejected as well, and
/// each rejection would cause a request.
#[derive(Default)]
pub(super) struct Rejections {
    pub in_a_row: u32,
    pub ignored_until: Duration,
}

impl Rejections {
    /// Records that a rejected token was replaced.
    pub fn replaced(&mut self, now: Duration) {
        // No rejected token was replaced for 60 s after that time: start with 1 s again.
        if now >= self.ignored_until + MAX_IGNORE_REJECTIONS {
            self.in_a_row = 0;
        }
        let time = doubled(FIRST_IGNORE_REJECTIONS, self.in_a_row, MAX_IGNORE_REJECTIONS);
        self.in_a_row += 1;
        self.ignored_until = now + time;
    }

    /// Takes what another process knows, which has replaced a rejected token.
    pub fn take_over(&mut self, ignored_until: Duration, in_a_row: u32) {
        self.ignored_until = self.ignored_until.max(ignored_until);
        self.in_a_row = self.in_a_row.max(in_a_row);
    }
}

fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    (first * (1 << times.min(10))).min(max)
}
