//! Thousands of random stories. What must hold is in `law` and in `world`.

use super::rng::Rng;
use super::*;

/// Names the story that failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the story of seed {}", self.0);
        }
    }
}

fn behaviour(rng: &mut Rng) -> Behaviour {
    let late = rng.between(0.5, 25.0);
    let advised = rng.one_of(&[0.0, 1.0, 5.0, 40.0, 300.0, 86_400.0]);
    let behaviours = [
        Fine,
        Slow(late),
        Down,
        DownFor(advised),
        Silent,
        Throttling(None),
        Throttling(Some(advised)),
        Denying,
        WebPage,
        Untrusted,
        WithoutSecretFile,
        Panicking,
        Misused,
    ];
    let stuck = [Stuck(late), StuckAndDown(late), Stuck(4.0 * late)];
    match rng.random() {
        random if random < 0.3 => Fine,
        random if random < 0.35 => rng.one_of(&stuck),
        _ => rng.one_of(&behaviours),
    }
}

fn event(world: &mut World, rng: &mut Rng) {
    match rng.next() % 16 {
        0 => _ = world.suspends(rng.one_of(&[0.5, 10.0, 100.0, 4000.0])),
        1 => _ = world.sets_wall_clock(rng.one_of(&[-3600, -20, 20, 400, 3600])),
        2 | 3 => {
            if let Some(token) = world.cached(0) {
                world.rejects(token);
            }
        }
        4 => _ = world.changes_secret(),
        5 => _ = world.changes_secret_file(),
        _ => _ = world.becomes(behaviour(rng)),
    }
}

fn begin(rng: &mut Rng, seed: u64) -> World {
    let life = rng.one_of(&[0.0, 1.0, 2.0, 5.0, 10.0, 60.0, 300.0, 1800.0]);
    let takes = rng.one_of(&[0.01, 0.1, 0.3, 1.0, 4.0]);
    let mut world = World::seeded(seed).of_life(life).that_takes(takes);
    world.server.keeps_token = rng.random() < 0.5;
    if rng.random() < 0.3 {
        world = world.with_margin(rng.one_of(&[0.0, 1.0, 30.0, 300.0]));
    }
    for _ in 0..1 + rng.next() % 4 {
        let time = rng.one_of(&[0.0, 0.05, 0.3, 1.5, 4.0, 5.0, 12.0, 30.0]);
        let count = 1 + rng.next() % 5;
        let think = rng.one_of(&[0.1, 0.5, 3.0]);
        let crowd = world.crowd(count as usize, think, time);
        world.crowds[crowd].sleeps = rng.random() < 0.8;
    }
    world
}

/// A server that is well again serves everybody soon.
fn recovers(world: &mut World) {
    world.disperse();
    world.becomes(Fine);
    (world.server.life, world.server.takes) = (1800.0, 0.1);
    let patience = world.time() + 150.0;
    while world.call(30.0).answer.is_err() {
        assert!(world.time() < patience, "no token from a server that is well");
        let time = world.time();
        world.at(time + 1.0);
    }
}

fn random_run(seed: u64, events: u32, mean: f64) {
    let _seed = Seed(seed);
    let mut rng = Rng(!seed);
    let mut world = begin(&mut rng, seed);
    for _ in 0..events {
        let time = world.time();
        world.at(time + rng.pause(mean));
        event(&mut world, &mut rng);
    }
    recovers(&mut world);
}

#[test]
fn invariants_hold_in_fast_random_runs() {
    (0..3000).for_each(|seed| random_run(seed, 30, 1.5));
}

#[test]
fn invariants_hold_in_slow_random_runs() {
    (10_000..10_200).for_each(|seed| random_run(seed, 30, 30.0));
}
