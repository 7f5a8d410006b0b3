//! The child of a fork, which inherits the cached token and nothing else.

use super::*;

/// A world in which the client forked at `time`; its client is the child's.
fn child_at(time: f64, random: f64) -> World {
    forked(World::new().with_token(), time, random)
}

fn forked(mut world: World, time: f64, random: f64) -> World {
    let cached = world.at(time).state().cached().expect("a token").clone();
    world.inherit(cached, random);
    world
}

#[test]
fn usable_token_stays_usable_in_child() {
    for time in [100.0, 1600.0, 1769.0] {
        for random in [0.0, 1.0] {
            assert_eq!(child_at(time, random).usable(), Some(1));
        }
    }
}

#[test]
fn child_draws_its_own_refresh_window() {
    assert_close(child_at(100.0, 0.0).refresh_in(), 1620.0 - 100.0);
    assert_close(child_at(100.0, 1.0).refresh_in(), 1470.0 - 100.0);
}

#[test]
fn child_does_not_follow_parents_refresh() {
    let mut world = World::new().with_token();
    world.server_becomes(Silent).at(1900.0).start(30.0);
    let mut child = forked(world, 1901.0, 0.5);
    child.server_becomes(Fine).call(30.0).got(2).after(0.1);
}

#[test]
fn window_of_same_token_stays_zero_in_child() {
    let mut world = World::new().with_token_reuse().with_token();
    world.at(1600.0).call(30.0).got(1);
    assert_close(forked(world, 1650.0, 0.5).refresh_in(), 1799.0 - 1650.0);
}

#[test]
fn child_with_expired_token_has_a_grace_period() {
    let mut child = child_at(1900.0, 0.5);
    child.server_becomes(WebPage).server.from(1902.0, Fine);
    child.call(30.0).got(2);
}

#[test]
fn statistics_start_at_zero_in_child() {
    let mut child = child_at(1000.0, 0.5);
    let counts = child.state().counts;
    assert_eq!((counts.refreshes, counts.attempts), (0, 0));
    assert!(child.state().last_error().is_none());
}
