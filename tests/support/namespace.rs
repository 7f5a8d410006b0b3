//! Child processes with their own network, resolver and system settings.

use std::process::Command;

use super::child;
use super::native::{has, skip};

const UNSHARE: [&str; 5] = ["--map-root-user", "--net", "--mount", "sh", "-c"];

/// Whether tests on this machine can create a network namespace with packet filters.
pub fn can_have_a_network() -> bool {
    if !has("unshare", "util-linux") || !has("iptables", "iptables") {
        return false;
    }
    let mut trial = Command::new("unshare");
    trial.args(UNSHARE).arg("ip link set lo up && iptables -L -n");
    let works = trial.output().is_ok_and(|output| output.status.success());
    if !works {
        skip("unshare --map-root-user --net is not permitted here, or iptables has no kernel part");
    }
    works
}

/// Runs a child in a new network with only a loopback device, after these shell commands.
pub fn runner(setup: &str) -> Command {
    let mut command = child::plain();
    command.arg("unshare").args(UNSHARE);
    command.arg(format!("set -e; ip link set lo up; {setup}\nexec \"$@\"")).arg("sh");
    command
}

/// Runs a shell command; for use in such a child.
pub fn shell(command: &str) {
    super::native::succeed(Command::new("sh").arg("-ec").arg(command));
}
