//! Thousands of random stories. What must hold is in `law` and in `world`.

use super::dice::Dice;
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

fn mood(dice: &mut Dice) -> Mood {
    let late = dice.between(0.5, 25.0);
    let advised = dice.one_of(&[0.0, 1.0, 5.0, 40.0, 300.0, 86_400.0]);
    let moods = [
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
    match dice.chance() {
        chance if chance < 0.3 => Fine,
        chance if chance < 0.35 => dice.one_of(&stuck),
        _ => dice.one_of(&moods),
    }
}

fn event(world: &mut World, dice: &mut Dice) {
    match dice.next() % 16 {
        0 => _ = world.suspends(dice.one_of(&[0.5, 10.0, 100.0, 4000.0])),
        1 => _ = world.sets_wall_clock(dice.one_of(&[-3600, -20, 20, 400, 3600])),
        2 | 3 => {
            if let Some(token) = world.held(0) {
                world.rejects(token);
            }
        }
        4 => _ = world.changes_secret(),
        5 => _ = world.changes_secret_file(),
        _ => _ = world.becomes(mood(dice)),
    }
}

fn begin(dice: &mut Dice, seed: u64) -> World {
    let life = dice.one_of(&[0.0, 1.0, 2.0, 5.0, 10.0, 60.0, 300.0, 1800.0]);
    let takes = dice.one_of(&[0.01, 0.1, 0.3, 1.0, 4.0]);
    let mut world = World::seeded(seed).of_life(life).that_takes(takes);
    world.server.keeps_token = dice.chance() < 0.5;
    if dice.chance() < 0.3 {
        world = world.with_margin(dice.one_of(&[0.0, 1.0, 30.0, 300.0]));
    }
    for _ in 0..1 + dice.next() % 4 {
        let time = dice.one_of(&[0.0, 0.05, 0.3, 1.5, 4.0, 5.0, 12.0, 30.0]);
        let count = 1 + dice.next() % 5;
        let think = dice.one_of(&[0.1, 0.5, 3.0]);
        let crowd = world.crowd(count as usize, think, time);
        world.crowds[crowd].sleeps = dice.chance() < 0.8;
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

fn story(seed: u64, events: u32, mean: f64) {
    let _seed = Seed(seed);
    let mut dice = Dice(!seed);
    let mut world = begin(&mut dice, seed);
    for _ in 0..events {
        let time = world.time();
        world.at(time + dice.pause(mean));
        event(&mut world, &mut dice);
    }
    recovers(&mut world);
}

#[test]
fn nothing_breaks_the_law_in_quick_stories() {
    (0..3000).for_each(|seed| story(seed, 30, 1.5));
}

#[test]
fn nothing_breaks_the_law_in_slow_stories() {
    (10_000..10_200).for_each(|seed| story(seed, 30, 30.0));
}
