//! Snapshots with threads, in a form that Miri can run.

use std::thread;
use std::time::Duration;

use super::*;

#[test]
fn reader_never_sees_half_a_change() {
    let pair = Snapshot::new((0, 0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let seen = pair.get();
                    assert_eq!(seen.0, seen.1);
                }
            });
        }
        for n in 1..50 {
            pair.set((n, n));
        }
    });
    assert_eq!(*pair.get(), (49, 49));
}

#[test]
fn read_succeeds_while_a_writer_is_stuck() {
    let value = Snapshot::new("old");
    let _stuck_writer = value.slots[1].write().unwrap();
    assert_eq!(*value.get(), "old");
}

#[test]
fn replaced_value_is_dropped() {
    let old = Arc::new(());
    let value = Snapshot::new(old.clone());
    value.set(Arc::new(()));
    assert_eq!(Arc::strong_count(&old), 1);
}

/// The old value is dropped while its slot is locked; its destructor reads the snapshot.
#[test]
fn read_succeeds_while_old_value_is_dropped() {
    struct Old(Arc<Snapshot<Option<Old>>>);
    impl Drop for Old {
        fn drop(&mut self) {
            let current = self.0.current.load(Ordering::Acquire) as usize;
            assert!(self.0.slots[current].try_read().is_ok_and(|value| value.is_none()));
        }
    }
    let value = Arc::new(Snapshot::new(None));
    value.set(Some(Old(value.clone())));
    value.set(None);
    assert!(value.get().is_none());
}

#[test]
fn old_value_is_read_until_new_one_is_complete() {
    let value = Snapshot::new("old");
    thread::scope(|scope| {
        let reader = value.slots[1].read().unwrap();
        scope.spawn(|| value.set("new"));
        for _ in 0..50 {
            // The same as `get`, except that `get` would try again forever.
            let current = value.current.load(Ordering::Acquire) as usize;
            assert!(value.slots[current].try_read().is_ok_and(|value| **value == "old"));
            thread::sleep(Duration::from_millis(1));
        }
        drop(reader);
    });
    assert_eq!(*value.get(), "new");
}

#[test]
fn only_one_writer_at_a_time() {
    let value = Snapshot::new("old");
    thread::scope(|scope| {
        let other_writer = value.writer.lock().unwrap();
        scope.spawn(|| value.set("new"));
        for _ in 0..20 {
            assert_eq!(*value.get(), "old");
            thread::sleep(Duration::from_millis(1));
        }
        drop(other_writer);
    });
    assert_eq!(*value.get(), "new");
}
