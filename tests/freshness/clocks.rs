//! The clock that counts suspend, and the wall clock, which may be set.

use super::*;

const HOUR: i64 = 3600;

#[test]
fn wall_clock_set_back_does_no_harm() {
    let mut world = World::new().with_token();
    world.at(500.0).shift_wall_clock(-HOUR);
    world.at(1544.0).call(30.0).got(1).at_once();
    world.at(1600.0).call(30.0).got(2);
    world.assert_requests_at(&[0.0, 1600.0]);
}

#[test]
fn wall_clock_set_forward_costs_one_exchange() {
    let mut world = World::new().with_token();
    world.at(500.0).shift_wall_clock(HOUR);
    world.at(501.0).call(30.0).got(2).after(0.1);
    world.at(1500.0).call(30.0).got(2).at_once();
    world.assert_requests_at(&[0.0, 501.0]);
}

#[test]
fn wall_clock_set_forward_in_an_outage_is_harmless() {
    let mut world = World::new().with_token();
    world.server_becomes(Down).at(500.0).shift_wall_clock(HOUR);
    world.at(501.0).call(30.0).got(1);
    world.at(1798.9).call(30.0).got(1);
}

#[test]
fn token_expired_only_by_the_wall_clock_is_stale() {
    let mut world = World::new().with_token();
    world.at(500.0).shift_wall_clock(1300);
    assert_eq!(world.usable(), None);
    world.call(0.0).got(1);
}

#[test]
fn wall_clock_makes_stale_even_without_a_margin() {
    let mut world = World::new().with_margin(0.0).with_token();
    world.at(500.0).shift_wall_clock(HOUR);
    assert_eq!(world.usable(), None);
}

#[test]
fn clock_that_shows_less_life_left_decides() {
    let mut world = World::new().with_token();
    world.at(1400.0).shift_wall_clock(140);
    world.call(30.0).got(1).at_once();
    world.shift_wall_clock(10);
    world.call(30.0).got(2).after(0.1);
}

#[test]
fn expiry_during_sleep_is_noticed_at_the_next_call() {
    let mut world = World::new().with_token();
    world.at(500.0).suspend(8.0 * 3600.0);
    world.call(30.0).got(2).after(0.1);
}

#[test]
fn refresh_after_sleep_may_make_all_its_attempts() {
    let mut world = World::new().with_token();
    world.server_becomes(Down).at(1600.0).poll_until(1700.0, 30.0);
    world.suspend(3600.0).server.next([Down, Down, Fine]);
    world.call(30.0).got(2);
}

#[test]
fn backoff_ends_if_the_wall_clock_makes_token_stale() {
    let mut world = World::new().with_token();
    world.server_becomes(Throttling(Some(3.0))).at(1600.0).poll_until(1610.0, 30.0);
    world.server_becomes(WebPage).at(1620.0).call(30.0).got(1);
    world.server_becomes(Fine).at(1621.5).call(30.0).got(1).at_once();
    world.shift_wall_clock(HOUR).call(30.0).got(2).after(0.1);
}

#[test]
fn wall_clock_does_not_move_backoff_or_denial() {
    for offset in [-HOUR, HOUR] {
        for (behaviour, until) in [(WebPage, 1.05), (Denying, 5.05)] {
            let mut world = World::new();
            world.server_becomes(behaviour).call(30.0);
            world.shift_wall_clock(offset).at(until).call(30.0).at_once();
            world.assert_requests_at(&[0.0]);
            world.at(until + 0.1).call(30.0).after(0.1);
        }
        let mut world = World::new().with_life(0.9);
        world.call(30.0).got(1);
        world.at(0.9).shift_wall_clock(offset).call(30.0).got(2);
        world.assert_requests_at(&[0.0, 1.0]);
    }
}

#[test]
fn backoff_and_denial_run_on_during_sleep() {
    for behaviour in [WebPage, Denying] {
        let mut world = World::new();
        world.server_becomes(behaviour).call(30.0);
        world.suspend(60.0).server_becomes(Fine).call(30.0).got(1).after(0.1);
    }
}

#[test]
fn token_tells_its_expiry_by_the_wall_clock() {
    let mut world = World::new();
    let requested = world.now().wall;
    let token = world.call(30.0).answer.expect("a token");
    let expires = token.expires_at().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    assert_eq!(expires, requested + Duration::from_secs(1800));
}

#[test]
fn later_expiry_counts_on_the_wall_clock_too() {
    let mut world = World::new().with_token_reuse().with_token();
    let requested = world.now().wall - Duration::from_millis(100);
    let call = world.at(1600.5).call(30.0);
    let expires_at = call.got(1).answer.as_ref().expect("a token").expires_at();
    let expires = expires_at.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    assert_eq!(expires, requested + Duration::from_secs(1800));
}

#[test]
fn backoff_ends_at_stale_after_a_clock_jump() {
    let mut world = World::new().with_token();
    world.server_becomes(Throttling(Some(300.0))).at(500.0).shift_wall_clock(HOUR);
    world.call(0.05).got(1);
    world.shift_wall_clock(-HOUR);
    world.at(1760.0).call(30.0).got(1);
    world.at(1770.01).call(30.0).got(1);
    world.server_becomes(Fine).at(1830.1).call(30.0).got(2).after(0.1);
}

#[test]
fn grace_period_remains_after_a_clock_jump() {
    let mut world = World::new().with_token();
    world.server_becomes(WebPage).at(500.0).shift_wall_clock(HOUR);
    world.call(10.0).got(1);
    world.shift_wall_clock(-HOUR).at(1000.0).call(30.0).got(1);
    world.at(1900.0).server.from(1902.0, Fine);
    world.call(30.0).got(2);
}
