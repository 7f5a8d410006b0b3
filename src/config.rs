//! The settings of a client: values, defaults, checks.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind};
use crate::settings::{self, SETTINGS};
use crate::store::StoreSetting;

/// nginx's default limit for all headers of a request; the http crate allows names of up to 64 KiB.
const MAX_HEADERS_BYTES: usize = 32 << 10;

/// The settings of a [`Client`](crate::Client). Mistakes are remembered, and reported by
/// [`Client::new`](crate::Client::new).
///
/// ```
/// use std::time::Duration;
/// let config = oneaccess::Config::new("example.huaweioneaccess.com", "my-client-id", "my-secret")
///     .timeout(Duration::from_secs(10));
/// ```
#[derive(Clone)]
pub struct Config {
    pub(crate) endpoint: Endpoint,
    pub(crate) client_id: String,
    pub(crate) client_secret: Zeroizing<String>,
    pub(crate) client_secret_file: Option<PathBuf>,
    pub(crate) basic_auth: bool,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timeout: Duration,
    pub(crate) expiry_margin: Option<Duration>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) system_roots: bool,
    pub(crate) client_certificate_file: Option<PathBuf>,
    pub(crate) client_key_file: Option<PathBuf>,
    pub(crate) proxy: ProxySetting,
    pub(crate) store: StoreSetting,
    mistakes: Vec<(ErrorKind, String)>,
}

/// Which proxy to use, if any.
#[derive(Clone)]
pub(crate) enum ProxySetting {
    Environment,
    None,
    Url(String),
}

impl ProxySetting {
    pub fn of(url: Option<&str>) -> ProxySetting {
        match url.map(str::trim) {
            None => ProxySetting::Environment,
            Some("") => ProxySetting::None,
            Some(url) => ProxySetting::Url(url.to_owned()),
        }
    }
}

impl Config {
    /// Longer durations are reduced to this: a day.
    pub(crate) const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);
    pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

    /// The three things every client needs.
    ///
    /// The endpoint is `host`, `host:port`, `https://host/` or the whole token URL as the console
    /// shows it. `http://` is accepted for loopback hosts only. The secret may be empty where
    /// [`client_secret_file`](Config::client_secret_file) is set.
    pub fn new(endpoint: &str, client_id: &str, client_secret: &str) -> Config {
        let mut config = Config {
            endpoint: Endpoint::default(),
            client_id: client_id.to_owned(),
            client_secret: Zeroizing::new(client_secret.to_owned()),
            client_secret_file: None,
            basic_auth: false,
            headers: Vec::new(),
            timeout: Config::DEFAULT_TIMEOUT,
            expiry_margin: None,
            ca_file: None,
            system_roots: true,
            client_certificate_file: None,
            client_key_file: None,
            proxy: ProxySetting::Environment,
            store: StoreSetting::None,
            mistakes: Vec::new(),
        };
        match Endpoint::parse(endpoint) {
            Ok(endpoint) => config.endpoint = endpoint,
            Err((kind, why)) => config.mistake(kind, why),
        }
        if client_id.is_empty() {
            config.mistake(ErrorKind::Argument, "the client_id is missing");
        }
        if client_id.contains(char::is_control) {
            config.mistake(
                ErrorKind::Argument,
                "the client_id contains a line break or another control character",
            );
        }
        config
    }

    /// The same from environment variables: `ONEACCESS_ENDPOINT`, `ONEACCESS_CLIENT_ID`,
    /// `ONEACCESS_CLIENT_SECRET`, and for every other setting `ONEACCESS_` and its name in capitals, as
    /// `docs/settings.md` lists them: `ONEACCESS_CA_FILE`, `ONEACCESS_TIMEOUT_MS` and so on. A variable
    /// that is empty counts as unset, except `ONEACCESS_PROXY`, where it means no proxy. What is
    /// missing or cannot be used is reported by [`Client::new`](crate::Client::new).
    pub fn from_env() -> Config {
        let mut mistakes = Vec::new();
        let mut read = |name: &str, required: bool| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            if value.is_none() && required {
                mistakes.push(format!("the environment variable {name} is not set"));
            }
            value.and_then(|value| match value.into_string() {
                Ok(text) => Some(Zeroizing::new(text)),
                Err(_) => {
                    mistakes.push(format!("the environment variable {name} is not UTF-8"));
                    None
                }
            })
        };
        let by_name = SETTINGS.each_ref().map(|setting| {
            let variable = settings::variable(setting.name);
            let value = read(&variable, false);
            (setting.name, variable, value)
        });
        let has_file =
            std::env::var_os("ONEACCESS_CLIENT_SECRET_FILE").is_some_and(|value| !value.is_empty());
        let endpoint = read("ONEACCESS_ENDPOINT", true);
        let client_id = read("ONEACCESS_CLIENT_ID", true);
        let secret = read("ONEACCESS_CLIENT_SECRET", !has_file);
        if secret.is_some() && has_file {
            mistakes.push(
                "the environment sets both ONEACCESS_CLIENT_SECRET and \
                 ONEACCESS_CLIENT_SECRET_FILE; unset one of them"
                    .to_owned(),
            );
        }
        // A missing value is already reported; the placeholder keeps `new` from reporting it again.
        let or_placeholder =
            |value: Option<Zeroizing<String>>| value.unwrap_or_else(|| "unset".to_owned().into());
        let mut config = Config::new(
            &or_placeholder(endpoint),
            &or_placeholder(client_id),
            // With a file there is no secret, also if the file is unset later.
            &if has_file { Zeroizing::default() } else { or_placeholder(secret) },
        );
        for (name, variable, value) in by_name {
            if let Some(value) = value {
                let label = format!("the environment variable {variable}");
                settings::set(&mut config, &label, name, Some(&value));
            }
        }
        if std::env::var_os("ONEACCESS_PROXY").is_some_and(|value| value.is_empty()) {
            config.proxy = ProxySetting::None;
        }
        for mistake in mistakes {
            config.mistake(ErrorKind::Config, mistake);
        }
        config
    }

    /// Reads the client secret from this file, again before every request, so that a rotated
    /// secret is used at once. A regular file of UTF-8 text, at most 64 KiB; a byte
    /// order mark at its start and one trailing line break are not part of the secret. Replaces the
    /// secret given to [`new`](Config::new).
    pub fn client_secret_file(mut self, path: impl Into<PathBuf>) -> Config {
        self.client_secret = Zeroizing::default();
        self.client_secret_file = Some(path.into());
        self
    }

    /// Sends the credentials as HTTP Basic authentication instead of form fields: as they are
    /// (RFC 7617), which OneAccess expects, and not form-encoded first (RFC 6749, section 2.3.1).
    /// Default: off.
    pub fn basic_auth(mut self, on: bool) -> Config {
        self.basic_auth = on;
        self
    }

    /// Adds a header to every request, for example `X-tenant-id`. Not those that the library sets
    /// itself: `Host`, `Authorization`, `Content-*` and what governs the connection. At most 32 KiB,
    /// names and values of all together.
    pub fn header(mut self, name: &str, value: &str) -> Config {
        self.add_header(name, value);
        self
    }

    /// How long a whole call may take, everything included. Default: 30 seconds. At least one
    /// millisecond; more than a day counts as a day.
    pub fn timeout(mut self, timeout: Duration) -> Config {
        if timeout < Duration::from_millis(1) {
            self.mistake(ErrorKind::Argument, "the timeout is less than one millisecond");
        }
        self.timeout = timeout.min(Config::MAX_DURATION);
        self
    }

    /// How long before its expiry a token is no longer returned, since it could expire before the
    /// server sees it. Default: 30 seconds, or a twentieth of the token's lifetime if that is less.
    /// Never more than half of the lifetime; more than a day counts as a day.
    pub fn expiry_margin(mut self, margin: Duration) -> Config {
        self.expiry_margin = Some(margin.min(Config::MAX_DURATION));
        self
    }

    /// Trusts the certificates in this PEM file, at most 16 MiB, besides the system roots.
    pub fn ca_file(mut self, pem_path: impl Into<PathBuf>) -> Config {
        self.ca_file = Some(pem_path.into());
        self
    }

    /// Trusts the operating system's root certificates, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name
    /// instead. They are read at the first request of the process, once for all clients: before a
    /// `chroot`, for example, get a token. Default: on. Off: only the CA file.
    pub fn system_roots(mut self, on: bool) -> Config {
        self.system_roots = on;
        self
    }

    /// Sends this certificate to servers that request one (mutual TLS). The key is PEM, PKCS #8,
    /// PKCS #1 or SEC 1, not encrypted.
    pub fn client_certificate_file(
        mut self,
        cert_pem_path: impl Into<PathBuf>,
        key_pem_path: impl Into<PathBuf>,
    ) -> Config {
        self.client_certificate_file = Some(cert_pem_path.into());
        self.client_key_file = Some(key_pem_path.into());
        self
    }

    /// `None`, the default: the proxy that the environment names when the client is made
    /// (`https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY`; `no_proxy`, `NO_PROXY`), by the rules
    /// of curl 7.88. Beyond them, in `no_proxy` an entry may have a port, `*` may stand among others
    /// and IPv6 addresses may have brackets; a value that is not usable is an error, never ignored.
    /// `Some("")`: no proxy. Otherwise `http://`, `https://`, `socks4://` or `socks5://`, with
    /// `user:password@` if the proxy requires them, percent-encoded.
    pub fn proxy(mut self, url: Option<&str>) -> Config {
        self.proxy = ProxySetting::of(url);
        self
    }

    /// Where the processes of an application share their token: `file:/run/app`, a folder, which is
    /// created if only its last part is missing, or `file`, the folder `oneaccess` in the user's folder
    /// for caches; or `redis://user:password@host`, a Redis or Valkey server (cargo feature `redis`).
    /// Default: none. See `docs/store.md`.
    pub fn store(mut self, store: &str) -> Config {
        settings::set(&mut self, "store", "store", Some(store));
        self
    }

    pub(crate) fn add_header(&mut self, name: &str, value: &str) {
        let length = |(name, value): &(String, String)| name.len() + value.len();
        let together = self.headers.iter().map(length).sum::<usize>() + name.len() + value.len();
        match check_header(name, value) {
            Ok(()) if together > MAX_HEADERS_BYTES => {
                let why = "the extra headers are longer than 32 KiB in total (names and values)";
                self.mistake(ErrorKind::Argument, why);
            }
            Ok(()) => self.headers.push((name.to_owned(), value.to_owned())),
            Err(why) => self.mistake(ErrorKind::Argument, why),
        }
    }

    /// Remembers a mistake for `check` to report.
    pub(crate) fn mistake(&mut self, kind: ErrorKind, what: impl Into<String>) {
        self.mistakes.push((kind, what.into()));
    }

    /// Every mistake made so far, as one error of the first one's kind.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut mistakes = self.mistakes.clone();
        if self.client_secret.is_empty() && self.client_secret_file.is_none() {
            mistakes.push((ErrorKind::Argument, "the client_secret is missing".to_owned()));
        }
        if self.basic_auth && self.client_id.contains(':') {
            mistakes.push((
                ErrorKind::Argument,
                "the client_id contains a colon, which HTTP Basic authentication cannot carry \
                 (RFC 7617); use form fields"
                    .to_owned(),
            ));
        }
        if self.client_certificate_file.is_some() != self.client_key_file.is_some() {
            mistakes.push((
                ErrorKind::Config,
                "the client certificate is incomplete: set both client_certificate_file and \
                 client_key_file"
                    .to_owned(),
            ));
        }
        if !self.system_roots && self.ca_file.is_none() && self.endpoint.is_https() {
            mistakes.push((
                ErrorKind::Config,
                "system_roots is off and no ca_file is set: no server could be trusted".to_owned(),
            ));
        }
        let Some((kind, _)) = mistakes.first() else {
            return Ok(());
        };
        let all: Vec<&str> = mistakes.iter().map(|(_, what)| what.as_str()).collect();
        Err(Error::new(*kind, all.join("; ")))
    }
}

#[cfg(feature = "capi")]
impl Default for Config {
    /// A placeholder while a configuration is replaced.
    fn default() -> Config {
        Config::new("", "", "")
    }
}

/// Shows no secret: neither the client secret nor headers nor a proxy's password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("endpoint", &self.endpoint.url())
            .field("client_id", &self.client_id)
            .field("client_secret_file", &self.client_secret_file)
            .field("basic_auth", &self.basic_auth)
            .field("timeout", &self.timeout)
            .field("expiry_margin", &self.expiry_margin)
            .field("ca_file", &self.ca_file)
            .field("system_roots", &self.system_roots)
            .field("client_certificate_file", &self.client_certificate_file)
            .field("client_key_file", &self.client_key_file)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

fn check_header(name: &str, value: &str) -> Result<(), String> {
    const OURS: [&str; 11] = [
        "host",
        "authorization",
        "accept-encoding",
        "connection",
        "expect",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let shown: String = name.chars().take(120).collect();
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("{shown:?} is not a valid header name"));
    }
    let lower = name.to_ascii_lowercase();
    if OURS.contains(&lower.as_str()) || lower.starts_with("content-") {
        return Err(format!("the header {shown} is set by the library"));
    }
    if !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err(format!(
            "the value of the header {shown} contains characters other than visible ASCII and spaces"
        ));
    }
    Ok(())
}
