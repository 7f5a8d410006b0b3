//! The shared store: where the processes of an application find each other's token, and agree on who
//! requests the next one. `docs/store.md` states the rules with their reasons.
//!
//! Whatever goes wrong here is noted and logged, and otherwise as if there were no store.

mod clocks;
mod entry;
mod folder;
#[cfg(feature = "redis")]
mod redis;
mod seal;

use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::os;
use crate::transport::Transport;
pub(crate) use clocks::{Stamp, stamp};
use entry::Age;
pub(crate) use entry::{Entry, SharedFailure, SharedToken, is_shareable};
use folder::Folder;
#[cfg(fuzzing)]
pub use redis::fuzz_replies;
use seal::Seal;

const MAX_ENTRY_BYTES: usize = 64 << 10;
/// After a failure a server is left alone for so long, times 0.8 to 1.2.
const QUIET_TIME: Duration = Duration::from_secs(30);

/// Which store to use, if any.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StoreSetting {
    None,
    /// The user's folder for caches.
    DefaultFolder,
    Folder(PathBuf),
    #[cfg(feature = "redis")]
    Redis(redis::Address),
}

impl StoreSetting {
    /// An error says what is allowed.
    pub fn parse(text: &str) -> Result<StoreSetting, &'static str> {
        match text.split_once(':') {
            None if text == "file" => Ok(StoreSetting::DefaultFolder),
            Some(("file", path)) if PathBuf::from(path).is_absolute() => {
                Ok(StoreSetting::Folder(path.into()))
            }
            #[cfg(feature = "redis")]
            Some((scheme, _)) if redis::SCHEMES.contains(&scheme) => {
                redis::Address::parse(text).map(StoreSetting::Redis)
            }
            _ if cfg!(feature = "redis") => {
                Err("file, file: and the absolute path of a folder (file:/run/app), or \
                     redis://host")
            }
            _ => Err("file, or file: and the absolute path of a folder (file:/run/app); this \
                      library was built without the feature redis"),
        }
    }
}

/// Made once per client and process.
pub(crate) struct Store {
    config: Arc<Config>,
    boot_id: Option<String>,
    failures: AtomicU64,
    last_error: Mutex<Option<Error>>,
    /// Until when a server is left alone, in milliseconds on the boot clock.
    quiet_until: AtomicU64,
}

/// The store during one refresh, under one client secret. Dropping it releases its lock.
pub(crate) struct Visit<'a> {
    store: &'a Store,
    secret: Zeroizing<String>,
    seal: Seal,
    place: Box<dyn Place + 'a>,
    has_failed: Cell<bool>,
}

/// Where entries are kept: a folder, or a server.
trait Place {
    /// The entry of this name, and how its age is known.
    fn read(&mut self, name: &str) -> io::Result<Option<(Vec<u8>, Age)>>;
    /// Takes the lock of an entry, which is released when this is dropped.
    fn lock(&mut self, name: &str, lease: Duration) -> io::Result<Turn>;
    /// Writes the entry, which is of use for so long. Does nothing unless the lock is held.
    fn write(&mut self, name: &str, bytes: &[u8], life: Duration) -> io::Result<()>;
    /// Removes the entry that was read last. Does nothing unless the lock is held.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// How long to wait before the next look, the first time and at most.
    fn pauses(&self) -> (Duration, Duration);
    /// A call that has this much time left may be delayed by the store once more.
    fn renew_time(&mut self, _left: Duration) {}
    /// Whether nothing more can be done here during this refresh.
    fn is_lost(&self) -> bool {
        false
    }
}

/// Which process is to request a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Turn {
    /// This one, until the visit ends.
    Ours,
    /// Another one, which has this much left of the time that it said it needs, if that is known.
    Others(Option<Duration>),
    /// Any: there is no lock to be had.
    Nobodys,
}

impl Store {
    /// `None` if the configuration names none. Touches no file but that of the boot id.
    pub fn new(config: &Arc<Config>) -> Option<Store> {
        (config.store != StoreSetting::None).then(|| Store::with(config.clone(), os::boot_id()))
    }

    pub fn for_child(&self) -> Store {
        Store::with(self.config.clone(), self.boot_id.clone())
    }

    fn with(config: Arc<Config>, boot_id: Option<String>) -> Store {
        Store {
            config,
            boot_id,
            failures: AtomicU64::new(0),
            last_error: Mutex::default(),
            quiet_until: AtomicU64::new(0),
        }
    }

    /// For a refresh that may take `time`. `None` if the store cannot be used.
    pub fn visit<'a>(
        &'a self,
        secret: Zeroizing<String>,
        transport: &'a Transport,
        time: Duration,
    ) -> Option<Visit<'a>> {
        let _ = (transport, time); // for a server only
        let folder = match &self.config.store {
            StoreSetting::None => return None,
            StoreSetting::DefaultFolder => Folder::open_default(),
            StoreSetting::Folder(path) => Folder::open(path),
            #[cfg(feature = "redis")]
            StoreSetting::Redis(address) => {
                let is_quiet = self.quiet_until.load(Ordering::Relaxed) > now_ms();
                let server = || redis::Server::new(transport, address.clone(), time);
                return (!is_quiet).then(|| self.visit_place(secret, Box::new(server())));
            }
        };
        let folder = folder.map_err(|error| self.note(&error)).ok()?;
        Some(self.visit_place(secret, Box::new(folder.visit(self.boot_id.as_deref()))))
    }

    fn visit_place<'a>(
        &'a self,
        secret: Zeroizing<String>,
        place: Box<dyn Place + 'a>,
    ) -> Visit<'a> {
        let seal = Seal::new(&self.config, &secret);
        Visit { store: self, secret, seal, place, has_failed: Cell::new(false) }
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub fn last_error(&self) -> Option<Error> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, why: &dyn std::fmt::Display) {
        let name = match &self.config.store {
            StoreSetting::Folder(path) => path.display().to_string(),
            #[cfg(feature = "redis")]
            StoreSetting::Redis(address) => address.to_string(),
            _ => "in the user's cache folder".to_owned(),
        };
        let message = format!("the store {name} cannot be used: {why}");
        log::warn!("{message}");
        self.failures.fetch_add(1, Ordering::Relaxed);
        let error = Error::new(ErrorKind::Config, message).with_retryable(true);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

fn check_length(entry: &[u8]) -> io::Result<()> {
    match entry.len() {
        0..=MAX_ENTRY_BYTES => Ok(()),
        _ => Err(io::Error::other("the token is too long: the entry would exceed 64 KiB")),
    }
}

fn now_ms() -> u64 {
    os::now().boot.as_millis() as u64
}

impl Visit<'_> {
    pub fn is_for(&self, secret: &str) -> bool {
        *self.secret == secret
    }

    /// Before its request a call is delayed by the store for a bounded time, which begins here, and after
    /// it once more. `left`: what the call has left.
    pub fn renew_time(&mut self, left: Duration) {
        self.place.renew_time(left);
    }

    fn checked<T>(&self, result: io::Result<T>) -> Option<T> {
        result.map_err(|error| self.note(&error)).ok()
    }

    /// Only the first failure: while it waits for another process, a visit looks 20 times a second.
    fn note(&self, why: &dyn std::fmt::Display) {
        if !self.has_failed.replace(true) {
            self.store.note(why);
        }
        if self.place.is_lost() {
            let quiet_time = QUIET_TIME.mul_f64(0.8 + 0.4 * os::random()).as_millis() as u64;
            self.store.quiet_until.store(now_ms() + quiet_time, Ordering::Relaxed);
        }
    }

    /// What another process has left here for this one.
    pub fn look(&mut self) -> Option<Entry> {
        if self.place.is_lost() {
            return None;
        }
        let read = self.place.read(&self.seal.name);
        let (sealed, age) = self.checked(read)??;
        let boot_id = self.store.boot_id.as_deref();
        let opened = self.seal.open(&sealed);
        let entry = opened.and_then(|json| Entry::decode(&json, boot_id, age, os::now()));
        if entry.is_none() {
            self.note(&"its entry is damaged or from the future; it will be replaced");
        }
        entry
    }

    /// `lease`: how long this process will probably need.
    pub fn lock(&mut self, lease: Duration) -> Turn {
        if self.place.is_lost() {
            return Turn::Nobodys;
        }
        let turn = self.place.lock(&self.seal.name, lease);
        self.checked(turn).unwrap_or(Turn::Nobodys)
    }

    /// Replaces the entry; does nothing unless this process holds the lock.
    pub fn save(&mut self, entry: &Entry) {
        if self.place.is_lost() {
            return;
        }
        let now = os::now();
        let json = entry.encode(self.store.boot_id.as_deref(), now);
        if let Some(sealed) = self.seal.close(json) {
            let written = self.place.write(&self.seal.name, &sealed, entry.kept_for(now));
            self.checked(written);
        }
    }

    /// Removes the entry that was found last; does nothing unless this process holds the lock.
    pub fn remove(&mut self) {
        let removed = self.place.remove(&self.seal.name);
        self.checked(removed);
    }

    /// How long to wait before the next look while another process requests a token, the first time and
    /// at most.
    pub fn pauses(&self) -> (Duration, Duration) {
        self.place.pauses()
    }
}
