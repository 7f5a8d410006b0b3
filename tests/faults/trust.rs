//! Certificates and handshakes that are not accepted.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::support::certificates::{Ca, Identity, named};
use super::support::child::{in_child, set_env};
use super::support::fault::Server;
use super::support::resolver::Resolver;
use super::support::tenant::Tenant;
use super::table::{Seen, TRUST, compare};
use super::{at_port, client_at, failure, folder, tenant, write};

#[test]
fn messages_about_trust() {
    let resolver = Resolver::compile();
    in_child(
        || resolver.runner(0, "127.0.0.1"),
        || {
            let mut all = certificates();
            all.extend(alerts());
            let (old, new) = (tenant(), tenant());
            all.push(at_port(new.port(), &failure(&client_at(new.port(), old.ca_file()))));
            let folder = folder();
            let other = write(&folder, "other.pem", Ca::new().pem());
            let stranger = client_at(new.port(), other);
            all.push(at_port(new.port(), &failure(&stranger)));
            set_env("SSL_CERT_FILE", Some("/nowhere/ca.pem"));
            all.push(at_port(new.port(), &failure(&stranger.system_roots(true))));
            let strict = Tenant::builder().require_client_certificate();
            let strict = strict.certificate(named("Test", &["tenant.example"])).start();
            let without = client_at(strict.port(), strict.ca_file());
            all.push(at_port(strict.port(), &failure(&without)));
            compare(TRUST, &all);
        },
    );
}

/// Servers whose certificate is not accepted although the client trusts its CA.
fn certificates() -> Vec<Seen> {
    let ca = Ca::new();
    let params = || named("Test", &["tenant.example"]);
    let (mut old, mut new, mut for_clients) = (params(), params(), params());
    (old.not_before, old.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 2, 3));
    (new.not_before, new.not_after) = (date_time_ymd(2091, 4, 5), date_time_ymd(2093, 1, 1));
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let signed = |params: CertificateParams| {
        let Identity { certificate, key } = ca.sign(params);
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
        (ca.pem(), certificate, key)
    };
    let mut is_ca = params();
    is_ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let Identity { certificate: self_signed, key } = Identity::self_signed(is_ca);
    let der = CertificateDer::from_pem_slice(self_signed.as_bytes()).expect("PEM");
    let (_, weak, weak_key) = signed(params());
    let servers = [
        signed(named("Test", &["a.example", "*.b.example"])),
        signed(named("tenant.example", &[])),
        signed(old),
        signed(new),
        signed(for_clients),
        (self_signed.clone(), der, key),
        (ca.pem(), with_weak_hash(&weak), weak_key),
    ];
    let all = servers.into_iter().map(|(roots, certificate, key)| {
        let folder = folder();
        let roots = write(&folder, "roots.pem", roots);
        let server = Tenant::builder().server_config(serving(certificate, &key)).start();
        at_port(server.port(), &failure(&client_at(server.port(), roots)))
    });
    all.collect()
}

fn serving(certificate: CertificateDer<'static>, key: &str) -> ServerConfig {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate that fits its key")
}

/// Says that its hash is SHA-224 instead of SHA-256, which is as little accepted as SHA-1.
fn with_weak_hash(certificate: &CertificateDer) -> CertificateDer<'static> {
    const ECDSA_WITH_SHA256: [u8; 10] = *b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    let mut der = certificate.to_vec();
    for at in 0..der.len() - ECDSA_WITH_SHA256.len() {
        if der[at..].starts_with(&ECDSA_WITH_SHA256) {
            der[at + ECDSA_WITH_SHA256.len() - 1] = 1;
        }
    }
    der.into()
}

/// Servers that refuse the handshake, or speak something else.
fn alerts() -> Vec<Seen> {
    let folder = folder();
    let ca = write(&folder, "ca.pem", Ca::new().pem());
    let protocol_version = b"\x15\x03\x01\x00\x02\x02\x46";
    let handshake_failure = b"\x15\x03\x03\x00\x02\x02\x28";
    let all = [&protocol_version[..], handshake_failure, b"220 mail ESMTP\r\n"].map(|bytes| {
        let server = Server::saying(bytes);
        at_port(server.port(), &failure(&client_at(server.port(), &ca)))
    });
    all.into()
}
