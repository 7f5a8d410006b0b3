//! A logger of the program that panics: the refresh ends as with any other panic. Installed for the
//! whole process, so this is a test program of its own, with one test.

mod support;

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use log::{Log, Metadata, Record};
use oneaccess::{Client, Error, ErrorKind};
use support::client;
use support::tenant::{Answer, Tenant};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Panics at what comes from a target that begins like this.
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

/// Two calls at once: one makes the request, the other waits for it.
fn both(client: &Client) -> [Result<(), Error>; 2] {
    let call = || client.token_within(TIMEOUT).map(drop);
    thread::scope(|scope| {
        let calls = [scope.spawn(call), scope.spawn(call)];
        calls.map(|call| call.join().expect("no panic leaves the library"))
    })
}

#[test]
fn a_panic_of_the_logger_ends_the_refresh() {
    log::set_logger(&LOGGER).expect("the first logger");
    log::set_max_level(log::LevelFilter::Trace);
    // At a token, at a failure, and in the midst of a request.
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
        for outcome in both(&client) {
            assert_eq!(outcome.expect_err("a panic").kind(), ErrorKind::Internal);
        }
        LOGGER.panics_at(None);
        // Neither the deadline nor the end of an abandoned refresh was waited for.
        assert!(start.elapsed() < TIMEOUT, "{:?}", start.elapsed());
        let token = loop {
            // Until the backoff is over.
            match client.token_within(TIMEOUT) {
                Ok(token) => break token,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Internal),
            }
            thread::sleep(Duration::from_millis(50));
        };
        assert_eq!(Some(token.access_token()), tenant.current_token().as_deref());
    }
}
