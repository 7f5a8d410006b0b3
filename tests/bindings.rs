//! The bindings in `bindings/`: the example and the checks of each language run as its README says,
//! send no unneeded request and free every handle; each covers the whole header.

#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::native::{root, skip, succeed, with_tenant};
use support::tenant::{Answer, Tenant};
use tempfile::TempDir;

/// What the check program of every language prints, each after "ok ".
const CHECKS: &[&str] = &[
    "version",
    "no endpoint",
    "no secret",
    "unknown setting",
    "bad value",
    "NUL character",
    "no token yet",
    "token",
    "cached token",
    "refresh in",
    "rejected token",
    "rejected again",
    "statistics",
    "threads",
    "forked child",
    "asynchronous",
    "denied",
    "remembered",
    "last error",
    "empty secret",
    "new secret",
    "vendor code",
    "secrets hidden",
    "closed",
    "from the environment",
];

/// A language, the files of its wrapper, a command that fails if something is missing and what to install then,
/// and those of CHECKS that make no sense in it.
macro_rules! languages {
    ($($name:ident: $wrapper:literal, $probe:literal, $install:literal, $without:expr;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn example() {
                if has(stringify!($name), $probe, $install) {
                    run_example(stringify!($name));
                }
            }

            #[test]
            fn checks() {
                if has(stringify!($name), $probe, $install) {
                    run_checks(stringify!($name), &$without);
                }
            }

            #[test]
            fn covers_the_header() {
                compare_with_header(stringify!($name), $wrapper);
            }
        })*
    };
}

languages! {
    csharp: "OneAccess.cs", "mcs --version && mono --version && command -v cert-sync",
        "mono-mcs libmono-system-net-http4.0-cil ca-certificates-mono", ["forked child"];
    java: "oneaccess/Client.java oneaccess/OneAccessException.java", "javac --version && test -e /usr/share/java/jna.jar",
        "openjdk-17-jdk-headless libjna-java", ["forked child"];
    python: "oneaccess/__init__.py", "python3 -c 'import ctypes, ssl'", "python3", [];
}

fn has(language: &str, probe: &str, install: &str) -> bool {
    let mut command = Command::new("sh");
    let output = command.args(["-c", probe]).current_dir(folder(language)).output().expect("sh");
    if !output.status.success() {
        skip(&format!("{language} needs {install}"));
    }
    output.status.success()
}

fn folder(language: &str) -> PathBuf {
    root().join("bindings").join(language)
}

/// The library, which `cargo test` puts beside the test program.
fn built() -> PathBuf {
    let test = std::env::current_exe().expect("the test program");
    test.with_file_name("liboneaccess.so")
}

fn cc(folder: &Path) -> Command {
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]).current_dir(folder);
    command
}

/// A folder with the library and, under the library's names, a wrapper that counts handles.
fn counting_library() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path();
    // The wrapper is linked against an empty library with another soname, real.so: with the same
    // soname as the wrapper, the loader would not load the library.
    succeed(cc(path).args(["-xc", "/dev/null", "-o", "real.so", "-Wl,-soname,real.so"]));
    succeed(
        cc(path)
            .arg("-I")
            .arg(root().join("include"))
            .arg(root().join("tests/bindings/handles.c"))
            .args(["-o", "liboneaccess.so.0", "-Wl,-soname,liboneaccess.so.0"])
            .args(["-Wl,--no-as-needed", "real.so", "-ldl", "-Wl,-rpath,$ORIGIN"]),
    );
    fs::remove_file(path.join("real.so")).expect("removed");
    symlink(built(), path.join("real.so")).expect("a link");
    // Programs in C++ and Go are linked with this name.
    symlink("liboneaccess.so.0", path.join("liboneaccess.so")).expect("a link");
    fs::write(path.join("handles"), [0; 4096]).expect("a file");
    folder
}

/// The counts of `handles.c`, of one process or of its children: inherited, made and freed.
struct Handles {
    inherited: u64,
    made: u64,
    freed: u64,
}

fn handles(folder: &Path) -> [Handles; 2] {
    let bytes = fs::read(folder.join("handles")).expect("the file");
    let number = |at: usize| u64::from_ne_bytes(bytes[at * 8..][..8].try_into().expect("8 bytes"));
    [0, 3].map(|at| Handles { inherited: number(at), made: number(at + 1), freed: number(at + 2) })
}

/// Runs `make goal` in a copy of the language's folder, and returns what the program printed.
fn run(language: &str, goal: &str, tenant: &Tenant) -> String {
    let library = counting_library();
    let work = TempDir::new().expect("a folder");
    let bindings = work.path().join("bindings");
    fs::create_dir(&bindings).expect("a folder");
    succeed(Command::new("cp").arg("-R").arg(folder(language)).arg(&bindings));
    fs::copy(root().join("bindings/common.mk"), bindings.join("common.mk")).expect("a copy");
    let mut command = Command::new("timeout");
    command
        .args(["-s", "KILL", "90", "make", "-s", goal])
        .arg(format!("LIBRARY={}", library.path().display()))
        .arg(format!("INCLUDE={}", root().join("include").display()))
        .current_dir(bindings.join(language))
        .env("ONEACCESS_HANDLES", library.path().join("handles"))
        .env("LC_ALL", "C.UTF-8")
        .env("XDG_CONFIG_HOME", work.path())
        .env("GOCACHE", work.path().join("cache"));
    let printed = succeed(with_tenant(&mut command, tenant));

    let [first, children] = handles(library.path());
    assert!(first.made >= 3, "{} handles", first.made);
    assert_eq!(first.made, first.freed, "handles were not freed");
    assert!(children.made <= children.freed, "handles of a child were not freed");
    assert!(children.freed <= children.made + children.inherited);
    printed
}

fn run_example(language: &str) {
    let tenant = Tenant::start();
    // The management API rejects the first token.
    let body = r#"{"access_token": "revoked", "token_type": "Bearer", "expires_in": 1800}"#;
    tenant.next(Answer::json(200, body));
    assert_eq!(run(language, "run", &tenant), "zhangsan\nlisi\n");
    assert_eq!(tenant.requests(), 2);
    let readme = fs::read_to_string(folder(language).join("README.md")).expect("a README");
    assert!(readme.contains(&format!("\nmake -C bindings/{language} run\n")));
}

fn run_checks(language: &str, without: &[&str]) {
    let tenant = Tenant::builder().fresh_token_every_time().start();
    let printed = run(language, "check", &tenant);
    let checks = CHECKS.iter().filter(|check| !without.contains(check));
    let expected: String = checks.map(|check| format!("ok {check}\n")).collect();
    assert_eq!(printed, expected);
    // The first token, the one after the rejection, one in the tasks, wrong and right secret, a
    // disabled application, and the client of the environment.
    let requests = if without.contains(&"asynchronous") { 6 } else { 7 };
    assert_eq!(tenant.requests(), requests);
    assert_eq!(tenant.requests_log()[0].header("X-Test"), Some("bindings"));
}

/// Every function and every number of the header is in the wrapper, or its README says in the
/// section "Left out" why not.
fn compare_with_header(language: &str, wrapper: &str) {
    let header = fs::read_to_string(root().join("include/oneaccess.h")).expect("the header");
    let file = |path| fs::read_to_string(folder(language).join(path)).expect("the wrapper");
    let wrapper: String = wrapper.split(' ').map(file).collect();
    let readme = fs::read_to_string(folder(language).join("README.md")).expect("a README");
    let (_, left_out) = readme.split_once("\n## Left out\n").expect("a section");
    let reason = |name: &str| left_out.contains(&format!("\n- `{name}`: "));
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let declared = header.lines().filter(|line| !line.starts_with([' ', '#', '/', '*']));
    let functions = declared
        .filter_map(|line| line.split_once('('))
        .filter_map(|(before, _)| before.rsplit(|c| !is_name(c)).next())
        .filter(|name| name.starts_with("oneaccess_"));
    let mut count = 0;
    for function in functions {
        let used = wrapper.split(|c| !is_name(c)).any(|word| word == function);
        assert!(used != reason(function), "{language}: {function} is used {used}, left out {used}");
        count += 1;
    }
    assert!(count > 30, "{count} functions");
    // Kinds and statistics by name, in any case: ONEACCESS_ERROR_DENIED is DENIED or Denied.
    let wrapper = wrapper.to_lowercase().replace('_', "");
    for line in header.lines() {
        for prefix in ["#define ONEACCESS_ERROR_", "#define ONEACCESS_STAT_"] {
            let Some((name, _)) = line.strip_prefix(prefix).and_then(|line| line.split_once(' '))
            else {
                continue;
            };
            let known = wrapper.contains(&name.to_lowercase().replace('_', ""));
            assert!(known || name == "NONE", "{language}: {name} is not in the wrapper");
        }
    }
}

/// Whatever is a folder in `bindings/` is tested above.
#[test]
fn every_binding_is_tested() {
    let source = fs::read_to_string(root().join("tests/bindings.rs")).expect("this file");
    for entry in fs::read_dir(root().join("bindings")).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(!path.is_dir() || source.contains(&format!("\n    {name}: \"")), "{name}");
    }
}
