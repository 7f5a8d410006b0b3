//! The server that hands out the same token again until it has expired, with its remaining life in
//! whole seconds. A token requested at 0 is refresh-due from 1545 on, but a request before its
//! expiry at 1800 returns the same token.

use super::*;

/// The client has token 1, which it was given again at this time.
fn given_again_at(time: f64) -> World {
    let mut world = World::new().with_token_reuse().with_token();
    world.at(time).call(30.0).got(1).after(0.1);
    world
}

#[test]
fn same_token_is_not_requested_until_its_expiry() {
    let mut world = given_again_at(1600.0);
    let times = world.at(1650.0).poll_until(1798.9, 30.0);
    assert!(times.is_empty(), "{times:?}");
    world.at(1799.1).start(30.0);
    assert_eq!(world.server.requests.len(), 3);
}

#[test]
fn configured_margin_does_not_hasten_the_request() {
    let mut world = World::new().with_margin(300.0).with_token_reuse().with_token();
    world.at(1510.0).call(30.0).got(1);
    assert!(world.at(1520.0).poll_until(1798.9, 30.0).is_empty());
}

#[test]
fn close_expiries_are_the_later_of_the_two() {
    // At 1600.5 the answer says 199 s, as if the token expired at 1799.5.
    let mut world = given_again_at(1600.5);
    assert_eq!(world.at(1798.95).usable(), Some(1));
    assert_eq!(world.at(1799.05).usable(), None);
}

#[test]
fn distant_expiries_are_different() {
    for (at, stale) in [(1600.5, 1799.0), (1600.0, 1797.0)] {
        let mut world = World::new().with_token_reuse().with_token();
        // The answer says 198 s, as if the token expired at 1798.5 or at 1798.
        world.server.set_expiry(1, at + 198.6);
        world.at(at).call(30.0).got(1);
        assert_eq!(world.at(stale - 0.05).usable(), Some(1));
        assert_eq!(world.at(stale + 0.05).usable(), None);
    }
}

#[test]
fn later_expiry_counts() {
    let mut world = World::new().with_token_reuse().with_token();
    world.server.set_expiry(1, 1801.6);
    world.at(1600.0).call(30.0).got(1);
    assert_eq!(world.at(1799.9).usable(), Some(1));
    assert_eq!(world.at(1800.1).usable(), None);
}

#[test]
fn much_earlier_expiry_counts() {
    let mut world = World::new().with_token_reuse().with_token();
    world.server.set_expiry(1, 1750.1);
    world.at(1600.0).call(30.0).got(1);
    assert_eq!(world.at(1748.95).usable(), Some(1));
    assert_eq!(world.at(1749.05).usable(), None);
    world.at(1750.0).call(0.0).failed(ErrorKind::Timeout);
}

#[test]
fn refresh_near_the_expiry_asks_again_after_it() {
    for (random, again) in [(0.0, 1801.0), (0.5, 1801.25), (1.0, 1801.5)] {
        let mut world = World::new().with_random(random).with_token_reuse().with_token();
        world.at(1650.0).call(30.0).got(1);
        let leader = world.at(1799.01).start(30.0);
        world.finish(leader).got(2).at(again + 0.1);
        world.assert_requests_at(&[0.0, 1650.0, 1799.01, again]);
    }
}

#[test]
fn patient_caller_waits_for_that_refresh() {
    let mut world = given_again_at(1600.0);
    world.at(1799.01).start(30.0);
    let calls = [1799.2, 1799.9, 1800.1].map(|time| world.at(time).start(30.0));
    for call in world.finish_all(&calls) {
        call.got(2).at(1801.35);
    }
    world.assert_requests_at(&[0.0, 1600.0, 1799.01, 1801.25]);
}

#[test]
fn impatient_caller_gets_the_token_until_it_expires() {
    let mut world = given_again_at(1600.0);
    world.at(1799.01).start(30.0);
    let calls = [1799.2, 1799.4].map(|time| world.at(time).start(0.5));
    for call in world.finish_all(&calls) {
        assert_within(call.got(1).ended, 1799.2..1799.91);
    }
    world.at(1800.1).call(0.5).failed(ErrorKind::Timeout).after(0.5);
}

#[test]
fn same_token_is_stale_just_before_its_expiry() {
    let mut world = given_again_at(1600.0);
    world.at(1799.01).start(30.0);
    for time in [1799.2, 1799.7] {
        assert_eq!(world.at(time).usable(), None);
    }
}

#[test]
fn leader_without_time_to_wait_gets_the_token() {
    let mut world = given_again_at(1600.0);
    world.at(1799.01).call(2.3).got(1).after(0.1);
}

#[test]
fn follower_without_time_to_wait_gets_the_token() {
    let mut world = given_again_at(1600.0);
    world.at(1799.01).start(30.0);
    let follower = world.at(1799.05).start(0.4);
    assert_within(world.finish(follower).got(1).ended, 1799.05..1799.46);
}

#[test]
fn proactive_refresh_does_not_wait_for_the_expiry() {
    let mut world = World::new().with_life(6.0).with_token_reuse().with_token();
    // The token is refresh-due from 4.8 on and stale from 5.7 on.
    world.at(4.9).call(30.0).got(1).after(0.1);
}

#[test]
fn refresh_well_before_the_expiry_does_not_wait() {
    let mut world = World::new().with_margin(15.0).with_life(30.0).with_token_reuse().with_token();
    world.at(27.5).call(30.0).got(1).after(0.1);
    assert_eq!(world.usable(), Some(1));
}

#[test]
fn token_that_never_changes_causes_no_storm() {
    let mut world = World::new().with_life(30.0).with_token_reuse().with_token();
    for tenth in 0..600 {
        let now = f64::from(tenth) / 10.0;
        world.server.set_expiry(1, 29.5f64.max(now + 1.5));
        world.at(now).start(10.0);
    }
    // At most one request in a second.
    assert_within(world.requests_since(30.0) as f64, 10.0..30.0);
    let refreshes = world.state().counts.refreshes;
    assert_within(refreshes as f64, 5.0..31.0);
}

#[test]
fn rejected_token_that_comes_again_is_given_again() {
    let mut world = World::new().with_token_reuse().with_token();
    world.at(500.0).reject(1);
    world.call(30.0).got(1).after(0.1);
    world.at(501.0).call(30.0).got(1).at_once();
}
