//! Locks between processes on files of their own, and what else the shared store must know about its
//! files. The kernel releases a lock when the process that holds it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// An exclusive lock. Dropping it releases it.
pub(crate) struct FileLock(File);

#[cfg(unix)]
mod system {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};

    use super::*;

    impl FileLock {
        /// Takes the lock of a file, which is created if it is missing; `None` if another holds it.
        pub fn try_new(path: &Path) -> io::Result<Option<FileLock>> {
            let mut options = OpenOptions::new();
            let file = private(options.read(true).write(true).create(true), path)?;
            // SAFETY: a system call on a descriptor that is open for as long as `file` exists.
            match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
                0 => Ok(Some(FileLock(file))),
                _ => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                    error => Err(error),
                },
            }
        }

        pub fn file(&self) -> &File {
            &self.0
        }
    }

    impl Drop for FileLock {
        fn drop(&mut self) {
            // Explicitly: the lock belongs to the open file, of which the child of a fork has a
            // copy, so that closing ours would not release it while the child lives.
            // SAFETY: as above.
            unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_UN) };
        }
    }

    /// Opens a file with these options, without following a link and without waiting, as it would for
    /// the other end of a FIFO. It must be a regular file that belongs to this user.
    pub(crate) fn private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let file = options.mode(0o600).custom_flags(flags).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        // What root makes belongs to the folder's owner, whose processes use it too.
        let owner = match user() {
            0 => path.parent().unwrap_or(path).metadata()?.uid(),
            user => user,
        };
        if user() == 0 && found.uid() == 0 && owner != 0 {
            fchown(&file, Some(owner), None)?;
        } else if found.uid() != owner {
            return Err(io::Error::other("it belongs to another user"));
        }
        Ok(file)
    }

    /// Why a folder must not hold the store, if so. Somebody who can write to it could remove the
    /// lock, or put old files back.
    pub(crate) fn refusal(folder: &Path) -> io::Result<Option<&'static str>> {
        let found = folder.metadata()?;
        Ok(match () {
            () if !found.is_dir() => Some("it is not a folder"),
            () if found.uid() != user() && found.uid() != 0 && user() != 0 => {
                Some("it belongs to another user")
            }
            () if found.mode() & 0o022 != 0 => {
                Some("group or others can write to it; chmod go-w it")
            }
            () if is_on_network(&File::open(folder)?)? => {
                Some("it is on a network file system, whose locks cannot be relied on")
            }
            () => None,
        })
    }

    fn user() -> u32 {
        // SAFETY: a system call that cannot fail.
        unsafe { libc::geteuid() }
    }

    /// NFS, CIFS, 9P, FUSE and the like.
    fn is_on_network(folder: &File) -> io::Result<bool> {
        // SAFETY: all zeroes is a valid statfs, and the call only writes to it.
        let found = unsafe {
            let mut found: libc::statfs = std::mem::zeroed();
            if libc::fstatfs(folder.as_raw_fd(), &mut found) != 0 {
                return Err(io::Error::last_os_error());
            }
            found
        };
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            // The numbers of statfs(2).
            const NETWORK: [u32; 6] =
                [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x517b, 0x0102_1997, 0x6573_5546];
            Ok(NETWORK.contains(&(found.f_type as u32)))
        }
        #[cfg(target_os = "macos")]
        return Ok(found.f_flags & libc::MNT_LOCAL as u32 == 0);
        #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
        return Ok(false);
    }
}

#[cfg(windows)]
mod system {
    use std::os::windows::fs::OpenOptionsExt;

    use super::*;

    const FILE_SHARE_READ: u32 = 1;
    /// Another process has the file open in a way that excludes us.
    const ERROR_SHARING_VIOLATION: i32 = 32;

    impl FileLock {
        /// Takes the lock of a file, which is created if it is missing; `None` if another holds it.
        /// While it is open for writing here, others can only read it.
        pub fn try_new(path: &Path) -> io::Result<Option<FileLock>> {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            match options.share_mode(FILE_SHARE_READ).open(path) {
                Ok(file) => Ok(Some(FileLock(file))),
                Err(error) if error.raw_os_error() == Some(ERROR_SHARING_VIOLATION) => Ok(None),
                Err(error) => Err(error),
            }
        }

        pub fn file(&self) -> &File {
            &self.0
        }
    }

    /// Access is governed by the folder's access control list, which files inherit.
    pub(crate) fn private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
        options.open(path)
    }

    pub(crate) fn refusal(folder: &Path) -> io::Result<Option<&'static str>> {
        use std::path::{Component, Prefix};
        let is_unc = |component| match component {
            Component::Prefix(prefix) => {
                matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..))
            }
            _ => false,
        };
        Ok(match () {
            () if !folder.metadata()?.is_dir() => Some("it is not a folder"),
            () if folder.components().any(is_unc) => {
                Some("it is on a network file system, whose locks cannot be relied on")
            }
            () => None,
        })
    }
}

pub(crate) use system::{private, refusal};
