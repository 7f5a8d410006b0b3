//! Callers with little time, followers, and leaders that overrun or never return.

use super::*;

#[test]
fn zero_timeout_gives_what_is_cached() {
    let mut world = World::new().with_token();
    for time in [1000.0, 1600.0, 1780.0] {
        world.at(time).call(0.0).got(1).at_once();
    }
    world.at(1800.0).call(0.0).failed(ErrorKind::Timeout).at_once();
    World::new().call(0.0).failed(ErrorKind::Timeout).at_once();
    world.assert_requests_at(&[0.0]);
}

#[test]
fn zero_timeout_gives_the_remembered_error() {
    for (behaviour, lasts) in [(WebPage, 1.0), (Denying, 5.0)] {
        let mut world = World::new();
        let kind = world.server_becomes(behaviour).call(30.0).error().kind();
        let remembered = world.at(0.05 + lasts).call(0.0);
        assert!(remembered.failed(kind).error().is_remembered());
        world.at(0.15 + lasts).call(0.0).failed(ErrorKind::Timeout);
    }
}

#[test]
fn zero_timeout_does_not_read_the_secret_file() {
    let mut world = World::new();
    world.server_becomes(Denying).call(30.0);
    world.at(2.0).call(0.0).failed(ErrorKind::Denied);
    let mut refresh_due = World::new().with_token();
    refresh_due.server_becomes(Denying).at(1600.0).call(30.0);
    refresh_due.at(1602.0).call(0.0).got(1);
    for world in [world, refresh_due] {
        assert!(world.secret_checks().is_empty());
    }
}

#[test]
fn deadline_covers_attempts_pauses_and_waits() {
    for behaviour in [Silent, Down, WebPage, Throttling(Some(3.0))] {
        for time in [0.05, 0.3, 1.0, 5.0, 12.0, 30.0, 100.0] {
            let mut world = World::new().with_token();
            world.server_becomes(behaviour).at(1900.0);
            let calls = [world.start(time), world.start(time), world.start(time / 2.0)];
            for call in world.finish_all(&calls) {
                assert!(call.ended - call.began <= time, "{call:?}");
            }
        }
    }
}

#[test]
fn no_attempt_begins_after_the_deadline() {
    let mut world = World::new();
    world.server_becomes(Down).call(0.24).failed(ErrorKind::Server).after(0.1);
    world.assert_requests_at(&[0.0]);
}

#[test]
fn follower_leaves_at_its_deadline() {
    let mut world = World::new();
    world.server_becomes(Silent).start(30.0);
    let follower = world.start(2.0);
    world.finish(follower).failed(ErrorKind::Timeout).after(2.0);
}

#[test]
fn lack_of_time_is_not_a_failure() {
    let mut world = World::new().with_exchange_time(0.4);
    let impatient = world.call(0.05);
    assert_eq!(impatient.failed(ErrorKind::Timeout).after(0.05).error().to_string(), "request 1");
    // No backoff and no remembered error: only the minimum interval keeps the requests apart.
    let call = world.call(30.0);
    call.got(1).at(1.4);
    assert_eq!(call.requests, 1);
}

#[test]
fn most_patient_follower_leads_after_lack_of_time() {
    let mut world = World::new().with_exchange_time(0.4);
    let times = [0.05, 3.0, 20.0, 30.0, 25.0, 4.0];
    let calls = times.map(|time| world.start(time));
    let calls = world.finish_all(&calls);
    let requests: Vec<usize> = calls.iter().map(|call| call.requests).collect();
    assert_eq!(requests, [1, 0, 0, 1, 0, 0]);
    for call in &calls[1..] {
        call.got(1).at(1.4);
    }
}

#[test]
fn most_patient_follower_leads_with_a_stale_token() {
    let mut world = World::new().with_exchange_time(0.4).with_token();
    let times = [0.05, 3.0, 30.0, 4.0];
    world.at(1780.0);
    let calls = times.map(|time| world.start(time));
    let calls = world.finish_all(&calls);
    let requests: Vec<usize> = calls.iter().map(|call| call.requests).collect();
    assert_eq!(requests, [1, 0, 1, 0]);
    calls[0].got(1).after(0.05);
    calls[1].got(2).at(1781.4);
}

#[test]
fn followers_do_not_wait_long_for_the_next_leader() {
    let mut world = World::new().with_exchange_time(0.4);
    let leader = world.start(0.05);
    let gone = world.start(30.0);
    let patient = world.start(10.0);
    world.finish(leader);
    world.abandon(gone);
    world.finish(patient).got(1).at(1.05 + 0.4);
}

#[test]
fn followers_do_not_wait_for_a_caller_that_is_gone() {
    let mut world = World::new().with_exchange_time(0.4);
    world.server.next([Fine, WebPage]);
    world.start(0.05);
    let gone = world.start(30.0);
    world.finish(gone).failed(ErrorKind::Protocol).at(1.4);
    world.at(3.0).call(10.0).got(1).after(0.4);
}

#[test]
fn lack_of_time_does_not_lengthen_attempts() {
    let mut world = World::new();
    world.server_becomes(Silent).call(0.05);
    world.at(2.0).call(30.0);
    assert_close(world.server.requests[1].timeout, 10.0);
}

#[test]
fn only_so_many_refreshes_in_a_row_may_lack_time() {
    let mut world = World::new().with_exchange_time(0.4);
    for second in 0..4 {
        world.at(f64::from(second)).call(0.05).failed(ErrorKind::Timeout);
    }
    assert_eq!(world.requests_since(0.0), 4);
    // The fourth lack of time was a failure, which began a backoff at 3.05.
    world.at(4.02).call(0.03).failed(ErrorKind::Timeout).at_once();
    assert_eq!(world.requests_since(0.0), 4);
}

#[test]
fn success_resets_the_count_of_lacks_of_time() {
    let mut world = World::new().with_exchange_time(0.4);
    for second in 0..3 {
        world.at(f64::from(second)).call(0.05).failed(ErrorKind::Timeout);
    }
    world.at(5.0).call(30.0).got(1);
    world.at(1900.0).call(0.05).failed(ErrorKind::Timeout);
    world.at(1901.0).call(0.05).failed(ErrorKind::Timeout);
    assert_eq!(world.requests_since(1900.0), 2);
}

#[test]
fn leader_with_enough_time_does_not_lack_time() {
    for (time, requests) in [(4.9, 2), (5.1, 1)] {
        let mut world = World::new();
        world.server_becomes(Silent).call(time).failed(ErrorKind::Timeout).after(time);
        world.start(30.0);
        assert_eq!(world.server.requests.len(), requests);
    }
}

#[test]
fn server_error_in_little_time_is_a_failure() {
    let mut world = World::new();
    world.server_becomes(Down).call(0.2).failed(ErrorKind::Server);
    world.at(1.05).call(30.0).failed(ErrorKind::Server).at_once();
}

#[test]
fn proactive_lack_of_time_is_not_a_failure() {
    let mut world = World::new().with_exchange_time(0.4).with_token();
    world.at(1700.0).call(0.2).got(1).after(0.1);
    world.at(1701.0).call(30.0).got(2).after(0.4);
}

#[test]
fn proactive_timeout_with_enough_time_is_a_failure() {
    let mut world = World::new().with_exchange_time(4.0).with_token();
    world.server_becomes(Silent).at(1700.0).call(12.0).got(1);
    world.at(1706.5).call(30.0).got(1).at_once();
    assert_eq!(world.requests_since(1700.0), 1);
}

#[test]
fn stuck_leader_is_abandoned() {
    let mut world = World::new();
    world.server.next([Stuck(60.0)]);
    world.start(4.0);
    let follower = world.start(30.0);
    let impatient = world.start(4.5);
    world.at(4.9).call(0.05).failed(ErrorKind::Timeout);
    world.finish(impatient).failed(ErrorKind::Timeout).after(4.5);
    assert_within(world.finish(follower).got(2).ended, 5.1..5.2);
}

#[test]
fn followers_never_wait_for_a_time_in_the_past() {
    let mut world = World::new();
    world.server.next([Stuck(60.0)]);
    world.start(4.0);
    for time in [4.0, 4.5, 5.0] {
        let now = world.at(time).now();
        let mut caller = Caller::new(now.boot + Duration::from_secs(30));
        if let Step::Wait(until) = world.state().ask(now, &mut caller) {
            assert!(until > now.boot, "until {until:?} at {now:?}");
        }
    }
}

#[test]
fn follower_replaces_a_stuck_leader_at_once() {
    let mut world = World::new();
    world.server.next([Stuck(60.0)]);
    world.start(4.0);
    let follower = world.at(0.5).start(30.0);
    assert_within(world.finish(follower).got(2).ended, 5.1..5.2);
}

#[test]
fn late_answer_does_not_replace_a_newer_token() {
    let mut world = World::new();
    world.server.next([Stuck(60.0)]);
    let stuck = world.start(4.0);
    world.at(6.0).call(30.0).got(2);
    world.finish(stuck).got(2).at(60.0);
    world.call(30.0).got(2).at_once();
}

#[test]
fn late_answer_does_not_lengthen_attempts() {
    let mut world = World::new();
    world.server.next([Stuck(60.0)]);
    world.start(4.0);
    world.at(6.0).call(30.0).got(2);
    world.at(1900.0).server_becomes(Silent).call(300.0);
    assert_close(world.server.requests[2].timeout, 10.0);
}

#[test]
fn late_answer_is_used_without_a_newer_token() {
    let mut world = World::new();
    world.server.next([Stuck(6.5), Silent]);
    world.start(4.0);
    world.at(5.5).start(30.0);
    let follower = world.start(30.0);
    world.finish(follower).got(1).at(6.5);
}

#[test]
fn late_answer_ends_the_backoff() {
    let mut world = World::new().with_life(10.0);
    world.server.next([Stuck(7.0), Throttling(Some(60.0))]);
    world.start(4.0);
    world.at(5.5).call(30.0).failed(ErrorKind::Throttled);
    assert_eq!(world.at(7.1).usable(), Some(1));
    world.at(8.5).call(30.0).got(2);
}

#[test]
fn late_failure_does_not_shorten_a_backoff() {
    let mut world = World::new();
    world.server.next([StuckAndDown(7.0), Throttling(Some(50.0))]);
    world.start(4.0);
    world.at(5.5).call(30.0).failed(ErrorKind::Throttled);
    world.at(20.0).call(30.0).failed(ErrorKind::Throttled).at_once();
    assert_eq!(world.server.requests.len(), 2);
}

#[test]
fn late_leader_gets_its_own_failure() {
    let mut world = World::new();
    world.server.next([StuckAndDown(7.0), Silent]);
    let stuck = world.start(4.0);
    world.at(5.5).start(30.0);
    world.finish(stuck).failed(ErrorKind::Server).at(7.0);
}

#[test]
fn late_failure_is_ignored_with_a_newer_token() {
    let mut world = World::new();
    world.server.next([StuckAndDown(60.0)]);
    let stuck = world.start(4.0);
    world.at(6.0).call(30.0).got(1);
    world.finish(stuck).got(1).at(60.0);
    assert!(world.state().last_error().is_none());
    assert_eq!(world.state().counts.failures, 0);
}

#[test]
fn late_failure_does_not_end_the_next_refresh() {
    let mut world = World::new();
    world.server.next([StuckAndDown(6.0), Slow(5.0)]);
    world.start(4.0);
    world.at(5.5).start(30.0);
    let follower = world.at(6.1).start(30.0);
    world.finish(follower).got(1).at(10.5);
    world.assert_requests_at(&[0.0, 5.5]);
}

#[test]
fn panic_ends_the_refresh_as_internal_for_all() {
    let mut world = World::new();
    let calls = world.server_becomes(Panicking).start_many(5, 30.0);
    for call in world.finish_all(&calls) {
        call.failed(ErrorKind::Internal).after(0.1);
    }
}

#[test]
fn refresh_given_up_lets_a_follower_lead() {
    let mut world = World::new();
    let leader = world.start(30.0);
    let follower = world.start(30.0);
    world.at(0.05).give_up(leader);
    world.finish(follower).got(2).at(1.1);
}
