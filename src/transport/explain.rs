//! What went wrong on the way, in words for the person who has to mend it.

use std::fmt::Write;
use std::io;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::error::{Error, ErrorKind};

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
    let through = proxy.map(|proxy| format!(" (through the proxy {proxy})"));
    let through = through.unwrap_or_default();
    // Before the tunnel stands, with a proxy, it is the proxy that is looked up and connected to.
    let before_tunnel = matches!(phase, Phase::Lookup | Phase::Connect | Phase::Proxy);
    let no_answer = match proxy {
        Some(_) if before_tunnel => ErrorKind::Proxy,
        _ => ErrorKind::Transport,
    };
    if let Some(tls) = tls_error(error) {
        let why = untrusted(peer, tls);
        return Error::new(ErrorKind::Tls, format!("{why}{through}"));
    }
    match error {
        ureq::Error::Timeout(_) => {
            let doing = match phase {
                Phase::Lookup => "looking up",
                Phase::Connect => "connecting to",
                Phase::Proxy => "asking the proxy for a tunnel to",
                Phase::Handshake => "the TLS handshake with",
                Phase::Exchange => "waiting for the answer of",
            };
            Error::new(
                ErrorKind::Timeout,
                format!("the time was over while {doing} {peer}{through}"),
            )
        }
        ureq::Error::ConnectProxyFailed(why) => Error::new(
            ErrorKind::Proxy,
            format!(
                "the proxy {} did not open a tunnel to {peer}: {}",
                proxy.unwrap_or_default(),
                proxy_answer(why)
            ),
        ),
        _ if phase == Phase::Proxy => Error::new(
            ErrorKind::Proxy,
            format!(
                "the proxy {} did not open a tunnel to {peer}: {error}",
                proxy.unwrap_or_default()
            ),
        ),
        ureq::Error::HostNotFound => {
            Error::new(no_answer, format!("the host name of {peer} has no address{through}"))
        }
        ureq::Error::Io(io) => {
            Error::new(no_answer, format!("{}{through}", io_failure(phase, peer, io)))
        }
        ureq::Error::Protocol(_) | ureq::Error::Http(_) | ureq::Error::LargeResponseHeader(..) => {
            Error::new(
                ErrorKind::Protocol,
                format!(
                    "{peer} did not answer in HTTP as it should ({error}){through}; check the endpoint"
                ),
            )
        }
        _ => Error::new(no_answer, format!("no answer from {peer}: {error}{through}")),
    }
}

/// ureq says `proxy server responded 407/407`.
fn proxy_answer(why: &str) -> String {
    let status: String =
        why.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    match status.as_str() {
        "" => why.to_owned(),
        "401" | "407" => format!(
            "HTTP {status}, it wants a user and a password (http://user:password@proxy:port)"
        ),
        "403" => "HTTP 403, it does not allow this host".to_owned(),
        _ => format!("HTTP {status}"),
    }
}

fn io_failure(phase: Phase, peer: &str, error: &io::Error) -> String {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    let closed = matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted);
    match phase {
        Phase::Lookup => format!("the host name of {peer} could not be looked up: {error}"),
        Phase::Handshake if closed => {
            format!("{peer} closed the connection during the TLS handshake ({error})")
        }
        Phase::Exchange if closed => {
            format!("{peer} closed the connection before the answer was complete ({error})")
        }
        Phase::Exchange => format!("the connection to {peer} broke: {error}"),
        _ => format!("could not connect to {peer}: {error}"),
    }
}

fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(tls) => Some(tls),
        ureq::Error::Io(io) => io.get_ref()?.downcast_ref(),
        _ => None,
    }
}

fn untrusted(peer: &str, error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => bad_certificate(peer, why),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!("{peer} does not speak TLS on this port; check the port of the endpoint")
        }
        rustls::Error::PeerIncompatible(why) => {
            format!("{peer} offers no TLS that is safe today, which is 1.2 or 1.3 ({why:?})")
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => format!(
            "{peer} offers no TLS that is safe today, which is 1.2 or 1.3 (it refused both)"
        ),
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure),
        ) => format!(
            "{peer} refused the TLS handshake ({alert:?}); it may want a client certificate, or \
             another one: set one that it accepts"
        ),
        other => format!("the TLS handshake with {peer} failed: {other}"),
    }
}

fn bad_certificate(peer: &str, why: &CertificateError) -> String {
    use CertificateError::*;
    let date = |time: &UnixTime| {
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs()))
    };
    let what = match why {
        UnknownIssuer => {
            "is signed by nobody we trust; if the tenant has a private CA, or a proxy inspects TLS, \
             set the PEM file of that CA as CA file (in the environment: ONEACCESS_CA_FILE)"
                .to_owned()
        }
        NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "names no host at all: it has no subjectAltName, and a common name does not count".to_owned()
        }
        NotValidForNameContext { presented, .. } => {
            format!("is for another host: it names {}", presented.join(", "))
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
        Other(inner) if format!("{inner:?}").contains("CaUsedAsEndEntity") => {
            "is a self-signed CA certificate, which cannot serve as a server's certificate: sign one \
             for the server with it (basicConstraints CA:FALSE)"
                .to_owned()
        }
        other => {
            let mut text = "cannot be accepted: ".to_owned();
            // Writing to a String cannot fail.
            let _ = write!(text, "{other}");
            text
        }
    };
    format!("the certificate of {peer} {what}")
}
