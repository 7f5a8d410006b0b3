//! Compiles C and C++ programs against the library that `cargo test` built, and runs them.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::tenant::Tenant;

/// The libraries that programs must link with the static library, as listed in the README.
pub const NATIVE_LIBRARIES: &str = "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Library {
    Shared,
    Static,
    /// The program loads it with `dlopen`.
    None,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a tool is installed. If not, reports the test as skipped, or fails it where
/// `ONEACCESS_REQUIRE_ALL` is set.
pub fn has(tool: &str, package: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success());
    if !found {
        skip(&format!("there is no {tool}; install {package}"));
    }
    found
}

pub fn skip(why: &str) {
    assert!(std::env::var_os("ONEACCESS_REQUIRE_ALL").is_none(), "ONEACCESS_REQUIRE_ALL: {why}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not eprintln!, which the test harness captures.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// The folder of the test program, where `cargo test` puts the libraries.
fn built() -> PathBuf {
    let test = std::env::current_exe().expect("the test program");
    test.parent().expect("its folder").to_owned()
}

/// `target`, the folder above `debug/deps`.
pub fn target_folder() -> PathBuf {
    built().ancestors().nth(2).expect("target").to_owned()
}

/// Removes the variables that `cargo test` sets, which would affect a nested cargo.
pub fn as_user(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let cargo = name.to_string_lossy().starts_with("CARGO_") && name != "CARGO_HOME";
        if cargo || name == "OUT_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// `make` in the root folder, with the build folder of the tests.
pub fn make() -> Command {
    let mut make = Command::new("make");
    make.current_dir(root()).arg(format!("TARGET_DIR={}", target_folder().display()));
    as_user(&mut make);
    make
}

/// Builds an example of this package and returns its path.
pub fn example(name: &str) -> PathBuf {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--locked", "--example", name, "--target-dir"]);
    succeed(as_user(cargo.arg(target_folder()).current_dir(root())));
    target_folder().join("debug/examples").join(name)
}

/// Copies the shared library under the name that programs load.
fn put_shared_library(folder: &Path) -> PathBuf {
    let path = folder.join("liboneaccess.so.0");
    std::fs::copy(built().join("liboneaccess.so"), &path).expect("the library");
    path
}

/// A folder that contains only `liboneaccess.so.0`.
pub fn shared_library() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    put_shared_library(folder.path());
    folder
}

/// A compiled program, in a folder with the library that it loads.
pub struct Program {
    folder: TempDir,
}

impl Program {
    pub fn compile(compiler: &str, source: &str, flags: &[&str], library: Library) -> Program {
        let folder = TempDir::new().expect("a folder");
        let mut command = Command::new(compiler);
        command.args(["-g", "-Wall", "-Wextra", "-pedantic", "-Werror"]).args(flags);
        command.arg("-I").arg(root().join("include")).arg("-o").arg(folder.path().join("program"));
        command.arg(root().join(source));
        match library {
            Library::Shared => {
                let shared = put_shared_library(folder.path());
                command.arg(&shared).arg("-Wl,-rpath,$ORIGIN").arg("-lpthread");
            }
            Library::Static => {
                command.arg(built().join("liboneaccess.a")).args(NATIVE_LIBRARIES.split(' '));
            }
            Library::None => {}
        }
        succeed(&mut command);
        Program { folder }
    }

    /// Killed after 120 s with SIGKILL, since some programs ignore SIGTERM when they hang.
    pub fn command(&self) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "120"]).arg(self.path());
        command
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    pub fn under_valgrind(&self) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "300", "valgrind", "--quiet", "--error-exitcode=99"]);
        command.args(["--leak-check=full", "--show-leak-kinds=definite,indirect,possible"]);
        command.args(["--errors-for-leak-kinds=definite,indirect,possible", "--fair-sched=yes"]);
        let suppressions = root().join("tests/valgrind.supp");
        command.arg(format!("--suppressions={}", suppressions.display()));
        command.arg(self.path());
        command
    }
}

/// Sets the environment variables of a tenant, as a user would.
pub fn with_tenant<'a>(command: &'a mut Command, tenant: &Tenant) -> &'a mut Command {
    for name in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
        .env_remove("ONEACCESS_CLIENT_SECRET_FILE")
        .env("ONEACCESS_ENDPOINT", tenant.endpoint())
        .env("ONEACCESS_CLIENT_ID", tenant.client_id())
        .env("ONEACCESS_CLIENT_SECRET", tenant.client_secret())
        .env("ONEACCESS_CA_FILE", tenant.ca_file())
}

/// The paths of all files below a folder, relative to it, sorted.
pub fn files_below(folder: &Path) -> Vec<String> {
    let listed =
        succeed(Command::new("find").arg(folder).args(["!", "-type", "d", "-printf", "%P\n"]));
    let mut files: Vec<String> = listed.lines().map(str::to_owned).collect();
    files.sort();
    files
}

/// Runs a command and returns its output; panics with all its output if it failed.
pub fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(stdout), text(stderr));
    let arguments: Vec<&OsStr> = command.get_args().collect();
    assert!(
        status.success(),
        "{:?} {arguments:?}: {status}\n{stdout}\n{stderr}",
        command.get_program()
    );
    stdout
}
