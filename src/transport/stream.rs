//! A connection for the shared store: TCP or a Unix socket, with TLS if wanted. It ends at its deadline,
//! and when the client is closed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::{fd::OwnedFd, unix::net::UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use ureq::tls::{RootCerts, TlsConfig};

use super::context::CLOSE_CHECK;
#[cfg(unix)]
use super::lookup::in_thread;
use super::lookup::look_up;
use super::tcp::{connect_any, ignore_closed_on_macos};

/// Bytes in both directions.
pub(crate) trait Stream: Read + Write + Send {
    /// From now on every read and write ends at this instant.
    fn set_end(&mut self, end: Instant);
}

/// A socket that reads and writes until an instant. Also a Unix socket: what `UnixStream` writes to a
/// closed one ends a C program by SIGPIPE before Rust 1.89, what `TcpStream` writes never does.
struct Timed {
    socket: TcpStream,
    end: Instant,
    closed: Arc<AtomicBool>,
}

impl Timed {
    /// Repeats `step` until it has done something, in waits that are short enough to notice a close.
    fn until_done(
        &mut self,
        mut step: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.closed.load(Ordering::Relaxed) {
                return Err(ErrorKind::TimedOut.into());
            }
            let wait = Some(left.min(CLOSE_CHECK));
            ignore_closed_on_macos(self.socket.set_read_timeout(wait))?;
            ignore_closed_on_macos(self.socket.set_write_timeout(wait))?;
            match step(&mut self.socket) {
                Err(error) if is_temporary(&error) => {}
                done => return done,
            }
        }
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.until_done(|socket| socket.read(buffer))
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.until_done(|socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Timed {
    fn set_end(&mut self, end: Instant) {
        self.end = end;
    }
}

impl Stream for StreamOwned<ClientConnection, Timed> {
    fn set_end(&mut self, end: Instant) {
        self.sock.end = end;
    }
}

#[cfg(unix)]
pub(super) fn unix(
    path: &std::path::Path,
    end: Instant,
    connecting: &Arc<()>,
    closed: &Arc<AtomicBool>,
) -> io::Result<Box<dyn Stream>> {
    // With a full backlog connecting waits until the server accepts. Only one thread waits for that.
    if Arc::strong_count(connecting) > 1 {
        return Err(ErrorKind::TimedOut.into());
    }
    let connecting = connecting.clone();
    let path = path.to_owned();
    let left = end.saturating_duration_since(Instant::now());
    let socket = in_thread("oneaccess-unix", left, closed, move || {
        let socket = UnixStream::connect(path);
        drop(connecting);
        socket
    })??;
    let socket = TcpStream::from(OwnedFd::from(socket));
    Ok(Box::new(Timed { socket, end, closed: closed.clone() }))
}

pub(super) fn tcp(
    host: &str,
    port: u16,
    tls: Option<&TlsConfig>,
    end: Instant,
    closed: &Arc<AtomicBool>,
) -> io::Result<Box<dyn Stream>> {
    let left = end.saturating_duration_since(Instant::now());
    let addresses = look_up(host, port, left, closed)?;
    let socket = connect_any(&addresses, end)?;
    socket.set_nodelay(true)?;
    let timed = Timed { socket, end, closed: closed.clone() };
    let Some(tls) = tls else { return Ok(Box::new(timed)) };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(config(tls)?, name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, timed);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(Box::new(stream))
}

/// What ureq makes of the same settings.
fn config(tls: &TlsConfig) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    if let RootCerts::Specific(certificates) = tls.root_certs() {
        let ders = certificates.iter().map(|root| CertificateDer::from(root.der()));
        roots.add_parsable_certificates(ders);
    }
    let provider = rustls::crypto::ring::default_provider();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    Ok(Arc::new(match tls.client_cert() {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let chain = client.certs().iter();
            let chain = chain.map(|der| CertificateDer::from(der.der()).into_owned()).collect();
            let key = PrivateKeyDer::try_from(client.private_key().der().to_vec());
            let key = key.map_err(io::Error::other)?;
            builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
        }
    }))
}
