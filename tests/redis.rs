//! The shared store in a real Redis, and in servers that misbehave.

#![cfg(all(target_os = "linux", feature = "redis"))]

mod support;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use oneaccess::{Client, Stat};
use support::application::{Application, ONE_HIT, ONE_REQUEST, Process, all_equal, until};
use support::certificates::Ca;
use support::native::has;
use support::redis::{cli, redis};
use support::tenant::{Answer, Tenant};
use support::timeouts::{ms, timed};

fn installed() -> bool {
    has("redis-server", "redis-server") && has("redis-cli", "redis-tools")
}

fn at(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

fn plain() -> support::proxy::Daemon {
    redis(|_, _| Vec::new())
}

#[test]
fn sixty_four_processes_make_one_request() {
    if !installed() {
        return;
    }
    let (tenant, server) = (Tenant::builder().fresh_token_every_time().start(), plain());
    let application = Application { tenant: &tenant, store: at(server.port()) };
    let printed = application.run_together(64, &["get", "stats", "error"]);
    all_equal(&printed, &tenant.current_token().expect("a token"));
    assert_eq!(tenant.requests(), 1);
    assert_eq!(printed.iter().filter(|lines| lines[1] == ONE_HIT).count(), 63, "{printed:?}");
    assert!(printed.iter().all(|lines| lines[2] == "none"), "{printed:?}");
    assert_eq!(application.run(&["get", "stats"])[1], ONE_HIT);
}

#[test]
fn server_has_neither_token_nor_secret() {
    if !installed() {
        return;
    }
    let (tenant, server) = (Tenant::start(), plain());
    let application = Application { tenant: &tenant, store: at(server.port()) };
    let token = application.run(&["get"])[0].clone();
    let keys = cli(server.port(), &["KEYS", "*"]);
    assert!(keys.starts_with("oneaccess:{") && keys.lines().count() == 1, "{keys}");
    let value = cli(server.port(), &["GET", &keys]);
    for secret in [&token, &tenant.client_secret(), &tenant.client_id()] {
        assert!(!value.contains(secret.as_str()));
    }
    let left: i64 = cli(server.port(), &["PTTL", &keys]).parse().expect("a number");
    assert!((1_700_000..=1_800_000).contains(&left), "{left} ms");
}

#[test]
fn killed_holder_costs_one_request() {
    if !installed() {
        return;
    }
    let (tenant, server) = (Tenant::start(), plain());
    let application = Application { tenant: &tenant, store: at(server.port()) };
    tenant.next(Answer::Hang);
    let holder = application.start(&["get"]);
    until(|| tenant.requests() == 1);
    let others: Vec<Process> = (0..8).map(|_| application.start(&["get"])).collect();
    holder.signal(libc::SIGKILL);
    let printed: Vec<_> = others.into_iter().map(Process::end).collect();
    all_equal(&printed, &tenant.current_token().expect("a token"));
    assert_eq!(tenant.requests(), 2);
}

#[test]
fn wrong_secret_costs_one_request_for_all() {
    if !installed() {
        return;
    }
    let (tenant, server) = (Tenant::start(), plain());
    let application = Application { tenant: &tenant, store: at(server.port()) };
    let mut wrong = application.command(&["wait", "get"]);
    wrong.env("ONEACCESS_CLIENT_SECRET", "wrong");
    let mut processes: Vec<Process> = (0..32).map(|_| Process::of(&mut wrong)).collect();
    processes.iter_mut().for_each(Process::close_input);
    let printed: Vec<_> = processes.into_iter().map(|process| process.end()[0].clone()).collect();
    assert!(printed.iter().all(|line| line.starts_with("error 7 ")), "{printed:?}");
    assert_eq!(tenant.requests(), 1);
    assert_eq!(application.run(&["get", "stats"])[1], ONE_REQUEST);
}

#[test]
fn rejected_by_all_processes_is_one_request() {
    if !installed() {
        return;
    }
    let (tenant, server) = (Tenant::builder().fresh_token_every_time().start(), plain());
    let application = Application { tenant: &tenant, store: at(server.port()) };
    let commands = ["get", "wait", "reject", "get"];
    let mut processes: Vec<Process> = (0..32).map(|_| application.start(&commands)).collect();
    let old: HashSet<String> = processes.iter_mut().map(Process::line).collect();
    assert_eq!((old.len(), tenant.requests()), (1, 1));
    processes.iter_mut().for_each(Process::close_input);
    let printed: Vec<_> = processes.into_iter().map(Process::end).collect();
    all_equal(&printed, &tenant.current_token().expect("a token"));
    assert_eq!(tenant.requests(), 2);
}

#[test]
fn documented_permissions_are_enough() {
    if !installed() {
        return;
    }
    let page = include_str!("../docs/store.md");
    let (_, line) = page.split_once("ACL SETUSER app ").expect("the line in docs/store.md");
    let rules: Vec<&str> = line.lines().next().expect("a line").split(' ').collect();
    let (tenant, server) = (Tenant::builder().fresh_token_every_time().start(), plain());
    let acl = [&["ACL", "SETUSER", "app"], &rules[..]].concat();
    assert_eq!(cli(server.port(), &acl), "OK");
    let store = format!("redis://app:password@127.0.0.1:{}", server.port());
    let application = Application { tenant: &tenant, store };
    let printed = application.run(&["get", "reject", "get", "stats", "error"]);
    assert_eq!(printed[2..], ["attempts 2, hits 0, failures 0", "none"]);
    assert_eq!(application.run(&["get", "stats"])[1], ONE_HIT);
}

#[test]
fn refusals_cost_no_token_and_say_what_to_do() {
    if !installed() {
        return;
    }
    let tenant = Tenant::start();
    let server = redis(|_, _| vec!["--requirepass".into(), "right".into()]);
    for (user, why) in [("", "NOAUTH"), (":wrong@", "WRONGPASS"), ("nobody:x@", "WRONGPASS")] {
        let store = format!("redis://{user}127.0.0.1:{}", server.port());
        let application = Application { tenant: &tenant, store };
        let printed = application.run(&["get", "stats", "error"]);
        assert_eq!(printed[1], "attempts 1, hits 0, failures 1");
        assert!(
            printed[2].contains(why) && printed[2].contains("user and password"),
            "{printed:?}"
        );
        assert!(!printed[2].contains("wrong"), "{printed:?}");
    }
    let (port, plain) = (server.port(), plain());
    for (store, why) in [
        (format!("redis://:right@127.0.0.1:{port}/16"), "SELECT with \"ERR\"; it has no database"),
        (format!("redis://:x@127.0.0.1:{}", plain.port()), "AUTH with \"ERR\"; it has no password"),
    ] {
        let printed = Application { tenant: &tenant, store }.run(&["get", "error"]);
        assert!(printed[1].contains(why), "{printed:?}");
    }
    let store = format!("redis://:right@127.0.0.1:{}/3", server.port());
    let application = Application { tenant: &tenant, store };
    assert_eq!(application.run(&["get", "stats"])[1], ONE_REQUEST);
    assert_eq!(application.run(&["get", "stats"])[1], ONE_HIT);
}

#[test]
fn full_server_costs_no_token() {
    if !installed() {
        return;
    }
    let tenant = Tenant::start();
    let server = redis(|_, _| vec!["--maxmemory".into(), "1".into()]);
    let application = Application { tenant: &tenant, store: at(server.port()) };
    let printed = application.run(&["get", "stats", "error"]);
    assert_eq!(printed[1], "attempts 1, hits 0, failures 1");
    assert!(printed[2].contains("OOM"), "{printed:?}");
}

/// Readers would take such an entry for an invalid reply, and give up the server.
#[test]
fn token_too_long_for_an_entry_is_not_written() {
    if !installed() {
        return;
    }
    let (tenant, server) = (Tenant::start(), plain());
    // The second client finds what the first one has left. One token just fits.
    for (length, stats) in [(70_000, [(0, 1), (0, 1)]), (65_000, [(0, 0), (1, 0)])] {
        let token = "x".repeat(length);
        for (hits, failures) in stats {
            let body = format!(r#"{{"access_token":"{token}","expires_in":1800}}"#);
            if hits == 0 {
                tenant.next(Answer::json(200, &body));
            }
            let config = support::config(&tenant).store(&at(server.port()));
            let client = Client::new(&config).expect("a client");
            assert!(client.token().expect("a token").access_token() == token);
            let error = client.last_store_error().map(|error| error.to_string());
            assert_eq!(client.stat(Stat::StoreHits), hits, "{error:?}");
            assert_eq!(client.stat(Stat::StoreFailures), failures, "{error:?}");
            assert!(error.is_none_or(|error| error.contains("the token is too long")));
            // The lock is released.
            assert_eq!(cli(server.port(), &["DBSIZE"]), if length < 65_536 { "1" } else { "0" });
        }
    }
}

/// It would give a lock that cannot be released, for which the other processes would wait.
#[test]
fn server_without_scripts_gives_no_lock() {
    if !installed() {
        return;
    }
    let tenant = Tenant::start();
    let server = redis(|_, _| ["--rename-command", "EVAL", ""].map(str::to_owned).to_vec());
    let application = Application { tenant: &tenant, store: at(server.port()) };
    for _ in 0..2 {
        let (printed, took) = timed(|| application.run(&["get", "stats", "error"]));
        assert_eq!(printed[1], "attempts 1, hits 0, failures 1");
        assert!(printed[2].contains("EVAL"), "{printed:?}");
        assert!(took < ms(1500), "{took:?}");
    }
    assert_eq!(cli(server.port(), &["DBSIZE"]), "0");
}

#[test]
fn tls_trusts_the_ca_file() {
    if !installed() {
        return;
    }
    let tenant = Tenant::start();
    let ca = Ca::new();
    let identity = ca.server(&["localhost"]);
    let server = redis(|folder, port| {
        let (certificate, key) = identity.write(folder, "redis");
        let text = |path: std::path::PathBuf| path.display().to_string();
        ["--port", "0", "--tls-port", &port.to_string(), "--tls-auth-clients", "no"]
            .map(str::to_owned)
            .into_iter()
            .chain([
                "--tls-cert-file".into(),
                text(certificate),
                "--tls-key-file".into(),
                text(key),
            ])
            .collect()
    });
    let folder = tempfile::TempDir::new().expect("a folder");
    let both = folder.path().join("ca.pem");
    std::fs::write(&both, [tenant.ca_pem(), &ca.pem()].concat()).expect("written");
    let store = format!("rediss://localhost:{}", server.port());
    let application = Application { tenant: &tenant, store };
    let mut command = application.command(&["get", "stats", "error"]);
    let printed = Process::of(command.env("ONEACCESS_CA_FILE", &both)).end();
    assert_eq!(printed[1..], [ONE_REQUEST, "none"]);
    let printed = Process::of(command.env("ONEACCESS_CA_FILE", &both)).end();
    assert_eq!(printed[1..], [ONE_HIT, "none"]);
    let without_tls = Application { tenant: &tenant, store: at(server.port()) };
    let why = without_tls.run(&["get", "error"]).swap_remove(1);
    assert!(why.contains("rediss://"), "{why}");
    // The tenant's CA alone does not vouch for this server.
    let printed = application.run(&["get", "stats", "error"]);
    assert_eq!(printed[1], "attempts 1, hits 0, failures 1");
    assert!(printed[2].contains("certificate"), "{printed:?}");
}

#[test]
fn unix_socket_works() {
    if !installed() {
        return;
    }
    let tenant = Tenant::start();
    let folder = tempfile::TempDir::new().expect("a folder");
    let socket = folder.path().join("redis.sock").display().to_string();
    let _server = redis(|_, _| {
        ["--unixsocket", &socket, "--requirepass", "word"].map(str::to_owned).to_vec()
    });
    let store = format!("redis+unix://:word@{socket}?db=1");
    let application = Application { tenant: &tenant, store };
    assert_eq!(application.run(&["get", "stats", "error"])[1..], [ONE_REQUEST, "none"]);
    assert_eq!(application.run(&["get", "stats"])[1], ONE_HIT);
}

/// A server that treats each connection in this way. Returns its port, and counts its connections.
fn misbehaving(
    treat: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (count, treat) = (Arc::new(AtomicUsize::new(0)), Arc::new(treat));
    let counted = count.clone();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::SeqCst);
            let treat = treat.clone();
            thread::spawn(move || treat(stream));
        }
    });
    (port, count)
}

/// Each fault costs a call at most 250 ms and no token, and the next calls nothing.
#[test]
fn faults_cost_a_quarter_of_a_second() {
    let silent = |mut stream: TcpStream| stream.read_to_end(&mut Vec::new()).map(drop);
    let drip = |mut stream: TcpStream| {
        for byte in b"$1000000\r\n".iter().cycle() {
            stream.write_all(&[*byte])?;
            thread::sleep(ms(30));
        }
        Ok(())
    };
    let huge = |mut stream: TcpStream| {
        stream.write_all(b"$100000000\r\n")?;
        loop {
            stream.write_all(&[b'x'; 4096])?;
        }
    };
    let answer = |text: &'static [u8]| {
        move |mut stream: TcpStream| {
            stream.read_exact(&mut [0; 16])?;
            stream.write_all(text)?;
            thread::sleep(ms(2000));
            Ok(())
        }
    };
    let nested: &[u8] = Box::leak(b"*1\r\n".repeat(10_000).into_boxed_slice());
    let servers = [
        ("refused", (support::proxy::free_port(), Arc::default())),
        ("closed", misbehaving(|_| Ok(()))),
        ("silent", misbehaving(silent)),
        ("dripping", misbehaving(drip)),
        ("huge", misbehaving(huge)),
        ("nested", misbehaving(answer(nested))),
        ("a web page", misbehaving(answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"))),
        ("loading", misbehaving(answer(b"-LOADING x\r\n-LOADING x\r\n"))),
        ("read-only", misbehaving(answer(b"-READONLY x\r\n-READONLY x\r\n"))),
        ("another type", misbehaving(answer(b":1\r\n:1\r\n"))),
        ("moved to itself", misbehaving(answer(b"-MOVED 1 :1\r\n-MOVED 1 :1\r\n"))),
    ];
    for (name, (port, connections)) in servers {
        let tenant = Tenant::builder().fresh_token_every_time().start();
        let client = Client::new(&support::config(&tenant).store(&at(port))).expect("a client");
        let (first, took) = timed(|| client.token());
        let first = first.unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{name}: {took:?}: {}", client.last_store_error().expect("a failure"));
        assert!(took < ms(250 + 300), "{name}: {took:?}");
        assert_eq!(client.stat(Stat::StoreFailures), 1, "{name}");
        // For half a minute nobody asks again.
        let visits = connections.load(Ordering::SeqCst);
        client.reject(first.access_token());
        let start = Instant::now();
        assert_ne!(client.token().expect(name).access_token(), first.access_token());
        assert!(start.elapsed() < Duration::from_secs(2), "{name}");
        assert_eq!(connections.load(Ordering::SeqCst), visits, "{name}");
        assert_eq!(client.stat(Stat::StoreFailures), 1, "{name}");
    }
}

/// The server may delay a call by 250 ms before its request, and by as much after it, however many
/// commands that takes.
#[test]
fn slow_commands_share_a_quarter_of_a_second() {
    let replies = ["$-1\r\n:-2\r\n", "+OK\r\n", "$-1\r\n:-2\r\n", "$-1\r\n:-2\r\n", ":1\r\n"];
    // Before the request there are three, after it two.
    for delays in [[120, 120, 120, 0, 0], [10, 10, 10, 220, 220]] {
        let (port, _) = misbehaving(move |mut stream| {
            for (reply, delay) in replies.iter().zip(delays) {
                if stream.read(&mut [0; 4096])? == 0 {
                    break;
                }
                thread::sleep(ms(delay));
                stream.write_all(reply.as_bytes())?;
            }
            Ok(())
        });
        let tenant = Tenant::start();
        let client = Client::new(&support::config(&tenant).store(&at(port))).expect("a client");
        let (token, took) = timed(|| client.token());
        token.expect("a token");
        println!("{delays:?}: {took:?}");
        assert!(took < ms(350), "{delays:?}: {took:?}");
    }
}

/// So does a server that cannot be reached, or that does not complete a TLS handshake.
#[test]
fn connecting_costs_a_quarter_of_a_second() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    // SAFETY: a system call.
    assert_eq!(unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&listener), 0) }, 0);
    let address = listener.local_addr().expect("an address");
    // From now on Linux drops further SYN packets.
    let _pending = TcpStream::connect(address).expect("a connection");
    let full = address.port();
    let (silent, _) = misbehaving(|mut stream| stream.read_to_end(&mut Vec::new()).map(drop));
    let moved = format!("-MOVED 1 127.0.0.1:{full}\r\n").repeat(2);
    let (moving, _) = misbehaving(move |mut stream| {
        stream.read_exact(&mut [0; 16])?;
        stream.write_all(moved.as_bytes())
    });
    let tenant = Tenant::start();
    for store in [at(full), at(moving), format!("rediss://localhost:{silent}")] {
        let client = Client::new(&support::config(&tenant).store(&store)).expect("a client");
        let (token, took) = timed(|| client.token());
        token.expect("a token");
        let error = client.last_store_error().expect("a failure").to_string();
        println!("{store}: {took:?}: {error}");
        assert!(error.contains("timed out"), "{error}");
        assert!(took < ms(250 + 300), "{store}: {took:?}");
    }
}

/// With a full backlog connecting waits; there is one thread for it at most.
#[test]
fn full_backlog_costs_one_thread() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let socket = folder.path().join("redis.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    // SAFETY: a system call.
    assert_eq!(unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&listener), 0) }, 0);
    let _pending = std::os::unix::net::UnixStream::connect(&socket).expect("a connection");
    let tenant = Tenant::start();
    let waiting = || {
        let tasks = std::fs::read_dir("/proc/self/task").expect("tasks");
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
        };
        tasks.filter_map(name).filter(|name| name.starts_with("oneaccess-unix")).count()
    };
    let store = format!("redis+unix://{}", socket.display());
    let client = Client::new(&support::config(&tenant).store(&store)).expect("a client");
    let (token, took) = timed(|| client.token());
    token.expect("a token");
    assert!(took < ms(250 + 300), "{took:?}");
    assert_eq!(waiting(), 1);
    // A close is noticed at once.
    let other = Client::new(&support::config(&tenant).store(&store)).expect("a client");
    thread::scope(|scope| {
        let call = scope.spawn(|| timed(|| other.token()));
        thread::sleep(ms(50));
        other.close();
        let (outcome, took) = call.join().expect("a result");
        assert!(outcome.is_err() && took < ms(200), "{outcome:?} {took:?}");
    });
    drop(listener);
    until(|| waiting() == 0);
}

/// Little time: the server may take a quarter of it.
#[test]
fn deadlines_hold_with_a_silent_server() {
    let (port, _) = misbehaving(|mut stream| stream.read_to_end(&mut Vec::new()).map(drop));
    for limit in [ms(60), ms(300), ms(1000)] {
        let tenant = Tenant::start();
        let client = Client::new(&support::config(&tenant).store(&at(port))).expect("a client");
        let (token, took) = timed(|| client.token_within(limit));
        println!("{limit:?}: {took:?}");
        assert!(took < limit + ms(300), "{took:?} of {limit:?}");
        assert!(token.is_ok() || limit < ms(200), "{token:?}");
    }
}

#[test]
fn one_redirection_is_followed() {
    if !installed() {
        return;
    }
    let (tenant, server) = (Tenant::start(), plain());
    let moved = format!("-MOVED 1 127.0.0.1:{}\r\n", server.port()).repeat(2);
    let (port, _) = misbehaving(move |mut stream| {
        stream.read_exact(&mut [0; 16])?;
        stream.write_all(moved.as_bytes())
    });
    let application = Application { tenant: &tenant, store: at(port) };
    assert_eq!(application.run(&["get", "stats", "error"])[1..], [ONE_REQUEST, "none"]);
    assert_eq!(application.run(&["get", "stats"])[1], ONE_HIT);
    // Often it names an address that only it can reach.
    let (port, _) = misbehaving(|mut stream| {
        stream.read_exact(&mut [0; 16])?;
        stream.write_all(b"-MOVED 1 127.0.0.1:1\r\n".repeat(2).as_slice())
    });
    let elsewhere = Application { tenant: &tenant, store: at(port) };
    let why = elsewhere.run(&["get", "error"]).swap_remove(1);
    assert!(why.contains("its cluster names 127.0.0.1:1: Connection refused"), "{why}");
    assert!(cli(server.port(), &["KEYS", "*"]).starts_with("oneaccess:{"));
}

#[test]
fn server_that_is_killed_meanwhile_costs_no_token() {
    if !installed() {
        return;
    }
    let (tenant, server) = (Tenant::start(), plain());
    let application = Application { tenant: &tenant, store: at(server.port()) };
    tenant.next(Answer::json(503, "{}").delayed(ms(800)));
    let process = application.start(&["get", "stats"]);
    until(|| tenant.requests() == 1);
    drop(server);
    let printed = process.end();
    assert_eq!(printed[0], tenant.current_token().expect("a token"));
    assert_eq!(printed[1], "attempts 2, hits 0, failures 1");
}

#[test]
fn holder_that_has_lost_its_lock_writes_nothing() {
    if !installed() {
        return;
    }
    let (tenant, server) = (Tenant::start(), plain());
    let application = Application { tenant: &tenant, store: at(server.port()) };
    tenant.next(Answer::json(503, "{}").delayed(ms(300)));
    let process = application.start(&["get", "stats"]);
    until(|| tenant.requests() == 1);
    let lock = cli(server.port(), &["KEYS", "*"]);
    assert!(lock.ends_with(":lock"), "{lock}");
    cli(server.port(), &["SET", &lock, "another holder"]);
    assert_eq!(process.end()[1], "attempts 2, hits 0, failures 0");
    assert_eq!(cli(server.port(), &["KEYS", "*"]), lock);
    assert_eq!(cli(server.port(), &["GET", &lock]), "another holder");
}

/// Three nodes, each with a third of the keys: whichever is named, all processes meet at one.
#[test]
fn cluster_is_one_store() {
    if !installed() {
        return;
    }
    let tenant = Tenant::start();
    let node = |_: &std::path::Path, _| {
        let bus = support::proxy::free_port().to_string();
        ["--cluster-enabled", "yes", "--cluster-port", &bus].map(str::to_owned).to_vec()
    };
    let nodes = [redis(node), redis(node), redis(node)];
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create", "--cluster-yes"]);
    create.args(nodes.each_ref().map(|node| format!("127.0.0.1:{}", node.port())));
    support::native::succeed(&mut create);
    until(|| nodes.iter().all(|node| cli(node.port(), &["CLUSTER", "INFO"]).contains("state:ok")));
    for (number, node) in nodes.iter().enumerate() {
        let application = Application { tenant: &tenant, store: at(node.port()) };
        let printed = application.run(&["get", "stats", "error"]);
        let expected = if number == 0 { ONE_REQUEST } else { ONE_HIT };
        assert_eq!(printed[1..], [expected, "none"], "node {number}");
    }
}

/// The hosts of a fleet have clocks of their own.
#[test]
fn wrong_clocks_neither_lose_nor_prolong_a_token() {
    if !installed() || !has("faketime", "faketime") {
        return;
    }
    let (tenant, server) = (Tenant::builder().life(ms(60_000)).start(), plain());
    let application = Application { tenant: &tenant, store: at(server.port()) };
    application.run(&["get"]);
    for offset in ["+300", "-300"] {
        let command = application.command(&["get", "stats", "left"]);
        let printed = Process::of(&mut faked(offset, &command)).end();
        assert_eq!(printed[1], ONE_HIT, "{offset}");
        let left: i64 = printed[2].parse().expect("milliseconds");
        assert!((30_000..=60_000).contains(&left), "{offset}: {left} ms left");
    }
}

/// What a flush, an eviction or a restart takes away is requested again, once.
#[test]
fn lost_entry_costs_one_request() {
    if !installed() {
        return;
    }
    let (tenant, server) = (Tenant::start(), plain());
    let application = Application { tenant: &tenant, store: at(server.port()) };
    application.run(&["get"]);
    let key = cli(server.port(), &["KEYS", "*"]);
    for (number, lose) in [&["FLUSHALL"][..], &["DEL", &key]].into_iter().enumerate() {
        cli(server.port(), lose);
        let printed = application.run_together(8, &["get", "stats", "error"]);
        assert!(printed.iter().all(|lines| lines[2] == "none"), "{lose:?}: {printed:?}");
        assert_eq!(tenant.requests(), number + 2, "{lose:?}");
    }
}

/// Four machines, whose clocks differ by up to a day, with 16 processes each.
#[test]
fn machines_with_other_clocks_are_one_client() {
    if !installed() || !has("faketime", "faketime") {
        return;
    }
    let (tenant, server) = (Tenant::builder().fresh_token_every_time().start(), plain());
    let application = Application { tenant: &tenant, store: at(server.port()) };
    // One process with the right time, which the certificate of the tenant needs.
    let holder = application.start(&["wait", "get"]);
    let mut others = Vec::new();
    for offset in ["+0", "+300", "-300", "+86400"] {
        for _ in 0..16 {
            others.push(Process::of(&mut faked(
                offset,
                &application.command(&["wait", "get", "stats"]),
            )));
        }
    }
    let first = holder.end();
    others.iter_mut().for_each(Process::close_input);
    let printed: Vec<_> = others.into_iter().map(Process::end).collect();
    all_equal(&printed, &first[0]);
    assert!(printed.iter().all(|lines| lines[1] == ONE_HIT), "{printed:?}");
    assert_eq!(tenant.requests(), 1);
}

/// The same command on a machine whose clock is so many seconds off.
fn faked(offset: &str, command: &Command) -> Command {
    let mut faked = Command::new("faketime");
    faked.args(["-f", offset]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        value.map(|value| faked.env(name, value));
    }
    faked
}
