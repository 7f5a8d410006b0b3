//! `cargo run --example tenant`: runs a program against a mock tenant, or runs a mock tenant for a
//! shell.

#[allow(dead_code)] // the integration tests use the rest
mod tenant;

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use lexopt::Parser;
use lexopt::prelude::*;
use tenant::{Answer, Builder, Tenant};

const HELP: &str = "\
Usage: tenant [options] [program [argument...]]

Starts a mock OneAccess tenant on a loopback port and runs the program with these environment
variables: ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, ONEACCESS_CLIENT_SECRET and ONEACCESS_CA_FILE.
Exits with the exit status of the program. Without a program, prints the variables for a shell and
runs until Ctrl-C. At the end, prints to standard error how many requests there were; meanwhile,
GET /requests on the same port returns these counts as JSON.

  --port N                listen on this port (default: a free one)
  --client-id ID          accept this client ID (default: a random one)
  --client-secret SECRET  accept this client secret (default: the environment variable
                          TENANT_CLIENT_SECRET, which keeps it out of the list of processes; or a
                          random one)
  --ca-file PATH          write the CA certificate to this file too
  --plain-http            use http:// instead of https://
  --users N               number of users that GET /api/v2/tenant/users lists (default: 2)
  --life SECONDS          lifetime of a token (default: 1800)
  --fresh                 issue a new token for every request (default: the same one until it
                          expires)
  --delay-ms N            delay the answer to every token request by N milliseconds
  --answers LIST          answers to the token requests, in order, for example 503,3xAPP.0003,ok;
                          the last one is repeated (default: ok). Each is
                            ok      what OneAccess answers: a token, or an error if the request is
                                    wrong
                            hang    no answer
                            STATUS  this HTTP status and an empty body
                            CODE    HTTP 400 with this error code of OneAccess, such as APP.0003
                          and may have a count: 3x503 is 503,503,503
  --help                  print this text
";

fn main() -> ExitCode {
    let options = match parse(Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprintln!("tenant: {mistake} (--help explains the options)");
            return ExitCode::from(2);
        }
    };
    let Options { builder, ca_file, answers, command } = options;
    if command.is_empty() {
        signals::block();
    }
    let tenant = match start(builder, ca_file, answers) {
        Ok(tenant) => tenant,
        Err(failure) => {
            eprintln!("tenant: {failure}");
            return ExitCode::FAILURE;
        }
    };
    if command.is_empty() { keep_running(&tenant) } else { run(&tenant, &command) }
}

struct Options {
    builder: Builder,
    ca_file: Option<PathBuf>,
    answers: Vec<Answer>,
    command: Vec<OsString>,
}

/// `None` for --help.
fn parse(mut parser: Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut builder = Tenant::builder();
    let secret = std::env::var_os("TENANT_CLIENT_SECRET").filter(|secret| !secret.is_empty());
    if let Some(secret) = secret {
        builder = builder.client_secret(&secret.string()?);
    }
    let (mut ca_file, mut answers, mut command) = (None, Vec::new(), Vec::new());
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => {
                builder = builder.port(number(&mut parser, "--port", 1..=65535)? as u16)
            }
            Long("client-id") => builder = builder.client_id(&text(&mut parser, "--client-id")?),
            Long("client-secret") => {
                builder = builder.client_secret(&text(&mut parser, "--client-secret")?);
            }
            Long("ca-file") => ca_file = Some(text(&mut parser, "--ca-file")?.into()),
            Long("plain-http") => builder = builder.plain_http(),
            Long("users") => {
                builder = builder.users(number(&mut parser, "--users", 0..=1_000_000)?)
            }
            Long("life") => {
                let seconds = number(&mut parser, "--life", 0..=31_536_000)?;
                builder = builder.life(Duration::from_secs(seconds.into()));
            }
            Long("fresh") => builder = builder.fresh_token_every_time(),
            Long("delay-ms") => {
                let milliseconds = number(&mut parser, "--delay-ms", 0..=86_400_000)?;
                builder = builder.delay(Duration::from_millis(milliseconds.into()));
            }
            Long("answers") => answers = answers_in(&text(&mut parser, "--answers")?)?,
            Long("help") => return Ok(None),
            Value(program) => {
                command.push(program);
                command.extend(parser.raw_args()?);
            }
            unknown => {
                let options = HELP.lines().filter_map(|line| line.strip_prefix("  --"));
                let names: Vec<_> = options.filter_map(|line| line.split(' ').next()).collect();
                let known = names.join(", --");
                return Err(format!("{}; the options are --{known}", unknown.unexpected()).into());
            }
        }
    }
    Ok(Some(Options { builder, ca_file, answers, command }))
}

fn text(parser: &mut Parser, option: &str) -> Result<String, lexopt::Error> {
    let value = parser.value().unwrap_or_default().string()?;
    if value.is_empty() {
        return Err(format!("{option} requires a value that is not empty").into());
    }
    Ok(value)
}

fn number(
    parser: &mut Parser,
    option: &str,
    allowed: RangeInclusive<u32>,
) -> Result<u32, lexopt::Error> {
    let value = parser.value().unwrap_or_default();
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.filter(|number| allowed.contains(number)).ok_or_else(|| {
        let (least, most) = (allowed.start(), allowed.end());
        format!("{option} requires a whole number from {least} to {most}").into()
    })
}

/// The answers of --answers: `3x503,ok`.
fn answers_in(list: &str) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    for item in list.split(',') {
        let counted = item.split_once('x').and_then(|(count, name)| {
            Some((count.parse().ok().filter(|count| (1..=10_000).contains(count))?, name))
        });
        let (count, name) = counted.unwrap_or((1, item));
        let answer = answer_named(name).ok_or_else(|| {
            format!(
                "--answers: \"{item}\" is not ok, hang, an HTTP status from 200 to 599 or an error \
                 code such as APP.0003, with or without a count from 1 to 10000, as in 3x503"
            )
        })?;
        answers.extend(std::iter::repeat_n(answer, count));
    }
    Ok(answers)
}

fn answer_named(name: &str) -> Option<Answer> {
    let is_in_code = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "._".contains(c);
    match name {
        "ok" => Some(Answer::Normal),
        "hang" => Some(Answer::Hang),
        code if code.contains('.') && code.chars().all(is_in_code) => {
            Some(Answer::vendor_error(code, "An error of the mock tenant"))
        }
        status => {
            let status = status.parse().ok().filter(|status| (200..=599).contains(status));
            status.map(Answer::status)
        }
    }
}

fn start(
    builder: Builder,
    ca_file: Option<PathBuf>,
    mut answers: Vec<Answer>,
) -> Result<Tenant, String> {
    let tenant = builder.try_start().map_err(|error| error.to_string())?;
    tenant.always(answers.pop().unwrap_or_default());
    answers.into_iter().for_each(|answer| tenant.next(answer));
    if let Some(path) = ca_file {
        std::fs::write(&path, tenant.ca_pem())
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(tenant)
}

fn variables(tenant: &Tenant) -> [(&'static str, String); 4] {
    [
        ("ONEACCESS_ENDPOINT", tenant.endpoint()),
        ("ONEACCESS_CLIENT_ID", tenant.client_id()),
        ("ONEACCESS_CLIENT_SECRET", tenant.client_secret()),
        ("ONEACCESS_CA_FILE", tenant.ca_file().display().to_string()),
    ]
}

fn run(tenant: &Tenant, command: &[OsString]) -> ExitCode {
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]).envs(variables(tenant)).env_remove("ONEACCESS_CLIENT_SECRET_FILE");
    for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
        child.env_remove(proxy).env_remove(proxy.to_uppercase());
    }
    // Set by `cargo run`. If the program is cargo too, they make it build ring again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || text == "OUT_DIR"
        {
            child.env_remove(&name);
        }
    }
    let status = child.spawn().and_then(|mut child| {
        signals::leave_to(&child);
        child.wait()
    });
    match status {
        Ok(status) => {
            print_counts(tenant);
            exit_code(status)
        }
        Err(error) => {
            eprintln!("tenant: cannot run {}: {error}", command[0].to_string_lossy());
            ExitCode::from(127)
        }
    }
}

fn print_counts(tenant: &Tenant) {
    let (requests, calls) = (tenant.requests(), tenant.management_calls());
    eprintln!("tenant: token requests: {requests}, management calls: {calls}");
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

fn keep_running(tenant: &Tenant) -> ExitCode {
    for (name, value) in variables(tenant) {
        println!("export {name}='{}'", value.replace('\'', r"'\''"));
    }
    println!("# The mock tenant runs until Ctrl-C or kill {}.", std::process::id());
    signals::wait();
    print_counts(tenant);
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
