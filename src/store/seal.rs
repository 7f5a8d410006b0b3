//! Encrypts the entries of the shared store, so that only processes with the same client secret can
//! read them, and nobody else can write one.
//!
//! From the client secret HKDF-SHA256 (RFC 5869) derives the name of the entry and its key;
//! ChaCha20-Poly1305 (RFC 8439) encrypts it. A key is used once: it depends on a random salt, which
//! stands before the ciphertext. Another secret, endpoint, client id, way to authenticate or header
//! gives another name and key.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::config::Config;

/// Changes with the content of an entry, so that an old library and a new one use different entries.
const VERSION: &[u8] = b"oneaccess store 1";
const SALT_LENGTH: usize = 32;
const NAME_LENGTH: usize = 16;

pub(super) struct Seal {
    key: Prk,
    pub name: String,
}

impl Seal {
    pub fn new(config: &Config, secret: &str) -> Seal {
        let key = Salt::new(HKDF_SHA256, VERSION).extract(secret.as_bytes());
        let mut name = [0; NAME_LENGTH];
        let info = [b"name".as_slice(), &identity(config)];
        let expanded = key.expand(&info, NameLength).expect("less than 255 hashes");
        expanded.fill(&mut name).expect("the length that was asked for");
        Seal { key, name: name.iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    /// `None` if the system has no random numbers.
    pub fn close(&self, mut plain: Zeroizing<Vec<u8>>) -> Option<Vec<u8>> {
        let salt = random::<SALT_LENGTH>()?;
        let tag =
            self.key(&salt).seal_in_place_separate_tag(nonce(), self.aad(), &mut plain).ok()?;
        Some([&salt, plain.as_slice(), tag.as_ref()].concat())
    }

    /// `None` if it was not made by `close` of the same seal.
    pub fn open(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (salt, ciphertext) = sealed.split_at_checked(SALT_LENGTH)?;
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        let length = self.key(salt).open_in_place(nonce(), self.aad(), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    fn key(&self, salt: &[u8]) -> LessSafeKey {
        let info = [b"key".as_slice(), salt];
        let expanded = self.key.expand(&info, &CHACHA20_POLY1305).expect("less than 255 hashes");
        LessSafeKey::new(UnboundKey::from(expanded))
    }

    fn aad(&self) -> Aad<&[u8]> {
        Aad::from(self.name.as_bytes())
    }
}

/// `None` if the system has no random numbers.
pub(super) fn random<const LENGTH: usize>() -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

/// Always the same, since each key is used once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

struct NameLength;

impl KeyType for NameLength {
    fn len(&self) -> usize {
        NAME_LENGTH
    }
}

/// What makes tokens interchangeable, besides the secret. Each part is preceded by its length, so that
/// no two lists look the same.
fn identity(config: &Config) -> Zeroizing<Vec<u8>> {
    let endpoint = config.endpoint.url();
    let style = if config.basic_auth { "basic" } else { "form" };
    let mut parts = vec![endpoint.as_str(), &config.client_id, style];
    for (name, value) in &config.headers {
        parts.extend([name.as_str(), value]);
    }
    // Without it, or with another one, a gateway may deny what it grants with it.
    let certificate = config.client_certificate_file.as_ref().map(|path| path.to_string_lossy());
    if let Some(path) = &certificate {
        parts.push(path);
    }
    let length = parts.iter().map(|part| 8 + part.len()).sum();
    let mut identity = Zeroizing::new(Vec::with_capacity(length));
    for part in parts {
        identity.extend((part.len() as u64).to_be_bytes());
        identity.extend(part.as_bytes());
    }
    identity
}

#[cfg(test)]
#[path = "../../tests/store/seal.rs"]
mod tests;
