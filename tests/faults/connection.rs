//! Lookup, connect, handshake, request and answer.

use std::fs;

use oneaccess::{Client, Config, Error};

use super::support::certificates::Ca;
use super::support::child::{in_child, set_env};
use super::support::fault::{Fault, Relay, Server};
use super::support::resolver::Resolver;
use super::support::tenant::Answer;
use super::support::timeouts::ms;
use super::table::{Seen, WAY, compare, seen};
use super::{at_port, call, client_at, failure, folder, resetting, tenant, write};

#[test]
fn messages_on_the_way() {
    let resolver = Resolver::compile();
    in_child(
        || resolver.runner(0, "127.0.0.1"),
        || {
            let folder = folder();
            let ca = write(&folder, "ca.pem", Ca::new().pem());
            let there = client_at(443, &ca);
            // First: a thread that has ended would leave its stack to the next one.
            let mut all = vec![seen(&without_threads(&there), &[])];
            for (variable, value) in [
                ("FAKE_LOOKUP_ERROR", libc::EAI_NONAME),
                ("FAKE_LOOKUP_ERROR", libc::EAI_AGAIN),
                ("FAKE_CONNECT_ERRNO", libc::ECONNREFUSED),
                ("FAKE_CONNECT_ERRNO", libc::ENETUNREACH),
                ("FAKE_CONNECT_ERRNO", libc::EHOSTUNREACH),
                ("FAKE_CONNECT_ERRNO", libc::EADDRNOTAVAIL),
            ] {
                set_env(variable, Some(&value.to_string()));
                all.push(seen(&failure(&there), &[]));
                set_env(variable, None);
            }
            all.extend(without_descriptors(&there));
            for (variable, value) in
                [("FAKE_LOOKUP_MS", 60_000), ("FAKE_CONNECT_ERRNO", libc::ETIMEDOUT)]
            {
                set_env(variable, Some(&value.to_string()));
                all.push(seen(&call(&there, 300), &[]));
                set_env(variable, None);
            }
            all.extend(handshakes(&ca));
            all.extend(broken_answers());
            compare(WAY, &all);
        },
    );
}

/// Limits this process until it is told otherwise; the type of `resource` differs between C libraries.
macro_rules! limit {
    ($resource:expr, $to:expr) => {{
        // SAFETY: the structure outlives the calls.
        unsafe {
            let mut limits: libc::rlimit = std::mem::zeroed();
            assert_eq!(libc::getrlimit($resource, &mut limits), 0);
            limits.rlim_cur = limits.rlim_max.min($to);
            assert_eq!(libc::setrlimit($resource, &limits), 0);
        }
    }};
}

fn without_threads(config: &Config) -> Error {
    let client = Client::new(config).expect("a client");
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("a size");
    let size_kb: u64 = size.trim().trim_end_matches(" kB").parse().expect("a number");
    // Less than a thread's stack.
    limit!(libc::RLIMIT_AS, (size_kb + 1024) << 10);
    let error = client.token_within(ms(3000)).expect_err("no token");
    limit!(libc::RLIMIT_AS, u64::MAX);
    error
}

fn without_descriptors(config: &Config) -> [Seen; 2] {
    let [lookup, connect] = [(); 2].map(|()| Client::new(config).expect("a client"));
    limit!(libc::RLIMIT_NOFILE, 40);
    let all: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    // Without a descriptor the lookup fails as if there were no such name.
    set_env("FAKE_LOOKUP_ERROR", Some(&libc::EAI_NONAME.to_string()));
    let lookup = lookup.token_within(ms(3000)).expect_err("no token");
    set_env("FAKE_LOOKUP_ERROR", None);
    let connect = connect.token_within(ms(3000)).expect_err("no token");
    drop(all);
    limit!(libc::RLIMIT_NOFILE, 1024);
    [seen(&lookup, &[]), seen(&connect, &[])]
}

fn handshakes(ca: &str) -> Vec<Seen> {
    let silent = Server::silent();
    let resets = resetting();
    let tenant = tenant();
    let corrupts = Relay::to(tenant.port(), Fault::Corrupt(300));
    vec![
        at_port(silent.port(), &call(&client_at(silent.port(), ca), 500)),
        at_port(resets.port(), &failure(&client_at(resets.port(), ca))),
        at_port(corrupts.port(), &failure(&client_at(corrupts.port(), tenant.ca_file()))),
    ]
}

fn broken_answers() -> Vec<Seen> {
    let tenant = tenant();
    let config = |port| {
        let endpoint = format!("tenant.example:{port}");
        let config = Config::new(&endpoint, &tenant.client_id(), &tenant.client_secret());
        config.proxy(Some("")).ca_file(tenant.ca_file()).system_roots(false)
    };
    // In the body, which ends some bytes before the connection's last ones.
    let good = Relay::to(tenant.port(), Fault::None);
    Client::new(&config(good.port())).expect("a client").token().expect("a token");
    let corrupts = Relay::to(tenant.port(), Fault::Corrupt(good.to_client() - 150));
    let mut all = vec![at_port(corrupts.port(), &failure(&config(corrupts.port())))];
    let port = tenant.port();
    for answer in [Answer::Reset, Answer::Raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec())] {
        tenant.always(answer);
        all.push(at_port(port, &failure(&config(port))));
    }
    tenant.always(Answer::Hang);
    all.push(at_port(port, &call(&config(port), 1000)));
    all
}
