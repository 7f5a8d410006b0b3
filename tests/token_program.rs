//! The program `oneaccess-token`: what it prints, its exit status, and what it never prints.

#![cfg(target_os = "linux")]

mod support;

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use support::native::{Library, Program, has, root, skip, succeed, with_tenant};
use support::tenant::{Answer, Tenant};
use tempfile::TempDir;

static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    Program::compile("cc", "examples-c/oneaccess-token.c", &["-std=c11"], Library::Shared)
});

/// A user with a cache folder, and the tenant's settings in the environment.
struct User<'a> {
    tenant: &'a Tenant,
    caches: TempDir,
}

impl User<'_> {
    fn of(tenant: &Tenant) -> User<'_> {
        User { tenant, caches: TempDir::new().expect("a folder") }
    }

    fn configure<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        for name in ["no_proxy", "NO_PROXY", "ONEACCESS_STORE", "ONEACCESS_PROXY"] {
            command.env_remove(name);
        }
        with_tenant(command, self.tenant).env("XDG_CACHE_HOME", self.caches.path())
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = PROGRAM.command();
        self.configure(&mut command).args(options);
        command
    }

    fn run(&self, options: &[&str]) -> String {
        succeed(&mut self.command(options))
    }

    /// A shell in which `oneaccess-token` is this program, and curl trusts the tenant.
    fn shell(&self, script: &str) -> Command {
        let bin = TempDir::new_in(self.caches.path()).expect("a folder").keep();
        std::os::unix::fs::symlink(PROGRAM.path(), bin.join("oneaccess-token")).expect("a link");
        let path = std::env::var("PATH").expect("a path");
        let mut command = Command::new("sh");
        self.configure(&mut command).args(["-euc", script]);
        command.env("PATH", format!("{}:{path}", bin.display()));
        command.env("CURL_CA_BUNDLE", self.tenant.ca_file());
        command
    }
}

/// Standard output, standard error and the exit status.
fn ended(command: &mut Command) -> (String, String, i32) {
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(stdout), text(stderr), status.code().expect("no signal"))
}

/// It prints nothing but one line on standard error that contains `why`.
#[track_caller]
fn fails(command: &mut Command, expected_status: i32, why: &str) {
    let (out, err, status) = ended(command);
    assert!(out.is_empty() && err.starts_with("oneaccess-token: ") && err.contains(why), "{err}");
    assert!(err.ends_with('\n') && err.lines().count() == 1, "{err}");
    assert_eq!(status, expected_status, "{err}");
}

fn readme_lines() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let (_, section) = readme.split_once("## In a shell\n\n```sh\n").expect("the section");
    let (lines, _) = section.split_once("```").expect("its end");
    lines.lines().map(str::to_owned).collect()
}

#[test]
fn header_works_with_curl_as_in_the_readme() {
    if !has("curl", "curl") {
        return;
    }
    let tenant = Tenant::start();
    let user = User::of(&tenant);
    let lines = readme_lines();
    assert_eq!(lines.len(), 2);
    for line in lines {
        let users = succeed(&mut user.shell(&line));
        assert!(users.contains("\"user_name\":\"zhangsan\""), "{users}");
    }
    assert_eq!((tenant.requests(), tenant.management_calls()), (1, 2));
}

#[test]
fn second_run_makes_no_request() {
    let tenant = Tenant::builder().fresh_token_every_time().start();
    let user = User::of(&tenant);
    let header = user.run(&[]);
    let token = tenant.current_token().expect("a token");
    assert_eq!(header, format!("Authorization: Bearer {token}\n"));
    assert_eq!(user.run(&["--token"]), format!("{token}\n"));
    assert_eq!(tenant.requests(), 1);
    assert_ne!(user.run(&["--token", "--no-store"]), format!("{token}\n"));
    assert_eq!(tenant.requests(), 2);
}

#[test]
fn store_in_the_environment_is_used() {
    let tenant = Tenant::start();
    let user = User::of(&tenant);
    let store = user.caches.path().join("mine");
    let setting = format!("file:{}", store.display());
    succeed(user.command(&[]).env("ONEACCESS_STORE", &setting));
    assert!(store.is_dir() && !user.caches.path().join("oneaccess").exists());
    succeed(user.command(&["--no-store"]).env("ONEACCESS_STORE", setting));
    assert_eq!(tenant.requests(), 2);
}

#[test]
fn json_is_escaped() {
    let tenant = Tenant::start();
    let (token, scope) = (r#"a"b\c/d"#, "\"\\\u{1}\n\u{7f}ä令");
    let answer = serde_json::json!({
        "access_token": token, "token_type": "Bearer", "expires_in": 1800, "scope": scope,
    });
    tenant.next(Answer::json(200, &answer.to_string()));
    let printed = User::of(&tenant).run(&["--json"]);
    assert_eq!(printed.matches('\n').count(), 1, "{printed}");
    let json: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a time").as_secs();
    let expires_at = json["expires_at"].as_u64().expect("a number");
    assert!((now + 1700..=now + 1800).contains(&expires_at), "{expires_at}");
    assert_eq!((&json["access_token"], &json["token_type"]), (&token.into(), &"Bearer".into()));
    assert_eq!(&json["scope"], &serde_json::Value::from(scope));
    assert_eq!(json.as_object().map(|members| members.len()), Some(4));

    tenant.next(Answer::json(
        200,
        r#"{"access_token": "a", "token_type": "Bearer", "expires_in": 9}"#,
    ));
    let printed = User::of(&tenant).run(&["--json"]);
    assert!(printed.ends_with("\"token_type\": \"Bearer\"}\n"), "{printed}");
}

/// A port at which nobody listens.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("https://{}", listener.local_addr().expect("its address"))
}

#[test]
fn exit_status_is_the_kind_of_the_error() {
    let tenant = Tenant::start();
    let user = User::of(&tenant);
    let mut unset = user.command(&[]);
    unset.env_remove("ONEACCESS_ENDPOINT").env("ONEACCESS_CLIENT_ID", "");
    fails(
        &mut unset,
        2,
        "ONEACCESS_ENDPOINT is not set; the environment variable ONEACCESS_CLIENT_ID",
    );
    fails(user.command(&[]).env("ONEACCESS_CLIENT_SECRET", "wrong"), 7, "invalid_client");
    let (mut refused, mut slow) = (user.command(&[]), user.command(&[]));
    refused.env("ONEACCESS_ENDPOINT", closed_port()).env("ONEACCESS_TIMEOUT_MS", "1000");
    fails(&mut refused, 3, "refused");
    tenant.next(Answer::Hang);
    fails(slow.env("ONEACCESS_TIMEOUT_MS", "200"), 6, "timed out");
    let other = Tenant::start();
    fails(user.command(&[]).env("ONEACCESS_CA_FILE", other.ca_file()), 5, "certificate");
    for answer in [Answer::json(200, "{}"), Answer::status(404)] {
        tenant.next(answer);
        fails(&mut user.command(&["--no-store"]), 10, "");
    }
}

#[test]
fn wrong_usage_is_64_and_shows_no_argument() {
    let tenant = Tenant::start();
    let user = User::of(&tenant);
    for options in [&["--client-secret=abc"][..], &["abc"], &[""], &["--token", "--json"], &["-h"]]
    {
        let (out, err, status) = ended(&mut user.command(options));
        assert_eq!((out.as_str(), status, err.lines().count()), ("", 64, 1), "{options:?}: {err}");
        assert!(err.starts_with("oneaccess-token: ") && !err.contains("abc"), "{err}");
    }
    assert_eq!(tenant.requests(), 0);
}

#[test]
fn unwritten_output_is_an_error() {
    let tenant = Tenant::start();
    let user = User::of(&tenant);
    for option in ["--token", "--json", "--check", "--help", "--version"] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("the device");
        let mut command = user.command(&[option]);
        let output = command.stdout(full).stderr(Stdio::piped()).spawn().expect("it starts");
        let output = output.wait_with_output().expect("its end");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(74), "{option}: {err}");
        assert!(err.contains("cannot write the output: No space left on device"), "{err}");
    }
    // No connection of the library has taken the place of standard output.
    let closed = "exec oneaccess-token --no-store >&-";
    fails(&mut user.shell(closed), 74, "Bad file descriptor");
    let pipe = "{ sleep 0.2; oneaccess-token || echo $? >&2; } | true";
    let (_, err, _) = ended(&mut user.shell(pipe));
    assert_eq!(err, "oneaccess-token: cannot write the output: Broken pipe\n74\n");
}

/// What a check prints, which is neither secret nor token; nothing on standard error.
#[track_caller]
fn check(user: &User, change: impl FnOnce(&mut Command), expected_status: i32) -> String {
    let mut command = user.command(&["--check"]);
    change(&mut command);
    let (out, err, status) = ended(&mut command);
    assert_eq!((err.as_str(), status), ("", expected_status), "{out}");
    let secrets = [Some(user.tenant.client_secret()), user.tenant.current_token()];
    for secret in secrets.into_iter().flatten().chain(["hidden".to_owned()]) {
        assert!(!out.contains(&secret), "{out}");
    }
    out
}

#[test]
fn check_reports_a_token() {
    let tenant = Tenant::start();
    let user = User::of(&tenant);
    let proxy = |command: &mut Command| {
        command.env("https_proxy", "http://me:hidden@127.0.0.1:1").env("no_proxy", "localhost");
    };
    let out = check(&user, proxy, 0);
    let endpoint = format!("endpoint: {}", tenant.endpoint());
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[0].starts_with("variables: ") && lines[0].contains(" ONEACCESS_CA_FILE"),
        "{out}"
    );
    assert_eq!(lines[1..3], ["configuration: usable", &endpoint]);
    assert!(lines[3].starts_with("proxy: that of https_proxy or all_proxy, unless"), "{out}");
    assert_eq!(lines[4], "store: usable, in the user's cache folder");
    let seconds = |line: &str, how: &str| {
        let seconds = line.strip_prefix(how).and_then(|rest| rest.strip_suffix(" s"));
        let seconds: u32 = seconds.and_then(|text| text.parse().ok()).expect(line);
        assert!((1700..=1800).contains(&seconds), "{line}");
    };
    seconds(lines[5], "token: requested, expires in ");
    assert_eq!(lines.len(), 6);

    let out = check(
        &user,
        |command| {
            command.env("ONEACCESS_PROXY", "");
        },
        0,
    );
    assert!(out.contains("\nproxy: none\n"), "{out}");
    seconds(out.lines().last().expect("a line"), "token: found in the store, expires in ");
    assert_eq!(tenant.requests(), 1);

    let out = check(
        &user,
        |command| {
            command.arg("--no-store");
        },
        0,
    );
    assert!(out.contains("\nstore: off\ntoken: requested"), "{out}");
}

#[test]
fn check_reports_a_failed_request_beside_a_token() {
    let tenant = Tenant::builder().life(Duration::from_secs(12)).start();
    let user = User::of(&tenant);
    user.run(&[]);
    tenant.always(Answer::vendor_error("APP.0003", "disabled"));
    // From here on, with the largest margin, the token is stale: it is given if the request fails.
    std::thread::sleep(Duration::from_secs(6));
    let large_margin = |command: &mut Command| {
        command.env("ONEACCESS_EXPIRY_MARGIN_S", "86400");
    };
    let out = check(&user, large_margin, 0);
    assert!(out.contains("\ntoken: found in the store, expires in "), "{out}");
    let request = out.lines().find(|line| line.starts_with("request: ")).expect("a line");
    assert!(request.contains("APP.0003"), "{out}");
}

#[test]
fn check_reports_what_is_wrong() {
    let tenant = Tenant::start();
    let user = User::of(&tenant);
    let unset = |command: &mut Command| {
        command.env_remove("ONEACCESS_CLIENT_SECRET");
    };
    let out = check(&user, unset, 2);
    let configuration = out.lines().nth(1).expect("a line");
    assert!(configuration.starts_with("configuration: the environment variable "), "{out}");
    assert_eq!(out.lines().count(), 2);

    let wrong = |command: &mut Command| {
        command.env("ONEACCESS_CLIENT_SECRET", "hidden");
    };
    let out = check(&user, wrong, 7);
    assert!(out.contains("\nstore: usable") && out.contains("invalid_client"), "{out}");

    let refused = |command: &mut Command| {
        command.env("ONEACCESS_ENDPOINT", closed_port()).env("ONEACCESS_TIMEOUT_MS", "1000");
    };
    let out = check(&user, refused, 3);
    assert!(
        out.contains("\nrequest: ") && out.contains("refused") && !out.contains("token:"),
        "{out}"
    );

    let missing = |command: &mut Command| {
        command.env_remove("ONEACCESS_CLIENT_SECRET");
        command.env("ONEACCESS_CLIENT_SECRET_FILE", "/missing/file");
    };
    let out = check(&user, missing, 2);
    assert!(out.contains("/missing/file") && !out.contains("store:"), "{out}");

    let no_store = |command: &mut Command| {
        command.env("ONEACCESS_STORE", "file:/missing/a/b");
    };
    let out = check(&user, no_store, 0);
    let store = out.lines().find(|line| line.starts_with("store: ")).expect("a line");
    assert!(store.contains("/missing/a/b cannot be used: No such file"), "{out}");
    assert!(out.contains("\ntoken: requested, "), "{out}");
}

#[test]
fn program_is_clean_under_valgrind() {
    if !has("valgrind", "valgrind") {
        return;
    }
    let tenant = Tenant::start();
    let user = User::of(&tenant);
    for (options, secret, expected) in [
        (&["--json"][..], None, 0),
        (&["--check"], None, 0),
        (&["--check"], Some("wrong"), 7),
        (&["--no-store"], Some(""), 2),
    ] {
        let mut command = PROGRAM.under_valgrind();
        user.configure(&mut command).args(options).env("ONEACCESS_SYSTEM_ROOTS", "false");
        command.env("ONEACCESS_TIMEOUT_MS", "240000");
        secret.map(|secret| command.env("ONEACCESS_CLIENT_SECRET", secret));
        let (out, err, status) = ended(&mut command);
        assert_eq!(status, expected, "{options:?}: {out}{err}");
    }
}

#[test]
fn help_and_man_page_list_every_exit_status() {
    let header = std::fs::read_to_string(root().join("include/oneaccess.h")).expect("the header");
    let manual = root().join("packaging/oneaccess-token.1");
    let text = std::fs::read_to_string(&manual).expect("the manual");
    let tenant = Tenant::start();
    let help = User::of(&tenant).run(&["--help"]).replace('\n', " ");
    for line in header.lines().filter_map(|line| line.strip_prefix("#define ONEACCESS_ERROR_")) {
        let (kind, number) = line.split_once(' ').expect("a number");
        if kind != "NONE" {
            assert!(help.contains(&format!(" {number} {kind}")), "{line}: {help}");
            assert!(text.contains(&format!("\n.It {number}\n{kind}: ")), "{line}");
        }
    }
    let version = User::of(&tenant).run(&["--version"]);
    assert_eq!(version, concat!("oneaccess-token ", env!("CARGO_PKG_VERSION"), "\n"));
    let mut lint = Command::new("mandoc");
    match lint.args(["-T", "lint", "-W", "warning"]).arg(manual).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout))
        }
        Err(_) => skip("there is no mandoc; install mandoc"),
    }
}
