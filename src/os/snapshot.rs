//! A value that is shared by threads and never makes its readers wait.
//!
//! The child of a fork needs it: it reads what its parent had, at a moment in which any thread of
//! the parent may have been writing. With a plain `RwLock` such a child would wait forever.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A shared value that can be replaced, and read without waiting for a writer.
///
/// There are two slots, and `current` is the one to read. A writer only ever locks the other one:
///
/// ```text
///                      slot 0   slot 1   current
/// before set("new")    old      old      0
/// slot 1 written       old      new      0
/// current changed      old      new      1
/// slot 0 written       new      new      1        the old value is dropped here
/// ```
///
/// After a fork in any of these lines, the child's current slot is unlocked and complete.
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
            // Writers lock only the slot that is not current. So this fails only if `current` has
            // changed since it was read, and the next round reads the other slot. Readers do not
            // fail because of each other.
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
            // Waits for readers of this slot, but they never wait for this lock.
            *self.slots[slot].write().unwrap_or_else(PoisonError::into_inner) = value.clone();
            // The second store changes nothing.
            self.current.store(1 - old as u32, Ordering::Release);
        }
    }
}

#[cfg(test)]
#[path = "../../tests/os/snapshot.rs"]
mod tests;
