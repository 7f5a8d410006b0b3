//! Proxies are chosen as curl chooses them, never see the secret, and are blamed by name for what
//! they do wrong.

mod support;

use std::io::{Read, Write};
use std::time::Duration;

use oneaccess::{Client, Config, Error, ErrorKind};
use support::child::{in_child, plain, set_env};
use support::fault::{Fault, Relay, Server, reset};
use support::proxy::{dante, installed, microsocks, squid, tinyproxy};
use support::tenant::Tenant;

fn through(tenant: &Tenant, proxy: &str) -> Config {
    support::config(tenant).proxy(Some(proxy))
}

fn token(config: &Config) {
    Client::new(config).expect("a client").token().expect("a token");
}

fn refusal(config: &Config) -> Error {
    let error = |time| {
        let client = Client::new(config).expect("a client");
        client.token_within(Duration::from_millis(time)).expect_err("no token")
    };
    // Time for one attempt; on a busy machine it may need more.
    let quick = error(90);
    let error = if quick.kind() == ErrorKind::Timeout { error(3000) } else { quick };
    println!("{:?} {}: {error}", error.kind(), error.is_retryable());
    error
}

/// No bytes of the secret in any form in what a proxy saw.
fn saw_no_secret(tenant: &Tenant, seen: &[u8]) {
    let text = String::from_utf8_lossy(seen);
    let (id, secret) = (tenant.client_id(), tenant.client_secret());
    let half = &secret[..16];
    assert!(!text.contains(&id) && !text.contains(half), "{text}");
    assert!(!text.contains("client_credentials") && !text.contains("Authorization: Basic"));
}

#[test]
fn tinyproxy_tunnel_does_not_reveal_the_secret() {
    if !installed("tinyproxy", "tinyproxy") {
        return;
    }
    let (tenant, proxy) = (Tenant::start(), tinyproxy(""));
    let relay = Relay::to(proxy.port(), Fault::None);
    token(&through(&tenant, &format!("http://127.0.0.1:{}", relay.port())));
    // The port alone, and the name without a scheme.
    token(&through(&tenant, &format!("localhost:{}", relay.port())));
    assert_eq!(relay.server.connections(), 2);
    let seen = relay.client_bytes();
    assert!(seen.starts_with(format!("CONNECT localhost:{}", tenant.port()).as_bytes()));
    saw_no_secret(&tenant, &seen);
}

#[test]
fn tinyproxy_password_is_sent() {
    if !installed("tinyproxy", "tinyproxy") {
        return;
    }
    let (tenant, proxy) = (Tenant::start(), tinyproxy("BasicAuth walter p4ss"));
    let port = proxy.port();
    token(&through(&tenant, &format!("http://walter:p4ss@127.0.0.1:{port}")));
    for user in ["", "walter:wr0ng@"] {
        let error = refusal(&through(&tenant, &format!("http://{user}127.0.0.1:{port}")));
        assert_eq!(error.kind(), ErrorKind::Proxy);
        let text = error.to_string();
        assert!(text.contains(&format!("http://127.0.0.1:{port}")), "{text}");
        assert!(text.contains("proxy authentication required"), "{text}");
        assert!(!text.contains("walter") && !text.contains("wr0ng"), "{text}");
    }
}

#[test]
fn squid_tunnel_and_refusals() {
    if !installed("squid", "squid") {
        return;
    }
    let tenant = Tenant::start();
    let proxy = squid("http_access allow all");
    let relay = Relay::to(proxy.port(), Fault::None);
    let url = format!("http://127.0.0.1:{}", relay.port());
    token(&through(&tenant, &url));
    saw_no_secret(&tenant, &relay.client_bytes());

    let closed = support::proxy::free_port();
    let (id, secret) = (tenant.client_id(), tenant.client_secret());
    let gone = Config::new(&format!("localhost:{closed}"), &id, &secret).proxy(Some(&url));
    let error = refusal(&gone);
    assert_eq!(error.kind(), ErrorKind::Proxy);
    assert!(error.to_string().contains("HTTP 503"), "{error}");

    let strict = squid("http_access deny all");
    let url = format!("http://127.0.0.1:{}", strict.port());
    let error = refusal(&through(&tenant, &url));
    assert_eq!(error.kind(), ErrorKind::Proxy);
    assert!(error.to_string().contains("does not allow"), "{error}");
}

#[test]
fn squid_password_is_sent() {
    let helper = "/usr/lib/squid/basic_fake_auth";
    if !installed("squid", "squid") || !installed(helper, "squid") {
        return;
    }
    let rules = format!(
        "auth_param basic program {helper}\nacl known proxy_auth REQUIRED\n\
         http_access allow known\nhttp_access deny all"
    );
    let (tenant, proxy) = (Tenant::start(), squid(&rules));
    token(&through(&tenant, &format!("http://walter:p%40ss%3A@127.0.0.1:{}", proxy.port())));
    let error = refusal(&through(&tenant, &format!("http://127.0.0.1:{}", proxy.port())));
    assert_eq!(error.kind(), ErrorKind::Proxy);
    assert!(error.to_string().contains("HTTP 407"), "{error}");
}

#[test]
fn microsocks_tunnel_does_not_reveal_the_secret() {
    if !installed("microsocks", "microsocks") {
        return;
    }
    let (tenant, proxy) = (Tenant::start(), microsocks(&[]));
    let relay = Relay::to(proxy.port(), Fault::None);
    for scheme in ["socks5h", "SOCKS5h", "socks5"] {
        token(&through(&tenant, &format!("{scheme}://127.0.0.1:{}", relay.port())));
    }
    assert_eq!(relay.server.connections(), 3);
    saw_no_secret(&tenant, &relay.client_bytes());
}

#[test]
fn microsocks_password_is_sent() {
    if !installed("microsocks", "microsocks") {
        return;
    }
    let (tenant, proxy) = (Tenant::start(), microsocks(&["-u", "walter", "-P", "p@ss:"]));
    token(&through(&tenant, &format!("socks5h://walter:p%40ss%3A@127.0.0.1:{}", proxy.port())));
    for user in ["", "walter:wr0ng@"] {
        let url = format!("socks5h://{user}127.0.0.1:{}", proxy.port());
        let error = refusal(&through(&tenant, &url));
        assert_eq!(error.kind(), ErrorKind::Proxy);
        assert!(!error.is_retryable(), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("socks5h://127.0.0.1:{}", proxy.port())), "{text}");
        assert!(!text.contains("walter") && !text.contains("wr0ng"), "{text}");
    }
}

#[test]
fn dante_carries_the_connection() {
    if !installed("danted", "dante-server") {
        return;
    }
    let (tenant, proxy) = (Tenant::start(), dante());
    for scheme in ["socks4", "socks5", "socks5h"] {
        token(&through(&tenant, &format!("{scheme}://127.0.0.1:{}", proxy.port())));
    }
}

#[test]
fn socks_requests_and_replies_have_every_form() {
    let tenant = Tenant::start();
    let port = tenant.port().to_be_bytes();
    let with_port = |request: &[u8]| [request, &port].concat();
    let granted = [&[0, 90][..], &[7; 6]].concat();
    let named = [&[5, 0, 0, 3, 255][..], &[b'x'; 255 + 2]].concat();
    let v6 = [&[5, 0, 0, 4][..], &[7; 16 + 2]].concat();
    let v4 = [5, 0, 0, 1, 7, 7, 7, 7, 7, 7];
    let name = with_port(b"\x05\x01\x00\x03\x09localhost");
    let none = [&[5, 1, 0], &name[..]].concat();
    let sign_in = [b"\x05\x02\x02\x00\x01\x06walter\x05p@ss:", &name[..]].concat();
    let address = [&[5, 1, 0], &with_port(&[5, 1, 0, 1, 127, 0, 0, 1])[..]].concat();
    let four = [&[4, 1], &port[..], &[127, 0, 0, 1, 0]].concat();
    let four_a = [&[4, 1], &port[..], b"\x00\x00\x00\x01walter\x00localhost\x00"].concat();
    for (url, replies, requests) in [
        ("socks5h://", vec![&[5, 0][..], &v4], &none),
        ("socks5h://", vec![&[5, 0], &named], &none),
        ("socks5h://", vec![&[5, 0], &v6], &none),
        ("socks5h://walter:p%40ss%3A@", vec![&[5, 2], &[1, 0], &v4], &sign_in),
        ("socks5://", vec![&[5, 0], &v4], &address),
        ("socks4://", vec![&granted], &four),
        ("socks4a://walter:p4ss@", vec![&granted], &four_a),
    ] {
        let proxy = Server::tunnel(&replies, tenant.port());
        let relay = Relay::to(proxy.port(), Fault::None);
        token(&through(&tenant, &format!("{url}127.0.0.1:{}", relay.port())));
        let sent = relay.client_bytes();
        assert!(sent.starts_with(requests), "{url}: {:?}", sent.get(..requests.len()));
    }
}

#[test]
fn socks_refusals_are_reported() {
    let tenant = Tenant::start();
    let reply = |number: u8| vec![vec![5, 0], vec![5, number, 0, 1, 0, 0, 0, 0, 0, 0]];
    let four = |number: u8| vec![vec![0, number, 0, 0, 0, 0, 0, 0]];
    let garbage = "it sent an invalid SOCKS reply";
    for (url, replies, says, retryable) in [
        ("socks5h://", reply(1), "general failure (SOCKS reply 1)", true),
        ("socks5h://", reply(2), "does not allow this host (SOCKS reply 2)", false),
        ("socks5h://", reply(3), "network unreachable (SOCKS reply 3)", true),
        ("socks5h://", reply(4), "host unreachable (SOCKS reply 4)", true),
        ("socks5h://", reply(5), "connection refused (SOCKS reply 5)", true),
        ("socks5h://", reply(6), "TTL expired (SOCKS reply 6)", true),
        ("socks5h://", reply(7), "command not supported (SOCKS reply 7)", false),
        ("socks5h://", reply(8), "address type not supported (SOCKS reply 8)", false),
        ("socks5h://", reply(99), "(SOCKS reply 99)", true),
        ("socks5h://", vec![vec![5, 255]], "no acceptable authentication method", false),
        ("socks5h://walter:p4ss@", vec![vec![5, 255]], "no acceptable authentication", false),
        ("socks5h://walter:p4ss@", vec![vec![5, 2], vec![1, 1]], "wrong user or password", false),
        ("socks4a://", four(91), "rejected or failed (SOCKS reply 91)", true),
        ("socks4a://", four(92), "identd", false),
        ("socks4a://", four(93), "identd", false),
        ("socks4a://", four(94), garbage, true),
        ("socks4a://", vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()], garbage, true),
        ("socks5h://", vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()], garbage, true),
        // A password that was not offered.
        ("socks5h://", vec![vec![5, 2]], garbage, true),
        ("socks5h://walter:p4ss@", vec![vec![5, 2], vec![5, 0]], garbage, true),
        ("socks5h://", vec![vec![5, 0], vec![4, 0]], garbage, true),
        ("socks5h://", vec![vec![5, 0], vec![5, 0, 0, 9]], garbage, true),
        ("socks5h://", vec![], "it closed the connection", true),
        (
            "socks5h://",
            vec![vec![5, 0], vec![5, 0, 0, 3, 200, 1]],
            "it closed the connection",
            true,
        ),
    ] {
        let replies: Vec<&[u8]> = replies.iter().map(Vec::as_slice).collect();
        let proxy = Server::replying(&replies);
        let error = refusal(&through(&tenant, &format!("{url}127.0.0.1:{}", proxy.port())));
        assert_eq!(error.kind(), ErrorKind::Proxy, "{error}");
        assert_eq!(error.is_retryable(), retryable, "{error}");
        let text = error.to_string();
        let name = format!("://127.0.0.1:{} did not open a tunnel to localhost", proxy.port());
        assert!(text.contains(&name) && text.contains(says), "{text}");
        assert!(!text.contains("p4ss") && !text.contains("walter"), "{text}");
    }
    assert_eq!(tenant.connections(), 0);
}

#[test]
fn socks_refuses_what_it_cannot_send() {
    let proxy = Server::replying(&[&[5, 2], &[1, 0], &[5, 5]]);
    let long = "u".repeat(256);
    for (url, endpoint, says) in [
        (format!("socks5h://{long}:p4ss@"), "localhost", "at most 255 bytes"),
        (format!("socks5h://walter:{long}@"), "localhost", "at most 255 bytes"),
        (format!("socks4a://{long}@"), "localhost", "cannot be sent with SOCKS 4"),
        ("socks4a://walt%00er@".to_owned(), "localhost", "cannot be sent with SOCKS 4"),
        ("socks4://".to_owned(), "[::1]", "not support IPv6"),
    ] {
        let config = Config::new(endpoint, "id", "secret");
        let error = refusal(&config.proxy(Some(&format!("{url}127.0.0.1:{}", proxy.port()))));
        assert_eq!(error.kind(), ErrorKind::Proxy, "{error}");
        assert!(error.to_string().contains(says) && !error.is_retryable(), "{error}");
    }
}

#[test]
fn socks_tells_unreachable_tenant_from_proxy() {
    if !installed("microsocks", "microsocks") {
        return;
    }
    let tenant = Tenant::start();
    let proxy = microsocks(&[]);
    let closed = support::proxy::free_port();
    let to_nobody = Config::new(&format!("localhost:{closed}"), "id", "secret");
    let reached = refusal(&to_nobody.proxy(Some(&format!("socks5h://127.0.0.1:{}", proxy.port()))));
    let unreached = refusal(&through(&tenant, &format!("socks5h://127.0.0.1:{closed}")));
    assert_eq!(reached.kind(), ErrorKind::Proxy);
    assert_eq!(unreached.kind(), ErrorKind::Proxy);
    let text = unreached.to_string();
    assert!(text.contains("could not connect to") && text.contains("127.0.0.1"), "{text}");
    assert!(reached.to_string().contains("connection refused (SOCKS reply 5)"), "{reached}");
}

#[test]
fn a_proxy_that_speaks_tls_opens_a_tunnel() {
    if !installed("tinyproxy", "tinyproxy") {
        return;
    }
    // The tenant's own certificate serves the proxy: its port is wrapped in TLS by stunnel.
    if !installed("stunnel", "stunnel4") {
        return;
    }
    let (tenant, plain) = (Tenant::start(), tinyproxy(""));
    let folder = tempfile::TempDir::new().expect("a folder");
    let ca = support::certificates::Ca::new();
    let (certificate, key) = ca.server(&["localhost"]).write(folder.path(), "proxy");
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, tenant.ca_pem().to_owned() + &ca.pem()).expect("a file");
    let wrapped = support::proxy::stunnel(&certificate, &key, plain.port());
    let relay = Relay::to(wrapped.port(), Fault::None);
    let url = format!("https://localhost:{}", relay.port());
    token(&through(&tenant, &url).ca_file(&roots));
    let seen = relay.client_bytes();
    saw_no_secret(&tenant, &seen);
    assert!(!String::from_utf8_lossy(&seen).contains("CONNECT"));

    let error = refusal(&through(&tenant, &url));
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains(&url), "{error}");
}

struct Row {
    answer: &'static [u8],
    says: &'static str,
    retryable: bool,
}

#[test]
fn proxy_errors_name_the_proxy() {
    let row = |answer, says, retryable| Row { answer, says, retryable };
    let (tenant, mut wrong) = (Tenant::start(), Vec::new());
    for Row { answer, says, retryable } in [
        row(b"HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM\r\n\r\n", "HTTP 407", false),
        row(b"HTTP/1.0 401 x\r\n\r\n", "HTTP 401", false),
        row(b"HTTP/1.1 403 Forbidden\r\n\r\n<html>", "HTTP 403", false),
        row(b"HTTP/1.1 302 Found\r\nLocation: http://login\r\n\r\n", "HTTP 302", true),
        row(b"HTTP/1.1 500 x\r\n\r\n", "HTTP 500", true),
        row(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "HTTP 502", true),
        row(b"HTTP/1.1 504 x\r\n\r\n", "HTTP 504", true),
        row(b"", "it closed the connection", true),
        row(b"HTTP/1.1 200", "it closed the connection", true),
        row(b"SSH-2.0-OpenSSH_9.2\r\n", "it sent an invalid HTTP response", true),
        row(b"\x15\x03\x01\x00\x02\x02\x28", "it sent an invalid HTTP response", true),
    ] {
        let proxy = Server::saying(answer);
        let url = format!("http://walter:p4ss@127.0.0.1:{}", proxy.port());
        let error = refusal(&through(&tenant, &url));
        assert_eq!(error.kind(), ErrorKind::Proxy, "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("the proxy http://127.0.0.1:{}", proxy.port())), "{text}");
        assert!(text.contains(says), "{text}");
        assert!(!text.contains("p4ss") && !text.contains("walter"), "{text}");
        if error.is_retryable() != retryable {
            wrong.push(text);
        }
    }
    assert_eq!(tenant.connections(), 0);
    assert!(wrong.is_empty(), "retried or not: {wrong:#?}");
}

#[test]
fn wrong_proxy_password_is_sent_once() {
    // Three wrong passwords in a row lock many an account.
    let tenant = Tenant::start();
    for (scheme, proxy) in [
        ("http", Server::saying(b"HTTP/1.1 407 x\r\n\r\n")),
        ("socks5h", Server::replying(&[&[5, 2], &[1, 1]])),
    ] {
        let url = format!("{scheme}://walter:wr0ng@127.0.0.1:{}", proxy.port());
        let client = Client::new(&through(&tenant, &url)).expect("a client");
        client.token().expect_err("no token");
        assert_eq!(proxy.connections(), 1, "{scheme}");
    }
}

#[test]
fn unreachable_proxy_is_named() {
    let tenant = Tenant::start();
    let closed = support::proxy::free_port();
    for scheme in ["http", "https", "socks5h", "socks4a"] {
        let url = format!("{scheme}://walter:p4ss@127.0.0.1:{closed}");
        let error = refusal(&through(&tenant, &url));
        assert_eq!(error.kind(), ErrorKind::Proxy, "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("{scheme}://127.0.0.1:{closed}")), "{text}");
        assert!(text.contains("refused") && !text.contains("p4ss"), "{text}");
    }
    let unknown = through(&tenant, "http://walter:p4ss@no-such-proxy.invalid:3128");
    let error = refusal(&unknown);
    assert_eq!(error.kind(), ErrorKind::Proxy, "{error}");
    assert!(error.to_string().contains("no-such-proxy.invalid:3128"), "{error}");
    let resets = Server::start(|client| reset(&client));
    let error = refusal(&through(&tenant, &format!("http://127.0.0.1:{}", resets.port())));
    assert_eq!(error.kind(), ErrorKind::Proxy, "{error}");
}

#[test]
fn unknown_tenant_name_is_not_a_proxy_error() {
    // socks5 and socks4 look the name up on this side.
    for scheme in ["socks5", "socks4"] {
        let proxy = Server::silent();
        let url = format!("{scheme}://127.0.0.1:{}", proxy.port());
        let config = Config::new("no-such-tenant.invalid", "id", "secret").proxy(Some(&url));
        let error = refusal(&config);
        assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
        assert_eq!(proxy.connections(), 0);
    }
}

#[test]
fn invalid_proxy_url_is_refused_without_password() {
    let mut wrong = Vec::new();
    for url in [
        "ftp://walter:p4ss@proxy:1",
        "http://walter:p4ss@proxy:99999",
        "http://walter:p4ss@",
        "http://walter:p4ss@pro xy:1",
        "http://walter:p4ss@proxy:1/pa th",
        "http://walter:p4ss@proxy:port",
        "http://walter:p4?ss@proxy:port",
        "http://walter:p4#ss@proxy:port",
        "http://walter:p4/ss@proxy:port",
        "http://walter:p4ss%zz@proxy:1%",
        "walter:p4ss",
        "http://walter:p4ss",
        "http://walter:p4 ss@proxy:3128",
        "http://walter:p4%ff@proxy:3128",
        "://proxy",
        "http://[::1",
    ] {
        let config = Config::new("tenant.example", "id", "secret").proxy(Some(url));
        match Client::new(&config) {
            Err(error) => {
                println!("{url}: {error}");
                assert_eq!(error.kind(), ErrorKind::Config, "{url}: {error}");
                let text = error.to_string();
                if !text.contains("the proxy") || text.contains("p4") {
                    wrong.push(format!("{url}: {text}"));
                }
            }
            Ok(_) => wrong.push(format!("{url} was accepted")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn special_password_characters_keep_the_proxy_host() {
    let tenant = Tenant::start();
    let proxy = Server::saying(b"HTTP/1.1 502 x\r\n\r\n");
    let port = proxy.port();
    let trap = Server::silent();
    let other = trap.port();
    for user in ["walter", "w/x", "w?x", "w#x"] {
        for special in ['/', '?', '#', '@'] {
            let url = format!("http://127.0.0.1:{other}{special}{user}@127.0.0.1:{port}");
            // Refused or used as it is shown, but nothing else.
            if let Ok(client) = Client::new(&through(&tenant, &url)) {
                let error = client.token_within(Duration::from_millis(100)).expect_err("no token");
                assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
            }
        }
    }
    assert_eq!(trap.connections(), 0);
}

#[test]
fn a_proxy_never_serves_an_endpoint_without_tls() {
    let tenant = Tenant::builder().plain_http().start();
    let proxy = Server::silent();
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let error = Client::new(&through(&tenant, &url)).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("would see the client secret"), "{error}");
    assert_eq!(proxy.connections(), 0);
}

const VARIABLES: [&str; 8] = [
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "http_proxy",
    "HTTP_PROXY",
    "no_proxy",
    "NO_PROXY",
];

fn set_only(variables: &[(&str, &str)]) {
    for name in VARIABLES {
        let value = variables.iter().find(|(variable, _)| *variable == name);
        set_env(name, value.map(|(_, value)| *value));
    }
}

fn by_environment(endpoint: &str) -> Config {
    Config::new(endpoint, "id", "secret").timeout(Duration::from_secs(10))
}

#[test]
fn the_environment_is_read_as_curl_reads_it() {
    in_child(plain, || {
        let names = ["a", "b", "c", "d"];
        let servers = names.map(|_| Server::saying(b"HTTP/1.1 502 x\r\n\r\n"));
        let urls =
            [0, 1, 2, 3].map(|index: usize| format!("http://127.0.0.1:{}", servers[index].port()));
        let [a, b, c, d] = &urls;
        let chosen = |variables: &[(&str, &str)]| {
            set_only(variables);
            let error = refusal(&by_environment("127.0.0.9:1"));
            let text = error.to_string();
            names
                .iter()
                .zip(&urls)
                .find(|(_, url)| text.contains(*url))
                .map_or("none", |(name, _)| name)
        };
        let all = [("https_proxy", a), ("HTTPS_PROXY", b), ("all_proxy", c), ("ALL_PROXY", d)];
        let all = all.map(|(name, url)| (name, url.as_str()));
        assert_eq!(chosen(&all), "a");
        assert_eq!(chosen(&all[1..]), "b");
        assert_eq!(chosen(&all[2..]), "c");
        assert_eq!(chosen(&all[3..]), "d");
        assert_eq!(chosen(&[("https_proxy", ""), ("ALL_PROXY", d)]), "d");
        assert_eq!(chosen(&[("http_proxy", a), ("HTTP_PROXY", b)]), "none");
        assert_eq!(chosen(&[]), "none");
        let bare = a.trim_start_matches("http://");
        assert_eq!(chosen(&[("https_proxy", bare)]), "a");
    });
}

#[test]
fn configuration_overrides_the_proxy_environment() {
    in_child(plain, || {
        let tenant = Tenant::start();
        let proxy = Server::silent();
        let url = format!("http://127.0.0.1:{}", proxy.port());
        set_only(&[]);
        let before = Client::new(&support::config(&tenant).proxy(None)).expect("a client");
        set_only(&[("https_proxy", &url), ("no_proxy", "*")]);
        before.token().expect("directly");
        token(&support::config(&tenant).proxy(None));
        set_only(&[("https_proxy", &url)]);
        token(&support::config(&tenant).proxy(Some("")));
        assert_eq!(proxy.connections(), 0);
        // An explicit proxy is for every host.
        set_only(&[("no_proxy", "*")]);
        let error = refusal(&through(&tenant, "http://127.0.0.1:1"));
        assert_eq!(error.kind(), ErrorKind::Proxy);
        // A plain endpoint needs no proxy, whatever the environment says.
        let plain = Tenant::builder().plain_http().start();
        set_only(&[("https_proxy", &url), ("http_proxy", &url), ("ALL_PROXY", &url)]);
        token(&support::config(&plain).proxy(None));
        assert_eq!(proxy.connections(), 0);
    });
}

#[test]
fn a_proxy_host_may_have_an_underscore() {
    let config = Config::new("tenant.example", "id", "secret");
    Client::new(&config.proxy(Some("http://squid_proxy:3128"))).expect("a client");
}

#[test]
fn a_bad_variable_is_refused_by_its_name() {
    in_child(plain, || {
        for name in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            for value in ["ftp://x:p4ss@proxy", "http://", "http://x:p4ss@proxy:0", "a b"] {
                set_only(&[(name, value)]);
                let error = Client::new(&by_environment("tenant.example")).expect_err(value);
                assert_eq!(error.kind(), ErrorKind::Config, "{error}");
                let text = error.to_string();
                assert!(text.contains(&format!("environment variable {name}")), "{text}");
                assert!(!text.contains("p4ss"), "{text}");
            }
        }
    });
}

/// A proxy that allows nothing, at once.
fn refusing() -> Server {
    Server::start(|mut client| {
        let _ = client.read(&mut [0; 4096]);
        let _ = client.write_all(b"HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n");
    })
}

/// What became of requests to these hosts: the scheme of the proxy that they went through, whose port
/// is given, or `1080`, `direct`, `refused`.
fn ours(variables: &[(&str, &str)], port: u16, hosts: &[&str]) -> Vec<String> {
    set_only(variables);
    // Reading the system's roots would take most of the time.
    let tenant = Tenant::start();
    let config = |host: &&str| by_environment(host).ca_file(tenant.ca_file()).system_roots(false);
    let clients: Vec<_> = hosts.iter().map(|host| Client::new(&config(host))).collect();
    let outcome = |client: &Result<Client, Error>| {
        let client = match client {
            Ok(client) => client,
            Err(error) => return ("refused", error.to_string()),
        };
        // Time for one attempt, whose end does not matter; without any, no peer is named.
        for time in [90, 900, 9000] {
            let error = client.token_within(Duration::from_millis(time)).expect_err("no token");
            let text = error.to_string();
            for scheme in ["http", "https", "socks4", "socks4a", "socks5", "socks5h"] {
                if text.contains(&format!("{scheme}://127.0.0.1:{port}")) {
                    return (scheme, text);
                }
            }
            if text.contains("127.0.0.1:1080") {
                return ("1080", text);
            }
            if error.kind() == ErrorKind::Transport || text.contains(":443") {
                return ("direct", text);
            }
        }
        panic!("no attempt within 9 seconds");
    };
    std::thread::scope(|scope| {
        let asked = clients.iter().map(|client| scope.spawn(|| outcome(client)));
        let asked: Vec<_> = asked.collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, (&str, String)>| {
            thread.join().expect("an outcome").0.to_owned()
        };
        asked.into_iter().map(join).collect()
    })
}

/// The same of the installed curl.
fn curls(variables: &[(&str, &str)], hosts: &[&str]) -> Vec<String> {
    let mut curl = std::process::Command::new("curl");
    // Whatever is not sent to a proxy goes to a port where nobody listens.
    curl.args(["--disable", "--silent", "--globoff", "--connect-to", "::127.0.0.1:1"]);
    curl.args(["--write-out", "%{http_connect} %{exitcode} %{errormsg}\n"]);
    for name in VARIABLES {
        curl.env_remove(name);
    }
    curl.envs(variables.iter().copied()).args(hosts.iter().map(|host| format!("https://{host}/")));
    let output = curl.output().expect("it starts");
    let outcome = |line: &str| match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
        ["403", ..] => "http".to_owned(),
        [_, "35", _] => "https".to_owned(),
        [_, "97", why] if why.contains("SOCKS4") => "socks4".to_owned(),
        [_, "97", why] if why.contains("SOCKS5") => "socks5".to_owned(),
        [_, _, why] if why.contains("port 1080") => "1080".to_owned(),
        [_, "5", _] => "refused".to_owned(),
        [_, "7", why] if why.contains("proxy scheme") => "refused".to_owned(),
        [_, "7", _] => "direct".to_owned(),
        _ => format!("unexpected: {line}"),
    };
    String::from_utf8_lossy(&output.stdout).lines().map(outcome).collect()
}

/// Since then NO_PROXY knows networks; 7.88 is the oldest that was compared.
fn has_curl() -> bool {
    let output = std::process::Command::new("curl").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let version = text.split(' ').nth(1).unwrap_or_default();
    let parts: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    let is_new = parts >= vec![7, 88];
    if !is_new {
        support::native::skip(&format!("there is no curl 7.88 or newer but {version:?}"));
    }
    is_new
}

/// Differences that the reason does not excuse, of a row with these hosts.
fn differences(
    row: &str,
    why: &str,
    hosts: &[&str],
    ours: &[String],
    curls: &[String],
) -> Vec<String> {
    assert_eq!((ours.len(), curls.len()), (hosts.len(), hosts.len()), "{row}");
    let pairs = hosts.iter().zip(ours.iter().zip(curls));
    let differ = pairs.filter(|(_, (ours, curls))| ours != curls);
    let told = differ.map(|(host, (ours, curls))| format!("{row} {host}: {ours}, curl {curls}"));
    let told: Vec<_> = told.collect();
    for difference in told.iter().filter(|_| !why.is_empty()) {
        println!("{difference} ({why})");
    }
    if why.is_empty() { told } else { Vec::new() }
}

#[test]
fn no_proxy_is_read_as_curl_reads_it() {
    const HOSTS: [&str; 8] = [
        "tenant.localhost",
        "a.tenant.localhost",
        "xtenant.localhost",
        "LOCALHOST",
        "127.0.0.9",
        "127.0.0.1",
        "[::1]",
        "[2001:db8::1]",
    ];
    const STAR: &str = "beyond curl: * may stand among others";
    const PORT: &str = "beyond curl: an entry may have a port";
    const BRACKETS: &str = "beyond curl: IPv6 addresses may have brackets";
    const IPV6: &str = "curl before 8 compares IPv6 addresses as texts";
    const STRICT: &str = "later versions of curl refuse it too";
    if !has_curl() {
        return;
    }
    in_child(plain, || {
        let proxy = refusing();
        let url = format!("http://127.0.0.1:{}", proxy.port());
        let mut wrong = Vec::new();
        for (list, why) in [
            ("", ""),
            ("*", ""),
            ("*,x", STAR),
            ("x,*", STAR),
            (" * ", STAR),
            ("**", ""),
            ("*.localhost", ""),
            ("*localhost", ""),
            ("tenant.localhost", ""),
            (".tenant.localhost", ""),
            ("..tenant.localhost", ""),
            ("tenant.localhost.", ""),
            (".tenant.localhost.", ""),
            ("tenant.localhost..", ""),
            ("TENANT.localhost", ""),
            ("localhost", ""),
            (".", ""),
            ("..", ""),
            (",", ""),
            ("x,tenant.localhost", ""),
            ("x, tenant.localhost", ""),
            ("x ,tenant.localhost", ""),
            ("x tenant.localhost", ""),
            ("x\ttenant.localhost", ""),
            ("x,,tenant.localhost,", ""),
            ("x;tenant.localhost", ""),
            ("tenant.localhost/8", ""),
            ("tenant.localhost:443", PORT),
            ("tenant.localhost:444", ""),
            ("https://tenant.localhost", ""),
            ("127.0.0.9", ""),
            (".127.0.0.9", ""),
            ("127.0.0.9.", ""),
            ("127.0.0.9:443", PORT),
            ("127.0.0.9:444", ""),
            ("127.0.0", ""),
            ("0.0.9", ""),
            ("127.9", ""),
            ("127.0.0.0/8", ""),
            ("127.0.0.0/29", ""),
            ("127.0.0.8/29", ""),
            ("127.0.0.9/32", ""),
            ("127.0.0.9/33", ""),
            ("127.0.0.9/0", ""),
            ("0.0.0.0/0", ""),
            ("127.0.0.9/08", ""),
            ("127.0.0.9/+8", ""),
            ("127.0.0.9/-8", ""),
            ("127.0.0.9/", STRICT),
            ("127.0.0.9/x", STRICT),
            ("127.0.0.9/8x", STRICT),
            ("127.0.0.9/8/8", STRICT),
            ("127.0.0.9/ 8", STRICT),
            ("/0", ""),
            ("/", ""),
            ("::1", IPV6),
            ("0:0:0:0:0:0:0:1", IPV6),
            ("2001:db8::1", ""),
            ("2001:DB8::1", ""),
            ("2001:db8::/32", IPV6),
            ("2001:db8::/33", IPV6),
            ("2001:db9::/32", ""),
            ("2001:db8::1/128", IPV6),
            ("2001:db8::1/129", ""),
            ("2001:db8::1/0", IPV6),
            ("::/0", ""),
            ("[::1]", BRACKETS),
            ("[::1]:443", BRACKETS),
            ("[::1]:444", ""),
            ("[2001:db8::]/32", ""),
        ] {
            let variables = [("https_proxy", url.as_str()), ("no_proxy", list)];
            let ours = ours(&variables, proxy.port(), &HOSTS);
            let curls = curls(&variables, &HOSTS);
            wrong.extend(differences(&format!("no_proxy={list:?}"), why, &HOSTS, &ours, &curls));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

#[test]
fn a_proxy_variable_is_read_as_curl_reads_it() {
    const BLANKS: &str = "beyond curl: blanks around it";
    const GUESSED: &str = "refused where curl guesses";
    const PASSWORD: &str = "a password with a special character: curl sends it to another host";
    if !has_curl() {
        return;
    }
    in_child(plain, || {
        let proxy = refusing();
        let host = ["127.0.0.9"];
        let mut wrong = Vec::new();
        let mut compare = |name: &str, value: &str, why: &str| {
            let value = value.replace("PROXY", &format!("127.0.0.1:{}", proxy.port()));
            let value = value.replace("PORT", &proxy.port().to_string());
            let variables = [(name, value.as_str())];
            let ours = ours(&variables, proxy.port(), &host);
            let curls = curls(&variables, &host);
            wrong.extend(differences(&format!("{name}={value:?}"), why, &host, &ours, &curls));
        };
        for name in VARIABLES {
            compare(name, "http://PROXY", "");
        }
        for (value, why) in [
            ("PROXY", ""),
            ("HTTP://PROXY", ""),
            ("http://PROXY/", ""),
            ("http://PROXY/path", ""),
            ("http://PROXY/path?query#fragment", ""),
            ("http://PROXY?query", ""),
            ("http://PROXY#fragment", ""),
            ("PROXY/path", ""),
            ("PROXY?query", ""),
            ("http://u:p@PROXY/path", ""),
            ("http://u:p@PROXY//path", ""),
            ("http://@PROXY", ""),
            ("http://:@PROXY", ""),
            ("http://u@PROXY", ""),
            ("http://:p@PROXY", ""),
            ("http://u:p/x@PROXY", ""),
            ("http://u:p?x@PROXY", ""),
            ("http://u:p#x@PROXY", ""),
            ("http://u@x:p@PROXY", ""),
            ("http://u:p p@PROXY", ""),
            ("http://PROXY/@x", PASSWORD),
            ("http://PROXY?a@x", PASSWORD),
            ("http://u:p%zz@PROXY", GUESSED),
            ("http://PROXY/a b", ""),
            ("http://a b:PORT", ""),
            (" http://PROXY", BLANKS),
            ("http://PROXY ", BLANKS),
            ("http://127.0.0.1", ""),
            ("127.0.0.1", ""),
            ("http://127.0.0.1:", GUESSED),
            ("http://127.0.0.1:0", GUESSED),
            ("http://127.0.0.1:99999", ""),
            ("http://127.0.0.1:0PORT", ""),
            ("http://PROXYx", ""),
            ("http://PROXY,x", ""),
            ("http://PROXY;x", ""),
            ("\"http://PROXY\"", ""),
            ("http://127.1:PORT", GUESSED),
            ("http://0x7f.1:PORT", GUESSED),
            ("http://[127.0.0.1]:PORT", ""),
            ("http:PROXY", ""),
            ("http:/PROXY", GUESSED),
            ("http:///PROXY", GUESSED),
            ("//PROXY", ""),
            ("://PROXY", ""),
            ("http://", ""),
            ("https://PROXY", ""),
            ("socks://PROXY", ""),
            ("socks4://PROXY", ""),
            ("socks5://PROXY", ""),
            ("SOCKS5://PROXY", ""),
            ("socks6://PROXY", ""),
            ("ftp://PROXY", ""),
            ("x://PROXY", ""),
        ] {
            compare("https_proxy", value, why);
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

#[test]
fn no_proxy_entries_match_as_documented() {
    in_child(plain, || {
        let mut wrong = Vec::new();
        for (list, endpoint, direct) in [
            ("*", "127.0.0.9:1", true),
            ("other,*", "127.0.0.9:1", true),
            ("127.0.0.9", "127.0.0.9:1", true),
            ("127.0.0.9:1", "127.0.0.9:1", true),
            ("127.0.0.9:2", "127.0.0.9:1", false),
            ("127.0.0.9:", "127.0.0.9:1", false),
            ("127.0.0.9:x", "127.0.0.9:1", false),
            ("127.0.0.8", "127.0.0.9:1", false),
            ("127.0.0", "127.0.0.9:1", false),
            ("0.0.9", "127.0.0.9:1", false),
            ("127.0.0.0/8", "127.0.0.9:1", true),
            ("127.0.0.0/29", "127.0.0.9:1", false),
            ("127.0.0.8/29", "127.0.0.9:1", true),
            ("0.0.0.0/0", "127.0.0.9:1", false),
            ("127.0.0.9/0", "127.0.0.9:1", true),
            ("127.0.0.0/33", "127.0.0.9:1", false),
            ("127.0.0.9/32", "127.0.0.9:1", true),
            ("::/0", "127.0.0.9:1", false),
            ("::1", "[::1]:1", true),
            ("0:0:0:0:0:0:0:1", "[::1]:1", true),
            ("[::1]", "[::1]:1", true),
            ("[::1]:1", "[::1]:1", true),
            ("[::1]:2", "[::1]:1", false),
            ("::/127", "[::1]:1", true),
            ("::2/128", "[::1]:1", false),
            ("localhost", "localhost:1", true),
            ("LocalHost", "LOCALHOST:1", true),
            ("localhost.", "localhost:1", true),
            (" foo , localhost , bar", "localhost:1", true),
            ("foo localhost", "localhost:1", true),
            ("foo,,localhost,", "localhost:1", true),
            (".localhost", "localhost:1", true),
            ("localhost:1", "localhost:1", true),
            ("localhost:2", "localhost:1", false),
            ("host", "localhost:1", false),
            ("localhost", "a.localhost:1", true),
            (".localhost", "a.b.localhost:1", true),
            ("b.localhost", "a.localhost:1", false),
            ("a.localhost", "xa.localhost:1", false),
            ("localhost/8", "localhost:1", false),
            (",", "localhost:1", false),
            (".", "localhost:1", false),
            ("", "localhost:1", false),
        ] {
            set_only(&[("https_proxy", "http://127.0.0.1:1"), ("no_proxy", list)]);
            // Time for one attempt, whose end does not matter.
            let client = Client::new(&by_environment(endpoint)).expect("a client");
            let error = client.token_within(Duration::from_millis(90)).expect_err("no token");
            let by_proxy = error.to_string().contains("http://127.0.0.1:1");
            if by_proxy == direct {
                wrong.push(format!("no_proxy={list} {endpoint}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        let both =
            [("no_proxy", "other"), ("NO_PROXY", "*"), ("https_proxy", "http://127.0.0.1:1")];
        set_only(&both);
        assert_eq!(refusal(&by_environment("127.0.0.9:1")).kind(), ErrorKind::Proxy);
        set_only(&both[1..]);
        assert_eq!(refusal(&by_environment("127.0.0.9:1")).kind(), ErrorKind::Transport);
    });
}
