//! The mock tenant: a loopback server in this process that behaves like a OneAccess tenant. Each one
//! has its own certificates, credentials and tokens.

mod answer;
mod certificates;
mod connection;
mod request;
mod token_endpoint;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rcgen::CertificateParams;
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;

pub use answer::Answer;
use certificates::Authority;
use connection::{Connection, Then};
pub use request::Request;
use token_endpoint::TokenEndpoint;

/// Settings of a mock tenant.
pub struct Builder {
    token_endpoint: TokenEndpoint,
    address: SocketAddr,
    plain_http: bool,
    require_client_certificate: bool,
    tls_versions: Vec<&'static SupportedProtocolVersion>,
    certificate: CertificateParams,
    server_config: Option<ServerConfig>,
}

impl Builder {
    fn new() -> Builder {
        Builder {
            token_endpoint: TokenEndpoint {
                client_id: random_hex(12),
                // With characters that form encoding must escape.
                client_secret: format!("{}+/=&%:{}", random_hex(8), random_hex(8)),
                life: Duration::from_secs(1800),
                users: 2,
                ..TokenEndpoint::default()
            },
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            plain_http: false,
            require_client_certificate: false,
            tls_versions: rustls::ALL_VERSIONS.to_vec(),
            certificate: certificates::for_loopback(),
            server_config: None,
        }
    }

    /// Default: random.
    pub fn client_id(mut self, client_id: &str) -> Builder {
        self.token_endpoint.client_id = client_id.into();
        self
    }

    /// Default: random.
    pub fn client_secret(mut self, client_secret: &str) -> Builder {
        self.token_endpoint.client_secret = client_secret.into();
        self
    }

    /// Lifetime of each token. Default: 1800 s.
    pub fn life(mut self, life: Duration) -> Builder {
        self.token_endpoint.life = life;
        self
    }

    /// Delays every token response, as `Answer::Delayed` does. Default: zero.
    pub fn delay(mut self, delay: Duration) -> Builder {
        self.token_endpoint.delay = delay;
        self
    }

    /// Issues a new token for every request. Default: the same token until it has expired.
    pub fn fresh_token_every_time(mut self) -> Builder {
        self.token_endpoint.fresh_token_every_time = true;
        self
    }

    /// Number of users that the management API lists. Default: 2.
    pub fn users(mut self, users: u32) -> Builder {
        self.token_endpoint.users = users;
        self
    }

    /// Default: a free port.
    pub fn port(mut self, port: u16) -> Builder {
        self.address.set_port(port);
        self
    }

    pub fn plain_http(mut self) -> Builder {
        self.plain_http = true;
        self
    }

    /// Listens on ::1 instead of 127.0.0.1.
    pub fn ipv6(mut self) -> Builder {
        self.address.set_ip(Ipv6Addr::LOCALHOST.into());
        self
    }

    /// Accepts only clients that present a certificate signed by this tenant's CA.
    pub fn require_client_certificate(mut self) -> Builder {
        self.require_client_certificate = true;
        self
    }

    pub fn tls_versions(mut self, versions: &[&'static SupportedProtocolVersion]) -> Builder {
        self.tls_versions = versions.to_vec();
        self
    }

    /// The server certificate, to be signed by this tenant's CA. Default: for the loopback names.
    pub fn certificate(mut self, certificate: CertificateParams) -> Builder {
        self.certificate = certificate;
        self
    }

    /// Replaces the TLS configuration of the server; the other TLS settings are then ignored.
    pub fn server_config(mut self, server_config: ServerConfig) -> Builder {
        self.server_config = Some(server_config);
        self
    }

    pub fn start(self) -> Tenant {
        self.try_start().expect("a loopback port")
    }

    /// Fails if the port is in use.
    pub fn try_start(mut self) -> io::Result<Tenant> {
        let authority = Authority::new();
        let tls = match self.server_config.take() {
            _ if self.plain_http => None,
            Some(server_config) => Some(server_config),
            None => Some(self.make_server_config(&authority)),
        };
        let listener = TcpListener::bind(self.address).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {}: {error}", self.address))
        })?;
        let address = listener.local_addr().expect("the address of a listener");
        let shared = Arc::new(Shared {
            tls: tls.map(Arc::new),
            token_endpoint: Mutex::new(self.token_endpoint),
            ..Shared::default()
        });
        let acceptor_shared = Arc::clone(&shared);
        Ok(Tenant {
            shared,
            address,
            ca_pem: authority.pem(),
            files: authority.write_files(),
            acceptor: Some(thread::spawn(move || accept(&acceptor_shared, &listener))),
        })
    }

    fn make_server_config(&self, authority: &Authority) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client_verifier = if self.require_client_certificate {
            authority.client_verifier(Arc::clone(&provider))
        } else {
            WebPkiClientVerifier::no_client_auth()
        };
        let (certificate, key) = authority.server_certificate(self.certificate.clone());
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.tls_versions)
            .expect("TLS versions")
            .with_client_cert_verifier(client_verifier)
            .with_single_cert(vec![certificate], key)
            .expect("a certificate that fits its key")
    }
}

/// A running tenant. Dropping it closes its port and its connections.
pub struct Tenant {
    shared: Arc<Shared>,
    address: SocketAddr,
    ca_pem: String,
    files: TempDir,
    acceptor: Option<JoinHandle<()>>,
}

impl Tenant {
    pub fn start() -> Tenant {
        Tenant::builder().start()
    }

    pub fn builder() -> Builder {
        Builder::new()
    }

    pub fn endpoint(&self) -> String {
        match (&self.shared.tls, self.address) {
            (None, address) => format!("http://{address}"),
            (Some(_), SocketAddr::V4(address)) => format!("https://localhost:{}", address.port()),
            (Some(_), SocketAddr::V6(address)) => format!("https://{address}"),
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn client_id(&self) -> String {
        self.token_endpoint().client_id.clone()
    }

    pub fn client_secret(&self) -> String {
        self.token_endpoint().client_secret.clone()
    }

    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub fn ca_file(&self) -> PathBuf {
        self.files.path().join("ca.pem")
    }

    /// A client certificate signed by this tenant's CA, and its key, both PEM.
    pub fn client_certificate_files(&self) -> (PathBuf, PathBuf) {
        let directory = self.files.path();
        (directory.join("client.pem"), directory.join("client.key"))
    }

    /// Number of token requests so far, with any HTTP method. Counted when the body has been read.
    pub fn requests(&self) -> usize {
        self.token_endpoint().requests
    }

    /// The latest token request.
    pub fn last_request(&self) -> Option<Request> {
        self.token_endpoint().log.back().cloned()
    }

    /// The last 10 000 token requests, oldest first.
    pub fn requests_log(&self) -> Vec<Request> {
        self.token_endpoint().log.iter().cloned().collect()
    }

    pub fn request_times(&self) -> Vec<Instant> {
        let token_endpoint = self.token_endpoint();
        token_endpoint.log.iter().map(|request| request.received_at).collect()
    }

    /// Requests to the management API, accepted or not.
    pub fn management_calls(&self) -> usize {
        self.token_endpoint().management_calls
    }

    /// Requests to any other path, where a real tenant serves the web portal.
    pub fn portal_calls(&self) -> usize {
        self.token_endpoint().portal_calls
    }

    /// TCP connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    pub fn open_connections(&self) -> usize {
        self.shared.open.lock().unwrap().len()
    }

    pub fn handshakes_resumed(&self) -> usize {
        self.shared.handshakes_resumed.load(SeqCst)
    }

    /// Queues an answer for one token request or connection.
    pub fn next(&self, answer: Answer) {
        self.token_endpoint().queue.push_back(answer);
    }

    /// Sets the answer that is used while nothing is queued.
    pub fn always(&self, answer: Answer) {
        self.token_endpoint().standing = answer;
    }

    /// Discards all answers set by `next` and `always`.
    pub fn normal(&self) {
        let mut token_endpoint = self.token_endpoint();
        token_endpoint.queue.clear();
        token_endpoint.standing = Answer::Normal;
    }

    /// The last issued token, unless it has expired or was revoked.
    pub fn current_token(&self) -> Option<String> {
        self.token_endpoint().current_token()
    }

    /// Revokes the current token: the management API rejects it, and the next request gets a new one.
    pub fn revoke(&self) {
        self.token_endpoint().revoke();
    }

    /// Makes every issued token expire now.
    pub fn expire_now(&self) {
        self.token_endpoint().expire_now();
    }

    /// Replaces the client secret, as a reset in the console does; issued tokens remain valid.
    pub fn set_client_secret(&self, client_secret: &str) {
        self.token_endpoint().client_secret = client_secret.into();
    }

    /// Closes all connections, as a restarted server does. New ones are accepted.
    pub fn close_connections(&self) {
        for socket in self.shared.open.lock().unwrap().values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn token_endpoint(&self) -> MutexGuard<'_, TokenEndpoint> {
        self.shared.token_endpoint.lock().unwrap()
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.shared.stopping.store(true, SeqCst);
        // A connection wakes the accepting thread, which then sees `stopping`.
        if TcpStream::connect(self.address).is_ok() {
            let _ = self.acceptor.take().map(JoinHandle::join);
        }
        self.close_connections();
        let open = self.shared.open.lock().unwrap();
        let five_seconds = Duration::from_secs(5);
        let one_closed = &self.shared.one_closed;
        let _ = one_closed.wait_timeout_while(open, five_seconds, |open| !open.is_empty());
    }
}

/// Shared by the tenant and its threads.
#[derive(Default)]
struct Shared {
    tls: Option<Arc<ServerConfig>>,
    token_endpoint: Mutex<TokenEndpoint>,
    stopping: AtomicBool,
    connections: AtomicUsize,
    handshakes_resumed: AtomicUsize,
    open: Mutex<HashMap<usize, Arc<TcpStream>>>,
    one_closed: Condvar,
}

impl Shared {
    fn serve(&self, connection: &mut Connection) -> io::Result<Then> {
        if let Some(config) = &self.tls {
            let handshake = connection.start_tls(Arc::clone(config))?;
            if handshake == HandshakeKind::Resumed {
                self.handshakes_resumed.fetch_add(1, SeqCst);
            }
        }
        connection.serve(|request| self.token_endpoint.lock().unwrap().answer(request))
    }

    fn forget(&self, number: usize) {
        self.open.lock().unwrap().remove(&number);
        self.one_closed.notify_all();
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for socket in listener.incoming() {
        if shared.stopping.load(SeqCst) {
            return;
        }
        match socket {
            Ok(socket) => serve_in_thread(shared, Arc::new(socket)),
            // Probably out of file descriptors: wait until one is closed.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn serve_in_thread(shared: &Arc<Shared>, socket: Arc<TcpStream>) {
    let number = shared.connections.fetch_add(1, SeqCst);
    shared.open.lock().unwrap().insert(number, Arc::clone(&socket));
    let scripted = shared.token_endpoint.lock().unwrap().scripted(true);
    let thread_shared = Arc::clone(shared);
    let serve = move || {
        let mut connection = Connection::new(socket);
        let then = match scripted {
            Some(answer) => connection.write_answer(answer, false),
            None => thread_shared.serve(&mut connection),
        };
        connection.finish(then.unwrap_or(Then::Cut));
        thread_shared.forget(number);
    };
    if thread::Builder::new().spawn(serve).is_err() {
        shared.forget(number);
    }
}

fn random_hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut random).expect("random bytes");
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}
