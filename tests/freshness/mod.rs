//! The rules of freshness as scenarios: what was held, what happened, who asked, what they got.
//! Every scenario, random ones too, is watched by `law`.

mod invariants;
mod rng;
mod server;
mod world;

mod child;
mod clocks;
mod crowds;
mod deadlines;
mod failures;
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

/// Within a nanosecond or two.
#[track_caller]
fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
}

#[track_caller]
fn assert_within(found: f64, expected: Range<f64>) {
    assert!(expected.contains(&found), "{found} is not within {expected:?}");
}
