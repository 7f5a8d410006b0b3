//! A TCP connection that tries all addresses in rounds and keeps its deadline.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use ureq::Timeout;
use ureq::unversioned::transport::time::Instant as UreqInstant;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};
use zeroize::Zeroizing;

use super::context::CLOSE_CHECK;
use super::explain::is_closed;
use crate::config::Config;

const FIRST_ROUND: Duration = Duration::from_millis(400);
const MAX_ROUND: Duration = Duration::from_secs(3);
const MAX_SOCKET_TIMEOUT: Duration = Duration::from_millis(200);
/// A TLS alert with its record header, and the change_cipher_spec record before it.
const MAX_ALERT_BYTES: usize = 64;

/// Connects in rounds of 0.4, 0.8, 1.6, 3, 3 … seconds. Each round tries every address, so that a first
/// address that drops packets delays the connection by little: with two addresses it has 0.2 s of the
/// first round. Between rounds a closed client is noticed.
#[derive(Debug)]
pub(super) struct Tcp {
    pub closed: Arc<AtomicBool>,
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
                Err(_) if self.closed.load(Ordering::Relaxed) => return Err(deadline.timeout()),
                Err(_) => round = (2 * round).min(MAX_ROUND),
            }
            // The operating system may report a timeout at once: without a pause this loop would spin.
            thread::sleep(CLOSE_CHECK.min(deadline.left()?));
        }
    }
}

/// One round: every address in turn. Each gets half of the time that is left, the last one all of it:
/// of 400 ms three addresses get 200, 100 and 100 ms.
pub(super) fn connect_any(addresses: &[SocketAddr], end: Instant) -> io::Result<TcpStream> {
    let mut refusal = None;
    let mut is_slow = false;
    for (index, address) in addresses.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        let is_last = index + 1 == addresses.len();
        let time = if is_last { left } else { left / 2 };
        let shortest = Duration::from_millis(1);
        match TcpStream::connect_timeout(address, time.max(shortest)) {
            Ok(stream) => return Ok(stream),
            // EAGAIN is not a timeout here: there was no local port for the connection.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => is_slow = true,
            Err(error) => refusal = Some(error),
        }
    }
    // An address that timed out may still connect in the next round, which gives it more time.
    match refusal {
        Some(error) if !is_slow => Err(error),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// macOS refuses to set a timeout (EINVAL) once the peer has closed, although its answer can still be
/// read.
pub(super) fn ignore_closed_on_macos(outcome: io::Result<()>) -> io::Result<()> {
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

/// When a request must end, even if bytes keep arriving.
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
        if left.is_zero() { Err(self.timeout()) } else { Ok(left) }
    }

    /// Linux ends a socket timeout late, by up to an eighth of it: 10 s may take 11.25 s. There a long wait
    /// is made of short ones. Windows does not guarantee a usable socket after a timeout, so there it is
    /// one wait.
    fn socket_timeout(&self) -> Result<Duration, ureq::Error> {
        let left = self.left()?;
        let is_linux = cfg!(any(target_os = "linux", target_os = "android"));
        Ok(if is_linux { left.min(MAX_SOCKET_TIMEOUT) } else { left })
    }

    fn timeout(&self) -> ureq::Error {
        ureq::Error::Timeout(self.reason)
    }
}

/// A connection that keeps its deadline; ureq's own restarts its timeout with every part. Output is
/// collected and sent when an answer is awaited, in as few packets as possible.
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    deadline: Deadline,
    buffers: LazyBuffers,
    unsent: Zeroizing<Vec<u8>>,
    /// Some of the output could not be sent, so nothing may be sent after it.
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
            ignore_closed_on_macos(
                self.stream.set_write_timeout(Some(self.deadline.socket_timeout()?)),
            )?;
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
            ignore_closed_on_macos(
                self.stream.set_read_timeout(Some(self.deadline.socket_timeout()?)),
            )?;
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
    /// After a failed handshake a TLS alert is still unsent, since no answer to it is awaited; it tells
    /// the server why. Anything longer is a request that timed out and must not be sent.
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
            // A server that refuses a request may answer and close before it has read all of it.
            Err(ureq::Error::Io(error)) if is_closed(&error) => match self.receive() {
                Ok(true) => Ok(true),
                _ => Err(error.into()),
            },
            Err(error) => Err(error),
        }
    }

    /// No connection is reused.
    fn is_open(&mut self) -> bool {
        false
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Socket")
    }
}
