//! A value of the whole program that lives until it ends.

use std::sync::atomic::{AtomicPtr, Ordering};

/// Empty at first; can be set again, which leaks the value before. No lock: a fork at any moment leaves
/// it usable.
pub(crate) struct Forever<T>(AtomicPtr<T>);

impl<T: Send + Sync> Forever<T> {
    pub const fn empty() -> Forever<T> {
        Forever(AtomicPtr::new(std::ptr::null_mut()))
    }

    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: the pointer is null or from `set`, and what `set` has leaked is never freed.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    pub fn set(&self, value: T) -> &'static T {
        let leaked = Box::leak(Box::new(value));
        self.0.store(std::ptr::from_mut(leaked), Ordering::Release);
        leaked
    }
}

#[cfg(test)]
#[path = "../../tests/os/forever.rs"]
mod tests;
