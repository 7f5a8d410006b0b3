//! The JSON fields of a response that have a meaning here, borrowed from its body. All other fields
//! are skipped: they cost no memory, and a number out of range or an invalid string in one of them
//! does not cost the token.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// The fields by name, not decoded yet. Of a name that occurs twice, the last value counts.
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
    /// The fields of the body, or why it is not a JSON object: what follows "the body …" in a message.
    pub fn parse(body: &'a str) -> Result<Fields<'a>, String> {
        let whole: &RawValue = serde_json::from_str(body).map_err(|error| {
            if error.is_eof() {
                return "is truncated JSON".to_owned();
            }
            // Not serde_json's own message, which may quote the token.
            let (line, column) = (error.line(), error.column());
            format!("is not JSON (line {line}, column {column})")
        })?;
        Fields::of_object(whole).ok_or_else(|| "is JSON but not an object".to_owned())
    }

    /// The fields of a nested object; `None` if `value` is not an object.
    pub fn of_object(value: &'a RawValue) -> Option<Fields<'a>> {
        serde_json::from_str(value.get()).ok()
    }

    fn field_mut(&mut self, name: &[u8]) -> Option<&mut Option<&'a RawValue>> {
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
            match map.next_key_seed(DecodedString::with(move |name| fields.field_mut(name)))? {
                Some(Some(field)) => *field = Some(map.next_value()?),
                Some(None) => _ = map.next_value::<IgnoredAny>()?,
                None => return Ok(self),
            }
        }
    }
}

/// Passes the bytes of a decoded JSON string to a function. Bytes, because the lone surrogate
/// `"\ud800"` is valid JSON but not valid UTF-8.
struct DecodedString<F>(F);

impl<F> DecodedString<F> {
    fn with<T>(function: F) -> DecodedString<F>
    where
        F: FnOnce(&[u8]) -> T,
    {
        DecodedString(function)
    }
}

impl<'de, T, F: FnOnce(&[u8]) -> T> DeserializeSeed<'de> for DecodedString<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de, T, F: FnOnce(&[u8]) -> T> Visitor<'de> for DecodedString<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<T, E> {
        Ok((self.0)(bytes))
    }
}

/// The text of a JSON string; `None` if `value` is not a string.
pub(super) fn decode_string(value: &RawValue) -> Option<Zeroizing<String>> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    DecodedString::with(from_utf8_lossy).deserialize(&mut deserializer).ok()
}

/// Like `String::from_utf8_lossy`, with the whole capacity from the start: a buffer that grows leaves
/// a copy of the token behind.
pub(super) fn from_utf8_lossy(bytes: &[u8]) -> Zeroizing<String> {
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
