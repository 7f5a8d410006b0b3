//! Builds and starts the two programs, and sends them commands.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Instant;

use tempfile::TempDir;

use crate::support::tenant::Tenant;

pub const WHAT_TO_INSTALL: &str = "The C program needs libcurl and cJSON (Debian: apt install libcurl4-openssl-dev libcjson-dev).";

/// The timeout in milliseconds, the expiry margin in seconds (negative: the default), and whether to
/// trust the system's roots.
pub const OPEN: &str = "30000 -1 0";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    Ours,
    Peer,
}

/// A value for the library and, if it could be built, one for the C program.
#[derive(Default)]
pub struct Both<T> {
    pub ours: T,
    pub peer: Option<T>,
}

impl<T> Both<T> {
    pub fn map<U>(&self, change: impl Fn(&T) -> U) -> Both<U> {
        Both { ours: change(&self.ours), peer: self.peer.as_ref().map(change) }
    }

    pub fn ratio_of(&self, divide: impl Fn(&T, &T) -> f64) -> Option<f64> {
        Some(divide(&self.ours, self.peer.as_ref()?))
    }
}

impl<T> Both<Vec<T>> {
    pub fn extend(&mut self, more: Both<Vec<T>>) {
        self.ours.extend(more.ours);
        if let Some(peer) = more.peer {
            self.peer.get_or_insert_default().extend(peer);
        }
    }
}

impl Both<Vec<f64>> {
    /// The median of the ratios of the turns, so that other processes which disturb a few turns matter
    /// little.
    pub fn ratio(&self, divide: impl Fn(f64, f64) -> f64) -> Option<f64> {
        let turns = self.ours.iter().zip(self.peer.as_ref()?);
        Some(median(&turns.map(|(ours, peer)| divide(*ours, *peer)).collect::<Vec<_>>()))
    }
}

impl Both<Program> {
    pub fn each<T>(&mut self, mut work: impl FnMut(&mut Program) -> T) -> Both<T> {
        Both { ours: work(&mut self.ours), peer: self.peer.as_mut().map(work) }
    }

    pub fn alternate<T>(
        &mut self,
        turns: usize,
        mut work: impl FnMut(&mut Program) -> T,
    ) -> Both<Vec<T>> {
        let mut all = Both::default();
        for _ in 0..turns {
            let Both { ours, peer } = self.each(&mut work);
            all.extend(Both { ours: vec![ours], peer: peer.map(|peer| vec![peer]) });
        }
        all
    }
}

pub struct Programs {
    ours: PathBuf,
    peer: Option<PathBuf>,
    _folder: TempDir,
}

impl Programs {
    pub fn build() -> Programs {
        let folder = tempfile::tempdir().expect("a folder");
        let library = make_library();
        let run_path = format!("-Wl,-rpath,{}", library.parent().expect("its folder").display());
        let ours = compile("ours", folder.path(), &[library.as_ref(), run_path.as_ref()]);
        let peer = compile("peer", folder.path(), &["-lcurl".as_ref(), "-lcjson".as_ref()]);
        Programs {
            ours: ours.unwrap_or_else(|errors| panic!("{errors}")),
            peer: peer.map_err(|errors| eprintln!("{errors}{WHAT_TO_INSTALL}")).ok(),
            _folder: folder,
        }
    }

    pub fn have_peer(&self) -> bool {
        self.peer.is_some()
    }

    pub fn both<T>(&self, mut of: impl FnMut(Side) -> T) -> Both<T> {
        Both { ours: of(Side::Ours), peer: self.peer.as_ref().map(|_| of(Side::Peer)) }
    }

    pub fn at_once<T: Send>(&self, of: impl Fn(Side) -> T + Sync) -> Both<T> {
        let peer = || self.peer.as_ref().map(|_| of(Side::Peer));
        let (ours, peer) = at_once(|| of(Side::Ours), peer);
        Both { ours, peer }
    }

    pub fn start(&self, side: Side, tenant: &Tenant) -> Program {
        self.start_with(side, tenant, "ONEACCESS_CA_FILE", tenant.ca_file().into())
    }

    /// With one variable in the environment besides those that every program needs.
    pub fn start_with(
        &self,
        side: Side,
        tenant: &Tenant,
        variable: &str,
        value: OsString,
    ) -> Program {
        let program = match side {
            Side::Ours => &self.ours,
            Side::Peer => self.peer.as_ref().expect("it is started only if it was built"),
        };
        Program::start(side, program, tenant, variable, value)
    }

    /// Starts pairs of programs; each has got its first token.
    pub fn start_pairs(&self, pairs: usize, tenant: &Tenant) -> Vec<Both<Program>> {
        let start = |side| {
            let mut program = self.start(side, tenant);
            program.open_and_get(OPEN);
            program
        };
        (0..pairs).map(|_| self.both(start)).collect()
    }

    /// Like `Both::alternate`, with a new process for every turn.
    pub fn alternate<T>(
        &self,
        turns: usize,
        start: impl Fn(Side) -> Program,
        mut work: impl FnMut(&mut Program) -> T,
    ) -> Both<Vec<T>> {
        let mut all = Both::default();
        for _ in 0..turns {
            all.extend(self.both(|side| vec![work(&mut start(side))]));
        }
        all
    }

    /// The total size of the libraries that each program loads, without those of the C library.
    pub fn sizes(&self) -> Both<f64> {
        let size = |program: &PathBuf| {
            let output = Command::new("ldd").arg(program).output().expect("ldd");
            let output = String::from_utf8(output.stdout).expect("UTF-8");
            let libraries = output.lines().filter_map(|line| line.split_whitespace().nth(2));
            let c =
                |path: &str| ["/libc.", "/libm.", "/libpthread."].iter().any(|c| path.contains(c));
            let beyond = libraries.filter(|path| path.starts_with('/') && !c(path));
            beyond.map(|path| std::fs::metadata(path).expect("a library").len() as f64).sum()
        };
        Both { ours: size(&self.ours), peer: self.peer.as_ref().map(size) }
    }
}

/// The release build of the shared library, in the folder where cargo built this program.
fn make_library() -> PathBuf {
    let bench = std::env::current_exe().expect("this program");
    // target/release/deps/compare-…
    let target = bench.ancestors().nth(3).expect("a target folder");
    let name = concat!("liboneaccess.so.", env!("CARGO_PKG_VERSION"));
    let library = target.join("capi").join(name);
    let mut make = Command::new("make");
    make.args(["--silent", "-C", env!("CARGO_MANIFEST_DIR")]);
    make.arg(format!("TARGET_DIR={}", target.display())).arg(&library);
    assert!(make.status().expect("make").success(), "the library could not be built");
    library
}

/// The program, or the output of the compiler.
fn compile(name: &str, folder: &Path, with: &[&OsStr]) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = root.join("benches/compare");
    let program = folder.join(name);
    let mut compiler = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
    compiler.args(["-O2", "-Wall", "-Wextra", "-I"]).arg(root.join("include"));
    compiler.arg("-o").arg(&program).arg(sources.join("bench.c"));
    compiler.arg(sources.join(name).with_extension("c")).args(with).arg("-lpthread");
    let output = compiler.output().expect("a C compiler");
    match output.status.success() {
        true => Ok(program),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// A running process that executes commands, one per line. Dropping it ends the process.
pub struct Program {
    pub side: Side,
    pub started: Instant,
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Program {
    fn start(
        side: Side,
        program: &Path,
        tenant: &Tenant,
        variable: &str,
        value: OsString,
    ) -> Program {
        let mut command = Command::new(program);
        for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(proxy).env_remove(proxy.to_uppercase());
        }
        // By address, since libcurl resolves localhost without asking the system.
        let endpoint = tenant.endpoint().replace("localhost", "127.0.0.1");
        command
            .env_remove("LD_LIBRARY_PATH") // set by cargo
            .env_remove("ONEACCESS_CLIENT_SECRET_FILE")
            .env_remove("ONEACCESS_CA_FILE")
            .env_remove("ONEACCESS_STORE")
            .env("ONEACCESS_ENDPOINT", endpoint)
            .env("ONEACCESS_CLIENT_ID", tenant.client_id())
            .env("ONEACCESS_CLIENT_SECRET", tenant.client_secret())
            .env(variable, value)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let started = Instant::now();
        let mut process = command.spawn().expect("it starts");
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        Program { side, started, commands: process.stdin.take(), process, answers }
    }

    pub fn ask(&mut self, command: &str) -> Vec<i64> {
        let commands = self.commands.as_mut().expect("until it is dropped");
        commands.write_all(format!("{command}\n").as_bytes()).expect("it listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        let numbers = answer.split_whitespace().map(|number| number.parse().expect("a number"));
        numbers.collect()
    }

    /// Creates a client and gets its first token; returns the time in nanoseconds.
    pub fn open_and_get(&mut self, settings: &str) -> f64 {
        self.ask(&format!("open {settings}"))[0] as f64 + self.get()
    }

    /// Sends all commands; returns the time from the start to the end of the process in nanoseconds.
    pub fn run(mut self, commands: &str) -> f64 {
        let mut input = self.commands.take().expect("until it is dropped");
        input.write_all(commands.as_bytes()).expect("it listens");
        drop(input);
        assert!(self.process.wait().expect("its end").success());
        self.started.elapsed().as_nanos() as f64
    }

    /// Gets a token; returns the time in nanoseconds.
    pub fn get(&mut self) -> f64 {
        let answer = self.ask("get");
        assert!(answer[1] > 0, "{:?} got no token", self.side);
        answer[0] as f64
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.process.wait();
    }
}

pub fn at_once<T: Send, U>(one: impl FnOnce() -> T + Send, other: impl FnOnce() -> U) -> (T, U) {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join().expect("it worked"), other)
    })
}

pub fn median(figures: &[f64]) -> f64 {
    quantile(figures, 0.5)
}

pub fn quantile(figures: &[f64], share: f64) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    let index = (figures.len().saturating_sub(1) as f64 * share).round() as usize;
    figures.get(index).copied().unwrap_or(f64::NAN)
}
