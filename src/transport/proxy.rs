//! Which proxy a request goes through, by the rules of curl 7.88; `tests/proxies.rs` compares, and
//! lists the differences on purpose.

use std::fmt;
use std::net::IpAddr;

use zeroize::Zeroizing;

use crate::config::{Config, ProxySetting};
use crate::endpoint::{Endpoint, parse_authority};
use crate::error::{Error, ErrorKind};

/// A proxy to use.
pub(super) struct Proxy {
    pub ureq: ureq::Proxy,
    /// Scheme, host and port, without user and password: safe to show.
    pub name: String,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The proxy that the configuration or the environment asks for.
pub(super) fn choose(config: &Config) -> Result<Option<Proxy>, Error> {
    match &config.proxy {
        ProxySetting::None => Ok(None),
        ProxySetting::Url(_) if !config.endpoint.is_https() => Err(Error::new(
            ErrorKind::Config,
            "a proxy cannot be used with an http:// endpoint: it would see the client secret",
        )),
        ProxySetting::Url(url) => parse("the proxy", url).map(Some),
        ProxySetting::Environment if !config.endpoint.is_https() => Ok(None),
        ProxySetting::Environment => from_environment(&config.endpoint),
    }
}

fn from_environment(endpoint: &Endpoint) -> Result<Option<Proxy>, Error> {
    let Some((name, url)) = first_set(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?
    else {
        return Ok(None);
    };
    if let Some((_, list)) = first_set(&["no_proxy", "NO_PROXY"])? {
        if is_excepted(&list, endpoint) {
            return Ok(None);
        }
    }
    parse(&format!("the environment variable {name}"), &url).map(Some)
}

fn first_set(names: &[&'static str]) -> Result<Option<(&'static str, Zeroizing<String>)>, Error> {
    for name in names {
        let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else {
            continue;
        };
        return match value.into_string() {
            Ok(text) => Ok(Some((name, Zeroizing::new(text)))),
            Err(_) => Err(Error::new(
                ErrorKind::Config,
                format!("the environment variable {name} is not UTF-8"),
            )),
        };
    }
    Ok(None)
}

/// `source` says where the URL comes from.
fn parse(source: &str, url: &str) -> Result<Proxy, Error> {
    // The URL is not shown: if it is malformed, any part of it may be the password.
    let refuse =
        |why: &str| Error::new(ErrorKind::Config, format!("{source} is not usable: {why}"));
    let (scheme, rest) = url.trim().split_once("://").unwrap_or(("http", url.trim()));
    let scheme = match scheme.to_ascii_lowercase() {
        scheme if scheme == "socks" => "socks4".to_owned(),
        scheme => scheme,
    };
    if !["http", "https", "socks4", "socks4a", "socks5", "socks5h"].contains(&scheme.as_str()) {
        return Err(refuse("the scheme must be http, https, socks4, socks4a, socks5 or socks5h"));
    }
    let (rest, ignored) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, authority) = match rest.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, rest),
    };
    let is_special = |c: char| "[]@\\".contains(c) || c.is_whitespace();
    // `http://user:pass/word@proxy`: curl would take `user:pass` for host and port.
    if user.is_some_and(|user| user.contains(is_special)) || ignored.contains(is_special) {
        return Err(refuse("percent-encode special characters in the user and password"));
    }
    let (host, port) = parse_authority(authority)
        .map_err(|_| refuse("invalid host or port; write http://user:password@host:port"))?;
    // As curl: 1080 is the default port of every scheme but https.
    let port = port.unwrap_or(if scheme == "https" { 443 } else { 1080 });
    let name = format!("{scheme}://{host}:{port}");
    let full = Zeroizing::new(match user {
        Some(user) => format!("{scheme}://{user}@{host}:{port}"),
        None => name.clone(),
    });
    let ureq = ureq::Proxy::new(&full)
        .map_err(|_| refuse("percent-encode special characters in the user and password"))?;
    Ok(Proxy { ureq, name })
}

/// Whether a `NO_PROXY` list names the endpoint: hosts, domains with all below them, addresses, networks
/// (`10.0.0.0/8`). Beyond curl an entry may have a port, `*` may stand among others, and IPv6 addresses
/// may have brackets.
fn is_excepted(list: &str, endpoint: &Endpoint) -> bool {
    list.split([',', ' ', '\t']).any(|entry| entry == "*" || names(entry, endpoint))
}

fn names(entry: &str, endpoint: &Endpoint) -> bool {
    let host = endpoint.host();
    let mut pattern = entry;
    if let Ok(address) = host.parse::<IpAddr>() {
        if let Some((network, bits)) = entry.split_once('/') {
            return is_within(address, network, bits);
        }
    } else {
        // One dot before or after a domain is ignored.
        pattern = pattern.strip_suffix('.').unwrap_or(pattern);
        pattern = pattern.strip_prefix('.').unwrap_or(pattern);
    }
    let Ok((pattern, port)) = parse_authority(pattern) else {
        return false;
    };
    let is_above = || host.strip_suffix(&pattern).is_some_and(|rest| rest.ends_with('.'));
    port.is_none_or(|port| port == endpoint.port())
        && (pattern.trim_matches(['[', ']']) == host || is_above())
}

/// As in curl, 0 bits mean all bits: `10.1.2.3/0` matches only 10.1.2.3, and `0.0.0.0/0` only 0.0.0.0.
fn is_within(address: IpAddr, network: &str, bits: &str) -> bool {
    let number = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    let ((address, width), (network, network_width)) = (number(address), number(network));
    let bits = if bits == 0 { width } else { bits };
    let differing = (address ^ network).leading_zeros();
    width == network_width && bits <= width && differing >= bits
}
