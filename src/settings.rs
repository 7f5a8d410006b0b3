//! The settings by name. From this one table come `oneaccess_config_set` in C, the variables of the
//! environment, `docs/settings.md` and the list in the header.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Config, ProxySetting};
use crate::error::ErrorKind;
use crate::store::StoreSetting;

pub(crate) struct Setting {
    pub name: &'static str,
    /// What it does, which values it takes, and its default. A test compares `docs/settings.md` and
    /// the header with it.
    #[allow(dead_code)]
    pub doc: &'static str,
    /// `None`: back to the default. An error says which values are allowed.
    set: fn(&mut Config, Option<&str>) -> Result<(), &'static str>,
}

pub(crate) const SETTINGS: [Setting; 11] = [
    Setting {
        name: "client_secret_file",
        doc: "Path of a file that holds the client secret, instead of the secret itself. It is read \
              again before every request, so that a rotated secret is used without a restart. UTF-8 \
              text of at most 64 KiB; a byte order mark at its start and one line break at its end \
              are not part of the secret. Default: none.",
        set: |config, path| {
            config.client_secret_file = path.map(PathBuf::from);
            Ok(())
        },
    },
    Setting {
        name: "basic_auth",
        doc: "true: sends the credentials as HTTP Basic authentication instead of form fields, as \
              they are (RFC 7617), which OneAccess expects, and not form-encoded first (RFC 6749, \
              section 2.3.1). true or false. Default: false.",
        set: |config, value| {
            config.basic_auth = value.map_or(Ok(false), boolean)?;
            Ok(())
        },
    },
    Setting {
        name: "timeout_ms",
        doc: "How long a whole call may take, in milliseconds: name lookup, connection, TLS, the \
              answer, retries and waiting for other callers. 1 to 86400000. Default: 30000.",
        set: |config, value| {
            let allowed = "1 to 86400000 (milliseconds)";
            let ms = value.map(|value| number(value, 1, 86_400_000).ok_or(allowed)).transpose()?;
            config.timeout = ms.map_or(Config::DEFAULT_TIMEOUT, Duration::from_millis);
            Ok(())
        },
    },
    Setting {
        name: "expiry_margin_s",
        doc: "How long before its expiry a token counts as stale, in seconds, since it may expire on \
              its way to the API. 0 to 86400, but never more than half of the token's lifetime. \
              Default: 30, or a twentieth of the lifetime if that is less.",
        set: |config, value| {
            let allowed = "0 to 86400 (seconds)";
            let seconds = value.map(|value| number(value, 0, 86_400).ok_or(allowed)).transpose()?;
            config.expiry_margin = seconds.map(Duration::from_secs);
            Ok(())
        },
    },
    Setting {
        name: "ca_file",
        doc: "Path of a PEM file, at most 16 MiB, whose certificates are trusted besides the \
              operating system's roots: for a tenant with a private CA. There is no way to switch \
              verification off. Default: none.",
        set: |config, path| {
            config.ca_file = path.map(PathBuf::from);
            Ok(())
        },
    },
    Setting {
        name: "system_roots",
        doc: "true: trusts the operating system's roots, or those that SSL_CERT_FILE and SSL_CERT_DIR \
              name instead. They are read at the first request of the process, once for all \
              clients: before a chroot, for example, get a token. false: only ca_file. true or \
              false. Default: true.",
        set: |config, value| {
            config.system_roots = value.map_or(Ok(true), boolean)?;
            Ok(())
        },
    },
    Setting {
        name: "client_certificate_file",
        doc: "Path of a PEM file with the certificate, and its intermediate certificates, that is \
              shown to servers which ask for one (mutual TLS); needs client_key_file. Default: none.",
        set: |config, path| {
            config.client_certificate_file = path.map(PathBuf::from);
            Ok(())
        },
    },
    Setting {
        name: "client_key_file",
        doc: "Path of a PEM file with the private key of client_certificate_file: PKCS #8, PKCS #1 or \
              SEC 1, not encrypted. Default: none.",
        set: |config, path| {
            config.client_key_file = path.map(PathBuf::from);
            Ok(())
        },
    },
    Setting {
        name: "proxy",
        doc: "URL of the proxy: http://, https://, socks4://, socks4a://, socks5:// or socks5h://, \
              with user:password@ if the proxy wants them, percent-encoded. Empty: no proxy. Default: \
              the proxy that the environment names when the client is made (https_proxy, \
              HTTPS_PROXY, all_proxy, ALL_PROXY; no_proxy, NO_PROXY), by the rules of curl 7.88; \
              beyond them, an entry of no_proxy may have a port, * may stand among others, and IPv6 \
              addresses may have brackets.",
        set: |config, url| {
            config.proxy = ProxySetting::of(url);
            Ok(())
        },
    },
    Setting {
        name: "headers",
        doc: "Headers for every request, as `Name: value`, one a line; for example X-tenant-id. \
              Visible ASCII and blanks, at most 32 KiB together; not those that the library sets \
              itself: Host, Authorization, Content-* and those that govern the connection. Default: \
              none.",
        set: |config, lines| {
            config.headers.clear();
            for line in lines.unwrap_or_default().lines().filter(|line| !line.trim().is_empty()) {
                let (name, value) = line.split_once(':').ok_or("`Name: value`, one a line")?;
                config.add_header(name.trim(), value.trim());
            }
            Ok(())
        },
    },
    Setting {
        name: "store",
        doc: "Where the processes of an application share their token, so that they make one request \
              together: `file:` and the absolute path of a folder, which is created if only its last \
              part is missing; `file`, for the folder oneaccess in the user's folder for caches \
              ($XDG_CACHE_HOME or ~/.cache, ~/Library/Caches, %LOCALAPPDATA%); or \
              redis://host:port/database (rediss:// for TLS), a Redis or Valkey \
              server. What is stored is encrypted with the client secret. A store that cannot be \
              used is skipped, never an error. Default: none.",
        set: |config, store| {
            config.store = match store {
                Some(text) => StoreSetting::parse(text)?,
                None => StoreSetting::None,
            };
            Ok(())
        },
    },
];

/// Changes one setting. `None`: back to the default. What is wrong is remembered as a mistake that
/// calls the setting `label`.
pub(crate) fn set(config: &mut Config, label: &str, name: &str, value: Option<&str>) {
    let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
        return config.mistake(ErrorKind::Config, unknown(name));
    };
    if let Err(allowed) = (setting.set)(config, value) {
        let value = value.unwrap_or_default();
        // The value of a header may be a secret; what stands before an @, a password, as may any part
        // of a malformed URL.
        let is_url = name == "store" && value.contains("://");
        let is_secret = name == "headers" || value.contains('@') || is_url;
        let what = if is_secret { "not usable".to_owned() } else { shown(value) };
        config.mistake(ErrorKind::Config, format!("{label} is {what}; allowed: {allowed}"));
    }
}

/// The environment's name of a setting.
pub(crate) fn variable(name: &str) -> String {
    format!("ONEACCESS_{}", name.to_ascii_uppercase())
}

fn unknown(name: &str) -> String {
    let lowercase = name.to_ascii_lowercase();
    let likeness = |setting: &Setting| strsim::sorensen_dice(&lowercase, setting.name);
    let nearest = SETTINGS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let nearest = nearest.map_or("", |setting| setting.name);
    format!("there is no setting {}; did you mean {nearest}?", shown(name))
}

/// Somebody's input in a message: quoted, of a readable length.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("{short:?}")
}

fn boolean(value: &str) -> Result<bool, &'static str> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("true, false, 1, 0"),
    }
}

/// A decimal number; more than `max` counts as `max`.
fn number(value: &str, min: u64, max: u64) -> Option<u64> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse::<u64>().ok().filter(|number| digits && *number >= min)?;
    Some(number.min(max))
}

#[cfg(test)]
#[path = "../tests/settings/mod.rs"]
mod tests;
