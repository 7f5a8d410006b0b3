//! What the operating system gives, and where systems differ: clocks, random numbers, forks.

mod clock;
mod fork;
mod snapshot;

use std::hash::{BuildHasher, Hasher, RandomState};

pub(crate) use clock::{Coarse, Now, coarse_monotonic, now};
pub(crate) use fork::PerProcess;
pub(crate) use snapshot::Snapshot;

/// Gives numbers from 0 up to 1.
pub(crate) type Random = Box<dyn FnMut() -> f64 + Send>;

/// At random from 0 up to 1; no two processes see the same sequence, parent and child neither.
pub(crate) fn random() -> f64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u128(clock::wall().as_nanos());
    (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
#[path = "../../tests/os/mod.rs"]
mod tests;
