//! A connection for the shared store: TCP or a Unix socket, with TLS if wanted. It ends at its deadline,
//! and when the client is closed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
#[cfg(unix)]
use std::{sync::mpsc, thread};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use ureq::tls::{RootCerts, TlsConfig};

use super::context::CLOSE_CHECK;
use super::lookup::look_up;
use super::tcp::connect_any;

/// Bytes in both directions.
pub(crate) trait Stream: Read + Write + Send {
    /// From now on every read and write ends at this instant.
    fn set_end(&mut self, end: Instant);
}

/// A socket that reads and writes until an instant.
struct Timed<S> {
    socket: S,
    end: Instant,
    closed: Arc<AtomicBool>,
}

/// What a TCP and a Unix socket have in common.
trait Socket: Read + Write + Send {
    fn set_timeouts(&self, time: Duration) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn set_timeouts(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

#[cfg(unix)]
impl Socket for UnixStream {
    fn set_timeouts(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

impl<S: Socket> Timed<S> {
    /// Repeats `step` until it has done something, in waits that are short enough to notice a close.
    fn until_done(
        &mut self,
        mut step: impl FnMut(&mut S) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.closed.load(Ordering::Relaxed) {
                return Err(ErrorKind::TimedOut.into());
            }
            self.socket.set_timeouts(left.min(CLOSE_CHECK))?;
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

impl<S: Socket> Read for Timed<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.until_done(|socket| socket.read(buffer))
    }
}

impl<S: Socket> Write for Timed<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.until_done(|socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Socket> Stream for Timed<S> {
    fn set_end(&mut self, end: Instant) {
        self.end = end;
    }
}

impl<S: Socket> Stream for StreamOwned<ClientConnection, Timed<S>> {
    fn set_end(&mut self, end: Instant) {
        self.sock.end = end;
    }
}

#[cfg(unix)]
pub(super) fn unix(
    path: &std::path::Path,
    end: Instant,
    closed: &Arc<AtomicBool>,
) -> io::Result<Box<dyn Stream>> {
    // In a thread of its own: with a full backlog connecting waits, and nothing can interrupt it.
    let (answer, answers) = mpsc::sync_channel(1);
    let path = path.to_owned();
    thread::Builder::new().name("oneaccess-unix".to_owned()).spawn(move || {
        // Fails if the caller has stopped waiting.
        let _ = answer.send(UnixStream::connect(path));
    })?;
    let left = end.saturating_duration_since(Instant::now());
    let socket = answers.recv_timeout(left).map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
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
