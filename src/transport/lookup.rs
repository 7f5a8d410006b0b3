//! The name lookup, with a deadline.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{io, thread};

use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::context::{CLOSE_CHECK, Context};
use super::explain::{Phase, exhausted_resource, explain};

/// Calls `getaddrinfo` in a thread of its own, because nothing can interrupt it: after the deadline the
/// thread is left to end by itself. An IP address needs neither lookup nor thread.
#[derive(Debug)]
pub(super) struct Lookup(pub Context);

impl Resolver for Lookup {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.look_up(uri, timeout).map_err(|error| {
            let proxy = self.0.proxy.as_deref();
            explain(Phase::Lookup, &host_and_port(uri), proxy, error)
        })?;
        let mut addresses = self.empty();
        let most = 16;
        found.into_iter().take(most).for_each(|address| addresses.push(address));
        Ok(addresses)
    }
}

impl Lookup {
    fn look_up(&self, uri: &Uri, timeout: NextTimeout) -> Result<Vec<SocketAddr>, ureq::Error> {
        let (host, port) = host_port(uri);
        look_up(host, port, *timeout.after, &self.0.closed).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ureq::Error::HostNotFound,
            io::ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
            _ => error.into(),
        })
    }
}

/// The addresses of a host. The error is `TimedOut` too if the client was closed, and `NotFound` if
/// there are none.
pub(super) fn look_up(
    host: &str,
    port: u16,
    time: Duration,
    closed: &AtomicBool,
) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    let found = in_thread("oneaccess-dns", time, closed, move || {
        (host.as_str(), port).to_socket_addrs().map(Vec::from_iter)
    })?;
    match found {
        Ok(found) if found.is_empty() => Err(io::ErrorKind::NotFound.into()),
        found => found.map_err(|error| no_descriptor().unwrap_or(error)),
    }
}

/// The result of work that nothing can interrupt. The error is `TimedOut`, after this time or if the
/// client was closed; then the thread is left to end by itself.
pub(super) fn in_thread<T: Send + 'static>(
    name: &str,
    time: Duration,
    closed: &AtomicBool,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (answer, answers) = mpsc::sync_channel(1);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Fails if the caller has stopped waiting.
        let _ = answer.send(work());
    })?;
    let start = Instant::now();
    loop {
        let left = time.saturating_sub(start.elapsed());
        match answers.recv_timeout(left.min(CLOSE_CHECK)) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other(format!("the thread {name} panicked")));
            }
            Err(RecvTimeoutError::Timeout) => {
                if left.is_zero() || closed.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }
}

/// Without a free file descriptor the resolver reports that the name does not exist, so we check
/// whether a descriptor can be had.
pub(super) fn no_descriptor() -> Option<io::Error> {
    let error = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).err()?;
    exhausted_resource(Phase::Lookup, &error).map(|_| error)
}

pub(super) fn host_and_port(uri: &Uri) -> String {
    let (_, port) = host_port(uri);
    format!("{}:{port}", uri.host().unwrap_or_default())
}

/// The host without brackets.
pub(super) fn host_port(uri: &Uri) -> (&str, u16) {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
        Some("http") => 80,
        _ => 443,
    });
    (host, port)
}
