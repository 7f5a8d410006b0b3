//! `cargo run --example tenant`: runs a program against a mock tenant, or runs a mock tenant for a
//! shell.

#[allow(dead_code)] // the integration tests use the rest
mod tenant;

use std::ffi::{OsStr, OsString};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use tenant::{Answer, Builder, Tenant};

const HELP: &str = "\
Usage: tenant [options] [program [argument...]]

Starts a mock OneAccess tenant on a loopback port and runs the program with these environment
variables: ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, ONEACCESS_CLIENT_SECRET, ONEACCESS_CA_FILE, and
ONEACCESS_TENANT_USERS_URL, the URL of a management API that requires a token. Exits with the exit
status of the program. Without a program, prints the variables for a shell and keeps running.

  --life SECONDS    lifetime of a token (default: 1800)
  --fresh           issue a new token for every request (default: the same one until it expires)
  --answer STATUS   answer every token request with this HTTP status and an empty body
  --hang            never answer a token request
  --delay-ms N      delay the answer to every token request by N milliseconds
  --plain-http      use http:// instead of https://
  --help            print this text
";

fn main() -> ExitCode {
    match parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) if options.command.is_empty() => keep_running(options),
        Ok(Some(options)) => run(options),
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(mistake) => {
            eprintln!("tenant: {mistake} (--help lists the options)");
            ExitCode::from(2)
        }
    }
}

struct Options {
    builder: Builder,
    answer: Answer,
    command: Vec<OsString>,
}

impl Options {
    fn start(self) -> Tenant {
        let tenant = self.builder.start();
        tenant.always(self.answer);
        tenant
    }
}

/// `None` for --help.
fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut builder = Tenant::builder();
    let mut answer = Answer::Normal;
    let mut command = Vec::new();
    while let Some(argument) = arguments.next() {
        let option = argument.to_str().filter(|text| text.starts_with('-'));
        let mut number = || number_for(option, arguments.next());
        match option {
            Some("--life") => builder = builder.life(Duration::from_secs(number()?)),
            Some("--delay-ms") => builder = builder.delay(Duration::from_millis(number()?)),
            Some("--fresh") => builder = builder.fresh_token_every_time(),
            Some("--plain-http") => builder = builder.plain_http(),
            Some("--hang") => answer = Answer::Hang,
            Some("--answer") => match number()? {
                status @ 200..=599 => answer = Answer::status(status as u16),
                status => return Err(format!("{status} is not an HTTP status from 200 to 599")),
            },
            Some("--help") => return Ok(None),
            Some(unknown) => return Err(format!("unknown option {unknown}")),
            None => {
                command.push(argument);
                command.extend(arguments.by_ref());
            }
        }
    }
    Ok(Some(Options { builder, answer, command }))
}

fn number_for(option: Option<&str>, value: Option<OsString>) -> Result<u64, String> {
    let number = value.as_deref().and_then(OsStr::to_str).and_then(|text| text.parse::<u32>().ok());
    let option = option.unwrap_or_default();
    number.map(u64::from).ok_or_else(|| format!("{option} requires a whole number"))
}

fn variables(tenant: &Tenant) -> [(&'static str, String); 5] {
    [
        ("ONEACCESS_ENDPOINT", tenant.endpoint()),
        ("ONEACCESS_CLIENT_ID", tenant.client_id()),
        ("ONEACCESS_CLIENT_SECRET", tenant.client_secret()),
        ("ONEACCESS_CA_FILE", tenant.ca_file().display().to_string()),
        ("ONEACCESS_TENANT_USERS_URL", tenant.users_url()),
    ]
}

fn run(mut options: Options) -> ExitCode {
    let command = std::mem::take(&mut options.command);
    let tenant = options.start();
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]).envs(variables(&tenant)).env_remove("ONEACCESS_CLIENT_SECRET_FILE");
    for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
        child.env_remove(proxy).env_remove(proxy.to_uppercase());
    }
    let status = child.spawn().and_then(|mut child| {
        signals::leave_to(&child);
        child.wait()
    });
    match status {
        Ok(status) => exit_code(status),
        Err(error) => {
            eprintln!("tenant: cannot run {}: {error}", command[0].to_string_lossy());
            ExitCode::from(127)
        }
    }
}

/// As in a shell: 128 plus the signal's number for a program that was killed by a signal.
fn exit_code(status: ExitStatus) -> ExitCode {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    let code = status.code().or(signal.map(|signal| 128 + signal));
    ExitCode::from(code.unwrap_or(1) as u8)
}

fn keep_running(options: Options) -> ExitCode {
    signals::block();
    let tenant = options.start();
    for (name, value) in variables(&tenant) {
        println!("export {name}='{}'", value.replace('\'', r"'\''"));
    }
    println!("# The mock tenant runs until Ctrl-C or kill {}.", std::process::id());
    signals::wait();
    ExitCode::SUCCESS
}

/// Handles signals so that this process can remove the tenant's files before it exits.
#[cfg(unix)]
mod signals {
    use std::process::Child;
    use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

    static CHILD: AtomicI32 = AtomicI32::new(0);

    /// Lets a signal end the child; this process exits after it. Ctrl-C in a terminal reaches both
    /// processes, so SIGINT is ignored here; SIGTERM is passed on.
    pub fn leave_to(child: &Child) {
        extern "C" fn ignore(_: i32) {}
        extern "C" fn pass_on(signal: i32) {
            // SAFETY: a system call, allowed in a signal handler.
            unsafe { libc::kill(CHILD.load(SeqCst), signal) };
        }
        CHILD.store(child.id() as i32, SeqCst);
        // SAFETY: both handlers are async-signal-safe.
        unsafe {
            libc::signal(libc::SIGINT, ignore as extern "C" fn(i32) as libc::sighandler_t);
            libc::signal(libc::SIGTERM, pass_on as extern "C" fn(i32) as libc::sighandler_t);
        }
    }

    /// Call this before any thread starts: threads inherit the signal mask.
    pub fn block() {
        // SAFETY: a system call with a set that outlives it.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &stopping(), std::ptr::null_mut()) };
    }

    pub fn wait() {
        let mut signal = 0;
        // SAFETY: a system call with places that outlive it.
        unsafe { libc::sigwait(&stopping(), &mut signal) };
    }

    fn stopping() -> libc::sigset_t {
        // SAFETY: sigemptyset makes any set a valid one.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                libc::sigaddset(&mut set, signal);
            }
            set
        }
    }
}

#[cfg(not(unix))]
mod signals {
    pub fn leave_to(_: &std::process::Child) {}
    pub fn block() {}
    pub fn wait() {
        loop {
            std::thread::park();
        }
    }
}
