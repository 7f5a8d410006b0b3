//! A token endpoint whose behaviour a scenario chooses: slow, down, silent, throttling, and so on.

use std::collections::VecDeque;
use std::time::Duration;

use super::rng::Rng;
use crate::error::{Error, ErrorKind};
use crate::token::{Grant, Token};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Behaviour {
    /// Answers with a token.
    Fine,
    /// Answers with a token after this many seconds.
    Slow(f64),
    /// HTTP 503.
    Down,
    /// HTTP 503 with a Retry-After of this many seconds.
    DownWithRetryAfter(f64),
    /// Never answers.
    Silent,
    /// Answers with a token after this many seconds, even if the timeout of the attempt is over:
    /// the leader overruns.
    Stuck(f64),
    /// The same with HTTP 503.
    StuckAndDown(f64),
    /// HTTP 429, with or without a Retry-After of this many seconds.
    Throttling(Option<f64>),
    /// Denies the secret.
    Denying,
    /// Answers with a web page, as a captive portal does.
    WebPage,
    UntrustedCertificate,
    /// No request is sent, since the secret file cannot be read: it is being replaced.
    NoSecretFile,
    /// The exchange panics.
    Panicking,
    /// No request is sent, since an argument of the call is wrong.
    InvalidArgument,
}

#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub at: f64,
    pub timeout: f64,
}

pub struct Server {
    pub life: f64,
    /// How long a request takes, in seconds.
    pub exchange_time: f64,
    /// Hands out the same token until it has expired, with its remaining life in whole seconds.
    pub reuses_token: bool,
    pub requests: Vec<Request>,
    pub rng: Option<Rng>,
    behaviours: Vec<(f64, Behaviour)>,
    next: VecDeque<Behaviour>,
    /// When each token expires.
    expiries: Vec<f64>,
}

impl Server {
    pub fn new() -> Server {
        Server {
            life: 1800.0,
            exchange_time: 0.1,
            reuses_token: false,
            requests: Vec::new(),
            rng: None,
            behaviours: Vec::new(),
            next: VecDeque::new(),
            expiries: Vec::new(),
        }
    }

    /// From this time on the server behaves like this.
    pub fn from(&mut self, at: f64, behaviour: Behaviour) {
        self.behaviours.push((at, behaviour));
    }

    /// The server behaves like this for the next requests, one behaviour for each.
    pub fn next(&mut self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.next.extend(behaviours);
    }

    pub fn behaviour(&self, at: f64) -> Behaviour {
        let begun = self.behaviours.iter().rev().find(|(from, _)| *from <= at);
        begun.map_or(Behaviour::Fine, |(_, behaviour)| *behaviour)
    }

    /// Whether the token is valid at this time.
    pub fn accepts(&self, token: usize, at: f64) -> bool {
        at <= self.expiries[token - 1]
    }

    /// Changes when this token expires.
    pub fn set_expiry(&mut self, token: usize, at: f64) {
        self.expiries[token - 1] = at;
    }

    /// The answer to a request sent at `at`, and the seconds after which the client has it.
    pub fn answer(&mut self, at: f64, timeout: f64) -> (f64, Result<Grant, Error>) {
        self.requests.push(Request { at, timeout });
        let behaviour = self.next.pop_front().unwrap_or_else(|| self.behaviour(at));
        let exchange_time =
            self.exchange_time * self.rng.as_mut().map_or(1.0, |rng| rng.between(0.6, 1.4));
        let (after, overruns) = match behaviour {
            Behaviour::Slow(late) => (late, false),
            Behaviour::Stuck(late) | Behaviour::StuckAndDown(late) => (late, true),
            Behaviour::Silent => (f64::INFINITY, false),
            _ => (exchange_time, false),
        };
        if after > timeout && !overruns {
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
            Behaviour::DownWithRetryAfter(after) => advised(self.error(Server), after),
            Behaviour::Throttling(None) => self.error(Throttled),
            Behaviour::Throttling(Some(after)) => advised(self.error(Throttled), after),
            Behaviour::Denying => self.error(Denied),
            Behaviour::WebPage => self.error(Protocol),
            Behaviour::UntrustedCertificate => self.error(Tls),
            Behaviour::NoSecretFile => self.error(Config).with_retryable(true),
            Behaviour::Panicking => self.error(Internal),
            Behaviour::InvalidArgument => self.error(Argument),
        })
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, format!("request {}", self.requests.len()))
    }

    fn grant(&mut self, at: f64) -> Grant {
        let last = self.expiries.last().filter(|expiry| self.reuses_token && **expiry >= at);
        let expires_in = match last {
            Some(expiry) => (expiry - at).floor(),
            None => {
                self.expiries.push(at + self.life);
                self.life
            }
        };
        let token = Token::new(&format!("token-{}", self.expiries.len()), None, None);
        Grant { token, expires_in: Duration::from_secs_f64(expires_in) }
    }
}
