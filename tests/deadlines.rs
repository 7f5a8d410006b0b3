//! Whatever stalls, a call ends in time, says in which phase it was, and leaves nothing behind.

mod support;

use std::thread;
use std::time::Duration;

use oneaccess::{Client, Config, ErrorKind, Stat};
use support::child::{in_child, plain, threads};
use support::config;
use support::fault::{Blackhole, Fault, Relay, Server};
use support::native::has;
use support::resolver::{Resolver, connects};
use support::tenant::{Answer, Tenant};
use support::timeouts::{
    SLACK, closes_promptly, closes_with_its_round, ends_in_time, ms, storm, timed, to_port,
};

#[test]
fn a_name_lookup_that_hangs_ends_in_time() {
    if !has("cc", "gcc") {
        return;
    }
    let resolver = Resolver::compile();
    in_child(
        || resolver.runner(60_000, "127.0.0.1"),
        || {
            let before = threads().len();
            let config = Config::new("tenant.example", "id", "secret").proxy(Some(""));
            ends_in_time(&config, ms(400), "looking up tenant.example:443");
            let proxied = config.clone().proxy(Some("http://proxy.example:3128"));
            ends_in_time(&proxied, ms(400), "proxy.example:3128");
            let left: Vec<String> = threads().split_off(before);
            assert_eq!(left, ["oneaccess-dns", "oneaccess-dns"]);
        },
    );
}

#[test]
fn slow_lookup_leaves_the_connect_the_rest() {
    if !has("cc", "gcc") {
        return;
    }
    let resolver = Resolver::compile();
    in_child(
        || resolver.runner(600, "127.0.0.1"),
        || {
            let hole = Blackhole::new();
            let silent = Server::silent();
            let tenant = Tenant::start();
            ends_in_time(&to_port(&tenant, hole.port()), ms(1000), "connecting to");
            ends_in_time(&to_port(&tenant, silent.port()), ms(1000), "TLS handshake");
            for proxy in [&hole.port(), &silent.port()] {
                let proxy = format!("http://proxy.example:{proxy}");
                let config = Config::new("tenant.example", "id", "secret").proxy(Some(&proxy));
                ends_in_time(&config, ms(1000), "proxy.example");
            }
        },
    );
}

#[test]
fn a_blackhole_ends_in_time() {
    let hole = Blackhole::new();
    let tenant = Tenant::start();
    let config = to_port(&tenant, hole.port());
    for limit in [50, 300, 999, 1001, 1003, 1500] {
        ends_in_time(&config, ms(limit), "connecting to localhost");
    }
}

/// They double: the fifth would be longer.
#[test]
fn no_round_is_longer_than_three_seconds() {
    let hole = Blackhole::new();
    let client = Client::new(&to_port(&Tenant::start(), hole.port())).expect("a client");
    let called = client.clone();
    let call = std::thread::spawn(move || called.token_within(ms(30_000)));
    std::thread::sleep(ms(6500));
    let (outcome, took) = timed(|| {
        client.close();
        call.join().expect("no panic")
    });
    assert_eq!(outcome.expect_err("no token").kind(), ErrorKind::Closed);
    assert!(took < ms(3000) + SLACK, "{took:?}");
}

#[test]
fn unresponsive_first_address_costs_one_second() {
    if !has("cc", "gcc") {
        return;
    }
    let resolver = Resolver::compile();
    in_child(
        || resolver.runner(0, "127.0.0.2 127.0.0.1"),
        || {
            let tenant = Tenant::start();
            let hole = Blackhole::at(([127, 0, 0, 2], tenant.port()).into());
            let client = Client::new(&config(&tenant)).expect("a client");
            let (token, took) = timed(|| client.token());
            println!("{took:?}");
            token.expect("a token from the second address");
            assert!(took < ms(1000) + SLACK, "{took:?}");
            drop(hole);
        },
    );
}

#[test]
fn a_first_address_that_refuses_is_passed_over() {
    if !has("cc", "gcc") {
        return;
    }
    let resolver = Resolver::compile();
    in_child(
        || resolver.runner(0, "127.0.0.77 127.0.0.1"),
        || {
            let tenant = Tenant::start();
            let client = Client::new(&config(&tenant)).expect("a client");
            client.token().expect("a token from the second address");
            assert_eq!(client.stat(Stat::Attempts), 1);
        },
    );
}

#[test]
fn slow_address_is_waited_for_beside_a_refusing_one() {
    if !has("cc", "gcc") {
        return;
    }
    let resolver = Resolver::compile();
    in_child(
        // Where no other test listens, whatever the port.
        || resolver.runner(0, "127.0.0.76 127.0.0.77"),
        || {
            let hole = Blackhole::at(([127, 0, 0, 76], 0).into());
            let tenant = Tenant::start();
            ends_in_time(&to_port(&tenant, hole.port()), ms(1000), "connecting to localhost");
        },
    );
}

#[test]
fn sixteen_addresses_that_drop_packets_end_in_time() {
    if !has("cc", "gcc") {
        return;
    }
    let resolver = Resolver::compile();
    in_child(
        || {
            let all: Vec<String> = (1..=16).map(|last| format!("127.0.0.{last}")).collect();
            resolver.runner(0, &all.join(" "))
        },
        || {
            let first = Blackhole::new();
            let others =
                (2..=16u8).map(|last| Blackhole::at(([127, 0, 0, last], first.port()).into()));
            let others: Vec<Blackhole> = others.collect();
            let tenant = Tenant::start();
            let config = to_port(&tenant, first.port());
            for limit in [100, 700, 1002] {
                ends_in_time(&config, ms(limit), "connecting to localhost");
            }
            drop(others);
        },
    );
}

#[test]
fn a_connect_that_fails_at_once_is_not_a_timeout() {
    if !has("cc", "gcc") {
        return;
    }
    let resolver = Resolver::compile();
    in_child(
        || resolver.failing_connect(libc::EAGAIN),
        || {
            let config = Config::new("tenant.example", "id", "secret").proxy(Some(""));
            let error = Client::new(&config).expect("a client").token().expect_err("no token");
            assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
            assert!(error.is_retryable());
            assert!(error.to_string().contains("no local port left"), "{error}");
            assert_eq!(connects(), 3, "one for each attempt");
        },
    );
}

#[test]
fn immediate_connect_timeout_is_retried_in_rounds() {
    if !has("cc", "gcc") {
        return;
    }
    let resolver = Resolver::compile();
    in_child(
        || resolver.failing_connect(libc::ETIMEDOUT),
        || {
            let config = Config::new("tenant.example", "id", "secret").proxy(Some(""));
            ends_in_time(&config, ms(1000), "connecting to tenant.example:443");
            println!("{} connects", connects());
            assert!(connects() <= 51, "{} connects", connects());
        },
    );
}

fn through(scheme: &str, port: u16) -> Config {
    let proxy = format!("{scheme}://127.0.0.1:{port}");
    Config::new("127.0.0.9:443", "id", "secret").proxy(Some(&proxy))
}

#[test]
fn a_proxy_that_drops_packets_ends_in_time() {
    let hole = Blackhole::new();
    for scheme in ["http", "https", "socks5h", "socks4a"] {
        for limit in [300, 1002] {
            ends_in_time(&through(scheme, hole.port()), ms(limit), "127.0.0.1");
        }
    }
}

#[test]
fn a_proxy_that_never_answers_ends_in_time() {
    let silent = Server::silent();
    for scheme in ["http", "socks5h", "socks4a"] {
        ends_in_time(&through(scheme, silent.port()), ms(400), "asking the proxy");
    }
    ends_in_time(&through("https", silent.port()), ms(400), "TLS handshake");
}

#[test]
fn a_proxy_that_drips_its_answer_ends_in_time() {
    let answer = b"HTTP/1.1 200 OK\r\nX-Padding: this is dripped and comes again and again";
    let proxy = Server::dripping(answer, ms(100));
    ends_in_time(&through("http", proxy.port()), ms(500), "asking the proxy");
}

#[test]
fn a_socks_proxy_that_drips_its_answer_ends_in_time() {
    let proxy = Server::dripping(&[5, 0, 5, 0, 0, 3, 255], ms(100));
    ends_in_time(&through("socks5h", proxy.port()), ms(450), "asking the proxy");
}

#[test]
fn a_proxy_that_is_slow_in_every_phase_ends_in_time() {
    if !has("cc", "gcc") {
        return;
    }
    let resolver = Resolver::compile();
    in_child(
        || resolver.runner(300, "127.0.0.2 127.0.0.1"),
        || {
            let silent = Server::silent();
            let _hole = Blackhole::at(([127, 0, 0, 2], silent.port()).into());
            let proxy = format!("http://proxy.example:{}", silent.port());
            let config = Config::new("tenant.example", "id", "secret").proxy(Some(&proxy));
            ends_in_time(&config, ms(1300), "proxy");
        },
    );
}

#[test]
fn a_tls_handshake_that_stalls_ends_in_time() {
    let tenant = Tenant::start();
    let silent = Server::silent();
    ends_in_time(&to_port(&tenant, silent.port()), ms(400), "TLS handshake");
    for after in [1, 100, 600] {
        let relay = Relay::to(tenant.port(), Fault::Stall(after));
        ends_in_time(&to_port(&tenant, relay.port()), ms(400), "TLS handshake");
    }
}

/// Linux ends the timeout of a socket late, by up to an eighth of it (250 ms of these where its clock
/// ticks 250 times a second): half would be late by more than this.
#[test]
fn a_long_wait_ends_in_time_too() {
    let tenant = Tenant::start();
    tenant.always(Answer::Hang);
    long_waits_end_in_time(&config(&tenant));
}

#[test]
fn a_long_wait_for_socks_ends_in_time_too() {
    let silent = Server::silent();
    long_waits_end_in_time(&through("socks5h", silent.port()));
    // And behind the tunnel.
    let tenant = Tenant::start();
    tenant.always(Answer::Hang);
    let replies: [&[u8]; 2] = [&[5, 0], &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]];
    let proxy = Server::tunnel(&replies, tenant.port());
    let url = format!("socks5h://127.0.0.1:{}", proxy.port());
    long_waits_end_in_time(&config(&tenant).proxy(Some(&url)));
}

fn long_waits_end_in_time(config: &Config) {
    let calls = (0..16).map(|number| {
        let client = Client::new(config).expect("a client");
        let limit = ms(2100 + 37 * number);
        thread::spawn(move || timed(|| client.token_within(limit)).1.saturating_sub(limit))
    });
    let calls: Vec<_> = calls.collect();
    let mut late: Vec<Duration> =
        calls.into_iter().map(|call| call.join().expect("late")).collect();
    late.sort();
    println!("{late:?}");
    assert!(late[late.len() / 2] < ms(100), "{late:?}");
}

#[test]
fn a_tls_handshake_that_drips_ends_in_time() {
    let tenant = Tenant::start();
    let relay = Relay::to(tenant.port(), Fault::Drip(0, ms(100)));
    ends_in_time(&to_port(&tenant, relay.port()), ms(450), "TLS handshake");
}

#[test]
fn an_answer_that_does_not_come_ends_in_time() {
    let tenant = Tenant::start();
    for answer in [
        Answer::Hang,
        Answer::Normal.delayed(Duration::from_secs(60)),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\": \"x"),
        drip(b"H"),
        endless("HTTP/1.1 200 OK\r\n", "X-Y: z\r\n"),
        endless("", "HTTP/1.1 100 Continue\r\n\r\n"),
        endless("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{", " "),
        endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"),
        endless("HTTP/1.1 200 OK\r\n\r\n", " "),
    ] {
        tenant.always(answer);
        ends_in_time(&config(&tenant), ms(400), "waiting for the answer of localhost");
    }
}

fn drip(bytes: &[u8]) -> Answer {
    Answer::Drip { bytes: bytes.to_vec(), every: ms(150) }
}

/// `again` comes again and again, slowly.
fn endless(first: &str, again: &str) -> Answer {
    let bytes = (first.to_owned() + &again.repeat(2000)).into_bytes();
    Answer::Drip { bytes, every: ms(3) }
}

#[test]
fn a_tls_record_that_drips_ends_in_time() {
    let tenant = Tenant::start();
    let relay = Relay::to(tenant.port(), Fault::None);
    let full = support::client(&tenant);
    full.token().expect("a token");
    drop(relay);
    // Most of the handshake comes in one piece, its end and the answer drip.
    let relay = Relay::to(tenant.port(), Fault::Drip(900, ms(60)));
    ends_in_time(&to_port(&tenant, relay.port()), ms(900), "localhost");
}

#[test]
fn no_thread_and_no_socket_is_left_behind() {
    in_child(plain, || {
        let tenant = Tenant::start();
        let hole = Blackhole::new();
        let silent = Server::silent();
        let open = || std::fs::read_dir("/proc/self/fd").expect("Linux").count();
        let (threads_before, open_before) = (threads().len(), open());
        for endpoint in [hole.port(), silent.port()] {
            let config = to_port(&tenant, endpoint);
            ends_in_time(&config, ms(200), "localhost");
        }
        tenant.always(Answer::Hang);
        ends_in_time(&config(&tenant), ms(200), "waiting for the answer");
        // The server's threads have noticed by then.
        thread::sleep(ms(200));
        assert_eq!(threads().len(), threads_before, "{:?}", threads());
        assert_eq!(open(), open_before);
    });
}

#[test]
fn signals_break_no_call_and_move_no_deadline() {
    in_child(plain, || {
        let tenant = Tenant::builder().delay(ms(300)).start();
        storm();
        for _ in 0..5 {
            support::client(&tenant).token().expect("a token");
        }
        let (hole, silent) = (Blackhole::new(), Server::silent());
        ends_in_time(&to_port(&tenant, hole.port()), ms(500), "connecting");
        ends_in_time(&to_port(&tenant, silent.port()), ms(500), "TLS handshake");
        ends_in_time(&through("http", silent.port()), ms(500), "asking the proxy");
        tenant.always(Answer::Hang);
        ends_in_time(&config(&tenant), ms(500), "waiting for the answer");
    });
}

#[test]
fn closing_ends_a_name_lookup_promptly() {
    if !has("cc", "gcc") {
        return;
    }
    let resolver = Resolver::compile();
    in_child(
        || resolver.runner(60_000, "127.0.0.1"),
        || closes_promptly(&Config::new("tenant.example", "id", "secret").proxy(Some(""))),
    );
}

#[test]
fn closing_ends_a_connect_with_its_round() {
    let (tenant, hole) = (Tenant::start(), Blackhole::new());
    closes_with_its_round(&to_port(&tenant, hole.port()));
    closes_with_its_round(&through("socks5h", hole.port()));
}

#[test]
fn closing_ends_a_wait_for_a_proxy_promptly() {
    let silent = Server::silent();
    for scheme in ["http", "https", "socks5h", "socks4a"] {
        closes_promptly(&through(scheme, silent.port()));
    }
}

#[test]
fn closing_ends_a_handshake_promptly() {
    let (tenant, silent) = (Tenant::start(), Server::silent());
    closes_promptly(&to_port(&tenant, silent.port()));
}

#[test]
fn closing_ends_a_wait_for_an_answer_promptly() {
    let tenant = Tenant::start();
    for answer in
        [Answer::Hang, drip(b"HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"much too slow\"}")]
    {
        tenant.always(answer);
        closes_promptly(&config(&tenant));
    }
}

#[test]
fn the_longest_timeout_is_no_panic() {
    let tenant = Tenant::start();
    support::client(&tenant).token_within(Duration::MAX).expect("a token");
}

/// For the rest of such a child. The type of `resource` differs between C libraries.
macro_rules! limit {
    ($resource:expr, $to:expr) => {{
        let limits = libc::rlimit { rlim_cur: $to, rlim_max: $to };
        // SAFETY: the structure outlives the call.
        assert_eq!(unsafe { libc::setrlimit($resource, &limits) }, 0);
    }};
}

#[test]
fn missing_file_descriptors_are_reported() {
    in_child(plain, || {
        let to = |endpoint: &str| Config::new(endpoint, "id", "secret").proxy(Some(""));
        let tenant = Tenant::start();
        let own_roots = |config: Config| config.ca_file(tenant.ca_file()).system_roots(false);
        let proxied = to("127.0.0.1").proxy(Some("socks5h://proxy.example"));
        let configs = [
            to("tenant.example"),
            own_roots(to("tenant.example")),
            own_roots(to("127.0.0.1")),
            own_roots(proxied),
        ];
        let clients = configs.map(|config| Client::new(&config).expect("a client"));
        limit!(libc::RLIMIT_NOFILE, 40);
        let mut all = Vec::new();
        all.extend(std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()));
        let starts = [
            "the operating system's trusted certificates could not be read: ",
            "the host name of ",
            "could not connect to ",
            "the host name of the proxy ",
        ];
        for (client, start) in clients.iter().zip(starts) {
            let error = client.token_within(ms(3000)).expect_err("no token");
            println!("{error}");
            assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
            assert!(error.is_retryable());
            let text = error.to_string();
            assert!(text.starts_with(start), "{text}");
            assert!(text.contains("no file descriptor left (ulimit -n)"), "{text}");
        }
    });
}

#[test]
fn failed_thread_start_is_reported() {
    in_child(plain, || {
        let config = Config::new("tenant.example", "id", "secret").proxy(Some(""));
        let client = Client::new(&config).expect("a client");
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("a size");
        let size_kb: u64 = size.trim().trim_end_matches(" kB").parse().expect("a number");
        // Less than a thread's stack.
        limit!(libc::RLIMIT_AS, (size_kb + 1024) << 10);
        let error = client.token_within(ms(3000)).expect_err("no token");
        println!("{error}");
        assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
        assert!(error.is_retryable());
        assert!(error.to_string().contains("could not start a thread"), "{error}");
    });
}
