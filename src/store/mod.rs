//! The shared store: where the processes of an application find each other's token, and agree on who
//! requests the next one. `docs/store.md` states the rules with their reasons.
//!
//! Whatever goes wrong here is noted and logged, and otherwise as if there were no store.

mod clocks;
mod entry;
mod folder;
mod seal;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::os;
pub(crate) use clocks::{Stamp, stamp};
pub(crate) use entry::{Entry, SharedFailure, SharedToken, is_shareable};
use folder::{Folder, HeldLock, Lock};
use seal::Seal;

/// Which store to use, if any.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StoreSetting {
    None,
    /// The user's folder for caches.
    DefaultFolder,
    Folder(PathBuf),
}

impl StoreSetting {
    /// An error says what is allowed.
    pub fn parse(text: &str) -> Result<StoreSetting, &'static str> {
        match text.split_once(':') {
            None if text == "file" => Ok(StoreSetting::DefaultFolder),
            Some(("file", path)) if PathBuf::from(path).is_absolute() => {
                Ok(StoreSetting::Folder(path.into()))
            }
            _ => Err("file, or file: and the absolute path of a folder, as in file:/run/app"),
        }
    }
}

/// Made once per client and process.
pub(crate) struct Store {
    config: Arc<Config>,
    boot_id: Option<String>,
    failures: AtomicU64,
    last_error: Mutex<Option<Error>>,
}

/// The store during one refresh, under the current client secret. Dropping it releases its lock.
pub(crate) struct Visit<'a> {
    store: &'a Store,
    folder: Folder,
    seal: Seal,
    held: Option<HeldLock>,
}

/// Which process is to request a token.
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
        Store { config, boot_id, failures: AtomicU64::new(0), last_error: Mutex::default() }
    }

    /// `None` if the store cannot be used.
    pub fn visit(&self, secret: &str) -> Option<Visit<'_>> {
        let folder = match &self.config.store {
            StoreSetting::None => return None,
            StoreSetting::DefaultFolder => Folder::open_default(),
            StoreSetting::Folder(path) => Folder::open(path),
        };
        let folder = self.checked(folder)?;
        Some(Visit { store: self, folder, seal: Seal::new(&self.config, secret), held: None })
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub fn last_error(&self) -> Option<Error> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn checked<T>(&self, result: io::Result<T>) -> Option<T> {
        result.map_err(|error| self.note(&error)).ok()
    }

    fn note(&self, why: &dyn std::fmt::Display) {
        let name = match &self.config.store {
            StoreSetting::Folder(path) => path.display().to_string(),
            _ => "in the user's cache folder".to_owned(),
        };
        let message = format!("the store {name} cannot be used: {why}");
        log::warn!("{message}");
        self.failures.fetch_add(1, Ordering::Relaxed);
        let error = Error::new(ErrorKind::Config, message).with_retryable(true);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

impl Visit<'_> {
    /// What another process has left here for this one.
    pub fn look(&self) -> Option<Entry> {
        let sealed = self.store.checked(self.folder.read(&self.seal.name))??;
        let boot_id = self.store.boot_id.as_deref();
        let opened = self.seal.open(&sealed);
        let entry = opened.and_then(|json| Entry::decode(&json, boot_id, os::now()));
        if entry.is_none() {
            self.store.note(&"its entry is damaged or from the future; it will be replaced");
        }
        entry
    }

    /// `lease`: how long this process will probably need.
    pub fn lock(&mut self, lease: Duration) -> Turn {
        let boot_id = self.store.boot_id.as_deref();
        match self.store.checked(self.folder.lock(&self.seal.name, boot_id, lease)) {
            Some(Lock::Held(lock)) => {
                self.held = Some(lock);
                Turn::Ours
            }
            Some(Lock::Busy(left)) => Turn::Others(left),
            Some(Lock::Unavailable) | None => Turn::Nobodys,
        }
    }

    /// Replaces the entry; does nothing unless this process holds the lock.
    pub fn save(&self, entry: &Entry) {
        let Some(held) = &self.held else { return };
        let json = entry.encode(self.store.boot_id.as_deref(), os::now());
        let sealed = self.seal.close(json);
        if let Some(sealed) = sealed {
            self.store.checked(self.folder.write(&self.seal.name, held, &sealed));
        }
    }

    /// Removes the entry; does nothing unless this process holds the lock.
    pub fn remove(&self) {
        if self.held.is_some() {
            self.store.checked(self.folder.remove(&self.seal.name));
        }
    }
}
