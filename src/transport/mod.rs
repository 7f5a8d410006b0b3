//! Carries bytes to the token endpoint and back over TLS: trust, proxy, deadline, bounded answer.
//! No connection is kept; TLS sessions are resumed. The only module that names ureq.

mod chain;
mod context;
mod explain;
mod lookup;
mod proxy;
mod socks;
#[cfg(feature = "redis")]
mod stream;
mod tcp;
mod trust;
mod wipe;

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;
#[cfg(feature = "redis")]
use std::time::Instant;

use bytes::Bytes;
use ureq::http::{HeaderMap, HeaderValue, Response};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::os::{self, Snapshot};
use context::Context;
use explain::{Phase, explain};
use lookup::Lookup;
#[cfg(feature = "redis")]
pub(crate) use stream::Stream;
use trust::{Named, Trust};

const USER_AGENT: &str = concat!("oneaccess/", env!("CARGO_PKG_VERSION"));
/// A longer body is not read to its end; no token answer comes near it.
pub(crate) const MAX_BODY_BYTES: u64 = 1 << 20;
/// Size of the first buffer if the answer has no Content-Length.
const USUAL_BODY: u64 = 8 << 10;

/// Limit of all headers of an answer.
const MAX_HEADER_BYTES: usize = 32 << 10;
/// Buffer for a request, in addition to its headers and its body, and for the end of the handshake.
const PIECE: usize = 16 << 10;

/// An answer, whatever its status.
pub(crate) struct Reply {
    pub status: u16,
    headers: HeaderMap,
    /// `None`: longer than `MAX_BODY_BYTES`.
    pub body: Result<Option<Zeroizing<Vec<u8>>>, Error>,
}

impl Reply {
    #[cfg(fuzzing)]
    pub fn made_of(status: u16, retry_after: &[u8], body: &[u8]) -> Reply {
        let value = ureq::http::HeaderValue::from_bytes(retry_after);
        let headers = value.map(|value| (ureq::http::header::RETRY_AFTER, value));
        let headers = headers.into_iter().collect();
        Reply { status, headers, body: Ok(Some(Zeroizing::new(body.to_owned()))) }
    }

    /// The first header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Made once per client and process.
pub(crate) struct Transport {
    config: Arc<Config>,
    proxy: Arc<Option<proxy::Proxy>>,
    /// The files that the configuration names, as they were last read.
    named: Snapshot<Named>,
    /// Made at the first request, since it needs the operating system's roots: most of the time of a
    /// new client would go into reading them.
    agent: Snapshot<Option<Agent>>,
    context: Context,
    /// Shared with a thread that connects to a Unix socket, while it does.
    #[cfg(all(feature = "redis", unix))]
    unix_connect: Arc<()>,
}

impl Transport {
    /// Reads the files that the configuration names, sends nothing.
    pub fn new(config: Arc<Config>) -> Result<Transport, Error> {
        let proxy = Arc::new(proxy::choose(&config)?);
        let named = Named::load(&config)?;
        Ok(Transport::with(config, proxy, named))
    }

    /// A copy for the child of a fork, which shares no lock and no connection with the parent.
    pub fn for_child(&self) -> Transport {
        Transport::with(self.config.clone(), self.proxy.clone(), Named::clone(&self.named.get()))
    }

    fn with(config: Arc<Config>, proxy: Arc<Option<proxy::Proxy>>, named: Named) -> Transport {
        let context = Context {
            proxy: proxy.as_ref().as_ref().map(|proxy| proxy.name.as_str().into()),
            closed: Arc::new(AtomicBool::new(false)),
        };
        Transport {
            named: Snapshot::new(named),
            agent: Snapshot::new(None),
            config,
            proxy,
            context,
            #[cfg(all(feature = "redis", unix))]
            unix_connect: Arc::default(),
        }
    }

    fn agent(&self) -> Result<Agent, Error> {
        match &*self.agent.get() {
            Some(agent) => Ok(agent.clone()),
            None => Ok(self.use_agent(self.named.get().trust(&self.config, false)?)),
        }
    }

    fn use_agent(&self, trust: Trust) -> Agent {
        let agent = agent(&self.config, &self.proxy, &self.context, trust);
        self.agent.set(Some(agent.clone()));
        fence(Ordering::SeqCst);
        if self.context.closed.load(Ordering::Relaxed) {
            self.close();
        }
        agent
    }

    /// Sends one POST and reads the whole answer, within `timeout`.
    pub fn post(
        &self,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Duration,
    ) -> Result<Reply, Error> {
        let start = os::now().boot;
        let mut reply = self.post_once(headers, body, timeout);
        let is_tls = |error: &Error| error.kind() == ErrorKind::Tls;
        if reply.as_ref().is_err_and(is_tls) && self.reload_trust() {
            let left = timeout.saturating_sub(os::now().boot.saturating_sub(start));
            if !left.is_zero() {
                reply = self.post_once(headers, body, left);
            }
        }
        // The missing certificate may be in the file that could not be read.
        let unread = || self.config.system_roots.then(trust::unusable_variable).flatten();
        reply.map_err(|error| match is_tls(&error).then(unread).flatten() {
            Some(why) => Error::new(ErrorKind::Tls, format!("{error} ({why})")),
            None => error,
        })
    }

    /// A connection to another server than the token endpoint: not through the proxy, but with the same
    /// trust if `tls`.
    #[cfg(feature = "redis")]
    pub fn connect(
        &self,
        host: &str,
        port: u16,
        tls: bool,
        end: Instant,
    ) -> io::Result<Box<dyn Stream>> {
        let trust = match tls {
            true => Some(self.named.get().trust(&self.config, false).map_err(io::Error::other)?),
            false => None,
        };
        let tls = trust.as_ref().map(|trust| &trust.tls);
        stream::tcp(host, port, tls, end, &self.context.closed)
    }

    #[cfg(all(feature = "redis", unix))]
    pub fn connect_unix(
        &self,
        path: &std::path::Path,
        end: Instant,
    ) -> io::Result<Box<dyn Stream>> {
        stream::unix(path, end, &self.unix_connect, &self.context.closed)
    }

    /// Interrupts requests in progress; later ones fail.
    pub fn close(&self) {
        self.context.closed.store(true, Ordering::Relaxed);
        // Either this sees a new agent, or `use_agent` sees `closed`.
        fence(Ordering::SeqCst);
        if let Some(agent) = &*self.agent.get() {
            agent.clone().shutdown();
        }
    }

    fn post_once(
        &self,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Duration,
    ) -> Result<Reply, Error> {
        let agent = self.agent()?;
        let mut request = agent.post(self.config.endpoint.url());
        let mut piece = PIECE + body.len();
        for (name, value) in headers {
            // ureq's own copy of the text would not be wiped.
            let wiped = Bytes::from_owner(Zeroizing::new((*value).to_owned()));
            let value = HeaderValue::from_maybe_shared(wiped)
                .map_err(|error| self.explained(ureq::Error::Http(error.into())))?;
            piece += name.len() + value.len();
            request = request.header(*name, value);
        }
        let response = request
            .config()
            .timeout_global(Some(timeout))
            .output_buffer_size(piece)
            .build()
            .send(body)
            .map_err(|error| self.explained(error))?;
        Ok(self.read(response))
    }

    fn read(&self, response: Response<Body>) -> Reply {
        let (parts, body) = response.into_parts();
        let length = body.content_length().unwrap_or(USUAL_BODY);
        let body = read_body(body.into_reader(), length);
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.map_err(|error| self.explained(error.into())),
        }
    }

    fn explained(&self, error: ureq::Error) -> Error {
        let peer = self.config.endpoint.host_and_port();
        let proxy = self.context.proxy.as_deref();
        match explain(Phase::Exchange, &peer, proxy, error) {
            ureq::Error::Other(inner) => match inner.downcast::<Error>() {
                Ok(error) => *error,
                Err(other) => Error::new(ErrorKind::Internal, other.to_string()),
            },
            other => Error::new(ErrorKind::Internal, other.to_string()),
        }
    }

    /// Reads the trusted certificates and our own again. Returns whether they have changed.
    fn reload_trust(&self) -> bool {
        let Ok(agent) = self.agent() else { return false };
        let read = Named::load(&self.config)
            .and_then(|named| Ok((named.trust(&self.config, true)?, named)));
        match read {
            Ok((trust, named)) if !trust::same(agent.config().tls_config(), &trust.tls) => {
                self.named.set(named);
                self.use_agent(trust);
                true
            }
            Ok(_) => false,
            Err(error) => {
                log::warn!("the trusted certificates could not be read again: {error}");
                false
            }
        }
    }
}

/// `None`: longer than `MAX_BODY_BYTES`. `length` is a guess, or the Content-Length, which may be wrong.
fn read_body(mut reader: impl Read, length: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    // One byte more than expected, so that the end is seen without growing the buffer.
    let room = |length: u64| Zeroizing::new(vec![0; length.min(MAX_BODY_BYTES) as usize + 1]);
    let mut body = room(length);
    let mut filled = 0;
    loop {
        if filled == body.len() {
            if filled as u64 > MAX_BODY_BYTES {
                return Ok(None);
            }
            // A vector that grows by itself leaves its old bytes in memory, unwiped.
            let mut larger = room(2 * filled as u64);
            larger[..filled].copy_from_slice(&body);
            body = larger;
        }
        match reader.read(&mut body[filled..]) {
            Ok(0) => break,
            Ok(amount) => filled += amount,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    body.truncate(filled);
    Ok(Some(body))
}

fn agent(
    config: &Config,
    proxy: &Option<proxy::Proxy>,
    context: &Context,
    Trust { tls, connector }: Trust,
) -> Agent {
    let settings = Agent::config_builder()
        .tls_config(tls)
        .proxy(proxy.as_ref().map(|proxy| proxy.ureq.clone()))
        .https_only(config.endpoint.is_https())
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(0)
        .max_response_header_size(MAX_HEADER_BYTES)
        .input_buffer_size(MAX_HEADER_BYTES + 1)
        .user_agent(USER_AGENT)
        .accept("application/json")
        .accept_encoding("identity")
        .build();
    Agent::with_parts(settings, chain::connector(context, connector), Lookup(context.clone()))
}
