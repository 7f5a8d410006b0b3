//! The programs in `tests/languages/`: each runs as its page in `docs/languages/` says, gets the
//! expected results from the mock tenant, sends no unneeded request and frees every handle.

#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::native::{root, skip, succeed, with_tenant};
use support::tenant::{Answer, Tenant};
use tempfile::TempDir;

/// One test per language, with a command that fails if something is missing, and what to install.
macro_rules! languages {
    ($($name:ident: $probe:literal, $install:literal;)*) => {
        $(#[test]
        fn $name() {
            if has(stringify!($name), $probe, $install) {
                check(stringify!($name));
            }
        })*

        const LANGUAGES: &[&str] = &[$(stringify!($name)),*];
    };
}

languages! {
    cpp: "g++ --version && curl-config --version", "g++ libcurl4-openssl-dev";
    go: "go version && gcc --version", "golang-go gcc";
    luajit: "luajit -e 'require \"http.tls\" require \"cjson\"'", "luajit lua-http lua-cjson";
    node: "node -e 'require(\"koffi\")'",
        "nodejs, and koffi by npm; set NODE_PATH to its node_modules";
    perl: "perl -MFFI::Platypus -MIO::Socket::SSL -e 1",
        "libffi-platypus-perl libio-socket-ssl-perl";
    php: "php -r 'exit(class_exists(\"FFI\") && function_exists(\"pcntl_fork\") ? 0 : 1);'",
        "php-cli";
    python: "python3 -c 'import ctypes, ssl'", "python3";
    ruby: "ruby -r fiddle -r net/http -e 1", "ruby";
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
    root().join("tests/languages").join(language)
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

/// A folder with the library and, under the library's name, a wrapper that counts handles.
fn counting_library() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path();
    fs::create_dir(path.join("link")).expect("a folder");
    // The wrapper is linked against an empty library with another soname, real.so: with the same
    // soname as the wrapper, the loader would not load the library.
    succeed(cc(path).args(["-xc", "/dev/null", "-o", "real.so", "-Wl,-soname,real.so"]));
    succeed(
        cc(path)
            .arg("-I")
            .arg(root().join("include"))
            .arg(root().join("tests/bindings/handles.c"))
            .args(["-o", "liboneaccess.so.0", "-Wl,-soname,liboneaccess.so.0"])
            .args(["-Wl,--no-as-needed", "real.so", "-ldl"]),
    );
    fs::remove_file(path.join("real.so")).expect("removed");
    symlink(built(), path.join("real.so")).expect("a link");
    symlink(built(), path.join("link/liboneaccess.so")).expect("a link");
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

fn check(language: &str) {
    let tenant = Tenant::start();
    // The management API rejects the first token.
    let body = r#"{"access_token": "revoked", "token_type": "Bearer", "expires_in": 1800}"#;
    tenant.next(Answer::json(200, body));

    let library = counting_library();
    let work = TempDir::new().expect("a folder");
    succeed(Command::new("cp").arg("-R").arg(folder(language).join(".")).arg(work.path()));
    let mut command = Command::new("timeout");
    command
        .args(["-s", "KILL", "60", "sh", "-eu", "run"])
        .current_dir(&work)
        .env("CPATH", root().join("include"))
        .env("LIBRARY_PATH", library.path().join("link"))
        .env("LD_LIBRARY_PATH", library.path())
        .env("ONEACCESS_HANDLES", library.path().join("handles"))
        .env("ONEACCESS_TENANT_USERS_URL", tenant.users_url())
        .env("LC_ALL", "C.UTF-8")
        .env("XDG_CONFIG_HOME", work.path())
        .env("GOCACHE", work.path().join("cache"));
    let printed = succeed(with_tenant(&mut command, &tenant));

    let lines: Vec<&str> = printed.lines().collect();
    let [users, wrong_secret, disabled, ok] = lines[..] else { panic!("{printed}") };
    let totals = users.strip_prefix("users:").expect(users).split_whitespace();
    assert!(totals.clone().count() > 0 && totals.clone().all(|total| total == "2"), "{users}");
    assert!(wrong_secret.starts_with("kind 7, HTTP 401, invalid_client: "), "{wrong_secret}");
    assert!(disabled.starts_with("kind 7, HTTP 400, APP.0003: "), "{disabled}");
    assert!(disabled.contains("应用已禁用"), "{disabled}");
    assert_eq!(ok, "ok");

    // One request for the revoked token, one after all threads rejected it, and two denied ones.
    assert_eq!(tenant.requests(), 4);
    let [first, children] = handles(library.path());
    assert!(first.made >= 6, "{} handles", first.made);
    assert_eq!(first.made, first.freed, "handles were not freed");
    assert!(children.made <= children.freed, "handles of a child were not freed");
    assert!(children.freed <= children.made + children.inherited);
}

/// Every code block of a page is part of a program or script that was run above, and at least two
/// are whole files: the wrapper and the commands.
#[test]
fn pages_show_what_is_tested() {
    for language in LANGUAGES {
        let folder = folder(language);
        let tested: Vec<String> = [folder.clone(), folder.join("oneaccess")]
            .iter()
            .filter_map(|folder| fs::read_dir(folder).ok())
            .flatten()
            .map(|file| file.expect("a file").path())
            .filter(|path| path.is_file())
            .map(|path| fs::read_to_string(path).expect("text"))
            .collect();
        let page = root().join(format!("docs/languages/{language}.md"));
        let page = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{page:?}: {error}"));
        let mut whole_files = 0;
        for block in page.split("\n```").skip(1).step_by(2) {
            let (_, code) = block.split_once('\n').expect("a block has lines");
            let code = format!("{code}\n");
            let found = tested.iter().any(|file| file.contains(&code));
            assert!(found, "{language}.md shows what is not tested:\n{code}");
            whole_files += usize::from(tested.contains(&code));
        }
        assert!(whole_files >= 2, "{language}.md shows {whole_files} whole files");
    }
}
