//! `docs/faults.md` is true: every message in its tables is provoked here, and compared with its row
//! (message, kind, whether it is retryable). A row without a provoked message fails, and so does a
//! provoked message without a row. `…` in a row stands for any text.
//!
//! Every test runs in a child in which all host names lead to 127.0.0.1, so that the tenant can be
//! called `tenant.example` and the proxy `proxy`; only ports and paths are replaced.

mod answers;
mod connection;
mod proxies;
mod settings;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod trust;

use std::fs;
use std::io::Read;
use std::path::Path;

use oneaccess::{Client, Config, Error, ErrorKind};
use support::certificates::named;
use support::fault::{Server, reset};
use support::tenant::Tenant;
use support::timeouts::ms;
use table::{Seen, seen};
use tempfile::TempDir;

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

fn write(folder: &TempDir, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a file");
    path.to_str().expect("UTF-8").to_owned()
}

fn armored(what: &str, body: &str) -> String {
    format!("-----BEGIN {what}-----\n{body}\n-----END {what}-----\n")
}

/// A client of `tenant.example` at this port, which trusts this CA only.
fn client_at(port: u16, ca_file: impl AsRef<Path>) -> Config {
    let endpoint = format!("tenant.example:{port}");
    let config = Config::new(&endpoint, "id", "secret").proxy(Some(""));
    config.ca_file(ca_file.as_ref()).system_roots(false)
}

fn call(config: &Config, time: u64) -> Error {
    let client = Client::new(config).expect("a client");
    client.token_within(ms(time)).expect_err("no token")
}

/// The error of a call, which is no timeout; 90 ms are time for one attempt on an idle machine.
fn failure(config: &Config) -> Error {
    let errors = [90, 1000, 9000].map(|time| move || call(config, time));
    let mut errors = errors.into_iter().map(|call| call());
    errors.find(|error| error.kind() != ErrorKind::Timeout).expect("no timeout")
}

/// With the documented port of the tenant instead of this one.
fn at_port(port: u16, error: &Error) -> Seen {
    seen(error, &[(&format!(":{port}"), ":443")])
}

/// Its certificate is for `tenant.example`.
fn tenant() -> Tenant {
    Tenant::builder().certificate(named("Test", &["tenant.example"])).start()
}

/// Resets the connection once the client has said something.
fn resetting() -> Server {
    Server::start(|mut socket| {
        let _ = socket.read(&mut [0; 1]);
        reset(&socket);
    })
}
