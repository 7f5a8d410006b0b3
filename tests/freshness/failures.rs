//! After a failure: backoff, Retry-After, denial, and riding out a blip. With half of every random
//! range a backoff is 1, 2, 4, … seconds, and Retry-After counts 1.1 times.

use super::*;

#[track_caller]
fn assert_pauses(times: &[f64], expected: &[f64]) {
    let pauses: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() >= expected.len(), "pauses {pauses:?}");
    for (found, expected) in pauses.iter().zip(expected) {
        // Somebody calls every tenth of a second.
        assert_within(*found, expected - 0.01..expected + 0.11);
    }
}

#[test]
fn without_a_token_the_backoff_doubles_from_1_to_10_seconds() {
    let mut world = World::new();
    let times = world.becomes(WebPage).called_until(60.0, 1.0);
    assert_pauses(&times, &[1.1, 2.1, 4.1, 8.1, 10.1, 10.1]);
}

#[test]
fn with_a_spent_token_the_backoff_doubles_from_1_to_10_seconds() {
    let mut world = World::new().with_margin(60.0).with_token();
    let times = world.becomes(WebPage).at(1740.5).called_until(1798.0, 1.0);
    assert_pauses(&times, &[1.1, 2.1, 4.1, 8.1, 10.1, 10.1]);
}

#[test]
fn with_a_usable_token_the_backoff_doubles_from_1_to_60_seconds() {
    let mut world = World::new().with_random(1.0).with_token();
    let times = world.becomes(WebPage).at(1470.5).called_until(1640.0, 10.0);
    assert_pauses(&times, &[1.3, 2.5, 4.9, 9.7, 19.3, 38.5, 72.1]);
}

#[test]
fn the_backoff_leaves_room_for_two_more_attempts_before_the_token_is_spent() {
    let mut world = World::new().with_token();
    let times = world.becomes(WebPage).at(1700.0).called_until(1770.0, 10.0);
    assert_pauses(&times, &[1.1, 2.1, 4.1, 8.1, 16.1, 12.9, 8.6]);
}

#[test]
fn the_backoff_is_never_below_a_second_before_chance() {
    let mut world = World::new().with_token();
    let times = world.becomes(WebPage).at(1768.3).called_until(1770.0, 10.0);
    assert_pauses(&times, &[1.1]);
}

#[test]
fn the_backoff_is_drawn_from_0_8_to_1_2_times() {
    for (random, end) in [(0.0, 0.5 + 0.8), (1.0, 0.5 + 1.2)] {
        let mut world = World::new().with_random(random).that_takes(0.5);
        world.becomes(WebPage).call(30.0);
        world.at(end - 0.05).call(30.0).at_once();
        world.asked_at(&[0.0]);
        world.at(end + 0.05).call(30.0).after(0.5);
    }
}

#[test]
fn every_failure_but_a_denial_backs_off_for_a_second() {
    let retryable = [Down, Silent, Throttling(None), WithoutSecretFile];
    for behaviour in retryable.into_iter().chain([WebPage, Untrusted, Panicking]) {
        let mut world = World::new();
        let failed = world.becomes(behaviour).call(6.0).ended;
        let requests = world.server.requests.len();
        world.at(failed + 0.95).call(6.0).at_once();
        assert_eq!(world.server.requests.len(), requests);
        world.at(failed + 1.05).start(6.0);
        assert_eq!(world.server.requests.len(), requests + 1);
    }
}

#[test]
fn an_argument_error_ends_its_call_and_is_not_remembered() {
    let mut world = World::new();
    world.server.next([Misused]);
    world.call(30.0).failed(ErrorKind::Argument).after(0.1);
    world.at(1.0).call(30.0).got(1);
}

#[test]
fn an_argument_error_costs_no_token_that_is_not_dead() {
    for time in [1600.0, 1780.0] {
        let mut world = World::new().with_token();
        world.becomes(Misused).at(time).call(30.0).got(1).after(0.1);
        world.at(1900.0).call(30.0).failed(ErrorKind::Argument).after(0.1);
    }
}

#[test]
fn during_a_backoff_a_client_without_a_token_has_the_remembered_error_at_once() {
    let mut world = World::new();
    let first = world.becomes(WebPage).call(30.0);
    assert!(!first.error().is_remembered());
    let second = world.at(0.5).call(30.0);
    second.failed(ErrorKind::Protocol).at_once();
    assert!(second.error().is_remembered());
    assert_eq!(second.error().to_string(), "request 1 (remembered from an earlier request)");
}

#[test]
fn after_the_backoff_one_caller_probes_for_all() {
    let mut world = World::new();
    world.becomes(Down).call(30.0);
    let calls = world.at(5.0).start_many(100, 30.0);
    for call in world.finish_all(&calls) {
        assert_eq!(call.failed(ErrorKind::Server).error().to_string(), "request 4");
    }
    assert_eq!(world.requests_since(5.0), 1);
}

#[test]
fn an_error_tells_how_long_its_backoff_lasts() {
    for (behaviour, wait) in [(WebPage, 1.0), (Throttling(Some(20.0)), 22.0), (Denying, 5.0)] {
        let mut world = World::new();
        let call = world.becomes(behaviour).call(30.0);
        let advised = call.error().initial_retry_after().expect("advice");
        assert_close(advised.as_secs_f64(), wait);
    }
}

#[test]
fn when_the_token_becomes_spent_the_backoff_ends() {
    let mut world = World::new().that_takes(0.7).with_token();
    world.becomes(Down).at(1769.2).call(30.0).got(1);
    world.at(1769.95).call(30.0).got(1).at_once();
    world.at(1770.25).start(30.0);
    world.asked_at(&[0.0, 1769.2, 1770.25]);
}

#[test]
fn when_the_token_becomes_spent_counting_restarts() {
    let mut world = World::new().with_token();
    world.becomes(Down).at(1600.0).called_until(1769.95, 10.0);
    let times = world.at(1771.0).called_until(1776.0, 10.0);
    // Three attempts; then a backoff of 1 s, and one attempt; then one of 2 s.
    assert_pauses(&times, &[0.25, 0.7, 1.1, 2.1]);
}

#[test]
fn a_failure_after_the_token_became_spent_backs_off_although_nobody_asked_in_between() {
    let mut world = World::new().with_token();
    world.becomes(Silent).at(1768.5).call(30.0).got(1).after(3.0);
    world.at(1772.3).call(30.0).got(1).at_once();
    world.asked_at(&[0.0, 1768.5]);
}

#[test]
fn counting_restarts_only_once() {
    let mut world = World::new().with_margin(60.0).with_token();
    world.becomes(Down).at(1750.0).called_until(1760.0, 10.0);
    world.rejects(1);
    let requests = world.server.requests.len();
    world.at(1760.5).call(10.0).got(1).at_once();
    assert_eq!(world.server.requests.len(), requests);
}

#[test]
fn a_success_ends_backoff_and_counting() {
    let mut world = World::new();
    world.becomes(WebPage).called_until(16.0, 1.0);
    world.becomes(Fine).at(30.0).call(30.0).got(1);
    let times = world.becomes(WebPage).at(1830.5).called_until(1840.0, 1.0);
    assert_pauses(&times, &[1.1, 2.1]);
}

#[test]
fn a_success_ends_backoff_and_counting_of_an_ageing_token_too() {
    let mut world = World::new().with_token();
    world.server.next([WebPage, WebPage, WebPage]);
    world.at(1600.0).called_until(1608.0, 30.0);
    world.call(30.0).got(2);
    let times = world.becomes(WebPage).at(3200.0).called_until(3210.0, 30.0);
    assert_pauses(&times, &[1.1, 2.1]);
}

#[test]
fn retry_after_is_a_lower_bound_of_the_backoff_up_to_1_2_times() {
    for (random, wait) in [(0.0, 50.0), (0.5, 55.0), (1.0, 60.0)] {
        let mut world = World::new().with_random(random).with_token();
        world.becomes(Throttling(Some(50.0))).at(1630.0).call(30.0).got(1).after(0.1);
        world.at(1630.1 + wait - 0.1).call(30.0).got(1).at_once();
        world.asked_at(&[0.0, 1630.0]);
        world.at(1630.1 + wait + 0.1).call(30.0).got(1).after(0.1);
    }
}

#[test]
fn a_short_retry_after_does_not_shorten_the_backoff() {
    let mut world = World::new();
    let times = world.becomes(Throttling(Some(1.0))).called_until(20.0, 1.0);
    assert_pauses(&times, &[1.2, 2.1, 4.1, 8.1]);
}

#[test]
fn retry_after_ends_the_attempts_of_its_flight() {
    for behaviour in [Throttling(Some(0.0)), Throttling(Some(1.0)), DownFor(0.0)] {
        let mut world = World::new();
        world.becomes(behaviour).call(30.0).after(0.1);
        world.asked_at(&[0.0]);
    }
}

#[test]
fn retry_after_is_capped_at_300_seconds_while_the_token_is_usable() {
    let mut world = World::new().with_token();
    world.becomes(Throttling(Some(86_400.0))).at(1600.0).call(30.0).got(1);
    let error = world.state().last_error().expect("the failure").clone();
    assert_close(error.initial_retry_after().expect("advice").as_secs_f64(), 330.0);
}

#[test]
fn retry_after_is_capped_at_60_seconds_without_a_token() {
    let mut world = World::new();
    let times = world.becomes(Throttling(Some(86_400.0))).called_until(100.0, 1.0);
    assert_pauses(&times, &[66.1]);
}

#[test]
fn retry_after_is_capped_at_60_seconds_while_the_token_is_spent() {
    let mut world = World::new().with_margin(300.0).with_token();
    let times = world.becomes(DownFor(86_400.0)).at(1510.5).called_until(1600.0, 1.0);
    assert_pauses(&times, &[66.1]);
}

#[test]
fn retry_after_never_makes_a_usable_token_unusable() {
    let mut world = World::new().with_token();
    world.becomes(Throttling(Some(300.0))).at(1600.0).call(30.0).got(1);
    world.at(1769.9).call(30.0).got(1).at_once();
    assert_eq!(world.usable(), Some(1));
}

#[test]
fn retry_after_stays_a_lower_bound_once_the_token_is_spent() {
    let mut world = World::new().with_token();
    world.becomes(Throttling(Some(20.0))).at(1760.0).call(30.0).got(1);
    world.at(1771.0).call(30.0).got(1).at_once();
    world.at(1782.0).call(30.0).got(1).at_once();
    world.becomes(Fine).at(1782.2).call(30.0).got(2).after(0.1);
}

#[test]
fn retry_after_lasts_at_most_60_seconds_more_once_the_token_is_spent() {
    let mut world = World::new().with_token();
    world.becomes(Throttling(Some(300.0))).at(1760.0).call(30.0).got(1);
    world.becomes(Fine).at(1770.01).call(30.0).got(1).at_once();
    world.at(1829.9).call(0.05).failed(ErrorKind::Throttled).at_once();
    world.at(1830.1).call(30.0).got(2).after(0.1);
}

#[test]
fn retry_after_lasts_at_most_60_seconds_more_once_the_token_is_rejected() {
    let mut world = World::new().with_token();
    world.becomes(Throttling(Some(300.0))).at(1600.0).call(30.0).got(1);
    world.becomes(Fine).at(1650.0).rejects(1);
    world.call(30.0).got(1).at_once();
    world.at(1709.9).call(30.0).got(1).at_once();
    world.at(1710.1).call(30.0).got(2).after(0.1);
}

#[test]
fn retry_after_lasts_no_longer_because_nobody_asked_when_the_token_became_spent() {
    let mut world = World::new().with_token();
    world.becomes(Throttling(Some(300.0))).at(1760.0).call(30.0).got(1);
    world.becomes(Fine).at(1835.0).call(30.0).got(2).after(0.1);
}

#[test]
fn a_denial_is_remembered_for_5_seconds_doubling_to_60() {
    let mut world = World::new();
    let times = world.becomes(Denying).called_until(260.0, 1.0);
    assert_pauses(&times, &[5.1, 10.1, 20.1, 40.1, 60.1, 60.1]);
}

#[test]
fn a_denial_is_remembered_while_the_token_is_ageing_too() {
    let mut world = World::new().with_token();
    let times = world.becomes(Denying).at(1550.0).called_until(1700.0, 10.0);
    assert_pauses(&times, &[5.1, 10.1, 20.1, 40.1, 60.1]);
}

#[test]
fn the_memory_of_a_denial_knows_no_chance() {
    for random in [0.0, 1.0] {
        let mut world = World::new().with_random(random);
        let times = world.becomes(Denying).called_until(20.0, 1.0);
        assert_pauses(&times, &[5.1, 10.1]);
    }
}

#[test]
fn a_thousand_denied_callers_make_one_request() {
    let mut world = World::new();
    let calls = world.becomes(Denying).start_many(500, 30.0);
    for call in world.finish_all(&calls) {
        call.failed(ErrorKind::Denied).after(0.1);
    }
    for _ in 0..500 {
        assert!(world.call(30.0).failed(ErrorKind::Denied).at_once().error().is_remembered());
    }
    world.asked_at(&[0.0]);
}

#[test]
fn a_denial_is_not_ridden_out() {
    let mut world = World::new().with_token();
    world.becomes(Denying).at(1900.0).call(30.0).failed(ErrorKind::Denied).after(0.1);
    world.at(1901.0).call(30.0).failed(ErrorKind::Denied).at_once();
}

#[test]
fn a_changed_secret_forgets_the_denial_at_once() {
    let mut world = World::new();
    world.becomes(Denying).called_until(16.0, 1.0);
    world.at(20.0).changes_secret();
    // From 5 s on again.
    let times = world.called_until(40.0, 1.0);
    assert_eq!(times[0], 0.0);
    assert_pauses(&times, &[5.1, 10.1]);
}

#[test]
fn the_denial_of_an_older_secret_is_not_remembered() {
    let mut world = World::new();
    world.server.next([Denying]);
    let leader = world.start(30.0);
    let waiter = world.start(30.0);
    world.at(0.05).changes_secret();
    world.finish(waiter).got(1).at(1.1);
    world.finish(leader).got(1).at(1.1);
    world.asked_at(&[0.0, 1.0]);
}

#[test]
fn the_denial_of_a_newer_secret_by_a_later_attempt_is_remembered() {
    let mut world = World::new();
    world.becomes(Denying).server.next([Down]);
    let leader = world.start(30.0);
    world.at(0.15).changes_secret();
    world.finish(leader).failed(ErrorKind::Denied).at(0.35);
    world.asked_at(&[0.0, 0.25]);
}

#[test]
fn while_a_denial_is_remembered_the_secret_file_is_looked_at_once_a_second() {
    for (at, until) in [(0.0, 4.0), (1600.0, 1604.0), (1780.0, 1784.0), (1900.0, 1904.0)] {
        let mut world = World::new();
        if at > 0.0 {
            world.call(30.0).got(1);
        }
        world.becomes(Denying).at(at).called_until(until, 30.0);
        let checks: Vec<f64> = world.secret_checks().iter().map(|check| check - at).collect();
        assert_eq!(checks.len(), 3, "{checks:?}");
        for (found, expected) in checks.iter().zip([1.1, 2.1, 3.1]) {
            assert_close(*found, expected);
        }
    }
}

#[test]
fn while_one_caller_looks_at_the_secret_file_the_others_do_not() {
    let mut world = World::new();
    world.becomes(Denying).call(30.0);
    let now = world.at(2.0).now();
    let mut steps = (0..3).map(|_| {
        let mut caller = Caller::new(now.boot + Duration::from_secs(30));
        world.state().ask(now, &mut caller)
    });
    assert!(matches!(steps.next(), Some(Step::CheckSecret)));
    assert!(steps.all(|step| matches!(step, Step::Fail(_))));
}

#[test]
fn a_broken_secret_file_is_looked_at_once_a_second() {
    for at in [0.0, 1600.0, 1780.0, 1900.0] {
        let mut world = World::new();
        if at > 0.0 {
            world.call(30.0).got(1);
        }
        // Long backoffs, so that nothing but the looks can find the repaired file.
        world.becomes(WithoutSecretFile).at(at).called_until(at + 20.0, 6.0);
        let checks = world.secret_checks();
        assert!(checks.windows(2).all(|pair| pair[1] - pair[0] >= 1.0), "{checks:?}");
        let latest = world.state().last_error.clone().expect("a failure");
        assert!(latest.initial_retry_after() > Some(Duration::from_secs(2)), "{latest:?}");
        world.becomes(Fine).changes_secret_file();
        let requests = world.called_until(at + 21.2, 30.0);
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert_close(world.state().backoff.end(Duration::MAX, None).as_secs_f64(), 0.0);
    }
}

#[test]
fn a_changed_secret_file_forgets_the_denial() {
    for (at, token) in [(0.0, 1), (1600.0, 2), (1780.0, 2), (1900.0, 2)] {
        let mut world = World::new();
        if at > 0.0 {
            world.call(30.0).got(1);
        }
        world.at(at).becomes(Denying).call(10.0);
        world.becomes(Fine).changes_secret_file().at(at + 1.2).call(10.0).got(token).after(0.1);
    }
}

#[test]
fn the_secret_file_is_not_looked_at_without_a_denial() {
    let mut world = World::new();
    world.becomes(WebPage).called_until(10.0, 1.0);
    assert!(world.secret_checks().is_empty());
}

#[test]
fn a_success_forgets_the_denial() {
    let mut world = World::new();
    world.becomes(Denying).called_until(16.0, 1.0);
    world.becomes(Fine).at(40.0).call(30.0).got(1);
    let times = world.becomes(Denying).at(1841.0).called_until(1860.0, 1.0);
    assert_pauses(&times, &[5.1, 10.1]);
}

#[test]
fn a_client_that_had_a_token_rides_out_a_blip() {
    for behaviour in [Down, WebPage, Throttling(None)] {
        let mut world = World::new().with_token();
        world.at(1900.0).becomes(behaviour).server.from(1907.0, Fine);
        let calls = world.start_many(10, 30.0);
        let later = world.at(1903.0).start(30.0);
        for call in world.finish_all(&calls) {
            call.got(2);
        }
        world.finish(later).got(2);
    }
}

#[test]
fn after_15_seconds_of_an_outage_nobody_waits() {
    let mut world = World::new().with_token();
    let first = world.becomes(WebPage).at(1900.0).start(60.0);
    // Refreshes fail at 0.1, 1.2, 3.3, 7.4 and 15.5 s.
    world.at(1914.9);
    assert!(world.ended(first).is_none());
    world.finish(first).failed(ErrorKind::Protocol).at(1915.5);
    let second = world.call(60.0);
    assert!(second.failed(ErrorKind::Protocol).at_once().error().is_remembered());
}

#[test]
fn another_outage_is_ridden_out_anew() {
    let mut world = World::new().with_token();
    world.server.next([WebPage]);
    world.at(1900.0).call(30.0).got(2);
    world.becomes(WebPage).server.from(3902.0, Fine);
    world.at(3900.0).call(30.0).got(3);
}

#[test]
fn a_retry_after_is_ridden_out_by_those_whose_deadline_allows_it() {
    let mut world = World::new().with_token();
    world.server.next([Throttling(Some(40.0))]);
    world.at(1760.0).call(30.0).got(1);
    let waiter = world.at(1800.0).start(30.0);
    world.call(3.0).failed(ErrorKind::Throttled).at_once();
    world.finish(waiter).got(2).at(1804.2);
}

#[test]
fn the_15_seconds_begin_when_the_outage_is_felt() {
    let mut world = World::new().with_token();
    // Down for a long time, hidden by the refresh-due token; spent at 1770, dead at 1799.
    world.becomes(WebPage).at(1600.0).called_until(1769.0, 1.0);
    world.at(1795.0).call(30.0).got(1);
    let waiter = world.at(1799.5).start(30.0);
    world.becomes(Fine);
    world.finish(waiter).got(2);
}

#[test]
fn a_caller_whose_deadline_is_sooner_than_the_backoff_has_the_error_at_once() {
    let mut world = World::new().with_token();
    world.becomes(WebPage).at(1900.0).call(1.2);
    let backoff_end = 1901.1;
    world.at(backoff_end - 0.5);
    world.call(0.5).failed(ErrorKind::Protocol).at_once();
    world.call(0.6).failed(ErrorKind::Protocol).at_once();
    world.becomes(Fine).call(0.7).got(2).at(backoff_end + 0.1);
}

#[test]
fn a_caller_that_rides_out_keeps_at_most_a_second_for_the_attempt() {
    let mut world = World::new().with_token();
    // Refreshes fail at 0.1, 1.2, 3.3 and 7.4 s; the next begins at 15.4 s.
    world.becomes(WebPage).at(1900.0).start(60.0);
    world.at(1908.0).becomes(Fine);
    world.call(8.3).failed(ErrorKind::Protocol).at_once();
    world.call(8.5).got(2).at(1915.5);
}

#[test]
fn a_client_that_never_had_a_token_answers_quickly() {
    let mut world = World::new();
    world.becomes(Down).call(30.0).failed(ErrorKind::Server).after(1.05);
    world.call(30.0).failed(ErrorKind::Server).at_once();
}

#[test]
fn a_probe_that_fails_is_the_error_of_all_who_rode_out() {
    let mut world = World::new().with_token();
    let calls = world.becomes(WebPage).at(1900.0).start_many(10, 12.0);
    for call in world.finish_all(&calls) {
        // The next backoff would end at 1915.4.
        call.failed(ErrorKind::Protocol).at(1907.4);
        assert!(!call.error().is_remembered());
    }
    assert_eq!(world.requests_since(1900.0), 4);
}
