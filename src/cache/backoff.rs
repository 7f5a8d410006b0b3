//! What keeps requests apart: backoff after failures, the negative cache after denials, and for how
//! long rejections are ignored.

use std::time::Duration;

use crate::os::Random;

const BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF_USABLE: Duration = Duration::from_secs(60);
const MAX_BACKOFF_WITHOUT: Duration = Duration::from_secs(10);
const MAX_RETRY_AFTER_USABLE: Duration = Duration::from_secs(300);
const MAX_RETRY_AFTER_WITHOUT: Duration = Duration::from_secs(60);
const GRACE_PERIOD: Duration = Duration::from_secs(15);
const NEGATIVE_CACHE: Duration = Duration::from_secs(5);
const MAX_NEGATIVE_CACHE: Duration = Duration::from_secs(60);
const IGNORE_REJECTIONS: Duration = Duration::from_secs(1);
const MAX_IGNORE_REJECTIONS: Duration = Duration::from_secs(60);

/// After failed refreshes. Without a token: 1, 2, 4, 8, 10, 10 s …, each times 0.8 to 1.2.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
    end: Duration,
    /// What the server asked for, within `end`.
    retry_after_end: Duration,
    /// If the token was usable at the last failure: when it becomes stale, which ends the backoff
    /// and restarts the count.
    stale_at: Option<Duration>,
    /// When the first refresh without a usable token failed.
    outage_start: Option<Duration>,
}

impl Backoff {
    /// After a failed refresh; how long the backoff lasts. `usable_for`: how long the token stays
    /// usable, if it is.
    pub fn extend(
        &mut self,
        now: Duration,
        usable_for: Option<Duration>,
        retry_after: Option<Duration>,
        random: &mut Random,
    ) -> Duration {
        let (max, max_retry_after) = match usable_for {
            Some(_) => (MAX_BACKOFF_USABLE, MAX_RETRY_AFTER_USABLE),
            None => (MAX_BACKOFF_WITHOUT, MAX_RETRY_AFTER_WITHOUT),
        };
        let failures = self.failures(usable_for.is_some());
        let mut wait = doubled(BACKOFF, failures, max);
        match usable_for {
            // Leaves room for two more attempts: with 30 s left the backoff is 10 s at most.
            Some(usable_for) => wait = wait.min(usable_for / 3).max(BACKOFF),
            None => _ = self.outage_start.get_or_insert(now),
        }
        self.stale_at = usable_for.map(|time| now + time);
        wait = wait.mul_f64(0.8 + 0.4 * random());
        if let Some(retry_after) = retry_after {
            // Later rather than sooner: it is the server's lower bound.
            let retry_after = retry_after.min(max_retry_after).mul_f64(1.0 + 0.2 * random());
            wait = wait.max(retry_after);
            self.retry_after_end = now + retry_after;
        }
        self.failures = failures + 1;
        self.end = now + wait;
        wait
    }

    /// A backoff that began while the token was usable ends when it becomes stale; what the server
    /// asked for goes on for up to a minute more.
    pub fn end(&self, now: Duration, usable_for: Option<Duration>) -> Duration {
        let Some(expected) = self.stale_at else {
            return self.end;
        };
        let stale = usable_for.map_or(expected.min(now), |time| now + time);
        let retry_after = self.retry_after_end.min(stale + MAX_RETRY_AFTER_WITHOUT);
        self.end.min(stale.max(retry_after))
    }

    /// Failures in a row. Those from when the token was usable no longer count once it is not.
    pub fn failures(&self, usable: bool) -> u32 {
        if self.stale_at.is_some() && !usable { 0 } else { self.failures }
    }

    /// Notices what the token has become since the last failure.
    pub fn observe(&mut self, now: Duration, usable: bool) {
        if usable {
            self.outage_start = None;
        } else {
            // A rejection or the wall clock may have made it stale sooner than expected.
            self.stale_at = self.stale_at.map(|stale_at| stale_at.min(now));
        }
    }

    /// Whether callers wait for the end of the backoff instead of failing at once.
    pub fn in_grace_period(&self, now: Duration) -> bool {
        self.outage_start.is_none_or(|start| now < start + GRACE_PERIOD)
    }
}

/// The negative cache: OneAccess refused the client or its secret. 5, 10, 20, 40, 60, 60 s …
#[derive(Default)]
pub(super) struct Denials {
    in_a_row: u32,
    pub end: Duration,
}

impl Denials {
    /// One more; how long it is remembered.
    pub fn add(&mut self, now: Duration) -> Duration {
        let wait = doubled(NEGATIVE_CACHE, self.in_a_row, MAX_NEGATIVE_CACHE);
        self.in_a_row += 1;
        self.end = now + wait;
        wait
    }
}

/// After a rejected token was replaced, further rejections are ignored for 1, 2, 4 … 60 s: a lack of
/// permission, mistaken for a bad token, must not cause a request each time.
#[derive(Default)]
pub(super) struct Rejections {
    in_a_row: u32,
    pub ignored_until: Duration,
}

impl Rejections {
    pub fn replaced(&mut self, now: Duration) {
        if now >= self.ignored_until + MAX_IGNORE_REJECTIONS {
            self.in_a_row = 0;
        }
        let time = doubled(IGNORE_REJECTIONS, self.in_a_row, MAX_IGNORE_REJECTIONS);
        self.in_a_row += 1;
        self.ignored_until = now + time;
    }
}

fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    (first * (1 << times.min(10))).min(max)
}
