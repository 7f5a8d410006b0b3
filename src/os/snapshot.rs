//! A shared value whose readers never wait.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

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
#[path = "../../tests/os/snapshot.rs"]
mod tests;
