//! The clocks: precise ones for decisions, coarse ones for the path of a cached token.

use std::time::{Duration, SystemTime};

/// One instant on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Since an arbitrary start. Never jumps, and counts the time for which the machine was
    /// suspended (Linux).
    pub boot: Duration,
    /// Since the Unix epoch. Jumps when the clock is set.
    pub wall: Duration,
}

pub(crate) fn now() -> Now {
    Now { boot: system::boot(), wall: wall() }
}

/// Identifies the current run of this machine, from its start to its shutdown: processes with the same one
/// share the boot clock. `None` if unknown; then only the wall clock can be compared.
pub(crate) fn boot_id() -> Option<String> {
    let id = match cfg!(any(target_os = "linux", target_os = "android")) {
        true => std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?,
        false => return None,
    };
    Some(id.trim().to_owned())
}

pub(super) fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// One instant on two clocks that are cheap to read, in nanoseconds.
///
/// They advance only with the kernel's timer tick, every 1 to 10 ms. Compare them only with other
/// coarse readings, never with `Now`: they have other starting points, or lag behind by a tick.
#[derive(Clone, Copy)]
pub(crate) struct Coarse {
    /// Stops while the machine is suspended; `wall` does not. So a suspend changes the difference
    /// of the two.
    pub monotonic: i64,
    pub wall: i64,
}

impl Coarse {
    pub fn now() -> Coarse {
        Coarse { monotonic: coarse_monotonic(), wall: system::coarse_wall() }
    }
}

pub(crate) use system::coarse_monotonic;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use super::Duration;

    pub fn boot() -> Duration {
        // Miri does not support CLOCK_BOOTTIME.
        let time = read(if cfg!(miri) { libc::CLOCK_MONOTONIC } else { libc::CLOCK_BOOTTIME });
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    pub fn coarse_monotonic() -> i64 {
        nanoseconds(read(libc::CLOCK_MONOTONIC_COARSE))
    }

    pub fn coarse_wall() -> i64 {
        nanoseconds(read(libc::CLOCK_REALTIME_COARSE))
    }

    // The fields have 32 bits on 32-bit machines.
    #[allow(clippy::unnecessary_cast)]
    fn nanoseconds(time: libc::timespec) -> i64 {
        time.tv_sec as i64 * 1_000_000_000 + time.tv_nsec as i64
    }

    fn read(id: libc::clockid_t) -> libc::timespec {
        // SAFETY: all zeroes is a valid timespec, and the call only writes to it. It cannot fail:
        // the kernel has these clocks.
        unsafe {
            let mut time = std::mem::zeroed();
            libc::clock_gettime(id, &mut time);
            time
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::sync::LazyLock;
    use std::time::Instant;

    use super::Duration;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    pub fn boot() -> Duration {
        START.elapsed()
    }

    pub fn coarse_monotonic() -> i64 {
        boot().as_nanos() as i64
    }

    pub fn coarse_wall() -> i64 {
        super::wall().as_nanos() as i64
    }
}

#[cfg(test)]
#[path = "../../tests/os/clock.rs"]
mod tests;
