//! The chain of connectors that makes a connection. Some are ureq's, some are ours.

use std::fmt;
use std::sync::Arc;

use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, RustlsConnector, Transport,
};

use super::context::Context;
use super::explain::{Phase, explain};
use super::lookup::host_and_port;
use super::socks::Socks;
use super::tcp::Tcp;
use super::wipe::Wipe;

/// The whole chain: SOCKS or CONNECT where a proxy asks for it, TCP, TLS.
pub(super) fn connector(
    context: &Context,
    tls: Arc<RustlsConnector>,
) -> impl Connector<Out = impl Transport> {
    let named = |phase| Named { phase, context: context.clone() };
    let tcp = || Tcp { closed: context.closed.clone() };
    ().chain(named(Phase::Proxy).of(Socks { tcp: tcp(), context: context.clone() }))
        .chain(named(Phase::Proxy).of(ConnectProxyConnector::default()))
        .chain(named(Phase::Connect).of(tcp()))
        .chain(named(Phase::Handshake).of(AgentLevel(tls)))
        .chain(Wipe)
}

/// Adds the phase to the errors of a connector.
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

/// Makes ureq reuse its TLS configuration, which holds the sessions to resume. ureq reuses it only for
/// requests without settings of their own; ours have a timeout, which does not affect TLS.
#[derive(Debug)]
struct AgentLevel(Arc<RustlsConnector>);

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
