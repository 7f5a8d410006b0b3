//! Proxies that cannot be reached or refuse.

use oneaccess::{Config, Error};

use super::support::certificates::Ca;
use super::support::child::{in_child, set_env};
use super::support::fault::Server;
use super::support::resolver::Resolver;
use super::table::{PROXIES, Seen, compare, seen};
use super::{call, client_at, failure, folder, resetting, tenant, write};

/// `tenant.example` through a proxy at this port, which is documented as `proxy:{documented_port}`.
fn through(scheme: &str, port: u16, documented_port: u16, call: impl Fn(&Config) -> Error) -> Seen {
    let folder = folder();
    let config = client_at(443, write(&folder, "ca.pem", Ca::new().pem()));
    let error = call(&config.proxy(Some(&format!("{scheme}://walter:p4ss@proxy:{port}"))));
    let port = format!("proxy:{port}");
    seen(&error, &[(&port, &format!("proxy:{documented_port}"))])
}

#[test]
fn messages_about_proxies() {
    let resolver = Resolver::compile();
    in_child(
        || resolver.runner(0, "127.0.0.1"),
        || {
            let mut all = Vec::new();
            for (variable, value) in [
                ("FAKE_LOOKUP_ERROR", libc::EAI_NONAME),
                ("FAKE_CONNECT_ERRNO", libc::ECONNREFUSED),
            ] {
                set_env(variable, Some(&value.to_string()));
                all.push(through("http", 3128, 3128, failure));
                set_env(variable, None);
            }
            set_env("FAKE_CONNECT_ERRNO", Some(&libc::ETIMEDOUT.to_string()));
            all.push(through("http", 3128, 3128, |config| call(config, 300)));
            set_env("FAKE_CONNECT_ERRNO", None);
            let silent = Server::silent();
            all.push(through("http", silent.port(), 3128, |config| call(config, 300)));
            all.extend(http_proxies());
            all.extend(socks_proxies());
            compare(PROXIES, &all);
        },
    );
}

fn http_proxies() -> Vec<Seen> {
    let headers = "X-Y: z\r\n".repeat(21);
    let many_headers = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
    let answers: [&[u8]; 6] = [
        b"HTTP/1.1 407 x\r\n\r\n",
        b"HTTP/1.1 403 x\r\n\r\n",
        b"HTTP/1.1 502 x\r\n\r\n",
        b"",
        many_headers.as_bytes(),
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ];
    let mut servers: Vec<Server> = answers.into_iter().map(Server::saying).collect();
    servers.push(resetting());
    let tenant = tenant();
    servers.push(Server::tunnel(&[b"HTTP/1.1 200 OK\r\n\r\n"], tenant.port()));
    servers.iter().map(|server| through("http", server.port(), 3128, failure)).collect()
}

fn socks_proxies() -> Vec<Seen> {
    let mut all = Vec::new();
    let mut socks = |scheme, replies: &[&[u8]]| {
        let server = Server::replying(replies);
        all.push(through(scheme, server.port(), 1080, failure));
    };
    socks("socks5h", &[&[5, 2], &[1, 1]]);
    socks("socks5h", &[&[5, 255]]);
    for reply in 1..=8 {
        socks("socks5h", &[&[5, 0], &[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]]);
    }
    for reply in [91, 92] {
        socks("socks4a", &[&[0, reply, 0, 0, 0, 0, 0, 0]]);
    }
    socks("socks5h", &[b"HTTP/1.1 400 Bad Request\r\n\r\n"]);
    all
}
