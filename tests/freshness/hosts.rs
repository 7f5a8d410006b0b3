//! What a host with an event loop uses, and what an operator sees: `refresh_in`, counters, last
//! error.

use super::*;

#[test]
fn usable_token_is_fresh_or_refresh_due() {
    let mut world = World::new();
    assert_eq!(world.usable(), None);
    let mut world = world.with_token();
    for (time, usable) in [(100.0, Some(1)), (1600.0, Some(1)), (1771.0, None), (1800.0, None)] {
        assert_eq!(world.at(time).usable(), usable);
    }
    world.assert_requests_at(&[0.0]);
}

#[test]
fn refresh_in_ends_when_the_token_is_refresh_due() {
    let mut world = World::new();
    assert_eq!(world.refresh_in(), 0.0);
    let mut world = world.with_token();
    assert_close(world.at(1000.0).refresh_in(), 545.0);
    for time in [1545.1, 1700.0, 1771.0, 1800.0] {
        assert_eq!(world.at(time).refresh_in(), 0.0);
    }
}

#[test]
fn refresh_in_is_zero_after_a_rejection() {
    let mut world = World::new().with_token();
    world.at(1000.0).reject(1);
    assert_eq!(world.refresh_in(), 0.0);
}

#[test]
fn refresh_in_is_zero_after_rejection_in_backoff() {
    let mut world = World::new().with_token();
    world.server_becomes(WebPage).at(1600.0).poll_until(1610.0, 30.0);
    assert_close(world.refresh_in(), 5.4);
    world.reject(1);
    assert_eq!(world.refresh_in(), 0.0);
}

#[test]
fn refresh_in_lasts_until_the_backoff_ends() {
    let mut world = World::new();
    world.server_becomes(WebPage).poll_until(8.0, 1.0);
    // The backoff of the refresh that failed at 7.4 lasts 8 s.
    assert_close(world.refresh_in(), 7.4);
    let mut refresh_due = World::new().with_token();
    refresh_due.server_becomes(Throttling(Some(30.0))).at(1600.0).call(30.0);
    assert_close(refresh_due.refresh_in(), 33.0);
}

#[test]
fn refresh_in_lasts_until_the_denial_ends() {
    let mut world = World::new();
    world.server_becomes(Denying).call(30.0);
    assert_close(world.at(1.1).refresh_in(), 4.0);
    assert_eq!(world.change_secret().refresh_in(), 0.0);
}

#[test]
fn refresh_in_lasts_until_the_interval_ends() {
    let mut world = World::new().with_life(0.5);
    world.call(30.0).got(1);
    assert_close(world.at(0.6).refresh_in(), 0.4);
}

#[test]
fn refresh_in_is_not_zero_during_a_refresh() {
    let mut world = World::new();
    world.server_becomes(Silent).start(5.0);
    assert_close(world.at(2.0).refresh_in(), 1.0);
    assert_within(world.at(4.8).refresh_in(), 0.1..1.01);
}

#[test]
fn refresh_in_lasts_until_a_leader_is_abandoned() {
    let mut world = World::new();
    world.server_becomes(Stuck(60.0)).start(5.0);
    assert_close(world.at(5.5).refresh_in(), 0.5);
    assert_eq!(world.at(6.1).refresh_in(), 0.0);
}

#[test]
fn refresh_in_ends_at_stale_before_the_backoff() {
    let mut world = World::new().with_random(1.0).with_token();
    world.server_becomes(WebPage).at(1769.4).call(30.0);
    assert_close(world.refresh_in(), 1770.0 - 1769.5 + 0.4);
    world.reject(1);
    assert_close(world.refresh_in(), 0.9);
}

#[test]
fn refresh_in_cuts_a_long_retry_after() {
    let mut world = World::new().with_token();
    world.server_becomes(Throttling(Some(300.0))).at(1760.0).call(30.0);
    assert_close(world.refresh_in(), 1830.0 - 1760.1);
    assert_close(world.at(1800.0).refresh_in(), 30.0);
}

#[test]
fn call_after_refresh_in_makes_a_request() {
    let behaviours = [Fine, Down, Silent, Slow(2.0), Throttling(Some(20.0)), WebPage, Denying];
    for seed in 0..50 {
        let mut world = World::seeded(seed).with_life([0.0, 5.0, 60.0, 600.0][seed as usize % 4]);
        world.server.reuses_token = seed % 8 >= 4;
        let mut rng = rng::Rng(seed);
        for _ in 0..60 {
            let wait = world.refresh_in();
            let time = world.time();
            // A host's timer counts whole milliseconds and is late.
            world
                .server_becomes(rng.one_of(&behaviours))
                .at(time + (1000.0 * wait).ceil() / 1000.0 + 1e-6);
            let useful = world.refresh_in() == 0.0;
            let call = world.call(30.0);
            assert!(useful && call.requests > 0, "no request at {time} with seed {seed}: {call:?}");
        }
    }
}

#[test]
fn what_costs_a_request_or_a_wait_is_counted() {
    let mut world = World::new();
    let calls = world.server_becomes(Down).start_many(3, 30.0);
    world.finish_all(&calls);
    let counts = world.state().counts;
    assert_eq!((counts.refreshes, counts.attempts, counts.failures), (1, 3, 1));
    assert_eq!((counts.waits, counts.rejections, counts.denials), (2, 0, 0));
    world.server_becomes(Denying).at(5.0).call(30.0);
    world.server_becomes(Fine).at(20.0).call(30.0).got(1);
    world.reject(1);
    world.call(30.0).got(2);
    let counts = world.state().counts;
    assert_eq!((counts.refreshes, counts.attempts, counts.failures), (4, 6, 2));
    assert_eq!((counts.waits, counts.rejections, counts.denials), (2, 1, 1));
}

#[test]
fn hits_are_not_counted() {
    let mut world = World::new().with_token();
    let before = format!("{:?}", world.state().counts);
    world.at(100.0).call(30.0);
    assert_eq!(format!("{:?}", world.state().counts), before);
}

#[test]
fn call_that_waits_is_counted_once() {
    let mut world = World::new();
    world.server_becomes(Silent).start(30.0);
    let follower = world.start(20.0);
    world.finish(follower);
    assert_eq!(world.state().counts.waits, 1);
}

#[test]
fn last_error_shows_an_outage_the_token_hides() {
    let mut world = World::new().with_token();
    assert!(world.state().last_error().is_none());
    world.server_becomes(Down).at(1600.0).call(30.0).got(1);
    assert_eq!(world.state().last_error().map(Error::kind), Some(ErrorKind::Server));
    world.server_becomes(Fine).at(1610.0).call(30.0).got(2);
    assert!(world.state().last_error().is_none());
}

#[test]
fn last_error_shows_what_is_not_remembered() {
    let mut world = World::new().with_exchange_time(0.4);
    world.call(0.05);
    assert_eq!(world.state().last_error().map(Error::kind), Some(ErrorKind::Timeout));
    let mut world = World::new();
    world.server_becomes(Denying).start(30.0);
    world.at(0.05).change_secret().at(0.15);
    assert_eq!(world.state().last_error().map(Error::kind), Some(ErrorKind::Denied));
}

#[test]
fn age_starts_at_the_request_and_life_ends_at_zero() {
    let mut world = World::new();
    let now = world.now();
    assert!(world.state().age_and_remaining_life(now).is_none());
    let mut world = world.with_token();
    for (time, left) in [(0.1, 1799.9), (500.0, 1300.0), (1800.0, 0.0), (2000.0, 0.0)] {
        let now = world.at(time).now();
        let (age, remaining) = world.state().age_and_remaining_life(now).expect("a token");
        assert_close(age.as_secs_f64(), time);
        assert_close(remaining.as_secs_f64(), left);
    }
}

#[test]
fn lease_lasts_while_the_token_is_fresh() {
    let mut world = World::new();
    let token = world.call(30.0).answer.expect("a token");
    for (time, fresh) in [(1000.0, 545.0), (1545.0, 0.0), (1600.0, 0.0), (1800.0, 0.0)] {
        let now = world.at(time).now();
        assert_close(world.state().fresh_for(now, &token).as_secs_f64(), fresh);
    }
}

#[test]
fn no_lease_of_an_older_or_a_rejected_token() {
    let mut world = World::new();
    let old = world.call(30.0).answer.expect("a token");
    let new = world.at(1600.0).call(30.0).answer.expect("a token");
    let now = world.now();
    assert_eq!(world.state().fresh_for(now, &old), Duration::ZERO);
    assert!(world.state().fresh_for(now, &new) > Duration::ZERO);
    world.at(1700.0).reject(2);
    let now = world.now();
    assert_eq!(world.state().fresh_for(now, &new), Duration::ZERO);
    assert!(world.state().cached().is_some_and(CachedToken::is_rejected));
}
