//! How a connection comes about: ureq's own parts, with a name lookup that can be given up, rounds
//! over several addresses, and errors that say in which phase and with whom it failed.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, Either, NextTimeout, RustlsConnector,
    SocksConnector, TcpConnector, Transport,
};

use super::explain::{Phase, explain};

/// How often a wait looks whether the client was closed.
const CLOSE_CHECK: Duration = Duration::from_millis(20);
const FIRST_ROUND: Duration = Duration::from_secs(1);
const LONGEST_ROUND: Duration = Duration::from_secs(3);

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
    ().chain(named(Phase::Proxy).of(SocksConnector::default()))
        .chain(named(Phase::Proxy).of(ConnectProxyConnector::default()))
        .chain(named(Phase::Connect).of(Rounds(TcpConnector::default(), context.closed.clone())))
        .chain(named(Phase::Handshake).of(AgentLevel(RustlsConnector::default())))
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

/// Connects in rounds of one, two, then three seconds: each address has its turn early, so that a
/// first address that drops packets costs a second at most, and a closed client notices.
#[derive(Debug)]
struct Rounds(TcpConnector, Arc<AtomicBool>);

impl<In: Transport> Connector<In> for Rounds {
    type Out = <TcpConnector as Connector<In>>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(chained) = chained {
            return Ok(Some(Either::A(chained)));
        }
        let start = Instant::now();
        let mut round = FIRST_ROUND;
        loop {
            let left = details.timeout.after.saturating_sub(start.elapsed());
            let mut details = clone(details);
            details.now = (details.current_time)();
            details.timeout.after = round.min(left).into();
            match Connector::<In>::connect(&self.0, &details, None) {
                Err(ureq::Error::Timeout(_)) if left > round && !self.1.load(Ordering::Relaxed) => {
                    round = (2 * round).min(LONGEST_ROUND);
                }
                outcome => return outcome,
            }
        }
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
        let mut details = clone(details);
        details.request_level = false;
        self.0.connect(&details, chained)
    }
}

fn clone<'a>(details: &ConnectionDetails<'a>) -> ConnectionDetails<'a> {
    ConnectionDetails {
        uri: details.uri,
        addrs: details.addrs.clone(),
        config: details.config,
        request_level: details.request_level,
        resolver: details.resolver,
        now: details.now,
        timeout: details.timeout,
        current_time: details.current_time.clone(),
        run_connector: details.run_connector.clone(),
        register_shutdown: details.register_shutdown.clone(),
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
                Ok(found) => return Ok(found?),
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

fn host_and_port(uri: &Uri) -> String {
    let (_, port) = host_port(uri);
    format!("{}:{port}", uri.host().unwrap_or_default())
}

/// The host without brackets.
fn host_port(uri: &Uri) -> (&str, u16) {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
        Some("http") => 80,
        _ => 443,
    });
    (host, port)
}
