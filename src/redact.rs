//! Decides what of a stranger's text may be shown: short, on one line, without secrets and tokens.
//!
//! What is known (the client secret, the last token, the values of extra headers) is found whatever
//! its case and the blanks between its characters, and behind three layers of escapes (`%41`, `=41`,
//! `\u0041`, `\x41`, `&#65;`, `&amp;`); the secret also as base64 and in hexadecimal digits. Of what is
//! not known, long runs with digits and what words such as "token" introduce are taken for tokens.
//!
//! A secret of fewer than 4 characters, and a header's value of fewer than 8, is hidden only where it
//! is a word of its own: a secret `e` or a header `en-US` must not erase every message.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::secret::base64;
use crate::token::Token;

const MASK: &str = "[hidden]";
/// A run of token characters of this length is taken for a token.
const TOKEN_LENGTH: usize = 24;
/// A text with so much of the secret holds it in some encoding.
const TELLING_LENGTH: usize = 8;
/// A shorter secret is hidden only as a word of its own.
const SHORT_SECRET: usize = 4;
/// The same for the value of a header, which is often `true` or `zh-CN`.
const SHORT_HEADER: usize = 8;
/// An escape of an escape of an escape.
const LAYERS: usize = 3;
/// What an escape begins with. Quoted-printable is looked for separately: read as such, the form
/// `client_secret=ab1%21` would lose the `ab` of its secret.
const ESCAPES: [&[char]; 2] = [&['%', '\\', '&'], &['%', '=', '\\', '&']];
/// No message is longer. To look for secrets in a longer text could take seconds.
const MAX_TEXT_BYTES: usize = 64 << 10;
const TOO_LONG: &str = "[too long to show]";
/// A word that one of these introduces is taken for a secret.
const TELLTALE: [&str; 6] = ["token", "secret", "password", "令牌", "密钥", "密码"];

type Secret = Zeroizing<String>;

/// What must not be shown. Its encodings are made only when there is something to show.
pub(crate) struct Redact<'a> {
    pub client_id: &'a str,
    pub secret: &'a str,
    /// The token that came last.
    pub token: Option<&'a Token>,
    pub headers: &'a [(String, String)],
}

/// Something to be hidden, in its canonical form.
struct Needle {
    canonical: Secret,
    shortest: usize,
}

impl Redact<'_> {
    /// At most `longest` characters of a sentence, without secrets and what looks like one.
    pub fn shown(&self, text: &str, longest: usize) -> String {
        let line = one_line(&self.without_secrets(text));
        shortened(&mask_tokens(line.trim(), longest), longest)
    }

    /// The same of a host, in which a long word is no token.
    pub fn host(&self, text: &str, longest: usize) -> String {
        shortened(&self.without_secrets(text), longest)
    }

    /// The same of a code, such as `APP.ORGANIZATION.ACCOUNT.0038`. What is no code is a sentence.
    pub fn code(&self, text: &str, longest: usize) -> String {
        let of_code = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        // A code has words and numbers; the parts of a token have letters and digits.
        let mixed = |part: &str| {
            let digits = part.bytes().filter(u8::is_ascii_digit).count();
            part.len() >= TELLING_LENGTH && digits > 0 && digits < part.len()
        };
        let is_token = looks_like_token(text) && text.split(['.', '_', '-']).any(mixed);
        if text.chars().all(of_code) && !is_token {
            return shortened(&self.without_secrets(text), longest);
        }
        self.shown(text, longest)
    }

    fn without_secrets(&self, text: &str) -> Secret {
        if text.len() > MAX_TEXT_BYTES {
            return Zeroizing::new(TOO_LONG.to_owned());
        }
        let mut shown = Zeroizing::new(text.to_owned());
        for escapes in ESCAPES {
            let needles = self.needles(escapes);
            let mut layer = shown.clone();
            for _ in 0..=LAYERS {
                let masked = masked(&layer, &needles);
                let below = unescaped(&masked, escapes);
                if masked != layer {
                    shown = masked;
                } else if below == layer {
                    break;
                }
                layer = below;
            }
        }
        let parts = self.secret.split(|c: char| !c.is_ascii_alphanumeric());
        let telling = parts.max_by_key(|part| part.len()).unwrap_or_default();
        let tells = telling.len() >= TELLING_LENGTH
            && canonical(&shown).0.contains(canonical(telling).0.as_str());
        if tells { Zeroizing::new(MASK.to_owned()) } else { shown }
    }

    fn needles(&self, escapes: &[char]) -> Vec<Needle> {
        let basic = Zeroizing::new([self.client_id, ":", self.secret].concat());
        let base64 = [base64(self.secret), base64(&basic)];
        let unpadded = base64.iter().map(|encoded| encoded.trim_end_matches('='));
        let hexadecimal = hexadecimal(self.secret);
        let secrets = [self.secret, hexadecimal.as_str()];
        let secrets = secrets.into_iter().chain(unpadded);
        let secrets = secrets.chain(self.token.map(Token::access_token));
        let headers = self.headers.iter().map(|(_, value)| value.as_str());
        let known = secrets.map(|secret| (secret, SHORT_SECRET));
        let known = known.chain(headers.map(|value| (value, SHORT_HEADER)));
        let mut needles = Vec::new();
        for (text, shortest) in known {
            // What looks like an escape within a secret is decoded with the text around it.
            let mut layer = Zeroizing::new(text.to_owned());
            for _ in 0..=LAYERS {
                let below = unescaped(&layer, escapes);
                needles.push(Needle { canonical: canonical(&layer).0, shortest });
                if below == layer {
                    break;
                }
                layer = below;
            }
        }
        needles.retain(|needle| !needle.canonical.is_empty());
        needles
    }
}

impl Needle {
    /// Where `text` holds it, of which `canonical` and `from` are the canonical form.
    fn places(&self, text: &str, canonical: &str, from: &[usize]) -> Vec<Range<usize>> {
        let found = canonical.match_indices(self.canonical.as_str()).map(|(at, found)| {
            let last = from[at + found.len() - 1];
            let end = last + text[last..].chars().next().map_or(0, char::len_utf8);
            from[at]..end
        });
        let is_short = self.canonical.chars().count() < self.shortest;
        let places = found.filter(|place| !is_short || is_word(text, place));
        places.map(|place| with_what_was_dropped(text, place)).collect()
    }
}

fn masked(text: &str, needles: &[Needle]) -> Secret {
    let (canonical, from) = canonical(text);
    let places = needles.iter().flat_map(|needle| needle.places(text, &canonical, &from));
    let mut places: Vec<Range<usize>> = places.collect();
    places.sort_by_key(|place| place.start);
    let mut shown = Zeroizing::new(String::with_capacity(text.len()));
    let mut end = 0;
    for place in places {
        if place.start >= end {
            shown.push_str(&text[end..place.start]);
            shown.push_str(MASK);
        }
        end = end.max(place.end);
    }
    shown.push_str(&text[end..]);
    shown
}

/// What stays the same when a text is quoted, wrapped, written in capitals or in the other alphabet
/// of base64 (RFC 4648, section 5); and where in the text each byte of it comes from.
fn canonical(text: &str) -> (Secret, Vec<usize>) {
    // A character of two bytes has up to three capitals of two bytes.
    let mut canonical = Zeroizing::new(String::with_capacity(3 * text.len()));
    let mut from = Vec::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if c.is_whitespace() || c.is_control() || is_dropped(c) {
            continue;
        }
        let c = if c == '_' { '/' } else { c };
        // Capitals, because two of them may be one small letter: `SS` and `ß`.
        canonical.extend(c.to_uppercase());
        from.resize(canonical.len(), at);
    }
    (canonical, from)
}

/// `+` is a blank in a form and `-` in base64url; `\` escapes.
fn is_dropped(c: char) -> bool {
    matches!(c, '+' | '-' | '\\')
}

/// They may belong to a secret at whose ends they are, and base64 is padded with `=`.
fn with_what_was_dropped(text: &str, place: Range<usize>) -> Range<usize> {
    let start = text[..place.start].trim_end_matches(is_dropped).len();
    let rest = text[place.end..].trim_start_matches(|c| is_dropped(c) || c == '=').len();
    start..text.len() - rest
}

fn is_word(text: &str, place: &Range<usize>) -> bool {
    let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text[..place.start].ends_with(goes_on) && !text[place.end..].starts_with(goes_on)
}

/// The text with one layer of escapes less.
fn unescaped(text: &str, escapes: &[char]) -> Secret {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some(at) = rest.find(escapes) {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        let length = unescape(rest, &mut bytes).unwrap_or_else(|| {
            bytes.push(rest.as_bytes()[0]);
            1
        });
        rest = &rest[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())
}

/// Decodes the escape with which `text` begins; how long it was.
fn unescape(text: &str, bytes: &mut Vec<u8>) -> Option<usize> {
    let number = |from: usize, to: usize, radix| {
        let digits = text
            .get(from..to)
            .filter(|digits| digits.starts_with(|c: char| c.is_ascii_alphanumeric()));
        u32::from_str_radix(digits?, radix).ok()
    };
    let (code, length) = match text.as_bytes() {
        [b'%' | b'=', ..] => {
            bytes.push(number(1, 3, 16)? as u8);
            return Some(3);
        }
        [b'\\', b'x' | b'X', ..] => {
            bytes.push(number(2, 4, 16)? as u8);
            return Some(4);
        }
        [b'\\', b'u' | b'U', ..] => (number(2, 6, 16)?, 6),
        [b'&', ..] => {
            // The longest is `&#x10ffff;`.
            let end = text.bytes().take(10).position(|byte| byte == b';')?;
            let code = match text[1..end].to_ascii_lowercase().as_str() {
                "amp" => u32::from('&'),
                "lt" => u32::from('<'),
                "gt" => u32::from('>'),
                "quot" => u32::from('"'),
                "apos" => u32::from('\''),
                name if name.starts_with("#x") => number(3, end, 16)?,
                name if name.starts_with('#') => number(2, end, 10)?,
                _ => return None,
            };
            (code, end + 1)
        }
        _ => return None,
    };
    let mut buffer = [0; 4];
    bytes.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes());
    Some(length)
}

fn hexadecimal(text: &str) -> Secret {
    let mut digits = Zeroizing::new(String::with_capacity(2 * text.len()));
    for byte in text.bytes() {
        digits
            .extend([byte >> 4, byte & 15].map(|half| b"0123456789abcdef"[half as usize] as char));
    }
    digits
}

/// At most `longest` characters of a text, on one line.
pub(crate) fn shortened(text: &str, longest: usize) -> String {
    let text = one_line(text);
    let text = text.trim();
    let mut line: String = text.chars().take(longest).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    line
}

/// Without characters that break the line, or turn around what follows.
pub(crate) fn one_line(text: &str) -> String {
    let breaks =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if breaks(c) { ' ' } else { c }).collect()
}

/// Masks at least the first `longest` characters; each run of the rest would cost as much as all
/// before it.
fn mask_tokens(text: &str, longest: usize) -> String {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next().filter(|_| shown.len() <= 4 * longest) {
        let same = |c: char| is_token(c) == is_token(first);
        let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        let is_secret = is_token(first) && (looks_like_token(run) || follows_telltale(&shown, run));
        shown.push_str(if is_secret { MASK } else { run });
        rest = after;
    }
    shown
}

fn looks_like_token(run: &str) -> bool {
    run.len() >= TOKEN_LENGTH && run.bytes().any(|b| b.is_ascii_digit())
}

/// `token: x`, `token=x`, `token 'x'`, and `token x1`.
fn follows_telltale(before: &str, run: &str) -> bool {
    let clause = before.rsplit([';', ',', '.', '(', '，', '。', '；']).next().unwrap_or_default();
    let clause = clause.to_ascii_lowercase();
    let sentence = clause.trim_end();
    let introduces = sentence.ends_with([':', '=', '：', '"', '\'', '“']);
    let has_digit = run.bytes().any(|b| b.is_ascii_digit());
    TELLTALE.iter().any(|word| {
        (introduces && sentence.contains(word)) || (has_digit && sentence.ends_with(word))
    })
}

#[cfg(test)]
#[path = "../tests/redact/mod.rs"]
mod tests;
