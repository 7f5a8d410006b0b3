//! What went wrong on the way, in words for the person who has to mend it.

use std::io;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

use crate::error::{Error, ErrorKind};
use crate::redact::shortened;

/// How far a request had come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    Lookup,
    Connect,
    Proxy,
    Handshake,
    Exchange,
}

/// Turns ureq's error into ours, once: where the phase is known. `peer` is host and port of whom
/// was spoken to; `proxy` names the proxy that was to be used, if any.
pub(super) fn explain(
    phase: Phase,
    peer: &str,
    proxy: Option<&str>,
    error: ureq::Error,
) -> ureq::Error {
    if matches!(&error, ureq::Error::Other(inner) if inner.is::<Error>()) {
        return error;
    }
    ureq::Error::Other(Box::new(classify(phase, peer, proxy, &error)))
}

fn classify(phase: Phase, peer: &str, proxy: Option<&str>, error: &ureq::Error) -> Error {
    let (whom, no_answer) = match proxy {
        Some(proxy) if proxy.ends_with(&format!("://{peer}")) => {
            (format!("the proxy {proxy}"), ErrorKind::Proxy)
        }
        Some(proxy) => (format!("{peer} (through the proxy {proxy})"), ErrorKind::Transport),
        None => (peer.to_owned(), ErrorKind::Transport),
    };
    if let Some(tls) = tls_error(error) {
        return Error::new(ErrorKind::Tls, untrusted(phase, &whom, tls));
    }
    match error {
        ureq::Error::Timeout(_) => {
            let when = match phase {
                Phase::Lookup => "while looking up",
                Phase::Connect => "while connecting to",
                Phase::Proxy => "while asking the proxy for a tunnel to",
                Phase::Handshake => "during the TLS handshake with",
                Phase::Exchange => "while waiting for the answer of",
            };
            Error::new(ErrorKind::Timeout, format!("timed out {when} {whom}"))
        }
        _ if phase == Phase::Proxy => no_tunnel(peer, proxy.unwrap_or_default(), error),
        ureq::Error::HostNotFound => {
            Error::new(no_answer, format!("the host name of {whom} has no address"))
        }
        ureq::Error::Io(io) => match lacking(phase, io) {
            // On the way to a proxy too this is not the proxy's fault.
            Some(what) => Error::new(
                ErrorKind::Transport,
                io_failure(phase, &whom, &io::Error::other(format!("{what}: {io}"))),
            ),
            None => Error::new(no_answer, io_failure(phase, &whom, io)),
        },
        ureq::Error::Protocol(_) | ureq::Error::Http(_) | ureq::Error::LargeResponseHeader(..) => {
            Error::new(
                ErrorKind::Protocol,
                format!("{whom} sent an invalid HTTP response ({error}); check the endpoint"),
            )
        }
        _ => Error::new(no_answer, format!("no answer from {whom}: {error}")),
    }
}

fn no_tunnel(peer: &str, proxy: &str, error: &ureq::Error) -> Error {
    let failed = |why: &str| {
        let message = format!("the proxy {proxy} did not open a tunnel to {peer}: {why}");
        Error::new(ErrorKind::Proxy, message)
    };
    match error {
        ureq::Error::ConnectProxyFailed(why) => match status_in(why).as_str() {
            "" => failed("it closed the connection"),
            // Asking again with the same password may lock the account.
            status @ ("401" | "407") => failed(&format!(
                "HTTP {status}, proxy authentication required: set a valid user and password in the \
                 proxy URL (http://user:password@host:port)"
            ))
            .with_retryable(false),
            "403" => failed("HTTP 403, it does not allow this host").with_retryable(false),
            status => failed(&format!("HTTP {status}")),
        },
        ureq::Error::Io(io) if is_closed(io) => {
            failed(&format!("it closed the connection{}", in_brackets(io)))
        }
        // What `socks` refuses with this kind is refused again.
        ureq::Error::Io(io) => {
            let is_final = io.kind() == io::ErrorKind::PermissionDenied;
            failed(&io.to_string()).with_retryable(!is_final || io.raw_os_error().is_some())
        }
        ureq::Error::Protocol(why) => failed(&format!("it sent an invalid HTTP response ({why})")),
        _ => failed(&error.to_string()),
    }
}

fn io_failure(phase: Phase, peer: &str, error: &io::Error) -> String {
    match phase {
        Phase::Lookup => format!("the host name of {peer} could not be looked up: {error}"),
        Phase::Handshake if is_closed(error) => {
            let how = in_brackets(error);
            format!("{peer} closed the connection during the TLS handshake{how}")
        }
        Phase::Exchange if is_closed(error) => {
            let how = in_brackets(error);
            format!("{peer} closed the connection before the answer was complete{how}")
        }
        Phase::Exchange => format!("the connection to {peer} broke: {error}"),
        _ => format!("could not connect to {peer}: {error}"),
    }
}

pub(super) fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | UnexpectedEof | ConnectionReset | ConnectionAborted)
}

/// What the system says; what ureq and rustls say of a closed connection is for programmers.
fn in_brackets(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(String::new, |_| format!(" ({error})"))
}

/// What this process or machine ran out of, if that is why.
#[cfg(unix)]
pub(super) fn lacking(phase: Phase, error: &io::Error) -> Option<&'static str> {
    match (error.raw_os_error()?, phase) {
        (libc::EMFILE, _) => Some("this process has no file descriptor left (ulimit -n)"),
        (libc::ENFILE, _) => Some("this machine has no file descriptor left"),
        (libc::EAGAIN, Phase::Lookup) => {
            Some("this process could not start a thread for the lookup")
        }
        (libc::EADDRNOTAVAIL | libc::EAGAIN, Phase::Connect) => {
            Some("this machine has no local port left, or no address to connect from")
        }
        _ => None,
    }
}

#[cfg(not(unix))]
pub(super) fn lacking(_: Phase, _: &io::Error) -> Option<&'static str> {
    None
}

fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(tls) => Some(tls),
        ureq::Error::Io(io) => io.get_ref()?.downcast_ref(),
        _ => None,
    }
}

fn untrusted(phase: Phase, peer: &str, error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => bad_certificate(peer, why),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)
            if phase == Phase::Handshake =>
        {
            format!("{peer} does not speak TLS on this port; check the port of the endpoint")
        }
        rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
        | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            format!("{peer} supports neither TLS 1.2 nor 1.3")
        }
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) => format!(
            "{peer} refused the TLS handshake (HandshakeFailure); there is no common cipher suite, or \
             it requires a client certificate"
        ),
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied),
        ) => format!(
            "{peer} refused the TLS handshake ({alert:?}); it requires a client certificate, or a \
             different one: set client_certificate_file"
        ),
        other if phase == Phase::Exchange => {
            format!("the TLS connection to {peer} broke after the handshake: {other}")
        }
        other => format!("the TLS handshake with {peer} failed: {other}"),
    }
}

fn bad_certificate(peer: &str, why: &CertificateError) -> String {
    use CertificateError::*;
    let date = |time: &UnixTime| {
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs()))
    };
    let what = match why {
        // The latter: an issuer of the same name has another kind of key.
        UnknownIssuer | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed by an unknown issuer; if the tenant has a private CA, or a proxy inspects TLS, \
             set ca_file (ONEACCESS_CA_FILE) to the PEM file of that CA; if its CA is a public one, \
             the server may not send its intermediate certificate"
                .to_owned()
        }
        BadSignature => "has an invalid signature: perhaps its CA was recreated under the same name (then \
             set ca_file to the new CA certificate), or a key is too weak (RSA below 2048 bits)"
            .to_owned(),
        UnsupportedSignatureAlgorithmContext { .. } => {
            "is signed with an algorithm that is too weak or not supported, such as SHA-1".to_owned()
        }
        NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "has no subjectAltName; its common name is not used as a host name".to_owned()
        }
        NotValidForNameContext { presented, .. } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            // Some hundred on the certificates of large providers.
            format!("is not valid for this host name; it names {}", shortened(&names.join(", "), 300))
        }
        ExpiredContext { time, not_after } => format!(
            "expired on {}; the clock of this machine says {}",
            date(not_after),
            date(time)
        ),
        NotValidYetContext { time, not_before } => format!(
            "is not valid before {}; the clock of this machine says {}",
            date(not_before),
            date(time)
        ),
        Other(inner) if is_ca(&format!("{inner:?}")) => {
            "is a self-signed CA certificate, which cannot be used as a server certificate: use it \
             to sign one for the server (basicConstraints CA:FALSE)"
                .to_owned()
        }
        other => format!("cannot be accepted: {other}"),
    };
    format!("the certificate of {peer} {what}")
}

// What ureq and rustls tell in words only; a new version may have others. Each has a test over a
// real connection, in tests/proxies.rs and tests/trust.rs.

/// `proxy server responded 407/407`, or `proxy server did not respond`.
fn status_in(why: &str) -> String {
    why.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect()
}

/// `DnsName("a.example")` and `IpAddress(192.0.2.7)`.
fn bare(name: &str) -> &str {
    let (_, inner) = name.split_once('(').unwrap_or(("", name));
    inner.trim_matches(['"', ')'])
}

/// `CaUsedAsEndEntity`, an error of webpki.
fn is_ca(why: &str) -> bool {
    why.contains("CaUsedAsEndEntity")
}
