//! Tokens that an API rejected.

use super::*;

#[test]
fn rejected_token_becomes_stale_and_is_replaced() {
    let mut world = World::new().with_token();
    assert!(world.at(500.0).reject(1));
    assert_eq!(world.usable(), None);
    world.call(30.0).got(2).after(0.1);
}

#[test]
fn rejecting_another_token_changes_nothing() {
    let mut world = World::new().with_token();
    world.at(1600.0).call(30.0).got(2);
    assert!(!world.at(1700.0).reject(1));
    world.call(30.0).got(2).at_once();
    assert_eq!(world.state().counts.rejections, 0);
}

#[test]
fn rejecting_without_a_token_changes_nothing() {
    assert!(!World::new().reject(1));
}

#[test]
fn many_rejections_of_one_token_cause_one_refresh() {
    let mut world = World::new().with_token();
    let mut calls = Vec::new();
    for hundredth in 0..100 {
        world.at(500.0 + f64::from(hundredth) / 100.0).reject(1);
        calls.push(world.start(30.0));
    }
    for call in world.finish_all(&calls) {
        call.got(2);
    }
    world.assert_requests_at(&[0.0, 500.0]);
    assert_eq!(world.state().counts.rejections, 1);
}

#[test]
fn rejected_token_is_given_if_refresh_fails() {
    let mut world = World::new().with_token();
    world.server_becomes(Down).at(500.0).reject(1);
    world.call(30.0).got(1);
    world.at(1798.0).call(30.0).got(1);
    world.at(1799.5).call(0.0).failed(ErrorKind::Server);
}

#[test]
fn rejection_ends_the_backoff_of_a_usable_token() {
    let mut world = World::new().with_token();
    world.server.next([WebPage, WebPage, WebPage]);
    world.at(1600.0).poll_until(1605.0, 30.0);
    world.at(1606.0).reject(1);
    world.call(30.0).got(2).after(0.1);
}

#[test]
fn rejections_are_ignored_after_a_replacement() {
    let mut world = World::new().with_token();
    world.at(500.0).reject(1);
    world.call(30.0).got(2).at(500.1);
    assert!(!world.at(501.0).reject(2));
    world.call(30.0).got(2).at_once();
    assert!(world.at(501.2).reject(2));
}

#[test]
fn repeated_rejections_are_ignored_longer() {
    let mut world = World::new().with_token();
    let mut effective = Vec::new();
    for tenth in 0..3000 {
        let time = 500.0 + f64::from(tenth) / 10.0;
        world.at(time);
        let token = world.call(30.0);
        let token = world::number(token.answer.as_ref().expect("a token"));
        if world.reject(token) {
            effective.push(time);
        }
    }
    let pauses: Vec<f64> = effective.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (found, expected) in pauses.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]) {
        assert_within(*found, expected..expected + 0.5);
    }
    assert_eq!(pauses.len(), 9);
}

#[test]
fn quiet_time_resets_how_long_rejections_are_ignored() {
    for (quiet, ignored) in [(59.0, 2.0), (61.0, 1.0)] {
        let mut world = World::new().with_token();
        world.at(500.0).reject(1);
        world.call(30.0).got(2).at(500.1);
        let time = 501.1 + quiet;
        assert!(world.at(time).reject(2));
        world.call(30.0).got(3).after(0.1);
        assert!(!world.at(time + ignored).reject(3));
        assert!(world.at(time + ignored + 0.2).reject(3));
    }
}

#[test]
fn rejection_counts_at_once_after_a_plain_refresh() {
    let mut world = World::new().with_token();
    world.at(1600.0).call(30.0).got(2);
    assert!(world.at(1600.2).reject(2));
    world.call(30.0).got(3);
}

#[test]
fn rejections_of_the_same_token_are_ignored_too() {
    let mut world = World::new().with_token_reuse().with_token();
    world.at(500.0).reject(1);
    world.call(30.0).got(1).at(500.1);
    assert!(!world.at(500.9).reject(1));
    assert!(world.at(501.2).reject(1));
}

#[test]
fn token_is_rejected_only_once() {
    let mut world = World::new().with_token();
    assert!(world.at(500.0).reject(1));
    assert!(!world.reject(1));
}
