//! Texts that contain a secret in some form, which must be hidden, and texts that must not change.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::*;

fn redactor<'a>(secret: &'a str, headers: &'a [(String, String)]) -> Redactor<'a> {
    Redactor { client_id: "me", secret, latest_token: None, headers }
}

/// The text as a redacted sentence. As a code and as a host it must be redacted, too.
fn shown(secret: &str, text: &str) -> String {
    let redactor = redactor(secret, &[]);
    let (shown, host) = (redactor.sentence(text, 300), redactor.host(text, 300));
    assert_eq!(redactor.code(text, 300).contains(MASK), shown.contains(MASK), "{text}");
    assert!(host.contains(MASK) || !shown.contains(MASK), "{text}: {host}");
    shown
}

fn percent(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn html(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    text.replace('\'', "&#39;").replace('>', "&#x3E;")
}

fn json(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('/', "\\/")
}

/// With `\u` escapes: of the characters that Gson escapes because of HTML, or of all.
fn unicode(text: &str, all: bool) -> String {
    let escape = |c: char| match all || "<>&='".contains(c) {
        true => format!("\\u{:04x}", u32::from(c)),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect()
}

/// Every form in which a server could send a secret back.
fn forms(secret: &str) -> Vec<String> {
    let basic = format!("me:{secret}");
    vec![
        secret.to_owned(),
        secret.to_uppercase(),
        secret.to_lowercase(),
        percent(secret),
        percent(secret).to_lowercase(),
        percent(&percent(secret)),
        percent(&html(secret)),
        html(secret),
        html(&html(secret)),
        json(secret),
        json(&json(secret)),
        unicode(secret, false),
        unicode(secret, true),
        secret.replace('=', "=3D"),
        secret.chars().flat_map(|c| [c, '\0']).collect(),
        secret.replace('-', "- "),
        secret.replace(' ', "+"),
        hex(secret),
        hex(secret).to_lowercase(),
        BASE64_STANDARD.encode(secret),
        BASE64_STANDARD_NO_PAD.encode(secret),
        BASE64_URL_SAFE_NO_PAD.encode(secret),
        BASE64_URL_SAFE_NO_PAD.encode(&basic),
        percent(&BASE64_STANDARD.encode(&basic)),
    ]
}

#[test]
fn secret_is_hidden_in_every_form() {
    let secrets = [
        "Xy7-kL9!mN2$qR5",
        "Xy7\"kL9\\mN2q",
        "Xy7\\n\\u0041%41&amp;=5A",
        "a<b&c\"d'e",
        "pa=wo=d",
        "k?>k?>k?>~~~",
        "AbCdEfGhIjKl",
        "Ab-Cd-Ef",
        "Ab Cd",
        "Ab-Cd ",
        " Ab-Cd",
        "abcd",
        "Übergröße-中文",
        "$%^&*()!",
        "ab1",
        "x",
    ];
    let mut wrong = Vec::new();
    for secret in secrets {
        for form in forms(secret) {
            for text in [format!("bad value: {form}"), format!("bad '{form}' given"), form.clone()]
            {
                let shown = shown(secret, &text);
                // The words around the secret may be hidden, too, and punctuation at its ends shown.
                let words = [MASK, "bad value", "bad", "given", "%3D"];
                let rest = words.iter().fold(shown.clone(), |rest, word| rest.replace(word, ""));
                if !shown.contains(MASK) || rest.contains(char::is_alphanumeric) {
                    wrong.push(format!("{secret:?} as {form:?}: {shown:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn ordinary_messages_are_unchanged() {
    let secrets = [
        "Xy7-kL9!mN2$qR5",
        "abcd",
        "ab1",
        "e",
        "a",
        "1",
        "$%^&*()!",
        "-",
        "+ +",
        "client-secret-of-me",
    ];
    for text in [
        "Bad client credentials",
        "应用已禁用",
        "client_id and client_secret do not match",
        "Full authentication is needed to reach this resource (https://x.example/?b=c&d=%20)",
        "90% of the limit = 45 calls & more; see C:\\users\\unix",
    ] {
        for secret in secrets {
            let shown = shown(secret, text);
            // A secret of one character, such as `a`, may be a word of the message.
            let words = shown.split(MASK).map(str::len).sum::<usize>();
            let hidden = shown.matches(MASK).count();
            assert!(words + hidden == text.len(), "{secret:?}: {shown}");
            assert!(secret.chars().count() == 1 || hidden == 0, "{secret:?}: {shown}");
        }
    }
}

#[test]
fn short_secret_is_hidden_as_a_word() {
    for (secret, text, expected) in [
        ("ab1", "bad secret ab1, sorry", "bad secret [hidden], sorry"),
        ("ab1", "secret='AB1'", "secret='[hidden]'"),
        ("ab1", "错误ab1错误", "错误[hidden]错误"),
        ("ab1", "ab12 cab1 ab1_ YWIx", "ab12 cab1 ab1_ [hidden]"),
        ("abcd", "xxabcdxx", "xx[hidden]xx"),
        ("-abcd-", "not -abcd- now", "not [hidden] now"),
    ] {
        assert_eq!(redactor(secret, &[]).sentence(text, 300), expected);
    }
}

#[test]
fn header_value_is_hidden() {
    let header = |value: &str| [("x".to_owned(), value.to_owned())];
    for (value, text, expected) in [
        (
            "Zq-App-Code-Value",
            "app code Zq-App-Code-Value not found",
            "app code [hidden] not found",
        ),
        ("Zq-App-Code-Value", "app code zq%2Dapp-code-value", "app code [hidden]"),
        ("isv 17", "tenant isv+17 is closed", "tenant [hidden] is closed"),
        ("isv 17", "xisv 17", "xisv 17"),
        ("true", "untrue, but true", "untrue, but [hidden]"),
        ("", "nothing is hidden", "nothing is hidden"),
    ] {
        assert_eq!(redactor("Xy7-kL9!", &header(value)).sentence(text, 300), expected);
    }
}

#[test]
fn latest_token_is_hidden_in_every_form() {
    let token = Token::new("t.k-n_1~", None, None);
    let redactor = Redactor { latest_token: Some(&token), ..redactor("Xy7-kL9!", &[]) };
    for form in ["t.k-n_1~", "T.K-N_1~", "t.k%2Dn%5F1~", "t.k\\u002dn_1~"] {
        assert_eq!(redactor.sentence(&format!("<{form}> expired"), 300), "<[hidden]> expired");
    }
}

#[test]
fn worked_example_of_the_module_is_true() {
    let shown = shown("ab-1&x", "no client has \"AB%252D1%2526X\"");
    assert_eq!(shown, "no client has \"[hidden]\"");
}

#[test]
fn secret_in_an_echoed_form_body_is_hidden() {
    // After `=` their first two characters look like an escape of quoted-printable: `=ab`.
    for secret in ["ab1!cd2!ef3!", "feX!1y", "a1=b2&c3+d4", "x=ab!c"] {
        for form in [secret.to_owned(), percent(secret), percent(&percent(secret)), html(secret)] {
            let text = format!("bad: client_secret={form}&scope");
            assert_eq!(shown(secret, &text), "bad: client_secret=[hidden]&scope");
        }
    }
}

#[test]
fn text_over_64_kib_is_not_shown() {
    let redactor = redactor("Xy7-kL9!mN2$qR5", &[]);
    let longest = " ".repeat((64 << 10) - 4) + "word";
    assert_eq!(redactor.sentence(&longest, 300), "word");
    assert_eq!(redactor.sentence(&(longest + "!"), 300), "[too long to show]");
}

#[test]
fn long_text_is_redacted_in_linear_time() {
    let redactor = redactor("Xy7-kL9!mN2$qR5", &[]);
    for piece in ["%", "%25", "&amp;", "\\", "=", "-", "Xy7", "Xy7-kL9!mN2$qR5", "é"] {
        let text = piece.repeat(MAX_TEXT_BYTES / piece.len());
        let start = std::time::Instant::now();
        let shown = redactor.sentence(&text, 300);
        println!("{piece}: {:?}", start.elapsed());
        assert!(shown.chars().count() <= 301);
        // About 2 s in a debug build; many minutes if the time grew with the square of the length.
        assert!(start.elapsed().as_secs() < 60, "{piece}");
    }
}
