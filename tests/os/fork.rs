//! Per-process values with threads, in a form that Miri can run.

use std::sync::Arc;
use std::thread;

use super::*;

/// Makes this process look like the child of a fork. No other test may do that: the count is
/// global.
#[test]
fn child_of_a_fork_makes_its_own_value_once() {
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
    // The second thread gets the value of the first, and its own is freed.
    let second = Arc::new(3);
    let late = PerProcess::new(Arc::new(1));
    // SAFETY: no value is freed before `late` is.
    let parents_value = unsafe { &*late.latest.load(Ordering::Relaxed) };
    assert_eq!(**late.inherited(parents_value, |_| Arc::new(2)), 2);
    assert_eq!(**late.inherited(parents_value, |_| second.clone()), 2);
    assert_eq!(Arc::strong_count(&second), 1);
    drop(untouched);
    assert_eq!((Arc::strong_count(&own), Arc::strong_count(&inherited)), (1, 2));
}
