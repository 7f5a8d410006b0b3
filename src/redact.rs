//! Makes text from outside (a response, a web page, a host name) fit for an error message: short, on
//! one line, without secrets and tokens.
//!
//! A server may echo the client secret percent-encoded, inside HTML, in base64, in capitals, or in
//! several of these at once. Instead of a list of all combinations, the text and the secret are
//! brought into one *canonical form* and compared there, once for each *layer of escapes*:
//!
//! 1. The canonical form is what such changes leave alone: letters become capitals; blanks, control
//!    characters and `+`, `-`, `\` are dropped; `_` becomes `/`, as base64url becomes base64.
//! 2. If the text does not contain the secret, one layer of escapes (`%41`, `=41`, `\u0041`, `\x41`,
//!    `&#65;`, `&amp;`) is decoded and the result searched again, three times at most.
//! 3. What was found is replaced by `[hidden]`, and the message quotes the text in which it was found.
//!
//! For example, the secret is `ab-1&x`, its canonical form `AB1&X`:
//!
//! | layer | text | canonical form |
//! |---|---|---|
//! | 0 | `no client has "AB%252D1%2526X"` | `NOCLIENTHAS"AB%252D1%2526X"` |
//! | 1 | `no client has "AB%2D1%26X"` | `NOCLIENTHAS"AB%2D1%26X"` |
//! | 2 | `no client has "AB-1&X"` | `NOCLIENTHAS"AB1&X"`: found |
//!
//! The message says `no client has "[hidden]"`.
//!
//! The same search finds the secret in base64, alone and as `client_id:client_secret`, and in
//! hexadecimal digits, the latest access token, and the values of extra headers.
//!
//! A short text is hidden only where it stands as a word of its own: a secret of fewer than 4
//! characters, and a header value of fewer than 8. The secret `e` must not turn "denied" into
//! "d[hidden]ni[hidden]d", and the header value `true` must not change "untrue".
//!
//! A token that this client does not know is recognised by its looks: a long run of token characters
//! with a digit, or the word after "token", "secret" or "password".

use std::ops::Range;

use zeroize::Zeroizing;

use crate::secret::base64;
use crate::token::Token;

const MASK: &str = "[hidden]";
/// A run of so many token characters, one of them a digit, is taken for a token.
const MIN_TOKEN_LENGTH: usize = 24;
/// A text that contains a part of the secret of this length is not shown at all.
const MIN_REVEALING_LENGTH: usize = 8;
/// Secrets and tokens of so many characters are hidden inside longer words, too.
const MIN_SECRET_INSIDE_WORD: usize = 4;
/// The same for header values, which are often ordinary words such as `true` or `zh-CN`.
const MIN_HEADER_INSIDE_WORD: usize = 8;
/// For example HTML in JSON in a URL.
const MAX_ESCAPE_LAYERS: usize = 3;
/// What an escape begins with. The text is searched twice, because `=` begins an escape in
/// quoted-printable only: with it, `client_secret=ab1%21` is read as `client_secret\xab1!`, which no
/// longer contains the secret `ab1!`.
const ESCAPE_STARTS: [&[char]; 2] = [&['%', '\\', '&'], &['%', '=', '\\', '&']];
/// Searching a longer text could take seconds, and no message is that long.
const MAX_TEXT_BYTES: usize = 64 << 10;
const TOO_LONG: &str = "[too long to show]";
/// Words that announce a token or a secret, which is then hidden however short it is.
const ANNOUNCING_WORDS: [&str; 6] = ["token", "secret", "password", "令牌", "密钥", "密码"];

type Secret = Zeroizing<String>;

/// What must not be shown. Its encodings are computed only when there is a text to redact.
pub(crate) struct Redactor<'a> {
    pub client_id: &'a str,
    pub secret: &'a str,
    pub latest_token: Option<&'a Token>,
    /// Extra headers: names and values. Only the values are hidden.
    pub headers: &'a [(String, String)],
}

/// A text to hide, in its canonical form.
struct HiddenText {
    canonical: Secret,
    /// With fewer characters it is hidden only as a word of its own.
    min_length_inside_word: usize,
}

impl Redactor<'_> {
    /// At most `max_chars` characters of a sentence, without secrets and what looks like a token.
    pub fn sentence(&self, text: &str, max_chars: usize) -> String {
        let line = one_line(&self.without_secrets(text));
        shortened(&mask_likely_tokens(line.trim(), max_chars), max_chars)
    }

    /// At most `max_chars` characters of a host name, without secrets. A long name with digits is not
    /// taken for a token.
    pub fn host(&self, text: &str, max_chars: usize) -> String {
        shortened(&self.without_secrets(text), max_chars)
    }

    /// At most `max_chars` characters of an error code, such as `APP.ORGANIZATION.ACCOUNT.0038`, which
    /// is not taken for a token. What cannot be a code is redacted as a sentence.
    pub fn code(&self, text: &str, max_chars: usize) -> String {
        let of_code = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        // A code consists of words and numbers (`ACCOUNT`, `0038`), a token of parts with letters and
        // digits (`eyJhbGciOiJSUzI1NiJ9`).
        let mixed = |part: &str| {
            let digits = part.bytes().filter(u8::is_ascii_digit).count();
            part.len() >= MIN_REVEALING_LENGTH && digits > 0 && digits < part.len()
        };
        let is_token = looks_like_token(text) && text.split(['.', '_', '-']).any(mixed);
        if text.chars().all(of_code) && !is_token {
            return shortened(&self.without_secrets(text), max_chars);
        }
        self.sentence(text, max_chars)
    }

    fn without_secrets(&self, text: &str) -> Secret {
        if text.len() > MAX_TEXT_BYTES {
            return Zeroizing::new(TOO_LONG.to_owned());
        }
        let mut shown = Zeroizing::new(text.to_owned());
        for escapes in ESCAPE_STARTS {
            let hidden = self.hidden_texts(escapes);
            let mut layer = shown.clone();
            for _ in 0..=MAX_ESCAPE_LAYERS {
                let masked = mask(&layer, &hidden);
                let decoded = without_one_layer(&masked, escapes);
                if masked != layer {
                    shown = masked;
                } else if decoded == layer {
                    break;
                }
                layer = decoded;
            }
        }
        if self.contains_part_of_secret(&shown) { Zeroizing::new(MASK.to_owned()) } else { shown }
    }

    /// Whether the longest word of the secret is in the text. Then some encoding that is not known
    /// here changed the rest of the secret, and the text must not be shown.
    fn contains_part_of_secret(&self, text: &str) -> bool {
        let words = self.secret.split(|c: char| !c.is_ascii_alphanumeric());
        let longest = words.max_by_key(|word| word.len()).unwrap_or_default();
        longest.len() >= MIN_REVEALING_LENGTH
            && canonical(text).0.contains(canonical(longest).0.as_str())
    }

    fn hidden_texts(&self, escapes: &[char]) -> Vec<HiddenText> {
        let basic = Zeroizing::new([self.client_id, ":", self.secret].concat());
        let base64 = [base64(self.secret), base64(&basic)];
        let unpadded = base64.iter().map(|encoded| encoded.trim_end_matches('='));
        let hexadecimal = hexadecimal(self.secret);
        let secrets = [self.secret, hexadecimal.as_str()].into_iter().chain(unpadded);
        let secrets = secrets.chain(self.latest_token.map(Token::access_token));
        let headers = self.headers.iter().map(|(_, value)| value.as_str());
        let texts = secrets.map(|secret| (secret, MIN_SECRET_INSIDE_WORD));
        let texts = texts.chain(headers.map(|value| (value, MIN_HEADER_INSIDE_WORD)));
        let mut hidden = Vec::new();
        for (text, min_length_inside_word) in texts {
            // A secret such as `a%41` is itself decoded, to `aA`, when the text around it is.
            let mut layer = Zeroizing::new(text.to_owned());
            for _ in 0..=MAX_ESCAPE_LAYERS {
                let decoded = without_one_layer(&layer, escapes);
                hidden.push(HiddenText { canonical: canonical(&layer).0, min_length_inside_word });
                if decoded == layer {
                    break;
                }
                layer = decoded;
            }
        }
        hidden.retain(|text| !text.canonical.is_empty());
        hidden
    }
}

impl HiddenText {
    /// The ranges of `text` that contain it. `canonical` and `origins` are its canonical form.
    fn find_in(&self, text: &str, canonical: &str, origins: &[usize]) -> Vec<Range<usize>> {
        let found = canonical.match_indices(self.canonical.as_str()).map(|(at, found)| {
            let last = origins[at + found.len() - 1];
            let end = last + text[last..].chars().next().map_or(0, char::len_utf8);
            origins[at]..end
        });
        let is_short = self.canonical.chars().count() < self.min_length_inside_word;
        let ranges = found.filter(|range| !is_short || is_word(text, range));
        ranges.map(|range| with_dropped_neighbours(text, range)).collect()
    }
}

/// `text` with `[hidden]` in place of each of `hidden`.
fn mask(text: &str, hidden: &[HiddenText]) -> Secret {
    let (canonical, origins) = canonical(text);
    let ranges = hidden.iter().flat_map(|hidden| hidden.find_in(text, &canonical, &origins));
    let mut ranges: Vec<Range<usize>> = ranges.collect();
    ranges.sort_by_key(|range| range.start);
    let mut shown = Zeroizing::new(String::with_capacity(text.len()));
    let mut end = 0;
    for range in ranges {
        if range.start >= end {
            shown.push_str(&text[end..range.start]);
            shown.push_str(MASK);
        }
        end = end.max(range.end);
    }
    shown.push_str(&text[end..]);
    shown
}

/// The canonical form of a text (see the module), and for each of its bytes the index in `text` of the
/// character from which it comes.
fn canonical(text: &str) -> (Secret, Vec<usize>) {
    // A character of two bytes may have three capitals of two bytes each.
    let mut canonical = Zeroizing::new(String::with_capacity(3 * text.len()));
    let mut origins = Vec::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if c.is_whitespace() || c.is_control() || is_dropped(c) {
            continue;
        }
        let c = if c == '_' { '/' } else { c };
        // Capitals, since a server may turn `ß` into `SS`, which has no way back.
        canonical.extend(c.to_uppercase());
        origins.resize(canonical.len(), at);
    }
    (canonical, origins)
}

/// `+` is a blank in a form, base64url has `-` for `+` (RFC 4648, section 5), and `\` escapes.
fn is_dropped(c: char) -> bool {
    matches!(c, '+' | '-' | '\\')
}

/// The range with the dropped characters around it, which may belong to the secret, and the `=` with
/// which base64 is padded.
fn with_dropped_neighbours(text: &str, range: Range<usize>) -> Range<usize> {
    let start = text[..range.start].trim_end_matches(is_dropped).len();
    let rest = text[range.end..].trim_start_matches(|c| is_dropped(c) || c == '=').len();
    start..text.len() - rest
}

fn is_word(text: &str, range: &Range<usize>) -> bool {
    let continues = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text[..range.start].ends_with(continues) && !text[range.end..].starts_with(continues)
}

/// The text after one layer of escapes is decoded: `%2541` becomes `%41`.
fn without_one_layer(text: &str, escapes: &[char]) -> Secret {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some(at) = rest.find(escapes) {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        let length = decode_escape(rest, &mut bytes).unwrap_or_else(|| {
            bytes.push(rest.as_bytes()[0]);
            1
        });
        rest = &rest[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())
}

/// Appends what the escape at the start of `text` stands for, and returns the length of the escape;
/// `None` if there is no escape.
fn decode_escape(text: &str, bytes: &mut Vec<u8>) -> Option<usize> {
    let number = |from: usize, to: usize, radix| {
        // `from_str_radix` accepts a sign: `%+1` is no escape.
        let starts_well = |digits: &&str| digits.starts_with(|c: char| c.is_ascii_alphanumeric());
        let digits = text.get(from..to).filter(starts_well)?;
        u32::from_str_radix(digits, radix).ok()
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

/// At most `max_chars` characters of a text, on one line, with `…` in place of the rest.
pub(crate) fn shortened(text: &str, max_chars: usize) -> String {
    let text = one_line(text);
    let text = text.trim();
    let mut line: String = text.chars().take(max_chars).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    line
}

/// The text with blanks in place of control characters, line breaks, and the Unicode characters that
/// change the direction of the text after them.
pub(crate) fn one_line(text: &str) -> String {
    let breaks =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if breaks(c) { ' ' } else { c }).collect()
}

/// Masks what looks like a token in at least the first `max_chars` characters, and leaves out most of
/// what follows: each run is compared with the clause before it, so the time grows with the square of
/// the length.
fn mask_likely_tokens(text: &str, max_chars: usize) -> String {
    let of_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    // A character has at most four bytes.
    while let Some(first) = rest.chars().next().filter(|_| shown.len() <= 4 * max_chars) {
        let same_class = |c: char| of_token(c) == of_token(first);
        let end = rest.find(|c| !same_class(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        let is_token = of_token(first) && (looks_like_token(run) || is_announced(&shown, run));
        shown.push_str(if is_token { MASK } else { run });
        rest = after;
    }
    shown
}

fn looks_like_token(run: &str) -> bool {
    run.len() >= MIN_TOKEN_LENGTH && run.bytes().any(|b| b.is_ascii_digit())
}

/// Whether the text before a run announces a token: `token: x`, `token=x`, `token 'x'`, and, with a
/// digit in it, `token x1`.
fn is_announced(before: &str, run: &str) -> bool {
    let clause = before.rsplit([';', ',', '.', '(', '，', '。', '；']).next().unwrap_or_default();
    let clause = clause.to_ascii_lowercase();
    let clause = clause.trim_end();
    let introduces = clause.ends_with([':', '=', '：', '"', '\'', '“']);
    let has_digit = run.bytes().any(|b| b.is_ascii_digit());
    ANNOUNCING_WORDS
        .iter()
        .any(|word| (introduces && clause.contains(word)) || (has_digit && clause.ends_with(word)))
}

#[cfg(test)]
#[path = "../tests/redact/mod.rs"]
mod tests;
