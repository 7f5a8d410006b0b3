//! A real Redis server on a loopback port.

use std::path::Path;
use std::process::Command;

use super::native::succeed;
use super::proxy::Daemon;

/// `more` are further arguments, made from its folder and its port.
pub fn redis(more: impl Fn(&Path, u16) -> Vec<String>) -> Daemon {
    Daemon::start(|folder, port| {
        let mut command = Command::new("redis-server");
        command.arg("--dir").arg(folder).args(["--save", "", "--appendonly", "no"]);
        command.args(["--loglevel", "warning", "--bind", "127.0.0.1"]);
        let more = more(folder, port);
        if !more.iter().any(|argument| argument == "--port") {
            command.args(["--port", &port.to_string()]);
        }
        command.args(more);
        command
    })
}

/// What redis-cli prints for a command.
pub fn cli(port: u16, command: &[&str]) -> String {
    let port = port.to_string();
    succeed(Command::new("redis-cli").args(["-p", &port]).args(command)).trim_end().to_owned()
}
