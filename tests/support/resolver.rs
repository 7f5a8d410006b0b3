//! Replaces the name lookup of a child process.

use std::process::Command;

use tempfile::TempDir;

use super::child;
use super::native::{root, succeed};

/// Compiled once per test. Keep it until the child has exited.
pub struct Resolver {
    folder: TempDir,
}

impl Resolver {
    pub fn compile() -> Resolver {
        let folder = TempDir::new().expect("a folder");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"]);
        command.arg(folder.path().join("resolver.so"));
        succeed(command.arg(root().join("tests/support/resolver.c")));
        Resolver { folder }
    }

    /// Every name lookup takes this long and returns these addresses.
    pub fn runner(&self, lookup_ms: u32, addresses: &str) -> Command {
        let mut command = child::plain();
        command.env("LD_PRELOAD", self.folder.path().join("resolver.so"));
        command.env("FAKE_LOOKUP_MS", lookup_ms.to_string()).env("FAKE_ADDRESSES", addresses);
        command
    }

    /// Every `connect` fails immediately with this error number, and is counted.
    pub fn failing_connect(&self, errno: i32) -> Command {
        let mut command = self.runner(0, "127.0.0.1");
        command.env("FAKE_CONNECT_ERRNO", errno.to_string());
        command
    }
}

/// Number of calls of `connect`; for use in such a child.
pub fn connects() -> i32 {
    // SAFETY: the symbol is an int of the library that was loaded before libc.
    unsafe {
        let count = libc::dlsym(libc::RTLD_DEFAULT, c"fake_connects".as_ptr());
        count.cast::<i32>().as_ref().copied().expect("the library")
    }
}
