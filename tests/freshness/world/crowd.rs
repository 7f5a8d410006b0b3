//! Crowds of callers, who call, use what they got, and think.

use std::sync::Arc;
use std::time::Duration;

use super::{BOOT, Call, Doing, World, number, seconds};
use crate::token::Token;

/// Callers that call, use what they got, and think.
pub struct Crowd {
    think: f64,
    time: f64,
    /// Sleep while the token is fresh.
    pub sleeps: bool,
    pub tally: Tally,
}

#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub calls: usize,
    pub errors: usize,
    /// Calls of more than half a second.
    pub stalls: usize,
    pub longest: f64,
    /// The longest of those that began while the server's token was alive.
    pub longest_with_token: f64,
    /// Tokens that the server knew no more when they were used.
    pub expired: usize,
}

impl World {
    /// Callers of client 0 from now on.
    pub fn crowd(&mut self, count: usize, think: f64, time: f64) -> usize {
        let client = 0;
        self.crowd_of(client, count, think, time)
    }

    pub fn crowd_of(&mut self, client: usize, count: usize, think: f64, time: f64) -> usize {
        self.crowds.push(Crowd { think, time, sleeps: true, tally: Tally::default() });
        let crowd = self.crowds.len() - 1;
        for _ in 0..count {
            self.join(crowd, client, think);
        }
        crowd
    }

    /// One more of that crowd, who first calls within so many seconds.
    pub fn join(&mut self, crowd: usize, client: usize, within: f64) {
        let actor = self.add_actor(client, Some(crowd));
        self.actors[actor].doing = Doing::Thinking;
        let pause = self.roll(0.0, within);
        self.later(actor, seconds(pause));
    }

    pub fn disperse(&mut self) {
        for actor in 0..self.actors.len() {
            self.actors[actor].crowd = None;
            if matches!(self.actors[actor].doing, Doing::Thinking | Doing::Using(_)) {
                self.abandons(actor);
            }
        }
    }

    pub fn forget_tallies(&mut self) {
        self.crowds.iter_mut().for_each(|crowd| crowd.tally = Tally::default());
    }

    fn roll(&mut self, least: f64, most: f64) -> f64 {
        self.rng.as_mut().expect("crowds need a seeded world").between(least, most)
    }

    pub fn count(&mut self, id: usize, crowd: usize, call: Call) {
        let tally = &mut self.crowds[crowd].tally;
        let took = call.ended - call.began;
        tally.calls += 1;
        tally.errors += usize::from(call.answer.is_err());
        tally.stalls += usize::from(took > 0.5);
        tally.longest = tally.longest.max(took);
        if self.actors[id].had_token {
            tally.longest_with_token = tally.longest_with_token.max(took);
        }
        match call.answer {
            Ok(token) => {
                self.actors[id].doing = Doing::Using(token);
                let pause = self.roll(0.02, 0.4);
                self.later(id, seconds(pause));
            }
            Err(_) => self.think(id, crowd, Duration::ZERO),
        }
    }

    /// Uses a token at the management API, which does not accept a dead one.
    pub fn try_out(&mut self, id: usize, token: &Arc<Token>) {
        let Some(crowd) = self.actors[id].crowd else { return };
        let now = self.now();
        let state = &mut self.clients[self.actors[id].client].state;
        let fresh = state.fresh_for(now, token);
        if !self.server.is_alive(number(token), (now.boot - BOOT).as_secs_f64()) {
            state.reject(now, token.access_token());
            self.crowds[crowd].tally.expired += 1;
        }
        self.think(id, crowd, fresh);
    }

    pub fn call_again(&mut self, id: usize) {
        if let Some(crowd) = self.actors[id].crowd {
            self.begin(id, self.crowds[crowd].time);
        }
    }

    fn think(&mut self, id: usize, crowd: usize, fresh: Duration) {
        let Crowd { think, sleeps, .. } = self.crowds[crowd];
        let pause = self.rng.as_mut().expect("crowds need a seeded world").pause(think);
        let asleep = if sleeps { fresh.as_secs_f64() - think } else { 0.0 };
        self.actors[id].doing = Doing::Thinking;
        self.later(id, seconds(pause.max(asleep)));
    }
}
