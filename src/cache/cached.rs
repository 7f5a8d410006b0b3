//! The cached token and its four states: fresh, refresh-due, stale, expired.

use std::sync::Arc;
use std::time::Duration;

use crate::os::{Now, Random};
use crate::store::{SharedToken, Stamp, stamp};
use crate::token::{Grant, Token};

const MAX_EXPIRY_MARGIN: Duration = Duration::from_secs(30);
const MAX_REFRESH_WINDOW: Duration = Duration::from_secs(300);
const MIN_WAIT_AFTER_EXPIRY: Duration = Duration::from_secs(1);
/// The expiry margin of a token that the server has handed out twice.
const SAME_TOKEN_MARGIN: Duration = Duration::from_secs(1);
/// Two answers with the same token mean the same expiry if their expiries differ by less than this.
/// Example: a token expires at 100.0 s. An answer to a request at 60.1 s says 39 s (39.9
/// truncated), which gives 99.1 s; one at 61.0 s says 39 s, which gives 100.0 s.
const SAME_EXPIRY: Duration = Duration::from_secs(2);
/// A request may end this much later than its timeout: it has to notice, and to report.
const MAX_OVERRUN: Duration = Duration::from_millis(100);

/// A token with what decides its state. Example: the defaults, a life of 1800 s, a random factor
/// that makes the refresh window 225 s:
///
/// ```text
/// 0 s                   1545 s                1770 s          1799 s    1800 s
/// |--------fresh--------|-----refresh-due-----|-----stale-----|-expired-|
///                       |-- window: 225 s ----|-- expiry margin: 30 s --|
/// |----------------- usable ------------------|
/// ```
#[derive(Clone, Debug)]
pub(crate) struct CachedToken {
    pub token: Arc<Token>,
    /// The answer's `expires_in`.
    pub(super) life: Duration,
    /// When the request was sent. The life counts from here, since the server may have issued the
    /// token at any time from then on.
    pub(super) sent: Now,
    /// Identifies the answer among those of all processes that share a store.
    pub(super) answer: Stamp,
    pub(super) expiry: Now,
    expiry_margin: Duration,
    pub(super) refresh_window: Duration,
    /// How long after its expiry another token is requested, from a server that repeats this one:
    /// 1 s, because the server counts in whole seconds, and up to 0.5 s of jitter.
    pub(super) wait_after_expiry: Duration,
    /// Whether the server has handed it out more than once.
    pub(super) repeated: bool,
    pub(super) rejected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// Given to every caller.
    Fresh,
    /// Given to every caller, while one of them refreshes it.
    RefreshDue,
    /// Given only to a caller whose refresh failed or could not be made.
    Stale,
    /// Never given.
    Expired,
}

impl CachedToken {
    /// A token that is not the cached one. `margin` is the setting, `last_exchange` how long a request
    /// takes.
    pub(super) fn new(
        sent: Now,
        grant: &Grant,
        margin: Option<Duration>,
        last_exchange: Duration,
        random: &mut Random,
    ) -> CachedToken {
        let life = grant.expires_in;
        let expiry = Now { boot: sent.boot + life, wall: sent.wall + life };
        CachedToken {
            token: Arc::new(grant.token.expiring_at(expiry.wall)),
            life,
            sent,
            answer: stamp(sent),
            expiry,
            expiry_margin: expiry_margin(life, margin),
            refresh_window: refresh_window(life, last_exchange, random),
            wait_after_expiry: MIN_WAIT_AFTER_EXPIRY + Duration::from_millis(500).mul_f64(random()),
            repeated: false,
            rejected: false,
        }
    }

    /// A token that another process requested, and left in the shared store.
    pub(super) fn shared(shared: &SharedToken, margin: Option<Duration>) -> CachedToken {
        let cached = CachedToken {
            token: Arc::new(shared.token.expiring_at(shared.expiry.wall)),
            life: shared.life,
            sent: shared.sent,
            answer: shared.answer,
            expiry: shared.expiry,
            expiry_margin: expiry_margin(shared.life, margin),
            refresh_window: shared.refresh_window,
            wait_after_expiry: shared.wait_after_expiry,
            repeated: false,
            rejected: false,
        };
        if shared.repeated { cached.as_repeated() } else { cached }
    }

    /// For the shared store.
    pub(super) fn to_share(&self, exchange_time: Duration) -> SharedToken {
        SharedToken {
            token: Token::clone(&self.token),
            life: self.life,
            sent: self.sent,
            answer: self.answer,
            expiry: self.expiry,
            refresh_window: self.refresh_window,
            wait_after_expiry: self.wait_after_expiry,
            repeated: self.repeated,
            exchange_time,
        }
    }

    /// Such a server hands out one token until that has expired, and an early refresh is useless: so
    /// there is no refresh window, and the margin is small.
    fn as_repeated(mut self) -> CachedToken {
        self.expiry_margin = SAME_TOKEN_MARGIN;
        self.refresh_window = Duration::ZERO;
        self.repeated = true;
        self
    }

    /// The cached token, which another answer contained again: `new`.
    pub(super) fn received_again(&self, new: CachedToken) -> CachedToken {
        let mut new = new.as_repeated();
        // Of two expiries that differ by rounding the later one counts: truncation makes them
        // early.
        let later = self.expiry.boot.saturating_sub(new.expiry.boot);
        if later < SAME_EXPIRY {
            new.expiry.boot += later;
            new.expiry.wall += later;
            new.token = Arc::new(new.token.expiring_at(new.expiry.wall));
        }
        new
    }

    /// The token for the child of a fork.
    ///
    /// It gets its own random refresh window, so that parent and children do not refresh at the
    /// same moment; a window of zero stays zero (see `received_again`). It also gets its own `Arc`: the
    /// thread cache of the forking thread compares addresses, and with the same one would go by the
    /// parent's window.
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

    /// Decided by the boot clock alone: a wall clock that is set forward by mistake must not make a
    /// token unavailable that the server still accepts.
    pub(super) fn is_expired(&self, now: Now) -> bool {
        let left = self.left_on_boot_clock(now.boot);
        left.is_zero() || left < min_remaining_life(self.life)
    }

    /// Whether so little is left of a token that the server has handed out again that the refresh
    /// should wait for its expiry and then make another request.
    pub(super) fn is_expiring(&self, now: Now) -> bool {
        self.left_on_boot_clock(now.boot) < SAME_EXPIRY
    }

    /// How long it stays usable (fresh or refresh-due); `None` if it is not.
    pub(super) fn usable_for(&self, now: Now) -> Option<Duration> {
        match self.phase(now) {
            Phase::Fresh | Phase::RefreshDue => {
                Some(self.left(now).saturating_sub(self.expiry_margin))
            }
            Phase::Stale | Phase::Expired => None,
        }
    }

    /// How long it stays fresh; `None` if it is not.
    pub(super) fn fresh_for(&self, now: Now) -> Option<Duration> {
        let refresh_due = self.expiry_margin + self.refresh_window;
        (self.phase(now) == Phase::Fresh).then(|| self.left(now).saturating_sub(refresh_due))
    }

    pub(super) fn is_in_first_half_of_window(&self, now: Now) -> bool {
        self.left(now) > self.expiry_margin + self.refresh_window / 2
    }

    /// How long a request that starts at `boot` may take so that this token, if the request fails,
    /// is still valid and can be given. Example: 10 s before the expiry of a token with a life of
    /// 1800 s it is 8.9 s, since that token counts as expired 1 s early, and a request may end 0.1 s
    /// late.
    pub(super) fn time_for_a_request(&self, boot: Duration) -> Duration {
        let reserve = min_remaining_life(self.life);
        self.left_on_boot_clock(boot).saturating_sub(reserve + MAX_OVERRUN.min(reserve))
    }

    /// The remaining life, by the clock that shows less of it.
    pub(super) fn left(&self, now: Now) -> Duration {
        let wall = self.expiry.wall.saturating_sub(now.wall);
        wall.min(self.left_on_boot_clock(now.boot))
    }

    fn left_on_boot_clock(&self, boot: Duration) -> Duration {
        self.expiry.boot.saturating_sub(boot)
    }
}

/// A token with less than this left counts as expired, since it would expire on its way to the API.
/// A life of 1800 s: 1 s. Of 10 s: 0.5 s.
fn min_remaining_life(life: Duration) -> Duration {
    Duration::from_secs(1).min(life / 20)
}

/// `setting` is `Config::expiry_margin`. Without it: 30 s for a life of 1800 s, 10 s for 200 s.
fn expiry_margin(life: Duration, setting: Option<Duration>) -> Duration {
    let margin = match setting {
        Some(margin) => margin.min(life / 2),
        None => MAX_EXPIRY_MARGIN.min(life / 20),
    };
    margin.max(min_remaining_life(life))
}

/// How long before the expiry margin a refresh is due: for a life of 1800 s 150 to 300 s, for
/// 200 s 20 to 40 s. At least twice the time that the last request took, so that a slow server has time
/// to answer: if that was 30 s, it is 60 s for a life of 200 s.
fn refresh_window(life: Duration, last_exchange: Duration, random: &mut Random) -> Duration {
    let window = MAX_REFRESH_WINDOW.min(life / 5).mul_f64(0.5 + 0.5 * random());
    window.max(2 * last_exchange).min(life / 2)
}
