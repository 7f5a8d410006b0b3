//! Every setting by name, and the documents that are made from the table.

use std::path::Path;

use super::*;
use crate::client::Client;

fn config() -> Config {
    Config::new("https://tenant.example", "id", "secret")
}

/// What a client says of one setting.
fn mistake(name: &str, value: Option<&str>) -> Option<String> {
    let mut config = config();
    set(&mut config, name, name, value);
    config.check().err().map(|error| error.to_string())
}

#[test]
fn every_setting_can_be_set_and_reset() {
    for Setting { name, .. } in &SETTINGS {
        let value = match *name {
            "basic_auth" => "true",
            "system_roots" => "0",
            "timeout_ms" | "expiry_margin_s" => "7",
            "headers" => "X-tenant-id: 1\n\nX-other: a: b\n",
            "store" => "file:/some/folder",
            _ => "/some/path",
        };
        let (plain, mut changed) = (config(), config());
        set(&mut changed, name, name, Some(value));
        let shown = |config: &Config| {
            let headers = &config.headers;
            let proxy = matches!(config.proxy, ProxySetting::Url(_));
            format!("{config:?} {headers:?} {proxy}")
        };
        assert_ne!(shown(&changed), shown(&plain), "{name}");
        set(&mut changed, name, name, None);
        assert_eq!(shown(&changed), shown(&plain), "{name}");
    }
}

#[test]
fn unknown_setting_is_told_with_the_nearest() {
    for (name, nearest) in [
        ("timeout", "timeout_ms"),
        ("cafile", "ca_file"),
        ("CA_FILE", "ca_file"),
        ("client_cert_file", "client_certificate_file"),
        ("header", "headers"),
        ("proxie", "proxy"),
    ] {
        let expected = format!("there is no setting {name:?}; did you mean {nearest}?");
        assert_eq!(mistake(name, Some("1")).as_deref(), Some(expected.as_str()));
    }
    let long = mistake(&"x".repeat(100_000), None).expect("a mistake");
    assert!(long.len() < 200, "{long}");
}

#[test]
fn bad_value_is_told_with_what_is_allowed() {
    for (name, value, says) in [
        ("timeout_ms", "0", "timeout_ms is \"0\"; allowed: 1 to 86400000 (milliseconds)"),
        ("timeout_ms", "-1", "1 to 86400000"),
        ("timeout_ms", "+5", "1 to 86400000"),
        ("timeout_ms", "5s", "1 to 86400000"),
        ("timeout_ms", "", "1 to 86400000"),
        ("timeout_ms", "99999999999999999999", "1 to 86400000"),
        ("expiry_margin_s", "1.5", "0 to 86400 (seconds)"),
        ("basic_auth", "yes", "basic_auth is \"yes\"; allowed: true, false, 1, 0"),
        ("system_roots", "TRUE", "true, false, 1, 0"),
        ("headers", "X-tenant-id 1", "`Name: value`, one a line"),
        ("headers", "Host: x", "the header Host is set by the library"),
        ("client_key_file", "/key", "client_certificate_file"),
        ("store", "/run/app", "file, file: and the absolute path of a folder"),
        ("store", "file:run/app", "the absolute path of a folder"),
        ("store", "file:", "the absolute path of a folder"),
        ("store", "", "file, file: and"),
        ("store", "redis://host:x", "redis://[user:password@]host[:port][/database]"),
        ("store", "redis://u:p@", "store is not usable; allowed: redis://"),
    ] {
        let message = mistake(name, Some(value)).expect("a mistake");
        assert!(message.contains(says), "{name} = {value:?}: {message}");
    }
}

#[test]
fn secrets_are_not_told() {
    for (name, value) in [
        ("headers", "X-app-code s3cr3t-value"),
        ("store", "redis://user:s3cr3t@host:x"),
        ("store", "redis:user:s3cr3t@host"),
    ] {
        let message = mistake(name, Some(value)).expect("a mistake");
        assert!(!message.contains("s3cr3t"), "{message}");
    }
}

#[test]
fn longer_than_a_day_counts_as_a_day() {
    let mut config = config();
    set(&mut config, "", "timeout_ms", Some("9223372036854775807"));
    assert_eq!(config.timeout, Config::MAX_DURATION);
    assert!(config.check().is_ok());
}

#[test]
fn secret_file_needs_no_secret() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, "secret").expect("a file");
    let mut config = Config::new("http://localhost:1", "id", "");
    assert!(config.check().is_err());
    set(&mut config, "", "client_secret_file", path.to_str());
    assert!(Client::new(&config).is_ok());
}

/// `BLESS=1 cargo test --lib settings` writes it.
#[test]
fn documentation_has_every_setting() {
    let mut page = "# Settings\n\n\
        Made from the table in `src/settings.rs`. In C a setting is set with `oneaccess_config_set(config, \
        name, value)`; in\nthe environment it is the variable beside it, read by \
        `oneaccess_config_new_from_env()`; in Rust it has a method of\n`Config`. Numbers are decimal, \
        booleans `true`, `false`, `1` or `0`, paths are used as they are.\n\n\
        | setting | environment | |\n|---|---|---|\n"
        .to_owned();
    for Setting { name, doc, .. } in &SETTINGS {
        page += &format!("| `{name}` | `{}` | {doc} |\n", variable(name));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    assert_eq!(std::fs::read_to_string(path).expect("the page"), page);
}

#[test]
fn header_has_every_setting() {
    let header = include_str!("../../include/oneaccess.h");
    // Without the asterisks with which the lines of a comment begin.
    let words = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().filter(|word| *word != "*").collect();
        words.join(" ")
    };
    for Setting { name, doc, .. } in &SETTINGS {
        assert!(words(header).contains(&words(&format!("- {name}: {doc}"))), "{name}");
    }
}
