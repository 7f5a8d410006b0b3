//! The client secret stays where it belongs: wiped from memory, absent from messages and logs.

mod support;

use std::sync::Mutex;
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use oneaccess::{Client, Config};
use support::child::{in_child, plain};
use support::fault::{Fault, Relay, Server};
use support::memory::{Needle, masked};
use support::tenant::{Answer, Tenant};

const PROXY_PASSWORD: &str = "proxy-p4ssw0rd-91";
const HEADER_VALUE: &str = "header-value-5577";

/// Every record of every level; but ureq is capped at debug, as hosts are told to do: at trace it
/// and ureq_proto dump what was sent and received.
struct Records(Mutex<Vec<String>>);

impl Log for Records {
    fn enabled(&self, record: &Metadata) -> bool {
        !record.target().starts_with("ureq") || record.level() <= Level::Debug
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = format!("{} {} {}", record.level(), record.target(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

static RECORDS: Records = Records(Mutex::new(Vec::new()));

/// The forms in which a secret could be seen.
fn forms(tenant: &Tenant) -> Vec<String> {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let (id, secret) = (tenant.client_id(), tenant.client_secret());
    let form = percent_encoding::utf8_percent_encode(&secret, percent_encoding::NON_ALPHANUMERIC)
        .to_string();
    vec![
        secret.clone(),
        form,
        BASE64_STANDARD.encode(format!("{id}:{secret}")),
        BASE64_STANDARD.encode(format!("walter:{PROXY_PASSWORD}")),
        PROXY_PASSWORD.to_owned(),
        HEADER_VALUE.to_owned(),
    ]
}

fn every_configuration(tenant: &Tenant, proxy: u16) -> Vec<Config> {
    let config = support::config(tenant).header("X-tenant-id", HEADER_VALUE);
    let proxied = format!("http://walter:{PROXY_PASSWORD}@127.0.0.1:{proxy}");
    let socks = format!("socks5h://walter:{PROXY_PASSWORD}@127.0.0.1:{proxy}");
    vec![
        config.clone(),
        config.clone().basic_auth(true),
        config.clone().proxy(Some(&proxied)),
        config.clone().proxy(Some(&socks)),
        config.clone().system_roots(false).ca_file("/nowhere"),
        config.proxy(Some(&format!("{proxied}9999999"))),
    ]
}

fn every_answer(tenant: &Tenant) -> Vec<Answer> {
    let secret = tenant.client_secret();
    let echo = serde_json::json!({"error": "invalid_client", "error_description": secret});
    let code = serde_json::json!({"error_code": secret, "error_msg": secret});
    let header = serde_json::json!({"error_code": "E1", "error_msg": HEADER_VALUE});
    let nested = serde_json::json!({"error": {"reason": [secret, HEADER_VALUE]}});
    let location = format!("https://elsewhere.example/?client_secret={}", forms(tenant)[1]);
    vec![
        Answer::Normal,
        Answer::json(401, &echo.to_string()),
        Answer::json(500, &code.to_string()),
        Answer::json(400, &header.to_string()),
        Answer::json(400, &nested.to_string()),
        Answer::html(400, &format!("<html>{secret}")),
        Answer::html(400, &format!("<title>no {secret} with {HEADER_VALUE}</title>")),
        Answer::status(302).header("Location", &location),
        Answer::status(200).header("Content-Encoding", &secret[..8]),
        Answer::Raw(format!("{secret}\r\n\r\n").into_bytes()),
        Answer::Raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {secret}\r\n\r\n").into_bytes()),
        Answer::Cut { bytes: format!("HTTP/1.1 200 OK\r\n\r\n{secret}").into_bytes() },
    ]
}

#[test]
fn logs_and_messages_hold_neither_secret_nor_token_at_any_level() {
    in_child(plain, || {
        log::set_logger(&RECORDS).expect("the first logger");
        log::set_max_level(LevelFilter::Trace);
        let tenant = Tenant::start();
        let refusing = Server::saying(b"HTTP/1.1 407 x\r\n\r\n");
        let mut said = Vec::new();
        for answer in every_answer(&tenant) {
            tenant.always(answer);
            for config in every_configuration(&tenant, refusing.port()) {
                said.push(format!("{config:?} {config:#?}"));
                match Client::new(&config) {
                    Ok(client) => said.extend(everything_of(&client)),
                    Err(error) => said.push(format!("{error} {error:?}")),
                }
            }
        }
        said.extend(RECORDS.0.lock().unwrap().drain(..));
        assert!(said.iter().any(|line| line.contains("oneaccess")), "nothing was logged");
        let mut hidden = forms(&tenant);
        hidden.extend(tenant.current_token());
        let leaks = |line: &&String| hidden.iter().any(|form| line.contains(form.as_str()));
        let leaks: Vec<&String> = said.iter().filter(leaks).collect();
        assert!(leaks.is_empty(), "{leaks:#?}");
    });
}

/// All that a client and what it gives can be made to say.
fn everything_of(client: &Client) -> Vec<String> {
    let outcome = client.token_within(Duration::from_millis(500));
    let mut said = vec![format!("{client:?} {client:#?}"), format!("{outcome:?}")];
    if let Err(error) = &outcome {
        said.push(format!("{error} {error:#?} {:?}", error.vendor_code()));
    }
    said.push(format!("{:?}", client.last_error()));
    said.push(format!("{:?}", client.set_client_secret("")));
    client.close();
    said
}

/// What the child is told, without showing it.
fn with_masked(tenant: &Tenant) -> std::process::Command {
    let mut command = plain();
    command
        .env("TENANT", tenant.endpoint())
        .env("TENANT_CA", tenant.ca_file())
        .env("TENANT_ID", tenant.client_id())
        .env("TENANT_SECRET", masked(&tenant.client_secret()));
    for (index, form) in forms(tenant).iter().take(3).enumerate() {
        command.env(format!("FORM_{index}"), masked(form));
    }
    command
}

fn variable(name: &str) -> String {
    std::env::var(name).expect(name)
}

fn needles() -> Vec<Needle> {
    (0..3).map(|index| Needle::from_masked(&variable(&format!("FORM_{index}")))).collect()
}

/// Clients that made requests and were dropped leave no form of the secret behind. More than one:
/// what the first one frees may go back to the system as a whole, by luck.
fn leaves_nothing(works: bool, configure: impl Fn(Config) -> Config) {
    let secret = Needle::from_masked(&variable("TENANT_SECRET"));
    let needles = needles();
    for _ in 0..3 {
        let config = Config::new(&variable("TENANT"), &variable("TENANT_ID"), &secret.text());
        let config = configure(config.ca_file(variable("TENANT_CA")).proxy(Some("")));
        let outcome = Client::new(&config).expect("a client").token();
        assert_eq!(outcome.is_ok(), works, "{outcome:?}");
    }
    let left: Vec<String> = needles.iter().flat_map(Needle::places).collect();
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn a_secret_that_is_held_is_found_in_memory() {
    // What the tests below are worth.
    let tenant = Tenant::start();
    in_child(
        || with_masked(&tenant),
        || {
            let secret = Needle::from_masked(&variable("TENANT_SECRET"));
            let config = Config::new(&variable("TENANT"), &variable("TENANT_ID"), &secret.text());
            assert!(!secret.places().is_empty());
            drop(config);
            assert_eq!(secret.places(), [""; 0]);
        },
    );
}

#[test]
fn the_secret_in_form_fields_is_wiped() {
    let tenant = Tenant::builder().start();
    in_child(|| with_masked(&tenant), || leaves_nothing(true, |config| config));
}

#[test]
fn the_secret_in_basic_authentication_is_wiped() {
    let tenant = Tenant::builder().start();
    in_child(|| with_masked(&tenant), || leaves_nothing(true, |config| config.basic_auth(true)));
}

#[test]
fn the_secret_of_a_file_is_wiped() {
    let tenant = Tenant::builder().start();
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, tenant.client_secret() + "\n").expect("a file");
    in_child(
        || {
            let mut command = with_masked(&tenant);
            command.env("SECRET_FILE", &path);
            command
        },
        || leaves_nothing(true, |config| config.client_secret_file(variable("SECRET_FILE"))),
    );
}

#[test]
fn the_secret_of_a_request_that_fails_is_wiped() {
    let tenant = Tenant::start();
    for answer in [Answer::Reset, Answer::json(401, r#"{"error":"invalid_client"}"#)] {
        tenant.always(answer);
        in_child(|| with_masked(&tenant), || leaves_nothing(false, |config| config));
    }
}

#[test]
fn a_secret_that_was_replaced_is_wiped() {
    let tenant = Tenant::start();
    in_child(
        || with_masked(&tenant),
        || {
            let secret = Needle::from_masked(&variable("TENANT_SECRET"));
            let config = Config::new(&variable("TENANT"), "id", "another").proxy(Some(""));
            let client = Client::new(&config.ca_file(variable("TENANT_CA"))).expect("a client");
            client.set_client_secret(&secret.text()).expect("a new secret");
            assert!(!secret.places().is_empty());
            client.set_client_secret("yet another").expect("a new secret");
            assert_eq!(secret.places(), [""; 0]);
        },
    );
}

#[test]
fn a_vendors_echo_is_hidden_in_every_encoding() {
    let secret = "p+q/r=s&t'u\"v<w x-0123456789";
    let tenant = Tenant::builder().client_secret(secret).client_id("me").start();
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, Engine};
    let java: String = form_encoded(secret);
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let html = html.replace('\'', "&#39;");
    let gson = secret
        .replace('"', "\\\"")
        .replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('=', "\\u003d")
        .replace('\'', "\\u0027");
    let mut shown = Vec::new();
    for echo in [
        secret.to_owned(),
        java.clone(),
        java.to_lowercase(),
        format!("client_id=me&client_secret={java}"),
        html,
        gson,
        BASE64_STANDARD.encode(secret),
        BASE64_URL_SAFE.encode(format!("me:{secret}")),
        BASE64_STANDARD_NO_PAD.encode(format!("me:{secret}")),
        form_encoded(&java),
    ] {
        let text = format!("no such client: {echo} (try again)");
        let body = serde_json::json!({"error": "invalid_client", "error_description": text});
        tenant.always(Answer::json(401, &body.to_string()));
        let error = support::client(&tenant).token().expect_err("denied").to_string();
        println!("{echo}: {error}");
        // The punctuation between the words may stay.
        let words = ["p+q", "p%2", "0123456789", "x-0", "cCtx", "r=s"];
        if error.contains(&echo) || words.iter().any(|word| error.contains(word)) {
            shown.push(format!("{echo}: {error}"));
        }
    }
    assert!(shown.is_empty(), "{shown:#?}");
}

#[test]
fn a_secret_with_quotes_is_hidden_in_a_nested_error() {
    let secret = "Xy7\"kL9\\mN2q";
    let tenant = Tenant::builder().client_secret(secret).start();
    for field in ["message", "reason"] {
        let text = format!("the client {secret} is unknown");
        let body = serde_json::json!({"error": {"code": "E17", field: text}}).to_string();
        tenant.always(Answer::json(400, &body));
        let error = support::client(&tenant).token().expect_err("denied").to_string();
        assert!(error.contains("E17: ") && error.contains("the client [hidden] is"), "{error}");
    }
}

/// As Java's URLEncoder does it.
fn form_encoded(text: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    const JAVA: &percent_encoding::AsciiSet =
        &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');
    utf8_percent_encode(text, JAVA).to_string().replace(' ', "+")
}

#[test]
fn the_wire_shows_no_secret_outside_tls() {
    let tenant = Tenant::start();
    let relay = Relay::to(tenant.port(), Fault::None);
    let config = support::timeouts::to_port(&tenant, relay.port());
    Client::new(&config).expect("a client").token().expect("a token");
    Client::new(&config.basic_auth(true)).expect("a client").token().expect("a token");
    let seen = String::from_utf8_lossy(&relay.client_bytes()).into_owned();
    assert!(seen.contains("localhost"), "the server's name is not a secret");
    for form in forms(&tenant) {
        assert!(!seen.contains(&form));
    }
    assert!(!seen.contains(&tenant.client_id()));
}
