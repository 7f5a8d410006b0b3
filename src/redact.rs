//! Makes text of strangers fit to be shown: short, on one line, without secrets and tokens.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str};
use zeroize::Zeroizing;

use crate::secret::{base64, percent_encode};
use crate::token::Token;

const MASK: &str = "[hidden]";
/// A run of token characters of this length is taken for a token.
const TOKEN_LENGTH: usize = 24;
/// A text with so much of the secret holds it in some encoding.
const TELLING_LENGTH: usize = 8;
/// A word that one of these introduces is taken for a secret.
const TELLTALE: [&str; 6] = ["token", "secret", "password", "令牌", "密钥", "密码"];

pub(crate) struct Redact {
    /// Longest first: one form may hold another.
    secrets: Vec<Zeroizing<String>>,
    /// What most encodings leave as it is.
    telling_part: Option<Zeroizing<String>>,
}

impl Redact {
    /// Knows the secret, the forms in which it was sent, and the token that came last.
    pub fn new(client_id: &str, secret: &str, token: Option<&Token>) -> Redact {
        let basic = Zeroizing::new([client_id, ":", secret].concat());
        let plain = Zeroizing::new(secret.to_owned());
        let form = percent_encode(secret, NON_ALPHANUMERIC);
        let mut secrets = vec![plain, form, base64(secret), base64(&basic)];
        secrets.extend(token.map(|token| Zeroizing::new(token.access_token().to_owned())));
        secrets.retain(|secret| !secret.is_empty());
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let parts = secret.split(|c: char| !c.is_ascii_alphanumeric());
        let telling_part = parts.max_by_key(|part| part.len()).unwrap_or_default();
        let tells = telling_part.len() >= TELLING_LENGTH;
        Redact { secrets, telling_part: tells.then(|| Zeroizing::new(telling_part.to_owned())) }
    }

    /// At most `longest` characters of a sentence, without secrets and what looks like one.
    pub fn shown(&self, text: &str, longest: usize) -> String {
        shortened(&mask_tokens(&self.without_secrets(text)), longest)
    }

    /// The same of a code or a host, in which a long word is no token.
    pub fn name(&self, text: &str, longest: usize) -> String {
        shortened(&self.without_secrets(text), longest)
    }

    fn without_secrets(&self, text: &str) -> String {
        let mut text = self.masked(text);
        for encoded in [text.clone(), text.replace('+', " ")] {
            let decoded = percent_decode_str(&encoded).decode_utf8_lossy();
            let masked = self.masked(&decoded);
            if masked != decoded {
                text = masked;
            }
        }
        match &self.telling_part {
            Some(part) if text.contains(part.as_str()) => MASK.to_owned(),
            _ => text,
        }
    }

    fn masked(&self, text: &str) -> String {
        let hide = |text: String, secret: &Zeroizing<String>| text.replace(secret.as_str(), MASK);
        self.secrets.iter().fold(text.to_owned(), hide)
    }
}

fn shortened(text: &str, longest: usize) -> String {
    let text = text.trim();
    let mut line: String = text.chars().take(longest).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    line
}

fn mask_tokens(text: &str) -> String {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
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
    let clause = clause.to_lowercase();
    let sentence = clause.trim_end();
    let introduces = sentence.ends_with([':', '=', '：', '"', '\'', '“']);
    let has_digit = run.bytes().any(|b| b.is_ascii_digit());
    TELLTALE.iter().any(|word| {
        (introduces && sentence.contains(word)) || (has_digit && sentence.ends_with(word))
    })
}
