//! Values of which every process has its own, also after a fork.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

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

#[cfg(test)]
#[path = "../../tests/os/fork.rs"]
mod tests;
