//! The rules of `docs/freshness.md` as scenarios on virtual clocks: `cargo test --lib scenarios::`.
//!
//! A scenario makes a `World`, says how its server behaves, moves the time with `at`, makes calls,
//! and asserts what they got, when, and when requests were sent. For example,
//! `World::new().with_token()` has a token of 1800 s requested at 0, which is refresh-due from 1545
//! on; `world.server_becomes(Down).at(1600.0).call(30.0).got(1)` says that a call at 1600 with a
//! timeout of 30 s gets the old token although the server is down. Random factors are in the middle
//! of their ranges unless the scenario says otherwise.
//!
//! A failed assertion names the line of the scenario and the values found. `invariants` and
//! `world/callers` watch every scenario; a failure there says which rule was violated, and the name
//! of the thread is the test. A random run also prints its seed: `random_runs` says how to repeat
//! it. The seeds of `crowds` stand in its tests, so these are the same each time.

mod invariants;
mod rng;
mod server;
mod world;

mod child;
mod clocks;
mod crowds;
mod deadlines;
mod failures;
mod fleet;
mod hosts;
mod random_runs;
mod rejections;
mod same_token;
mod states;
mod sweep;

use std::ops::Range;

use super::*;
use server::Behaviour;
use server::Behaviour::*;
use world::World;

/// Equal but for rounding.
#[track_caller]
fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
}

#[track_caller]
fn assert_within(found: f64, expected: Range<f64>) {
    assert!(expected.contains(&found), "{found} is not within {expected:?}");
}
