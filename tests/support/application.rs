//! Processes that share a store: each carries out commands of `tests/c/store.c`.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::native::{Library, Program, with_tenant};
use super::tenant::Tenant;

pub const ONE_REQUEST: &str = "attempts 1, hits 0, failures 0";
pub const ONE_HIT: &str = "attempts 0, hits 1, failures 0";

pub static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let flags = ["-std=gnu11", "-pthread"];
    Program::compile("cc", "tests/c/store.c", &flags, Library::Shared)
});

/// What the processes of an application have in common.
pub struct Application<'a> {
    pub tenant: &'a Tenant,
    pub store: String,
}

impl Application<'_> {
    /// A process that carries out these commands.
    pub fn command(&self, commands: &[&str]) -> Command {
        let mut command = PROGRAM.command();
        with_tenant(&mut command, self.tenant);
        command.args(commands).env("ONEACCESS_STORE", &self.store);
        command
    }

    pub fn start(&self, commands: &[&str]) -> Process {
        Process::of(&mut self.command(commands))
    }

    /// What a process prints.
    pub fn run(&self, commands: &[&str]) -> Vec<String> {
        self.start(commands).end()
    }

    /// What so many processes print that begin at the same time.
    pub fn run_together(&self, count: usize, commands: &[&str]) -> Vec<Vec<String>> {
        let commands = [&["wait"], commands].concat();
        let mut processes: Vec<Process> = (0..count).map(|_| self.start(&commands)).collect();
        processes.iter_mut().for_each(Process::close_input);
        processes.into_iter().map(Process::end).collect()
    }
}

pub struct Process {
    child: Child,
    pub input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub fn of(command: &mut Command) -> Process {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Process { input: child.stdin.take(), child, output }
    }

    pub fn close_input(&mut self) {
        self.input = None;
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// The lines that it has printed when it ends.
    pub fn end(mut self) -> Vec<String> {
        self.close_input();
        let lines: Vec<_> = self.output.lines().map(|line| line.expect("a line")).collect();
        assert!(self.child.wait().expect("its end").success(), "{lines:?}");
        lines
    }

    /// Sends a signal to the program that `timeout` runs.
    pub fn signal(&self, signal: libc::c_int) {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let child = fs::read_to_string(children).expect("a child");
        send(child.trim().parse().expect("a process id"), signal);
    }
}

pub fn send(process: libc::pid_t, signal: libc::c_int) {
    // SAFETY: a system call; the process is a child of this test's, and has not been waited for.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

/// Waits, for up to 20 s.
pub fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "the condition is still false");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn all_equal(lines: &[Vec<String>], expected: &str) {
    let tokens: HashSet<&str> = lines.iter().map(|lines| lines[0].as_str()).collect();
    assert_eq!(tokens, HashSet::from([expected]));
}
