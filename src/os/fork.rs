//! A value per process: after a fork, parent and child each have their own.
//!
//! `fork` copies the whole memory, but only the thread that called it. If another thread of the
//! parent had locked a mutex at that moment, the child's copy of the mutex stays locked forever:
//! the thread that would unlock it does not exist there. So the child must not use the parent's
//! mutexes at all.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The number of forks between the first process and this one: 0, in its child 1, in that one's
/// child 2.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Registers the handler that counts forks. A fork before the first call is not counted.
fn watch_for_forks() {
    #[cfg(unix)]
    {
        extern "C" fn count() {
            GENERATION.fetch_add(1, Ordering::Relaxed);
        }
        static WATCHING: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        // Not a `Once`: a fork while another thread is inside it would leave it locked in the
        // child. Two threads may both register the handler here. Then it adds 2, which is as good
        // as 1: only a difference from the parent's number matters.
        if !WATCHING.load(Ordering::Acquire) {
            // SAFETY: the handler only adds to an atomic, which is allowed in the child of a
            // process with many threads. Its code stays mapped after `dlclose`, because the library
            // is linked with `-z nodelete`. If there is no memory for the registration, all works
            // but forks.
            unsafe { libc::pthread_atfork(None, None, Some(count)) };
            WATCHING.store(true, Ordering::Release);
        }
    }
}

/// A value of which each process has its own.
///
/// The child of a fork makes a new one at its first `get`. Its copy of the parent's value is then
/// never used again and never freed: a thread of the parent may have locked or half changed it.
///
/// Example: the parent has a value of generation 0. In the child `GENERATION` is 1. The first `get`
/// sees that they differ, makes a value of generation 1 and stores it; later calls return that.
pub(crate) struct PerProcess<T> {
    latest: AtomicPtr<Owned<T>>,
    /// `AtomicPtr` is `Send` and `Sync` whatever it points to; this type is only if `T` is.
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

    /// The value of this process. In the child of a fork the first call makes it from the parent's
    /// with `inherit`, which may read only what no thread can have locked: constants, atomics and
    /// `Snapshot`s.
    #[inline]
    pub fn get(&self, inherit: impl FnOnce(&T) -> T) -> &T {
        // SAFETY: the pointer is from `leak`, and a value that was stored is not freed before
        // `self`.
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
            // SAFETY: as in `get`. If another thread was first, all use its value. Ours was never
            // stored, so no other thread can have a reference to it, and it can be freed.
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
        // SAFETY: as in `get`; and `&mut self` proves that no reference is left. A value that an
        // ancestor process made is leaked: to drop it could wait for a lock that is never released.
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
