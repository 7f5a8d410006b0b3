//! Parses and checks the endpoint.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::ErrorKind;

/// From the vendor's API reference, "Obtaining an access token".
const TOKEN_PATH: &str = "/api/v2/tenant/token";

/// Where the tenant is: scheme, host and port, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Endpoint {
    https: bool,
    /// IPv6 addresses in brackets.
    host: String,
    port: Option<u16>,
}

type Refusal = (ErrorKind, String);

impl Endpoint {
    pub fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{TOKEN_PATH}", self.authority())
    }

    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.https { 443 } else { 80 })
    }

    /// The name of the endpoint in messages.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port())
    }

    fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    pub fn parse(text: &str) -> Result<Endpoint, Refusal> {
        let text = text.trim();
        if text.is_empty() {
            return Err((ErrorKind::Argument, "the endpoint is missing".to_owned()));
        }
        let refuse =
            |why: &str| Err((ErrorKind::Config, format!("endpoint {}: {why}", shown(text))));
        let (https, rest) = match split_scheme(text) {
            Ok(parts) => parts,
            Err(why) => return refuse(why),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if text.contains(['?', '#']) {
            return refuse("leave out the query and the fragment; write only the host name");
        }
        // Also in the path: of `user:pass/word@host` the message would show `user:pass` as host and port.
        if text.contains('@') {
            return refuse("leave out the part before the @; credentials are separate settings");
        }
        let (host, port) = match parse_authority(authority) {
            Ok(parts) => parts,
            Err(why) => return refuse(&why),
        };
        if !matches!(path, "" | "/") && path.trim_end_matches('/') != TOKEN_PATH {
            // `host/path:port`
            let at_end = path.rsplit_once(':').filter(|(_, end)| parse_port(end).is_ok());
            let keep = match at_end {
                Some((_, end)) if port.is_none() => format!("{authority}:{end}"),
                _ => authority.to_owned(),
            };
            return refuse(&format!("leave out the path; keep {}", shown(&keep)));
        }
        let endpoint = Endpoint { https, host, port };
        if !https && !endpoint.is_loopback() {
            return refuse(
                "http:// is for loopback hosts only, since the client secret would cross the \
                 network in the clear; use https://",
            );
        }
        Ok(endpoint)
    }

    fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host().parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

/// Whether it is https, and what follows the scheme.
fn split_scheme(text: &str) -> Result<(bool, &str), &'static str> {
    const ONLY_HTTPS: &str = "only https:// is supported; write the host name of the tenant";
    if text.contains(char::is_whitespace) {
        return Err("it contains a space or a line break");
    }
    let is = |word: &str, scheme| word.eq_ignore_ascii_case(scheme);
    let (https, rest) = match text.split_once("://") {
        None => (true, text),
        Some((scheme, rest)) if is(scheme, "https") => (true, rest),
        Some((scheme, rest)) if is(scheme, "http") => (false, rest),
        Some(_) => return Err(ONLY_HTTPS),
    };
    match rest.split_once([':', '/']) {
        // `https:/host`, `https//host`, `https://https://host`
        Some((word, _)) if is(word, "https") || is(word, "http") => {
            Err("write it as https://host, with one colon and two slashes")
        }
        // `unix:/run/socket`
        Some((word, path)) if rest[word.len()..].starts_with(":/") && !path.is_empty() => {
            Err(ONLY_HTTPS)
        }
        _ => Ok((https, rest)),
    }
}

/// The host (an IPv6 address in brackets) and the port, if it is named.
pub(crate) fn parse_authority(authority: &str) -> Result<(String, Option<u16>), String> {
    if let Ok(address) = authority.parse::<Ipv6Addr>() {
        return Ok((format!("[{address}]"), None));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or("the ] is missing")?;
            let address: Ipv6Addr =
                address.parse().map_err(|_| "the text in [ ] is not an IPv6 address")?;
            let port = match port {
                "" => None,
                _ => Some(port.strip_prefix(':').ok_or("a : must follow the ]")?),
            };
            (format!("[{address}]"), port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (check_host(host)?, Some(port)),
            None => (check_host(authority)?, None),
        },
    };
    let port = port.map(parse_port).transpose()?;
    Ok((host, port))
}

fn parse_port(port: &str) -> Result<u16, String> {
    Some(port)
        .filter(|port| port.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|port| port.parse().ok())
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("the port {} is not a number from 1 to 65535", shown(port)))
}

fn check_host(host: &str) -> Result<String, String> {
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    if !host.is_ascii() {
        return Err("write an international host name in its ASCII form (xn--…)".to_owned());
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            // Underscores are common in the host names of container networks.
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > 253 || !host.split('.').all(is_label) {
        return Err("this is not a valid host name; write for example example.huaweioneaccess.com"
            .to_owned());
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err() {
        return Err("this is neither a host name nor an IPv4 address".to_owned());
    }
    Ok(host.to_ascii_lowercase())
}

/// User input for a message: quoted, at most 120 characters, without a password or a query.
pub(crate) fn shown(text: &str) -> String {
    let text = text.rsplit('@').next().unwrap_or_default();
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let short: String = text.chars().take(120).collect();
    format!("{short:?}")
}
