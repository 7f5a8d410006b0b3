//! Servers that send wrong bytes, or stop sending, each on its own loopback port.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Calls a function with every connection, each in its own thread.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    connections: AtomicUsize,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Server {
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let serve = Arc::new(serve);
        let acceptors = shared.clone();
        let acceptor = thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if acceptors.stopping.load(SeqCst) {
                    return;
                }
                acceptors.connections.fetch_add(1, SeqCst);
                acceptors.sockets.lock().unwrap().push(socket.try_clone().expect("a clone"));
                let serve = serve.clone();
                let close = acceptors.clone();
                thread::spawn(move || {
                    let address = socket.peer_addr().ok();
                    serve(socket);
                    // The clone in `sockets` would keep the connection open.
                    let other = |socket: &TcpStream| socket.peer_addr().ok() != address;
                    close.sockets.lock().unwrap().retain(other);
                });
            }
        });
        Server { address, shared, acceptor: Some(acceptor) }
    }

    /// Accepts connections and never sends a byte.
    pub fn silent() -> Server {
        Server::start(|socket| drain(&socket))
    }

    /// Sends these bytes once the client has sent its request, then closes.
    pub fn saying(bytes: &[u8]) -> Server {
        let bytes = bytes.to_vec();
        Server::start(move |mut socket| {
            let pause = Some(Duration::from_millis(20));
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.set_read_timeout(pause);
            drain(&socket);
            let _ = socket.write_all(&bytes);
            let _ = socket.shutdown(Shutdown::Write);
            let _ = socket.set_read_timeout(None);
            drain(&socket);
        })
    }

    /// Waits for bytes of the client before each of these replies, then closes.
    pub fn replying(replies: &[&[u8]]) -> Server {
        let replies: Vec<Vec<u8>> = replies.iter().map(|reply| reply.to_vec()).collect();
        Server::start(move |mut socket| reply_in_turn(&mut socket, &replies))
    }

    /// Like `replying`, then forwards the connection to another port, as a proxy does.
    pub fn tunnel(replies: &[&[u8]], port: u16) -> Server {
        let replies: Vec<Vec<u8>> = replies.iter().map(|reply| reply.to_vec()).collect();
        Server::start(move |mut client| {
            reply_in_turn(&mut client, &replies);
            if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                carry(&client, &server, Fault::None, &Mutex::default(), &AtomicUsize::default());
            }
        })
    }

    /// Sends these bytes one by one, repeatedly, and closes after five seconds.
    pub fn dripping(bytes: &[u8], every: Duration) -> Server {
        let bytes = bytes.to_vec();
        Server::start(move |mut socket| {
            let end = Instant::now() + Duration::from_secs(5);
            for byte in bytes.iter().cycle() {
                thread::sleep(every);
                if Instant::now() > end || socket.write_all(&[*byte]).is_err() {
                    return;
                }
            }
        })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, SeqCst);
        if TcpStream::connect(self.address).is_ok() {
            let _ = self.acceptor.take().map(JoinHandle::join);
        }
        for socket in self.shared.sockets.lock().unwrap().iter() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn reply_in_turn(socket: &mut TcpStream, replies: &[Vec<u8>]) {
    for reply in replies {
        let received = socket.read(&mut [0; 4096]).is_ok_and(|length| length > 0);
        if !received || socket.write_all(reply).is_err() {
            return;
        }
    }
}

fn drain(mut socket: &TcpStream) {
    while socket.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {}
}

/// A port on which connecting times out: its accept queue is full, so Linux drops new packets.
pub struct Blackhole {
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
    address: SocketAddr,
}

impl Blackhole {
    pub fn new() -> Blackhole {
        Blackhole::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    pub fn at(address: SocketAddr) -> Blackhole {
        let listener = TcpListener::bind(address).expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        // SAFETY: a system call on an open socket.
        unsafe { libc::listen(listener.as_raw_fd(), 0) };
        let mut queued = Vec::new();
        while let Ok(socket) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            queued.push(socket);
        }
        Blackhole { _listener: listener, _queued: queued, address }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}

/// What a relay does to the bytes that it forwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// Forwards so many bytes to the client, then none, and keeps the connection open.
    Stall(usize),
    /// Closes after forwarding so many bytes to the client.
    Cut(usize),
    /// Resets the connection after forwarding so many bytes to the client.
    Reset(usize),
    /// Flips a bit of the byte at this offset.
    Corrupt(usize),
    /// Forwards so many bytes, then one at a time with this pause.
    Drip(usize, Duration),
    /// Stops reading from the client after so many bytes.
    Deaf(usize),
    /// Reads slowly from the client after so many bytes: pauses after each small piece.
    Sip(usize, Duration),
}

/// Forwards connections to a server, with a fault, and records all bytes from the client.
pub struct Relay {
    pub server: Server,
    from_client: Arc<Mutex<Vec<u8>>>,
    to_client: Arc<AtomicUsize>,
}

impl Relay {
    pub fn to(port: u16, fault: Fault) -> Relay {
        let from_client = Arc::<Mutex<Vec<u8>>>::default();
        let to_client = Arc::<AtomicUsize>::default();
        let (seen, count) = (from_client.clone(), to_client.clone());
        let server = Server::start(move |client| {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
                return;
            };
            carry(&client, &server, fault, &seen, &count);
        });
        Relay { server, from_client, to_client }
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    pub fn client_bytes(&self) -> Vec<u8> {
        self.from_client.lock().unwrap().clone()
    }

    /// Number of bytes that the server has sent so far.
    pub fn to_client(&self) -> usize {
        self.to_client.load(SeqCst)
    }
}

fn carry(
    client: &TcpStream,
    server: &TcpStream,
    fault: Fault,
    seen: &Mutex<Vec<u8>>,
    count: &AtomicUsize,
) {
    thread::scope(|scope| {
        scope.spawn(|| upstream(client, server, fault, seen));
        downstream(server, client, fault, count);
        // End the other direction too.
        let _ = server.shutdown(Shutdown::Both);
        if !matches!(fault, Fault::Reset(_)) {
            let _ = client.shutdown(Shutdown::Both);
        }
    });
}

fn upstream(mut client: &TcpStream, mut server: &TcpStream, fault: Fault, seen: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    let mut passed = 0;
    if let Fault::Deaf(_) | Fault::Sip(..) = fault {
        set_receive_buffer(client);
    }
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        seen.lock().unwrap().extend_from_slice(&buffer[..length]);
        passed += length;
        if server.write_all(&buffer[..length]).is_err() {
            break;
        }
        match fault {
            Fault::Deaf(after) if passed >= after => return wait_for_end(client),
            Fault::Sip(after, pause) if passed >= after => thread::sleep(pause),
            _ => {}
        }
    }
    let _ = server.shutdown(Shutdown::Write);
}

fn downstream(mut server: &TcpStream, client: &TcpStream, fault: Fault, count: &AtomicUsize) {
    let mut buffer = [0; 4096];
    let mut passed = 0;
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        let bytes = &mut buffer[..length];
        // Counted before the client can react to them.
        count.fetch_add(length, SeqCst);
        if !pass(client, bytes, passed, fault) {
            return;
        }
        passed += length;
    }
}

/// Returns whether the connection continues.
fn pass(mut client: &TcpStream, bytes: &mut [u8], passed: usize, fault: Fault) -> bool {
    let before = |place: usize| place.saturating_sub(passed).min(bytes.len());
    match fault {
        Fault::Stall(after) | Fault::Cut(after) | Fault::Reset(after) => {
            let good = before(after);
            let sent = client.write_all(&bytes[..good]).is_ok();
            if good == bytes.len() {
                return sent;
            }
            match fault {
                Fault::Stall(_) => wait_for_end(client),
                Fault::Reset(_) => reset(client),
                _ => {}
            }
            false
        }
        Fault::Corrupt(place) => {
            let index = before(place);
            if place >= passed && index < bytes.len() {
                bytes[index] ^= 0x10;
            }
            client.write_all(bytes).is_ok()
        }
        Fault::Drip(after, every) => {
            let (first, rest) = bytes.split_at(before(after));
            client.write_all(first).is_ok()
                && rest.iter().all(|byte| {
                    thread::sleep(every);
                    client.write_all(&[*byte]).is_ok()
                })
        }
        Fault::None | Fault::Deaf(_) | Fault::Sip(..) => client.write_all(bytes).is_ok(),
    }
}

/// Waits until the other side has closed, without reading.
fn wait_for_end(socket: &TcpStream) {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one valid pollfd that outlives the call.
    unsafe { libc::poll(&mut poll, 1, 60_000) };
}

/// Makes the connection end with a reset when the last clone of the socket is dropped.
pub fn reset(socket: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(socket, libc::SO_LINGER, &linger);
    let _ = socket.shutdown(Shutdown::Read);
}

fn set_receive_buffer(socket: &TcpStream) {
    let smallest: libc::c_int = 1;
    set_option(socket, libc::SO_RCVBUF, &smallest);
}

fn set_option<T>(socket: &TcpStream, option: libc::c_int, value: &T) {
    let length = size_of::<T>() as libc::socklen_t;
    let value: *const T = value;
    // SAFETY: `value` points to `length` bytes that outlive the call.
    unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value.cast(), length);
    }
}
