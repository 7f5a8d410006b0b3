//! URLs and replies of a server.

use super::*;

fn parsed(url: &str) -> Address {
    Address::parse(url).unwrap_or_else(|why| panic!("{url}: {why}"))
}

fn tcp(host: &str, port: u16, tls: bool) -> Place {
    Place::Tcp { host: host.to_owned(), port, tls }
}

#[test]
fn urls_say_where_and_who() {
    assert!(parsed("redis://host").place == tcp("host", 6379, false));
    assert!(parsed("valkey://host:7000").place == tcp("host", 7000, false));
    assert!(parsed("rediss://host/").place == tcp("host", 6379, true));
    assert!(parsed("valkeys://[::1]:7000/3").place == tcp("::1", 7000, true));
    assert!(
        parsed("redis+unix:///run/redis%20x.sock").place == Place::Unix("/run/redis x.sock".into())
    );
    assert_eq!(parsed("redis+unix:///run/redis.sock?db=2").database, 2);
    assert_eq!(parsed("redis://host/15").database, 15);
    let Address { user, password, .. } = parsed("redis://app:p%40ss%3Aw%2F@host");
    assert_eq!(
        (user.as_deref(), password.as_deref().map(String::as_str)),
        (Some("app"), Some("p@ss:w/"))
    );
    let Address { user, password, .. } = parsed("redis://:word@host");
    assert_eq!((user, password.as_deref().map(String::as_str)), (None, Some("word")));
    // Not encoded, but not ambiguous either.
    let Address { place, password, .. } = parsed("redis://app:p@s:/?#%@[::1]");
    assert!(place == tcp("::1", 6379, false));
    assert_eq!(password.as_deref().map(String::as_str), Some("p@s:/?#%"));
    let Address { place, password, .. } = parsed("redis+unix://:word@/run/x.sock?db=1");
    assert!(place == Place::Unix("/run/x.sock".into()));
    assert_eq!(password.as_deref().map(String::as_str), Some("word"));
    assert!(parsed("redis+unix:///run/redis@1/x").place == Place::Unix("/run/redis@1/x".into()));
}

#[test]
fn other_urls_are_refused() {
    for url in [
        "redis:host",
        "redis://",
        "redis://host:0x1",
        "redis://host:70000",
        "redis://host/one",
        "redis://a b",
        "redis+unix://relative",
        "redis+unix:///run/x?db=x",
        // What other programs understand: here it would be part of the path.
        "redis+unix:///run/x?db=1&pass=s3cr3t",
        "redis+unix:///run/x?pass=s3cr3t&db=1",
        "redis+unix:///run/x?pass=s3cr3t",
        // Without its password a user would not be signed in.
        "redis://user@host",
        "redis://user:@host",
        "redis://:%ff@host",
        "redis://host:1/2/3",
        "redis://host/-1",
        "redis://[::1",
        "http://host",
    ] {
        assert!(Address::parse(url).is_err(), "{url}");
    }
}

#[test]
fn password_is_not_shown() {
    let address = parsed("redis://app:s3cr3t@host:1/2");
    assert_eq!(format!("{address} {address:?}"), "host:1 host:1");
    assert_eq!(parsed("redis://:s3cr3t@[::1]").to_string(), "[::1]:6379");
    let malformed = ["redis://:s3cr3t:1", "redis://host?password=s3cr3t", "redis://x:s3cr3t@"];
    for url in malformed.into_iter().chain(["redis+unix:///run/x?pass=s3cr3t"]) {
        let config = crate::Config::new("host", "id", "secret").store(url);
        let error = crate::Client::new(&config).expect_err(url);
        assert!(error.to_string().contains("store is not usable; allowed: redis://"), "{error}");
        assert!(!format!("{error} {config:?}").contains("s3cr3t"), "{error} {config:?}");
    }
}

fn replies(bytes: &[u8], count: usize) -> io::Result<Vec<OwnedFrame>> {
    read_replies(&mut &bytes[..], count)
}

#[test]
fn replies_are_read_in_any_pieces() {
    let bytes = b"$3\r\nabc\r\n:17\r\n+OK\r\n$-1\r\n-ERR no\r\n";
    /// One byte at a time.
    struct Drip<'a>(&'a [u8]);
    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut buffer[..1])
        }
    }
    for found in [replies(bytes, 5), read_replies(&mut Drip(bytes), 5)] {
        let expected = [
            OwnedFrame::BulkString(b"abc".to_vec()),
            OwnedFrame::Integer(17),
            OwnedFrame::SimpleString(b"OK".to_vec()),
            OwnedFrame::Null,
            OwnedFrame::Error("ERR no".to_owned()),
        ];
        assert_eq!(found.expect("replies"), expected);
    }
}

#[test]
fn malformed_replies_are_errors() {
    let nested = b"*1\r\n".repeat(20_000);
    let long = [b"$999999\r\n".to_vec(), vec![b'x'; 1 << 20]].concat();
    let endless = vec![b'+'; 1 << 20];
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"$-5\r\nabc\r\n",
        b"$9223372036854775807\r\nabc\r\n",
        b"$x\r\n",
        b":1.5\r\n",
        b"",
        b"$10\r\nabc",
        &nested,
        &long,
        &endless,
    ] {
        assert!(replies(bytes, 1).is_err(), "{:?}", &bytes[..bytes.len().min(20)]);
    }
}

#[test]
fn any_bytes_are_an_error_or_replies() {
    let mut rng = 1u64;
    let mut random = || {
        rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (rng >> 33) as usize
    };
    let alphabet = b"+-:$*0123456789\r\nOKx ";
    for _ in 0..20_000 {
        let length = random() % 40;
        let bytes: Vec<u8> = (0..length).map(|_| alphabet[random() % alphabet.len()]).collect();
        let _ = replies(&bytes, 1 + random() % 3);
    }
}

#[test]
fn refusals_do_not_quote_what_was_sent() {
    let reply = OwnedFrame::Error("ERR unknown command 's3cr3t'".to_owned());
    let text = refusal(&[reply], &[&[b"AUTH", b"s3cr3t"]]).expect("a refusal").to_string();
    assert!(text.contains("refused AUTH with \"ERR\"") && !text.contains("s3cr3t"), "{text}");
}

#[test]
fn redis_6_refuses_within_a_script() {
    let text = "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY \
                You can't write against a read only replica.";
    let reply = OwnedFrame::Error(text.to_owned());
    let text = refusal(&[reply], &[&[b"EVAL"]]).expect("a refusal").to_string();
    assert!(text.contains("EVAL with \"READONLY\"; it is a replica"), "{text}");
}

#[test]
fn cluster_says_where_an_entry_is() {
    let reply = |text: &str| [OwnedFrame::Error(text.to_owned())];
    assert_eq!(moved(&reply("MOVED 3999 127.0.0.1:6381")), Some(("127.0.0.1".to_owned(), 6381)));
    assert_eq!(moved(&reply("MOVED 3999 [::1]:6381")), Some(("::1".to_owned(), 6381)));
    // An empty host is the same one.
    assert_eq!(moved(&reply("MOVED 3999 :6381")), Some((String::new(), 6381)));
    for other in ["MOVED", "MOVED 1", "MOVED 1 x", "ERR MOVED 1 a:1"] {
        assert_eq!(moved(&reply(other)), None, "{other}");
    }
}

/// A server that has been stopped, with a full backlog.
#[cfg(target_os = "linux")]
#[test]
fn second_look_at_a_full_backlog_takes_no_thread() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("redis.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    // SAFETY: a system call.
    assert_eq!(unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&listener), 0) }, 0);
    let _pending = std::os::unix::net::UnixStream::connect(&path).expect("a connection");
    let config = crate::Config::new("https://localhost", "id", "secret").system_roots(false);
    let transport = Transport::new(std::sync::Arc::new(config)).expect("a transport");
    let connect = || {
        let start = Instant::now();
        let outcome = transport.connect_unix(&path, start + Duration::from_millis(50));
        let error = outcome.err().expect("no connection");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        start.elapsed()
    };
    assert!(connect() >= Duration::from_millis(50));
    assert!(connect() < Duration::from_millis(50), "it waits in another thread");
    drop(listener);
}

/// A server that gives this reply to each connection.
fn server_that_says(reply: &'static [u8]) -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(reply));
        }
    });
    port
}

#[test]
fn only_a_failed_server_is_left_alone_for_a_while() {
    for (reply, is_left_alone) in [(&b"-ERR\r\n-ERR\r\n"[..], true), (b"$1\r\nx\r\n:9\r\n", false)]
    {
        let url = format!("redis://127.0.0.1:{}", server_that_says(reply));
        let config = crate::Config::new("https://localhost", "id", "secret").system_roots(false);
        let config = std::sync::Arc::new(config.store(&url));
        let transport = Transport::new(config.clone()).expect("a transport");
        let store = super::super::Store::new(&config).expect("a store");
        let visit = || {
            store.visit(Zeroizing::new("secret".to_owned()), &transport, Duration::from_secs(30))
        };
        assert!(visit().expect("a visit").look().is_none());
        assert_eq!(store.failures(), 1);
        assert_eq!(visit().is_none(), is_left_alone);
        // Later it is asked again.
        let quiet_until = store.quiet_until.load(std::sync::atomic::Ordering::Relaxed);
        let now = super::super::now_ms();
        assert_eq!((now + 24_000 - 1000..now + 36_001).contains(&quiet_until), is_left_alone);
        store.quiet_until.store(now, std::sync::atomic::Ordering::Relaxed);
        assert!(visit().expect("a visit").look().is_none());
        assert_eq!(store.failures(), 2);
    }
}

#[test]
fn commands_are_arrays_of_their_arguments() {
    let commands: [&[&[u8]]; 2] = [&[b"AUTH", b"a\r\nb"], &[b"GET", b""]];
    let bytes = encode(&commands);
    let expected = b"*2\r\n$4\r\nAUTH\r\n$4\r\na\r\nb\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n";
    assert_eq!(*bytes, expected);
    let long = vec![b'x'; 70_000];
    let bytes = encode(&[&[&long]]);
    assert!(bytes.capacity() < 70_000 + 100, "the buffer has grown");
}
