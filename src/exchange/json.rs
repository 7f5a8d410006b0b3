//! The fields of an answer, as they lie in its body. What nobody asks for is only skipped: it costs no
//! memory, and no number out of range and no odd text in it costs the token beside it.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// Those that have a meaning here; of a name that comes twice, the last one.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub access_token: Option<&'a RawValue>,
    pub token_type: Option<&'a RawValue>,
    pub expires_in: Option<&'a RawValue>,
    pub scope: Option<&'a RawValue>,
    pub id_token: Option<&'a RawValue>,
    pub error: Option<&'a RawValue>,
    pub error_description: Option<&'a RawValue>,
    pub error_code: Option<&'a RawValue>,
    pub error_msg: Option<&'a RawValue>,
    pub code: Option<&'a RawValue>,
    pub message: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    /// Or why `body` is not a JSON object: what follows "the body …".
    pub fn of(body: &'a str) -> Result<Fields<'a>, String> {
        let whole: &RawValue = serde_json::from_str(body).map_err(|error| {
            if error.is_eof() {
                return "is JSON that breaks off".to_owned();
            }
            // serde_json's own text may quote the token.
            let (line, column) = (error.line(), error.column());
            format!("is not JSON (line {line}, column {column})")
        })?;
        Fields::of_value(whole).ok_or_else(|| "is JSON but not an object".to_owned())
    }

    /// `None` if it is not an object.
    pub fn of_value(value: &'a RawValue) -> Option<Fields<'a>> {
        serde_json::from_str(value.get()).ok()
    }

    fn named(&mut self, name: &[u8]) -> Option<&mut Option<&'a RawValue>> {
        match name {
            b"access_token" => Some(&mut self.access_token),
            b"token_type" => Some(&mut self.token_type),
            b"expires_in" => Some(&mut self.expires_in),
            b"scope" => Some(&mut self.scope),
            b"id_token" => Some(&mut self.id_token),
            b"error" => Some(&mut self.error),
            b"error_description" => Some(&mut self.error_description),
            b"error_code" => Some(&mut self.error_code),
            b"error_msg" => Some(&mut self.error_msg),
            b"code" => Some(&mut self.code),
            b"message" => Some(&mut self.message),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields::default())
    }
}

impl<'de> Visitor<'de> for Fields<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        loop {
            let fields = &mut self;
            match map.next_key_seed(decoded(move |name| fields.named(name)))? {
                Some(Some(field)) => *field = Some(map.next_value()?),
                Some(None) => _ = map.next_value::<IgnoredAny>()?,
                None => return Ok(self),
            }
        }
    }
}

/// Hands the bytes of a string to a function. Bytes, because `\ud800` alone is JSON but no text.
struct Decoded<F>(F);

fn decoded<T, F: FnOnce(&[u8]) -> T>(then: F) -> Decoded<F> {
    Decoded(then)
}

impl<'de, T, F: FnOnce(&[u8]) -> T> DeserializeSeed<'de> for Decoded<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de, T, F: FnOnce(&[u8]) -> T> Visitor<'de> for Decoded<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<T, E> {
        Ok((self.0)(bytes))
    }
}

/// `None` if it is not a string.
pub(super) fn string(value: &RawValue) -> Option<Zeroizing<String>> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    decoded(lossy).deserialize(&mut deserializer).ok()
}

/// As `String::from_utf8_lossy`, with room enough from the start.
pub(super) fn lossy(bytes: &[u8]) -> Zeroizing<String> {
    const REPLACEMENT: &str = "\u{fffd}";
    let lengths = bytes.utf8_chunks().map(|chunk| chunk.valid().len() + REPLACEMENT.len());
    let mut text = Zeroizing::new(String::with_capacity(lengths.sum()));
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push_str(REPLACEMENT);
        }
    }
    text
}
