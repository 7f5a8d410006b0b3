//! Instants that another process understands.
//!
//! Each is written on two clocks: the boot clock, which only processes of the same run of the machine
//! share, and the wall clock, which can be set.

use std::time::Duration;

use crate::os::{self, Now};

/// What was written later than this from now has times that cannot be right.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(5);

/// One instant: milliseconds on the boot clock and on the wall clock.
pub(crate) type Stamp = (u64, u64);

pub(super) fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

pub(crate) fn stamp(now: Now) -> Stamp {
    (ms(now.boot), ms(now.wall))
}

/// The clocks of this process at one moment, to compare with the stamps of one writer.
pub(super) struct Clocks {
    pub now: Now,
    same_boot: bool,
}

impl Clocks {
    /// `own` and `writers` are boot ids.
    pub fn new(now: Now, own: Option<&str>, writers: Option<&str>) -> Clocks {
        Clocks { now, same_boot: own.is_some() && own == writers }
    }

    /// The instant and now, on a clock that both processes have.
    fn comparable(&self, (boot, wall): Stamp) -> (Duration, Duration) {
        match self.same_boot {
            true => (Duration::from_millis(boot), self.now.boot),
            false => (Duration::from_millis(wall), self.now.wall),
        }
    }

    /// The time since an instant; `None` if that is in the future.
    pub fn age(&self, stamp: Stamp) -> Option<Duration> {
        let (then, now) = self.comparable(stamp);
        (then < now + MAX_CLOCK_DIFFERENCE).then(|| now.saturating_sub(then))
    }

    /// The time until an instant: the lesser of what both clocks say, since one of them may have been
    /// set, or may run apart from the writer's in a container.
    pub fn left(&self, stamp: Stamp) -> Duration {
        let (then, now) = self.comparable(stamp);
        let by_wall = Duration::from_millis(stamp.1).saturating_sub(self.now.wall);
        then.saturating_sub(now).min(by_wall)
    }

    /// The same instant on the clocks of this process, by its age.
    pub fn at_age(&self, age: Duration) -> Now {
        let Now { boot, wall } = self.now;
        Now { boot: boot.saturating_sub(age), wall: wall.saturating_sub(age) }
    }
}

/// The end of a lease, as the holder of a lock writes it into the lock file.
pub(super) fn encode_lease(boot_id: Option<&str>, lease: Duration) -> String {
    let now = os::now();
    let end = Now { boot: now.boot + lease, wall: now.wall + lease };
    serde_json::to_string(&(boot_id, stamp(end))).expect("JSON in memory")
}

/// How long a lease still lasts, and how long it has been over; `None` if the text is not a lease.
pub(super) fn decode_lease(boot_id: Option<&str>, text: &str) -> Option<(Duration, Duration)> {
    let (written_in, end): (Option<String>, Stamp) = serde_json::from_str(text).ok()?;
    let clocks = Clocks::new(os::now(), boot_id, written_in.as_deref());
    let (end, now) = clocks.comparable(end);
    Some((end.saturating_sub(now), now.saturating_sub(end)))
}
