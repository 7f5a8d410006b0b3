//! Certificates for tests, valid and invalid ones.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

/// A certificate authority.
pub struct Ca(CertifiedIssuer<'static, KeyPair>);

/// The content of a certificate file (possibly with intermediates) and its key, both PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Ca {
    pub fn new() -> Ca {
        let key = KeyPair::generate().expect("a key");
        Ca(CertifiedIssuer::self_signed(Ca::params("Test CA"), key).expect("a CA"))
    }

    /// An intermediate CA signed by this one.
    pub fn intermediate(&self) -> Ca {
        let key = KeyPair::generate().expect("a key");
        let params = Ca::params("Test intermediate CA");
        Ca(CertifiedIssuer::signed_by(params, key, &self.0).expect("a CA"))
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn server(&self, hosts: &[&str]) -> Identity {
        self.sign(named("Test server", hosts))
    }

    pub fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    /// A self-signed certificate.
    pub fn self_signed(params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Writes the certificate and the key; returns both paths.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let paths = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        fs::write(&paths.0, &self.certificate).expect("a file");
        fs::write(&paths.1, &self.key).expect("a file");
        paths
    }
}

pub fn named(common_name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(hosts).expect("names for a certificate");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
