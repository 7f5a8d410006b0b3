//! Runs a part of a test in a process of its own, which may have another environment, other
//! limits or another network.

use std::any::type_name;
use std::process::{Command, Output};

const CHILD: &str = "ONEACCESS_TEST_CHILD";

/// Runs `body` in a child that `runner` starts: a program which runs the command that follows its
/// arguments. The child's failure is this test's failure. `body` must be a closure written in the
/// test function itself, by whose name the child finds it.
pub fn in_child<F: FnOnce()>(runner: impl FnOnce() -> Command, body: F) {
    let path = type_name::<F>().trim_end_matches("::{{closure}}");
    let (_, test) = path.split_once("::").expect("a function of a crate");
    if std::env::var(CHILD).is_ok_and(|child| child == test) {
        return body();
    }
    let mut command = runner();
    let program = std::env::current_exe().expect("the test program");
    // Ends with certainty, even if the child hangs.
    command.args(["timeout", "-s", "KILL", "60"]).arg(program).args(["--exact", test]);
    command.args(["--nocapture", "--test-threads", "1"]).env(CHILD, test);
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    print!("{text}");
    assert!(status.success() && text.contains("1 passed"), "the child of {test}: {status}\n{text}");
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
