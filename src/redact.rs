//! Makes text of strangers fit to be shown: short, on one line, without secrets and tokens.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use zeroize::Zeroizing;

const MASK: &str = "[hidden]";
/// A run of token characters of this length is taken for a token.
const TOKEN_LENGTH: usize = 24;
/// A word after one of these and a colon or an equals sign is taken for a secret.
const TELLTALE: [&str; 3] = ["token", "secret", "password"];

pub(crate) struct Redact {
    /// Longest first: one form may hold another.
    secrets: Vec<Zeroizing<String>>,
}

impl Redact {
    /// Knows the secret and the forms in which it was sent.
    pub fn new(client_id: &str, secret: &str) -> Redact {
        let basic = Zeroizing::new(format!("{client_id}:{secret}"));
        let json = serde_json::Value::from(secret).to_string();
        let mut secrets = vec![
            Zeroizing::new(secret.to_owned()),
            Zeroizing::new(utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string()),
            Zeroizing::new(BASE64_STANDARD.encode(secret)),
            Zeroizing::new(BASE64_STANDARD.encode(&*basic)),
            Zeroizing::new(json.trim_matches('"').to_owned()),
        ];
        secrets.retain(|secret| !secret.is_empty());
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Redact { secrets }
    }

    /// At most `longest` characters of it, and no secret.
    pub fn shown(&self, text: &str, longest: usize) -> String {
        let mut text = text.to_owned();
        let decoded = percent_decode_str(&text).decode_utf8_lossy();
        if self.secrets.iter().any(|secret| decoded.contains(secret.as_str())) {
            text = decoded.into_owned();
        }
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), MASK);
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
