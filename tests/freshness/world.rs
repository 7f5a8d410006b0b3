//! Two virtual clocks, a server, clients and their callers. Times are seconds since the world
//! began, by the clock that counts suspend.

mod callers;
mod crowd;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::assert_close;
use super::invariants::Invariants;
use super::rng::Rng;
use super::server::{Behaviour, Server};
use crate::cache::cached::CachedToken;
use crate::cache::policy::State;
use crate::os::Now;
use crate::token::Token;
pub use callers::Call;
use callers::{Actor, Doing};
pub use crowd::{Crowd, Tally};

const BOOT: Duration = Duration::from_secs(5_000);
const WALL: Duration = Duration::from_secs(1_800_000_000);

pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

pub struct World {
    pub server: Server,
    clients: Vec<Client>,
    actors: Vec<Actor>,
    pub crowds: Vec<Crowd>,
    agenda: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    /// Breaks ties on the agenda: in order, or at random.
    tie: u64,
    rng: Option<Rng>,
    /// The clock that does not count suspend.
    steady: Duration,
    suspended: Duration,
    wall_ahead: i64,
    expiry_margin: Option<Duration>,
}

struct Client {
    state: State,
    invariants: Invariants,
    secret_file_changed: bool,
    secret_checks: Vec<f64>,
}

impl World {
    /// With one client; half of every random range.
    pub fn new() -> World {
        let mut world = World {
            server: Server::new(),
            clients: Vec::new(),
            actors: Vec::new(),
            crowds: Vec::new(),
            agenda: BinaryHeap::new(),
            tie: 0,
            rng: None,
            steady: Duration::ZERO,
            suspended: Duration::ZERO,
            wall_ahead: 0,
            expiry_margin: None,
        };
        world.add_client();
        world
    }

    pub fn with_random(mut self, random: f64) -> World {
        self.state().random = Box::new(move || random);
        self
    }

    /// Set by the user.
    pub fn with_margin(mut self, margin: f64) -> World {
        self.expiry_margin = Some(seconds(margin));
        self.with_new_client()
    }

    /// Everything at random, the same again for the same seed.
    pub fn seeded(seed: u64) -> World {
        let mut world = World::new();
        let mut rng = Rng(seed);
        world.server.rng = Some(Rng(rng.next()));
        world.rng = Some(rng);
        world.with_new_client()
    }

    pub fn add_client(&mut self) {
        let own = self.rng.as_mut().map(|rng| Rng(rng.next()));
        let random: Box<dyn FnMut() -> f64 + Send> = match own {
            Some(mut rng) => Box::new(move || rng.random()),
            None => Box::new(|| 0.5),
        };
        self.clients.push(Client {
            state: State::new(self.expiry_margin, random, None),
            invariants: Invariants::default(),
            secret_file_changed: false,
            secret_checks: Vec::new(),
        });
    }

    fn with_new_client(mut self) -> World {
        self.clients.clear();
        self.add_client();
        self
    }

    pub fn of_life(mut self, life: f64) -> World {
        self.server.life = life;
        self
    }

    pub fn that_keeps_tokens(mut self) -> World {
        self.server.keeps_token = true;
        self
    }

    pub fn that_takes(mut self, takes: f64) -> World {
        self.server.takes = takes;
        self
    }

    /// Token 1 was asked for at 0.
    pub fn with_token(self) -> World {
        let mut world = self;
        world.call(30.0).got(1);
        world
    }

    pub fn now(&self) -> Now {
        let boot = BOOT + self.steady + self.suspended;
        let wall = WALL + self.steady + self.suspended;
        let proactive = Duration::from_secs(self.wall_ahead.unsigned_abs());
        Now { boot, wall: if self.wall_ahead < 0 { wall - proactive } else { wall + proactive } }
    }

    pub fn time(&self) -> f64 {
        (self.now().boot - BOOT).as_secs_f64()
    }

    pub fn state(&mut self) -> &mut State {
        &mut self.clients[0].state
    }

    pub fn becomes(&mut self, behaviour: Behaviour) -> &mut World {
        let now = self.time();
        self.server.from(now, behaviour);
        self
    }

    pub fn sets_wall_clock(&mut self, proactive: i64) -> &mut World {
        self.wall_ahead += proactive;
        self
    }

    pub fn suspends(&mut self, time: f64) -> &mut World {
        self.suspended += seconds(time);
        self
    }

    /// The client is the child of one that held this.
    pub fn inherits(&mut self, cached: CachedToken, random: f64) {
        (0..self.actors.len()).for_each(|actor| self.abandons(actor));
        let client = &mut self.clients[0];
        client.invariants = Invariants::default();
        client.invariants.inherits(&cached);
        client.state = State::new(None, Box::new(move || random), Some(cached));
    }

    /// Whether it made a difference.
    pub fn rejects(&mut self, token: usize) -> bool {
        let now = self.now();
        self.state().reject(now, &format!("token-{token}"))
    }

    pub fn changes_secret(&mut self) -> &mut World {
        self.clients[0].state.secret_changed();
        self.clients[0].invariants.secret_changes();
        self.wake(0);
        self
    }

    pub fn changes_secret_file(&mut self) -> &mut World {
        self.clients[0].secret_file_changed = true;
        self
    }

    pub fn secret_checks(&self) -> &[f64] {
        &self.clients[0].secret_checks
    }

    pub fn refresh_in(&mut self) -> f64 {
        let now = self.now();
        self.state().refresh_in(now).as_secs_f64()
    }

    pub fn cached(&self, client: usize) -> Option<usize> {
        self.clients[client].state.cached().map(|cached| number(&cached.token))
    }

    pub fn usable(&mut self) -> Option<usize> {
        let now = self.now();
        self.state().usable(now).map(|token| number(&token))
    }

    pub fn requests_since(&self, time: f64) -> usize {
        self.server.requests.iter().filter(|request| request.at >= time).count()
    }

    /// These are all the requests, and when each was sent.
    #[track_caller]
    pub fn asked_at(&self, times: &[f64]) {
        let found: Vec<f64> = self.server.requests.iter().map(|request| request.at).collect();
        assert_eq!(found.len(), times.len(), "requests at {found:?}");
        for (found, expected) in found.iter().zip(times) {
            assert_close(*found, *expected);
        }
    }

    /// Somebody with so much time calls every tenth of a second until then; from then on, when
    /// the requests were sent.
    pub fn called_until(&mut self, until: f64, time: f64) -> Vec<f64> {
        let start = self.time();
        let tenths = ((until - start) * 10.0).round() as u32;
        for tenth in 0..tenths {
            self.at(start + f64::from(tenth) / 10.0).start(time);
        }
        self.at(until);
        let sent = self.server.requests.iter().map(|request| request.at - start);
        sent.filter(|at| *at >= 0.0).collect()
    }

    /// Everything happens until then.
    pub fn at(&mut self, time: f64) -> &mut World {
        while self.next_within(time) {}
        self.steady = seconds(time) - self.suspended;
        self
    }

    /// One call from its start to its end.
    pub fn call(&mut self, time: f64) -> Call {
        let actor = self.start(time);
        self.finish(actor)
    }

    pub fn start(&mut self, time: f64) -> usize {
        self.start_at(0, time)
    }

    pub fn start_many(&mut self, count: usize, time: f64) -> Vec<usize> {
        (0..count).map(|_| self.start(time)).collect()
    }

    fn start_at(&mut self, client: usize, time: f64) -> usize {
        let actor = self.add_actor(client, None);
        self.begin(actor, time);
        let now = self.time();
        self.at(now);
        actor
    }

    pub fn ended(&self, actor: usize) -> Option<&Call> {
        self.actors[actor].call.as_ref()
    }

    pub fn finish(&mut self, actor: usize) -> Call {
        while self.actors[actor].call.is_none() {
            assert!(self.next_within(f64::MAX), "nobody is left who could end the call");
        }
        self.actors[actor].call.clone().expect("it ended")
    }

    pub fn finish_all(&mut self, actors: &[usize]) -> Vec<Call> {
        actors.iter().map(|actor| self.finish(*actor)).collect()
    }

    /// A thread that never runs again.
    pub fn abandons(&mut self, actor: usize) {
        self.actors[actor].doing = Doing::Nothing;
        self.actors[actor].due = Duration::MAX;
    }

    /// What closing the client does to the one who flies.
    pub fn gives_up(&mut self, actor: usize) {
        self.abandons(actor);
        let actor = &mut self.actors[actor];
        let client = &mut self.clients[actor.client];
        client.state.give_up(&mut actor.caller);
        client.invariants.gives_up();
    }

    fn later(&mut self, actor: usize, pause: Duration) {
        let due = self.steady + pause;
        self.actors[actor].due = due;
        self.tie = match &mut self.rng {
            Some(rng) => rng.next(),
            None => self.tie + 1,
        };
        self.agenda.push(Reverse((due, self.tie, actor)));
    }

    /// Whether there was something to do until then.
    fn next_within(&mut self, time: f64) -> bool {
        let Some(&Reverse((due, _, actor))) = self.agenda.peek() else { return false };
        if (due + self.suspended).as_secs_f64() > time {
            return false;
        }
        self.agenda.pop();
        if self.actors[actor].due == due {
            self.steady = self.steady.max(due);
            self.actors[actor].due = Duration::MAX;
            self.go_on(actor);
        }
        true
    }

    fn go_on(&mut self, actor: usize) {
        match std::mem::replace(&mut self.actors[actor].doing, Doing::Nothing) {
            Doing::Asking => self.ask(actor),
            Doing::Sending => self.send(actor),
            Doing::Listening { sent, time, answer } => self.hear(actor, sent, time, answer),
            Doing::Using(token) => self.try_out(actor, &token),
            Doing::Thinking => self.call_again(actor),
            Doing::Nothing => {}
        }
    }
}

pub fn number(token: &Token) -> usize {
    token.access_token().trim_start_matches("token-").parse().expect("the server numbers them")
}
