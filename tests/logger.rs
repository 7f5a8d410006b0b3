//! A logger that panics: the refresh fails with an error, and later calls work. A logger is installed
//! for the whole process, so this is a test program with only one test.

mod support;

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use log::{Log, Metadata, Record};
use oneaccess::{Client, Error, ErrorKind};
use support::client;
use support::tenant::{Answer, Tenant};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Panics on log records whose target starts with this text.
struct Panicking(Mutex<Option<&'static str>>);

static LOGGER: Panicking = Panicking(Mutex::new(None));

impl Panicking {
    fn panics_at(&self, target: Option<&'static str>) {
        *self.0.lock().expect("no panic while it is locked") = target;
    }
}

impl Log for Panicking {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        let target = *self.0.lock().expect("no panic while it is locked");
        if target.is_some_and(|target| record.target().starts_with(target)) {
            panic!("on purpose, at {}", record.target());
        }
    }

    fn flush(&self) {}
}

/// Two calls at once: the leader makes the request, the follower waits for it.
fn leader_and_follower(client: &Client) -> [Result<(), Error>; 2] {
    let call = || client.token_within(TIMEOUT).map(drop);
    thread::scope(|scope| {
        let calls = [scope.spawn(call), scope.spawn(call)];
        calls.map(|call| call.join().expect("no panic leaves the library"))
    })
}

#[test]
fn panicking_logger_ends_the_refresh() {
    log::set_logger(&LOGGER).expect("the first logger");
    log::set_max_level(log::LevelFilter::Trace);
    // When a token was obtained, when a request failed, and during a request.
    let delay = Duration::from_millis(200);
    for (target, answer) in [
        ("oneaccess", Answer::Normal),
        ("oneaccess", Answer::html(404, "not here")),
        ("ureq", Answer::Normal),
    ] {
        let tenant = Tenant::start();
        tenant.next(answer.delayed(delay));
        let client = client(&tenant);
        LOGGER.panics_at(Some(target));
        let start = Instant::now();
        for outcome in leader_and_follower(&client) {
            assert_eq!(outcome.expect_err("a panic").kind(), ErrorKind::Internal);
        }
        LOGGER.panics_at(None);
        // The calls ended with the panic, not with their deadline.
        assert!(start.elapsed() < TIMEOUT, "{:?}", start.elapsed());
        let token = loop {
            // The error is repeated until the backoff is over.
            match client.token_within(TIMEOUT) {
                Ok(token) => break token,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Internal),
            }
            thread::sleep(Duration::from_millis(50));
        };
        assert_eq!(Some(token.access_token()), tenant.current_token().as_deref());
    }
}
