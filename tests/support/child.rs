//! Runs a part of a test in a process of its own, which may have another environment, other
//! limits or another network.

use std::any::type_name;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const CHILD: &str = "ONEACCESS_TEST_CHILD";

/// Runs `body` in a child that `runner` starts: a program which runs the command that follows its
/// arguments. The child's failure is this test's failure. `body` must be a closure written in the
/// test function itself, by whose name the child finds it.
pub fn in_child<F: FnOnce()>(runner: impl FnOnce() -> Command, body: F) {
    let test = test_of::<F>();
    if is_child_of(test) {
        return body();
    }
    let mut command = runner();
    // Ends with certainty, even if the child hangs.
    command.args(["timeout", "-s", "KILL", "60"]).arg(this_program()).args(arguments(test));
    let Output { status, stdout, stderr } = command.env(CHILD, test).output().expect("it starts");
    let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    print!("{text}");
    assert!(status.success() && text.contains("1 passed"), "the child of {test}: {status}\n{text}");
}

/// The same with a `body` that calls `stop`: each time it does, `look` is given the process id of the
/// child, which then goes on. In the child nothing that follows this call is run.
pub fn in_stopping_child<F: FnOnce()>(
    runner: impl FnOnce() -> Command,
    body: F,
    mut look: impl FnMut(u32),
) {
    let test = test_of::<F>();
    if is_child_of(test) {
        // SAFETY: there is no handler: the signal ends the process, even if it hangs.
        unsafe { libc::alarm(60) };
        body();
        std::process::exit(0);
    }
    let mut command = runner();
    command.arg(this_program()).args(arguments(test)).env(CHILD, test);
    let mut child = Killed(command.stdout(Stdio::null()).spawn().expect("it starts"));
    let mut stops = 0;
    while is_stopped(&child.0) {
        stops += 1;
        look(child.0.id());
        // SAFETY: nobody has waited for its end, so the number is still its own.
        unsafe { libc::kill(child.0.id() as libc::pid_t, libc::SIGCONT) };
    }
    let status = child.0.wait().expect("its end");
    assert!(status.success() && stops > 0, "the child of {test}: {status} after {stops} stops");
}

/// Ends with its test: also a child that is stopped while the test fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the child has stopped or, then false, ended.
fn is_stopped(child: &Child) -> bool {
    let change = libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT;
    // SAFETY: a siginfo_t of zeros is valid, and it is valid for the call.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        assert_eq!(libc::waitid(libc::P_PID, child.id(), &mut info, change), 0);
        info.si_code == libc::CLD_STOPPED
    }
}

/// Stops this process, a child of `in_stopping_child`, until its parent has looked at it.
pub fn stop() {
    // SAFETY: needs nothing.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// The test in whose function the closure `F` is written.
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

/// The runner that changes nothing but what is set on it.
pub fn plain() -> Command {
    let mut command = Command::new("env");
    for name in
        ["ssl_cert_file", "ssl_cert_dir", "http_proxy", "https_proxy", "all_proxy", "no_proxy"]
    {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

/// Changes the environment of this process, which must be a child.
pub fn set_env(name: &str, value: Option<&str>) {
    assert!(std::env::var_os(CHILD).is_some(), "only in a child");
    // SAFETY: the only other thread of the child is the test harness, which waits.
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
}

/// The threads of this process, by name.
pub fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).map(|name| name.trim().to_owned()).collect()
}
