//! Processes with a shared store, as one client: one request for each renewal, backoff and denial.

use super::random_runs::PrintSeed;
use super::rng::Rng;
use super::world::number;
use super::*;

/// So many clients with one store, which they look into every 20 ms. Each call of the crowds comes
/// about every 5 s.
fn fleet(clients: usize, life: f64) -> World {
    fleet_of(World::seeded(1).with_life(life), 1, clients)
}

fn fleet_of(mut world: World, hosts: usize, clients: usize) -> World {
    for _ in 0..hosts {
        world.add_clients_with_store(clients, 0.02);
    }
    for client in 1..=hosts * clients {
        world.crowd_of(client, 1, 5.0, 30.0);
    }
    world
}

fn errors(world: &World) -> usize {
    world.crowds.iter().map(|crowd| crowd.tally.errors).sum()
}

fn longest(world: &World) -> f64 {
    world.crowds.iter().map(|crowd| crowd.tally.longest).fold(0.0, f64::max)
}

#[test]
fn one_request_for_each_life() {
    let mut world = fleet(64, 600.0);
    world.at(10.0);
    assert_eq!(world.server.requests.len(), 1, "all start within 5 s");
    world.at(5.0 * 600.0);
    let requests = world.server.requests.len();
    assert!((5..=7).contains(&requests), "{requests} requests");
    assert_eq!(errors(&world), 0);
    assert!(longest(&world) < 0.3, "{}", longest(&world));
}

#[test]
fn repeating_server_gets_three_requests_for_each_life() {
    let mut world = fleet(16, 600.0);
    world.server.reuses_token = true;
    world.at(4.0 * 600.0);
    let requests = world.server.requests.len();
    // As of one process: one early, one just before the expiry and one after it.
    assert!((4..=3 * 4).contains(&requests), "{requests} requests");
    assert_eq!(errors(&world), 0);
}

#[test]
fn backoff_is_one_for_all() {
    let mut alone = World::seeded(1).with_life(600.0);
    alone.crowd(1, 0.5, 30.0);
    let mut together = fleet(64, 600.0);
    for world in [&mut alone, &mut together] {
        world.at(400.0).server_becomes(Down);
        world.at(590.0);
    }
    let (alone, requests) = (alone.server.requests.len(), together.server.requests.len());
    assert!(requests <= alone + 5, "{requests} requests of 64 processes, {alone} of one");
    assert_eq!(errors(&together), 0, "the token is still valid");
}

#[test]
fn denial_is_one_for_all() {
    let mut world = World::seeded(1);
    world.server_becomes(Denying);
    let mut world = fleet_of(world, 1, 64);
    world.at(4.0);
    assert_eq!(world.server.requests.len(), 1);
    assert!(errors(&world) > 30);
}

#[test]
fn store_that_is_down_costs_no_token() {
    let mut world = fleet(16, 600.0);
    world.at(400.0);
    world.stores[0].is_down = true;
    world.at(700.0);
    assert_eq!(errors(&world), 0);
    let requests = world.server.requests.len();
    assert!((16..=20).contains(&requests), "{requests} requests: one of each");
    world.stores[0].is_down = false;
    world.at(1300.0);
    let later = world.server.requests.len() - requests;
    assert!((1..=16).contains(&later), "{later} requests");
    world.at(1900.0);
    assert!(world.server.requests.len() - requests - later <= 3);
}

#[test]
fn hosts_with_stores_of_their_own_make_few_requests() {
    let mut world = World::seeded(1).with_life(1800.0);
    world.server.reuses_token = true;
    let mut world = fleet_of(world, 40, 16);
    world.at(10.0);
    let first = world.server.requests.len();
    assert!((40..=44).contains(&first), "{first} requests of 40 hosts at the start");
    world.at(1790.0);
    let whole_life = world.server.requests.len();
    assert!(whole_life <= 2 * 40 + 4, "{whole_life} requests of 40 hosts with 16 processes");
    assert_eq!(errors(&world), 0);
}

/// One life of a fleet whose server repeats its token: requests, the most of them in 0.1 s, and errors.
/// Each element of `stores` is the number of hosts that share one; none have a store if it is empty.
fn one_life(
    hosts: usize,
    processes: usize,
    stores: &[usize],
    away: Option<(f64, f64)>,
) -> [usize; 3] {
    let mut world = World::seeded(1).with_life(1800.0);
    world.server.reuses_token = true;
    match stores {
        [] => (0..hosts * processes).for_each(|_| world.add_client()),
        _ => stores.iter().for_each(|hosts| world.add_clients_with_store(hosts * processes, 0.05)),
    }
    for client in 1..=hosts * processes {
        world.crowd_of(client, 1, 30.0, 30.0);
    }
    // From the middle of one life to the middle of the next.
    world.at(900.0);
    let before = world.server.requests.len();
    if let Some((from, to)) = away {
        world.at(from).stores.iter_mut().for_each(|store| store.is_down = true);
        world.at(to).stores.iter_mut().for_each(|store| store.is_down = false);
    }
    world.at(2700.0);
    let times: Vec<f64> =
        world.server.requests[before..].iter().map(|request| request.at).collect();
    let within = |at: f64| times.iter().filter(|other| (at..at + 0.1).contains(*other)).count();
    let peak = times.iter().map(|at| within(*at)).max().unwrap_or_default();
    [times.len(), peak, errors(&world)]
}

/// Prints the table and the figure of `docs/store.md` for fewer machines, or for as many as `ONEACCESS_FLEET` says.
#[test]
fn fleet_makes_fewer_requests_with_a_store() {
    let hosts =
        std::env::var("ONEACCESS_FLEET").map_or(10, |hosts| hosts.parse().expect("a number"));
    let processes = if hosts == 10 { 8 } else { 64 };
    let each = vec![1; hosts];
    let rows = [
        ("no store", &[][..], None),
        ("a folder on each host", &each[..], None),
        ("one server", &[hosts][..], None),
        ("one server, away from 900 to 1400 s", &[hosts][..], Some((900.0, 1400.0))),
        ("one server, away from 1600 to 2200 s", &[hosts][..], Some((1600.0, 2200.0))),
    ];
    let counts = rows.map(|(name, stores, away)| {
        let [requests, peak, errors] = one_life(hosts, processes, stores, away);
        let bar = "#".repeat((10.0 * (requests as f64).log10()).round() as usize);
        println!("| {name} | {requests} | {peak} | {errors} |\n{name:38} {bar} {requests}");
        assert_eq!(errors, 0, "{name}");
        requests
    });
    assert!(counts[0] >= hosts * processes, "{counts:?}");
    assert!(counts[1] <= 4 * hosts && counts[2] <= 4 && counts[3] <= 4, "{counts:?}");
}

#[test]
fn fleet_with_one_server_is_one_client() {
    let [requests, _, errors] = one_life(20, 16, &[20], None);
    assert!((1..=4).contains(&requests), "{requests} requests");
    assert_eq!(errors, 0);
    let [requests, _, errors] = one_life(20, 16, &[20], Some((1600.0, 2200.0)));
    assert!(requests <= 20 * 16 * 3 + 4, "{requests} requests while the server is away");
    assert_eq!(errors, 0);
}

#[test]
fn killed_holder_costs_one_request() {
    let mut world = World::new();
    world.add_clients_with_store(8, 0.02);
    world.server.next([Silent]);
    let holder = world.start_for(1, 30.0);
    world.at(1.0).abandon(holder);
    let others: Vec<_> = (2..=8).map(|client| world.start_for(client, 30.0)).collect();
    for call in world.finish_all(&others) {
        // The lease of 3 s and 1 s more.
        call.got(1);
        assert_within(call.ended, 4.0..4.2);
    }
    assert_eq!(world.server.requests.len(), 2);
}

#[test]
fn half_of_the_time_is_kept_for_a_request() {
    let mut world = World::new();
    world.add_clients_with_store(2, 0.02);
    world.server.next([Silent]);
    let holder = world.start_for(1, 30.0);
    world.at(0.5).abandon(holder);
    let call = world.start_for(2, 1.0);
    world.finish(call).got(1).after(0.6);
}

#[test]
fn token_in_use_is_given_while_others_refresh() {
    let mut world = World::new();
    world.add_clients_with_store(2, 0.02);
    let call = world.start_for(1, 30.0);
    world.finish(call).got(1);
    let call = world.start_for(2, 30.0);
    world.finish(call).got(1).after(0.0);
    assert_eq!(world.server.requests.len(), 1);
    // Refresh-due for both: 1 makes the request, 2 goes on with its token.
    world.server.next([Slow(2.0)]);
    let first = world.at(1600.0).start_for(1, 30.0);
    let second = world.start_for(2, 30.0);
    world.finish(second).got(1).at_once();
    world.finish(first).got(2).after(2.0);
    let second = world.start_for(2, 30.0);
    world.finish(second).got(2).at_once();
    assert_eq!(world.server.requests.len(), 2);
}

#[test]
fn stale_token_is_given_after_three_seconds() {
    // The lease is 4 s.
    let mut world = World::new().with_exchange_time(1.0);
    world.add_clients_with_store(2, 0.02);
    for client in [1, 2] {
        let call = world.start_for(client, 30.0);
        world.finish(call).got(1);
    }
    world.server.next([Slow(9.0)]);
    let first = world.at(1780.0).start_for(1, 30.0);
    let second = world.start_for(2, 30.0);
    world.finish(second).got(1).after(3.0);
    world.finish(first).got(2).after(9.0);
}

#[test]
fn shared_denial_of_an_old_secret_does_not_count() {
    let mut world = World::new().with_exchange_time(1.0);
    world.add_clients_with_store(2, 0.02);
    world.server.next([Denying]);
    let first = world.start_for(1, 30.0);
    let second = world.at(0.5).start_for(2, 30.0);
    world.at(0.7).change_secret_of(2);
    world.finish(first).failed(ErrorKind::Denied);
    world.finish(second).got(1);
}

/// Each process makes a few calls of an API for which it lacks a permission, takes that for a rejected
/// token, and ends: as one process after another serves a web page.
#[test]
fn rejections_by_short_processes_are_spaced() {
    let mut world = World::new();
    world.add_clients_with_store(600, 0.02);
    for client in 1..=600 {
        let time = world.time().max(client as f64 * 0.2);
        let call = world.at(time).start_for(client, 30.0);
        let token = world.finish(call);
        world.reject_of(client, number(token.answer.as_ref().expect("a token")));
        let call = world.start_for(client, 30.0);
        assert!(world.finish(call).answer.is_ok());
    }
    // In 120 s, as of one process: after 0, 1, 3, 7, 15, 31, 63 s.
    assert!((7..=9).contains(&world.server.requests.len()), "{}", world.server.requests.len());
}

/// Whatever happens, the invariants hold for each client, and all recover.
fn random_run(seed: u64) {
    let mut rng = Rng(!seed);
    let life = rng.one_of(&[1.0, 5.0, 60.0, 1800.0]);
    let exchange_time = rng.one_of(&[0.01, 0.1, 1.0, 4.0]);
    let mut world = World::seeded(seed).with_life(life).with_exchange_time(exchange_time);
    world.server.reuses_token = rng.random() < 0.5;
    let clients = 2 + (rng.next() % 6) as usize;
    world.add_clients_with_store(clients, 0.02);
    for client in 1..=clients {
        let timeout = rng.one_of(&[0.05, 0.3, 1.5, 5.0, 12.0, 30.0]);
        world.crowd_of(client, 2, rng.one_of(&[0.1, 0.5, 3.0]), timeout);
    }
    for _ in 0..30 {
        let time = world.time();
        world.at(time + rng.pause(3.0));
        match rng.next() % 8 {
            0 => _ = world.suspend(rng.one_of(&[0.5, 10.0, 100.0, 4000.0])),
            1 => _ = world.shift_wall_clock(rng.one_of(&[-3600, -20, 20, 400, 3600])),
            2 => world.stores[0].is_down ^= true,
            _ => {
                let behaviours =
                    [Fine, Slow(2.0), Down, Silent, Throttling(Some(5.0)), Denying, WebPage];
                world.server_becomes(rng.one_of(&behaviours));
            }
        }
    }
    world.end_crowds();
    world.server_becomes(Fine);
    (world.server.life, world.server.exchange_time) = (1800.0, 0.1);
    for client in 1..=clients {
        let limit = world.time() + 150.0;
        loop {
            let call = world.start_for(client, 30.0);
            if world.finish(call).answer.is_ok() {
                break;
            }
            assert!(world.time() < limit, "no token from a healthy server");
            let time = world.time();
            world.at(time + 1.0);
        }
    }
}

#[test]
fn invariants_hold_in_random_runs_with_a_store() {
    (0..1000).for_each(|seed| {
        let _print_seed = PrintSeed(seed);
        random_run(seed);
    });
}
