//! One TCP connection: parses requests, writes answers, and ends in every way a test needs.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{HandshakeKind, ServerConfig, ServerConnection};

use super::answer::{Answer, add_default_headers, find_header, render};
use super::request::{BODY_LIMIT, HEAD_LIMIT, Request, invalid};

/// What happens to the connection after an answer.
#[derive(PartialEq)]
pub enum Then {
    Continue,
    Close,
    Cut,
    Reset,
}

pub struct Connection {
    socket: Arc<TcpStream>,
    tls: Option<ServerConnection>,
    received: Vec<u8>,
}

impl Connection {
    pub fn new(socket: Arc<TcpStream>) -> Connection {
        let _ = socket.set_nodelay(true);
        Connection { socket, tls: None, received: Vec::new() }
    }

    pub fn start_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<HandshakeKind> {
        let tls = ServerConnection::new(config).map_err(io::Error::other)?;
        let tls = self.tls.insert(tls);
        while tls.is_handshaking() {
            tls.complete_io(&mut &*self.socket)?;
        }
        Ok(tls.handshake_kind().unwrap_or(HandshakeKind::Full))
    }

    pub fn serve(&mut self, mut answer_to: impl FnMut(Request) -> Answer) -> io::Result<Then> {
        let mut then = Then::Continue;
        while then == Then::Continue {
            then = match self.read_request() {
                Ok(Some(request)) => {
                    let keep_alive = request.keep_alive;
                    self.write_answer(answer_to(request), keep_alive)?
                }
                Ok(None) => Then::Close,
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    self.write_answer(Answer::html(400, &error.to_string()), false)?
                }
                Err(error) => return Err(error),
            };
        }
        Ok(then)
    }

    /// `None` if the client has closed the connection.
    fn read_request(&mut self) -> io::Result<Option<Request>> {
        self.socket.set_read_timeout(None)?;
        let (mut request, head_length, body_length) = loop {
            if let Some(head) = Request::parse_head(&self.received)? {
                break head;
            }
            if self.receive()? == 0 {
                return Ok(None);
            }
        };
        let length = head_length + body_length;
        while self.received.len() < length {
            if self.receive()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        request.body = self.received[head_length..length].to_vec();
        request.received_at = Instant::now();
        self.received.drain(..length);
        Ok(Some(request))
    }

    pub fn write_answer(&mut self, answer: Answer, keep_alive: bool) -> io::Result<Then> {
        match answer {
            Answer::Normal => unreachable!("decided when the request arrived"),
            Answer::Status { status, mut headers, body } => {
                add_default_headers(&mut headers, body.len(), keep_alive);
                self.send(&render(status, &headers, &body))?;
                match find_header(&headers, "Connection") {
                    Some(value) if value.eq_ignore_ascii_case("close") => Ok(Then::Close),
                    _ => Ok(Then::Continue),
                }
            }
            Answer::Raw(bytes) => self.send(&bytes).map(|()| Then::Close),
            Answer::Delayed(delay, answer) => {
                self.wait(Some(delay))?;
                self.write_answer(*answer, keep_alive)
            }
            Answer::Drip { bytes, every } => {
                for byte in bytes {
                    self.send(&[byte])?;
                    self.wait(Some(every))?;
                }
                Ok(Then::Close)
            }
            Answer::Cut { bytes } => self.send(&bytes).map(|()| Then::Cut),
            Answer::CloseAtAccept => Ok(Then::Cut),
            Answer::Reset | Answer::ResetAtAccept => Ok(Then::Reset),
            Answer::Hang | Answer::StallHandshake => self.wait(None).map(|()| Then::Cut),
        }
    }

    /// Waits for this time, or forever if it is `None`. Fails as soon as the client disconnects or the
    /// socket is shut down.
    fn wait(&mut self, pause: Option<Duration>) -> io::Result<()> {
        let until = pause.and_then(|pause| Instant::now().checked_add(pause));
        loop {
            let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
            if rest == Some(Duration::ZERO) {
                return Ok(());
            }
            self.socket.set_read_timeout(rest)?;
            match self.receive() {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) if self.received.len() > HEAD_LIMIT + BODY_LIMIT => {
                    return Err(invalid("Too many requests at once"));
                }
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let mut socket = &*self.socket;
        let length = match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut socket).read(&mut buffer)?,
            None => socket.read(&mut buffer)?,
        };
        self.received.extend_from_slice(&buffer[..length]);
        Ok(length)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut socket = &*self.socket;
        match &mut self.tls {
            Some(tls) => {
                let mut stream = rustls::Stream::new(tls, &mut socket);
                stream.write_all(bytes)?;
                stream.flush()
            }
            None => socket.write_all(bytes),
        }
    }

    /// The reset is sent when the last clone of the socket is dropped.
    pub fn finish(&mut self, then: Then) {
        let mut socket = &*self.socket;
        if then == Then::Reset {
            return reset_when_dropped(socket);
        }
        if let (Then::Close, Some(tls)) = (then, &mut self.tls) {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut socket);
        }
        let _ = socket.shutdown(Shutdown::Write);
        // Closing a socket with unread bytes resets the connection, and the client could lose the
        // answer: read the rest first.
        let _ = socket.set_read_timeout(Some(Duration::from_secs(1)));
        let _ = io::copy(&mut socket.take(BODY_LIMIT as u64), &mut io::sink());
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(unix)]
fn reset_when_dropped(socket: &TcpStream) {
    use std::os::fd::AsRawFd;
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    let value = (&raw const linger).cast();
    // SAFETY: `value` points to `length` bytes that outlive the call.
    unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, length);
    }
}

#[cfg(not(unix))]
fn reset_when_dropped(socket: &TcpStream) {
    let _ = socket.shutdown(Shutdown::Both);
}
