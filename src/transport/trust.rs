//! The TLS certificates: system roots, the CA file, the client certificate.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, RootCertStore};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::transport::RustlsConnector;
use zeroize::Zeroizing;

use super::explain::{Phase, exhausted_resource};
use super::lookup::no_descriptor;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::file;
use crate::os::{Forever, PerProcess};

const MAX_PEM_BYTES: usize = 16 << 20;
const NO_CERTIFICATE: &str = "it contains no certificate (no line -----BEGIN CERTIFICATE-----)";

/// How many of the operating system's roots are read.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Extent {
    /// The bundle file only, if there is one. The folder of single files takes several times as long to
    /// read and usually contains the same certificates.
    Bundle,
    All,
}

type Certificates = Arc<Vec<Certificate<'static>>>;

/// What the files contain that the configuration names.
#[derive(Clone)]
pub(super) struct Named {
    roots: Certificates,
    client: Option<ClientCert>,
}

/// What a client trusts, and the connector that keeps its TLS sessions.
pub(super) struct Trust {
    pub tls: TlsConfig,
    pub connector: Arc<RustlsConnector>,
}

/// The operating system's roots. Most clients trust nothing else, and share the connector, in which
/// the roots are decoded.
struct System {
    paths: (Option<PathBuf>, Vec<PathBuf>),
    roots: Certificates,
    connector: PerProcess<Arc<RustlsConnector>>,
}

/// Read at the first request of the program that needs them.
static SYSTEM: Forever<System> = Forever::empty();

impl Named {
    /// Reads and checks the files.
    pub fn load(config: &Config) -> Result<Named, Error> {
        let mut roots = Vec::new();
        if let Some(path) = &config.ca_file {
            roots = certificates("CA file", path)?;
            check_roots(path, &roots)?;
        }
        let client = match (&config.client_certificate_file, &config.client_key_file) {
            (Some(certificate), Some(key)) => Some(client_certificate(certificate, key)?),
            _ => None,
        };
        Ok(Named { roots: owned(&roots), client })
    }

    /// Together with the operating system's roots, if the configuration trusts them. They are read if
    /// that has not been done, or `again`.
    pub fn trust(&self, config: &Config, again: bool) -> Result<Trust, Error> {
        let mut roots = self.roots.clone();
        let mut connector = Arc::default();
        if config.system_roots && config.endpoint.is_https() {
            let system = system(again, roots.is_empty())?;
            if roots.is_empty() && self.client.is_none() {
                connector = system.connector.get(|_| Arc::default()).clone();
            }
            roots = match roots.is_empty() {
                true => system.roots.clone(),
                false => {
                    let system = system.roots.iter().map(|root| Certificate::from_der(root.der()));
                    Arc::new(roots.iter().cloned().chain(system).collect())
                }
            };
        }
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(provider()))
            .root_certs(RootCerts::Specific(roots))
            .client_cert(self.client.clone())
            .build();
        Ok(Trust { tls, connector })
    }
}

fn owned(certificates: &[CertificateDer]) -> Certificates {
    Arc::new(certificates.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
}

/// AES-128 first, as in most browsers: SHA-384, which comes with AES-256, takes a tenth of the time of
/// a whole request.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    let first = CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(|other| other.suite() != first);
    provider
}

/// Whether both have the same roots and the same client certificate.
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

fn system(again: bool, required: bool) -> Result<&'static System, Error> {
    let paths = system_paths();
    let known = SYSTEM.get().filter(|system| system.paths == paths);
    let extent = if again { Extent::All } else { Extent::Bundle };
    if let Some(system) = known.filter(|_| !again) {
        return Ok(system);
    }
    let roots = owned(&read_system_roots(extent, required, &paths)?);
    let der =
        |roots: &Certificates| roots.iter().map(|root| root.der().to_owned()).collect::<Vec<_>>();
    match known.filter(|system| der(&system.roots) == der(&roots)) {
        Some(system) => Ok(system),
        None => Ok(SYSTEM.set(System { paths, roots, connector: PerProcess::new(Arc::default()) })),
    }
}

fn read_system_roots(
    extent: Extent,
    required: bool,
    (bundle, folders): &(Option<PathBuf>, Vec<PathBuf>),
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let (mut roots, mut failures) = (Vec::new(), Vec::new());
    if let Some(path) = bundle {
        failures.extend(add_bundle(path, &mut roots));
    }
    if roots.is_empty() || extent == Extent::All {
        add_folders(folders, &mut roots, &mut failures);
        #[cfg(any(windows, target_os = "macos"))]
        if bundle.is_none() && folders.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            roots.extend(found.certs);
            failures.extend(found.errors.iter().map(|error| error.to_string()));
        }
    }
    // A folder often contains the bundle's certificates too. Sorted, because `same` compares in order.
    roots.sort_unstable_by(|one, other| one.as_ref().cmp(other));
    roots.dedup();
    if roots.is_empty() && required {
        let no_descriptor = no_descriptor();
        if let Some(why) = no_descriptor.and_then(|error| exhausted_resource(Phase::Lookup, &error))
        {
            let what = "the operating system's trusted certificates could not be read";
            return Err(Error::new(ErrorKind::Transport, format!("{what}: {why}")));
        }
        return Err(Error::new(ErrorKind::Config, no_roots(&failures)));
    }
    for failure in failures {
        log::warn!("not all of the system's trusted certificates could be read: {failure}");
    }
    Ok(roots)
}

fn no_roots(failures: &[String]) -> String {
    if let Some(why) = unusable_variable() {
        return format!("{why}; correct it or unset it, or set a CA file");
    }
    let why: Vec<String> = failures.iter().take(3).map(|why| format!(" ({why})")).collect();
    format!(
        "the operating system has no trusted certificates{}; install them (the package is often \
         called ca-certificates), point SSL_CERT_FILE at a PEM file, or set a CA file",
        why.concat()
    )
}

/// Why the file that `SSL_CERT_FILE` names cannot be used, if so. As in curl this is an error if nothing
/// else is trusted; otherwise it is added to the message when a server is not trusted.
pub(super) fn unusable_variable() -> Option<String> {
    let path = PathBuf::from(variable("SSL_CERT_FILE")?);
    let mut roots = Vec::new();
    let why = add_bundle(&path, &mut roots).filter(|_| roots.is_empty())?;
    Some(format!("the environment variable SSL_CERT_FILE names a file that is not usable, {why}"))
}

/// As in curl an empty variable counts as not set.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The bundle file and the folders of single files: those that the environment names, or else those
/// of the operating system, if it keeps its roots in files.
fn system_paths() -> (Option<PathBuf>, Vec<PathBuf>) {
    match (variable("SSL_CERT_FILE"), variable("SSL_CERT_DIR")) {
        #[cfg(all(unix, not(target_os = "macos")))]
        (None, None) => {
            let found = openssl_probe::probe();
            (found.cert_file, found.cert_dir)
        }
        (bundle, folders) => {
            let folders = folders.iter().flat_map(std::env::split_paths);
            let folders = folders.filter(|path| !path.as_os_str().is_empty());
            (bundle.map(PathBuf::from), folders.collect())
        }
    }
}

/// As `add_file`, but a file without a certificate is a failure.
fn add_bundle(path: &Path, roots: &mut Vec<CertificateDer<'static>>) -> Option<String> {
    let before = roots.len();
    let failure = add_file(path, roots);
    let found = roots.len() > before;
    let nothing = || format!("{}: {NO_CERTIFICATE}", path.display());
    failure.or_else(|| (!found).then(nothing))
}

/// rustls-native-certs is not used: it would block on a FIFO and read a device without end.
fn add_folders(
    folders: &[PathBuf],
    roots: &mut Vec<CertificateDer<'static>>,
    failures: &mut Vec<String>,
) {
    let mut seen = HashSet::new();
    for folder in folders {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                failures.push(format!("{}: {error}", folder.display()));
                continue;
            }
        };
        // Most entries are links to the same files (`openssl rehash`); some lead nowhere.
        for path in entries.flatten().filter_map(|entry| fs::canonicalize(entry.path()).ok()) {
            if path.is_file() && seen.insert(path.clone()) {
                failures.extend(add_file(&path, roots));
            }
        }
    }
}

/// Adds all readable certificates of a file, possibly none. Returns the first failure.
fn add_file(path: &Path, roots: &mut Vec<CertificateDer<'static>>) -> Option<String> {
    let mut failure = None;
    match file::read(path, MAX_PEM_BYTES) {
        Ok(pem) => {
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                match certificate {
                    Ok(certificate) => roots.push(certificate),
                    Err(error) => _ = failure.get_or_insert(error.to_string()),
                }
            }
        }
        Err(error) => failure = Some(error.to_string()),
    }
    failure.map(|why| format!("{}: {why}", path.display()))
}

fn check_roots(path: &Path, roots: &[CertificateDer<'static>]) -> Result<(), Error> {
    for (index, root) in roots.iter().enumerate() {
        RootCertStore::empty().add(root.clone()).map_err(|error| {
            let number = index + 1;
            unusable("CA file", path, &format!("certificate {number} is not usable: {error}"))
        })?;
    }
    Ok(())
}

fn client_certificate(certificate_path: &Path, key_path: &Path) -> Result<ClientCert, Error> {
    let chain = certificates("client certificate file", certificate_path)?;
    let pem = read("client key file", key_path)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let encrypted = pem.windows(9).any(|window| window == b"ENCRYPTED");
        let why = match encrypted {
            true => "the private key is encrypted; decrypt it first (openssl pkey -in … -out …)",
            false => "it contains no PEM private key (PKCS #8, PKCS #1 or SEC 1)",
        };
        unusable("client key file", key_path, why)
    })?;
    CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider()).map_err(
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

/// At least one certificate. The PEM parser skips garbage, so a file of garbage would be no error.
fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(what, path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(what, path, &format!("it is not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(unusable(what, path, NO_CERTIFICATE));
    }
    Ok(certificates)
}

fn read(what: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    file::read(path, MAX_PEM_BYTES).map_err(|error| unusable(what, path, &error.to_string()))
}

fn unusable(what: &str, path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the {what} {}: {why}", path.display()))
}
