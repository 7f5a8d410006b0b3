//! The bindings in `bindings/`: the example and the checks of each language run as its README says,
//! send no unneeded request and free every handle; each covers the whole header.

#![cfg(target_os = "linux")]

mod support;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use support::native::{root, skip, succeed, with_tenant};
use support::nginx::Workers;
use support::proxy::free_port;
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
    "headers",
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
    "shared store",
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
    cpp: "oneaccess.hpp", "g++ --version && curl-config --version", "g++ libcurl4-openssl-dev",
        ["asynchronous"];
    csharp: "OneAccess.cs", "mcs --version && mono --version && command -v cert-sync",
        "mono-mcs libmono-system-net-http4.0-cil ca-certificates-mono", ["forked child"];
    go: "oneaccess.go", "go version && gcc --version", "golang-go gcc", ["forked child"];
    java: "oneaccess/Client.java oneaccess/OneAccessException.java", "javac --version && test -e /usr/share/java/jna.jar",
        "openjdk-17-jdk-headless libjna-java", ["forked child"];
    luajit: "oneaccess.lua", "luajit -e 'require \"http.tls\" require \"cjson\"'",
        "luajit2 lua-http lua-cjson", ["threads", "asynchronous"];
    node: "oneaccess.js", "node -e 'require(\"koffi\")'",
        "nodejs, and koffi by npm; set NODE_PATH to its node_modules", ["forked child"];
    perl: "lib/OneAccess.pm", "perl -MFFI::Platypus -MIO::Socket::SSL -e 1",
        "libffi-platypus-perl libio-socket-ssl-perl", ["threads", "asynchronous"];
    php: "oneaccess.php",
        "php -r 'exit(class_exists(\"FFI\") && function_exists(\"pcntl_fork\") ? 0 : 1);'",
        "php-cli", ["threads", "asynchronous"];
    python: "oneaccess/__init__.py", "python3 -c 'import ctypes, ssl'", "python3", [];
    ruby: "lib/oneaccess.rb", "ruby -r fiddle -r net/http -e 1", "ruby", ["asynchronous"];
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
    // Programs in C++ and Go are linked with the library, and load the wrapper.
    symlink(built(), path.join("liboneaccess.so")).expect("a link");
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
        .env_remove("ONEACCESS_LIBRARY")
        .env("ONEACCESS_HEADERS", "X-Test: environment")
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
    // disabled application, one for two clients with a store and one for that without its folder, and
    // the client of the environment.
    let requests = if without.contains(&"asynchronous") { 8 } else { 9 };
    assert_eq!(tenant.requests(), requests);
    let log = tenant.requests_log();
    let mut headers: Vec<_> = log.iter().filter_map(|request| request.header("X-Test")).collect();
    headers.dedup();
    // Not "environment": headers in the settings replace those in the environment.
    assert_eq!(headers, ["bindings", "settings"]);
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

/// nginx with the configuration for LuaJIT: each worker starts with the token that the master got
/// before the fork, replaces it once it is rejected, and serves other requests meanwhile.
#[test]
fn luajit_in_nginx() {
    if !has("luajit", NGINX_WITH_LUA, "libnginx-mod-http-lua") {
        return;
    }
    let tenant = Tenant::builder().fresh_token_every_time().start();
    let body = r#"{"access_token": "revoked", "token_type": "Bearer", "expires_in": 1800}"#;
    tenant.next(Answer::json(200, body));
    let delay = Duration::from_secs(3);
    tenant.next(Answer::Delayed(delay, Box::default()));
    let library = counting_library();
    let nginx = start_nginx(&tenant, library.path());
    assert_eq!(tenant.requests(), 1);

    let end = Instant::now() + Duration::from_secs(30);
    let mut answers: HashMap<String, Vec<bool>> = HashMap::new();
    thread::scope(|scope| {
        // Ends when both workers have another token, of which one is delayed.
        scope.spawn(|| {
            while answers.len() < 2 || !answers.values().all(|answers| answers.contains(&true)) {
                assert!(Instant::now() < end, "{answers:?}");
                let (worker, passed) = call_users(&nginx);
                answers.entry(worker).or_default().push(passed);
            }
        });
        while tenant.requests() == 1 && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        let mut workers = HashSet::new();
        while workers.len() < 2 {
            workers.insert(nginx.get("/worker"));
        }
        assert!(tenant.request_times()[1].elapsed() < delay, "a worker was blocked");
    });
    for answers in answers.values() {
        assert!(!answers[0] && answers[1..].iter().all(|&passed| passed), "{answers:?}");
    }
    assert_eq!(tenant.requests(), 3);

    drop(nginx);
    let [master, workers] = handles(library.path());
    assert_eq!((master.made, master.freed), (3, 3), "configuration, client, token");
    assert_eq!(workers.made + workers.inherited, workers.freed, "handles were not freed");
}

/// A usable token that is due is replaced in the background, without an error in the log.
#[test]
fn luajit_in_nginx_refreshes_in_the_background() {
    if !has("luajit", NGINX_WITH_LUA, "libnginx-mod-http-lua") {
        return;
    }
    let tenant = Tenant::builder().fresh_token_every_time().life(Duration::from_secs(4)).start();
    let library = counting_library();
    let nginx = start_nginx(&tenant, library.path());
    let end = Instant::now() + Duration::from_secs(20);
    let mut calls_after_refreshes = 0;
    while calls_after_refreshes < 20 {
        assert!(Instant::now() < end, "a worker does not refresh its token");
        assert!(call_users(&nginx).1, "a request failed");
        calls_after_refreshes += usize::from(tenant.requests() >= 3);
        thread::sleep(Duration::from_millis(10));
    }
    drop(nginx);
    let log = fs::read_to_string(library.path().join("nginx/error.log")).expect("the log");
    assert_eq!(log, "");
}

const NGINX_WITH_LUA: &str = "nginx -v && test -e /usr/lib/nginx/modules/ngx_http_lua_module.so";

/// The worker that called a management API, and whether the API accepted its token.
fn call_users(nginx: &Workers) -> (String, bool) {
    let answer = nginx.get("/api/v2/tenant/users");
    let (_, worker) = answer.split_once("X-Worker: ").expect("a header");
    let (worker, body) = worker.split_once("\r\n").expect("a line");
    (worker.into(), body.contains("zhangsan"))
}

/// Copies the folder of the language into that of the library, and starts nginx there.
fn start_nginx(tenant: &Tenant, library: &Path) -> Workers {
    let work = library.join("nginx");
    succeed(Command::new("cp").arg("-R").arg(folder("luajit")).arg(&work));
    succeed(Command::new("chmod").arg("a+rx").arg(library)); // workers run as another user
    let port = free_port();
    let endpoint = tenant.endpoint();
    let host = endpoint.strip_prefix("https://").expect("a URL");
    let listen = format!(
        "{port} reuseport; add_header X-Worker $pid always; location /worker {{ return 200 $pid; }}"
    );
    let text = fs::read_to_string(work.join("nginx.conf")).expect("the configuration");
    let text = text
        .replace("8080;", &listen)
        .replace("tenant.example", host)
        .replace("/etc/ssl/certs/ca-certificates.crt", &tenant.ca_file().display().to_string());
    fs::write(work.join("nginx.conf"), text).expect("a file");
    let mut command = Command::new("nginx");
    command
        .args(["-p", ".", "-c", "nginx.conf", "-e", "error.log"])
        .args(["-g", "daemon off; pid nginx.pid;"])
        .current_dir(&work)
        .env("ONEACCESS_LIBRARY", library.join("liboneaccess.so.0"))
        .env("ONEACCESS_HANDLES", library.join("handles"));
    let master = with_tenant(&mut command, tenant).spawn().expect("nginx");
    let nginx = Workers { port, master };
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < end, "nginx does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    nginx
}

/// A program in TypeScript compiles against the wrapper's declarations, and its mistakes are found.
#[test]
fn node_has_types() {
    if !has("node", "\"$NODE_PATH\"/.bin/tsc --version", "typescript by npm, beside koffi") {
        return;
    }
    let work = TempDir::new().expect("a folder");
    let modules = work.path().join("node_modules");
    fs::create_dir(&modules).expect("a folder");
    symlink(folder("node"), modules.join("oneaccess")).expect("a link");
    fs::copy(root().join("tests/bindings/node.mts"), work.path().join("node.mts")).expect("a copy");
    let tsc = "\"$NODE_PATH\"/.bin/tsc --strict --noEmit --module nodenext node.mts";
    succeed(Command::new("sh").args(["-c", tsc]).current_dir(&work));
}

/// The wrapper has types throughout; a program compiles against them, and its mistakes are found.
#[test]
fn python_has_types() {
    if !has("python", "mypy --version", "mypy") {
        return;
    }
    let work = TempDir::new().expect("a folder"); // for mypy's cache
    succeed(
        Command::new("mypy")
            .arg("--strict")
            .arg(folder("python").join("oneaccess"))
            .arg(root().join("tests/bindings/python.py"))
            .current_dir(&work),
    );
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
