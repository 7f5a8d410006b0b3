//! The shared store in a folder: for each entry a file, and two lock files, which are never deleted.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clocks::{decode_lease, encode_lease};
use super::entry::Age;
use super::{MAX_ENTRY_BYTES, Place, Turn, check_length};
use crate::os::{FileLock, PrivateFolder};

/// A lease takes about 80.
const MAX_LEASE_BYTES: u64 = 256;
/// Such an entry is read at once.
const USUAL_ENTRY_BYTES: usize = 8 << 10;
/// A holder that is this much over its lease is stopped, or was killed while a child of it lives.
const OVERDUE: Duration = Duration::from_secs(1);

pub(super) struct Folder(PrivateFolder);

/// The folder during one refresh.
pub(super) struct FolderVisit<'a> {
    folder: PrivateFolder,
    boot_id: Option<&'a str>,
    held: Option<HeldLock>,
}

/// Dropping it releases the lock.
struct HeldLock {
    lock: FileLock,
    /// Each of the two locks has a file of its own for an entry that is being written.
    new_suffix: &'static str,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        // So that the next holder's lease, until it is written, is not mistaken for this one.
        let _ = self.lock.file().set_len(0);
    }
}

impl Folder {
    /// The folder of this path, which is made if only its last part is missing.
    pub fn open(path: &Path) -> io::Result<Folder> {
        Folder::open_or_make(path, false)
    }

    /// The folder of this user for caches.
    pub fn open_default() -> io::Result<Folder> {
        let path = default_path().ok_or_else(|| io::Error::other("the user has no home folder"))?;
        Folder::open_or_make(&path, true)
    }

    fn open_or_make(path: &Path, with_parents: bool) -> io::Result<Folder> {
        let folder = match PrivateFolder::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(path, with_parents)?;
                PrivateFolder::open(path)
            }
            folder => folder,
        };
        folder.map(Folder)
    }

    pub fn visit(self, boot_id: Option<&str>) -> FolderVisit<'_> {
        FolderVisit { folder: self.0, boot_id, held: None }
    }
}

impl Place for FolderVisit<'_> {
    fn read(&mut self, name: &str) -> io::Result<Option<(Vec<u8>, Age)>> {
        let file = match self.folder.open_file(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::with_capacity(USUAL_ENTRY_BYTES);
        file.take(MAX_ENTRY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        match bytes.len() {
            0..=MAX_ENTRY_BYTES => Ok(Some((bytes, Age::Clocks))),
            _ => Err(io::Error::other("the entry is longer than 64 KiB")),
        }
    }

    /// Readers see the old entry or the new one. After a crash of the machine it may be neither: then
    /// the entry cannot be opened, and is requested again.
    fn write(&mut self, name: &str, bytes: &[u8], _: Duration) -> io::Result<()> {
        let Some(held) = &self.held else { return Ok(()) };
        check_length(bytes)?;
        let new = format!("{name}{}", held.new_suffix);
        let written = self.folder.replace_file(&new).and_then(|mut file| file.write_all(bytes));
        let written = written.and_then(|()| self.folder.rename(&new, name));
        if written.is_err() {
            let _ = self.folder.remove(&new);
        }
        written
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        if self.held.is_none() {
            return Ok(());
        }
        match self.folder.remove(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// If the holder of the lock is overdue there is a second one.
    fn lock(&mut self, name: &str, lease: Duration) -> io::Result<Turn> {
        for (suffix, new_suffix) in [(".lock", ".new"), (".lock2", ".new2")] {
            let holders = match self.folder.lock(&format!("{name}{suffix}"))? {
                Ok(lock) => {
                    let mut file = lock.file();
                    file.set_len(0)?;
                    file.write_all(encode_lease(self.boot_id, lease).as_bytes())?;
                    self.held = Some(HeldLock { lock, new_suffix });
                    return Ok(Turn::Ours);
                }
                Err(file) => file,
            };
            let mut text = String::new();
            // What is not text is not a lease either.
            let _ = holders.take(MAX_LEASE_BYTES).read_to_string(&mut text);
            match decode_lease(self.boot_id, &text) {
                Some((_, overdue)) if overdue >= OVERDUE => {}
                lease => return Ok(Turn::Others(lease.map(|(left, _)| left))),
            }
        }
        // Both holders are overdue: perhaps the endpoint is slow, and one of them has a token soon.
        Ok(Turn::Others(None))
    }

    fn pauses(&self) -> (Duration, Duration) {
        (Duration::from_millis(5), Duration::from_millis(50))
    }
}

/// Of this user alone.
fn make(folder: &Path, with_parents: bool) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.recursive(with_parents).create(folder) {
        // By another process, just now.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn default_path() -> Option<PathBuf> {
    let variable =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // Not deprecated any more since Rust 1.87: on Windows it no longer looks at HOME.
    #[allow(deprecated)]
    let home = || std::env::home_dir().filter(|path| path.is_absolute());
    let caches = match () {
        () if cfg!(windows) => variable("LOCALAPPDATA"),
        () if cfg!(target_os = "macos") => home().map(|home| home.join("Library/Caches")),
        () => variable("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(".cache"))),
    };
    Some(caches?.join("oneaccess"))
}
