//! `Client`: joins the cache and the exchange.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, Source};
use crate::config::Config;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::os::{Coarse, PerProcess};
use crate::thread_cache::ThreadCache;
use crate::token::{Grant, Token};

/// Gets access tokens for one application and keeps them fresh. Clones share everything; all
/// methods may be called by many threads at once, and by the child of a `fork`.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    config: Arc<Config>,
    engine: PerProcess<Engine>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        ThreadCache::forget();
    }
}

struct Engine {
    cache: Cache,
    exchange: Exchange,
}

/// What [`Client::stat`] can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stat {
    /// Efforts to get a token; each is one or more attempts.
    Refreshes,
    /// Token requests that were sent, or tried.
    Attempts,
    /// Refreshes that brought no token.
    Failures,
    /// Calls that waited for another call's refresh.
    Waits,
    /// Rejections that made the token spent; those that were ignored are not counted.
    Rejections,
    /// Refreshes that OneAccess denied.
    Denials,
    /// Milliseconds since the current token was asked for; -1 without a token.
    TokenAgeMs,
    /// Milliseconds until the current token expires, not less than 0; -1 without a token.
    TokenRemainingMs,
}

impl Client {
    /// Checks the configuration and reads the files it names. Sends nothing.
    ///
    /// # Errors
    /// Every mistake remembered by the configuration, in one error: `Argument` or `Config`.
    pub fn new(config: &Config) -> Result<Client, Error> {
        config.check()?;
        let config = Arc::new(config.clone());
        let engine = Engine {
            cache: Cache::new(config.expiry_margin),
            exchange: Exchange::new(config.clone())?,
        };
        Ok(Client(Arc::new(Shared { config, engine: PerProcess::new(engine) })))
    }

    /// A token that can be used now. Mostly from memory, within nanoseconds; about once in a
    /// token's life one caller makes a request and blocks, at most for the configured timeout.
    ///
    /// # Errors
    /// Only without a token that is alive; an outage is not an error while there is one.
    #[inline]
    pub fn token(&self) -> Result<Arc<Token>, Error> {
        self.thread_cache().map_or_else(|| self.ask(self.0.config.timeout), Ok)
    }

    /// The same with a timeout of its own. Zero: what is there, a token or a remembered error, or
    /// `Timeout`; no waiting and no request.
    pub fn token_within(&self, timeout: Duration) -> Result<Arc<Token>, Error> {
        self.thread_cache().map_or_else(|| self.ask(timeout), Ok)
    }

    // Always: opt-level s would not, which costs every cached token a call.
    #[inline(always)]
    fn thread_cache(&self) -> Option<Arc<Token>> {
        ThreadCache::token(&self.engine().cache)
    }

    #[cold]
    fn ask(&self, timeout: Duration) -> Result<Arc<Token>, Error> {
        // What was closed may be freed while this call is still on its way out.
        let alive = self.clone();
        let Engine { cache, exchange } = alive.engine();
        let clocks = Coarse::now();
        let fresh_token = cache.get(timeout.min(Config::MAX_DURATION), exchange)?;
        Ok(ThreadCache::keep(fresh_token, clocks))
    }

    /// The token, if there is one that is not about to expire. Never blocks, never asks.
    pub fn cached_token(&self) -> Option<Arc<Token>> {
        self.thread_cache().or_else(|| {
            let clocks = Coarse::now();
            Some(ThreadCache::keep(self.engine().cache.cached()?, clocks))
        })
    }

    /// How long until a call of [`token`](Client::token) would do something useful, for hosts that
    /// refresh from a timer of their own: zero means now. `None` once the client is closed.
    pub fn refresh_in(&self) -> Option<Duration> {
        self.engine().cache.refresh_in()
    }

    /// Tells that a management API did not accept this access token, which it says with HTTP 400
    /// and `invalid_token`, or with 401. If it is the current one the next call gets another.
    /// Many rejections of one token cost one request; those that follow a fresh one are ignored
    /// for a while, since a lack of permission looks the same.
    pub fn reject(&self, access_token: &str) {
        self.engine().cache.reject(access_token);
    }

    /// Uses another client secret from now on, and forgets a denial of the old one. Tokens stay.
    ///
    /// # Errors
    /// `Argument`, if the secret is empty or read from a file.
    pub fn set_client_secret(&self, client_secret: &str) -> Result<(), Error> {
        let engine = self.engine();
        engine.exchange.set_secret(client_secret)?;
        engine.cache.secret_changed();
        Ok(())
    }

    /// One number about what happened in this process so far.
    pub fn stat(&self, stat: Stat) -> i64 {
        let cache = &self.engine().cache;
        let counts = cache.counts();
        let ms = |time: Duration| time.as_millis() as i64;
        let ages = || cache.age_and_remaining_life();
        match stat {
            Stat::Refreshes => counts.refreshes as i64,
            Stat::Attempts => counts.attempts as i64,
            Stat::Failures => counts.failures as i64,
            Stat::Waits => counts.waits as i64,
            Stat::Rejections => counts.rejections as i64,
            Stat::Denials => counts.denials as i64,
            Stat::TokenAgeMs => ages().map_or(-1, |(age, _)| ms(age)),
            Stat::TokenRemainingMs => ages().map_or(-1, |(_, left)| ms(left)),
        }
    }

    /// The error of the last failed request, also one that no caller was told of; `None` if there
    /// was none since the last success.
    pub fn last_error(&self) -> Option<Error> {
        self.engine().cache.last_error()
    }

    /// Ends every call, those under way and those to come, with `Closed`. One that is connecting
    /// while packets are dropped ends within 3 seconds.
    pub fn close(&self) {
        let engine = self.engine();
        engine.cache.close();
        engine.exchange.close();
        ThreadCache::forget();
    }

    #[inline]
    fn engine(&self) -> &Engine {
        let Shared { config, engine } = &*self.0;
        engine.get(|parents| Engine {
            cache: parents.cache.for_child(config.expiry_margin),
            exchange: parents.exchange.for_child(),
        })
    }
}

impl Source for Exchange {
    fn request(&self, timeout: Duration) -> Result<Grant, Error> {
        Exchange::request(self, timeout)
    }

    fn secret_changed(&self) -> bool {
        self.secret_file_changed()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.config).finish()
    }
}
