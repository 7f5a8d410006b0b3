//! What depends on the operating system: clocks, random numbers, forks, private folders.

mod clock;
mod forever;
mod fork;
mod private_folder;
mod snapshot;

use std::hash::{BuildHasher, Hasher, RandomState};

pub(crate) use clock::{Coarse, Now, boot_id, coarse_monotonic, now};
pub(crate) use forever::Forever;
pub(crate) use fork::PerProcess;
pub(crate) use private_folder::{FileLock, PrivateFolder};
pub(crate) use snapshot::Snapshot;

/// A source of random numbers from 0 (inclusive) to 1 (exclusive).
pub(crate) type Random = Box<dyn FnMut() -> f64 + Send>;

/// A random number from 0 (inclusive) to 1 (exclusive).
///
/// The keys of `RandomState` are inherited by the child of a fork; hashing the process id and the
/// time gives parent and child different numbers all the same.
pub(crate) fn random() -> f64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u128(clock::wall().as_nanos());
    (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
#[path = "../../tests/os/mod.rs"]
mod tests;
