//! Dropped packets, missing routes, small buffers and bad name servers, in a network namespace.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;

use oneaccess::{Client, Config, ErrorKind};
use support::child::in_child;
use support::config;
use support::fault::{Fault, Relay, Server};
use support::namespace::{can_have_a_network, runner, shell};
use support::tenant::{Answer, Tenant};
use support::timeouts::{
    SLACK, closes_promptly, closes_with_its_round, ends_in_time, ms, storm, timed, to_port,
    with_a_large_secret,
};

const SMALL_BUFFERS: &str = "echo 4096 4096 4096 > /proc/sys/net/ipv4/tcp_wmem
    echo 4096 4096 4096 > /proc/sys/net/ipv4/tcp_rmem";

#[test]
fn dropped_packets_end_in_time() {
    if !can_have_a_network() {
        return;
    }
    in_child(
        || runner("iptables -A INPUT -d 127.0.0.5 -j DROP"),
        || {
            let to = |address: &str| Config::new(address, "id", "secret").proxy(Some(""));
            ends_in_time(&to("127.0.0.5"), ms(700), "connecting to 127.0.0.5:443");
            ends_in_time(&to("127.0.0.5"), ms(1002), "connecting to 127.0.0.5:443");
            closes_with_its_round(&to("127.0.0.5"));
        },
    );
}

#[test]
fn silent_connection_ends_in_time() {
    if !can_have_a_network() {
        return;
    }
    in_child(
        || runner(""),
        || {
            let tenant = Tenant::builder().delay(ms(600)).start();
            let client = Client::new(&config(&tenant)).expect("a client");
            let port = tenant.port();
            let drop = thread::spawn(move || {
                thread::sleep(ms(300));
                shell(&format!("iptables -A INPUT -p tcp --sport {port} -j DROP"));
            });
            let (outcome, took) = timed(|| client.token_within(ms(1200)));
            drop.join().expect("a rule");
            let error = outcome.expect_err("no token");
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
            assert!(took < ms(1200) + SLACK, "{took:?}");
            shell("iptables -F");
        },
    );
}

/// The error of an endpoint that cannot be reached: it comes at once.
fn cannot_reach(endpoint: &str, says: &str) {
    let client = Client::new(&Config::new(endpoint, "id", "secret").proxy(Some(""))).expect("ok");
    let (outcome, took) = timed(|| client.token());
    let error = outcome.expect_err("no token");
    println!("{took:?}: {error}");
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    assert!(error.is_retryable());
    assert!(error.to_string().contains(says), "{error}");
    // Three attempts with pauses between them.
    assert!(took < ms(1500), "{took:?}");
}

#[test]
fn unreachable_address_fails_at_once() {
    if !can_have_a_network() {
        return;
    }
    in_child(
        || {
            runner(
                "iptables -A OUTPUT -d 127.0.0.6 -j REJECT --reject-with icmp-host-unreachable
                 iptables -A OUTPUT -d 127.0.0.7 -j REJECT --reject-with icmp-admin-prohibited
                 iptables -A OUTPUT -d 127.0.0.8 -p tcp -j REJECT --reject-with tcp-reset",
            )
        },
        || {
            cannot_reach("127.0.0.6:1", "127.0.0.6:1");
            cannot_reach("127.0.0.7:1", "127.0.0.7:1");
            cannot_reach("127.0.0.8:1", "Connection refused");
            cannot_reach("192.0.2.1", "Network is unreachable");
            cannot_reach("[2001:db8::1]:444", "could not connect to [2001:db8::1]:444");
        },
    );
}

#[test]
fn missing_local_ports_are_reported() {
    if !can_have_a_network() {
        return;
    }
    in_child(
        || runner("echo 50000 50001 > /proc/sys/net/ipv4/ip_local_port_range"),
        || {
            let server = TcpListener::bind("127.0.0.1:443").expect("its address");
            let address = server.local_addr().expect("its address");
            let _all = [(); 2].map(|()| TcpStream::connect(address).expect("a connection"));
            cannot_reach(
                "127.0.0.1",
                "could not connect to 127.0.0.1:443: this machine has no local",
            );
        },
    );
}

/// A resolver configuration that asks one server only, and no hosts file.
const ONE_SERVER: &str = "d=$(mktemp -d); mount -t tmpfs tmpfs $d
    echo 'nameserver 127.0.0.53' > $d/resolv; echo 'hosts: dns' > $d/nsswitch
    mount --bind $d/resolv /etc/resolv.conf; mount --bind $d/nsswitch /etc/nsswitch.conf";

#[test]
fn a_name_server_that_is_silent_ends_in_time() {
    if !can_have_a_network() {
        return;
    }
    in_child(
        || runner(ONE_SERVER),
        || {
            let _silent = UdpSocket::bind("127.0.0.53:53").expect("its address");
            let config = Config::new("tenant.example", "id", "secret").proxy(Some(""));
            ends_in_time(&config, ms(500), "looking up tenant.example:443");
            closes_promptly(&config);
        },
    );
}

#[test]
fn failing_name_server_is_a_transport_error() {
    if !can_have_a_network() {
        return;
    }
    in_child(
        || runner(ONE_SERVER),
        || {
            cannot_reach("tenant.example", "tenant.example:443 could not be looked up");
            for code in [2, 3, 5] {
                let server = UdpSocket::bind("127.0.0.53:53").expect("its address");
                server.set_read_timeout(Some(ms(1500))).expect("a timeout");
                let answers = thread::spawn(move || answer_with(&server, code));
                cannot_reach("tenant.example", "tenant.example:443 could not be looked up");
                answers.join().expect("a server");
            }
        },
    );
}

/// Every question gets this response code and no answer.
fn answer_with(server: &UdpSocket, code: u8) {
    let mut packet = [0; 512];
    while let Ok((length, peer)) = server.recv_from(&mut packet) {
        packet[2] |= 0x80;
        packet[3] = 0x80 | code;
        server.send_to(&packet[..length], peer).expect("sent");
    }
}

#[test]
fn unread_request_ends_in_time() {
    if !can_have_a_network() {
        return;
    }
    in_child(
        || runner(SMALL_BUFFERS),
        || {
            let folder = tempfile::TempDir::new().expect("a folder");
            let tenant = Tenant::start();
            let relay = Relay::to(tenant.port(), Fault::Deaf(1000));
            let config = with_a_large_secret(to_port(&tenant, relay.port()), &folder);
            ends_in_time(&config, ms(500), "localhost");
            closes_promptly(&config);
        },
    );
}

#[test]
fn slowly_read_request_ends_in_time() {
    if !can_have_a_network() {
        return;
    }
    in_child(
        || runner(SMALL_BUFFERS),
        || {
            let folder = tempfile::TempDir::new().expect("a folder");
            let tenant = Tenant::start();
            let relay = Relay::to(tenant.port(), Fault::Sip(1000, ms(300)));
            let config = with_a_large_secret(to_port(&tenant, relay.port()), &folder);
            ends_in_time(&config, ms(700), "localhost");
        },
    );
}

#[test]
fn signals_do_not_move_the_send_deadline() {
    if !can_have_a_network() {
        return;
    }
    in_child(
        || runner(SMALL_BUFFERS),
        || {
            let folder = tempfile::TempDir::new().expect("a folder");
            let tenant = Tenant::start();
            let relay = Relay::to(tenant.port(), Fault::Deaf(1000));
            let config = with_a_large_secret(to_port(&tenant, relay.port()), &folder);
            storm();
            ends_in_time(&config, ms(500), "localhost");
        },
    );
}

/// All at once, and so slowly that it is sent in parts.
#[test]
fn a_large_request_arrives_through_small_buffers() {
    if !can_have_a_network() {
        return;
    }
    in_child(
        || runner(SMALL_BUFFERS),
        || {
            let folder = tempfile::TempDir::new().expect("a folder");
            let tenant = Tenant::start();
            tenant.always(Answer::json(200, r#"{"access_token":"t"}"#));
            for fault in [Fault::None, Fault::Sip(1000, ms(20))] {
                let relay = Relay::to(tenant.port(), fault);
                let config = with_a_large_secret(to_port(&tenant, relay.port()), &folder);
                Client::new(&config).expect("a client").token().expect("a token");
                let sent =
                    tenant.last_request().and_then(|request| request.form_field("client_secret"));
                assert_eq!(sent.map(|secret| secret.len()), Some(64 << 10));
            }
            assert_eq!(tenant.requests(), 2);
        },
    );
}

#[test]
fn answer_to_a_partly_sent_request_is_read() {
    if !can_have_a_network() {
        return;
    }
    in_child(
        || runner(SMALL_BUFFERS),
        || {
            let folder = tempfile::TempDir::new().expect("a folder");
            let server = Server::start(|mut socket| {
                socket.read_exact(&mut [0; 100]).expect("the beginning of a request");
                socket
                    .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
                    .expect("sent");
            });
            let config = Config::new(&format!("http://127.0.0.1:{}", server.port()), "id", "");
            let config = with_a_large_secret(config, &folder);
            for _ in 0..20 {
                let client = Client::new(&config).expect("a client");
                let error = client.token_within(ms(900)).expect_err("none");
                assert_eq!(error.http_status(), 413, "{error}");
            }
        },
    );
}
