//! The shared store with real processes: N processes are one client, and whatever is wrong with the
//! store, they get their tokens.

#![cfg(target_os = "linux")]

mod support;

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use support::application::{self, ONE_HIT, ONE_REQUEST, PROGRAM, Process, all_equal, send, until};
use support::native::{has, skip, succeed};
use support::tenant::{Answer, Tenant};
use support::timeouts::{ends_in_time, ms, timed};
use tempfile::TempDir;

/// An application whose processes share a folder, which the first one makes.
struct Application<'a> {
    processes: application::Application<'a>,
    folder: TempDir,
}

impl<'a> Deref for Application<'a> {
    type Target = application::Application<'a>;

    fn deref(&self) -> &Self::Target {
        &self.processes
    }
}

impl<'a> Application<'a> {
    fn new(tenant: &'a Tenant) -> Application<'a> {
        let folder = TempDir::new().expect("a folder");
        let store = format!("file:{}", folder.path().join("store").display());
        Application { processes: application::Application { tenant, store }, folder }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
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

    /// A process that holds the lock and is stopped, since its request is not answered.
    fn stopped_holder(&self) -> Process {
        self.tenant.next(Answer::Hang);
        let holder = self.start(&["get"]);
        until(|| self.tenant.requests() == 1);
        holder.signal(libc::SIGSTOP);
        holder
    }
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
    let holder = application.stopped_holder();
    let printed = application.run_together(8, &["within=20000"]);
    all_equal(&printed, &tenant.current_token().expect("a token"));
    assert_eq!(tenant.requests(), 2);
    holder.signal(libc::SIGKILL);
}

/// What a holder that was stopped has to say then is of no use any more.
#[test]
fn late_failure_does_not_replace_a_newer_token() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    tenant.next(Answer::json(400, r#"{"error_code":"APP.0003"}"#).delayed(ms(300)));
    let holder = application.start(&["get"]);
    until(|| tenant.requests() == 1);
    holder.signal(libc::SIGSTOP);
    let token = application.run(&["within=20000"])[0].clone();
    holder.signal(libc::SIGCONT);
    assert!(holder.end()[0].starts_with("error 7 "), "the holder was denied");
    assert_eq!(application.run(&["get", "stats"]), [token.as_str(), ONE_HIT]);
}

/// Leases of 3 s, since no exchange time is known: the second lock is taken after 4 s, and overdue after
/// 8 s.
#[test]
fn slow_endpoint_gets_two_requests() {
    let tenant = Tenant::builder().delay(ms(9000)).start();
    let application = Application::new(&tenant);
    let printed = application.run_together(8, &["get"]);
    all_equal(&printed, &tenant.current_token().expect("a token"));
    assert_eq!(tenant.requests(), 2);
}

#[test]
fn little_time_is_kept_beside_a_stopped_holder() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    let holder = application.stopped_holder();
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

#[test]
fn refresh_that_waits_notes_one_failure() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    application.run(&["get"]);
    fs::write(application.entry(), "garbage").expect("written");
    tenant.next(Answer::Hang);
    let holder = application.start(&["get"]);
    until(|| tenant.requests() == 2);
    let printed = application.run(&["within=1000", "stats"]);
    assert_eq!(printed[1], "attempts 1, hits 0, failures 1");
    holder.signal(libc::SIGKILL);
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
    spoiled("Not a directory", |folder, _| {
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

/// As root, with a folder that belongs to another user.
fn folder_of_another_user(application: &Application) -> u32 {
    const OWNER: u32 = 12345;
    fs::create_dir(application.store()).expect("a folder");
    fs::set_permissions(application.store(), fs::Permissions::from_mode(0o700)).expect("chmod");
    std::os::unix::fs::chown(application.store(), Some(OWNER), None).expect("chown");
    OWNER
}

#[test]
fn what_root_writes_belongs_to_the_folders_owner() {
    if !is_root("to have a folder of another user") {
        return;
    }
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    let owner = folder_of_another_user(&application);
    assert_eq!(application.run(&["get", "error"])[1], "none");
    assert_eq!(application.run(&["get", "stats"])[1], ONE_HIT);
    let files = fs::read_dir(application.store()).expect("the folder");
    let owners: Vec<u32> = files.map(|file| file.unwrap().metadata().unwrap().uid()).collect();
    assert_eq!(owners, [owner, owner], "the entry and its lock");
}

/// The folder's owner gives root a file that is not his under the name of one of ours.
#[test]
fn root_touches_no_file_of_its_own_in_anothers_folder() {
    if !is_root("to have a folder of another user") {
        return;
    }
    for extension in ["", "lock", "new"] {
        let tenant = Tenant::start();
        let application = Application::new(&tenant);
        let owner = folder_of_another_user(&application);
        let token = application.run(&["get"])[0].clone();
        let entry = application.entry();
        let victim = application.folder.path().join("victim");
        fs::write(&victim, "root's").expect("a file");
        let linked = entry.with_extension(extension);
        fs::remove_file(&entry).expect("removed");
        let _ = fs::remove_file(&linked);
        fs::hard_link(&victim, &linked).expect("a link");
        assert_eq!(application.run(&["get"])[0], token);
        let found = victim.metadata().expect("the victim");
        assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o644), "{extension:?}, {owner}");
        assert_eq!(fs::read(&victim).expect("the victim"), b"root's", "{extension:?}");
    }
}

/// Somebody holds the lock, and puts something else in the place of its file.
#[test]
fn lock_file_is_read_without_waiting_and_bounded() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    application.run(&["get"]);
    let entry = application.entry();
    fs::remove_file(&entry).expect("removed");
    let path = entry.with_extension("lock");
    let lock = fs::File::options().write(true).open(&path).expect("the lock");
    lock.set_len(1 << 30).expect("a sparse file");
    // SAFETY: a system call on an open descriptor.
    assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }, 0);
    let printed = application.run(&["within=1000", "stats", "error"]);
    assert_eq!(printed[1..], [ONE_REQUEST, "none"]);
}

/// Writing beyond this limit would end the whole program with SIGXFSZ.
#[test]
fn process_that_may_write_no_files_is_not_killed() {
    let tenant = Tenant::start();
    let application = Application::new(&tenant);
    let command = application.command(&["get", "stats", "error"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 0; exec \"$@\"", "sh"]).arg(command.get_program());
    limited.args(command.get_args());
    for (name, value) in command.get_envs() {
        value.map(|value| limited.env(name, value));
    }
    let printed = Process::of(&mut limited).end();
    assert!(printed[1].starts_with("attempts 1, hits 0, failures "), "{printed:?}");
    assert!(printed[2].contains("ulimit -f"), "{printed:?}");
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
    assert!(message.contains("ONEACCESS_STORE is \"/run/app\"; allowed: file, file:"), "{message}");
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

/// What the request of a new secret brings is not sealed under the old one, though the refresh began
/// with that.
#[test]
fn secret_that_changes_meanwhile_is_not_mixed_up() {
    let old = "the old secret of this application";
    for from_file in [false, true] {
        let tenant = Tenant::builder().client_secret(old).start();
        let application = Application::new(&tenant);
        tenant.next(Answer::Hang);
        let holder = application.start(&["get"]);
        until(|| tenant.requests() == 1);
        let path = application.folder.path().join("secret");
        fs::write(&path, old).expect("a file");
        let mut config =
            support::config(&tenant).store(&format!("file:{}", application.store().display()));
        if from_file {
            config = config.client_secret_file(&path);
        }
        let client = oneaccess::Client::new(&config).expect("a client");
        std::thread::scope(|scope| {
            let call = scope.spawn(|| client.token());
            std::thread::sleep(ms(300));
            tenant.set_client_secret("the new one");
            match from_file {
                true => fs::write(&path, "the new one").expect("written"),
                false => client.set_client_secret("the new one").expect("a secret"),
            }
            holder.signal(libc::SIGKILL);
            call.join().expect("no panic").expect("a token");
        });
        assert_eq!(tenant.requests(), 2);
        let printed = application.run(&["get", "stats"]);
        assert!(!printed[0].contains("error 7 "), "with the new secret: {printed:?}");
        let mut command = application.command(&["get", "stats"]);
        let printed = Process::of(command.env("ONEACCESS_CLIENT_SECRET", old)).end();
        assert!(printed[0].starts_with("error 7 "), "from file: {from_file}: {printed:?}");
        assert_eq!(printed[1], ONE_REQUEST);
    }
}

#[test]
fn documentation_quotes_real_messages() {
    let root = support::native::root();
    let page = fs::read_to_string(root.join("docs/store.md")).expect("the page");
    let (_, table) = page.split_once("| message (after").expect("a table");
    let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    assert!(rows.len() > 5, "{rows:?}");
    let sources = [
        "src/os/private_folder.rs",
        "src/store/mod.rs",
        "src/store/folder.rs",
        "src/store/redis.rs",
    ];
    let code: String =
        sources.map(|path| fs::read_to_string(root.join(path)).expect(path)).concat();
    for row in rows {
        let (message, _) = row.split_once('`').expect("a message");
        let systems = ["No such file or directory", "Connection refused"];
        let is_the_systems = systems.contains(&message);
        assert!(is_the_systems || code.contains(message), "{message}");
    }
}
