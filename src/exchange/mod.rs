//! One request for a token (client credentials grant, RFC 6749, section 4.4): sends the form, returns
//! a `Grant` or an `Error`.

mod answer;
mod json;
mod page;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use zeroize::{Zeroize, Zeroizing};

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::file;
use crate::os::Snapshot;
use crate::redact::Redactor;
use crate::secret::{base64, percent_encode};
use crate::token::{Grant, Token};
use crate::transport::{Reply, Transport};
use answer::Interpreter;
#[cfg(fuzzing)]
pub use answer::fuzz_answer;

/// What a form leaves unencoded besides letters and digits
/// (`application/x-www-form-urlencoded`, as in the WHATWG URL standard).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');
const MAX_SECRET_BYTES: usize = 64 << 10;

type Secret = Zeroizing<String>;

/// Requests tokens from the token endpoint. No lock is held during a request.
pub(crate) struct Exchange {
    config: Arc<Config>,
    transport: Transport,
    secret: Snapshot<Secret>,
    /// See `last_secret()`.
    last_secret: Mutex<Secret>,
}

impl Exchange {
    /// Reads and checks the configured files; sends nothing.
    pub fn new(config: Arc<Config>) -> Result<Exchange, Error> {
        let transport = Transport::new(config.clone())?;
        if let Some(path) = &config.client_secret_file {
            read_secret(path)?;
        }
        Ok(Exchange {
            secret: Snapshot::new(config.client_secret.clone()),
            config,
            transport,
            last_secret: Mutex::default(),
        })
    }

    /// A copy for the child process after a fork. It shares no lock and no connection: another thread
    /// of the parent may have held the lock, and both processes would write to the connection.
    pub fn for_child(&self) -> Exchange {
        Exchange {
            config: self.config.clone(),
            transport: self.transport.for_child(),
            secret: Snapshot::new(Secret::clone(&self.secret.get())),
            last_secret: Mutex::default(),
        }
    }

    pub fn set_secret(&self, secret: &str) -> Result<(), Error> {
        if let Some(path) = &self.config.client_secret_file {
            let path = path.display();
            let why = format!("the client secret is read from {path}: change that file instead");
            return Err(Error::new(ErrorKind::Argument, why));
        }
        if secret.is_empty() {
            return Err(Error::new(ErrorKind::Argument, "the new client_secret is empty"));
        }
        let mut last = self.lock_last_secret();
        self.secret.set(Zeroizing::new(secret.to_owned()));
        last.zeroize();
        Ok(())
    }

    /// Whether the secret file now contains another secret than the one the last request used.
    pub fn secret_file_changed(&self) -> bool {
        let Some(path) = &self.config.client_secret_file else {
            return false;
        };
        let used = self.last_secret();
        read_secret(path).is_ok_and(|secret| secret != used)
    }

    /// Interrupts the requests in progress and prevents new ones.
    pub fn close(&self) {
        self.transport.close();
    }

    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Makes one request; blocks for `timeout` at most. `cached` is hidden in error messages: a
    /// server that complains about a token may quote it.
    pub fn request(&self, timeout: Duration, cached: Option<&Token>) -> Result<Grant, Error> {
        let secret = self.current_secret()?;
        let reply = self.send(&secret, timeout)?;
        let interpreter = Interpreter {
            host: self.config.endpoint.host_and_port(),
            redactor: Redactor {
                client_id: &self.config.client_id,
                secret: &secret,
                latest_token: cached,
                headers: &self.config.headers,
            },
        };
        interpreter.interpret(reply)
    }

    /// The secret to use now.
    pub fn current_secret(&self) -> Result<Secret, Error> {
        let Some(path) = &self.config.client_secret_file else {
            let mut last = self.lock_last_secret();
            *last = Secret::clone(&self.secret.get());
            return Ok(last.clone());
        };
        let secret = read_secret(path);
        // After a failure it is empty, so that any secret that can be read counts as changed.
        let last = secret.as_ref().cloned().unwrap_or_default();
        *self.lock_last_secret() = last;
        secret
    }

    /// What `current_secret` returned last; empty if that was an error, or has been replaced.
    pub fn last_secret(&self) -> Secret {
        self.lock_last_secret().clone()
    }

    fn lock_last_secret(&self) -> MutexGuard<'_, Secret> {
        self.last_secret.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, secret: &str, timeout: Duration) -> Result<Reply, Error> {
        let config = &self.config;
        let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded")];
        for (name, value) in &config.headers {
            headers.push((name, value));
        }
        let basic;
        let form = if config.basic_auth {
            basic = basic_credentials(&config.client_id, secret);
            headers.push(("Authorization", &basic));
            form(&[("grant_type", "client_credentials")])
        } else {
            form(&[
                ("grant_type", "client_credentials"),
                ("client_id", &config.client_id),
                ("client_secret", secret),
            ])
        };
        self.transport.post(&headers, form.as_bytes(), timeout)
    }
}

fn form(fields: &[(&str, &str)]) -> Zeroizing<String> {
    // The whole capacity from the start: a buffer that grows leaves a copy of the secret behind.
    let longest = fields.iter().map(|(name, value)| name.len() + 3 * value.len() + 2);
    let mut form = Zeroizing::new(String::with_capacity(longest.sum()));
    for (name, value) in fields {
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        form.push_str(&percent_encode(value, FORM));
    }
    form
}

fn basic_credentials(client_id: &str, secret: &str) -> Zeroizing<String> {
    let plain = Zeroizing::new([client_id, ":", secret].concat());
    Zeroizing::new(["Basic ", &base64(&plain)].concat())
}

fn read_secret(path: &Path) -> Result<Secret, Error> {
    let unusable = |why: &str| {
        let path = path.display();
        Error::new(ErrorKind::Config, format!("the client secret file {path}: {why}"))
    };
    let bytes = file::read(path, MAX_SECRET_BYTES).map_err(|error| {
        // An error of the operating system may be temporary: the file may be replaced just now.
        unusable(&error.to_string()).with_retryable(error.raw_os_error().is_some())
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unusable("it is not UTF-8 text"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let secret = line.strip_suffix('\r').unwrap_or(line);
    if secret.is_empty() {
        return Err(unusable("it is empty").with_retryable(true));
    }
    Ok(Zeroizing::new(secret.to_owned()))
}

#[cfg(test)]
#[path = "../../tests/exchange/mod.rs"]
mod tests;
