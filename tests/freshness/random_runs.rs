//! Thousands of random runs: random settings, callers, and changes of server and clocks. The
//! invariants must hold throughout, and afterwards a healthy server must serve everybody soon. A
//! failed run prints its seed: make it the only one in the range of its test, and the same events
//! happen again.

use super::rng::Rng;
use super::*;

/// Prints the seed of a run that fails.
pub struct PrintSeed(pub u64);

impl Drop for PrintSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the random run of seed {} failed", self.0);
        }
    }
}

fn random_behaviour(rng: &mut Rng) -> Behaviour {
    let late = rng.between(0.5, 25.0);
    let advised = rng.one_of(&[0.0, 1.0, 5.0, 40.0, 300.0, 86_400.0]);
    let behaviours = [
        Fine,
        Slow(late),
        Down,
        DownWithRetryAfter(advised),
        Silent,
        Throttling(None),
        Throttling(Some(advised)),
        Denying,
        WebPage,
        UntrustedCertificate,
        NoSecretFile,
        Panicking,
        InvalidArgument,
    ];
    let stuck = [Stuck(late), StuckAndDown(late), Stuck(4.0 * late)];
    match rng.random() {
        random if random < 0.3 => Fine,
        random if random < 0.35 => rng.one_of(&stuck),
        _ => rng.one_of(&behaviours),
    }
}

fn random_event(world: &mut World, rng: &mut Rng) {
    match rng.next() % 16 {
        0 => _ = world.suspend(rng.one_of(&[0.5, 10.0, 100.0, 4000.0])),
        1 => _ = world.shift_wall_clock(rng.one_of(&[-3600, -20, 20, 400, 3600])),
        2 | 3 => {
            if let Some(token) = world.cached(0) {
                world.reject(token);
            }
        }
        4 => _ = world.change_secret(),
        5 => _ = world.change_secret_file(),
        _ => _ = world.server_becomes(random_behaviour(rng)),
    }
}

fn random_world(rng: &mut Rng, seed: u64) -> World {
    let life = rng.one_of(&[0.0, 1.0, 2.0, 5.0, 10.0, 60.0, 300.0, 1800.0]);
    let exchange_time = rng.one_of(&[0.01, 0.1, 0.3, 1.0, 4.0]);
    let mut world = World::seeded(seed).with_life(life).with_exchange_time(exchange_time);
    world.server.reuses_token = rng.random() < 0.5;
    if rng.random() < 0.3 {
        world = world.with_margin(rng.one_of(&[0.0, 1.0, 30.0, 300.0]));
    }
    for _ in 0..1 + rng.next() % 4 {
        let timeout = rng.one_of(&[0.0, 0.05, 0.3, 1.5, 4.0, 5.0, 12.0, 30.0]);
        let count = 1 + rng.next() % 5;
        let think = rng.one_of(&[0.1, 0.5, 3.0]);
        let crowd = world.crowd(count as usize, think, timeout);
        world.crowds[crowd].sleeps_while_fresh = rng.random() < 0.8;
    }
    world
}

/// A server that is healthy again gives a token soon.
fn assert_recovers(world: &mut World) {
    world.end_crowds();
    world.server_becomes(Fine);
    (world.server.life, world.server.exchange_time) = (1800.0, 0.1);
    let limit = world.time() + 150.0;
    while world.call(30.0).answer.is_err() {
        assert!(world.time() < limit, "no token from a healthy server");
        let time = world.time();
        world.at(time + 1.0);
    }
}

fn random_run(seed: u64, events: u32, mean: f64) {
    let _print_seed = PrintSeed(seed);
    let mut rng = Rng(!seed);
    let mut world = random_world(&mut rng, seed);
    for _ in 0..events {
        let time = world.time();
        world.at(time + rng.pause(mean));
        random_event(&mut world, &mut rng);
    }
    assert_recovers(&mut world);
}

#[test]
fn invariants_hold_in_fast_random_runs() {
    (0..3000).for_each(|seed| random_run(seed, 30, 1.5));
}

#[test]
fn invariants_hold_in_slow_random_runs() {
    (10_000..10_200).for_each(|seed| random_run(seed, 30, 30.0));
}
