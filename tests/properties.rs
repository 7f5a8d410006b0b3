//! Random configurations and responses. None of them may cause a panic, a request to another host, a
//! token that the server did not send, or a message that cannot be shown.

mod support;

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneaccess::{Client, Config, Error, ErrorKind};
use serde::de::IgnoredAny;
use support::fault::{Fault, Relay, Server};
use support::rng::Rng;
use support::tenant::{Answer, Tenant};
use support::timeouts::to_port;

/// The message is one line, not too long, and has no internal details.
fn assert_presentable(error: &Error) {
    let text = error.to_string();
    assert!(text.len() < 1500 && !text.chars().any(char::is_control), "{text:?}");
    assert_ne!(error.kind(), ErrorKind::Internal, "{text}");
    // For a missing close_notify rustls has a message with a link to its documentation.
    assert!(!text.contains("docs.rs") && !text.contains("close_notify"), "{text}");
}

const ENDPOINTS: [&str; 9] = [
    "tenant.example",
    "tenant.example:8443",
    "https://tenant.example/",
    "HTTPS://Tenant.Example:443/api/v2/tenant/token",
    "http://localhost:8080",
    "https://[2001:db8::1]:8443/",
    "::1",
    "192.0.2.1:1",
    " xn--fiqs8s.example ",
];

const ENDPOINT_WORDS: [&[u8]; 32] = [
    b"@",
    b":",
    b"/",
    b"//",
    b"?",
    b"#",
    b"\\",
    b"%2f",
    b"%00",
    b"\0",
    b"\n",
    b" ",
    b"..",
    b".",
    b"-",
    b"_",
    b"[",
    b"]",
    b"[::1]",
    b"::",
    b"65535",
    b"65536",
    b"0",
    b"http://",
    b"https:",
    b"user:pw@",
    b"evil.example",
    "é".as_bytes(),
    "。".as_bytes(),
    b"0x7f.1",
    b"2130706433",
    b"fe80::1%25eth0",
];

/// Host and port of an accepted endpoint, parsed independently of the library.
fn expected_authority(endpoint: &str) -> String {
    let text = endpoint.trim().to_ascii_lowercase();
    let rest = text.strip_prefix("https://").unwrap_or(&text);
    let authority = rest.split('/').next().unwrap_or_default().to_owned();
    if let Ok(address) = authority.parse::<std::net::Ipv6Addr>() {
        return format!("[{address}]:443");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority.as_str(), "443"),
    };
    let bare = host.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>();
    let host = bare.map_or(host.to_owned(), |address| format!("[{address}]"));
    format!("{host}:{}", port.parse::<u16>().expect("a port that was accepted"))
}

#[test]
fn accepted_endpoint_is_contacted_at_its_own_host() {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let seen = asked.clone();
    let proxy = Server::start(move |mut client| {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read == 1) {
            head.extend_from_slice(&byte);
        }
        let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
        seen.lock().unwrap().push(line);
        let _ = client.write_all(b"HTTP/1.1 502 x\r\n\r\n");
    });
    let ca_file = Tenant::start();
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let mut rng = Rng::new(4);
    let mut accepted = 0;
    for _ in 0..2000 {
        let seed = rng.pick(&ENDPOINTS);
        let text = rng.mutated(seed.as_bytes(), &ENDPOINT_WORDS);
        let endpoint = String::from_utf8_lossy(&text).into_owned();
        let config = Config::new(&endpoint, "id", "secret").ca_file(ca_file.ca_file());
        let config = config.system_roots(false).proxy(Some(&url));
        match Client::new(&config) {
            Ok(client) => {
                let error =
                    client.token_within(Duration::from_millis(90)).expect_err("the proxy refuses");
                assert_presentable(&error);
                let request = asked.lock().unwrap().pop().expect("a request to the proxy");
                let expected = format!("CONNECT {} HTTP/1.1", expected_authority(&endpoint));
                assert_eq!(request, expected, "{endpoint:?}");
                accepted += 1;
            }
            Err(error) => {
                assert_presentable(&error);
                let kinds = [ErrorKind::Config, ErrorKind::Argument];
                assert!(kinds.contains(&error.kind()), "{endpoint:?}: {error}");
            }
        }
    }
    println!("{accepted} of 2000 endpoints were accepted");
    assert!(accepted > 100, "{accepted}");
}

#[test]
fn plain_http_is_accepted_for_loopback_only() {
    let mut rng = Rng::new(5);
    for _ in 0..2000 {
        let seed = rng.pick(&["http://localhost:8080", "http://127.0.0.1", "http://[::1]:80/"]);
        let text = rng.mutated(seed.as_bytes(), &ENDPOINT_WORDS);
        let endpoint = String::from_utf8_lossy(&text).into_owned();
        let config = Config::new(&endpoint, "id", "secret").proxy(Some(""));
        let shown = format!("{config:?}");
        let Some((_, rest)) = shown.split_once("\"http://") else {
            continue;
        };
        if Client::new(&config).is_ok() {
            let authority = rest.split('/').next().unwrap_or_default();
            let local = ["localhost", "127.", "[::1]"];
            assert!(local.iter().any(|host| authority.starts_with(host)), "{endpoint:?} {shown}");
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            let address = host.parse::<std::net::Ipv4Addr>();
            assert!(!host.starts_with("127.") || address.is_ok(), "{endpoint:?} {shown}");
        }
    }
}

#[test]
fn extra_header_cannot_inject_another_header() {
    let tenant = Tenant::builder().plain_http().start();
    let words: [&[u8]; 14] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b":",
        b" ",
        b"\t",
        b"Host",
        b"Content-Length",
        b"x",
        b"\x7f",
        "é".as_bytes(),
        b"Transfer-Encoding",
        b"Authorization",
    ];
    let mut rng = Rng::new(6);
    let mut accepted = 0;
    for _ in 0..600 {
        let name = rng.mutated(b"X-tenant-id", &words);
        let value = rng.mutated(b"some value", &words);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (name, value) = (text(&name), text(&value));
        let config = support::config(&tenant).header(&name, &value);
        let client = match Client::new(&config) {
            Ok(client) => client,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Argument, "{error}");
                assert_presentable(&error);
                continue;
            }
        };
        client.token().unwrap_or_else(|error| panic!("{name:?} {value:?}: {error}"));
        let request = tenant.last_request().expect("a request");
        let ours =
            ["host", "content-type", "content-length", "user-agent", "accept", "accept-encoding"];
        let theirs = request.headers.iter().filter(|(header, _)| {
            !ours.contains(&header.to_ascii_lowercase().as_str())
                || header.eq_ignore_ascii_case(&name)
        });
        let theirs: Vec<_> = theirs.collect();
        assert!(theirs.len() <= 1, "{name:?} {value:?}: {theirs:?}");
        assert_eq!(request.header(&name).map(str::trim), Some(value.trim()), "{name:?}");
        accepted += 1;
    }
    assert!(accepted > 20, "{accepted}");
}

const BODIES: [&str; 8] = [
    r#"{"access_token":"9507d921f8f0","token_type":"bearer","expires_in":1719,"scope":"all","id_token":"e.y.J"}"#,
    r#"{"access_token":"t"}"#,
    r#"{"error":"invalid_client","error_description":"Bad client credentials"}"#,
    r#"{"error_code":"APP.0003","error_msg":"应用已禁用"}"#,
    r#"{"error":{"code":"E17","message":"not today"}}"#,
    "[1,2,3]",
    "<!DOCTYPE html><html></html>",
    "",
];

const BODY_WORDS: [&[u8]; 26] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"99999999999999999999",
    b"0.5",
    b"\"access_token\":",
    b"\"error\":",
    b"\"expires_in\":",
    b"\"token_type\":\"mac\"",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r\n",
    "\u{202e}".as_bytes(),
    b"Bearer ",
];

#[test]
fn response_gives_its_token_or_the_right_error() {
    let tenant = Tenant::builder().plain_http().start();
    let mut rng = Rng::new(7);
    let mut tokens = 0;
    for _ in 0..1500 {
        let seed = rng.pick(&BODIES);
        let body = match rng.below(4) {
            0 => seed.as_bytes().to_vec(),
            _ => rng.mutated(seed.as_bytes(), &BODY_WORDS),
        };
        let status = *rng.pick(&[&200, &200, &200, &200, &400, &401, &404, &201, &429, &500]);
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        tenant.always(Answer::Status { status, headers, body: body.clone() });
        let client = support::client(&tenant);
        match client.token_within(Duration::from_millis(90)) {
            Ok(token) => {
                tokens += 1;
                let text = String::from_utf8_lossy(&body);
                let text = text.trim_start_matches('\u{feff}');
                assert_eq!(status, 200);
                serde_json::from_str::<IgnoredAny>(text).expect("it was JSON");
                // A `Value` cannot represent these; in fields that are skipped they are allowed.
                let representable = text.replace("1e999", "1").replace("\\ud800", "x");
                if let Ok(json) = serde_json::from_str::<serde_json::Value>(&representable) {
                    let expected = json["access_token"].as_str();
                    assert_eq!(expected, Some(token.access_token()), "{text}");
                }
                assert!(token.access_token().bytes().all(|byte| byte.is_ascii_graphic()));
            }
            Err(error) => {
                assert_presentable(&error);
                let kinds: &[ErrorKind] = match status {
                    429 => &[ErrorKind::Throttled],
                    500 => &[ErrorKind::Server],
                    201 => &[ErrorKind::Protocol],
                    _ => &[ErrorKind::Protocol, ErrorKind::Denied, ErrorKind::Throttled],
                };
                // On a busy machine 90 ms may not be enough.
                let late = error.kind() == ErrorKind::Timeout;
                assert!(late || kinds.contains(&error.kind()), "{status} {body:?}: {error}");
            }
        }
    }
    println!("{tokens} of 1500 answers were tokens");
    assert!(tokens > 10, "{tokens}");
}

/// The text in a random encoding that a server may use when it echoes the secret.
fn encoded(rng: &mut Rng, text: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let unicode = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_string(),
        false => format!("\\u{:04x}", u32::from(c)),
    };
    match rng.below(6) {
        0 => utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
        1 => text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;"),
        2 => text.replace('\\', "\\\\").replace('"', "\\\""),
        3 => text.chars().map(unicode).collect(),
        4 => text.to_uppercase(),
        _ => text.to_owned(),
    }
}

#[test]
fn secret_is_hidden_under_random_encodings() {
    let mut rng = Rng::new(11);
    let characters: Vec<char> = "aZ09-._~ +/=&%\\\"<:;!é中".chars().collect();
    for _ in 0..20 {
        let length = 4 + rng.below(30);
        let secret: String = (0..length).map(|_| characters[rng.below(characters.len())]).collect();
        if secret.trim().is_empty() || secret.chars().filter(|c| c.is_alphanumeric()).count() < 4 {
            continue;
        }
        let tenant = Tenant::builder().client_secret(&secret).plain_http().start();
        for _ in 0..30 {
            let mut echo = secret.clone();
            for _ in 0..rng.below(3) {
                echo = encoded(&mut rng, &echo);
            }
            let text = format!("no client has ({echo}), try again");
            let body = serde_json::json!({"error": "e", "error_description": text}).to_string();
            tenant.always(Answer::json(400, &body));
            let error = support::client(&tenant).token().expect_err("denied");
            assert_presentable(&error);
            let text = error.to_string();
            let whole = text.contains("e: no client has (") && text.contains("), try again");
            assert!(whole || text.contains("e: [hidden]"), "{secret:?} {echo:?}: {text}");
            assert!(text.contains("[hidden]"), "{secret:?} {echo:?}: {text}");
        }
    }
}

const RAW: [&str; 5] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"access_token\":\"t\"}",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n{\"access_token\":\"t\"}\r\n0\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"t\"}",
    "HTTP/1.1 302 Found\r\nLocation: https://other.example/x\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.0 503 Busy\r\nRetry-After: 30\r\nDate: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n",
];

const RAW_WORDS: [&[u8]; 27] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b":",
    b"-",
    b"0",
    b"fffffffffffffffff",
    b"-1",
    b"18446744073709551615",
    b"18446744073709551616",
    b"\0",
    b"\xff",
    b" ",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/9.9",
    b"HTTP/2",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Content-Encoding: gzip\r\n",
    b";x=y",
    b"999",
    b"000",
    b"Connection: upgrade\r\n",
    b"101",
    b"204",
];

#[test]
fn mutated_http_gives_an_error_not_a_panic() {
    let tenant = Tenant::builder().plain_http().start();
    let mut rng = Rng::new(8);
    for _ in 0..1500 {
        let seed = rng.pick(&RAW);
        let bytes = rng.mutated(seed.as_bytes(), &RAW_WORDS);
        tenant.always(Answer::Raw(bytes.clone()));
        let client = support::client(&tenant);
        match client.token_within(Duration::from_millis(90)) {
            Ok(token) => assert!(bytes.windows(token.access_token().len()).count() > 0),
            Err(error) => {
                assert_presentable(&error);
                let never =
                    [ErrorKind::Config, ErrorKind::Argument, ErrorKind::Tls, ErrorKind::Proxy];
                let text = String::from_utf8_lossy(&bytes);
                assert!(!never.contains(&error.kind()), "{text:?}: {error}");
            }
        }
    }
}

#[test]
fn retry_after_is_bounded() {
    let tenant = Tenant::builder().plain_http().start();
    let seeds =
        ["30", "0", "Wed, 21 Oct 2015 07:28:00 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "1.5"];
    let words: [&[u8]; 12] = [
        b"9",
        b"-",
        b"+",
        b" ",
        b"99999999999999999999",
        b"e",
        b".",
        b"Wed, ",
        b"31 Feb 9999",
        b"25:61:61",
        b"GMT",
        b",",
    ];
    let mut rng = Rng::new(9);
    let mut longest = Duration::ZERO;
    for _ in 0..1500 {
        let seed = rng.pick(&seeds);
        let value = rng.mutated(seed.as_bytes(), &words);
        let value: String = value.iter().map(|byte| char::from(byte & 0x7f)).collect();
        let value = value.replace(|c: char| c.is_control(), "");
        tenant.always(Answer::status(*rng.pick(&[&503, &429])).header("Retry-After", &value));
        let client = support::client(&tenant);
        let error = client.token_within(Duration::from_millis(90)).expect_err("busy");
        assert_presentable(&error);
        longest = longest.max(error.retry_after().unwrap_or_default());
    }
    println!("the longest Retry-After was {longest:?}");
    assert!(longest > Duration::from_secs(25) && longest <= Duration::from_secs(72), "{longest:?}");
}

/// About how many bytes the server sends in one complete request.
fn bytes_to_client(tenant: &Tenant) -> usize {
    let relay = Relay::to(tenant.port(), Fault::None);
    let client = Client::new(&to_port(tenant, relay.port())).expect("a client");
    client.token().expect("a token");
    relay.to_client()
}

#[test]
fn connection_cut_anywhere_is_a_transport_error() {
    let tenant = Tenant::start();
    let length = bytes_to_client(&tenant);
    for place in (0..length - 60).step_by(29) {
        for fault in [Fault::Cut(place), Fault::Reset(place)] {
            let relay = Relay::to(tenant.port(), fault);
            let client = Client::new(&to_port(&tenant, relay.port())).expect("a client");
            // Too short for a second attempt, which may resume the TLS session and then needs fewer
            // bytes than the relay lets pass.
            let error = match client.token_within(Duration::from_millis(100)) {
                Ok(_) => panic!("{fault:?} of {length}: a token"),
                Err(error) => error,
            };
            let kinds = [ErrorKind::Transport, ErrorKind::Timeout];
            assert!(kinds.contains(&error.kind()), "{fault:?} of {length}: {error}");
            assert!(error.is_retryable(), "{fault:?}: {error}");
            assert_presentable(&error);
        }
    }
}

#[test]
fn corrupted_record_is_a_tls_error() {
    let tenant = Tenant::start();
    let length = bytes_to_client(&tenant);
    // Within the response: the last record but one, before the close_notify alert.
    let relay = Relay::to(tenant.port(), Fault::Corrupt(length - 100));
    let client = Client::new(&to_port(&tenant, relay.port())).expect("a client");
    let error = client.token_within(Duration::from_secs(3)).expect_err("no token");
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(error.to_string().contains("broke after the handshake"), "{error}");
}

#[test]
fn byte_corrupted_anywhere_gives_no_wrong_token() {
    let tenant = Tenant::start();
    let length = bytes_to_client(&tenant);
    let mut kinds = std::collections::BTreeMap::new();
    for place in (0..length - 60).step_by(23) {
        let relay = Relay::to(tenant.port(), Fault::Corrupt(place));
        let client = Client::new(&to_port(&tenant, relay.port())).expect("a client");
        let error = match client.token_within(Duration::from_millis(150)) {
            // TLS does not check every byte: the version number of a record, a session ticket.
            Ok(token) => {
                assert_eq!(Some(token.access_token()), tenant.current_token().as_deref());
                continue;
            }
            Err(error) => error,
        };
        assert_presentable(&error);
        let allowed = [ErrorKind::Tls, ErrorKind::Transport, ErrorKind::Timeout];
        assert!(allowed.contains(&error.kind()), "{place} of {length}: {error}");
        *kinds.entry(format!("{:?}", error.kind())).or_insert(0) += 1;
    }
    println!("{kinds:?}");
    assert!(kinds.get("Tls").is_some_and(|count| *count > 10), "{kinds:?}");
}
