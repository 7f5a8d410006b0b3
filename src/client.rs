//! [`Client`]: the public interface, which joins the cache and the exchange.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, TokenSource};
use crate::config::Config;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::os::{Coarse, PerProcess};
use crate::store::{Entry, Store, Visit};
use crate::thread_cache::ThreadCache;
use crate::token::{Grant, Token};

/// Gets access tokens for one application and keeps them fresh.
///
/// All methods can be called by many threads at once. Clones share everything. The child of a
/// `fork` can go on using the client (Linux): it starts with its parent's token and shares no lock
/// and no connection with its parent.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    config: Arc<Config>,
    engine: PerProcess<Engine>,
}

impl Shared {
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        ThreadCache::forget(self.address());
    }
}

/// The part of a client that each process has its own of.
struct Engine {
    cache: Cache,
    exchange: Exchange,
    store: Option<Store>,
}

/// The numbers that [`Client::stat`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stat {
    /// Refreshes; each is one or more attempts to get a token.
    Refreshes,
    /// Attempts, each of which is one token request, sent or not.
    Attempts,
    /// Failed refreshes.
    Failures,
    /// Calls that waited for another call's refresh.
    Waits,
    /// Rejections that made the cached token stale; those that were ignored are not counted.
    Rejections,
    /// Refreshes that OneAccess denied.
    Denials,
    /// Refreshes that the shared store answered: another process had requested the token.
    StoreHits,
    /// Refreshes in which the shared store could not be used, and was skipped.
    StoreFailures,
    /// Milliseconds since the cached token was requested; -1 without a token.
    TokenAgeMs,
    /// Milliseconds until the cached token expires, at least 0; -1 without a token.
    TokenRemainingMs,
}

impl Client {
    /// Checks the configuration and reads the files that it names. Sends nothing.
    ///
    /// # Errors
    /// [`Argument`](crate::ErrorKind::Argument) or [`Config`](crate::ErrorKind::Config); the
    /// message lists every invalid setting.
    pub fn new(config: &Config) -> Result<Client, Error> {
        config.check()?;
        let config = Arc::new(config.clone());
        let engine = Engine {
            cache: Cache::new(config.expiry_margin),
            exchange: Exchange::new(config.clone())?,
            store: Store::new(&config),
        };
        Ok(Client(Arc::new(Shared { config, engine: PerProcess::new(engine) })))
    }

    /// Returns a token that can be used now. Call this before every use.
    ///
    /// Almost every call returns the cached token, within nanoseconds. About once in the life of a
    /// token, one call makes a request and blocks, for at most the configured timeout
    /// ([`Config::timeout`], 30 s by default). Other calls wait for that request only if the cached
    /// token cannot be used.
    ///
    /// # Errors
    /// Only if there is no token that is still valid: while there is one, a failed request is not
    /// an error. The kind says why the last request failed; [`Timeout`](crate::ErrorKind::Timeout)
    /// if the call ran out of time, [`Closed`](crate::ErrorKind::Closed) after [`close`](Client::close).
    #[inline]
    pub fn token(&self) -> Result<Arc<Token>, Error> {
        self.thread_cache().map_or_else(|| self.ask(self.0.config.timeout), Ok)
    }

    /// The same as [`token`](Client::token), with a timeout for this call only. With a timeout of
    /// zero it neither waits nor makes a request: it returns the cached token if that is still
    /// valid, else the remembered error of an earlier request, else
    /// [`Timeout`](crate::ErrorKind::Timeout).
    ///
    /// # Errors
    /// As for [`token`](Client::token).
    pub fn token_within(&self, timeout: Duration) -> Result<Arc<Token>, Error> {
        self.thread_cache().map_or_else(|| self.ask(timeout), Ok)
    }

    // `always`, because opt-level "s" does not inline it otherwise, and every call would pay for
    // that.
    #[inline(always)]
    fn thread_cache(&self) -> Option<Arc<Token>> {
        ThreadCache::token(&self.engine().cache)
    }

    #[cold]
    fn ask(&self, timeout: Duration) -> Result<Arc<Token>, Error> {
        // C code may close and free the client while another thread is in this call: the clone
        // keeps the client in memory until the call returns.
        let client = self.clone();
        let engine = client.engine();
        let clocks = Coarse::now();
        let served = engine.cache.get(timeout.min(Config::MAX_DURATION), engine)?;
        Ok(ThreadCache::keep(self.0.address(), served, clocks))
    }

    /// Returns the cached token, if it is not about to expire (more is left of its life than
    /// [`Config::expiry_margin`]). Never waits for a request and never makes one.
    pub fn cached_token(&self) -> Option<Arc<Token>> {
        self.thread_cache().or_else(|| {
            let clocks = Coarse::now();
            let served = self.engine().cache.cached()?;
            Some(ThreadCache::keep(self.0.address(), served, clocks))
        })
    }

    /// How long until a call of [`token`](Client::token) would make a request, for programs that
    /// refresh from a timer of their own. Zero means now; `None` that the client is closed. Never
    /// waits for a request.
    pub fn refresh_in(&self) -> Option<Duration> {
        self.engine().cache.refresh_in()
    }

    /// Reports that a management API rejected this access token: with HTTP 401, or with HTTP 400
    /// and `invalid_token`. If it is the cached token, the next call of [`token`](Client::token)
    /// requests another; if not, nothing happens. So many reports of one token cost one request.
    ///
    /// After a rejected token was replaced, further rejections are ignored for 1 s, doubling up to
    /// 60 s: if the API answers a lack of permission in the same way, not every call must cause a
    /// request.
    pub fn reject(&self, access_token: &str) {
        self.engine().cache.reject(access_token);
    }

    /// Replaces the client secret. A remembered denial of the old secret is forgotten; the cached
    /// token stays. Only this process uses the new secret, and children that it forks later.
    ///
    /// # Errors
    /// [`Argument`](crate::ErrorKind::Argument), if the secret is empty, or if the client reads its
    /// secret from a file.
    pub fn set_client_secret(&self, client_secret: &str) -> Result<(), Error> {
        let engine = self.engine();
        engine.exchange.set_secret(client_secret)?;
        engine.cache.secret_changed();
        Ok(())
    }

    /// Returns one statistic of this client, for this process: the counters of the child of a fork
    /// start at 0.
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
            Stat::StoreHits => counts.store_hits as i64,
            Stat::StoreFailures => self.engine().store.as_ref().map_or(0, Store::failures) as i64,
            Stat::TokenAgeMs => ages().map_or(-1, |(age, _)| ms(age)),
            Stat::TokenRemainingMs => ages().map_or(-1, |(_, left)| ms(left)),
        }
    }

    /// The error of the last failed refresh, even if every caller got a token all the same; `None`
    /// if no refresh has failed since the last success.
    pub fn last_error(&self) -> Option<Error> {
        self.engine().cache.last_error()
    }

    /// The last failure of the shared store, however long ago; `None` if there was none. Such a failure
    /// costs no call its token.
    pub fn last_store_error(&self) -> Option<Error> {
        self.engine().store.as_ref()?.last_error()
    }

    /// Closes the client and all its clones: every call, now waiting or made later, fails with
    /// [`Closed`](crate::ErrorKind::Closed). Does not wait for the calls to end. A call that is
    /// connecting to a host that drops packets ends within 3 s.
    pub fn close(&self) {
        let engine = self.engine();
        engine.cache.close();
        engine.exchange.close();
        ThreadCache::forget(self.0.address());
    }

    #[inline]
    fn engine(&self) -> &Engine {
        let Shared { config, engine } = &*self.0;
        engine.get(|parents| Engine {
            cache: parents.cache.for_child(config.expiry_margin),
            exchange: parents.exchange.for_child(),
            store: parents.store.as_ref().map(Store::for_child),
        })
    }
}

impl TokenSource for Engine {
    fn request(&self, timeout: Duration, cached: Option<&Token>) -> Result<Grant, Error> {
        self.exchange.request(timeout, cached)
    }

    fn secret_changed(&self) -> bool {
        self.exchange.secret_file_changed()
    }

    fn visit_store(&self, time: Duration) -> Option<Visit<'_>> {
        let store = self.store.as_ref()?;
        // Without a secret the request fails, and says why.
        store.visit(self.exchange.current_secret().ok()?, self.exchange.transport(), time)
    }

    fn leave_in_store(&self, visit: &mut Visit, entry: &Entry) {
        if visit.is_for(&self.exchange.last_secret()) {
            visit.save(entry);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.config).finish()
    }
}
