//! A client against the mock tenant: shared requests, outages, rejections, rotated secrets, closing.
//! The rules of freshness are tested in `tests/freshness`.

mod support;

use std::io::{Read, Write};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use oneaccess::{Client, Config, ErrorKind, Stat};
use support::fault::Server;
use support::tenant::{Answer, Tenant};
use support::{client, config};

const SECOND: Duration = Duration::from_secs(1);

/// Runs a call in many threads at once.
fn run_in_threads<T: Send>(threads: usize, call: impl Fn() -> T + Sync) -> Vec<T> {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let run = || {
            start.wait();
            call()
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

#[test]
fn threads_share_one_request() {
    let tenant = Tenant::builder().delay(Duration::from_millis(200)).start();
    let client = client(&tenant);
    let tokens = run_in_threads(64, || client.token().expect("a token").access_token().to_owned());
    assert!(tokens.iter().all(|token| Some(token) == tenant.current_token().as_ref()));
    assert_eq!((tenant.requests(), tenant.connections()), (1, 1));
    for _ in 0..10_000 {
        client.token().expect("a token");
    }
    assert_eq!(tenant.requests(), 1);
    assert_eq!(client.stat(Stat::Waits), 63);
}

/// One write needs fewer packets, and wakes the server once.
#[test]
fn request_is_sent_in_one_piece() {
    let server = Server::start(|mut socket| {
        let mut piece = vec![0; 64 << 10];
        let length = socket.read(&mut piece).expect("a request");
        let whole = String::from_utf8_lossy(&piece[..length]).contains("&client_secret=");
        let status = if whole { "401 Whole" } else { "400 In pieces" };
        write!(socket, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").expect("it listens");
    });
    let endpoint = format!("http://127.0.0.1:{}", server.port());
    for _ in 0..20 {
        let client = Client::new(&Config::new(&endpoint, "id", "secret")).expect("a client");
        assert_eq!(client.token_within(SECOND).expect_err("none").http_status(), 401);
    }
}

#[test]
fn early_response_is_read() {
    // Form-encoded, each `%` has three bytes: 180 KB are more than a socket accepts at once.
    let secret = "%".repeat(60 << 10);
    for read_first in [0, 100] {
        let server = Server::start(move |mut socket| {
            socket.read_exact(&mut vec![0; read_first]).expect("the beginning of a request");
            let answer =
                b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            socket.write_all(answer).expect("it listens");
        });
        let endpoint = format!("http://127.0.0.1:{}", server.port());
        for secret in ["s", &secret] {
            for _ in 0..25 {
                let client = Client::new(&Config::new(&endpoint, "id", secret)).expect("a client");
                let error = client.token_within(SECOND).expect_err("none");
                assert_eq!(error.http_status(), 413, "{error}");
            }
        }
    }
}

#[test]
fn clients_in_one_thread_have_their_own_tokens() {
    let tenants = [Tenant::start(), Tenant::start()];
    let clients = tenants.each_ref().map(client);
    for _ in 0..3 {
        for (tenant, client) in tenants.iter().zip(&clients) {
            let token = client.token().expect("a token");
            assert_eq!(Some(token.access_token()), tenant.current_token().as_deref());
            let cached = client.cached_token().expect("a token");
            assert_eq!(token.access_token(), cached.access_token());
        }
    }
    drop(clients);
    let [one, _] = tenants.each_ref().map(client);
    one.close();
    assert!(one.cached_token().is_none());
}

#[test]
fn connection_is_closed_tls_session_is_resumed() {
    let tenant = Tenant::builder().fresh_token_every_time().start();
    let client = client(&tenant);
    for round in 0..4 {
        let token = client.token().expect("a token");
        assert_eq!(tenant.connections(), round + 1);
        assert_eq!(tenant.handshakes_resumed(), round);
        let start = Instant::now();
        while tenant.open_connections() > 0 {
            assert!(start.elapsed() < 5 * SECOND, "the connection stays open");
            thread::sleep(Duration::from_millis(10));
        }
        if round == 0 {
            client.reject(token.access_token());
        } else {
            reject_until_it_counts(&client, token.access_token());
        }
    }
}

fn reject_until_it_counts(client: &Client, access_token: &str) {
    let before = client.stat(Stat::Rejections);
    let start = Instant::now();
    while client.stat(Stat::Rejections) == before {
        assert!(start.elapsed() < 20 * SECOND);
        thread::sleep(Duration::from_millis(20));
        client.reject(access_token);
    }
}

#[test]
fn rejections_of_one_token_cause_one_request() {
    let tenant = Tenant::start();
    let client = client(&tenant);
    let old = client.token().expect("a token").access_token().to_owned();
    tenant.revoke();
    let new = run_in_threads(100, || {
        client.reject(&old);
        client.token().expect("a token").access_token().to_owned()
    });
    assert_eq!(tenant.requests(), 2);
    assert!(new.iter().any(|new| *new != old));
    assert_ne!(client.token().expect("a token").access_token(), old);
    // Missing permissions look like this: the new token is rejected too, immediately and repeatedly.
    for _ in 0..100 {
        client.reject(client.token().expect("a token").access_token());
    }
    assert_eq!(tenant.requests(), 2);
}

#[test]
fn outage_with_a_valid_token_is_no_error() {
    // With a margin of half its life the token is refresh-due within seconds.
    let tenant = Tenant::builder().life(12 * SECOND).fresh_token_every_time().start();
    let client = Client::new(&config(&tenant).expiry_margin(6 * SECOND)).expect("a client");
    let first = client.token().expect("a token");
    tenant.always(Answer::status(503));
    while client.refresh_in() != Some(Duration::ZERO) {
        thread::sleep(Duration::from_millis(50));
    }
    assert!(client.last_error().is_none());
    let (start, before) = (Instant::now(), tenant.requests());
    while start.elapsed() < 3 * SECOND {
        let token = client.token().expect("the old token is valid");
        assert_eq!(token.access_token(), first.access_token());
        thread::sleep(Duration::from_millis(5));
    }
    let requests = tenant.requests() - before;
    // One refresh with one attempt while the token was refresh-due, and since it is stale at least one
    // refresh with up to three attempts.
    assert!((2..=8).contains(&requests), "{requests}");
    let hidden = client.last_error().expect("last_error reports it");
    assert_eq!((hidden.kind(), hidden.http_status()), (ErrorKind::Server, 503));
    assert!(client.stat(Stat::Failures) >= 1);
    assert!(client.refresh_in() > Some(Duration::ZERO), "not before the backoff ends");

    tenant.normal();
    while client.token().expect("a token").access_token() == first.access_token() {
        assert!(start.elapsed() < 20 * SECOND);
        thread::sleep(Duration::from_millis(50));
    }
    assert!(client.last_error().is_none());
}

#[test]
fn zero_timeout_returns_only_the_cached_token() {
    let tenant = Tenant::start();
    let client = client(&tenant);
    let error = client.token_within(Duration::ZERO).expect_err("nothing there");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(client.cached_token().is_none());
    assert_eq!((tenant.connections(), client.refresh_in()), (0, Some(Duration::ZERO)));
    client.token().expect("a token");
    client.token_within(Duration::ZERO).expect("from memory");
    let refresh = client.refresh_in().expect("open");
    assert!(refresh > 1400 * SECOND && refresh < 1800 * SECOND, "{refresh:?}");
    assert!(client.stat(Stat::TokenRemainingMs) > 1_790_000);
    assert!((0..10_000).contains(&client.stat(Stat::TokenAgeMs)));
}

#[test]
fn hanging_tenant_costs_no_more_than_the_timeout() {
    let tenant = Tenant::start();
    tenant.always(Answer::Hang);
    let client = client(&tenant);
    let times = run_in_threads(8, || {
        let start = Instant::now();
        let error = client.token_within(SECOND).expect_err("no token");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        start.elapsed()
    });
    assert!(times.iter().all(|time| *time < SECOND * 3 / 2), "{times:?}");
}

#[test]
fn denial_is_remembered_until_the_secret_changes() {
    let tenant = Tenant::start();
    let client = client(&tenant);
    let right = tenant.client_secret();
    client.set_client_secret("wrong").expect("set");
    let errors = run_in_threads(50, || client.token().expect_err("denied"));
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Denied));
    let error = client.token().expect_err("denied");
    assert!(error.is_remembered() && error.retry_after() > Some(2 * SECOND), "{error:?}");
    assert_eq!((tenant.requests(), client.stat(Stat::Denials)), (1, 1));
    client.set_client_secret(&right).expect("set");
    client.token().expect("a token");
    assert_eq!(tenant.requests(), 2);
}

#[test]
fn secret_file_may_vanish_and_be_rotated() {
    let tenant = Tenant::builder().life(12 * SECOND).fresh_token_every_time().start();
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, tenant.client_secret()).expect("written");
    let config = config(&tenant).client_secret_file(&file).expiry_margin(6 * SECOND);
    let client = Client::new(&config).expect("a client");
    let first = client.token().expect("a token");

    std::fs::remove_file(&file).expect("removed");
    while client.refresh_in() != Some(Duration::ZERO) {
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(client.token().expect("the old one").access_token(), first.access_token());
    let hidden = client.last_error().expect("an error");
    assert_eq!((hidden.kind(), hidden.is_retryable()), (ErrorKind::Config, true));

    tenant.set_client_secret("rotated");
    std::fs::write(&file, "rotated\n").expect("written");
    let start = Instant::now();
    while client.token().expect("a token").access_token() == first.access_token() {
        assert!(start.elapsed() < 20 * SECOND);
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn changed_secret_file_ends_a_denial_early() {
    let tenant = Tenant::start();
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "old").expect("written");
    let client = Client::new(&config(&tenant).client_secret_file(&file)).expect("a client");
    assert_eq!(client.token().expect_err("denied").kind(), ErrorKind::Denied);
    std::fs::write(&file, tenant.client_secret()).expect("written");
    let start = Instant::now();
    while client.token().is_err() {
        assert!(start.elapsed() < 4 * SECOND, "a denial lasts 5 s");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(tenant.requests(), 2);
}

#[test]
fn close_ends_running_requests() {
    let tenant = Tenant::start();
    tenant.always(Answer::Hang);
    let client = client(&tenant);
    thread::scope(|scope| {
        let calls = [(); 4].map(|()| scope.spawn(|| client.token().expect_err("closed").kind()));
        while tenant.requests() == 0 {
            thread::sleep(Duration::from_millis(10));
        }
        let start = Instant::now();
        client.clone().close();
        for call in calls {
            assert_eq!(call.join().expect("no panic"), ErrorKind::Closed);
        }
        assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    });
    assert_eq!(client.token().expect_err("closed").kind(), ErrorKind::Closed);
    assert_eq!(client.refresh_in(), None);
}

#[test]
fn token_outlives_its_client_and_its_thread() {
    let tenant = Tenant::start();
    let token = thread::scope(|scope| {
        scope.spawn(|| client(&tenant).token().expect("a token")).join().expect("no panic")
    });
    assert_eq!(Some(token.access_token()), tenant.current_token().as_deref());
}
