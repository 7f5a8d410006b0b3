//! Per-process values with threads, so that Miri can watch.

use std::sync::Arc;
use std::thread;

use super::*;

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
