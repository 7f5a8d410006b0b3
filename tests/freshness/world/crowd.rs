//! Crowds: callers that call, use the token, pause, and call again, and a tally of their calls.

use std::sync::Arc;
use std::time::Duration;

use super::{BOOT, Call, Doing, World, number, seconds};
use crate::token::Token;

/// Callers that call, use the token, pause, and call again.
pub struct Crowd {
    /// Mean pause between two calls, in seconds.
    think: f64,
    timeout: f64,
    /// They make no calls while the token is fresh: those are trivial, and the test gets faster.
    pub sleeps_while_fresh: bool,
    pub tally: Tally,
}

#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub calls: usize,
    pub errors: usize,
    /// Calls that took more than 0.5 s.
    pub stalls: usize,
    /// The longest call, in seconds.
    pub longest: f64,
    /// The longest call that began while the client's token was valid at the server.
    pub longest_with_token: f64,
    /// Tokens that were no longer valid when they were used at the API.
    pub expired: usize,
}

impl World {
    /// Adds `count` callers of client 0, with a mean pause of `think` seconds and this timeout.
    pub fn crowd(&mut self, count: usize, think: f64, timeout: f64) -> usize {
        let client = 0;
        self.crowd_of(client, count, think, timeout)
    }

    pub fn crowd_of(&mut self, client: usize, count: usize, think: f64, timeout: f64) -> usize {
        self.crowds.push(Crowd {
            think,
            timeout,
            sleeps_while_fresh: true,
            tally: Tally::default(),
        });
        let crowd = self.crowds.len() - 1;
        for _ in 0..count {
            self.join(crowd, client, think);
        }
        crowd
    }

    /// Adds a caller to this crowd, which makes its first call within this many seconds.
    pub fn join(&mut self, crowd: usize, client: usize, within: f64) {
        let actor = self.add_actor(client, Some(crowd));
        self.actors[actor].doing = Doing::Thinking;
        let pause = self.random_between(0.0, within);
        self.later(actor, seconds(pause));
    }

    /// Calls under way still end; no member of a crowd makes another.
    pub fn end_crowds(&mut self) {
        for actor in 0..self.actors.len() {
            self.actors[actor].crowd = None;
            if matches!(self.actors[actor].doing, Doing::Thinking | Doing::Using(_)) {
                self.abandon(actor);
            }
        }
    }

    pub fn reset_tallies(&mut self) {
        self.crowds.iter_mut().for_each(|crowd| crowd.tally = Tally::default());
    }

    fn random_between(&mut self, least: f64, most: f64) -> f64 {
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
                let pause = self.random_between(0.02, 0.4);
                self.later(id, seconds(pause));
            }
            Err(_) => self.think(id, crowd, Duration::ZERO),
        }
    }

    /// Uses a token at the API. An expired one is rejected, and the client is told.
    pub fn use_token(&mut self, id: usize, token: &Arc<Token>) {
        let Some(crowd) = self.actors[id].crowd else { return };
        let now = self.now();
        let state = &mut self.clients[self.actors[id].client].state;
        let fresh = state.fresh_for(now, token);
        if !self.server.accepts(number(token), (now.boot - BOOT).as_secs_f64()) {
            state.reject(now, token.access_token());
            self.crowds[crowd].tally.expired += 1;
        }
        self.think(id, crowd, fresh);
    }

    pub fn call_again(&mut self, id: usize) {
        if let Some(crowd) = self.actors[id].crowd {
            self.begin(id, self.crowds[crowd].timeout);
        }
    }

    fn think(&mut self, id: usize, crowd: usize, fresh: Duration) {
        let Crowd { think, sleeps_while_fresh, .. } = self.crowds[crowd];
        let pause = self.rng.as_mut().expect("crowds need a seeded world").pause(think);
        let asleep = if sleeps_while_fresh { fresh.as_secs_f64() - think } else { 0.0 };
        self.actors[id].doing = Doing::Thinking;
        self.later(id, seconds(pause.max(asleep)));
    }
}
