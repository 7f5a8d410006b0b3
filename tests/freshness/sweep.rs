//! A caller that asks while the token is usable gets a token soon, whatever the server does. The
//! tests go through many lives, margins, exchange times, and times of the call.

use super::*;

const BEHAVIOURS: [Behaviour; 9] = [
    Silent,
    Down,
    Slow(2.9),
    Slow(9.0),
    Throttling(Some(20.0)),
    Denying,
    WebPage,
    NoSecretFile,
    Panicking,
];

/// A client with a token of this life, and the time at which the token stops being usable.
fn client(life: f64, margin: Option<f64>, exchange_time: f64, random: f64) -> (World, f64) {
    let mut world = World::new();
    if let Some(margin) = margin {
        world = world.with_margin(margin);
    }
    let world = world.with_random(random).with_life(life);
    let mut world = world.with_exchange_time(exchange_time).with_token();
    let now = world.now();
    let left = world.state().cached().and_then(|cached| cached.usable_for(now)).expect("usable");
    let end = world.time() + left.as_secs_f64();
    (world, end)
}

#[test]
fn caller_always_gets_a_usable_token_in_time() {
    let lives = [2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 45.0, 70.0, 150.0, 600.0, 1800.0, 86_400.0];
    let margins = [None, Some(0.0), Some(0.3), Some(2.0), Some(30.0), Some(1e5)];
    let exchange_time = [0.01, 0.3, 1.0, 2.0, 5.0];
    for (life, exchange_time) in
        lives.iter().flat_map(|life| exchange_time.map(|exchange_time| (*life, exchange_time)))
    {
        if exchange_time > life / 2.5 {
            continue;
        }
        for (margin, behaviour) in
            margins.iter().flat_map(|margin| BEHAVIOURS.map(|behaviour| (*margin, behaviour)))
        {
            let (_, end) = client(life, margin, exchange_time, 0.5);
            for before in [0.02, 0.1, 0.25, 0.6, 1.0, 1.5, 3.0, 7.0, 12.0] {
                let (mut world, _) = client(life, margin, exchange_time, 0.5);
                if end - before <= world.time() {
                    continue;
                }
                let call = world.server_becomes(behaviour).at(end - before).call(30.0);
                let (took, longest) =
                    (call.ended - call.began, (2.0 * exchange_time).clamp(3.0, 10.0));
                let case = format!(
                    "life {life}, margin {margin:?}, exchange {exchange_time}, {behaviour:?}, {before}"
                );
                assert!(call.answer.is_ok(), "{case}: {:?}", call.answer);
                assert!(took <= longest + 1e-6, "{case}: {took} s");
            }
        }
    }
}

#[test]
fn many_callers_all_get_the_usable_token() {
    for life in [2.0, 4.0, 12.0, 45.0, 70.0] {
        let margins = [None, Some(0.0), Some(1.0)];
        for (margin, behaviour) in
            margins.iter().flat_map(|margin| BEHAVIOURS.map(|behaviour| (*margin, behaviour)))
        {
            let (mut world, end) = client(life, margin, 0.1, 1.0);
            world.server_becomes(behaviour);
            let mut calls = Vec::new();
            while world.time() < end - 0.03 {
                calls.push(world.start(30.0));
                let next = world.time() + 0.05;
                world.at(next);
            }
            for call in world.finish_all(&calls) {
                assert!(call.answer.is_ok(), "life {life}, margin {margin:?}: {call:?}");
                assert!(call.ended - call.began <= 3.0 + 1e-6, "{call:?}");
            }
        }
    }
}

#[test]
fn proactive_request_ends_before_the_token_expires() {
    for (life, margin, exchange_time) in
        [(12.0, None, 0.1), (1800.0, Some(0.0), 0.1), (60.0, None, 4.0)]
    {
        let (mut world, end) = client(life, margin, exchange_time, 1.0);
        let expired = life - f64::min(1.0, life / 20.0);
        world.server_becomes(Silent).at(end - 1.5).call(30.0).got(1);
        let request = world.server.requests[1];
        assert!(request.at + request.timeout <= expired - 0.09, "{request:?} {expired}");
    }
}
