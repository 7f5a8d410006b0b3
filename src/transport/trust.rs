//! Who is trusted and who we are: roots, the CA file, the client's certificate.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, RootCertStore};
use rustls_native_certs::CertificateResult;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::error::{Error, ErrorKind};

const LARGEST_FILE: u64 = 16 << 20;

/// How much of what the operating system trusts is read.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Extent {
    /// The bundle file, where there is one: the folder of single files beside it takes several times
    /// as long to read, and mostly holds the same.
    Bundle,
    All,
}

/// Reads from disk what is there now.
pub(super) fn load(config: &Config, extent: Extent) -> Result<TlsConfig, Error> {
    let provider = Arc::new(provider());
    let mut roots = Vec::new();
    if let Some(path) = &config.ca_file {
        roots = certificates("CA file", path)?;
        check_roots(path, &roots)?;
    }
    if config.system_roots && config.endpoint.is_https() {
        roots.extend(system_roots(extent, roots.is_empty())?);
    }
    let client = match &config.client_certificate {
        Some((certificate, key)) => Some(client_certificate(certificate, key, &provider)?),
        None => None,
    };
    let roots = roots.iter().map(|root| Certificate::from_der(root).to_owned());
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::from(roots))
        .client_cert(client)
        .build())
}

/// As most browsers: AES-128 first. The hash that comes with AES-256 takes a tenth of an exchange.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    let first = CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(|other| other.suite() != first);
    provider
}

/// Whether nothing has changed on disk: the roots, and our own certificate.
pub(super) fn same(one: &TlsConfig, other: &TlsConfig) -> bool {
    let own = |config: &TlsConfig| {
        let chain = config.client_cert().map(ClientCert::certs).unwrap_or_default();
        chain.iter().map(|certificate| certificate.der().to_owned()).collect::<Vec<_>>()
    };
    same_roots(one, other) && own(one) == own(other)
}

fn same_roots(one: &TlsConfig, other: &TlsConfig) -> bool {
    match (one.root_certs(), other.root_certs()) {
        (RootCerts::Specific(one), RootCerts::Specific(other)) => {
            one.iter().map(Certificate::der).eq(other.iter().map(Certificate::der))
        }
        _ => false,
    }
}

fn system_roots(extent: Extent, required: bool) -> Result<Vec<CertificateDer<'static>>, Error> {
    if let Some(bundle) = (extent == Extent::Bundle).then(bundle).flatten() {
        let found = rustls_native_certs::load_certs_from_paths(Some(&bundle), None);
        if !found.certs.is_empty() {
            return Ok(with_warnings(found));
        }
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() && required {
        let why: Vec<String> = found.errors.iter().map(|error| format!(" ({error})")).collect();
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "the operating system has no trusted certificates{}; install them (the package is \
                 often called ca-certificates), point SSL_CERT_FILE at a PEM file, or set a CA file",
                why.concat()
            ),
        ));
    }
    Ok(with_warnings(found))
}

fn with_warnings(found: CertificateResult) -> Vec<CertificateDer<'static>> {
    for error in found.errors {
        log::warn!("not all of the system's trusted certificates could be read: {error}");
    }
    found.certs
}

/// Where the system has all its roots in one file; the environment may name another, or only a folder.
fn bundle() -> Option<PathBuf> {
    match (std::env::var_os("SSL_CERT_FILE"), std::env::var_os("SSL_CERT_DIR")) {
        (Some(file), _) => Some(file.into()),
        (None, Some(_)) => None,
        #[cfg(all(unix, not(target_os = "macos")))]
        (None, None) => openssl_probe::probe().cert_file,
        #[cfg(not(all(unix, not(target_os = "macos"))))]
        (None, None) => None,
    }
}

fn check_roots(path: &Path, roots: &[CertificateDer<'static>]) -> Result<(), Error> {
    for (index, root) in roots.iter().enumerate() {
        RootCertStore::empty().add(root.clone()).map_err(|error| {
            let number = index + 1;
            unusable("CA file", path, &format!("certificate {number} in it is not usable: {error}"))
        })?;
    }
    Ok(())
}

fn client_certificate(
    certificate_path: &Path,
    key_path: &Path,
    provider: &CryptoProvider,
) -> Result<ClientCert, Error> {
    let chain = certificates("client certificate file", certificate_path)?;
    let pem = read("client key file", key_path)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let encrypted = pem.windows(9).any(|window| window == b"ENCRYPTED");
        let why = match encrypted {
            true => "the key in it is encrypted; decrypt it first (openssl pkey -in … -out …)",
            false => "there is no PEM private key (PKCS #8, PKCS #1 or SEC 1) in it",
        };
        unusable("client key file", key_path, why)
    })?;
    CertifiedKey::from_der(chain.clone(), key.clone_key(), provider).map_err(
        |error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let certificate = certificate_path.display();
                let why = format!("the key does not belong to the certificate in {certificate}");
                unusable("client key file", key_path, &why)
            }
            rustls::Error::InvalidCertificate(why) => unusable(
                "client certificate file",
                certificate_path,
                &format!("the certificate is not usable: {why}"),
            ),
            other => {
                unusable("client key file", key_path, &format!("the key is not usable: {other}"))
            }
        },
    )?;
    let chain: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let key = PrivateKey::from_pem(&pem)
        .map_err(|error| unusable("client key file", key_path, &error.to_string()))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// At least one certificate: garbage in a PEM file is otherwise no error at all.
fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(what, path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(what, path, &format!("it is not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(unusable(
            what,
            path,
            "there is no certificate in it (a line -----BEGIN CERTIFICATE----- is looked for)",
        ));
    }
    Ok(certificates)
}

fn read(what: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let failed = |error: std::io::Error| unusable(what, path, &error.to_string());
    let found = std::fs::metadata(path).map_err(failed)?;
    // Opening a pipe could wait for ever.
    if !found.is_file() && !found.is_dir() {
        return Err(unusable(what, path, "it is not a regular file"));
    }
    let length = found.len().min(LARGEST_FILE) as usize;
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
    let file = File::open(path).map_err(failed)?;
    file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn unusable(what: &str, path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the {what} {}: {why}", path.display()))
}
