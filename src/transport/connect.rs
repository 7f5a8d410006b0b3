//! How a connection comes about: ureq's own parts, with a name lookup that can be given up, rounds
//! over several addresses, and errors that say in which phase and with whom it failed.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use ureq::Timeout;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Instant as UreqInstant;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    RustlsConnector, Transport,
};

use zeroize::{Zeroize, Zeroizing};

use crate::config::Config;

use super::explain::{Phase, explain, is_closed, lacking};
use super::socks::Socks;

/// How often a wait looks whether the client was closed.
const CLOSE_CHECK: Duration = Duration::from_millis(20);
const FIRST_ROUND: Duration = Duration::from_millis(400);
const MAX_ROUND: Duration = Duration::from_secs(3);
const MAX_WAIT: Duration = Duration::from_millis(200);
/// In bytes, with what goes before it.
const MAX_ALERT_BYTES: usize = 64;

/// What the parts of a connection share.
#[derive(Clone)]
pub(super) struct Context {
    /// Scheme, host and port of the proxy, if there is one.
    pub proxy: Option<Arc<str>>,
    pub closed: Arc<AtomicBool>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

/// The whole chain: SOCKS or CONNECT where a proxy asks for it, TCP, TLS.
pub(super) fn connector(context: &Context) -> impl Connector<Out = impl Transport> {
    let named = |phase| Named { phase, context: context.clone() };
    let tcp = || Tcp { closed: context.closed.clone() };
    ().chain(named(Phase::Proxy).of(Socks { tcp: tcp(), context: context.clone() }))
        .chain(named(Phase::Proxy).of(ConnectProxyConnector::default()))
        .chain(named(Phase::Connect).of(tcp()))
        .chain(named(Phase::Handshake).of(AgentLevel(RustlsConnector::default())))
        .chain(Wipe)
}

/// Gives the errors of a part their phase.
struct Named {
    phase: Phase,
    context: Context,
}

impl Named {
    fn of<C>(self, part: C) -> NamedPart<C> {
        NamedPart { part, name: self }
    }
}

struct NamedPart<C> {
    part: C,
    name: Named,
}

impl<C> fmt::Debug for NamedPart<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name.phase)
    }
}

impl<In: Transport, C: Connector<In>> Connector<In> for NamedPart<C> {
    type Out = C::Out;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<C::Out>, ureq::Error> {
        self.part.connect(details, chained).map_err(|error| {
            let Named { phase, context } = &self.name;
            explain(*phase, &host_and_port(details.uri), context.proxy.as_deref(), error)
        })
    }
}

/// Connects in rounds, from 0.4 s doubling to 3 s: each address has its turn early, so that a first
/// address that drops packets costs little, and a closed client notices.
#[derive(Debug)]
pub(super) struct Tcp {
    closed: Arc<AtomicBool>,
}

impl<In: Transport> Connector<In> for Tcp {
    type Out = Either<In, Socket>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(Some(match chained {
            Some(chained) => Either::A(chained),
            None => Either::B(self.dial(details, &details.addrs)?),
        }))
    }
}

impl Tcp {
    pub fn dial(
        &self,
        details: &ConnectionDetails,
        addresses: &[SocketAddr],
    ) -> Result<Socket, ureq::Error> {
        let deadline = Deadline::of(details);
        let mut round = FIRST_ROUND;
        loop {
            let round_end = Instant::now() + round.min(deadline.left()?);
            match connect_any(addresses, round_end) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let socket = Socket::new(stream, deadline, details);
                    let handle: Weak<TcpStream> = Arc::downgrade(&socket.stream);
                    (details.register_shutdown)(handle)?;
                    return Ok(socket);
                }
                Err(error) if error.kind() != io::ErrorKind::TimedOut => return Err(error.into()),
                Err(_) if self.closed.load(Ordering::Relaxed) => return Err(deadline.over()),
                Err(_) => round = (2 * round).min(MAX_ROUND),
            }
            // The system may say at once that an address timed out.
            thread::sleep(CLOSE_CHECK.min(deadline.left()?));
        }
    }
}

/// One round: every address in turn, the earlier ones with the larger share of the time.
fn connect_any(addresses: &[SocketAddr], end: Instant) -> io::Result<TcpStream> {
    let mut refusal = None;
    let mut is_slow = false;
    for (index, address) in addresses.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        let is_last = index + 1 == addresses.len();
        let time = if is_last { left } else { left / 2 };
        let shortest = Duration::from_millis(1);
        match TcpStream::connect_timeout(address, time.max(shortest)) {
            Ok(stream) => return Ok(stream),
            // EAGAIN is no timeout here: the system had no local port for the connection.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => is_slow = true,
            Err(error) => refusal = Some(error),
        }
    }
    // One that is slow may still do in the next round.
    match refusal {
        Some(error) if !is_slow => Err(error),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// macOS refuses to set a timeout once the peer has closed, although its answer can still be read.
fn settle(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if cfg!(target_os = "macos") && error.kind() == io::ErrorKind::InvalidInput => {
            Ok(())
        }
        outcome => outcome,
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// When a request has to be over, whatever drips or stalls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Instant,
    reason: Timeout,
}

impl Deadline {
    pub fn of(details: &ConnectionDetails) -> Deadline {
        let start = match details.now {
            UreqInstant::Exact(start) => start,
            _ => Instant::now(),
        };
        let longest = Config::MAX_DURATION;
        let time = (*details.timeout.after).min(longest);
        Deadline { at: start + time, reason: details.timeout.reason }
    }

    pub fn left(&self) -> Result<Duration, ureq::Error> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.over()) } else { Ok(left) }
    }

    /// Linux ends the timeout of a socket late, by up to an eighth of it: there a long wait is many
    /// short ones. On Windows a socket is of no use after a timeout.
    fn wait_until(&self) -> Result<Duration, ureq::Error> {
        let left = self.left()?;
        let is_linux = cfg!(any(target_os = "linux", target_os = "android"));
        Ok(if is_linux { left.min(MAX_WAIT) } else { left })
    }

    fn over(&self) -> ureq::Error {
        ureq::Error::Timeout(self.reason)
    }
}

/// A connection that ends at its deadline. ureq's own starts its time anew with every part that
/// could be sent or received. What is sent leaves in as few pieces as can be: when an answer is
/// awaited.
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    deadline: Deadline,
    buffers: LazyBuffers,
    unsent: Zeroizing<Vec<u8>>,
    /// Something of what was sent is lost: nothing more may follow it.
    broken: bool,
}

impl Socket {
    fn new(stream: TcpStream, deadline: Deadline, details: &ConnectionDetails) -> Socket {
        let config = details.config;
        let (input, output) = (config.input_buffer_size(), config.output_buffer_size());
        Socket {
            stream: Arc::new(stream),
            deadline,
            buffers: LazyBuffers::new(input, output),
            unsent: Zeroizing::new(Vec::with_capacity(output)),
            broken: false,
        }
    }

    fn send(&mut self) -> Result<(), ureq::Error> {
        let outcome = self.write_unsent();
        self.unsent.clear();
        self.broken |= outcome.is_err();
        outcome
    }

    fn write_unsent(&self) -> Result<(), ureq::Error> {
        let mut rest = &self.unsent[..];
        while !rest.is_empty() {
            settle(self.stream.set_write_timeout(Some(self.deadline.wait_until()?)))?;
            match (&*self.stream).write(rest) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if is_timeout(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<bool, ureq::Error> {
        loop {
            settle(self.stream.set_read_timeout(Some(self.deadline.wait_until()?)))?;
            match (&*self.stream).read(self.buffers.input_append_buf()) {
                Ok(amount) => {
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(error) if is_timeout(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Socket {
    /// A handshake that failed ends with an alert, which nobody answers. What is longer is a request
    /// whose time was over.
    fn drop(&mut self) {
        let is_alert = (1..=MAX_ALERT_BYTES).contains(&self.unsent.len());
        if is_alert && self.stream.set_nonblocking(true).is_ok() {
            let _ = (&*self.stream).write(&self.unsent);
        }
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        if self.unsent.len() + amount > self.unsent.capacity() {
            self.send()?;
        }
        if self.broken {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        }
        self.unsent.extend_from_slice(&self.buffers.output()[..amount]);
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        match self.send() {
            Ok(()) => self.receive(),
            // Who refuses a request may answer and close before all of it has come.
            Err(ureq::Error::Io(error)) if is_closed(&error) => match self.receive() {
                Ok(true) => Ok(true),
                _ => Err(error.into()),
            },
            Err(error) => Err(error),
        }
    }

    /// Never for another request.
    fn is_open(&mut self) -> bool {
        false
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Socket")
    }
}

/// ureq reuses its TLS configuration, and with it sessions to resume, only for requests without
/// settings of their own; ours have a timeout of their own, which does not concern TLS.
#[derive(Debug)]
struct AgentLevel(RustlsConnector);

impl<In: Transport> Connector<In> for AgentLevel {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let details = ConnectionDetails {
            request_level: false,
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        self.0.connect(&details, chained)
    }
}

/// Wipes the buffers of what was sent, which hold the client secret, and of what was received, which
/// hold the token.
#[derive(Debug)]
struct Wipe;

#[derive(Debug)]
pub(super) struct Wiping<T: Transport> {
    transport: T,
    /// In bytes: no byte of the input buffer behind so many was ever written to.
    received: usize,
}

impl<T: Transport> Wiping<T> {
    pub fn new(transport: T) -> Wiping<T> {
        Wiping { transport, received: 0 }
    }
}

impl<In: Transport> Connector<In> for Wipe {
    type Out = Wiping<In>;

    fn connect(
        &self,
        _: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Wiping<In>>, ureq::Error> {
        Ok(chained.map(Wiping::new))
    }
}

impl<T: Transport> Drop for Wiping<T> {
    fn drop(&mut self) {
        if self.received > 0 {
            let buffers = self.transport.buffers();
            // Once everything is consumed the whole buffer is free to be written to.
            buffers.input_consume(buffers.input().len());
            let input = buffers.input_append_buf();
            let held = self.received.min(input.len());
            input[..held].zeroize();
        }
    }
}

impl<T: Transport> Transport for Wiping<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, time: NextTimeout) -> Result<(), ureq::Error> {
        let outcome = self.transport.transmit_output(amount, time);
        // A body is read into the former on its way to the latter.
        let (read, sent) = self.transport.buffers().tmp_and_output();
        let amount_read = amount.min(read.len());
        read[..amount_read].zeroize();
        sent[..amount].zeroize();
        outcome
    }

    fn await_input(&mut self, time: NextTimeout) -> Result<bool, ureq::Error> {
        let before = self.transport.buffers().input().len();
        let outcome = self.transport.await_input(time);
        self.received += self.transport.buffers().input().len().saturating_sub(before);
        outcome
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}

/// The system's resolver, in a thread that is left behind when time is over: nothing can interrupt
/// `getaddrinfo`. Addresses need neither.
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
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let host = host.to_owned();
        let (answer, answers) = mpsc::sync_channel(1);
        thread::Builder::new().name("oneaccess-dns".to_owned()).spawn(move || {
            let found = (host.as_str(), port).to_socket_addrs();
            // Nobody listens any more once the time is over.
            let _ = answer.send(found.map(Vec::from_iter));
        })?;
        let start = Instant::now();
        loop {
            let left = timeout.after.saturating_sub(start.elapsed());
            match answers.recv_timeout(left.min(CLOSE_CHECK)) {
                Ok(Ok(found)) if found.is_empty() => return Err(ureq::Error::HostNotFound),
                Ok(found) => return found.map_err(|error| no_descriptor().unwrap_or(error).into()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the lookup thread died").into());
                }
                Err(RecvTimeoutError::Timeout) => {
                    if left.is_zero() || self.0.closed.load(Ordering::Relaxed) {
                        return Err(ureq::Error::Timeout(timeout.reason));
                    }
                }
            }
        }
    }
}

/// Without a file descriptor for its work the resolver says that there is no such name.
fn no_descriptor() -> Option<io::Error> {
    let error = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).err()?;
    lacking(Phase::Lookup, &error).map(|_| error)
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
