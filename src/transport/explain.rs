//! Turns errors of ureq, rustls and the operating system into messages that name the cause and,
//! where it is known, the setting that helps.

use std::io;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

use crate::error::{Error, ErrorKind};
use crate::redact::shortened;

/// The phase of a request in which an error occurred.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    Lookup,
    Connect,
    Proxy,
    Handshake,
    Exchange,
}

/// Turns an error of ureq into one of ours; an error that already is one of ours stays as it is, since
/// the inner connector knew the phase better. `peer` is host and port of the other side, which may be
/// the proxy; `proxy` is the name of the proxy, if one is used.
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
    let (peer_name, unreachable_kind) = match proxy {
        Some(proxy) if proxy.ends_with(&format!("://{peer}")) => {
            (format!("the proxy {proxy}"), ErrorKind::Proxy)
        }
        Some(proxy) => (format!("{peer} (through the proxy {proxy})"), ErrorKind::Transport),
        None => (peer.to_owned(), ErrorKind::Transport),
    };
    if let Some(tls) = tls_error(error) {
        return Error::new(ErrorKind::Tls, untrusted(phase, &peer_name, tls));
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
            Error::new(ErrorKind::Timeout, format!("timed out {when} {peer_name}"))
        }
        _ if phase == Phase::Proxy => no_tunnel(peer, proxy.unwrap_or_default(), error),
        ureq::Error::HostNotFound => {
            Error::new(unreachable_kind, format!("the host name of {peer_name} has no address"))
        }
        ureq::Error::Io(io) => match exhausted_resource(phase, io) {
            // Not a proxy error, even if the connection was to a proxy.
            Some(what) => Error::new(
                ErrorKind::Transport,
                io_failure(phase, &peer_name, &io::Error::other(format!("{what}: {io}"))),
            ),
            None => Error::new(unreachable_kind, io_failure(phase, &peer_name, io)),
        },
        ureq::Error::Protocol(_) | ureq::Error::Http(_) | ureq::Error::LargeResponseHeader(..) => {
            Error::new(
                ErrorKind::Protocol,
                format!("{peer_name} sent an invalid HTTP response ({error}); check the endpoint"),
            )
        }
        _ => Error::new(unreachable_kind, format!("no answer from {peer_name}: {error}")),
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
            // Retrying with the same password may lock the account.
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
        // `socks` uses this kind for refusals that a retry would meet again. The operating system has
        // the kind too (EPERM), but then with an error number.
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

/// The text of an operating system error, in brackets. The texts of ureq and rustls for a closed
/// connection ("Peer disconnected") add nothing, so they are left out.
fn in_brackets(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(String::new, |_| format!(" ({error})"))
}

/// The resource that this process or machine has run out of, if that is the cause.
#[cfg(unix)]
pub(super) fn exhausted_resource(phase: Phase, error: &io::Error) -> Option<&'static str> {
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
pub(super) fn exhausted_resource(_: Phase, _: &io::Error) -> Option<&'static str> {
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
        // The latter: there is a trusted CA of the same name, but its key is of another type.
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
            // Certificates of large providers have hundreds of names.
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

// Facts that ureq and rustls give only as text, which a new version may change. Each is tested over a
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
