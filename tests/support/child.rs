//! Runs part of a test in a child process, which may have another environment, other limits or
//! another network.

use std::any::type_name;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const CHILD: &str = "ONEACCESS_TEST_CHILD";

/// Runs `body` in a child process; if it fails there, this test fails. `runner` is a program that runs
/// the command after its arguments, such as `env` or `prlimit`. The command is this test program with
/// the name of the test, which calls `in_child` again and runs `body`; so `body` must be a closure in
/// the test function itself.
pub fn in_child<F: FnOnce()>(runner: impl FnOnce() -> Command, body: F) {
    let test = test_of::<F>();
    if is_child_of(test) {
        return body();
    }
    let mut command = runner();
    // A child that hangs is killed after 60 s.
    command.args(["timeout", "-s", "KILL", "60"]).arg(this_program()).args(arguments(test));
    let Output { status, stdout, stderr } = command.env(CHILD, test).output().expect("it starts");
    let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    print!("{text}");
    assert!(status.success() && text.contains("1 passed"), "the child of {test}: {status}\n{text}");
}

/// Like `in_child`, for a `body` that calls `stop`. Each time it does, `look` is called with the process
/// id of the stopped child; then the child continues. In the child, what follows this call is not run.
pub fn in_stopping_child<F: FnOnce()>(
    runner: impl FnOnce() -> Command,
    body: F,
    mut look: impl FnMut(u32),
) {
    let test = test_of::<F>();
    if is_child_of(test) {
        // SAFETY: no handler is installed, so the signal kills the process, even if it hangs.
        unsafe { libc::alarm(60) };
        body();
        std::process::exit(0);
    }
    let mut command = runner();
    command.arg(this_program()).args(arguments(test)).env(CHILD, test);
    let mut child = KillOnDrop(command.stdout(Stdio::null()).spawn().expect("it starts"));
    let mut stops = 0;
    while is_stopped(&child.0) {
        stops += 1;
        look(child.0.id());
        // SAFETY: the child was not waited for yet, so its process id has not been reused.
        unsafe { libc::kill(child.0.id() as libc::pid_t, libc::SIGCONT) };
    }
    let status = child.0.wait().expect("its end");
    assert!(status.success() && stops > 0, "the child of {test}: {status} after {stops} stops");
}

/// Killed when dropped: a stopped child must not outlive a test that fails.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the child stops (true) or ends (false).
fn is_stopped(child: &Child) -> bool {
    let change = libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT;
    // SAFETY: siginfo_t may be all zeros, and the pointer is valid during the call.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        assert_eq!(libc::waitid(libc::P_PID, child.id(), &mut info, change), 0);
        info.si_code == libc::CLD_STOPPED
    }
}

/// Stops this process, a child of `in_stopping_child`, until its parent continues it.
pub fn stop() {
    // SAFETY: raise has no preconditions.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// The name of the test function that contains the closure `F`.
fn test_of<F>() -> &'static str {
    let path = type_name::<F>().trim_end_matches("::{{closure}}");
    path.split_once("::").expect("a function of a crate").1
}

fn is_child_of(test: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|child| child == test)
}

fn this_program() -> PathBuf {
    std::env::current_exe().expect("the test program")
}

fn arguments(test: &str) -> [&str; 5] {
    ["--exact", test, "--nocapture", "--test-threads", "1"]
}

/// A runner that only removes the proxy and certificate variables from the environment.
pub fn plain() -> Command {
    let mut command = Command::new("env");
    for name in
        ["ssl_cert_file", "ssl_cert_dir", "http_proxy", "https_proxy", "all_proxy", "no_proxy"]
    {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

/// Changes the environment of this process, which must be a child of `in_child`.
pub fn set_env(name: &str, value: Option<&str>) {
    assert!(std::env::var_os(CHILD).is_some(), "only in a child");
    // SAFETY: the only other thread of the child is the test harness, which waits for this test.
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
}

/// The names of the threads of this process.
pub fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).map(|name| name.trim().to_owned()).collect()
}
