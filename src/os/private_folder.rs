//! A folder with files that only one user can read, and locks between processes on them. The kernel
//! releases a lock when the process that holds it ends.
//!
//! On Unix all is done relative to the open folder, which has been checked: whatever happens to the
//! path meanwhile, no file of another folder is touched. As root, that matters most.

use std::fs::File;
use std::io;
use std::path::Path;

pub(crate) use system::{FileLock, PrivateFolder};

#[cfg(unix)]
mod system {
    use std::ffi::{CString, c_int};
    use std::os::fd::{AsRawFd, FromRawFd};
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};

    use super::*;

    pub(crate) struct PrivateFolder {
        folder: File,
        /// Of the folder, and of all files in it.
        owner: u32,
    }

    /// Dropping it releases the lock.
    pub(crate) struct FileLock(File);

    impl FileLock {
        pub fn file(&self) -> &File {
            &self.0
        }
    }

    impl Drop for FileLock {
        fn drop(&mut self) {
            // Explicitly: the lock belongs to the open file, of which the child of a fork has a
            // copy, so that closing ours would not release it while the child lives.
            // SAFETY: a system call on a descriptor that is open for as long as the file exists.
            unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_UN) };
        }
    }

    impl PrivateFolder {
        /// An error says why the folder must not hold private files. Somebody who can write to it could
        /// remove the lock, or put old files back.
        pub fn open(path: &Path) -> io::Result<PrivateFolder> {
            let mut options = File::options();
            let folder = options.read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
            let found = folder.metadata()?;
            let refused = match () {
                () if found.uid() != user() && user() != 0 => "it belongs to another user",
                () if found.mode() & 0o022 != 0 => "group or others can write to it; chmod go-w it",
                () if is_on_network(&folder)? => {
                    "it is on a network file system, whose locks cannot be relied on"
                }
                () => return Ok(PrivateFolder { folder, owner: found.uid() }),
            };
            Err(io::Error::other(refused))
        }

        /// Opens a file to read it.
        pub fn open_file(&self, name: &str) -> io::Result<File> {
            self.open_existing(name, libc::O_RDONLY)
        }

        /// An empty file to write to, in place of an old one of this name.
        pub fn replace_file(&self, name: &str) -> io::Result<File> {
            match self.remove(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => self.create(name),
            }
        }

        pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            let folder = self.folder.as_raw_fd();
            let (from, to) = (CString::new(from)?, CString::new(to)?);
            // SAFETY: the folder is open, and both names end with NUL.
            check(unsafe { libc::renameat(folder, from.as_ptr(), folder, to.as_ptr()) }).map(drop)
        }

        pub fn remove(&self, name: &str) -> io::Result<()> {
            let name = CString::new(name)?;
            // SAFETY: as above.
            check(unsafe { libc::unlinkat(self.folder.as_raw_fd(), name.as_ptr(), 0) }).map(drop)
        }

        /// Takes the lock of a file, which is created if it is missing. If another process holds it:
        /// the file, to read what that process has written.
        pub fn lock(&self, name: &str) -> io::Result<Result<FileLock, File>> {
            check_file_size_limit()?;
            let file = match self.open_existing(name, libc::O_RDWR) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(name),
                file => file,
            };
            let file = match file {
                // Another process has created it just now.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.open_existing(name, libc::O_RDWR)?
                }
                file => file?,
            };
            // SAFETY: as for the unlocking.
            match check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
                Ok(_) => Ok(Ok(FileLock(file))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Err(file)),
                Err(error) => Err(error),
            }
        }

        fn open_existing(&self, name: &str, access: c_int) -> io::Result<File> {
            let file = self.open_at(name, access)?;
            let found = file.metadata()?;
            let refused = match () {
                () if !found.is_file() => "it is not a regular file",
                () if found.uid() != self.owner => "it belongs to another user",
                () => return Ok(file),
            };
            Err(io::Error::other(refused))
        }

        fn create(&self, name: &str) -> io::Result<File> {
            let file = self.open_at(name, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL)?;
            // What root makes belongs to the folder's owner, whose processes use it too.
            if self.owner != user() {
                fchown(&file, Some(self.owner), None)?;
            }
            Ok(file)
        }

        /// Follows no link, and does not wait, as it would for the other end of a FIFO.
        fn open_at(&self, name: &str, flags: c_int) -> io::Result<File> {
            let name = CString::new(name)?;
            let flags = flags | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
            const MODE: libc::c_uint = 0o600;
            // SAFETY: the folder is open, and the name ends with NUL. What it returns is a new
            // descriptor that nobody else owns.
            unsafe {
                let opened = libc::openat(self.folder.as_raw_fd(), name.as_ptr(), flags, MODE);
                check(opened).map(|descriptor| File::from_raw_fd(descriptor))
            }
        }
    }

    fn check(result: c_int) -> io::Result<c_int> {
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }

    fn user() -> u32 {
        // SAFETY: a system call that cannot fail.
        unsafe { libc::geteuid() }
    }

    /// To write beyond this limit ends the whole program, with SIGXFSZ.
    fn check_file_size_limit() -> io::Result<()> {
        const NEEDED: libc::rlim_t = 64 << 10;
        // SAFETY: all zeroes is a valid rlimit, and the call only writes to it.
        let limit = unsafe {
            let mut limit: libc::rlimit = std::mem::zeroed();
            check(libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit))?;
            limit.rlim_cur
        };
        match limit < NEEDED {
            true => Err(io::Error::other("this process may write no file of 64 KiB (ulimit -f)")),
            false => Ok(()),
        }
    }

    /// NFS, CIFS, 9P, FUSE and the like.
    fn is_on_network(folder: &File) -> io::Result<bool> {
        // SAFETY: all zeroes is a valid statfs, and the call only writes to it.
        let found = unsafe {
            let mut found: libc::statfs = std::mem::zeroed();
            check(libc::fstatfs(folder.as_raw_fd(), &mut found))?;
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
    use std::path::{Component, PathBuf, Prefix};
    use std::time::Duration;

    use super::*;

    const FILE_SHARE_READ: u32 = 1;
    /// Another process has the file open in a way that excludes us.
    const ERROR_SHARING_VIOLATION: i32 = 32;

    /// Access is governed by the folder's access control list, which files inherit.
    pub(crate) struct PrivateFolder(PathBuf);

    /// Dropping it releases the lock.
    pub(crate) struct FileLock(File);

    impl FileLock {
        pub fn file(&self) -> &File {
            &self.0
        }
    }

    impl PrivateFolder {
        /// An error says why the folder cannot hold the files.
        pub fn open(path: &Path) -> io::Result<PrivateFolder> {
            let is_unc = |component| match component {
                Component::Prefix(prefix) => {
                    matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..))
                }
                _ => false,
            };
            let refused = match () {
                () if !path.metadata()?.is_dir() => "it is not a folder",
                () if path.components().any(is_unc) => {
                    "it is on a network file system, whose locks cannot be relied on"
                }
                () => return Ok(PrivateFolder(path.to_owned())),
            };
            Err(io::Error::other(refused))
        }

        pub fn open_file(&self, name: &str) -> io::Result<File> {
            File::open(self.0.join(name))
        }

        pub fn replace_file(&self, name: &str) -> io::Result<File> {
            File::create(self.0.join(name))
        }

        /// Fails while another process has the file open; they have it for microseconds.
        pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            const ACCESS_DENIED_OR_SHARING_VIOLATION: [i32; 3] = [5, ERROR_SHARING_VIOLATION, 33];
            let mut pause = Duration::from_millis(1);
            loop {
                match std::fs::rename(self.0.join(from), self.0.join(to)) {
                    Err(error)
                        if error.raw_os_error().is_some_and(|code| {
                            ACCESS_DENIED_OR_SHARING_VIOLATION.contains(&code)
                        }) && pause <= Duration::from_millis(16) =>
                    {
                        std::thread::sleep(pause);
                        pause *= 2;
                    }
                    renamed => return renamed,
                }
            }
        }

        pub fn remove(&self, name: &str) -> io::Result<()> {
            std::fs::remove_file(self.0.join(name))
        }

        /// While it is open for writing here, others can only read it.
        pub fn lock(&self, name: &str) -> io::Result<Result<FileLock, File>> {
            let path = self.0.join(name);
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            match options.share_mode(FILE_SHARE_READ).open(&path) {
                Ok(file) => Ok(Ok(FileLock(file))),
                Err(error) if error.raw_os_error() == Some(ERROR_SHARING_VIOLATION) => {
                    Ok(Err(File::open(path)?))
                }
                Err(error) => Err(error),
            }
        }
    }
}
