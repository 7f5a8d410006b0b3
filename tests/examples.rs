//! The examples that call a management API and the event loop: they work, call no more than they need
//! to, and are clean under valgrind.

#![cfg(target_os = "linux")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::native::{Library, Program, example, has, skip, succeed, with_tenant};
use support::tenant::{Answer, Tenant};

const REVOKED: &str = r#"{"access_token": "revoked", "token_type": "Bearer", "expires_in": 1800}"#;

/// For valgrind on a busy machine: without the roots of the system, which take seconds to decode, and
/// with a long timeout.
fn configured<'a>(command: &'a mut Command, tenant: &Tenant) -> &'a mut Command {
    with_tenant(command, tenant)
        .env("ONEACCESS_SYSTEM_ROOTS", "false")
        .env("ONEACCESS_TIMEOUT_MS", "240000")
}

fn users_in_c() -> Option<Program> {
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.args(["--exists", "libcurl", "libcjson"]);
    if !has("cc", "gcc") || !has("pkg-config", "pkg-config") {
        return None;
    }
    if !pkg_config.status().expect("it starts").success() {
        skip("users.c needs libcurl4-openssl-dev and libcjson-dev");
        return None;
    }
    let flags = ["-std=c99", "-Wl,--no-as-needed", "-lcurl", "-lcjson"];
    Some(Program::compile("cc", "examples-c/users.c", &flags, Library::Shared))
}

fn lists_users(command: impl Fn() -> Command) {
    let tenant = Tenant::builder().users(250).start();
    // The management API rejects the first token.
    tenant.next(Answer::json(200, REVOKED));
    let printed = succeed(configured(&mut command(), &tenant));
    let users: Vec<&str> = printed.lines().collect();
    assert_eq!((users.len(), users[0], users[249]), (250, "zhangsan", "user250"));
    assert_eq!((tenant.requests(), tenant.management_calls()), (2, 4));

    let fails = |tenant: &Tenant, expected: &str| {
        let failed = configured(&mut command(), tenant).output().expect("it starts");
        let said = String::from_utf8_lossy(&failed.stderr);
        assert!(failed.status.code() == Some(1) && said.contains(expected), "{said}");
        assert!(failed.stdout.is_empty());
    };
    // Every token is rejected: it gives up after the second one.
    tenant.always(Answer::json(200, REVOKED));
    fails(&tenant, "/api/v2/tenant/users?");
    assert_eq!(tenant.management_calls(), 6);

    tenant.always(Answer::vendor_error("APP.0003", "disabled"));
    fails(&tenant, "APP.0003");
    assert_eq!(tenant.management_calls(), 6);
}

#[test]
fn users_in_c_are_listed() {
    if let Some(program) = users_in_c() {
        lists_users(|| program.command());
    }
}

#[test]
fn users_in_c_is_clean_under_valgrind() {
    if let Some(program) = users_in_c().filter(|_| has("valgrind", "valgrind")) {
        lists_users(|| program.under_valgrind());
    }
}

#[test]
fn users_in_rust_are_listed() {
    let program = example("users");
    lists_users(|| {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "120"]).arg(&program);
        command
    });
}

fn event_loop() -> Option<Program> {
    let flags = ["-std=gnu11", "-pthread"];
    has("cc", "gcc")
        .then(|| Program::compile("cc", "examples-c/event_loop.c", &flags, Library::Shared))
}

/// Reads what the loop prints until `done`, then ends it as Ctrl-C does.
fn ticks(mut command: Command, tenant: &Tenant, done: impl Fn(&[String]) -> bool) -> Vec<String> {
    let command = configured(&mut command, tenant).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut ticks = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        ticks.push(line.expect("a line"));
        if done(&ticks) {
            // SAFETY: a system call. The process has not been waited for.
            unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        }
    }
    let status = child.wait().expect("its end");
    assert!(status.success(), "{status}: {ticks:?}");
    ticks
}

/// The tenant answers the first request after 3 s and never answers the second one, which the loop's
/// worker makes while the first token is usable.
fn ticks_while_it_requests_tokens(command: Command, done: impl Fn(&[String]) -> bool) {
    let tenant = Tenant::builder().life(Duration::from_secs(10)).start();
    tenant.next(Answer::Normal.delayed(Duration::from_secs(3)));
    tenant.always(Answer::Hang);
    let printed = ticks(command, &tenant, |ticks| tenant.requests() == 2 && done(ticks));
    assert_eq!(printed[0], "tick: no token yet");
}

#[test]
fn event_loop_never_waits() {
    if let Some(program) = event_loop() {
        ticks_while_it_requests_tokens(program.command(), |ticks| {
            ticks.last().expect("a tick").starts_with("tick: a token for ")
        });
    }
}

#[test]
fn event_loop_is_clean_under_valgrind() {
    if let Some(program) = event_loop().filter(|_| has("valgrind", "valgrind")) {
        // It is so slow that the first token may have expired before the loop sees it.
        ticks_while_it_requests_tokens(program.under_valgrind(), |_| true);
    }
}
