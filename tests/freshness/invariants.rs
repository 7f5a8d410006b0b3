//! What must hold in every scenario. An observer follows the requests and answers of a client and
//! works out what the client may do, without the code under test: one refresh at a time, never two
//! within the minimum interval, none during a backoff or a denial, no expired token given, no error
//! while there is a valid token. Each assertion names what was violated.

use std::time::Duration;

use crate::cache::cached::CachedToken;
use crate::error::{Error, ErrorKind};
use crate::token::{Grant, Token};

const SECOND: Duration = Duration::from_secs(1);

/// What the observer of one client knows.
#[derive(Default)]
pub struct Invariants {
    latest: Option<LatestToken>,
    refresh: Option<LatestRefresh>,
    failures: u32,
    denials: u32,
    backoff_end: Duration,
    /// Retry-After allows no refresh before this.
    advised_end: Duration,
    denial_end: Duration,
    /// How often the secret has changed.
    secrets: u32,
    /// The last failure was that of reading the secret.
    lacks_secret: bool,
}

/// The token of the latest request that returned one.
struct LatestToken {
    access_token: String,
    sent: Duration,
    received: Duration,
    end: Duration,
    life: Duration,
    /// The backoff was ended early, as when the token becomes stale: allowed once for each token.
    backoff_was_ended: bool,
}

impl LatestToken {
    fn is_expired(&self, boot: Duration) -> bool {
        let left = self.end.saturating_sub(boot);
        left.is_zero() || left < SECOND.min(self.life / 20)
    }
}

/// The latest refresh.
struct LatestRefresh {
    /// The actor that leads it.
    by: usize,
    began: Duration,
    end: Duration,
    attempts: u32,
    /// When its last attempt failed.
    failed: Duration,
    /// Its leader has so little time that a timeout may not count as a failure.
    may_lack_time: bool,
    proactive: bool,
    secrets: u32,
    completed: bool,
}

impl Invariants {
    pub fn refresh_begins(&mut self, boot: Duration, by: usize, end: Duration, proactive: bool) {
        if let Some(last) = &self.refresh {
            assert!(boot >= last.began + SECOND, "two refreshes within the minimum interval");
            assert!(last.completed || boot >= last.end + SECOND, "two refreshes at the same time");
        }
        assert!(end > boot, "a refresh whose deadline is over");
        assert!(boot >= self.advised_end, "a refresh before Retry-After allows one");
        assert!(boot >= self.denial_end, "a refresh while a denial is remembered");
        if boot < self.backoff_end {
            let token = self.latest.as_mut().filter(|token| !token.backoff_was_ended);
            token.expect("a refresh during a backoff").backoff_was_ended = true;
            self.failures = 0;
        }
        self.refresh = Some(LatestRefresh {
            by,
            began: boot,
            end,
            attempts: 0,
            failed: Duration::ZERO,
            may_lack_time: end - boot < SECOND * if proactive { 3 } else { 5 },
            proactive,
            secrets: self.secrets,
            completed: false,
        });
    }

    /// A caller leads a refresh that may yet find its token in the store: an answer to the last one,
    /// which was abandoned if it has not completed, no longer counts.
    pub fn store_asked(&mut self) {
        if let Some(refresh) = &mut self.refresh {
            refresh.by = usize::MAX;
        }
    }

    pub fn request_sent(&mut self, boot: Duration, by: usize) {
        let Some(refresh) = self.refresh.as_mut().filter(|refresh| refresh.by == by) else {
            return;
        };
        let pause = Duration::from_millis(100);
        refresh.attempts += 1;
        assert!(refresh.attempts <= 3, "too many attempts");
        assert!(
            refresh.attempts == 1 || boot >= refresh.failed + pause,
            "attempts without a pause"
        );
    }

    pub fn answer_received(
        &mut self,
        boot: Duration,
        by: usize,
        sent: Duration,
        answer: &Result<Grant, Error>,
        completed: bool,
    ) {
        let failed = match answer {
            Ok(grant) if self.learn(boot, sent, grant) => None,
            Ok(_) => Some(Error::new(ErrorKind::Protocol, "expired on arrival")),
            Err(error) => Some(error.clone()),
        };
        let Some(refresh) = self.refresh.as_mut().filter(|refresh| refresh.by == by) else {
            return;
        };
        refresh.completed |= completed;
        if let Some(error) = failed {
            refresh.failed = boot;
            if completed {
                self.refresh_failed(boot, &error);
            }
        }
    }

    /// Returns whether the token was valid when it arrived, or there is a newer one.
    fn learn(&mut self, boot: Duration, sent: Duration, grant: &Grant) -> bool {
        let access_token = grant.token.access_token();
        let mut end = sent + grant.expires_in;
        if let Some(latest) = &self.latest {
            if latest.sent > sent {
                return true;
            }
            let same = latest.access_token == access_token;
            if same && latest.end > end && latest.end - end < 2 * SECOND {
                end = latest.end;
            }
        }
        let new = LatestToken {
            access_token: access_token.to_owned(),
            sent,
            received: boot,
            end,
            life: grant.expires_in,
            backoff_was_ended: false,
        };
        if new.is_expired(boot) {
            return false;
        }
        self.latest = Some(new);
        (self.failures, self.denials) = (0, 0);
        self.backoff_end = Duration::ZERO;
        self.advised_end = Duration::ZERO;
        self.denial_end = Duration::ZERO;
        true
    }

    fn refresh_failed(&mut self, boot: Duration, error: &Error) {
        let refresh = self.refresh.as_ref().expect("a refresh began");
        self.lacks_secret = error.kind() == ErrorKind::Config;
        match error.kind() {
            ErrorKind::Argument | ErrorKind::Closed => {}
            ErrorKind::Timeout if refresh.may_lack_time => {}
            ErrorKind::Denied if refresh.secrets == self.secrets => {
                self.denials += 1;
                let wait = 5 * SECOND * (1 << (self.denials - 1).min(4));
                self.denial_end = boot + wait.min(60 * SECOND);
            }
            ErrorKind::Denied => {}
            _ => {
                self.failures += u32::from(!refresh.proactive);
                let doublings = self.failures.saturating_sub(1).min(4);
                let wait = (SECOND * (1 << doublings)).min(10 * SECOND);
                self.backoff_end = boot + wait.mul_f64(0.8);
                let advised = error.initial_retry_after().unwrap_or_default();
                self.advised_end = boot + advised.min(60 * SECOND);
            }
        }
    }

    pub fn secret_changed(&mut self) {
        self.secrets += 1;
        self.denials = 0;
        self.denial_end = Duration::ZERO;
        if std::mem::take(&mut self.lacks_secret) {
            self.failures = 0;
            self.backoff_end = Duration::ZERO;
        }
    }

    pub fn refresh_given_up(&mut self) {
        self.refresh.as_mut().expect("a refresh began").completed = true;
    }

    /// The client may have found a token that another process requested.
    pub fn store_visited(&mut self, boot: Duration, cached: Option<&CachedToken>) {
        let known = self.latest.as_ref().map(|latest| latest.sent);
        if cached.map(|cached| cached.sent.boot) != known {
            *self = Invariants {
                refresh: self.refresh.take(),
                secrets: self.secrets,
                ..Invariants::default()
            };
            self.token_inherited(cached);
            self.latest.iter_mut().for_each(|latest| latest.received = boot);
        }
    }

    pub fn token_inherited(&mut self, cached: Option<&CachedToken>) {
        self.latest = cached.map(|cached| LatestToken {
            access_token: cached.token.access_token().to_owned(),
            sent: cached.sent.boot,
            received: cached.sent.boot,
            end: cached.expiry.boot,
            life: cached.life,
            backoff_was_ended: false,
        });
    }

    pub fn token_given(&self, boot: Duration, token: &Token) {
        let latest = self.latest.as_ref().expect("a token that no request returned");
        assert_eq!(token.access_token(), latest.access_token, "an older token was given");
        assert!(!latest.is_expired(boot), "an expired token was given");
    }

    /// Whether the latest token had already arrived at that time.
    pub fn knew_token_at(&self, boot: Duration) -> bool {
        self.latest.as_ref().is_some_and(|token| token.received <= boot)
    }

    pub fn error_given(&self, boot: Duration) {
        let valid = self.latest.as_ref().is_some_and(|token| !token.is_expired(boot));
        assert!(!valid, "an error although there is a valid token");
    }
}
