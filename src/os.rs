//! What the operating system gives: two clocks, chance, and news of a fork.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// One instant on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Since some start; counts the time the machine was suspended (Linux), never jumps.
    pub boot: Duration,
    /// Since the Unix epoch; may be set.
    pub wall: Duration,
}

pub(crate) fn now() -> Now {
    Now { boot: clock::boot(), wall: wall() }
}

fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// One instant, cheap and some milliseconds old, in nanoseconds. Neither clock compares with `Now`.
#[derive(Clone, Copy)]
pub(crate) struct Coarse {
    /// Does not count suspend, which shows in the difference of the two.
    pub monotonic: i64,
    pub wall: i64,
}

impl Coarse {
    pub fn now() -> Coarse {
        Coarse { monotonic: coarse_monotonic(), wall: clock::coarse_wall() }
    }
}

pub(crate) use clock::coarse_monotonic;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod clock {
    use super::Duration;

    pub fn boot() -> Duration {
        // Miri knows no suspend.
        let time = read(if cfg!(miri) { libc::CLOCK_MONOTONIC } else { libc::CLOCK_BOOTTIME });
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    pub fn coarse_monotonic() -> i64 {
        nanoseconds(read(libc::CLOCK_MONOTONIC_COARSE))
    }

    pub fn coarse_wall() -> i64 {
        nanoseconds(read(libc::CLOCK_REALTIME_COARSE))
    }

    // The fields are narrower on 32-bit machines.
    #[allow(clippy::unnecessary_cast)]
    fn nanoseconds(time: libc::timespec) -> i64 {
        time.tv_sec as i64 * 1_000_000_000 + time.tv_nsec as i64
    }

    fn read(id: libc::clockid_t) -> libc::timespec {
        // SAFETY: zeroes are a valid timespec, which is valid for writes; the call does nothing else.
        unsafe {
            let mut time = std::mem::zeroed();
            libc::clock_gettime(id, &mut time);
            time
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod clock {
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

/// Gives numbers from 0 up to 1.
pub(crate) type Random = Box<dyn FnMut() -> f64 + Send>;

/// At random from 0 up to 1; no two processes see the same sequence, parent and child neither.
pub(crate) fn random() -> f64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u128(wall().as_nanos());
    (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64
}

/// Counts the forks between the first process and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Must run before the first `fork` that is to be noticed.
fn watch_for_forks() {
    #[cfg(unix)]
    {
        extern "C" fn count() {
            GENERATION.fetch_add(1, Ordering::Relaxed);
        }
        static WATCHING: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        // Not a `Once`, which a fork could catch half way: two threads that both register do no harm.
        if !WATCHING.load(Ordering::Acquire) {
            // SAFETY: the handler only adds to an atomic, which is safe in the child of a process
            // with many threads; it stays mapped because the library is linked with `-z nodelete`.
            // A failure for lack of memory leaves a library that works until the process forks.
            unsafe { libc::pthread_atfork(None, None, Some(count)) };
            WATCHING.store(true, Ordering::Release);
        }
    }
}

/// A value that every process owns anew: the child of a fork never touches what its parent's
/// threads may have held locked, or half changed, at the moment of the fork.
pub(crate) struct PerProcess<T> {
    latest: AtomicPtr<Owned<T>>,
    owns: PhantomData<Owned<T>>,
}

struct Owned<T> {
    generation: u32,
    value: T,
}

impl<T> PerProcess<T> {
    pub fn new(value: T) -> PerProcess<T> {
        watch_for_forks();
        PerProcess { latest: AtomicPtr::new(Owned::leak(value)), owns: PhantomData }
    }

    /// This process's value. After a fork it is made by `inherit`, which may read of its parent's
    /// value only what never is locked for long: constants, atomics and `Snapshot`s.
    #[inline]
    pub fn get(&self, inherit: impl FnOnce(&T) -> T) -> &T {
        // SAFETY: the pointer came from `leak`, and no value is freed before `self` is dropped.
        let owned = unsafe { &*self.latest.load(Ordering::Acquire) };
        match owned.generation == GENERATION.load(Ordering::Relaxed) {
            true => &owned.value,
            false => self.inherited(owned, inherit),
        }
    }

    #[cold]
    fn inherited(&self, parents: &Owned<T>, inherit: impl FnOnce(&T) -> T) -> &T {
        let new = Owned::leak(inherit(&parents.value));
        let latest = std::ptr::from_ref(parents).cast_mut();
        match self.latest.compare_exchange(latest, new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: as above; another thread may have been first, then its value is everybody's
            // and ours, which nobody has seen, can go.
            Ok(_) => unsafe { &(*new).value },
            Err(first) => unsafe {
                drop(Box::from_raw(new));
                &(*first).value
            },
        }
    }
}

impl<T> Owned<T> {
    fn leak(value: T) -> *mut Owned<T> {
        Box::into_raw(Box::new(Owned { generation: GENERATION.load(Ordering::Relaxed), value }))
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let latest = *self.latest.get_mut();
        // SAFETY: as in `get`; `&mut self` proves that nobody else is using it. What an ancestor
        // process made is left alone: a thread that is gone may have left it half changed.
        unsafe {
            if (*latest).generation == GENERATION.load(Ordering::Relaxed) {
                drop(Box::from_raw(latest));
            }
        }
    }
}

/// A shared value that can be replaced, and read without ever waiting for a writer: also by the
/// child of a fork while the thread that was writing is gone.
pub(crate) struct Snapshot<T> {
    slots: [RwLock<Arc<T>>; 2],
    current: AtomicU32,
    writer: Mutex<()>,
}

impl<T> Snapshot<T> {
    pub fn new(value: T) -> Snapshot<T> {
        let value = Arc::new(value);
        Snapshot {
            slots: [RwLock::new(value.clone()), RwLock::new(value)],
            current: AtomicU32::new(0),
            writer: Mutex::new(()),
        }
    }

    pub fn get(&self) -> Arc<T> {
        loop {
            // A writer locks only the slot that is not current: when this fails, there is news.
            let current = self.current.load(Ordering::Acquire) as usize;
            if let Ok(value) = self.slots[current].try_read() {
                return value.clone();
            }
            std::hint::spin_loop();
        }
    }

    pub fn set(&self, value: T) {
        let _one_at_a_time = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.current.load(Ordering::Relaxed) as usize;
        let value = Arc::new(value);
        for slot in [1 - old, old] {
            *self.slots[slot].write().unwrap_or_else(PoisonError::into_inner) = value.clone();
            self.current.store(1 - old as u32, Ordering::Release);
        }
    }
}

#[cfg(test)]
#[path = "../tests/os/mod.rs"]
mod tests;
