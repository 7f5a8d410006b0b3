//! Runs a program against a mock tenant, or keeps a tenant running for a shell.

#[allow(dead_code)] // the integration tests use the rest
mod tenant;

use std::ffi::{OsStr, OsString};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use tenant::{Answer, Builder, Tenant};

const HELP: &str = "\
Usage: tenant [options] [program [argument...]]

Starts a stand-in OneAccess tenant on loopback and runs the program with ONEACCESS_ENDPOINT,
ONEACCESS_CLIENT_ID, ONEACCESS_CLIENT_SECRET and ONEACCESS_CA_FILE set for it, and with
ONEACCESS_TENANT_USERS_URL, the address of a management API that wants a token; ends with the
program's exit status. Without a program it prints these variables for a shell and stays.

  --life SECONDS    how long a token lives (default: 1800)
  --fresh           a new token for every request (default: the same one until it has expired)
  --answer STATUS   answer every token request with this HTTP status and an empty body
  --hang            never answer a token request
  --delay-ms N      answer every token request after so many milliseconds
  --plain-http      without TLS
  --help            print this text
";

fn main() -> ExitCode {
    match parse(std::env::args_os().skip(1)) {
        Ok(Some(order)) if order.command.is_empty() => stay(order),
        Ok(Some(order)) => run(order),
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

struct Order {
    builder: Builder,
    answer: Answer,
    command: Vec<OsString>,
}

impl Order {
    fn start(self) -> Tenant {
        let tenant = self.builder.start();
        tenant.always(self.answer);
        tenant
    }
}

/// None: help is wanted.
fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Order>, String> {
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
    Ok(Some(Order { builder, answer, command }))
}

fn number_for(option: Option<&str>, value: Option<OsString>) -> Result<u64, String> {
    let number = value.as_deref().and_then(OsStr::to_str).and_then(|text| text.parse::<u32>().ok());
    let option = option.unwrap_or_default();
    number.map(u64::from).ok_or_else(|| format!("{option} wants a whole number"))
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

fn run(mut order: Order) -> ExitCode {
    let command = std::mem::take(&mut order.command);
    let tenant = order.start();
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

/// As a shell tells it: a program killed by a signal has the signal's number plus 128.
fn exit_code(status: ExitStatus) -> ExitCode {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    let code = status.code().or(signal.map(|signal| 128 + signal));
    ExitCode::from(code.unwrap_or(1) as u8)
}

fn stay(order: Order) -> ExitCode {
    signals::block();
    let tenant = order.start();
    for (name, value) in variables(&tenant) {
        println!("export {name}='{}'", value.replace('\'', r"'\''"));
    }
    println!("# A tenant listens until Ctrl-C or kill {}.", std::process::id());
    signals::wait();
    ExitCode::SUCCESS
}

/// Keeps this process alive until it has removed the tenant's files.
#[cfg(unix)]
mod signals {
    use std::process::Child;
    use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

    static CHILD: AtomicI32 = AtomicI32::new(0);

    /// The child ends by a signal and we after it; a terminal's Ctrl-C has reached both already.
    pub fn leave_to(child: &Child) {
        extern "C" fn ignore(_: i32) {}
        extern "C" fn pass_on(signal: i32) {
            // SAFETY: a system call, allowed in a signal handler.
            unsafe { libc::kill(CHILD.load(SeqCst), signal) };
        }
        CHILD.store(child.id() as i32, SeqCst);
        // SAFETY: both handlers do nothing but what a signal handler may.
        unsafe {
            libc::signal(libc::SIGINT, ignore as extern "C" fn(i32) as libc::sighandler_t);
            libc::signal(libc::SIGTERM, pass_on as extern "C" fn(i32) as libc::sighandler_t);
        }
    }

    /// Before any thread starts: threads inherit what is blocked.
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
