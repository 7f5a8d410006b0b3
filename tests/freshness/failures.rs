//! What follows a failure: backoff, Retry-After, negative cache, and grace period. With random
//! factors in the middle of their ranges a backoff is 1, 2, 4, … seconds, and Retry-After is
//! multiplied by 1.1.

use super::*;

/// Asserts how long the first pauses between requests at these times are.
#[track_caller]
fn assert_pauses(times: &[f64], expected: &[f64]) {
    let pauses: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() >= expected.len(), "pauses {pauses:?}");
    for (found, expected) in pauses.iter().zip(expected) {
        // `poll_until` calls every 0.1 s, so a request may be that late.
        assert_within(*found, expected - 0.01..expected + 0.11);
    }
}

#[test]
fn backoff_doubles_without_a_token() {
    let mut world = World::new();
    let times = world.server_becomes(WebPage).poll_until(60.0, 1.0);
    assert_pauses(&times, &[1.1, 2.1, 4.1, 8.1, 10.1, 10.1]);
}

#[test]
fn backoff_doubles_with_a_stale_token() {
    let mut world = World::new().with_margin(60.0).with_token();
    let times = world.server_becomes(WebPage).at(1740.5).poll_until(1798.0, 1.0);
    assert_pauses(&times, &[1.1, 2.1, 4.1, 8.1, 10.1, 10.1]);
}

#[test]
fn backoff_grows_longer_with_a_usable_token() {
    let mut world = World::new().with_random(1.0).with_token();
    let times = world.server_becomes(WebPage).at(1470.5).poll_until(1640.0, 10.0);
    assert_pauses(&times, &[1.3, 2.5, 4.9, 9.7, 19.3, 38.5, 72.1]);
}

#[test]
fn backoff_leaves_room_for_attempts_before_stale() {
    let mut world = World::new().with_token();
    let times = world.server_becomes(WebPage).at(1700.0).poll_until(1770.0, 10.0);
    assert_pauses(&times, &[1.1, 2.1, 4.1, 8.1, 16.1, 12.9, 8.6]);
}

#[test]
fn backoff_has_a_minimum() {
    let mut world = World::new().with_token();
    let times = world.server_becomes(WebPage).at(1768.3).poll_until(1770.0, 10.0);
    assert_pauses(&times, &[1.1]);
}

#[test]
fn backoff_has_jitter() {
    for (random, end) in [(0.0, 0.5 + 0.8), (1.0, 0.5 + 1.2)] {
        let mut world = World::new().with_random(random).with_exchange_time(0.5);
        world.server_becomes(WebPage).call(30.0);
        world.at(end - 0.05).call(30.0).at_once();
        world.assert_requests_at(&[0.0]);
        world.at(end + 0.05).call(30.0).after(0.5);
    }
}

#[test]
fn every_failure_but_a_denial_backs_off() {
    let retryable = [Down, Silent, Throttling(None), NoSecretFile];
    for behaviour in retryable.into_iter().chain([WebPage, UntrustedCertificate, Panicking]) {
        let mut world = World::new();
        let failed = world.server_becomes(behaviour).call(6.0).ended;
        let requests = world.server.requests.len();
        world.at(failed + 0.95).call(6.0).at_once();
        assert_eq!(world.server.requests.len(), requests);
        world.at(failed + 1.05).start(6.0);
        assert_eq!(world.server.requests.len(), requests + 1);
    }
}

#[test]
fn argument_error_is_not_remembered() {
    let mut world = World::new();
    world.server.next([InvalidArgument]);
    world.call(30.0).failed(ErrorKind::Argument).after(0.1);
    world.at(1.0).call(30.0).got(1);
}

#[test]
fn argument_error_never_costs_a_valid_token() {
    for time in [1600.0, 1780.0] {
        let mut world = World::new().with_token();
        world.server_becomes(InvalidArgument).at(time).call(30.0).got(1).after(0.1);
        world.at(1900.0).call(30.0).failed(ErrorKind::Argument).after(0.1);
    }
}

#[test]
fn backoff_gives_the_remembered_error_at_once() {
    let mut world = World::new();
    let first = world.server_becomes(WebPage).call(30.0);
    assert!(!first.error().is_remembered());
    let second = world.at(0.5).call(30.0);
    second.failed(ErrorKind::Protocol).at_once();
    assert!(second.error().is_remembered());
    assert_eq!(second.error().to_string(), "request 1 (remembered from an earlier request)");
}

#[test]
fn one_caller_probes_after_the_backoff() {
    let mut world = World::new();
    world.server_becomes(Down).call(30.0);
    let calls = world.at(5.0).start_many(100, 30.0);
    for call in world.finish_all(&calls) {
        assert_eq!(call.failed(ErrorKind::Server).error().to_string(), "request 4");
    }
    assert_eq!(world.requests_since(5.0), 1);
}

#[test]
fn error_tells_how_long_its_backoff_lasts() {
    for (behaviour, wait) in [(WebPage, 1.0), (Throttling(Some(20.0)), 22.0), (Denying, 5.0)] {
        let mut world = World::new();
        let call = world.server_becomes(behaviour).call(30.0);
        let advised = call.error().initial_retry_after().expect("advice");
        assert_close(advised.as_secs_f64(), wait);
    }
}

#[test]
fn backoff_ends_when_the_token_becomes_stale() {
    let mut world = World::new().with_exchange_time(0.7).with_token();
    world.server_becomes(Down).at(1769.2).call(30.0).got(1);
    world.at(1769.95).call(30.0).got(1).at_once();
    world.at(1770.25).start(30.0);
    world.assert_requests_at(&[0.0, 1769.2, 1770.25]);
}

#[test]
fn backoff_restarts_when_the_token_becomes_stale() {
    let mut world = World::new().with_token();
    world.server_becomes(Down).at(1600.0).poll_until(1769.95, 10.0);
    let times = world.at(1771.0).poll_until(1776.0, 10.0);
    // Three attempts; a backoff of 1 s and one attempt; a backoff of 2 s and one attempt.
    assert_pauses(&times, &[0.25, 0.7, 1.1, 2.1]);
}

#[test]
fn failure_that_outlasts_the_window_backs_off() {
    let mut world = World::new().with_token();
    world.server_becomes(Silent).at(1768.5).call(30.0).got(1).after(3.0);
    world.at(1772.3).call(30.0).got(1).at_once();
    world.assert_requests_at(&[0.0, 1768.5]);
}

#[test]
fn backoff_restarts_only_once_for_a_token() {
    let mut world = World::new().with_margin(60.0).with_token();
    world.server_becomes(Down).at(1750.0).poll_until(1760.0, 10.0);
    world.reject(1);
    let requests = world.server.requests.len();
    world.at(1760.5).call(10.0).got(1).at_once();
    assert_eq!(world.server.requests.len(), requests);
}

#[test]
fn success_resets_the_backoff() {
    let mut world = World::new();
    world.server_becomes(WebPage).poll_until(16.0, 1.0);
    world.server_becomes(Fine).at(30.0).call(30.0).got(1);
    let times = world.server_becomes(WebPage).at(1830.5).poll_until(1840.0, 1.0);
    assert_pauses(&times, &[1.1, 2.1]);
}

#[test]
fn proactive_success_resets_the_backoff() {
    let mut world = World::new().with_token();
    world.server.next([WebPage, WebPage, WebPage]);
    world.at(1600.0).poll_until(1608.0, 30.0);
    world.call(30.0).got(2);
    let times = world.server_becomes(WebPage).at(3200.0).poll_until(3210.0, 30.0);
    assert_pauses(&times, &[1.1, 2.1]);
}

#[test]
fn retry_after_is_a_lower_bound_with_jitter() {
    for (random, wait) in [(0.0, 50.0), (0.5, 55.0), (1.0, 60.0)] {
        let mut world = World::new().with_random(random).with_token();
        world.server_becomes(Throttling(Some(50.0))).at(1630.0).call(30.0).got(1).after(0.1);
        world.at(1630.1 + wait - 0.1).call(30.0).got(1).at_once();
        world.assert_requests_at(&[0.0, 1630.0]);
        world.at(1630.1 + wait + 0.1).call(30.0).got(1).after(0.1);
    }
}

#[test]
fn short_retry_after_does_not_shorten_the_backoff() {
    let mut world = World::new();
    let times = world.server_becomes(Throttling(Some(1.0))).poll_until(20.0, 1.0);
    assert_pauses(&times, &[1.2, 2.1, 4.1, 8.1]);
}

#[test]
fn retry_after_ends_the_attempts_of_the_refresh() {
    for behaviour in [Throttling(Some(0.0)), Throttling(Some(1.0)), DownWithRetryAfter(0.0)] {
        let mut world = World::new();
        world.server_becomes(behaviour).call(30.0).after(0.1);
        world.assert_requests_at(&[0.0]);
    }
}

#[test]
fn retry_after_is_capped_with_a_usable_token() {
    let mut world = World::new().with_token();
    world.server_becomes(Throttling(Some(86_400.0))).at(1600.0).call(30.0).got(1);
    let error = world.state().last_error().expect("the failure").clone();
    assert_close(error.initial_retry_after().expect("advice").as_secs_f64(), 330.0);
}

#[test]
fn retry_after_is_capped_lower_without_a_token() {
    let mut world = World::new();
    let times = world.server_becomes(Throttling(Some(86_400.0))).poll_until(100.0, 1.0);
    assert_pauses(&times, &[66.1]);
}

#[test]
fn retry_after_is_capped_lower_with_a_stale_token() {
    let mut world = World::new().with_margin(300.0).with_token();
    let times =
        world.server_becomes(DownWithRetryAfter(86_400.0)).at(1510.5).poll_until(1600.0, 1.0);
    assert_pauses(&times, &[66.1]);
}

#[test]
fn retry_after_never_costs_a_usable_token() {
    let mut world = World::new().with_token();
    world.server_becomes(Throttling(Some(300.0))).at(1600.0).call(30.0).got(1);
    world.at(1769.9).call(30.0).got(1).at_once();
    assert_eq!(world.usable(), Some(1));
}

#[test]
fn retry_after_still_counts_once_the_token_is_stale() {
    let mut world = World::new().with_token();
    world.server_becomes(Throttling(Some(20.0))).at(1760.0).call(30.0).got(1);
    world.at(1771.0).call(30.0).got(1).at_once();
    world.at(1782.0).call(30.0).got(1).at_once();
    world.server_becomes(Fine).at(1782.2).call(30.0).got(2).after(0.1);
}

#[test]
fn long_retry_after_is_cut_once_the_token_is_stale() {
    let mut world = World::new().with_token();
    world.server_becomes(Throttling(Some(300.0))).at(1760.0).call(30.0).got(1);
    world.server_becomes(Fine).at(1770.01).call(30.0).got(1).at_once();
    world.at(1829.9).call(0.05).failed(ErrorKind::Throttled).at_once();
    world.at(1830.1).call(30.0).got(2).after(0.1);
}

#[test]
fn long_retry_after_is_cut_once_token_is_rejected() {
    let mut world = World::new().with_token();
    world.server_becomes(Throttling(Some(300.0))).at(1600.0).call(30.0).got(1);
    world.server_becomes(Fine).at(1650.0).reject(1);
    world.call(30.0).got(1).at_once();
    world.at(1709.9).call(30.0).got(1).at_once();
    world.at(1710.1).call(30.0).got(2).after(0.1);
}

#[test]
fn retry_after_is_cut_even_if_no_call_was_made() {
    let mut world = World::new().with_token();
    world.server_becomes(Throttling(Some(300.0))).at(1760.0).call(30.0).got(1);
    world.server_becomes(Fine).at(1835.0).call(30.0).got(2).after(0.1);
}

#[test]
fn denial_is_remembered_for_a_doubling_time() {
    let mut world = World::new();
    let times = world.server_becomes(Denying).poll_until(260.0, 1.0);
    assert_pauses(&times, &[5.1, 10.1, 20.1, 40.1, 60.1, 60.1]);
}

#[test]
fn denial_is_remembered_with_a_usable_token() {
    let mut world = World::new().with_token();
    let times = world.server_becomes(Denying).at(1550.0).poll_until(1700.0, 10.0);
    assert_pauses(&times, &[5.1, 10.1, 20.1, 40.1, 60.1]);
}

#[test]
fn negative_cache_has_no_jitter() {
    for random in [0.0, 1.0] {
        let mut world = World::new().with_random(random);
        let times = world.server_becomes(Denying).poll_until(20.0, 1.0);
        assert_pauses(&times, &[5.1, 10.1]);
    }
}

#[test]
fn many_denied_callers_make_one_request() {
    let mut world = World::new();
    let calls = world.server_becomes(Denying).start_many(500, 30.0);
    for call in world.finish_all(&calls) {
        call.failed(ErrorKind::Denied).after(0.1);
    }
    for _ in 0..500 {
        assert!(world.call(30.0).failed(ErrorKind::Denied).at_once().error().is_remembered());
    }
    world.assert_requests_at(&[0.0]);
}

#[test]
fn grace_period_does_not_cover_denials() {
    let mut world = World::new().with_token();
    world.server_becomes(Denying).at(1900.0).call(30.0).failed(ErrorKind::Denied).after(0.1);
    world.at(1901.0).call(30.0).failed(ErrorKind::Denied).at_once();
}

#[test]
fn changed_secret_clears_the_denial_at_once() {
    let mut world = World::new();
    world.server_becomes(Denying).poll_until(16.0, 1.0);
    world.at(20.0).change_secret();
    // The doubling restarts, at 5 s.
    let times = world.poll_until(40.0, 1.0);
    assert_eq!(times[0], 0.0);
    assert_pauses(&times, &[5.1, 10.1]);
}

#[test]
fn denial_of_an_older_secret_is_not_remembered() {
    let mut world = World::new();
    world.server.next([Denying]);
    let leader = world.start(30.0);
    let follower = world.start(30.0);
    world.at(0.05).change_secret();
    world.finish(follower).got(1).at(1.1);
    world.finish(leader).got(1).at(1.1);
    world.assert_requests_at(&[0.0, 1.0]);
}

#[test]
fn denial_of_the_secret_changed_to_is_remembered() {
    let mut world = World::new();
    world.server_becomes(Denying).server.next([Down]);
    let leader = world.start(30.0);
    world.at(0.15).change_secret();
    world.finish(leader).failed(ErrorKind::Denied).at(0.35);
    world.assert_requests_at(&[0.0, 0.25]);
}

#[test]
fn denial_makes_callers_check_the_secret_file() {
    for (at, until) in [(0.0, 4.0), (1600.0, 1604.0), (1780.0, 1784.0), (1900.0, 1904.0)] {
        let mut world = World::new();
        if at > 0.0 {
            world.call(30.0).got(1);
        }
        world.server_becomes(Denying).at(at).poll_until(until, 30.0);
        let checks: Vec<f64> = world.secret_checks().iter().map(|check| check - at).collect();
        assert_eq!(checks.len(), 3, "{checks:?}");
        for (found, expected) in checks.iter().zip([1.1, 2.1, 3.1]) {
            assert_close(*found, expected);
        }
    }
}

#[test]
fn only_one_caller_checks_the_secret_file() {
    let mut world = World::new();
    world.server_becomes(Denying).call(30.0);
    let now = world.at(2.0).now();
    let mut steps = (0..3).map(|_| {
        let mut caller = Caller::new(now.boot + Duration::from_secs(30));
        world.state().ask(now, &mut caller)
    });
    assert!(matches!(steps.next(), Some(Step::CheckSecret)));
    assert!(steps.all(|step| matches!(step, Step::Fail(_))));
}

#[test]
fn broken_secret_file_is_checked_regularly() {
    for at in [0.0, 1600.0, 1780.0, 1900.0] {
        let mut world = World::new();
        if at > 0.0 {
            world.call(30.0).got(1);
        }
        // The backoffs are long by now, so that only a check can find the repaired file.
        world.server_becomes(NoSecretFile).at(at).poll_until(at + 20.0, 6.0);
        let checks = world.secret_checks();
        assert!(checks.windows(2).all(|pair| pair[1] - pair[0] >= 1.0), "{checks:?}");
        let latest = world.state().last_error.clone().expect("a failure");
        assert!(latest.initial_retry_after() > Some(Duration::from_secs(2)), "{latest:?}");
        world.server_becomes(Fine).change_secret_file();
        let requests = world.poll_until(at + 21.2, 30.0);
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert_close(world.state().backoff.end(Duration::MAX, None).as_secs_f64(), 0.0);
    }
}

#[test]
fn changed_secret_file_clears_the_denial() {
    for (at, token) in [(0.0, 1), (1600.0, 2), (1780.0, 2), (1900.0, 2)] {
        let mut world = World::new();
        if at > 0.0 {
            world.call(30.0).got(1);
        }
        world.at(at).server_becomes(Denying).call(10.0);
        world
            .server_becomes(Fine)
            .change_secret_file()
            .at(at + 1.2)
            .call(10.0)
            .got(token)
            .after(0.1);
    }
}

#[test]
fn secret_file_is_not_checked_without_a_denial() {
    let mut world = World::new();
    world.server_becomes(WebPage).poll_until(10.0, 1.0);
    assert!(world.secret_checks().is_empty());
}

#[test]
fn success_clears_the_denial() {
    let mut world = World::new();
    world.server_becomes(Denying).poll_until(16.0, 1.0);
    world.server_becomes(Fine).at(40.0).call(30.0).got(1);
    let times = world.server_becomes(Denying).at(1841.0).poll_until(1860.0, 1.0);
    assert_pauses(&times, &[5.1, 10.1]);
}

#[test]
fn grace_period_hides_a_short_outage() {
    for behaviour in [Down, WebPage, Throttling(None)] {
        let mut world = World::new().with_token();
        world.at(1900.0).server_becomes(behaviour).server.from(1907.0, Fine);
        let calls = world.start_many(10, 30.0);
        let later = world.at(1903.0).start(30.0);
        for call in world.finish_all(&calls) {
            call.got(2);
        }
        world.finish(later).got(2);
    }
}

#[test]
fn grace_period_ends() {
    let mut world = World::new().with_token();
    let first = world.server_becomes(WebPage).at(1900.0).start(60.0);
    // Refreshes fail at 0.1, 1.2, 3.3, 7.4 and 15.5 s.
    world.at(1914.9);
    assert!(world.ended(first).is_none());
    world.finish(first).failed(ErrorKind::Protocol).at(1915.5);
    let second = world.call(60.0);
    assert!(second.failed(ErrorKind::Protocol).at_once().error().is_remembered());
}

#[test]
fn each_outage_has_its_own_grace_period() {
    let mut world = World::new().with_token();
    world.server.next([WebPage]);
    world.at(1900.0).call(30.0).got(2);
    world.server_becomes(WebPage).server.from(3902.0, Fine);
    world.at(3900.0).call(30.0).got(3);
}

#[test]
fn grace_period_covers_retry_after_within_deadline() {
    let mut world = World::new().with_token();
    world.server.next([Throttling(Some(40.0))]);
    world.at(1760.0).call(30.0).got(1);
    let follower = world.at(1800.0).start(30.0);
    world.call(3.0).failed(ErrorKind::Throttled).at_once();
    world.finish(follower).got(2).at(1804.2);
}

#[test]
fn grace_period_begins_when_the_token_expires() {
    let mut world = World::new().with_token();
    // The outage is long, but hidden by the token, which is stale from 1770 and expired from 1799
    // on.
    world.server_becomes(WebPage).at(1600.0).poll_until(1769.0, 1.0);
    world.at(1795.0).call(30.0).got(1);
    let follower = world.at(1799.5).start(30.0);
    world.server_becomes(Fine);
    world.finish(follower).got(2);
}

#[test]
fn deadline_before_the_backoff_ends_fails_at_once() {
    let mut world = World::new().with_token();
    world.server_becomes(WebPage).at(1900.0).call(1.2);
    let backoff_end = 1901.1;
    world.at(backoff_end - 0.5);
    world.call(0.5).failed(ErrorKind::Protocol).at_once();
    world.call(0.6).failed(ErrorKind::Protocol).at_once();
    world.server_becomes(Fine).call(0.7).got(2).at(backoff_end + 0.1);
}

#[test]
fn grace_period_reserves_time_for_the_attempt() {
    let mut world = World::new().with_token();
    // Refreshes fail at 0.1, 1.2, 3.3 and 7.4 s; the next begins at 15.4 s.
    world.server_becomes(WebPage).at(1900.0).start(60.0);
    world.at(1908.0).server_becomes(Fine);
    world.call(8.3).failed(ErrorKind::Protocol).at_once();
    world.call(8.5).got(2).at(1915.5);
}

#[test]
fn no_grace_period_before_the_first_token() {
    let mut world = World::new();
    world.server_becomes(Down).call(30.0).failed(ErrorKind::Server).after(1.05);
    world.call(30.0).failed(ErrorKind::Server).at_once();
}

#[test]
fn failed_probe_is_the_error_of_all_that_waited() {
    let mut world = World::new().with_token();
    let calls = world.server_becomes(WebPage).at(1900.0).start_many(10, 12.0);
    for call in world.finish_all(&calls) {
        // The next backoff would end at 1915.4.
        call.failed(ErrorKind::Protocol).at(1907.4);
        assert!(!call.error().is_remembered());
    }
    assert_eq!(world.requests_since(1900.0), 4);
}
