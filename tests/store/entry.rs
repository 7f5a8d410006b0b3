//! What one process writes, and another reads: at another time, with another clock, after a restart of
//! the machine.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// The clocks of the writer.
const WRITTEN: Now =
    Now { boot: Duration::from_secs(5_000), wall: Duration::from_secs(1_800_000_000) };

/// A token with a life of 1800 s, of which 100 s had passed when it was written.
fn token() -> SharedToken {
    let sent = Now { boot: WRITTEN.boot - 100 * SECOND, wall: WRITTEN.wall - 100 * SECOND };
    SharedToken {
        token: Token::new("token\"\\", Some("all 全部"), Some("a.b.c")),
        life: 1800 * SECOND,
        sent,
        answer: stamp(sent),
        expiry: Now { boot: sent.boot + 1800 * SECOND, wall: sent.wall + 1800 * SECOND },
        refresh_window: 225 * SECOND,
        wait_after_expiry: Duration::from_millis(1200),
        repeated: true,
        exchange_time: Duration::from_millis(250),
    }
}

fn failure(until: Duration) -> SharedFailure {
    let error = Error::new(ErrorKind::Throttled, "slow down")
        .with_answer(429, Some("APIG.0308"))
        .with_occurred(WRITTEN);
    SharedFailure::new(&error, until, 3).expect("the server said so")
}

fn written(entry: &Entry) -> Zeroizing<Vec<u8>> {
    entry.encode(Some("boot"), WRITTEN)
}

/// What a process reads `boot` and `wall` seconds after the entry was written, by its clocks.
fn read(entry: &Entry, boot_id: &str, boot: i64, wall: i64) -> Option<Entry> {
    let moved = |clock: Duration, by: i64| match by {
        0.. => clock + SECOND * by as u32,
        _ => clock - SECOND * by.unsigned_abs() as u32,
    };
    let now = Now { boot: moved(WRITTEN.boot, boot), wall: moved(WRITTEN.wall, wall) };
    Entry::decode(&written(entry), Some(boot_id), now)
}

/// The seconds that a reader believes the token to be valid for; `None` if it does not accept the entry.
fn left(boot_id: &str, boot: i64, wall: i64) -> Option<u64> {
    let entry = Entry { token: Some(token()), failure: None };
    let token = read(&entry, boot_id, boot, wall)?.token.expect("a token");
    let now = Duration::from_secs((5_000 + boot) as u64);
    Some((token.expiry.boot - now).as_secs())
}

#[test]
fn everything_is_read_as_it_was_written() {
    let entry = Entry { token: Some(token()), failure: Some(failure(WRITTEN.boot + 10 * SECOND)) };
    let found = read(&entry, "boot", 0, 0).expect("an entry");
    let (old, new) = (token(), found.token.expect("a token"));
    assert_eq!(new.token.access_token(), old.token.access_token());
    assert_eq!(new.token.scope(), old.token.scope());
    assert_eq!(new.token.id_token(), old.token.id_token());
    let rest = |token: &SharedToken| {
        let SharedToken { life, sent, answer, expiry, refresh_window, .. } = *token;
        (life, sent, answer, expiry, refresh_window, token.wait_after_expiry, token.exchange_time)
    };
    assert_eq!(rest(&new), rest(&old));
    assert!(new.repeated);
    let failure = found.failure.expect("a failure");
    assert_eq!((failure.until, failure.in_a_row), (WRITTEN.boot + 10 * SECOND, 3));
    assert_eq!((failure.error.kind(), failure.error.http_status()), (ErrorKind::Throttled, 429));
    assert_eq!(failure.error.vendor_code(), Some("APIG.0308"));
    assert_eq!(
        (failure.error.to_string().as_str(), failure.error.is_retryable()),
        ("slow down", true)
    );
    assert_eq!(failure.error.occurred(), WRITTEN);
}

#[test]
fn remaining_life_shrinks_with_time() {
    assert_eq!(left("boot", 0, 0), Some(1700));
    assert_eq!(left("boot", 600, 600), Some(1100));
    assert_eq!(left("boot", 1700, 1700), Some(0));
    assert_eq!(left("boot", 9999, 9999), Some(0));
}

#[test]
fn wall_clock_that_was_set_prolongs_no_life() {
    assert_eq!(left("boot", 600, 600 - 300), Some(1100));
    assert_eq!(left("boot", 600, 600 + 300), Some(800));
    assert_eq!(left("boot", 600, 9999), Some(0));
}

/// In a container the boot clock may be shifted against that of the writer.
#[test]
fn shifted_boot_clock_prolongs_no_life() {
    assert_eq!(left("boot", 600 + 300, 600), Some(800));
    assert_eq!(left("boot", -3600 + 600, 600), None);
}

#[test]
fn after_a_restart_the_wall_clock_counts() {
    assert_eq!(left("other boot", -4_990, 600), Some(1100));
    assert_eq!(left("other boot", -4_990, 9_999), Some(0));
    assert_eq!(left("other boot", 1_000_000, 600), Some(1100));
}

#[test]
fn entry_from_the_future_is_not_believed() {
    // The token was requested 100 s before it was written.
    assert_eq!(left("other boot", 0, -104), Some(1800));
    assert_eq!(left("other boot", 0, -106), None);
    assert_eq!(left("boot", -106, 0), None);
}

#[test]
fn failure_is_shared_for_a_minute_at_most() {
    let entry = Entry { token: None, failure: Some(failure(WRITTEN.boot + 600 * SECOND)) };
    let until = |boot: i64| read(&entry, "boot", boot, boot).expect("an entry").failure;
    assert_eq!(until(0).expect("a failure").until, WRITTEN.boot + 60 * SECOND);
    assert_eq!(until(50).expect("a failure").until, WRITTEN.boot + 60 * SECOND);
    // How many there were in a row still counts.
    assert_eq!(until(70).expect("a failure").until, WRITTEN.boot + 70 * SECOND);
}

#[test]
fn what_only_this_process_could_not_do_is_not_shared() {
    use ErrorKind::*;
    for kind in [Transport, Proxy, Tls, Timeout, Protocol, Config, Closed, Internal, Argument] {
        assert!(SharedFailure::new(&Error::new(kind, "x"), WRITTEN.boot, 1).is_none(), "{kind:?}");
    }
    for kind in [Denied, Throttled, Server] {
        assert!(is_shareable(kind));
    }
}

#[test]
fn anything_else_is_no_entry() {
    for json in ["", "null", "[]", "{}", "[null,null]", "[1,null,null]", "[null,[\"t\"],null]"] {
        assert!(Entry::decode(json.as_bytes(), None, WRITTEN).is_none(), "{json}");
    }
    let blank = SharedToken { token: Token::new("a b", None, None), ..token() };
    let entry = Entry { token: Some(blank), failure: None };
    assert!(read(&entry, "boot", 0, 0).is_none(), "a token with a blank");
}

#[test]
fn encoding_leaves_no_copy_behind() {
    // Control characters take six bytes each in JSON.
    let long = "\u{1}".repeat(50_000);
    let big = SharedToken { token: Token::new("t", Some(&long), Some(&long)), ..token() };
    let entry = Entry { token: Some(big), failure: Some(failure(WRITTEN.boot)) };
    let texts = 6 * (100_000 + 1) + (16 << 10);
    let json = written(&entry);
    assert!(json.len() <= texts && json.capacity() == texts, "the buffer has grown");
}
