//! What a caller gets in each state of the token, as the table in `docs/freshness.md` says. With
//! random factors in the middle of their ranges, a token of 1800 s requested at 0 is refresh-due
//! from 1545 on, stale from 1770 on, and expired from 1799 on.

use super::*;

#[test]
fn fresh_token_needs_no_request_and_no_waiting() {
    let mut world = World::new().with_token();
    for time in [0.2, 700.0, 1544.9] {
        world.at(time).call(30.0).got(1).at_once();
    }
    world.assert_requests_at(&[0.0]);
}

#[test]
fn life_counts_from_before_the_request() {
    let mut world = World::new().with_exchange_time(5.0).with_token();
    world.at(1799.0).call(0.0).got(1);
    world.at(1799.1).call(0.0).failed(ErrorKind::Timeout);
}

#[test]
fn refresh_window_is_drawn_once_for_each_token() {
    for (random, refresh_due) in [(0.0, 1620.0), (0.5, 1545.0), (1.0, 1470.0)] {
        let mut world = World::new().with_random(random).with_token();
        world.at(refresh_due - 0.1).call(30.0).got(1);
        world.at(refresh_due + 0.1).call(30.0).got(2);
    }
}

#[test]
fn refresh_window_is_a_fraction_of_a_short_life() {
    let mut world = World::new().with_life(100.0).with_token();
    world.at(79.9).call(30.0).got(1);
    world.at(80.1).call(30.0).got(2);
}

#[test]
fn refresh_window_has_room_for_slow_exchanges() {
    let mut world = World::new().with_life(100.0).with_exchange_time(9.0).with_token();
    // 100 s less the margin of 5 s and a window of two exchange times of 9 s.
    assert_close(world.at(100.0 - 5.0 - 18.0 - 0.1).refresh_in(), 0.1);
}

#[test]
fn refresh_window_is_at_most_half_the_life() {
    let mut world = World::new().with_life(30.0).with_exchange_time(9.0).with_token();
    // 30 s less the margin of 1.5 s and a window of 15 s, not of two exchange times.
    assert_close(world.at(30.0 - 1.5 - 15.0 - 0.1).refresh_in(), 0.1);
}

#[test]
fn default_margin_is_a_capped_fraction_of_the_life() {
    for (life, stale) in [(100.0, 95.0), (1800.0, 1770.0), (7200.0, 7170.0)] {
        let mut world = World::new().with_life(life).with_token();
        world.server_becomes(Down);
        assert_eq!(world.at(stale - 0.1).usable(), Some(1));
        assert_eq!(world.at(stale + 0.1).usable(), None);
    }
}

#[test]
fn configured_margin_is_at_most_half_the_life() {
    for (margin, life, stale) in [(300.0, 1800.0, 1500.0), (30.0, 40.0, 20.0), (0.0, 40.0, 38.9)] {
        let mut world = World::new().with_margin(margin).with_life(life).with_token();
        assert_eq!(world.at(stale - 0.1).usable(), Some(1));
        assert_eq!(world.at(stale + 0.2).usable(), None);
    }
}

#[test]
fn one_caller_refreshes_while_others_get_the_old_one() {
    let mut world = World::new().with_exchange_time(1.0).with_token();
    let leader = world.at(1600.0).start(30.0);
    for call in world.start_many(5, 30.0) {
        world.ended(call).expect("no waiting").got(1).at_once();
    }
    world.finish(leader).got(2).after(1.0);
    world.assert_requests_at(&[0.0, 1600.0]);
}

#[test]
fn failed_refresh_never_costs_a_usable_token() {
    for behaviour in
        [Down, Silent, Throttling(Some(300.0)), Denying, WebPage, UntrustedCertificate, Panicking]
    {
        let mut world = World::new().with_token();
        world.server_becomes(behaviour).at(1600.0).call(30.0).got(1);
        world.at(1769.0).call(30.0).got(1);
    }
}

#[test]
fn proactive_refresh_makes_one_attempt() {
    let mut world = World::new().with_token();
    world.server_becomes(Down).at(1600.0).call(30.0).got(1).after(0.1);
    world.assert_requests_at(&[0.0, 1600.0]);
}

#[test]
fn proactive_attempt_has_a_short_timeout() {
    let mut world = World::new().with_token();
    world.server_becomes(Silent).at(1600.0).call(30.0).got(1).after(3.0);
}

#[test]
fn proactive_attempt_gives_a_slow_server_more_time() {
    for (exchange_time, limit) in [(2.0, 4.0), (4.5, 9.0), (8.0, 10.0)] {
        let mut world = World::new().with_exchange_time(exchange_time).with_token();
        world.server_becomes(Silent).at(1600.0).call(30.0).got(1).after(limit);
    }
}

#[test]
fn proactive_attempt_takes_half_of_the_callers_time() {
    let mut world = World::new().with_token();
    world.server_becomes(Silent).at(1600.0).call(5.0).got(1).after(2.5);
}

#[test]
fn call_that_refreshed_proactively_leads_no_other() {
    let mut world = World::new().with_token();
    world.server_becomes(Silent).at(1768.6).call(5.0).got(1).after(2.5);
    world.assert_requests_at(&[0.0, 1768.6]);
}

#[test]
fn early_in_window_impatient_callers_do_not_refresh() {
    let mut world = World::new().with_token();
    world.at(1657.0).call(1.9).got(1).at_once();
    world.call(2.1).got(2).after(0.1);
}

#[test]
fn enough_time_depends_on_the_last_exchange() {
    for (exchange_time, enough) in [(1.25, 5.0), (2.0, 6.0)] {
        let mut world = World::new().with_exchange_time(exchange_time).with_token();
        world.at(1600.0).call(enough - 0.1).got(1).at_once();
        world.call(enough + 0.1).got(2).after(exchange_time);
    }
}

#[test]
fn late_in_the_window_every_caller_may_refresh() {
    let mut world = World::new().with_exchange_time(0.01).with_token();
    world.at(1658.0).call(0.05).got(2).after(0.01);
}

#[test]
fn refresh_due_token_is_given_if_no_refresh_may_begin() {
    for (behaviour, until) in [(Silent, 1602.9), (Down, 1601.0), (Denying, 1605.0)] {
        let mut world = World::new().with_token();
        world.server_becomes(behaviour).at(1600.0).start(30.0);
        world.at(until).call(30.0).got(1).at_once();
        assert_eq!(world.requests_since(1.0), 1);
    }
}

#[test]
fn refresh_due_token_is_given_in_minimum_interval() {
    let mut world = World::new().with_life(2.0).with_margin(0.5).with_token();
    // The refresh window is 0.3 s and the margin 0.5 s: token 1 is refresh-due from 1.2 on.
    world.at(1.25).call(30.0).got(2).after(0.1);
    world.server.life = 1.0;
    // Token 3, of 1 s requested at 2.5, is refresh-due at 2.9, but the interval lasts until 3.5.
    world.at(2.5).call(30.0).got(3);
    world.at(2.9).call(30.0).got(3).at_once();
    assert_eq!(world.requests_since(2.0), 1);
}

#[test]
fn one_caller_replaces_a_stale_token_others_follow() {
    let mut world = World::new().with_token();
    let calls = world.at(1780.0).start_many(5, 30.0);
    for call in world.finish_all(&calls) {
        call.got(2).after(0.1);
    }
    world.assert_requests_at(&[0.0, 1780.0]);
}

#[test]
fn followers_stop_waiting_and_get_the_stale_token() {
    let mut world = World::new().with_token();
    let leader = world.server_becomes(Silent).at(1780.0).start(30.0);
    let first = world.start(30.0);
    let later = world.at(1781.0).start(30.0);
    let impatient = world.start(1.5);
    world.finish(first).got(1).after(3.0);
    world.finish(later).got(1).after(3.0);
    world.finish(impatient).got(1).after(1.5);
    world.finish(leader).got(1);
}

#[test]
fn refresh_of_a_stale_token_lasts_one_attempt_timeout() {
    let mut world = World::new().with_token();
    world.server_becomes(Silent).at(1780.0).call(30.0).got(1).after(10.0);
    let mut slow = World::new().with_exchange_time(7.0).with_token();
    slow.server_becomes(Silent).at(1780.0).call(30.0).got(1).after(14.0);
}

#[test]
fn all_get_the_stale_token_when_its_refresh_fails() {
    for behaviour in
        [Down, Throttling(None), Throttling(Some(9.0)), Denying, WebPage, UntrustedCertificate]
    {
        let mut world = World::new().with_token();
        let calls = world.server_becomes(behaviour).at(1780.0).start_many(5, 30.0);
        for call in world.finish_all(&calls) {
            assert_within(call.got(1).ended, 1780.0..1781.5);
        }
    }
}

#[test]
fn refresh_of_a_stale_token_makes_more_attempts() {
    let mut world = World::new().with_token();
    world.server_becomes(Down).at(1780.0).call(30.0).got(1);
    world.assert_requests_at(&[0.0, 1780.0, 1780.25, 1780.95]);
}

#[test]
fn stale_token_is_given_in_backoff_and_denial() {
    for (behaviour, until) in [(WebPage, 1781.0), (Denying, 1785.0)] {
        let mut world = World::new().with_token();
        world.server_becomes(behaviour).at(1780.0).call(30.0).got(1).after(0.1);
        world.at(until).call(30.0).got(1).at_once();
        assert_eq!(world.requests_since(1.0), 1);
    }
}

#[test]
fn token_counts_as_expired_shortly_before_its_end() {
    for (life, expired) in [(1800.0, 1799.0), (10.0, 9.5), (1.0, 0.95)] {
        let mut world = World::new().with_life(life).with_token();
        world.server_becomes(Silent);
        world.at(expired - 0.01).call(0.0).got(1);
        world.at(expired + 0.01).call(0.0).failed(ErrorKind::Timeout);
    }
}

#[test]
fn failures_keep_the_token_until_it_expires() {
    let mut world = World::new().with_token();
    world.server_becomes(Down).at(1500.0);
    for second in 1500..1799 {
        world.at(second as f64).call(1.0).got(1);
    }
    world.at(1799.05).call(0.0).failed(ErrorKind::Server);
}

#[test]
fn without_a_token_all_share_one_refresh() {
    let mut world = World::new().with_exchange_time(2.0);
    let calls = world.start_many(100, 30.0);
    for call in world.finish_all(&calls) {
        call.got(1).after(2.0);
    }
    world.assert_requests_at(&[0.0]);
}

#[test]
fn without_a_token_all_share_the_error() {
    let mut world = World::new();
    let calls = world.server_becomes(WebPage).start_many(100, 30.0);
    for call in world.finish_all(&calls) {
        call.failed(ErrorKind::Protocol).after(0.1);
        assert_eq!(call.error().to_string(), "request 1");
    }
    world.assert_requests_at(&[0.0]);
}

#[test]
fn retryable_failures_lead_to_more_attempts() {
    for behaviour in [Down, Throttling(None), NoSecretFile] {
        let mut world = World::new();
        world.server_becomes(behaviour).call(30.0);
        world.assert_requests_at(&[0.0, 0.25, 0.95]);
    }
}

#[test]
fn later_attempts_can_succeed() {
    for failures in [1, 2] {
        let mut world = World::new();
        world.server.next(vec![Down; failures]);
        world.call(30.0).got(1);
        assert_eq!(world.server.requests.len(), failures + 1);
    }
}

#[test]
fn pauses_between_attempts_have_jitter() {
    for (random, times) in [(0.0, [0.0, 0.2, 0.7]), (1.0, [0.0, 0.3, 1.2])] {
        let mut world = World::new().with_random(random);
        world.server_becomes(Down).call(30.0);
        world.assert_requests_at(&times);
    }
}

#[test]
fn failure_that_is_not_retryable_ends_the_refresh() {
    for behaviour in [Denying, WebPage, UntrustedCertificate, Panicking] {
        let mut world = World::new();
        world.server_becomes(behaviour).call(30.0).after(0.1);
        world.assert_requests_at(&[0.0]);
    }
}

#[test]
fn attempt_timeout_doubles_after_each_timeout() {
    let mut world = World::new();
    world.server_becomes(Silent).call(300.0).failed(ErrorKind::Timeout);
    let timeouts: Vec<f64> = world.server.requests.iter().map(|sent| sent.timeout).collect();
    assert_eq!(timeouts, [10.0, 20.0, 40.0]);
}

#[test]
fn attempt_timeout_grows_with_the_exchange_time() {
    let mut world = World::new().with_exchange_time(8.0).with_token();
    world.server_becomes(Silent).at(1900.0).call(60.0);
    let timeouts: Vec<f64> = world.server.requests.iter().map(|sent| sent.timeout).collect();
    assert_eq!(timeouts[..3], [10.0, 16.0, 32.0]);
}

#[test]
fn success_resets_the_attempt_timeout() {
    let mut world = World::new();
    world.server.next([Silent]);
    world.call(30.0).got(1);
    world.server_becomes(Silent).at(1900.0).call(30.0);
    let timeouts: Vec<f64> = world.server.requests.iter().map(|sent| sent.timeout).collect();
    assert_close(timeouts[2], 10.0);
}

#[test]
fn refresh_after_a_failure_makes_one_attempt() {
    let mut world = World::new();
    world.server_becomes(Down).call(30.0);
    world.at(5.0).call(30.0).failed(ErrorKind::Server).after(0.1);
    world.assert_requests_at(&[0.0, 0.25, 0.95, 5.0]);
}

#[test]
fn proactive_refresh_is_followed_once_token_is_stale() {
    let mut world = World::new().with_token();
    let leader = world.server_becomes(Slow(2.5)).at(1769.0).start(30.0);
    let follower = world.at(1771.0).start(30.0);
    world.finish(leader).got(2).at(1771.5);
    world.finish(follower).got(2).at(1771.5);
    world.assert_requests_at(&[0.0, 1769.0]);
}

#[test]
fn failure_of_a_proactive_refresh_is_not_shared() {
    let mut world = World::new().with_life(10.0).with_token();
    world.server.next([StuckAndDown(1.0)]);
    // The refresh should have ended at 9.4, but fails at 10; the token is expired from 9.5 on.
    let leader = world.at(9.0).start(30.0);
    let follower = world.at(9.6).start(30.0);
    let impatient = world.start(0.6);
    assert!(world.finish(impatient).failed(ErrorKind::Server).at(10.0).error().is_remembered());
    assert_within(world.finish(follower).got(2).ended, 10.9..11.5);
    world.finish(leader).got(2);
}

#[test]
fn token_that_arrives_expired_is_not_given() {
    let mut world = World::new().with_life(2.0);
    world.server.next([Slow(2.5), Slow(1.0)]);
    world.call(30.0).got(2).after(2.5 + 1.25 + 1.0);
}

#[test]
fn error_says_that_tokens_expired_on_arrival() {
    for (life, exchange_time) in [(0.0, 0.1), (0.9, 1.0), (1.0, 1.0)] {
        let mut world = World::new().with_life(life).with_exchange_time(exchange_time);
        let calls = world.start_many(5, 30.0);
        for call in world.finish_all(&calls) {
            let error = call.failed(ErrorKind::Protocol).error();
            assert!(error.to_string().contains("expired when it arrived"), "{error}");
            assert!(error.is_retryable());
        }
        assert_eq!(world.server.requests.len(), 3);
        // Afterwards a backoff, so that callers do not cause a storm of requests.
        let time = world.time();
        world.at(time + 0.5).call(30.0).failed(ErrorKind::Protocol).at_once();
        world.poll_until(time + 60.0, 30.0);
        let requests = world.server.requests.len();
        assert!((6..40).contains(&requests), "{requests} requests");
    }
}

#[test]
fn token_that_arrives_expired_replaces_none() {
    for at in [1600.0, 1780.0] {
        let mut world = World::new().with_token();
        world.server.life = 0.0;
        world.at(at).call(30.0).got(1);
        assert_eq!(world.cached(0), Some(1));
        world.at(at + 8.0).call(30.0).got(1);
    }
}

#[test]
fn minimum_interval_gives_the_stale_token_or_waits() {
    let mut world = World::new().with_token();
    world.server.life = 100.0;
    world.at(1600.0).call(30.0).got(2).at(1600.1);
    world.at(1600.2).reject(2);
    let impatient = world.start(0.5);
    let patient = world.start(30.0);
    world.finish(impatient).got(2).at_once();
    world.finish(patient).got(3).at(1601.1);
    world.assert_requests_at(&[0.0, 1600.0, 1601.0]);
}

#[test]
fn minimum_interval_gives_a_timeout_or_waits() {
    let mut world = World::new().with_life(0.15);
    world.call(30.0).got(1);
    let impatient = world.at(0.2).start(0.7);
    let patient = world.start(0.95);
    world.finish(impatient).failed(ErrorKind::Timeout).at_once();
    world.finish(patient).got(2).at(1.1);
    world.assert_requests_at(&[0.0, 1.0]);
}

#[test]
fn lack_of_time_is_remembered_in_minimum_interval() {
    let mut world = World::new();
    world.server_becomes(Silent).call(0.3).failed(ErrorKind::Timeout);
    let call = world.at(0.4).call(0.5);
    let error = call.failed(ErrorKind::Timeout).at_once().error();
    assert_eq!(error.to_string(), "request 1 (remembered from an earlier request)");
    world.server_becomes(Fine).call(0.9).got(1).at(1.1);
}
