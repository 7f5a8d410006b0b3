//! The shared store in a Redis or Valkey server. Each entry is a key with a time to live, and a second
//! key for its lock, which ends by itself. The protocol is decoded by a library; the connection is ours,
//! with its deadline.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use zeroize::Zeroizing;

use super::entry::Age;
use super::seal::random;
use super::{Turn, check_length};
use crate::endpoint::parse_authority;
use crate::transport::{Stream, Transport};

/// All replies to one write together. The largest entry has 64 KiB.
const MAX_REPLY_BYTES: usize = (64 << 10) + 4096;
/// How long the server may delay a call before its request, and after it.
const MAX_DELAY: Duration = Duration::from_millis(250);
/// Of a call whose time is over, so that it can still leave its token and its lock.
const MIN_DELAY: Duration = Duration::from_millis(100);
pub(super) const SCHEMES: [&str; 6] =
    ["redis", "rediss", "redis+unix", "valkey", "valkeys", "valkey+unix"];
/// Takes the lock. A script like the others, so that a server without scripts gives no lock that could
/// not be released.
const LOCK: &str = "return redis.call('set',KEYS[1],ARGV[1],'nx','px',ARGV[2])";
/// Sets the entry if the lock is still held, and releases the lock.
const SAVE: &str = "if redis.call('get',KEYS[2])==ARGV[1] then \
    redis.call('set',KEYS[1],ARGV[2],'px',ARGV[3]) redis.call('del',KEYS[2]) return 1 end return 0";
/// Removes a key if it has this value.
const REMOVE: &str =
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) end return 0";

/// Where the server is, and how to sign in.
#[derive(Clone, PartialEq)]
pub(crate) struct Address {
    place: Place,
    user: Option<String>,
    password: Option<Zeroizing<String>>,
    database: u32,
}

#[derive(Clone, PartialEq)]
enum Place {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

impl Address {
    /// An error says what is allowed.
    pub fn parse(url: &str) -> Result<Address, &'static str> {
        const ALLOWED: &str = "redis://[user:password@]host[:port][/database], rediss:// for TLS, \
             redis+unix://[user:password@]/path[?db=number]; valkey likewise";
        let (scheme, rest) = url.split_once("://").ok_or(ALLOWED)?;
        let scheme = scheme.replace("valkey", "redis");
        let is_unix = scheme == "redis+unix";
        let (credentials, rest) = match rest.rsplit_once('@') {
            // A path may contain an @.
            Some((before, _)) if is_unix && before.starts_with('/') => ("", rest),
            Some(parts) => parts,
            None => ("", rest),
        };
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let user = decoded(user).ok_or(ALLOWED)?;
        let password = decoded(password).ok_or(ALLOWED)?;
        // Some programs take a lone word for the user, some for the password.
        if password.is_empty() && !user.is_empty() {
            return Err(ALLOWED);
        }
        let (place, database) = if is_unix {
            let (path, database) = rest.split_once("?db=").unwrap_or((rest, "0"));
            let path = Some(path).filter(|path| path.starts_with('/') && !path.contains('?'));
            let path = decoded(path.ok_or(ALLOWED)?).ok_or(ALLOWED)?;
            (Place::Unix(PathBuf::from(&*path)), database)
        } else {
            let tls = match scheme.as_str() {
                "redis" => false,
                "rediss" => true,
                _ => return Err(ALLOWED),
            };
            let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
            let (host, port) = parse_authority(authority).map_err(|_| ALLOWED)?;
            let host = host.trim_matches(['[', ']']).to_owned();
            let database = if database.is_empty() { "0" } else { database };
            (Place::Tcp { host, port: port.unwrap_or(6379), tls }, database)
        };
        Ok(Address {
            place,
            user: Some(user.to_string()).filter(|user| !user.is_empty()),
            password: Some(password).filter(|password| !password.is_empty()),
            database: database.parse().map_err(|_| ALLOWED)?,
        })
    }

    /// The same server at another address: one node of a cluster names another one.
    fn moved_to(&self, host: &str, port: u16) -> Address {
        let mut moved = self.clone();
        if let Place::Tcp { host: own, port: own_port, .. } = &mut moved.place {
            if !host.is_empty() {
                *own = host.to_owned();
            }
            *own_port = port;
        }
        moved
    }
}

fn decoded(text: &str) -> Option<Zeroizing<String>> {
    percent_decode_str(text).decode_utf8().ok().map(|text| Zeroizing::new(text.into_owned()))
}

/// Without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The server during one refresh.
pub(super) struct Server<'a> {
    transport: &'a Transport,
    address: Address,
    /// One connection for each refresh: none has to be kept, or to survive a fork.
    stream: Option<Box<dyn Stream>>,
    /// How long the server may delay the call before its request, or after it, and how much of that is
    /// left.
    time: Duration,
    left: Duration,
    /// Whether the address is one that a node of the cluster has named.
    is_moved: bool,
    /// After a failure.
    is_lost: bool,
    /// The key and the value of the lock while it is held.
    lock: Option<(String, String)>,
    /// The entry that was read last.
    found: Vec<u8>,
}

impl Server<'_> {
    /// For a refresh that may take `time`.
    pub fn new(transport: &Transport, address: Address, time: Duration) -> Server<'_> {
        let time = MAX_DELAY.min(time / 4);
        Server {
            transport,
            address,
            stream: None,
            time,
            left: time,
            is_moved: false,
            is_lost: false,
            lock: None,
            found: Vec::new(),
        }
    }

    fn remove_value(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        let command: &[&[u8]] = &[b"EVAL", REMOVE.as_bytes(), b"1", key.as_bytes(), value];
        self.run(&[command]).map(drop)
    }

    /// The error for a reply that fits no command of ours.
    fn lost(&mut self) -> io::Error {
        self.is_lost = true;
        malformed()
    }

    /// Sends the commands in one write, signs in first if there is no connection yet, and returns their
    /// replies. Follows one MOVED.
    fn run(&mut self, commands: &[&[&[u8]]]) -> io::Result<Vec<OwnedFrame>> {
        let start = Instant::now();
        let end = start + self.left;
        let mut replies = self.run_once(commands, end);
        if let Some((host, port)) = replies.as_ref().ok().and_then(|replies| moved(replies)) {
            self.address = self.address.moved_to(&host, port);
            self.is_moved = true;
            self.stream = None;
            replies = self.run_once(commands, end);
        }
        self.left = self.left.saturating_sub(start.elapsed());
        let replies = replies.and_then(|replies| match refusal(&replies, commands) {
            Some(refusal) => Err(refusal),
            None => Ok(replies),
        });
        self.is_lost = replies.is_err();
        replies.map_err(|error| match self.is_moved {
            true => io::Error::other(format!("its cluster names {}: {error}", self.address)),
            false => error,
        })
    }

    fn run_once(&mut self, commands: &[&[&[u8]]], end: Instant) -> io::Result<Vec<OwnedFrame>> {
        let database = self.address.database.to_string();
        let mut all: Vec<&[&[u8]]> = Vec::new();
        let (user, password) = (self.address.user.as_deref(), self.address.password.as_ref());
        let auth: Vec<&[u8]> = [Some("AUTH"), user, password.map(|text| text.as_str())]
            .into_iter()
            .flatten()
            .map(str::as_bytes)
            .collect();
        let select: [&[u8]; 2] = [b"SELECT", database.as_bytes()];
        if self.stream.is_none() {
            if password.is_some() {
                all.push(&auth);
            }
            if self.address.database != 0 {
                all.push(&select);
            }
            self.stream = Some(connect(self.transport, &self.address.place, end)?);
        }
        let first = all.len();
        all.extend(commands);
        let stream = self.stream.as_mut().expect("connected");
        stream.set_end(end);
        let sent = stream.write_all(&encode(&all)).and_then(|()| stream.flush());
        let replies = sent.and_then(|()| read_replies(stream, all.len()));
        let mut replies = replies.map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                io::Error::other("it closed the connection; does it expect TLS (rediss://)?")
            }
            _ => error,
        })?;
        if let Some(refusal) = refusal(&replies[..first], &all) {
            return Err(refusal);
        }
        Ok(replies.split_off(first))
    }
}

impl super::Place for Server<'_> {
    fn read(&mut self, name: &str) -> io::Result<Option<(Vec<u8>, Age)>> {
        let start = Instant::now();
        let key = key(name);
        let commands: [&[&[u8]]; 2] = [&[b"GET", key.as_bytes()], &[b"PTTL", key.as_bytes()]];
        match self.run(&commands)?.as_slice() {
            [OwnedFrame::BulkString(bytes), OwnedFrame::Integer(left)] => {
                self.found.clone_from(bytes);
                let left = Duration::from_millis(u64::try_from(*left).unwrap_or_default());
                let left = left.saturating_sub(start.elapsed());
                Ok(Some((bytes.clone(), Age::KeptFor(left))))
            }
            [OwnedFrame::Null, OwnedFrame::Integer(_)] => Ok(None),
            _ => Err(self.lost()),
        }
    }

    fn lock(&mut self, name: &str, lease: Duration) -> io::Result<Turn> {
        let random = random::<16>().ok_or_else(|| io::Error::other("no random numbers"))?;
        let value = random.map(|byte| format!("{byte:02x}")).concat();
        let (key, lease) = (lock_key(name), lease.as_millis().to_string());
        let command = ["EVAL", LOCK, "1", &key, &value, &lease].map(str::as_bytes);
        match self.run(&[&command])?.as_slice() {
            [OwnedFrame::SimpleString(_)] => {
                self.lock = Some((key, value));
                Ok(Turn::Ours)
            }
            [OwnedFrame::Null] => Ok(Turn::Others(None)),
            _ => Err(self.lost()),
        }
    }

    /// Releases the lock too, in the same step.
    fn write(&mut self, name: &str, bytes: &[u8], life: Duration) -> io::Result<()> {
        if life.as_millis() == 0 {
            return Ok(());
        }
        check_length(bytes)?;
        let Some((lock_key, lock)) = self.lock.take() else { return Ok(()) };
        let (key, life) = (key(name), life.as_millis().to_string());
        let texts = [SAVE, "2", &key, &lock_key, &lock];
        let mut command: Vec<&[u8]> = vec![b"EVAL"];
        command.extend(texts.map(str::as_bytes));
        command.extend([bytes, life.as_bytes()]);
        self.run(&[&command]).map(drop)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        match self.lock {
            Some(_) => {
                let found = std::mem::take(&mut self.found);
                self.remove_value(&key(name), &found)
            }
            None => Ok(()),
        }
    }

    fn pauses(&self) -> (Duration, Duration) {
        (Duration::from_millis(50), Duration::from_millis(500))
    }

    fn renew_time(&mut self, left: Duration) {
        self.left = self.time.min(left.max(MIN_DELAY));
    }

    fn is_lost(&self) -> bool {
        self.is_lost
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if let Some((key, value)) = self.lock.take().filter(|_| !self.is_lost) {
            // Otherwise the lock ends with its lease.
            let _ = self.remove_value(&key, value.as_bytes());
        }
    }
}

fn connect(transport: &Transport, place: &Place, end: Instant) -> io::Result<Box<dyn Stream>> {
    match place {
        Place::Tcp { host, port, tls } => transport.connect(host, *port, *tls, end),
        #[cfg(unix)]
        Place::Unix(path) => transport.connect_unix(path, end),
        #[cfg(not(unix))]
        Place::Unix(_) => Err(io::Error::other("Unix sockets are not supported on this system")),
    }
}

fn key(name: &str) -> String {
    format!("oneaccess:{{{name}}}")
}

fn lock_key(name: &str) -> String {
    format!("oneaccess:{{{name}}}:lock")
}

/// Each command as an array of its arguments. Not by the library, which would need libm for it. The
/// password may be among the arguments, so the buffer has its whole capacity from the start.
fn encode(commands: &[&[&[u8]]]) -> Zeroizing<Vec<u8>> {
    const MAX_HEAD: usize = 24; // a type, a length of up to 20 digits, a line break
    let arguments = commands.iter().flat_map(|command| command.iter());
    let room: usize = arguments.map(|argument| argument.len() + MAX_HEAD + 2).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(room + commands.len() * MAX_HEAD));
    for command in commands {
        bytes.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
        for argument in *command {
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    bytes
}

fn read_replies(stream: &mut impl Read, count: usize) -> io::Result<Vec<OwnedFrame>> {
    let mut replies = Vec::new();
    let mut bytes = Vec::with_capacity(4096);
    let mut piece = [0; 4096];
    while replies.len() < count {
        // No reply to our commands is an array. Arrays within arrays would be decoded recursively.
        if bytes.first().is_some_and(|first| !b"+-:$".contains(first)) {
            return Err(malformed());
        }
        match decode(&bytes).map_err(|_| malformed())? {
            Some((reply, length)) => {
                replies.push(reply);
                bytes.drain(..length);
            }
            None => match stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                amount if bytes.len() + amount > MAX_REPLY_BYTES => return Err(malformed()),
                amount => bytes.extend_from_slice(&piece[..amount]),
            },
        }
    }
    Ok(replies)
}

/// For the fuzzer: what a server may send.
#[cfg(fuzzing)]
pub fn fuzz_replies(mut bytes: &[u8]) {
    if let Ok(replies) = read_replies(&mut bytes, 2) {
        assert!(replies.iter().all(|reply| !matches!(reply, OwnedFrame::Array(_))));
        let _ = (moved(&replies), refusal(&replies, &[&[b"GET"], &[b"PTTL"]]));
    }
}

/// The other node that a node of a cluster names: `MOVED 3999 127.0.0.1:6381`.
fn moved(replies: &[OwnedFrame]) -> Option<(String, u16)> {
    replies.iter().find_map(|reply| match reply {
        OwnedFrame::Error(text) => {
            let (host, port) = text.strip_prefix("MOVED ")?.split_once(' ')?.1.rsplit_once(':')?;
            Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
        }
        _ => None,
    })
}

/// The first reply that refuses its command. Of its text only the code: the rest may quote what was sent.
fn refusal(replies: &[OwnedFrame], commands: &[&[&[u8]]]) -> Option<io::Error> {
    let (text, command) =
        replies.iter().zip(commands).find_map(|(reply, command)| match reply {
            OwnedFrame::Error(text) => Some((text, String::from_utf8_lossy(command[0]))),
            _ => None,
        })?;
    let code: String = text.split(' ').next().unwrap_or_default().chars().take(20).collect();
    // Redis 6 puts the code of a command that fails within a script into the text of its own.
    let within = ["READONLY", "OOM"].into_iter().find(|code| text.contains(code));
    let code = within.filter(|_| code == "ERR" && command == "EVAL").unwrap_or(&code);
    let advice = match (code, &*command) {
        ("NOAUTH" | "WRONGPASS", _) => {
            "set user and password in the URL: redis://user:password@host"
        }
        ("NOPERM", "SELECT") => "allow +select",
        ("NOPERM", _) => "allow ~oneaccess:* +get +set +del +pttl +eval",
        ("DENIED", _) => "it serves its own machine only (protected mode): give it a password",
        ("READONLY", _) => "it is a replica: name the primary server",
        ("MOVED" | "ASK" | "CLUSTERDOWN", _) => "the cluster is being changed",
        ("OOM", _) => "it is out of memory",
        ("LOADING" | "BUSY" | "TRYAGAIN", _) => "it is busy",
        ("ERR", _) if text.starts_with("ERR max number of clients") => {
            "it has too many connections"
        }
        ("ERR", "AUTH") => "it has no password, or no users: change the URL",
        ("ERR", "SELECT") => "it has no database of this number",
        ("ERR", "EVAL") => "it must allow scripts with get, set and del",
        _ => "see its log",
    };
    Some(io::Error::other(format!("it refused {command} with {code:?}; {advice}")))
}

fn malformed() -> io::Error {
    io::Error::other("it sent an invalid reply; is it a Redis server?")
}

#[cfg(test)]
#[path = "../../tests/store/redis.rs"]
mod tests;
