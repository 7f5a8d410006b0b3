//! Makes text of strangers fit to be shown: short, on one line, without secrets and tokens.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str};
use zeroize::Zeroizing;

use crate::secret::{base64, percent_encode};

const MASK: &str = "[hidden]";
/// A run of token characters of this length is taken for a token.
const TOKEN_LENGTH: usize = 24;
/// A text with so much of the secret holds it in some encoding.
const TELLING_LENGTH: usize = 8;
/// A word after one of these and a colon or an equals sign is taken for a secret.
const TELLTALE: [&str; 3] = ["token", "secret", "password"];

pub(crate) struct Redact {
    /// Longest first: one form may hold another.
    secrets: Vec<Zeroizing<String>>,
    /// What most encodings leave as it is.
    telling_part: Option<Zeroizing<String>>,
}

impl Redact {
    /// Knows the secret and the forms in which it was sent.
    pub fn new(client_id: &str, secret: &str) -> Redact {
        let basic = Zeroizing::new([client_id, ":", secret].concat());
        let plain = Zeroizing::new(secret.to_owned());
        let form = percent_encode(secret, NON_ALPHANUMERIC);
        let mut secrets = vec![plain, form, base64(secret), base64(&basic)];
        secrets.retain(|secret| !secret.is_empty());
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let parts = secret.split(|c: char| !c.is_ascii_alphanumeric());
        let telling_part = parts.max_by_key(|part| part.len()).unwrap_or_default();
        let tells = telling_part.len() >= TELLING_LENGTH;
        Redact { secrets, telling_part: tells.then(|| Zeroizing::new(telling_part.to_owned())) }
    }

    /// At most `longest` characters of it, and no secret.
    pub fn shown(&self, text: &str, longest: usize) -> String {
        let mut text = self.masked(text);
        for encoded in [text.clone(), text.replace('+', " ")] {
            let decoded = percent_decode_str(&encoded).decode_utf8_lossy();
            let masked = self.masked(&decoded);
            if masked != decoded {
                text = masked;
            }
        }
        if self.telling_part.as_ref().is_some_and(|part| text.contains(part.as_str())) {
            return MASK.to_owned();
        }
        let masked = mask_tokens(&text);
        let mut line: String = masked
            .trim()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(longest)
            .collect();
        if line.len() < masked.trim().len() {
            line.push('…');
        }
        line
    }

    fn masked(&self, text: &str) -> String {
        let hide = |text: String, secret: &Zeroizing<String>| text.replace(secret.as_str(), MASK);
        self.secrets.iter().fold(text.to_owned(), hide)
    }
}

fn mask_tokens(text: &str) -> String {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let same = |c: char| is_token(c) == is_token(first);
        let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        let is_secret = is_token(first) && (looks_like_token(run) || follows_telltale(&shown));
        shown.push_str(if is_secret { MASK } else { run });
        rest = after;
    }
    shown
}

fn looks_like_token(run: &str) -> bool {
    run.len() >= TOKEN_LENGTH && run.bytes().any(|b| b.is_ascii_digit())
}

fn follows_telltale(before: &str) -> bool {
    let Some(sentence) = before.trim_end_matches([' ', '"', '\'']).strip_suffix([':', '=']) else {
        return false;
    };
    let clause = sentence.rsplit([';', ',', '.', '(']).next().unwrap_or_default();
    let clause = clause.to_ascii_lowercase();
    TELLTALE.iter().any(|word| clause.contains(word))
}
