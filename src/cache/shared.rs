//! What the shared store changes: a token or a failure that another process left there, and what to do
//! while another process requests a token. Pure, like `policy`.

use std::time::Duration;

use super::cached::CachedToken;
use super::policy::{Caller, MAX_STALE_WAIT, State};
use super::refresh::Outcome;
use crate::error::ErrorKind;
use crate::os::Now;
use crate::store::{Entry, SharedFailure};

/// How long a caller without a token waits for another process at most: the longest lease and a second.
const MAX_WAIT_FOR_OTHERS: Duration = Duration::from_secs(11);
/// The lease if nobody knows how long a request takes.
const UNKNOWN_LEASE: Duration = Duration::from_secs(3);
const MIN_LEASE: Duration = Duration::from_secs(2);
const MAX_LEASE: Duration = Duration::from_secs(10);

/// What a leader does while another process refreshes.
#[derive(Debug, PartialEq)]
pub(crate) enum WhileOthersRefresh {
    /// Look into the store again at this instant.
    LookAgain(Duration),
    /// The refresh has completed: the caller has a valid token.
    Completed,
    /// Request a token all the same: the other process takes too long.
    Request,
}

impl State {
    /// Takes what the leader found in the store. Returns whether its refresh has completed.
    pub fn found(&mut self, now: Now, caller: &mut Caller, entry: &Entry) -> bool {
        let refresh = caller.own_refresh().clone();
        let token =
            entry.token.as_ref().map(|shared| CachedToken::shared(shared, self.expiry_margin));
        let token = token.filter(|token| !token.is_expired(now) && self.is_newer(token));
        let usable = token.as_ref().is_some_and(|token| token.usable_for(now).is_some());
        if let Some(token) = token {
            self.replace_cached(now, token);
        }
        if let Some(failure) = &entry.failure {
            // Also one whose time is over: the next one will last longer.
            self.record_shared_failure(now, failure);
        }
        let failure = entry.failure.as_ref().filter(|failure| now.boot < failure.until);
        let outcome = match (&self.cached, failure) {
            (Some(cached), _) if usable => Outcome::Token(cached.token.clone()),
            (_, Some(_)) if refresh.proactive => Outcome::DecideAgain,
            (_, Some(failure)) => {
                let error = failure.error.as_remembered();
                caller.error = Some(error.clone());
                Outcome::Failed(error)
            }
            (_, None) => return false,
        };
        self.counts.store_hits += 1;
        self.complete(&refresh, outcome);
        true
    }

    /// Whether the token came with a later answer than the cached one. A rejected token that the server
    /// has handed out again counts as a new one.
    fn is_newer(&self, token: &CachedToken) -> bool {
        self.cached.as_ref().is_none_or(|cached| {
            token.answer != cached.answer && token.sent.boot > cached.sent.boot
        })
    }

    fn record_shared_failure(&mut self, now: Now, failure: &SharedFailure) {
        let SharedFailure { until, in_a_row, .. } = *failure;
        if failure.error.kind() == ErrorKind::Denied {
            self.negative_cache.take_over(until, in_a_row);
        } else {
            self.backoff.take_over(now.boot, until, in_a_row, self.usable_for(now));
        }
        if now.boot < until {
            self.last_error = Some(failure.error.clone());
        }
    }

    /// Another process has the lock of the store. `left`: for how much longer it will need it, if that
    /// is known. `pause`: how long to wait before the next look.
    pub fn others_refresh(
        &mut self,
        now: Now,
        caller: &mut Caller,
        left: Option<Duration>,
        pause: Duration,
    ) -> WhileOthersRefresh {
        let refresh = caller.own_refresh().clone();
        let valid = self.cached.as_ref().is_some_and(|cached| !cached.is_expired(now));
        let end = match valid {
            _ if refresh.proactive => now.boot,
            true => {
                let end = caller.stale_wait_end.get_or_insert(refresh.start + MAX_STALE_WAIT);
                refresh.end.min(*end)
            }
            false => {
                let half = (refresh.end - refresh.start) / 2;
                let end = refresh.start + half.min(MAX_WAIT_FOR_OTHERS);
                left.map_or(end, |left| end.min(now.boot + left + Duration::from_secs(1)))
            }
        };
        if now.boot < end {
            return WhileOthersRefresh::LookAgain(end.min(now.boot + pause));
        }
        if !valid {
            return WhileOthersRefresh::Request;
        }
        // The next look follows after the minimum interval.
        self.last_start = Some(now.boot);
        caller.takes_cached = true;
        self.complete(&refresh, Outcome::DecideAgain);
        WhileOthersRefresh::Completed
    }

    /// Ends the refresh if its time was over before it was this process's turn. Returns whether it was.
    pub fn ran_out_of_time(&mut self, now: Now, caller: &mut Caller) -> bool {
        let over = now.boot >= caller.own_refresh().end;
        if over {
            self.give_up(caller);
        }
        over
    }

    /// How long this process will probably need the lock: 4 exchange times, 2 to 10 s.
    pub fn lease(&self, entry: Option<&Entry>) -> Duration {
        let shared = || entry?.token.as_ref().map(|token| token.exchange_time);
        let own = Some(self.pace.last_exchange).filter(|time| !time.is_zero());
        own.or_else(shared).map_or(UNKNOWN_LEASE, |time| (4 * time).clamp(MIN_LEASE, MAX_LEASE))
    }

    /// Whether the entry holds the token that was rejected here, and nothing newer.
    pub fn is_rejected(&self, entry: &Entry) -> bool {
        let rejected = self.cached.as_ref().filter(|cached| cached.is_rejected());
        let token = entry.token.as_ref().map(|shared| shared.token.access_token());
        rejected.zip(token).is_some_and(|(cached, token)| cached.is(token))
    }

    /// What to leave for other processes after a refresh: a valid token, and why none could be
    /// requested, if it was the server that said so. `None` if the secret has changed meanwhile: they
    /// may not know the new one.
    pub fn to_share(&self, now: Now, caller: &mut Caller) -> Option<Entry> {
        if caller.own_refresh().secret_version != self.secret_version {
            return None;
        }
        let valid = |cached: &&CachedToken| !cached.is_rejected() && !cached.is_expired(now);
        let token = self.cached.as_ref().filter(valid);
        let usable_for = self.usable_for(now);
        let failure = self.last_error.as_ref().and_then(|error| {
            let (until, in_a_row) = match error.kind() {
                ErrorKind::Denied => (self.negative_cache.end, self.negative_cache.in_a_row),
                _ => {
                    let in_a_row = self.backoff.failures(usable_for.is_some());
                    (self.backoff.end(now.boot, usable_for), in_a_row)
                }
            };
            SharedFailure::new(error, until, in_a_row).filter(|failure| now.boot < failure.until)
        });
        Some(Entry { token: token.map(|cached| cached.to_share(self.pace.last_exchange)), failure })
    }
}
