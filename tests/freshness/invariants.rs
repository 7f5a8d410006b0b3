//! What holds whatever happens, worked out from requests and answers alone.

use std::time::Duration;

use crate::cache::cached::CachedToken;
use crate::error::{Error, ErrorKind};
use crate::token::{Grant, Token};

const SECOND: Duration = Duration::from_secs(1);

/// What an observer of one client knows.
#[derive(Default)]
pub struct Invariants {
    known: Option<Known>,
    refresh: Option<Led>,
    failures: u32,
    denials: u32,
    backoff_end: Duration,
    advised_end: Duration,
    denial_end: Duration,
    secrets: u32,
    lacks_secret: bool,
}

/// The token of the latest request that brought one.
struct Known {
    access_token: String,
    sent: Duration,
    heard: Duration,
    end: Duration,
    life: Duration,
    /// The backoff was ended once, as when a token becomes spent.
    excused: bool,
}

impl Known {
    fn is_expired(&self, boot: Duration) -> bool {
        let left = self.end.saturating_sub(boot);
        left.is_zero() || left < SECOND.min(self.life / 20)
    }
}

/// The latest refresh.
struct Led {
    by: usize,
    began: Duration,
    end: Duration,
    attempts: u32,
    failed: Duration,
    may_lack_time: bool,
    proactive: bool,
    secrets: u32,
    completed: bool,
}

impl Invariants {
    pub fn begins(&mut self, boot: Duration, by: usize, end: Duration, proactive: bool) {
        if let Some(last) = &self.refresh {
            assert!(boot >= last.began + SECOND, "two refreshes within a second");
            assert!(last.completed || boot >= last.end + SECOND, "two refreshes at a time");
        }
        assert!(end > boot, "a refresh without time");
        assert!(boot >= self.advised_end, "a refresh although Retry-After advised against it");
        assert!(boot >= self.denial_end, "a refresh while a denial is remembered");
        if boot < self.backoff_end {
            let known = self.known.as_mut().filter(|known| !known.excused);
            known.expect("a refresh during a backoff").excused = true;
            self.failures = 0;
        }
        self.refresh = Some(Led {
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

    pub fn sends(&mut self, boot: Duration, by: usize) {
        let Some(refresh) = self.refresh.as_mut().filter(|refresh| refresh.by == by) else {
            return;
        };
        let pause = Duration::from_millis(100);
        refresh.attempts += 1;
        assert!(refresh.attempts <= 3, "too many attempts");
        assert!(refresh.attempts == 1 || boot >= refresh.failed + pause, "attempts without pause");
    }

    pub fn hears(
        &mut self,
        boot: Duration,
        by: usize,
        sent: Duration,
        answer: &Result<Grant, Error>,
        completed: bool,
    ) {
        let failed = match answer {
            Ok(grant) if self.learn(boot, sent, grant) => None,
            Ok(_) => Some(Error::new(ErrorKind::Protocol, "dead on arrival")),
            Err(error) => Some(error.clone()),
        };
        let Some(refresh) = self.refresh.as_mut().filter(|refresh| refresh.by == by) else {
            return;
        };
        refresh.completed |= completed;
        if let Some(error) = failed {
            refresh.failed = boot;
            if completed {
                self.fails(boot, &error);
            }
        }
    }

    /// Whether that token was alive when it arrived, or there is a newer one.
    fn learn(&mut self, boot: Duration, sent: Duration, grant: &Grant) -> bool {
        let access_token = grant.token.access_token();
        let mut end = sent + grant.expires_in;
        if let Some(known) = &self.known {
            if known.sent > sent {
                return true;
            }
            let same = known.access_token == access_token;
            if same && known.end > end && known.end - end < 2 * SECOND {
                end = known.end;
            }
        }
        let new = Known {
            access_token: access_token.to_owned(),
            sent,
            heard: boot,
            end,
            life: grant.expires_in,
            excused: false,
        };
        if new.is_expired(boot) {
            return false;
        }
        self.known = Some(new);
        (self.failures, self.denials) = (0, 0);
        self.backoff_end = Duration::ZERO;
        self.advised_end = Duration::ZERO;
        self.denial_end = Duration::ZERO;
        true
    }

    fn fails(&mut self, boot: Duration, error: &Error) {
        let refresh = self.refresh.as_ref().expect("somebody flew");
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

    pub fn secret_changes(&mut self) {
        self.secrets += 1;
        self.denials = 0;
        self.denial_end = Duration::ZERO;
        if std::mem::take(&mut self.lacks_secret) {
            self.failures = 0;
            self.backoff_end = Duration::ZERO;
        }
    }

    pub fn gives_up(&mut self) {
        self.refresh.as_mut().expect("somebody flew").completed = true;
    }

    pub fn inherits(&mut self, cached: &CachedToken) {
        self.known = Some(Known {
            access_token: cached.token.access_token().to_owned(),
            sent: cached.sent.boot,
            heard: cached.sent.boot,
            end: cached.expiry.boot,
            life: cached.life,
            excused: false,
        });
    }

    pub fn given(&self, boot: Duration, token: &Token) {
        let known = self.known.as_ref().expect("a token comes from somewhere");
        assert_eq!(token.access_token(), known.access_token, "not the latest token");
        assert!(!known.is_expired(boot), "a dead token");
    }

    /// Whether the latest token was there at that time already.
    pub fn knows_since(&self, boot: Duration) -> bool {
        self.known.as_ref().is_some_and(|known| known.heard <= boot)
    }

    pub fn refused(&self, boot: Duration) {
        let alive = self.known.as_ref().is_some_and(|known| !known.is_expired(boot));
        assert!(!alive, "an error although there is a token");
    }
}
