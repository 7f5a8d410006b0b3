//! What an answer changes; the leader of a refresh reports it here. Pure, like `policy`.

use std::time::Duration;

use super::backoff::{Backoff, NegativeCache};
use super::cached::CachedToken;
use super::policy::{Caller, State, is_final};
use super::refresh::{Outcome, Refresh};
use crate::error::{Error, ErrorKind};
use crate::os::Now;
use crate::token::Grant;

/// How many refreshes in a row may fail for lack of time without a backoff. No more, since a server
/// that is down would otherwise get a request each second from callers with short timeouts.
const MAX_SHORT_REFRESHES: u32 = 3;
/// How often one refresh waits until the server's token has expired.
const MAX_WAITS_FOR_EXPIRY: usize = 2;

/// What the leader does after an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// The refresh has completed.
    Completed,
    /// Make another request of the same refresh, at this instant.
    Again(Duration),
}

impl State {
    /// How long the next attempt of the caller's refresh may last.
    pub fn attempt(&mut self, now: Now, caller: &mut Caller) -> Duration {
        self.counts.attempts += 1;
        let refresh = caller.own_refresh();
        if refresh.attempts_made == 0 {
            self.last_start = Some(now.boot);
        }
        refresh.secret_version = self.secret_version;
        let left = refresh.end.saturating_sub(now.boot);
        if refresh.proactive { left } else { left.min(self.pace.attempt_limit()) }
    }

    /// Takes the answer to the request that was sent at `sent` and was allowed to take `time`.
    pub fn answered(
        &mut self,
        sent: Now,
        now: Now,
        time: Duration,
        caller: &mut Caller,
        answer: Result<Grant, Error>,
    ) -> Next {
        caller.own_refresh().count_attempt();
        let refresh = caller.own_refresh().clone();
        let abandoned = !self.refresh.as_ref().is_some_and(|current| current.is(&refresh));
        if answer.is_ok() && !abandoned {
            // At most `time`: if the machine was suspended meanwhile, more has passed.
            self.pace.last_exchange = now.boot.saturating_sub(sent.boot).min(time);
        }
        let outcome = match answer.and_then(|grant| self.granted(sent, now, &refresh, &grant)) {
            Ok(Some(again)) => return Next::Again(again),
            Ok(None) => match &self.cached {
                // Otherwise a refresh that was abandoned answers late, and there is a newer token.
                Some(cached) if cached.sent == sent => Outcome::Token(cached.token.clone()),
                _ => Outcome::DecideAgain,
            },
            Err(error) if abandoned => {
                caller.error = Some(error);
                Outcome::DecideAgain
            }
            Err(error) => {
                self.pace.failed(time, refresh.proactive, &error);
                if let Some(again) = refresh.next_attempt(now.boot, &error, &mut self.random) {
                    return Next::Again(again);
                }
                caller.error = Some(error.clone());
                self.record_failure(now, time, &refresh, error)
            }
        };
        self.complete(&refresh, outcome);
        Next::Completed
    }

    /// Ends a refresh because the client was closed.
    pub fn give_up(&mut self, caller: &mut Caller) {
        let refresh = caller.own_refresh().clone();
        self.complete(&refresh, Outcome::DecideAgain);
    }

    pub(super) fn complete(&mut self, refresh: &Refresh, outcome: Outcome) {
        if self.refresh.as_ref().is_some_and(|current| current.is(refresh)) {
            self.refresh = None;
        }
        // It cannot be set already: only the leader sets it.
        let _ = refresh.outcome.set(outcome);
    }

    /// Caches the token of an answer, unless it has expired or is older than the cached one.
    /// Returns when to make another request, if the server still hands out a token that has expired
    /// or is about to.
    ///
    /// Example: at 100.0 s the answer is the cached token, which expires at 101.2 s. Another
    /// request follows at 102.2 to 102.7 s, when the server has a new one.
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
        let last_exchange = self.pace.last_exchange;
        let new =
            CachedToken::new(sent, grant, self.expiry_margin, last_exchange, &mut self.random);
        let same = self.cached.as_ref().filter(|cached| cached.is(grant.token.access_token()));
        let known = same.is_some();
        let new = match same {
            Some(cached) => cached.received_again(new),
            None => new,
        };
        let expired = new.is_expired(now);
        let again = new.expiry.boot.max(now.boot) + new.wait_after_expiry;
        let expiring = known && new.is_expiring(now);
        if !expired {
            self.replace_cached(now, new);
            if !expiring {
                return Ok(None);
            }
        }
        let in_time = again + self.pace.last_exchange < refresh.end;
        let may_wait = refresh.attempts_made <= MAX_WAITS_FOR_EXPIRY;
        match in_time && may_wait && !refresh.proactive {
            true => Ok(Some(again)),
            false if expired => Err(expired_on_arrival(sent, now, grant, again)),
            false => Ok(None),
        }
    }

    pub(super) fn replace_cached(&mut self, now: Now, new: CachedToken) {
        if self.cached.as_ref().is_some_and(CachedToken::is_rejected) {
            self.rejections.replaced(now.boot);
        }
        self.cached = Some(new);
        self.pace.forget_long_attempts();
        self.short_refreshes = 0;
        self.last_error = None;
        self.backoff = Backoff::default();
        self.negative_cache = NegativeCache::default();
    }

    /// Records a failed refresh for later ones; returns what its followers get.
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
        // A timeout that is shorter than an attempt may take says nothing about the server.
        let out_of_time = error.kind() == ErrorKind::Timeout && time < self.pace.attempt_limit();
        if refresh.short && out_of_time && self.short_refreshes < MAX_SHORT_REFRESHES {
            self.short_refreshes += 1;
            self.last_error = Some(error);
            return Outcome::DecideAgain;
        }
        // The secret was replaced while the request was under way: the new one has not been tried.
        if error.kind() == ErrorKind::Denied && refresh.secret_version != self.secret_version {
            self.last_error = Some(error);
            return Outcome::DecideAgain;
        }
        if matches!(error.kind(), ErrorKind::Denied | ErrorKind::Config) {
            // The request has just read the secret file: no caller needs to within the next second.
            self.secret_checked = now.boot;
        }
        let wait = if error.kind() == ErrorKind::Denied {
            self.counts.denials += 1;
            self.negative_cache.add(now.boot)
        } else {
            let usable_for = self.usable_for(now);
            let retry_after = error.initial_retry_after();
            self.backoff.extend(now.boot, usable_for, retry_after, &mut self.random)
        };
        let error = error.with_retry_after(wait);
        self.last_error = Some(error.clone());
        if refresh.proactive { Outcome::DecideAgain } else { Outcome::Failed(error) }
    }
}

fn expired_on_arrival(sent: Now, now: Now, grant: &Grant, again: Duration) -> Error {
    let took = now.boot.saturating_sub(sent.boot).as_secs_f64();
    let message = format!(
        "the access token had expired when it arrived: its expires_in is {} s, and the request took \
         {took:.1} s",
        grant.expires_in.as_secs()
    );
    let error = Error::new(ErrorKind::Protocol, message).with_retryable(true);
    error.with_retry_after(again.saturating_sub(now.boot))
}
