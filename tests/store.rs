//! The shared store with real processes: N processes are one client, and whatever is wrong with the
//! store, they get their tokens.

#![cfg(target_os = "linux")]

mod support;

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use support::native::{Library, Program, has, skip, succeed, with_tenant};
use support::tenant::{Answer, Tenant};
use support::timeouts::{ends_in_time, ms, timed};
use tempfile::TempDir;

const ONE_REQUEST: &str = "attempts 1, hits 0, failures 0";
const ONE_HIT: &str = "attempts 0, hits 1, failures 0";

static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let flags = ["-std=gnu11", "-pthread"];
    Program::compile("cc", "tests/c/store.c", &flags, Library::Shared)
});

/// A folder for a store, and what processes that use it have in common.
struct Application<'a> {
    tenant: &'a Tenant,
    folder: TempDir,
}

impl<'a> Application<'a> {
    fn new(tenant: &'a Tenant) -> Application<'a> {
        let folder = TempDir::new().expect("a folder");
        Application { tenant, folder }
    }

    /// Made by the first process.
    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A process that carries out these commands of `tests/c/store.c`.
    fn command(&self, commands: &[&str]) -> Command {
        let mut command = PROGRAM.command();
        with_tenant(&mut command, self.tenant);
        command.args(commands).env("ONEACCESS_STORE", format!("file:{}", self.store().display()));
        command
    }

    fn start(&self, commands: &[&str]) -> Process {
        Process::of(&mut self.command(commands))
    }

    /// What a process prints.
    fn run(&self, commands: &[&str]) -> Vec<String> {
        self.start(commands).end()
    }

    /// What so many processes print that begin at the same time.
    fn run_together(&self, count: usize, commands: &[&str]) -> Vec<Vec<String>> {
        let commands = [&["wait"], commands].concat();
        let mut processes: Vec<Process> = (0..count).map(|_| self.start(&commands)).collect();
        processes.iter_mut().for_each(Process::close_input);
        processes.into_iter().map(Process::end).collect()
    }

    /// All that is in the folder, one after the other.
    fn content(&self) -> Vec<u8> {
        let files = fs::read_dir(self.store()).expect("the folder");
        files.flat_map(|file| fs::read(file.expect("a file").path()).expect("its bytes")).collect()
    }

    /// The file of the only entry.
    fn entry(&self) -> PathBuf {
        let files = fs::read_dir(self.store()).expect("the folder");
        let mut paths = files.map(|file| file.expect("a file").path());
        paths.find(|path| path.extension().is_none()).expect("an entry")
    }
}

struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn of(command: &mut Command) -> Process {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Process { input: child.stdin.take(), child, output }
    }

    fn close_input(&mut self) {
        self.input = None;
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// The lines that it has printed when it ends.
    fn end(mut self) -> Vec<String> {
        self.close_input();
        let lines: Vec<_> = self.output.lines().map(|line| line.expect("a line")).collect();
        assert!(self.child.wait().expect("its end").success(), "{lines:?}");
        lines
    }

    /// Sends a signal to the program that `timeout` runs.
    fn signal(&self, signal: libc::c_int) {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let child = fs::read_to_string(children).expect("a child");
        send(child.trim().parse().expect("a process id"), signal);
    }
}

fn send(process: libc::pid_t, signal: libc::c_int) {
    // SAFETY: a system call; the process is a child of this test's, and has not been waited for.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

/// Waits, for up to 20 s.
fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "the condition is still false");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn all_equal(lines: &[Vec<String>], expected: &str) {
    let tokens: HashSet<&str> = lines.iter().map(|lines| lines[0].as_str()).collect();
    assert_eq!(tokens, HashSet::from([expected]));
}

#[test]
fn sixty_four_processes_make_one_request() {
    let tenant = Tenant::builder().fresh_token_every_time().start();
    let application = Application::new(&tenant);
    let printed = application.run_together(64, &["get", "stats"]);
    all_equal(&printed, &tenant.current_token().expect("a token"));
    assert_eq!(tenant.requests(), 1);
    assert_eq!(printed.iter().filter(|lines| lines[1] == ONE_REQUEST).count(), 1);
    assert_eq!(printed.iter().filter(|lines| lines[1] == ONE_HIT).count(), 63);
}

#[test]
fn later_process_makes_no_request() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    let first = application.run(&["get"]);
    let second = application.run(&["within=0", "get", "stats", "error"]);
    assert!(second[0].starts_with("error 6 "), "a timeout of 0 does not look: {}", second[0]);
    assert_eq!(second[1..], [first[0].as_str(), ONE_HIT, "none"]);
    assert_eq!(tenant.requests(), 1);
}

#[test]
fn store_is_private_and_sealed() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    let token = application.run(&["get"])[0].clone();
    let content = application.content();
    for secret in [token.as_str(), &tenant.client_secret(), &tenant.client_id(), "access_token"] {
        let found = content.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
        assert!(!found, "{secret} can be read");
    }
    for path in [application.store(), application.entry()] {
        assert_eq!(path.metadata().expect("a file").permissions().mode() & 0o077, 0, "{path:?}");
    }
}

#[test]
fn another_identity_has_an_entry_of_its_own() {
    let tenant = Tenant::builder().fresh_token_every_time().start();
    let application = Application::new(&tenant);
    application.run(&["get"]);
    let endpoint = format!("https://127.0.0.1:{}", tenant.port());
    let others = [
        ("ONEACCESS_CLIENT_SECRET", "another"),
        ("ONEACCESS_CLIENT_ID", "another"),
        ("ONEACCESS_ENDPOINT", &endpoint),
        ("ONEACCESS_BASIC_AUTH", "true"),
        ("ONEACCESS_HEADERS", "X-tenant-id: 1"),
    ];
    for (number, (name, value)) in others.into_iter().enumerate() {
        let mut command = application.command(&["get", "stats"]);
        let printed = Process::of(command.env(name, value)).end();
        assert_eq!(printed[1], ONE_REQUEST, "{name}: {printed:?}");
        assert_eq!(tenant.requests(), number + 2);
    }
}

#[test]
fn killed_holder_costs_one_request() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    tenant.next(Answer::Hang);
    let holder = application.start(&["get"]);
    until(|| tenant.requests() == 1);
    let others: Vec<Process> = (0..8).map(|_| application.start(&["get"])).collect();
    holder.signal(libc::SIGKILL);
    let printed: Vec<_> = others.into_iter().map(Process::end).collect();
    all_equal(&printed, &tenant.current_token().expect("a token"));
    assert_eq!(tenant.requests(), 2);
}

#[test]
fn stopped_holder_costs_one_request() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    tenant.next(Answer::Hang);
    let holder = application.start(&["get"]);
    until(|| tenant.requests() == 1);
    holder.signal(libc::SIGSTOP);
    let printed = application.run_together(8, &["within=20000"]);
    all_equal(&printed, &tenant.current_token().expect("a token"));
    assert_eq!(tenant.requests(), 2);
    holder.signal(libc::SIGKILL);
}

#[test]
fn little_time_is_kept_beside_a_stopped_holder() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    tenant.next(Answer::Hang);
    let holder = application.start(&["get"]);
    until(|| tenant.requests() == 1);
    holder.signal(libc::SIGSTOP);
    // Half of its time it waits for the holder, then it requests a token itself.
    let printed = application.run(&["within=2000", "stats"]);
    assert_eq!(printed, [tenant.current_token().expect("a token").as_str(), ONE_REQUEST]);
    holder.signal(libc::SIGKILL);
}

/// Starts a process whose request hangs while it holds the lock and that then forks; returns both
/// process and child.
fn holder_with_a_child(application: &Application) -> (Process, libc::pid_t) {
    let requests = application.tenant.requests();
    let mut holder = application.start(&["forker", "get"]);
    until(|| application.tenant.requests() == requests + 1);
    holder.input.as_mut().expect("a pipe").write_all(b"\n").expect("written");
    let line = holder.line();
    let child = line.strip_prefix("forked ").expect("a child").parse().expect("a number");
    (holder, child)
}

#[test]
fn lock_is_released_though_a_forked_child_has_it() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    tenant.next(Answer::json(503, "{}").delayed(Duration::from_millis(500)));
    let (holder, child) = holder_with_a_child(&application);
    let holders = holder.end();
    assert_eq!(holders[0], tenant.current_token().expect("a token"));
    // The entry is gone, so this process needs the lock.
    fs::remove_file(application.entry()).expect("removed");
    let start = Instant::now();
    assert_eq!(application.run(&["get", "stats"])[1], ONE_REQUEST);
    assert!(start.elapsed() < Duration::from_secs(2), "it waited for the lock");
    assert!(!application.entry().with_extension("lock2").exists());
    send(child, libc::SIGKILL);
}

#[test]
fn second_lock_is_taken_if_a_child_keeps_the_first() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    tenant.next(Answer::Hang);
    let (holder, child) = holder_with_a_child(&application);
    holder.signal(libc::SIGKILL);
    let printed = application.run_together(4, &["within=20000"]);
    all_equal(&printed, &tenant.current_token().expect("a token"));
    assert_eq!(tenant.requests(), 2);
    assert!(application.entry().with_extension("lock2").exists());
    send(child, libc::SIGKILL);
}

#[test]
fn wrong_secret_costs_one_request_for_all() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    let mut wrong = application.command(&["wait", "get"]);
    wrong.env("ONEACCESS_CLIENT_SECRET", "wrong");
    let mut processes: Vec<Process> = (0..64).map(|_| Process::of(&mut wrong)).collect();
    processes.iter_mut().for_each(Process::close_input);
    let printed: Vec<_> = processes.into_iter().map(|process| process.end()[0].clone()).collect();
    assert!(printed.iter().all(|line| line.starts_with("error 7 ")), "{printed:?}");
    assert_eq!(printed.iter().filter(|line| line.starts_with("error 7 remembered ")).count(), 63);
    assert_eq!(tenant.requests(), 1);
    // The right secret is not affected.
    assert_eq!(application.run(&["get", "stats"])[1], ONE_REQUEST);
}

#[test]
fn failure_of_one_process_is_not_shared() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    let other = Tenant::start();
    let mut wrong_ca = application.command(&["get", "get", "stats"]);
    wrong_ca.env("ONEACCESS_CA_FILE", other.ca_file());
    let alone = Process::of(&mut wrong_ca).end();
    assert!(alone[0].starts_with("error 5 "), "{alone:?}");
    assert_eq!(application.run(&["get", "stats"])[1], ONE_REQUEST);
    // It needs no connection of its own any more.
    assert_eq!(Process::of(&mut wrong_ca).end()[2], ONE_HIT);
}

#[test]
fn server_failure_is_shared_until_its_retry_after() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    tenant.next(Answer::json(429, "{}").header("Retry-After", "600"));
    let first = application.run(&["get"]);
    assert!(first[0].starts_with("error 8 ") && !first[0].contains("remembered"), "{first:?}");
    let second = application.run(&["get", "stats"]);
    assert!(second[0].starts_with("error 8 remembered "), "{second:?}");
    assert_eq!((second[1].as_str(), tenant.requests()), (ONE_HIT, 1));
}

#[test]
fn rejected_by_all_processes_is_one_request() {
    let tenant = Tenant::builder().fresh_token_every_time().start();
    let application = Application::new(&tenant);
    let commands = ["get", "wait", "reject", "get"];
    let mut processes: Vec<Process> = (0..64).map(|_| application.start(&commands)).collect();
    let old: HashSet<String> = processes.iter_mut().map(Process::line).collect();
    assert_eq!((old.len(), tenant.requests()), (1, 1));
    processes.iter_mut().for_each(Process::close_input);
    let printed: Vec<_> = processes.into_iter().map(Process::end).collect();
    all_equal(&printed, &tenant.current_token().expect("a token"));
    assert!(!old.contains(&printed[0][0]));
    assert_eq!(tenant.requests(), 2);
    // A rejection of the old token that comes late changes nothing.
    assert_eq!(application.run(&["get", "stats"]), [printed[0][0].as_str(), ONE_HIT]);
}

/// The server hands out the same token again: the answer to one process counts for all.
#[test]
fn mistaken_rejections_are_one_request() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    let commands = ["get", "wait", "reject", "get", "reject", "get"];
    let mut processes: Vec<Process> = (0..64).map(|_| application.start(&commands)).collect();
    processes.iter_mut().for_each(|process| drop(process.line()));
    processes.iter_mut().for_each(Process::close_input);
    let printed: Vec<_> = processes.into_iter().map(Process::end).collect();
    all_equal(&printed, &tenant.current_token().expect("a token"));
    assert_eq!(tenant.requests(), 2);
}

#[test]
fn readers_beside_writers_see_whole_entries() {
    let life = Duration::from_secs(2);
    let tenant = Tenant::builder().life(life).fresh_token_every_time().start();
    let application = Application::new(&tenant);
    let commands: Vec<&str> = (0..40).flat_map(|_| ["get", "reject"]).chain(["error"]).collect();
    for mut lines in application.run_together(16, &commands) {
        assert_eq!(lines.pop().as_deref(), Some("none"));
        assert!(!lines.iter().any(|line| line.starts_with("error")), "{lines:?}");
    }
}

#[test]
fn damaged_entry_is_replaced() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    let token = application.run(&["get"])[0].clone();
    let whole = fs::read(application.entry()).expect("an entry");
    let mut flipped = whole.clone();
    flipped[40] ^= 1;
    let damaged = [Vec::new(), whole[..20].to_vec(), whole[..200].to_vec(), flipped, vec![0; 4096]];
    for (number, damaged) in damaged.into_iter().enumerate() {
        fs::write(application.entry(), damaged).expect("written");
        let printed = application.run(&["get", "stats", "error"]);
        assert_eq!(printed[0], token);
        assert!(printed[1].starts_with("attempts 1, hits 0, failures "), "{printed:?}");
        assert!(printed[2].contains("its entry is damaged"), "{printed:?}");
        assert_eq!(tenant.requests(), number + 2);
        assert_eq!(application.run(&["get", "stats"])[1], ONE_HIT);
    }
}

/// Whatever `spoil` does to the folder or the entry, a process gets its token with a request of its
/// own, soon, and says what is wrong with the store.
#[track_caller]
fn spoiled(why: &str, spoil: impl FnOnce(&Path, &Path)) {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    let token = application.run(&["get"])[0].clone();
    spoil(&application.store(), &application.entry());
    let start = Instant::now();
    let printed = application.run(&["get", "stats", "error"]);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(printed[0], token);
    assert!(printed[1].starts_with("attempts 1, hits 0, failures "), "{printed:?}");
    assert!(printed[2].contains(why), "{printed:?}");
}

#[test]
fn folder_that_others_can_write_to_is_refused() {
    spoiled("others can write to it", |folder, _| {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("chmod");
    });
}

#[test]
fn folder_that_is_missing_with_its_parent_is_refused() {
    spoiled("No such file or directory", |folder, _| {
        fs::remove_dir_all(folder.parent().expect("a parent")).expect("removed");
    });
}

#[test]
fn file_instead_of_the_folder_is_refused() {
    spoiled("it is not a folder", |folder, _| {
        fs::remove_dir_all(folder).expect("removed");
        fs::write(folder, "").expect("a file");
    });
}

#[test]
fn link_instead_of_the_entry_is_not_followed() {
    spoiled("Too many levels of symbolic links", |folder, entry| {
        let target = folder.join("target");
        fs::rename(entry, &target).expect("renamed");
        symlink(target, entry).expect("a link");
    });
}

#[test]
fn fifo_instead_of_the_entry_does_not_block() {
    spoiled("it is not a regular file", |_, entry| {
        fs::remove_file(entry).expect("removed");
        succeed(Command::new("mkfifo").arg(entry));
    });
}

#[test]
fn huge_entry_is_not_read() {
    spoiled("longer than 64 KiB", |_, entry| {
        fs::File::create(entry).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    });
}

#[test]
fn entry_of_another_user_is_refused() {
    if !is_root("to give a file to another user") {
        return;
    }
    spoiled("it belongs to another user", |_, entry| {
        std::os::unix::fs::chown(entry, Some(12345), None).expect("chown");
    });
}

#[test]
fn lock_file_that_is_a_link_is_not_followed() {
    spoiled("Too many levels of symbolic links", |folder, entry| {
        let lock = entry.with_extension("lock");
        fs::remove_file(&lock).expect("removed");
        fs::remove_file(entry).expect("removed");
        symlink(folder.join("target"), lock).expect("a link");
    });
}

fn is_root(why: &str) -> bool {
    // SAFETY: a system call that cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root {
        skip(&format!("needs root {why}"));
    }
    is_root
}

#[test]
fn full_disk_and_read_only_disk_cost_no_token() {
    if !is_root("to mount a file system") || !has("unshare", "util-linux") {
        return;
    }
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    fs::create_dir(application.store()).expect("a folder");
    let script = "mount -t tmpfs -o size=4k,mode=700 none \"$1\"
        if [ $2 = full ]; then head -c 4096 /dev/zero >\"$1/filler\"
        else mount -o remount,ro \"$1\"; fi
        shift 2; exec \"$@\"";
    for (state, why) in [("full", "No space left"), ("read-only", "Read-only file system")] {
        let command = application.command(&["get", "stats", "error"]);
        let mut unshared = Command::new("unshare");
        unshared.args(["--mount", "sh", "-euc", script, "sh"]).arg(application.store()).arg(state);
        unshared.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            value.map(|value| unshared.env(name, value));
        }
        let printed = Process::of(&mut unshared).end();
        assert!(printed[1].starts_with("attempts 1, hits 0, failures "), "{state}: {printed:?}");
        assert!(printed[2].contains(why), "{state}: {printed:?}");
    }
}

#[test]
fn default_folder_is_the_users_cache() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    let home = application.folder.path().join("home");
    let caches = application.folder.path().join("caches");
    for (xdg, expected) in
        [("", home.join(".cache/oneaccess")), (caches.to_str().unwrap(), caches.join("oneaccess"))]
    {
        let mut command = application.command(&["get", "error"]);
        command.env("ONEACCESS_STORE", "file").env("HOME", &home).env("XDG_CACHE_HOME", xdg);
        assert_eq!(Process::of(&mut command).end()[1], "none");
        assert_eq!(expected.metadata().expect("made").permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn malformed_store_is_a_mistake() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    let mut command = application.command(&["get"]);
    let output = command.env("ONEACCESS_STORE", "/run/app").output().expect("it starts");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("ONEACCESS_STORE is \"/run/app\"; allowed: file, or file:"),
        "{message}"
    );
}

#[test]
fn warm_process_opens_no_socket_and_no_certificates() {
    if !has("strace", "strace") {
        return;
    }
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    application.run(&["get"]);
    let log = application.folder.path().join("log");
    let command = application.command(&["get", "stats"]);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-e", "trace=socket,openat,clone,clone3", "-o"]).arg(&log);
    traced.arg(PROGRAM.path()).args(["get", "stats"]).env_remove("ONEACCESS_CA_FILE");
    for (name, value) in command.get_envs().filter(|(name, _)| *name != "ONEACCESS_CA_FILE") {
        value.map(|value| traced.env(name, value));
    }
    assert_eq!(Process::of(&mut traced).end()[1], ONE_HIT);
    let calls = fs::read_to_string(log).expect("the log");
    assert!(calls.contains(application.store().to_str().expect("UTF-8")), "{calls}");
    for unwanted in ["socket(", "clone", "/ssl/", "/certs", ".pem"] {
        assert!(!calls.contains(unwanted), "{unwanted}: {calls}");
    }
}

/// The deadline holds whatever is wrong with the store, and whatever time there is.
#[test]
fn deadlines_hold_with_a_spoiled_store() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 4] = [
        ("removed", |entry| fs::remove_file(entry).expect("removed")),
        ("garbage", |entry| fs::write(entry, "garbage").expect("written")),
        ("fifo", |entry| {
            fs::remove_file(entry).expect("removed");
            succeed(Command::new("mkfifo").arg(entry));
        }),
        ("no folder", |entry| {
            fs::remove_dir_all(entry.parent().expect("a folder")).expect("removed")
        }),
    ];
    for (name, spoil) in spoils {
        let tenant = Tenant::start();
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("store");
        let config = support::config(&tenant).store(&format!("file:{}", path.display()));
        oneaccess::Client::new(&config).expect("a client").token().expect("a token");
        let mut files = fs::read_dir(&path).expect("the folder").map(|file| file.unwrap().path());
        let entry = files.find(|path| path.extension().is_none()).expect("an entry");
        spoil(&entry);
        tenant.always(Answer::Hang);
        for limit in [ms(50), ms(400), ms(2000)] {
            ends_in_time(&config, limit, "");
            println!("{name}");
        }
    }
}

/// Another process that hangs holds the lock.
#[test]
fn deadlines_hold_while_another_process_hangs() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    tenant.always(Answer::Hang);
    let holder = application.start(&["get"]);
    until(|| tenant.requests() == 1);
    let config = support::config(&tenant).store(&format!("file:{}", application.store().display()));
    for limit in [ms(50), ms(400), ms(2000), ms(6000)] {
        ends_in_time(&config, limit, "");
    }
    holder.signal(libc::SIGKILL);
}

/// A client that is closed while it waits for another process ends at once.
#[test]
fn close_ends_the_wait_for_another_process() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    tenant.always(Answer::Hang);
    let holder = application.start(&["get"]);
    until(|| tenant.requests() == 1);
    let config = support::config(&tenant).store(&format!("file:{}", application.store().display()));
    let client = oneaccess::Client::new(&config).expect("a client");
    std::thread::scope(|scope| {
        let call = scope.spawn(|| timed(|| client.token()));
        std::thread::sleep(ms(300));
        client.close();
        let (outcome, took) = call.join().expect("no panic");
        assert_eq!(outcome.expect_err("closed").kind(), oneaccess::ErrorKind::Closed);
        assert!(took < ms(1000), "{took:?}");
    });
    assert_eq!(tenant.requests(), 1);
    holder.signal(libc::SIGKILL);
}

#[test]
fn documentation_quotes_real_messages() {
    let root = support::native::root();
    let page = fs::read_to_string(root.join("docs/store.md")).expect("the page");
    let (_, table) = page.split_once("| message (after").expect("a table");
    let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    assert!(rows.len() > 5, "{rows:?}");
    let sources = ["src/os/file_lock.rs", "src/store/mod.rs", "src/store/folder.rs"];
    let code: String =
        sources.map(|path| fs::read_to_string(root.join(path)).expect(path)).concat();
    for row in rows {
        let (message, _) = row.split_once('`').expect("a message");
        let is_the_systems = message == "No such file or directory";
        assert!(is_the_systems || code.contains(message), "{message}");
    }
}
