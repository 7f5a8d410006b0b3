//! Reads the files that settings name. It never blocks, even on a FIFO or a terminal, and reads no more
//! than the caller allows.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

/// Some file systems say 0 for the size of every file (FUSE, /proc).
const LEAST_ROOM: usize = 64 << 10;

/// The whole file without its byte order mark, if it is a regular file of at most `bound` bytes.
///
/// An operating system error (`raw_os_error` is set) may be temporary; any other error is about the
/// content or the type of the file and stays until the file is changed.
pub(crate) fn read(path: &Path, bound: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = open(path)?;
    // Metadata of the open file: the path may already name another one.
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(refusal("it is a directory"));
    }
    if !found.is_file() {
        return Err(refusal("it is not a regular file"));
    }
    let size = usize::try_from(found.len()).unwrap_or(usize::MAX);
    let room = size.max(LEAST_ROOM).min(bound);
    // One byte more shows that the file is longer. Growing would leave unwiped copies in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(room + 1));
    file.take(room as u64 + 1).read_to_end(&mut bytes)?;
    if size > bound || bytes.len() > bound {
        return Err(refusal(&format!("it is longer than {}; is it the right file?", shown(bound))));
    }
    if bytes.len() > room {
        return Err(refusal("it grew while it was read"));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(refusal("it is UTF-16 text; save it as UTF-8"));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // Otherwise opening a FIFO waits for a writer, and a terminal could become our controlling one.
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

#[cfg(windows)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt;
    // Otherwise a directory is reported as "Access is denied". Pipes and devices have no metadata.
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    OpenOptions::new().read(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)
}

fn refusal(why: &str) -> io::Error {
    io::Error::other(why)
}

fn shown(bound: usize) -> String {
    match bound >> 20 {
        0 => format!("{} KiB", bound >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    }
}
