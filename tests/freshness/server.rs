//! A token endpoint with moods.

use std::collections::VecDeque;
use std::time::Duration;

use super::rng::Rng;
use crate::error::{Error, ErrorKind};
use crate::token::{Grant, Token};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Behaviour {
    Fine,
    /// Fine, but so many seconds late.
    Slow(f64),
    /// HTTP 503.
    Down,
    /// HTTP 503 with Retry-After.
    DownFor(f64),
    /// Never answers.
    Silent,
    /// The leader comes back only after so many seconds, whatever its timeout.
    Stuck(f64),
    /// HTTP 503 as late as that, whatever the timeout.
    StuckAndDown(f64),
    /// HTTP 429, perhaps with Retry-After.
    Throttling(Option<f64>),
    Denying,
    WebPage,
    Untrusted,
    /// The secret file is being replaced.
    WithoutSecretFile,
    /// A bug in the exchange.
    Panicking,
    /// The request was never one.
    Misused,
}

#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub at: f64,
    pub timeout: f64,
}

pub struct Server {
    pub life: f64,
    /// How long an exchange takes.
    pub takes: f64,
    /// Hands out the same token until it is over, with whole seconds left.
    pub keeps_token: bool,
    pub requests: Vec<Request>,
    pub rng: Option<Rng>,
    behaviours: Vec<(f64, Behaviour)>,
    next: VecDeque<Behaviour>,
    /// When each token is over.
    ends: Vec<f64>,
}

impl Server {
    pub fn new() -> Server {
        Server {
            life: 1800.0,
            takes: 0.1,
            keeps_token: false,
            requests: Vec::new(),
            rng: None,
            behaviours: Vec::new(),
            next: VecDeque::new(),
            ends: Vec::new(),
        }
    }

    /// Its mood from then on.
    pub fn from(&mut self, at: f64, behaviour: Behaviour) {
        self.behaviours.push((at, behaviour));
    }

    /// Its mood for the next requests, one each.
    pub fn next(&mut self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.next.extend(behaviours);
    }

    pub fn behaviour(&self, at: f64) -> Behaviour {
        let begun = self.behaviours.iter().rev().find(|(from, _)| *from <= at);
        begun.map_or(Behaviour::Fine, |(_, behaviour)| *behaviour)
    }

    pub fn is_alive(&self, token: usize, at: f64) -> bool {
        at <= self.ends[token - 1]
    }

    /// The token is over then, instead.
    pub fn ends(&mut self, token: usize, at: f64) {
        self.ends[token - 1] = at;
    }

    /// After how many seconds what is heard.
    pub fn answer(&mut self, at: f64, timeout: f64) -> (f64, Result<Grant, Error>) {
        self.requests.push(Request { at, timeout });
        let behaviour = self.next.pop_front().unwrap_or_else(|| self.behaviour(at));
        let takes = self.takes * self.rng.as_mut().map_or(1.0, |rng| rng.between(0.6, 1.4));
        let (after, patient) = match behaviour {
            Behaviour::Slow(late) => (late, false),
            Behaviour::Stuck(late) | Behaviour::StuckAndDown(late) => (late, true),
            Behaviour::Silent => (f64::INFINITY, false),
            _ => (takes, false),
        };
        if after > timeout && !patient {
            return (timeout, Err(self.error(ErrorKind::Timeout)));
        }
        (after, self.result(behaviour, at + after / 2.0))
    }

    fn result(&mut self, behaviour: Behaviour, at: f64) -> Result<Grant, Error> {
        use ErrorKind::*;
        let advised =
            |error: Error, after: f64| error.with_retry_after(Duration::from_secs_f64(after));
        Err(match behaviour {
            Behaviour::Fine | Behaviour::Slow(_) | Behaviour::Stuck(_) | Behaviour::Silent => {
                return Ok(self.grant(at));
            }
            Behaviour::Down | Behaviour::StuckAndDown(_) => self.error(Server),
            Behaviour::DownFor(after) => advised(self.error(Server), after),
            Behaviour::Throttling(None) => self.error(Throttled),
            Behaviour::Throttling(Some(after)) => advised(self.error(Throttled), after),
            Behaviour::Denying => self.error(Denied),
            Behaviour::WebPage => self.error(Protocol),
            Behaviour::Untrusted => self.error(Tls),
            Behaviour::WithoutSecretFile => self.error(Config).with_retryable(true),
            Behaviour::Panicking => self.error(Internal),
            Behaviour::Misused => self.error(Argument),
        })
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, format!("request {}", self.requests.len()))
    }

    fn grant(&mut self, at: f64) -> Grant {
        let last = self.ends.last().filter(|end| self.keeps_token && **end >= at);
        let expires_in = match last {
            Some(end) => (end - at).floor(),
            None => {
                self.ends.push(at + self.life);
                self.life
            }
        };
        let token = Token::new(&format!("token-{}", self.ends.len()), None, None);
        Grant { token, expires_in: Duration::from_secs_f64(expires_in) }
    }
}
