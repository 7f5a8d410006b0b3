//! The CA of one mock tenant, and the certificates that it signs.

use std::fs;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tempfile::TempDir;

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Authority {
        let mut params = named("Mock tenant CA", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Authority(CertifiedIssuer::self_signed(params, new_key()).expect("a CA certificate"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn server_certificate(
        &self,
        params: CertificateParams,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let (certificate, key) = self.sign(params, ExtendedKeyUsagePurpose::ServerAuth);
        (certificate.into(), key.into())
    }

    pub fn client_verifier(&self, provider: Arc<CryptoProvider>) -> Arc<dyn ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a usable CA");
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        verifier.build().expect("a verifier of client certificates")
    }

    /// ca.pem, client.pem and client.key, in a new directory.
    pub fn write_files(&self) -> TempDir {
        let params = named("Mock tenant client", &[]);
        let (certificate, key) = self.sign(params, ExtendedKeyUsagePurpose::ClientAuth);
        let directory = tempfile::Builder::new().prefix("oneaccess-tenant-").tempdir();
        let directory = directory.expect("a temporary directory");
        for (name, text) in [
            ("ca.pem", self.pem()),
            ("client.pem", certificate.pem()),
            ("client.key", key.serialize_pem()),
        ] {
            fs::write(directory.path().join(name), text).expect("a temporary file");
        }
        directory
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> (Certificate, KeyPair) {
        // Strict verifiers, such as Python's, require it.
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![usage];
        let key = new_key();
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate, key)
    }
}

pub fn for_loopback() -> CertificateParams {
    named("Mock tenant", &["localhost", "127.0.0.1", "::1"])
}

fn named(common_name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(hosts).expect("names for a certificate");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}
