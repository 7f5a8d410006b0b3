//! A tunnel through a SOCKS proxy: versions 4 and 4a, and 5 (RFC 1928) with a password (RFC 1929).
//! ureq's own SOCKS connector makes its own TCP connection, whose timeouts end late.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use ureq::unversioned::transport::{
    ConnectionDetails, Connector, Either, NextTimeout, Transport, TransportAdapter,
};
use ureq::{Proxy, ProxyProtocol};
use zeroize::Zeroizing;

use super::context::Context;
use super::explain::{Phase, explain};
use super::lookup::{host_and_port, host_port};
use super::tcp::{Deadline, Socket, Tcp};
use super::wipe::Wiping;

/// In bytes: a version, then user and password with their lengths, or a host name with its own.
const MAX_REQUEST: usize = 1 + 2 * 256;

/// The first connector of the chain. Without a SOCKS proxy it does nothing.
#[derive(Debug)]
pub(super) struct Socks {
    pub tcp: Tcp,
    pub context: Context,
}

impl<In: Transport> Connector<In> for Socks {
    type Out = Either<In, Wiping<Socket>>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let proxy = match details.config.proxy() {
            Some(proxy) if chained.is_none() && is_socks(proxy) => proxy,
            _ => return Ok(chained.map(Either::A)),
        };
        let left = Deadline::of(details).left()?;
        let timeout = NextTimeout { after: left.into(), ..details.timeout };
        let addresses = details.resolver.resolve(proxy.uri(), details.config, timeout)?;
        let socket = self.tcp.dial(details, &addresses).map_err(|error| {
            let name = self.context.proxy.as_deref();
            explain(Phase::Connect, &host_and_port(proxy.uri()), name, error)
        })?;
        // The socket enforces the deadline; `Wiping` wipes the password from its buffers.
        let mut stream = TransportAdapter::new(Wiping::new(socket), details.current_time.clone());
        let target = Target::of(details, proxy).ok_or(ureq::Error::HostNotFound)?;
        match proxy.protocol() {
            ProxyProtocol::Socks4 | ProxyProtocol::Socks4A => socks4(&mut stream, proxy, target),
            _ => socks5(&mut stream, proxy, target),
        }?;
        Ok(Some(Either::B(stream.into_inner())))
    }
}

fn is_socks(proxy: &Proxy) -> bool {
    !matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https)
}

/// Where the tunnel leads.
#[derive(Clone, Copy, Debug)]
enum Target<'a> {
    Address(SocketAddr),
    /// The proxy looks it up.
    Name(&'a str, u16),
}

impl<'a> Target<'a> {
    fn of(details: &ConnectionDetails<'a>, proxy: &Proxy) -> Option<Target<'a>> {
        if proxy.resolve_target() {
            // SOCKS 4 supports IPv4 only.
            let only_v4 = proxy.protocol() == ProxyProtocol::Socks4;
            let address = details.addrs.iter().find(|address| !only_v4 || address.is_ipv4());
            return address.or(details.addrs.first()).copied().map(Target::Address);
        }
        let (host, port) = host_port(details.uri);
        Some(match host.parse() {
            Ok(ip) => Target::Address(SocketAddr::new(ip, port)),
            Err(_) => Target::Name(host, port),
        })
    }

    fn port(self) -> [u8; 2] {
        match self {
            Target::Address(address) => address.port(),
            Target::Name(_, port) => port,
        }
        .to_be_bytes()
    }
}

fn socks4(stream: &mut (impl Read + Write), proxy: &Proxy, target: Target) -> io::Result<()> {
    let mut request = request(&[4, 1]);
    request.extend_from_slice(&target.port());
    let name = match target {
        Target::Address(SocketAddr::V4(address)) => {
            request.extend_from_slice(&address.ip().octets());
            None
        }
        Target::Address(SocketAddr::V6(_)) => {
            return refuse("SOCKS 4 does not support IPv6 addresses");
        }
        Target::Name(name, _) => {
            // 0.0.0.1, an invalid address, announces that a host name follows (SOCKS 4a).
            request.extend_from_slice(&[0, 0, 0, 1]);
            Some(name)
        }
    };
    for text in [Some(proxy.username().unwrap_or_default()), name].into_iter().flatten() {
        if text.len() > 255 || text.contains('\0') {
            return refuse("the user or the host name cannot be sent with SOCKS 4");
        }
        request.extend_from_slice(text.as_bytes());
        request.push(0);
    }
    stream.write_all(&request)?;
    // The address that follows has no meaning for CONNECT.
    let [version, reply, ..] = read::<8>(stream)?;
    match (version, reply) {
        (0, 90) => Ok(()),
        (0, 91) => Err(failure("request rejected or failed (SOCKS reply 91)")),
        (0, 92) => refuse("it cannot reach the identd of this machine (SOCKS reply 92)"),
        (0, 93) => refuse("the identd of this machine reports another user (SOCKS reply 93)"),
        _ => Err(invalid_reply()),
    }
}

fn socks5(stream: &mut (impl Read + Write), proxy: &Proxy, target: Target) -> io::Result<()> {
    const NONE: u8 = 0;
    const PASSWORD: u8 = 2;
    let user = proxy.username();
    stream.write_all(if user.is_some() { &[5, 2, PASSWORD, NONE] } else { &[5, 1, NONE] })?;
    match (read(stream)?, user) {
        ([5, NONE], _) => {}
        ([5, PASSWORD], Some(user)) => {
            sign_in(stream, user, proxy.password().unwrap_or_default())?;
        }
        ([5, 0xff], _) => {
            return refuse(
                "no acceptable authentication method; set a valid user and password in the proxy \
                 URL (socks5h://user:password@host:port)",
            );
        }
        _ => return Err(invalid_reply()),
    }
    let mut request = request(&[5, 1, 0]);
    match target {
        Target::Address(SocketAddr::V4(address)) => {
            request.push(1);
            request.extend_from_slice(&address.ip().octets());
        }
        Target::Address(SocketAddr::V6(address)) => {
            request.push(4);
            request.extend_from_slice(&address.ip().octets());
        }
        Target::Name(name, _) => {
            request.push(3);
            push_text(&mut request, name)?;
        }
    }
    request.extend_from_slice(&target.port());
    stream.write_all(&request)?;
    read_reply(stream)
}

fn sign_in(stream: &mut (impl Read + Write), user: &str, password: &str) -> io::Result<()> {
    let mut request = request(&[1]);
    push_text(&mut request, user)?;
    push_text(&mut request, password)?;
    stream.write_all(&request)?;
    match read(stream)? {
        [1, 0] => Ok(()),
        [1, _] => refuse("authentication failed: wrong user or password"),
        _ => Err(invalid_reply()),
    }
}

/// Reads the SOCKS 5 reply including its address, to the last byte: the next byte belongs to TLS.
fn read_reply(stream: &mut impl Read) -> io::Result<()> {
    match read(stream)? {
        [5, 0] => {}
        [5, reply] => return Err(refusal(reply)),
        _ => return Err(invalid_reply()),
    }
    let length = match read(stream)? {
        [0, 1] => 4,
        [0, 3] => usize::from(read::<1>(stream)?[0]),
        [0, 4] => 16,
        _ => return Err(invalid_reply()),
    };
    let mut address_and_port = [0; 255 + 2];
    stream.read_exact(&mut address_and_port[..length + 2])
}

fn refusal(reply: u8) -> io::Error {
    let (kind, what) = match reply {
        1 => (ErrorKind::Other, "general failure"),
        2 => (ErrorKind::PermissionDenied, "it does not allow this host"),
        3 => (ErrorKind::Other, "network unreachable"),
        4 => (ErrorKind::Other, "host unreachable"),
        5 => (ErrorKind::Other, "connection refused"),
        6 => (ErrorKind::Other, "TTL expired"),
        7 => (ErrorKind::PermissionDenied, "command not supported"),
        8 => (ErrorKind::PermissionDenied, "address type not supported"),
        _ => (ErrorKind::Other, "unknown error"),
    };
    io::Error::new(kind, format!("{what} (SOCKS reply {reply})"))
}

/// A buffer that never grows: growing would leave a copy of the password in memory.
fn request(first: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut request = Zeroizing::new(Vec::with_capacity(MAX_REQUEST + 16));
    request.extend_from_slice(first);
    request
}

fn push_text(request: &mut Vec<u8>, text: &str) -> io::Result<()> {
    let Ok(length) = u8::try_from(text.len()) else {
        return refuse("SOCKS 5 allows at most 255 bytes each for user, password and host name");
    };
    request.push(length);
    request.extend_from_slice(text.as_bytes());
    Ok(())
}

fn read<const LENGTH: usize>(stream: &mut impl Read) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn invalid_reply() -> io::Error {
    failure("it sent an invalid SOCKS reply; check the scheme of the proxy URL")
}

fn failure(why: &'static str) -> io::Error {
    io::Error::other(why)
}

/// `PermissionDenied` marks a refusal that a retry would meet again.
fn refuse<T>(why: &'static str) -> io::Result<T> {
    Err(io::Error::new(ErrorKind::PermissionDenied, why))
}
