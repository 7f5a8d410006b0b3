//! The cached token and the four states of its life.

use std::sync::Arc;
use std::time::Duration;

use crate::os::{Now, Random};
use crate::token::{Grant, Token};

const MAX_EXPIRY_MARGIN: Duration = Duration::from_secs(30);
const MAX_REFRESH_WINDOW: Duration = Duration::from_secs(300);
const SAME_TOKEN_MARGIN: Duration = Duration::from_secs(1);
/// Two answers with the same token mean the same expiry if they differ by less than this: the server
/// truncates the remaining life to whole seconds, and each request starts at another fraction.
const SAME_EXPIRY: Duration = Duration::from_secs(2);
/// A request may end this much later than it was told to.
const MAX_OVERRUN: Duration = Duration::from_millis(100);

/// A token and the limits of its states. Example, with the defaults and a life of 1800 s:
///
/// ```text
/// 0 s                    1545 s          1770 s      1799 s  1800 s
/// | fresh                | refresh-due   | stale     | expired
///                        <- window 225 -><-- margin 30 ------>
/// ```
#[derive(Clone, Debug)]
pub(crate) struct CachedToken {
    pub token: Arc<Token>,
    /// As the answer told it.
    pub(super) life: Duration,
    /// When its request was sent. The server's count may have begun right then.
    pub(super) sent: Now,
    pub(super) expiry: Now,
    expiry_margin: Duration,
    refresh_window: Duration,
    pub(super) rejected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// Given without any question.
    Fresh,
    /// Given, while one caller replaces it.
    RefreshDue,
    /// Given only if it cannot be replaced.
    Stale,
    /// Never given.
    Expired,
}

impl CachedToken {
    /// The token of an answer that is not the cached one.
    pub(super) fn new(sent: Now, grant: &Grant, margin: Duration, window: Duration) -> CachedToken {
        let life = grant.expires_in;
        let expiry = Now { boot: sent.boot + life, wall: sent.wall + life };
        CachedToken {
            token: Arc::new(grant.token.expiring_at(expiry.wall)),
            life,
            sent,
            expiry,
            expiry_margin: margin,
            refresh_window: window,
            rejected: false,
        }
    }

    /// The same token in another answer. The server keeps one token for each application and will
    /// hand it out until it has expired, so that an early request would bring nothing.
    pub(super) fn again(&self, sent: Now, grant: &Grant) -> CachedToken {
        let mut new = CachedToken::new(sent, grant, SAME_TOKEN_MARGIN, Duration::ZERO);
        let later = self.expiry.boot.saturating_sub(new.expiry.boot);
        if later < SAME_EXPIRY {
            new.expiry.boot += later;
            new.expiry.wall += later;
            new.token = Arc::new(grant.token.expiring_at(new.expiry.wall));
        }
        new
    }

    /// For the child of a fork. It draws a refresh window of its own, so that it does not refresh at
    /// the same moment as its parent, and has another `Arc`: the forking thread knows its parent's by
    /// address and would go on using it. A token without a window keeps none.
    pub(super) fn for_child(mut self, random: &mut Random) -> CachedToken {
        if !self.refresh_window.is_zero() {
            self.refresh_window = refresh_window(self.life, Duration::ZERO, random);
        }
        self.token = Arc::new(Token::clone(&self.token));
        self
    }

    pub fn is_rejected(&self) -> bool {
        self.rejected
    }

    pub(super) fn is(&self, access_token: &str) -> bool {
        self.token.access_token() == access_token
    }

    pub(super) fn phase(&self, now: Now) -> Phase {
        let left = self.left(now);
        match () {
            () if self.is_expired(now) => Phase::Expired,
            () if self.rejected || left < self.expiry_margin || left.is_zero() => Phase::Stale,
            () if left < self.expiry_margin + self.refresh_window => Phase::RefreshDue,
            () => Phase::Fresh,
        }
    }

    /// By the boot clock alone: a wall clock that was set must not cost a token that the server
    /// still accepts.
    pub(super) fn is_expired(&self, now: Now) -> bool {
        let left = self.left_on_boot_clock(now.boot);
        left.is_zero() || left < least_life(self.life)
    }

    /// Whether the server, which handed out this token again, will do so until it has expired a
    /// moment from now.
    pub(super) fn is_expiring(&self, now: Now) -> bool {
        self.left_on_boot_clock(now.boot) < SAME_EXPIRY
    }

    /// For how long it stays fresh or refresh-due.
    pub(super) fn usable_for(&self, now: Now) -> Option<Duration> {
        match self.phase(now) {
            Phase::Fresh | Phase::RefreshDue => {
                Some(self.left(now).saturating_sub(self.expiry_margin))
            }
            Phase::Stale | Phase::Expired => None,
        }
    }

    pub(super) fn fresh_for(&self, now: Now) -> Option<Duration> {
        let refresh_due = self.expiry_margin + self.refresh_window;
        (self.phase(now) == Phase::Fresh).then(|| self.left(now).saturating_sub(refresh_due))
    }

    pub(super) fn is_in_first_half_of_window(&self, now: Now) -> bool {
        self.left(now) > self.expiry_margin + self.refresh_window / 2
    }

    /// How long a request that starts at `boot` may take and leave time to give this token if it
    /// fails.
    pub(super) fn time_for_a_request(&self, boot: Duration) -> Duration {
        let least = least_life(self.life);
        self.left_on_boot_clock(boot).saturating_sub(least + MAX_OVERRUN.min(least))
    }

    /// The remaining life by the clock that shows less of it.
    pub(super) fn left(&self, now: Now) -> Duration {
        let wall = self.expiry.wall.saturating_sub(now.wall);
        wall.min(self.left_on_boot_clock(now.boot))
    }

    fn left_on_boot_clock(&self, boot: Duration) -> Duration {
        self.expiry.boot.saturating_sub(boot)
    }
}

/// With less than this left a token counts as expired: it would expire on its way to the API.
fn least_life(life: Duration) -> Duration {
    Duration::from_secs(1).min(life / 20)
}

/// `setting`: the user's own. 1800 s: 30 s. 200 s: 10 s.
pub(super) fn expiry_margin(life: Duration, setting: Option<Duration>) -> Duration {
    let margin = match setting {
        Some(margin) => margin.min(life / 2),
        None => MAX_EXPIRY_MARGIN.min(life / 20),
    };
    margin.max(least_life(life))
}

/// 1800 s: 150 to 300 s. 200 s: 20 to 40 s, but at least two exchanges, so that a slow server has
/// time to answer.
pub(super) fn refresh_window(
    life: Duration,
    last_exchange: Duration,
    random: &mut Random,
) -> Duration {
    let window = MAX_REFRESH_WINDOW.min(life / 5).mul_f64(0.5 + 0.5 * random());
    window.max(2 * last_exchange).min(life / 2)
}
