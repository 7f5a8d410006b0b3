//! Snapshots and per-process values with threads, so that Miri can watch.

use std::thread;

use super::*;

#[test]
fn a_snapshot_is_read_whole_while_it_is_replaced() {
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
fn a_snapshot_can_be_read_while_its_writer_is_gone_in_the_middle() {
    let value = Snapshot::new("old");
    let _held_by_a_thread_that_is_gone = value.slots[1].write().unwrap();
    assert_eq!(*value.get(), "old");
}

#[test]
fn a_snapshot_keeps_nothing_old() {
    let old = Arc::new(());
    let value = Snapshot::new(old.clone());
    value.set(Arc::new(()));
    assert_eq!(Arc::strong_count(&old), 1);
}

/// The last user of the old value goes while its slot is locked.
#[test]
fn a_snapshot_can_be_read_at_any_moment_of_a_change() {
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
fn a_snapshot_is_the_old_value_until_the_new_one_is_whole() {
    let value = Snapshot::new("old");
    thread::scope(|scope| {
        let reader = value.slots[1].read().unwrap();
        scope.spawn(|| value.set("new"));
        for _ in 0..50 {
            // As `get` does, which would try for ever.
            let current = value.current.load(Ordering::Acquire) as usize;
            assert!(value.slots[current].try_read().is_ok_and(|value| **value == "old"));
            thread::sleep(Duration::from_millis(1));
        }
        drop(reader);
    });
    assert_eq!(*value.get(), "new");
}

#[test]
fn a_snapshot_has_one_writer_at_a_time() {
    let value = Snapshot::new(0);
    let rounds = if cfg!(miri) { 5 } else { 200 };
    for _ in 0..rounds {
        thread::scope(|scope| {
            for writer in 0..4 {
                let value = &value;
                scope.spawn(move || (0..10).for_each(|_| value.set(writer)));
            }
        });
        let [first, second] = &value.slots;
        assert!(Arc::ptr_eq(&first.read().unwrap(), &second.read().unwrap()));
    }
}

/// Makes the process look like the child of a fork: the only test that does.
#[test]
fn the_child_of_a_fork_makes_its_value_once_and_leaves_its_parents_alone() {
    let value = PerProcess::new(1);
    let (own, inherited) = (Arc::new(()), Arc::new(()));
    drop(PerProcess::new(own.clone()));
    let untouched = PerProcess::new(inherited.clone());
    assert_eq!(*value.get(|_| unreachable!()), 1);
    let parents = value.get(|_| unreachable!());
    GENERATION.fetch_add(1, Ordering::Relaxed);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(*value.get(|old| old + 1), 2));
        }
    });
    assert_eq!((*value.get(|_| unreachable!()), *parents), (2, 1));
    // Whoever comes second has the first one's, and leaves nothing.
    let second = Arc::new(3);
    let late = PerProcess::new(Arc::new(1));
    // SAFETY: nothing is freed before `late` is.
    let of_the_parent = unsafe { &*late.latest.load(Ordering::Relaxed) };
    assert_eq!(**late.inherited(of_the_parent, |_| Arc::new(2)), 2);
    assert_eq!(**late.inherited(of_the_parent, |_| second.clone()), 2);
    assert_eq!(Arc::strong_count(&second), 1);
    drop(untouched);
    assert_eq!((Arc::strong_count(&own), Arc::strong_count(&inherited)), (1, 2));
}

#[test]
fn chance_is_from_zero_to_one_and_not_always_the_same() {
    let drawn: Vec<f64> = (0..100).map(|_| random()).collect();
    assert!(drawn.iter().all(|factor| (0.0..1.0).contains(factor)));
    assert!(drawn.iter().any(|factor| *factor != drawn[0]));
}

#[test]
fn clocks_go_forward() {
    let (first, coarse) = (now(), Coarse::now());
    thread::sleep(Duration::from_millis(20));
    let (second, later) = (now(), Coarse::now());
    assert!(second.boot >= first.boot + Duration::from_millis(20));
    assert!(second.wall > first.wall);
    assert!(later.monotonic > coarse.monotonic && later.wall > coarse.wall);
}

#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn coarse_clocks_tick_together() {
    let end = now().boot + Duration::from_millis(100);
    let mut last = Coarse::now();
    while now().boot < end {
        let next = Coarse::now();
        if coarse_monotonic() != next.monotonic {
            continue; // between the two looks
        }
        if next.monotonic == last.monotonic {
            assert_eq!(next.wall, last.wall);
        }
        last = next;
    }
}
