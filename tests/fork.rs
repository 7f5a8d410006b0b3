//! After a fork at any moment, a client continues to work in the child and in the parent.

mod support;

use std::process::Command;
use std::time::Duration;

use support::native::{Library, Program, has, root, shared_library, skip, succeed, with_tenant};
use support::tenant::{Answer, Tenant};

#[test]
fn client_survives_a_thousand_forks_under_load() {
    if !has("cc", "gcc") {
        return;
    }
    let program =
        Program::compile("cc", "tests/c/fork.c", &["-std=gnu11", "-pthread"], Library::Shared);
    // With a lifetime of 3 s and a delay of 200 ms, a refresh is running most of the time.
    let tenant = Tenant::builder()
        .life(Duration::from_secs(3))
        .delay(Duration::from_millis(200))
        .fresh_token_every_time()
        .start();
    let mut command = program.command();
    command.arg("1000").env("ONEACCESS_ADDRESS", format!("127.0.0.1:{}", tenant.port()));
    let printed = succeed(with_tenant(&mut command, &tenant));
    let tokens: usize = printed.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    assert!(tokens >= 990, "{printed}");
    assert!(tenant.requests() > 500, "the children send requests themselves");
}

#[test]
fn forked_workers_do_not_refresh_together() {
    if !has("cc", "gcc") {
        return;
    }
    let flags = ["-std=gnu11", "-pthread"];
    let program = Program::compile("cc", "tests/c/workers.c", &flags, Library::Shared);
    let life = Duration::from_secs(20);
    let tenant = Tenant::builder().life(life).fresh_token_every_time().start();
    let printed = succeed(with_tenant(&mut program.command(), &tenant));
    let parents: usize = printed.trim().parse().expect("a number");
    assert_eq!(tenant.requests(), parents + 31, "one request of each worker");
}

#[test]
fn python_child_of_a_fork_can_use_the_client() {
    if !has("python3", "python3") {
        return;
    }
    let tenant = Tenant::start();
    let library = shared_library();
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "60", "python3"]).arg(root().join("tests/fork.py"));
    command.env("ONEACCESS_LIBRARY", library.path().join("liboneaccess.so.0"));
    assert_eq!(succeed(with_tenant(&mut command, &tenant)), "ok\n");
    // One request of the parent, and one of the child that rejected the token.
    assert_eq!(tenant.requests(), 2);
}

#[test]
fn child_does_not_wait_for_its_parents_refresh() {
    if !has("python3", "python3") {
        return;
    }
    let tenant = Tenant::start();
    tenant.next(Answer::Hang);
    let library = shared_library();
    let mut command = Command::new("timeout");
    command
        .args(["-s", "KILL", "60", "python3"])
        .arg(root().join("tests/fork.py"))
        .arg("in-refresh");
    command.env("ONEACCESS_LIBRARY", library.path().join("liboneaccess.so.0"));
    assert_eq!(succeed(with_tenant(&mut command, &tenant)), "ok\n");
}

#[test]
fn token_expires_while_the_machine_is_suspended() {
    if !has("cc", "gcc") {
        return;
    }
    let program =
        Program::compile("cc", "tests/c/suspend.c", &["-std=gnu11", "-pthread"], Library::Shared);
    let tenant = Tenant::builder().fresh_token_every_time().start();
    let mut command = program.command();
    let output = with_tenant(&mut command, &tenant).output().expect("it starts");
    if output.status.code() == Some(77) {
        return skip("no time namespace; run as root on Linux 5.6 or newer");
    }
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    assert_eq!(tenant.requests(), 2);
}
