//! The clocks of this machine.

use std::thread;

use super::*;

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
            continue; // a tick between the two readings
        }
        if next.monotonic == last.monotonic {
            assert_eq!(next.wall, last.wall);
        }
        last = next;
    }
}
