//! A virtual world: two clocks, a token endpoint, clients, and their callers. Nothing sleeps, so a
//! scenario of an hour runs in milliseconds. All times are seconds since the world began, on the
//! clock that counts suspend.

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
use crate::store::Entry;
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
    /// The actions to come: when each is due, a tie breaker, and the index of its actor.
    agenda: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    /// Orders actions that are due at the same time: as they were added, or at random.
    tie: u64,
    rng: Option<Rng>,
    /// The clock that does not count suspend.
    steady: Duration,
    suspended: Duration,
    wall_offset: i64,
    expiry_margin: Option<Duration>,
    pub stores: Vec<Store>,
}

/// A store that some clients share.
#[derive(Default)]
pub struct Store {
    entry: Option<Entry>,
    /// The actor that holds the lock, and the end of its lease.
    holder: Option<(usize, Duration)>,
    /// How long a client waits before it looks again.
    poll: Duration,
    pub is_down: bool,
}

struct Client {
    state: State,
    actors: Vec<usize>,
    store: Option<usize>,
    invariants: Invariants,
    secret_file_changed: bool,
    secret_checks: Vec<f64>,
}

impl World {
    /// A world with one client, whose random factors are all in the middle of their ranges.
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
            wall_offset: 0,
            expiry_margin: None,
            stores: Vec::new(),
        };
        world.add_client();
        world
    }

    /// Every random factor of the client is this far into its range: 0 is the start, 1 the end.
    pub fn with_random(mut self, random: f64) -> World {
        self.state().random = Box::new(move || random);
        self
    }

    /// The user has set an expiry margin of `margin` seconds. Replaces the client.
    pub fn with_margin(mut self, margin: f64) -> World {
        self.expiry_margin = Some(seconds(margin));
        self.with_new_client()
    }

    /// A world in which everything is random. The same seed gives the same events.
    pub fn seeded(seed: u64) -> World {
        let mut world = World::new();
        let mut rng = Rng(seed);
        world.server.rng = Some(Rng(rng.next()));
        world.rng = Some(rng);
        world.with_new_client()
    }

    pub fn add_client(&mut self) {
        let client_rng = self.rng.as_mut().map(|rng| Rng(rng.next()));
        let random: Box<dyn FnMut() -> f64 + Send> = match client_rng {
            Some(mut rng) => Box::new(move || rng.random()),
            None => Box::new(|| 0.5),
        };
        self.clients.push(Client {
            state: State::new(self.expiry_margin, random, None),
            actors: Vec::new(),
            store: None,
            invariants: Invariants::default(),
            secret_file_changed: false,
            secret_checks: Vec::new(),
        });
    }

    /// Adds clients that share a store, of which they look into it every `poll` seconds.
    pub fn add_clients_with_store(&mut self, clients: usize, poll: f64) {
        for _ in 0..clients {
            self.add_client();
            self.clients.last_mut().expect("just added").store = Some(self.stores.len());
        }
        self.stores.push(Store { poll: seconds(poll), ..Store::default() });
    }

    fn with_new_client(mut self) -> World {
        self.clients.clear();
        self.add_client();
        self
    }

    /// Tokens have an `expires_in` of `life` seconds.
    pub fn with_life(mut self, life: f64) -> World {
        self.server.life = life;
        self
    }

    /// The server hands out the same token again until it has expired.
    pub fn with_token_reuse(mut self) -> World {
        self.server.reuses_token = true;
        self
    }

    /// A request takes this many seconds.
    pub fn with_exchange_time(mut self, exchange_time: f64) -> World {
        self.server.exchange_time = exchange_time;
        self
    }

    /// The client has token 1, requested at 0. The other `with_…` come before this one.
    pub fn with_token(mut self) -> World {
        self.call(30.0).got(1);
        self
    }

    pub fn now(&self) -> Now {
        let boot = BOOT + self.steady + self.suspended;
        let wall = WALL + self.steady + self.suspended;
        let offset = Duration::from_secs(self.wall_offset.unsigned_abs());
        Now { boot, wall: if self.wall_offset < 0 { wall - offset } else { wall + offset } }
    }

    pub fn time(&self) -> f64 {
        (self.now().boot - BOOT).as_secs_f64()
    }

    pub fn state(&mut self) -> &mut State {
        &mut self.clients[0].state
    }

    /// From now on the server behaves like this.
    pub fn server_becomes(&mut self, behaviour: Behaviour) -> &mut World {
        let now = self.time();
        self.server.from(now, behaviour);
        self
    }

    /// Sets the wall clock forward by this many seconds, or back.
    pub fn shift_wall_clock(&mut self, by: i64) -> &mut World {
        self.wall_offset += by;
        self
    }

    /// The machine sleeps for this many seconds.
    pub fn suspend(&mut self, time: f64) -> &mut World {
        self.suspended += seconds(time);
        self
    }

    /// Makes the client the child of a fork, whose parent had this cached token.
    pub fn inherit(&mut self, cached: CachedToken, random: f64) {
        (0..self.actors.len()).for_each(|actor| self.abandon(actor));
        let client = &mut self.clients[0];
        client.invariants = Invariants::default();
        client.invariants.token_inherited(Some(&cached));
        client.state = State::new(None, Box::new(move || random), Some(cached));
    }

    /// The API rejected this token. Returns whether that made the cached token stale.
    pub fn reject(&mut self, token: usize) -> bool {
        self.reject_of(0, token)
    }

    pub fn reject_of(&mut self, client: usize, token: usize) -> bool {
        let now = self.now();
        self.clients[client].state.reject(now, &format!("token-{token}"))
    }

    /// The user gives the client another secret.
    pub fn change_secret(&mut self) -> &mut World {
        self.change_secret_of(0)
    }

    pub fn change_secret_of(&mut self, client: usize) -> &mut World {
        self.clients[client].state.secret_changed();
        self.clients[client].invariants.secret_changed();
        self.wake(client);
        self
    }

    /// The secret file changes; the client notices when it next checks the file.
    pub fn change_secret_file(&mut self) -> &mut World {
        self.clients[0].secret_file_changed = true;
        self
    }

    /// When callers checked the secret file.
    pub fn secret_checks(&self) -> &[f64] {
        &self.clients[0].secret_checks
    }

    /// Seconds until a call would do something useful, as the client says.
    pub fn refresh_in(&mut self) -> f64 {
        let now = self.now();
        self.state().refresh_in(now).as_secs_f64()
    }

    pub fn cached(&self, client: usize) -> Option<usize> {
        self.clients[client].state.cached().map(|cached| number(&cached.token))
    }

    /// The token that the client gives without waiting, if it is usable.
    pub fn usable(&mut self) -> Option<usize> {
        let now = self.now();
        self.state().usable(now).map(|token| number(&token))
    }

    pub fn requests_since(&self, time: f64) -> usize {
        self.server.requests.iter().filter(|request| request.at >= time).count()
    }

    /// Asserts that these are the times at which all requests were sent.
    #[track_caller]
    pub fn assert_requests_at(&self, times: &[f64]) {
        let found: Vec<f64> = self.server.requests.iter().map(|request| request.at).collect();
        assert_eq!(found.len(), times.len(), "requests at {found:?}");
        for (found, expected) in found.iter().zip(times) {
            assert_close(*found, *expected);
        }
    }

    /// From now until `until` a new caller with this timeout calls every 0.1 s. Returns when
    /// requests were sent meanwhile, in seconds from now.
    pub fn poll_until(&mut self, until: f64, timeout: f64) -> Vec<f64> {
        let start = self.time();
        let tenths = ((until - start) * 10.0).round() as u32;
        for tenth in 0..tenths {
            self.at(start + f64::from(tenth) / 10.0).start(timeout);
        }
        self.at(until);
        let sent = self.server.requests.iter().map(|request| request.at - start);
        sent.filter(|at| *at >= 0.0).collect()
    }

    /// Lets everything happen that is due until this time.
    pub fn at(&mut self, time: f64) -> &mut World {
        while self.next_within(time) {}
        self.steady = seconds(time) - self.suspended;
        self
    }

    /// Makes a call with this timeout and runs the world until the call ends.
    pub fn call(&mut self, timeout: f64) -> Call {
        let actor = self.start(timeout);
        self.finish(actor)
    }

    /// Starts a call with this timeout; `finish` runs the world until it ends.
    pub fn start(&mut self, timeout: f64) -> usize {
        self.start_for(0, timeout)
    }

    pub fn start_many(&mut self, count: usize, timeout: f64) -> Vec<usize> {
        (0..count).map(|_| self.start(timeout)).collect()
    }

    pub fn start_for(&mut self, client: usize, timeout: f64) -> usize {
        let actor = self.add_actor(client, None);
        self.begin(actor, timeout);
        let now = self.time();
        self.at(now);
        actor
    }

    /// The result of a call, if it has ended.
    pub fn ended(&self, actor: usize) -> Option<&Call> {
        self.actors[actor].call.as_ref()
    }

    pub fn finish(&mut self, actor: usize) -> Call {
        while self.actors[actor].call.is_none() {
            assert!(self.next_within(f64::MAX), "no event is left that could end the call");
        }
        self.actors[actor].call.clone().expect("the call ended")
    }

    pub fn finish_all(&mut self, actors: &[usize]) -> Vec<Call> {
        actors.iter().map(|actor| self.finish(*actor)).collect()
    }

    /// The thread of this call never runs again.
    pub fn abandon(&mut self, actor: usize) {
        self.actors[actor].doing = Doing::Nothing;
        self.actors[actor].due = Duration::MAX;
    }

    /// Ends a refresh as closing the client does; its leader never runs again.
    pub fn give_up(&mut self, actor: usize) {
        self.abandon(actor);
        let actor = &mut self.actors[actor];
        let client = &mut self.clients[actor.client];
        client.state.give_up(&mut actor.caller);
        client.invariants.refresh_given_up();
    }

    /// Lets the actor act after this pause, and not when it would have acted otherwise.
    fn later(&mut self, actor: usize, pause: Duration) {
        let due = self.steady + pause;
        self.actors[actor].due = due;
        self.tie = match &mut self.rng {
            Some(rng) => rng.next(),
            None => self.tie + 1,
        };
        self.agenda.push(Reverse((due, self.tie, actor)));
    }

    /// Lets the next action happen if it is due by `time`. Returns false if there is none.
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
            Doing::Visiting => self.visit_store(actor),
            Doing::Receiving { sent, timeout, answer } => {
                self.receive(actor, sent, timeout, answer);
            }
            Doing::Using(token) => self.use_token(actor, &token),
            Doing::Thinking => self.call_again(actor),
            Doing::Nothing => {}
        }
    }
}

/// Tokens are numbered from 1.
pub fn number(token: &Token) -> usize {
    token.access_token().trim_start_matches("token-").parse().expect("a numbered token")
}
