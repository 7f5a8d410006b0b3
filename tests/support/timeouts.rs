//! Checks that calls end within their timeout, or when their client is closed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use oneaccess::{Client, Config, ErrorKind};

use super::tenant::Tenant;

/// How late a call may end: the promised 100 ms, and 200 ms for a machine busy with other tests.
pub const SLACK: Duration = Duration::from_millis(300);

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The result of a call, and how long it took. The delays of a thread that only sleeps meanwhile are
/// subtracted: on a busy machine they are not the fault of the call.
pub fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let mut delays = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                thread::sleep(ms(5));
                let delay = start.elapsed().saturating_sub(ms(5));
                delays += if delay > ms(2) { delay } else { Duration::ZERO };
            }
            delays
        });
        let start = Instant::now();
        let outcome = call();
        let took = start.elapsed();
        over.store(true, Ordering::Relaxed);
        (outcome, took.saturating_sub(sleeper.join().expect("it only sleeps")))
    })
}

/// The configuration for a tenant that is reached through another loopback port.
pub fn to_port(tenant: &Tenant, port: u16) -> Config {
    let (id, secret) = (tenant.client_id(), tenant.client_secret());
    let endpoint = format!("localhost:{port}");
    Config::new(&endpoint, &id, &secret).ca_file(tenant.ca_file()).proxy(Some(""))
}

/// Checks that a call ends with TIMEOUT after `limit`, with a message that contains `says`.
pub fn ends_in_time(config: &Config, limit: Duration, says: &str) {
    let client = Client::new(config).expect("a client");
    let start = Instant::now();
    let (outcome, took) = timed(|| client.token_within(limit));
    assert!(start.elapsed() >= limit - ms(50), "{outcome:?}: not yet {limit:?}");
    let error = outcome.expect_err("no token");
    println!("{limit:?}: {took:?}: {:?}: {error}", error.kind());
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.is_retryable());
    assert!(error.to_string().contains(says), "{error}");
    assert!(took < limit + SLACK, "{took:?} of {limit:?}: {error}");
}

/// With this secret the form has 190 KB, more than fits into the buffers of a socket.
pub fn with_a_large_secret(config: Config, folder: &tempfile::TempDir) -> Config {
    let path = folder.path().join("secret");
    std::fs::write(&path, "%".repeat(64 << 10)).expect("a file");
    config.client_secret_file(path)
}

/// From now on sends signals to this thread continuously; they interrupt its system calls.
pub fn storm() {
    extern "C" fn ignore(_: i32) {}
    // SAFETY: the handler does nothing; the structure outlives the call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as extern "C" fn(i32) as libc::sighandler_t;
        assert_eq!(libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()), 0);
    }
    let process = std::process::id();
    // SAFETY: a system call.
    let me = unsafe { libc::syscall(libc::SYS_gettid) };
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(ms(3));
            // SAFETY: a system call.
            unsafe { libc::syscall(libc::SYS_tgkill, process, me, libc::SIGALRM) };
        }
    });
}

/// Checks that a stalled call ends soon after its client is closed.
pub fn closes_promptly(config: &Config) {
    closes_within(SLACK, config);
}

/// The same for a call in `connect`, which cannot be interrupted: it ends after at most 3 s, when the
/// library looks whether the client is closed before it connects again.
pub fn closes_with_its_round(config: &Config) {
    closes_within(ms(3000) + SLACK, config);
}

fn closes_within(longest: Duration, config: &Config) {
    for after in [100, 1300] {
        let client = Client::new(config).expect("a client");
        let called = client.clone();
        let call = std::thread::spawn(move || called.token_within(Duration::from_secs(20)));
        std::thread::sleep(ms(after));
        let (outcome, took) = timed(|| {
            client.close();
            call.join().expect("no panic")
        });
        let error = outcome.expect_err("no token");
        println!("closed after {after} ms, ended {took:?} later");
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert!(took < longest, "closed after {after} ms, ended {took:?} later");
    }
}
