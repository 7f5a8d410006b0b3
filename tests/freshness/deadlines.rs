//! Callers with little time, callers who wait, and leaders that never come back.

use super::*;

#[test]
fn a_caller_without_time_has_what_is_there() {
    let mut world = World::new().with_token();
    for time in [1000.0, 1600.0, 1780.0] {
        world.at(time).call(0.0).got(1).at_once();
    }
    world.at(1800.0).call(0.0).failed(ErrorKind::Timeout).at_once();
    World::new().call(0.0).failed(ErrorKind::Timeout).at_once();
    world.asked_at(&[0.0]);
}

#[test]
fn a_caller_without_time_has_the_remembered_error_only_while_it_lasts() {
    for (behaviour, lasts) in [(WebPage, 1.0), (Denying, 5.0)] {
        let mut world = World::new();
        let kind = world.becomes(behaviour).call(30.0).error().kind();
        let remembered = world.at(0.05 + lasts).call(0.0);
        assert!(remembered.failed(kind).error().is_remembered());
        world.at(0.15 + lasts).call(0.0).failed(ErrorKind::Timeout);
    }
}

#[test]
fn a_caller_without_time_does_not_look_at_the_secret_file() {
    let mut world = World::new();
    world.becomes(Denying).call(30.0);
    world.at(2.0).call(0.0).failed(ErrorKind::Denied);
    let mut refresh_due = World::new().with_token();
    refresh_due.becomes(Denying).at(1600.0).call(30.0);
    refresh_due.at(1602.0).call(0.0).got(1);
    for world in [world, refresh_due] {
        assert!(world.secret_checks().is_empty());
    }
}

#[test]
fn the_deadline_covers_attempts_pauses_and_waits() {
    for behaviour in [Silent, Down, WebPage, Throttling(Some(3.0))] {
        for time in [0.05, 0.3, 1.0, 5.0, 12.0, 30.0, 100.0] {
            let mut world = World::new().with_token();
            world.becomes(behaviour).at(1900.0);
            let calls = [world.start(time), world.start(time), world.start(time / 2.0)];
            for call in world.finish_all(&calls) {
                assert!(call.ended - call.began <= time, "{call:?}");
            }
        }
    }
}

#[test]
fn no_attempt_begins_that_the_deadline_leaves_no_time_for() {
    let mut world = World::new();
    world.becomes(Down).call(0.24).failed(ErrorKind::Server).after(0.1);
    world.asked_at(&[0.0]);
}

#[test]
fn a_waiter_leaves_at_its_deadline() {
    let mut world = World::new();
    world.becomes(Silent).start(30.0);
    let waiter = world.start(2.0);
    world.finish(waiter).failed(ErrorKind::Timeout).after(2.0);
}

#[test]
fn a_flight_that_only_lacked_time_is_no_failure() {
    let mut world = World::new().that_takes(0.4);
    let hurried = world.call(0.05);
    assert_eq!(hurried.failed(ErrorKind::Timeout).after(0.05).error().to_string(), "request 1");
    // No backoff, only the minimum interval; and nothing is remembered.
    let call = world.call(30.0);
    call.got(1).at(1.4);
    assert_eq!(call.requests, 1);
}

#[test]
fn after_a_flight_that_lacked_time_the_waiter_with_the_latest_deadline_flies() {
    let mut world = World::new().that_takes(0.4);
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
fn after_a_flight_that_lacked_time_a_spent_tokens_waiter_with_the_latest_deadline_flies() {
    let mut world = World::new().that_takes(0.4).with_token();
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
fn nobody_lets_another_go_first_for_more_than_50_ms() {
    let mut world = World::new().that_takes(0.4);
    let leader = world.start(0.05);
    let gone = world.start(30.0);
    let patient = world.start(10.0);
    world.finish(leader);
    world.abandons(gone);
    world.finish(patient).got(1).at(1.05 + 0.4);
}

#[test]
fn nobody_lets_one_go_first_who_is_gone() {
    let mut world = World::new().that_takes(0.4);
    world.server.next([Fine, WebPage]);
    world.start(0.05);
    let gone = world.start(30.0);
    world.finish(gone).failed(ErrorKind::Protocol).at(1.4);
    world.at(3.0).call(10.0).got(1).after(0.4);
}

#[test]
fn a_flight_that_lacked_time_does_not_make_attempts_longer() {
    let mut world = World::new();
    world.becomes(Silent).call(0.05);
    world.at(2.0).call(30.0);
    assert_close(world.server.requests[1].timeout, 10.0);
}

#[test]
fn three_flights_in_a_row_may_lack_time() {
    let mut world = World::new().that_takes(0.4);
    for second in 0..4 {
        world.at(f64::from(second)).call(0.05).failed(ErrorKind::Timeout);
    }
    assert_eq!(world.requests_since(0.0), 4);
    // The fourth was a failure: its backoff began at 3.05.
    world.at(4.02).call(0.03).failed(ErrorKind::Timeout).at_once();
    assert_eq!(world.requests_since(0.0), 4);
}

#[test]
fn a_success_lets_flights_lack_time_again() {
    let mut world = World::new().that_takes(0.4);
    for second in 0..3 {
        world.at(f64::from(second)).call(0.05).failed(ErrorKind::Timeout);
    }
    world.at(5.0).call(30.0).got(1);
    world.at(1900.0).call(0.05).failed(ErrorKind::Timeout);
    world.at(1901.0).call(0.05).failed(ErrorKind::Timeout);
    assert_eq!(world.requests_since(1900.0), 2);
}

#[test]
fn a_flyer_with_5_seconds_does_not_lack_time() {
    for (time, requests) in [(4.9, 2), (5.1, 1)] {
        let mut world = World::new();
        world.becomes(Silent).call(time).failed(ErrorKind::Timeout).after(time);
        world.start(30.0);
        assert_eq!(world.server.requests.len(), requests);
    }
}

#[test]
fn another_failure_of_a_flyer_with_little_time_is_a_failure() {
    let mut world = World::new();
    world.becomes(Down).call(0.2).failed(ErrorKind::Server);
    world.at(1.05).call(30.0).failed(ErrorKind::Server).at_once();
}

#[test]
fn a_refresh_ahead_of_time_that_only_lacked_time_is_no_failure() {
    let mut world = World::new().that_takes(0.4).with_token();
    world.at(1700.0).call(0.2).got(1).after(0.1);
    world.at(1701.0).call(30.0).got(2).after(0.4);
}

#[test]
fn a_refresh_ahead_of_time_that_a_slow_server_did_not_answer_did_not_lack_time() {
    let mut world = World::new().that_takes(4.0).with_token();
    world.becomes(Silent).at(1700.0).call(12.0).got(1);
    world.at(1706.5).call(30.0).got(1).at_once();
    assert_eq!(world.requests_since(1700.0), 1);
}

#[test]
fn a_flyer_more_than_a_second_past_its_end_is_abandoned() {
    let mut world = World::new();
    world.server.next([Stuck(60.0)]);
    world.start(4.0);
    let waiter = world.start(30.0);
    let hurried = world.start(4.5);
    world.at(4.9).call(0.05).failed(ErrorKind::Timeout);
    world.finish(hurried).failed(ErrorKind::Timeout).after(4.5);
    assert_within(world.finish(waiter).got(2).ended, 5.1..5.2);
}

#[test]
fn whoever_is_told_to_wait_for_an_abandoned_flyer_is_told_to_wait_for_something_to_come() {
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
fn a_waiter_notices_at_once_that_a_flyer_is_abandoned() {
    let mut world = World::new();
    world.server.next([Stuck(60.0)]);
    world.start(4.0);
    let waiter = world.at(0.5).start(30.0);
    assert_within(world.finish(waiter).got(2).ended, 5.1..5.2);
}

#[test]
fn a_late_answer_never_replaces_a_newer_token() {
    let mut world = World::new();
    world.server.next([Stuck(60.0)]);
    let stuck = world.start(4.0);
    world.at(6.0).call(30.0).got(2);
    world.finish(stuck).got(2).at(60.0);
    world.call(30.0).got(2).at_once();
}

#[test]
fn a_late_answer_does_not_make_attempts_longer() {
    let mut world = World::new();
    world.server.next([Stuck(60.0)]);
    world.start(4.0);
    world.at(6.0).call(30.0).got(2);
    world.at(1900.0).becomes(Silent).call(300.0);
    assert_close(world.server.requests[2].timeout, 10.0);
}

#[test]
fn a_late_answer_is_welcome_without_a_newer_token() {
    let mut world = World::new();
    world.server.next([Stuck(6.5), Silent]);
    world.start(4.0);
    world.at(5.5).start(30.0);
    let waiter = world.start(30.0);
    world.finish(waiter).got(1).at(6.5);
}

#[test]
fn a_late_answer_ends_the_backoff() {
    let mut world = World::new().of_life(10.0);
    world.server.next([Stuck(7.0), Throttling(Some(60.0))]);
    world.start(4.0);
    world.at(5.5).call(30.0).failed(ErrorKind::Throttled);
    assert_eq!(world.at(7.1).usable(), Some(1));
    world.at(8.5).call(30.0).got(2);
}

#[test]
fn a_late_failure_does_not_shorten_a_backoff() {
    let mut world = World::new();
    world.server.next([StuckAndDown(7.0), Throttling(Some(50.0))]);
    world.start(4.0);
    world.at(5.5).call(30.0).failed(ErrorKind::Throttled);
    world.at(20.0).call(30.0).failed(ErrorKind::Throttled).at_once();
    assert_eq!(world.server.requests.len(), 2);
}

#[test]
fn a_flyer_that_comes_back_late_is_told_its_own_failure() {
    let mut world = World::new();
    world.server.next([StuckAndDown(7.0), Silent]);
    let stuck = world.start(4.0);
    world.at(5.5).start(30.0);
    world.finish(stuck).failed(ErrorKind::Server).at(7.0);
}

#[test]
fn a_late_failure_changes_nothing_once_there_is_a_newer_token() {
    let mut world = World::new();
    world.server.next([StuckAndDown(60.0)]);
    let stuck = world.start(4.0);
    world.at(6.0).call(30.0).got(1);
    world.finish(stuck).got(1).at(60.0);
    assert!(world.state().last_error().is_none());
    assert_eq!(world.state().counts.failures, 0);
}

#[test]
fn a_late_failure_does_not_end_the_flight_that_follows() {
    let mut world = World::new();
    world.server.next([StuckAndDown(6.0), Slow(5.0)]);
    world.start(4.0);
    world.at(5.5).start(30.0);
    let waiter = world.at(6.1).start(30.0);
    world.finish(waiter).got(1).at(10.5);
    world.asked_at(&[0.0, 5.5]);
}

#[test]
fn a_panic_ends_the_flight_as_internal_for_all() {
    let mut world = World::new();
    let calls = world.becomes(Panicking).start_many(5, 30.0);
    for call in world.finish_all(&calls) {
        call.failed(ErrorKind::Internal).after(0.1);
    }
}

#[test]
fn a_flight_given_up_leaves_the_way_free() {
    let mut world = World::new();
    let leader = world.start(30.0);
    let waiter = world.start(30.0);
    world.at(0.05).gives_up(leader);
    world.finish(waiter).got(2).at(1.1);
}
