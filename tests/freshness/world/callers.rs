//! Callers, which drive `State` in the way that `Cache` does.

use std::sync::Arc;
use std::time::Duration;

use super::{BOOT, World, assert_close, number, seconds};
use crate::cache::MAX_WAIT;
use crate::cache::answered::Next;
use crate::cache::policy::{Caller, Step};
use crate::cache::shared::WhileOthersRefresh;
use crate::error::{Error, ErrorKind};
use crate::os::Now;
use crate::store::is_shareable;
use crate::token::{Grant, Token};

const INSTANT: Duration = Duration::from_nanos(1);
const TOLERANCE: Duration = Duration::from_millis(1);
/// Longest time for which a caller waits before it gets a token that was already there: the precedence
/// of a more patient caller, and the time for which it follows a refresh.
const MAX_WAIT_FOR_CACHED: Duration = Duration::from_millis(50 + 3000 + 1);

/// A thread that makes one call, or calls again and again as part of a crowd.
pub struct Actor {
    pub client: usize,
    pub caller: Caller,
    pub began: Duration,
    pub deadline: Duration,
    pub suspended_before: Duration,
    pub doing: Doing,
    pub due: Duration,
    /// How often it has asked at the same instant: a loop without progress is a defect.
    pub asks: (Duration, u32),
    pub requests: usize,
    pub is_stuck: bool,
    pub call: Option<Call>,
    pub crowd: Option<usize>,
    /// The client had a token that the server still accepted when the call began.
    pub had_token: bool,
}

pub enum Doing {
    Asking,
    /// Leads a refresh, and looks into the store.
    Visiting,
    Sending,
    Receiving {
        sent: Now,
        timeout: Duration,
        answer: Result<Grant, Error>,
    },
    /// Will use the token of its last call at the API.
    Using(Arc<Token>),
    Thinking,
    Nothing,
}

/// The result of a call, and when it began and ended.
#[derive(Clone, Debug)]
pub struct Call {
    pub answer: Result<Arc<Token>, Error>,
    pub began: f64,
    pub ended: f64,
    pub requests: usize,
}

impl Call {
    /// Asserts that the call got this token. Tokens are numbered from 1.
    #[track_caller]
    pub fn got(&self, token: usize) -> &Call {
        assert_eq!(number(self.answer.as_ref().expect("a token")), token);
        self
    }

    #[track_caller]
    pub fn failed(&self, kind: ErrorKind) -> &Call {
        assert_eq!(self.error().kind(), kind);
        self
    }

    #[track_caller]
    pub fn error(&self) -> &Error {
        self.answer.as_ref().expect_err("an error")
    }

    #[track_caller]
    pub fn at_once(&self) -> &Call {
        self.after(0.0)
    }

    /// Asserts that the call took this many seconds.
    #[track_caller]
    pub fn after(&self, time: f64) -> &Call {
        assert_close(self.ended - self.began, time);
        self
    }

    /// Asserts that the call ended at this time.
    #[track_caller]
    pub fn at(&self, time: f64) -> &Call {
        assert_close(self.ended, time);
        self
    }
}

impl World {
    pub fn add_actor(&mut self, client: usize, crowd: Option<usize>) -> usize {
        self.actors.push(Actor {
            client,
            caller: Caller::new(Duration::ZERO),
            began: Duration::ZERO,
            deadline: Duration::ZERO,
            suspended_before: Duration::ZERO,
            doing: Doing::Nothing,
            due: Duration::MAX,
            asks: (Duration::ZERO, 0),
            requests: 0,
            is_stuck: false,
            call: None,
            crowd,
            had_token: false,
        });
        let id = self.actors.len() - 1;
        self.clients[client].actors.push(id);
        id
    }

    pub fn begin(&mut self, id: usize, timeout: f64) {
        let now = self.now();
        let cached = self.cached(self.actors[id].client);
        let had_token = cached.is_some_and(|token| self.server.accepts(token, self.time()));
        let actor = &mut self.actors[id];
        actor.began = now.boot;
        actor.deadline = now.boot + seconds(timeout);
        actor.caller = Caller::new(actor.deadline);
        actor.suspended_before = self.suspended;
        actor.requests = 0;
        actor.is_stuck = false;
        actor.call = None;
        actor.doing = Doing::Asking;
        actor.had_token = had_token;
        self.later(id, Duration::ZERO);
    }

    pub fn ask(&mut self, id: usize) {
        let now = self.now();
        let time = self.time();
        let actor = &mut self.actors[id];
        let client = &mut self.clients[actor.client];
        let asked = if actor.asks.0 == now.boot { actor.asks.1 } else { 0 };
        actor.asks = (now.boot, asked + 1);
        assert!(actor.asks.1 < 10, "a caller asks in a loop without progress at {time}");
        actor.doing = Doing::Asking;
        match client.state.ask(now, &mut actor.caller) {
            Step::Give(token) => {
                client.invariants.token_given(now.boot, &token);
                self.end(id, Ok(token));
            }
            Step::Fail(error) => {
                client.invariants.error_given(now.boot);
                self.end(id, Err(error));
            }
            Step::Wait(until) => {
                let pause = until.saturating_sub(now.boot).clamp(INSTANT, MAX_WAIT);
                self.later(id, pause);
            }
            Step::Lead => {
                client.invariants.store_asked();
                self.visit_store(id);
            }
            Step::CheckSecret => {
                client.secret_checks.push(time);
                let changed = std::mem::take(&mut client.secret_file_changed);
                client.state.secret_checked(now, changed);
                if changed {
                    client.invariants.secret_changed();
                }
                self.ask(id);
            }
        }
    }

    /// Goes through the store of the client, if it has one, to the first request.
    pub fn visit_store(&mut self, id: usize) {
        let now = self.now();
        let actor = &mut self.actors[id];
        let client = &mut self.clients[actor.client];
        let store = client.store.map(|store| &mut self.stores[store]);
        if let Some(store) = store.filter(|store| !store.is_down) {
            let entry = store.entry.clone();
            let found = entry.as_ref().is_some_and(|entry| {
                let completed = client.state.found(now, &mut actor.caller, entry);
                client.invariants.store_visited(now.boot, client.state.cached());
                completed
            });
            if found {
                return self.completed(id);
            }
            match store.holder {
                Some((_, end)) if now.boot < end + seconds(1.0) => {
                    let left = Some(end.saturating_sub(now.boot));
                    let next =
                        client.state.others_refresh(now, &mut actor.caller, left, store.poll);
                    match next {
                        WhileOthersRefresh::Completed => return self.completed(id),
                        WhileOthersRefresh::Request => {}
                        WhileOthersRefresh::LookAgain(at) => {
                            actor.doing = Doing::Visiting;
                            return self.later(id, at.saturating_sub(now.boot));
                        }
                    }
                }
                _ => {
                    store.holder = Some((id, now.boot + client.state.lease(entry.as_ref())));
                    if entry.is_some_and(|entry| client.state.is_rejected(&entry)) {
                        store.entry = None;
                    }
                }
            }
        }
        if client.state.ran_out_of_time(now, &mut actor.caller) {
            return self.completed(id);
        }
        let refresh = actor.caller.refresh.as_ref().expect("a refresh");
        client.invariants.refresh_begins(now.boot, id, refresh.end, refresh.proactive);
        self.send(id);
    }

    /// Leaves the result of a refresh in the store, and the lock to others.
    fn leave_in_store(&mut self, id: usize, answer: &Result<Grant, Error>) {
        let now = self.now();
        let actor = &mut self.actors[id];
        let client = &mut self.clients[actor.client];
        let Some(store) = client.store.map(|store| &mut self.stores[store]) else { return };
        if store.holder.take_if(|(holder, _)| *holder == id).is_some() {
            let shareable = answer.as_ref().err().is_none_or(|error| is_shareable(error.kind()));
            if shareable {
                let entry = client.state.to_share(now, store.entry.as_ref());
                store.entry = entry.or(store.entry.take());
            }
        }
    }

    fn completed(&mut self, id: usize) {
        self.actors[id].doing = Doing::Asking;
        self.later(id, Duration::ZERO);
        self.wake(self.actors[id].client);
    }

    pub fn send(&mut self, id: usize) {
        let sent = self.now();
        let at = self.time();
        let actor = &mut self.actors[id];
        let client = &mut self.clients[actor.client];
        let timeout = client.state.attempt(sent, &mut actor.caller);
        assert!(actor.deadline > actor.began, "a caller with a timeout of 0 made a request");
        client.invariants.request_sent(sent.boot, id);
        client.secret_file_changed = false;
        actor.requests += 1;
        let (after, answer) = self.server.answer(at, timeout.as_secs_f64());
        let after = if after == timeout.as_secs_f64() { timeout } else { seconds(after) };
        actor.is_stuck |= after > timeout;
        actor.doing = Doing::Receiving { sent, timeout, answer };
        self.later(id, after);
    }

    pub fn receive(
        &mut self,
        id: usize,
        sent: Now,
        timeout: Duration,
        answer: Result<Grant, Error>,
    ) {
        let now = self.now();
        let actor = &mut self.actors[id];
        let client = &mut self.clients[actor.client];
        let next = client.state.answered(sent, now, timeout, &mut actor.caller, answer.clone());
        client.invariants.answer_received(
            now.boot,
            id,
            sent.boot,
            &answer,
            next == Next::Completed,
        );
        match next {
            Next::Completed => {
                self.leave_in_store(id, &answer);
                self.completed(id);
            }
            Next::Again(at) => {
                actor.doing = Doing::Sending;
                self.later(id, at.saturating_sub(now.boot));
            }
        }
    }

    /// All callers of this client that wait look again, as after a notification.
    pub fn wake(&mut self, client: usize) {
        for index in 0..self.clients[client].actors.len() {
            let id = self.clients[client].actors[index];
            if matches!(self.actors[id].doing, Doing::Asking) {
                self.later(id, Duration::ZERO);
            }
        }
    }

    fn end(&mut self, id: usize, answer: Result<Arc<Token>, Error>) {
        let now = self.now();
        let actor = &mut self.actors[id];
        let slept = self.suspended - actor.suspended_before;
        let in_time = now.boot <= actor.deadline + slept + TOLERANCE;
        assert!(in_time || actor.is_stuck, "a call ended after its deadline");
        let had_it =
            answer.is_ok() && self.clients[actor.client].invariants.knew_token_at(actor.began);
        let in_vain = had_it && actor.requests == 0 && slept.is_zero();
        let long = now.boot > actor.began + MAX_WAIT_FOR_CACHED;
        assert!(!in_vain || !long, "a caller waited long for a token that was already cached");
        actor.doing = Doing::Nothing;
        let began = (actor.began - BOOT).as_secs_f64();
        let ended = (now.boot - BOOT).as_secs_f64();
        let call = Call { answer, began, ended, requests: actor.requests };
        match actor.crowd {
            Some(crowd) => self.count(id, crowd, call),
            None => actor.call = Some(call),
        }
    }
}
