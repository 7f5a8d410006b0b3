//! Crowds of callers through new tokens, outages, clock jumps, and rejections. The world is random,
//! with the seed that stands in the test. A test says how many requests there may be in a span of
//! time, and how long calls may take.

use super::*;
use world::Tally;

/// 16 callers with a timeout of 30 s, each of which calls every 0.2 s on average.
fn crowded_world(seed: u64, life: f64) -> World {
    let mut world = World::seeded(seed).with_life(life).with_exchange_time(0.15);
    world.crowd(16, 0.2, 30.0);
    world
}

/// The sum over all crowds.
fn tally(world: &World) -> Tally {
    let mut sum = Tally::default();
    for Tally { calls, errors, stalls, longest, longest_with_token, expired } in
        world.crowds.iter().map(|crowd| &crowd.tally)
    {
        sum.calls += calls;
        sum.errors += errors;
        sum.stalls += stalls;
        sum.expired += expired;
        sum.longest = sum.longest.max(*longest);
        sum.longest_with_token = sum.longest_with_token.max(*longest_with_token);
    }
    sum
}

/// Runs the world until this time and returns the tally of that span, in which the server must get
/// a number of requests in this range.
#[track_caller]
fn run_until(world: &mut World, time: f64, requests: Range<usize>) -> Tally {
    let before = world.server.requests.len();
    world.reset_tallies();
    world.at(time);
    let made = world.server.requests.len() - before;
    assert!(requests.contains(&made), "{made} requests instead of {requests:?}");
    tally(world)
}

/// Asserts that no call failed or got an expired token, and that none took more than `longest`
/// seconds.
#[track_caller]
fn assert_smooth(tally: &Tally, longest: f64) {
    assert_eq!((tally.errors, tally.expired), (0, 0), "{tally:?}");
    assert!(tally.longest <= longest, "{tally:?}");
}

#[test]
fn one_request_for_each_lifetime() {
    for (life, time, requests) in
        [(1800.0, 5460.0, 4..6), (60.0, 210.0, 4..9), (10.0, 300.0, 30..50)]
    {
        assert_smooth(&run_until(&mut crowded_world(1, life), time, requests), 0.4);
    }
}

#[test]
fn very_short_lives_work() {
    let tally = run_until(&mut crowded_world(2, 2.0), 120.0, 60..121);
    assert_eq!(tally.errors, 0);
    assert!(tally.longest < 1.3, "{tally:?}");
}

#[test]
fn slow_network_stalls_callers_for_one_exchange() {
    assert_smooth(
        &run_until(&mut crowded_world(3, 10.0).with_exchange_time(0.5), 300.0, 30..60),
        1.5,
    );
}

#[test]
fn reused_token_costs_a_few_requests_each_lifetime() {
    for (life, time, requests) in
        [(1800.0, 5460.0, 8..13), (60.0, 210.0, 9..16), (10.0, 300.0, 50..90)]
    {
        assert_smooth(
            &run_until(&mut crowded_world(4, life).with_token_reuse(), time, requests),
            2.9,
        );
    }
}

#[test]
fn very_short_reused_tokens_work() {
    let tally = run_until(&mut crowded_world(5, 2.0).with_token_reuse(), 120.0, 40..121);
    assert_eq!(tally.errors, 0);
}

#[test]
fn long_margin_costs_no_more_requests() {
    for exchange_time in [0.15, 5.0] {
        let mut world = World::seeded(6).with_margin(300.0).with_exchange_time(exchange_time);
        world.crowd(16, 0.2, 30.0);
        let longest = if exchange_time > 1.0 { 7.5 } else { 0.4 };
        assert_smooth(&run_until(&mut world, 5460.0, 4..7), longest);
    }
}

#[test]
fn long_margin_survives_an_outage_in_the_window() {
    let mut world = World::seeded(7).with_margin(300.0).with_exchange_time(0.15);
    world.crowd(16, 0.2, 30.0);
    world.server.from(1490.0, Down);
    world.server.from(1560.0, Fine);
    assert_smooth(&run_until(&mut world, 2000.0, 2..30), 2.0);
}

#[test]
fn outage_within_the_window_is_not_noticed() {
    for behaviour in [Down, Throttling(Some(1.0)), Throttling(Some(0.0)), WebPage] {
        let mut world = crowded_world(8, 1800.0);
        world.server.from(1480.0, behaviour);
        world.server.from(1780.0, Fine);
        run_until(&mut world, 1400.0, 1..2);
        assert_smooth(&run_until(&mut world, 2300.0, 2..35), 1.6);
    }
}

#[test]
fn silent_server_stalls_callers_only_briefly() {
    let mut world = crowded_world(9, 1800.0);
    world.server.from(1480.0, Silent);
    run_until(&mut world, 1400.0, 1..2);
    assert_smooth(&run_until(&mut world, 1769.0, 2..20), 3.0);
    let tally = run_until(&mut world, 1798.0, 1..5);
    assert_eq!(tally.errors, 0);
    assert!(tally.longest_with_token <= 10.1, "{tally:?}");
}

#[test]
fn long_outage_is_probed_slowly() {
    let behaviours = [(Down, 20..45), (Throttling(Some(300.0)), 2..9), (WebPage, 20..45)];
    for (behaviour, requests) in behaviours.into_iter().chain([(Denying, 5..14), (Silent, 10..32)])
    {
        let mut world = crowded_world(10, 1800.0);
        world.server.from(1480.0, behaviour);
        run_until(&mut world, 1400.0, 1..2);
        run_until(&mut world, 1900.0, requests);
        world.server_becomes(Fine);
        run_until(&mut world, 1980.0, 1..3);
        assert_smooth(&run_until(&mut world, 2300.0, 0..1), 0.0);
    }
}

#[test]
fn impatient_callers_survive_a_silent_server() {
    let mut world = World::seeded(11).with_exchange_time(0.15);
    world.crowd(16, 0.2, 1.5);
    world.server.from(1480.0, Silent);
    run_until(&mut world, 1400.0, 1..2);
    assert_smooth(&run_until(&mut world, 1798.0, 10..50), 1.5);
    run_until(&mut world, 1900.0, 5..20);
    world.server_becomes(Fine);
    run_until(&mut world, 1912.0, 1..3);
    assert_smooth(&run_until(&mut world, 2300.0, 0..1), 0.0);
}

#[test]
fn long_outage_without_a_token_causes_few_requests() {
    let behaviours = [(Down, 300..400), (WebPage, 300..400), (Throttling(Some(0.0)), 300..400)];
    for (behaviour, requests) in
        behaviours.into_iter().chain([(Denying, 55..70), (Silent, 60..130)])
    {
        let mut world = World::seeded(12).with_exchange_time(0.15);
        world.crowd(8, 1.0, 30.0);
        world.server_becomes(behaviour);
        let tally = run_until(&mut world, 3600.0, requests);
        assert!(tally.longest < 30.01, "{tally:?}");
    }
}

#[test]
fn flapping_server_is_not_noticed() {
    let mut world = crowded_world(13, 60.0);
    for minute in 0..60 {
        let behaviour = if minute % 2 == 1 { Down } else { Fine };
        world.server.from(f64::from(minute) * 10.0, behaviour);
    }
    assert_smooth(&run_until(&mut world, 600.0, 10..50), 2.0);
}

#[test]
fn cold_start_in_an_outage_recovers_soon() {
    for outage in [3.0, 5.0, 10.0] {
        let mut world = crowded_world(14, 1800.0);
        world.server_becomes(Down).server.from(outage, Fine);
        run_until(&mut world, outage, 3..8);
        run_until(&mut world, outage + 12.5, 1..2);
        assert_smooth(&run_until(&mut world, 60.0, 0..1), 0.0);
    }
}

#[test]
fn cold_start_with_lost_packets_takes_two_attempts() {
    let mut world = crowded_world(15, 1800.0);
    world.server_becomes(Silent).server.from(3.0, Fine);
    let tally = run_until(&mut world, 60.0, 2..3);
    assert_eq!(tally.errors, 0);
    assert_within(tally.longest, 10.0..10.7);
}

#[test]
fn long_retry_after_is_cut_at_a_cold_start() {
    let mut world = crowded_world(16, 1800.0);
    world.server_becomes(Throttling(Some(300.0))).server.from(5.0, Fine);
    run_until(&mut world, 59.0, 1..2);
    run_until(&mut world, 73.0, 1..2);
    assert_smooth(&run_until(&mut world, 100.0, 0..1), 0.0);
}

#[test]
fn wrong_secret_causes_few_requests() {
    let mut world = crowded_world(17, 1800.0);
    run_until(&mut world, 1000.0, 1..2);
    world.server_becomes(Denying);
    assert_smooth(&run_until(&mut world, 1740.0, 4..12), 0.3);
}

#[test]
fn clock_jumps_cost_at_most_one_exchange() {
    for (offset, requests) in [(3600, 1..2), (-3600, 0..1)] {
        let mut world = crowded_world(18, 1800.0);
        world.crowds[0].sleeps_while_fresh = false;
        run_until(&mut world, 100.0, 1..2);
        world.shift_wall_clock(offset);
        assert_smooth(&run_until(&mut world, 110.0, requests), 0.3);
    }
}

#[test]
fn clock_jump_in_an_outage_causes_no_error() {
    let mut world = crowded_world(19, 1800.0);
    run_until(&mut world, 400.0, 1..2);
    world.crowds[0].sleeps_while_fresh = false;
    world.server_becomes(Down).join(0, 0, 0.1);
    world.shift_wall_clock(3600);
    assert_smooth(&run_until(&mut world, 460.0, 5..15), 2.0);
}

#[test]
fn rejecting_every_token_causes_few_requests() {
    for reuses_token in [false, true] {
        let mut world = World::seeded(20).with_exchange_time(0.15);
        world.server.reuses_token = reuses_token;
        let crowd = world.crowd(8, 0.5, 30.0);
        world.crowds[crowd].sleeps_while_fresh = false;
        run_until(&mut world, 20.0, 1..2);
        let before = world.server.requests.len();
        for tenth in 0..5800 {
            let call = world.at(20.0 + f64::from(tenth) / 10.0).start(0.0);
            let token = world.ended(call).expect("no waiting").answer.clone();
            world.reject(world::number(&token.expect("a token")));
        }
        assert_smooth(&tally(&world), 1.3);
        assert_within((world.server.requests.len() - before) as f64, 10.0..20.0);
    }
}

#[test]
fn revoked_token_is_replaced_once_it_is_rejected() {
    let mut world = crowded_world(21, 1800.0);
    world.crowds[0].sleeps_while_fresh = false;
    run_until(&mut world, 50.0, 1..2);
    world.server.set_expiry(1, 50.0);
    let tally = run_until(&mut world, 60.0, 1..2);
    assert!(tally.errors == 0 && tally.expired <= 17, "{tally:?}");
}

/// Callers with a timeout of 50 ms, and 8 callers each with 1.5 s and with 30 s.
fn mixed(life: f64, exchange_time: f64, impatient: usize) -> World {
    let mut world = World::seeded(22).with_life(life).with_exchange_time(exchange_time);
    world.crowd(impatient, 0.1, 0.05);
    world.crowd(8, 0.3, 1.5);
    world.crowd(8, 1.0, 30.0);
    world
}

#[test]
fn impatient_callers_do_not_harm_patient_ones() {
    for (exchange_time, impatient) in [(0.2, 8), (0.4, 8), (1.0, 8), (0.4, 64)] {
        let mut world = mixed(60.0, exchange_time, impatient);
        // The cold start is not counted.
        run_until(&mut world, 5.0, 1..5);
        run_until(&mut world, 600.0, 9..25);
        for crowd in &world.crowds[1..] {
            assert_eq!(crowd.tally.errors, 0);
            assert!(crowd.tally.longest <= 1.4 * exchange_time + 1.1, "{:?}", crowd.tally);
        }
        assert_eq!(tally(&world).errors, 0);
    }
}

#[test]
fn cold_start_with_impatient_callers_is_short() {
    let mut world = mixed(1800.0, 0.4, 64);
    run_until(&mut world, 60.0, 2..4);
    for crowd in &world.crowds[1..] {
        assert!(crowd.tally.errors == 0 && crowd.tally.longest < 1.8, "{:?}", crowd.tally);
    }
}

#[test]
fn callers_that_all_lack_time_make_few_requests() {
    let mut world = World::seeded(23).with_exchange_time(0.4);
    world.crowd(16, 0.1, 0.05);
    let tally = run_until(&mut world, 120.0, 8..25);
    assert_eq!(tally.calls, tally.errors);
}

#[test]
fn slow_server_gets_one_request_each_lifetime() {
    for (exchange_time, life, requests) in
        [(2.0, 1800.0, 4..7), (4.0, 1800.0, 4..7), (5.0, 1800.0, 4..7), (2.0, 60.0, 90..200)]
    {
        let mut world = crowded_world(24, life).with_exchange_time(exchange_time);
        let tally = run_until(&mut world, 7200.0, requests);
        assert_eq!((tally.errors, tally.expired), (0, 0), "{tally:?}");
        assert!(tally.longest_with_token <= 1.4 * exchange_time, "{tally:?}");
    }
}

#[test]
fn very_slow_server_is_waited_for() {
    for (callers, requests, errors) in [(1, 10..60, 10), (16, 20..80, 250)] {
        let mut world = World::seeded(25);
        world.crowd(callers, 1.0, 30.0);
        world.server_becomes(Slow(20.0));
        let tally = run_until(&mut world, 7200.0, requests);
        assert_eq!(tally.expired, 0);
        assert!(tally.longest < 30.01 && tally.errors <= errors, "{tally:?}");
    }
}

#[test]
fn server_that_becomes_slow_is_given_time() {
    let mut world = crowded_world(26, 1800.0);
    world.server.from(1000.0, Slow(4.0));
    let tally = run_until(&mut world, 7200.0, 5..25);
    assert_eq!((tally.errors, tally.expired), (0, 0));
    assert!(tally.longest_with_token <= 4.5, "{tally:?}");
}

/// Clients of one server that hands out the same token again; each client has one caller.
fn fleet(clients: usize) -> World {
    let mut world = World::seeded(27).with_token_reuse().with_exchange_time(0.15);
    for client in 0..clients {
        if client > 0 {
            world.add_client();
        }
        let crowd = world.crowd_of(client, 0, 0.3, 30.0);
        world.join(crowd, client, 120.0);
    }
    run_until(&mut world, 1400.0, clients..clients + 1);
    world
}

#[track_caller]
fn most_requests_in_a_second(world: &World, since: f64) -> usize {
    let mut seconds = std::collections::BTreeMap::new();
    for request in world.server.requests.iter().filter(|request| request.at >= since) {
        *seconds.entry(request.at as u64).or_insert(0) += 1;
    }
    seconds.values().copied().max().unwrap_or(0)
}

#[test]
fn fleet_makes_few_requests_each_lifetime() {
    let clients = 1000;
    let mut world = fleet(clients);
    let tally = run_until(&mut world, 2140.0, 2 * clients..7 * clients / 2);
    assert_smooth(&tally, 2.9);
    assert!(most_requests_in_a_second(&world, 1400.0) < 3 * clients / 2);
}

#[test]
fn fleet_backs_off_and_spreads_its_requests() {
    let clients = 300;
    let mut world = fleet(clients);
    world.server.from(1700.0, Down);
    run_until(&mut world, 1760.0, clients..5 * clients);
    run_until(&mut world, 1798.0, 0..10 * clients);
    run_until(&mut world, 2000.0, 15 * clients..30 * clients);
    assert!(most_requests_in_a_second(&world, 1830.0) < clients / 2);
    world.server_becomes(Fine);
    run_until(&mut world, 2013.0, clients..clients + 1);
    assert_smooth(&run_until(&mut world, 2100.0, 0..1), 0.0);
}
