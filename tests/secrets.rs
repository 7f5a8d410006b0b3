//! Secrets and tokens are wiped from memory, and appear neither in messages nor in logs.

mod support;

use std::process::Command;
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use oneaccess::{Client, Config};
use support::child::{in_child, in_stopping_child, plain, stop};
use support::fault::{Fault, Relay, Server};
use support::memory::{masked, places, unmasked};
use support::proxy::{installed, tinyproxy};
use support::tenant::{Answer, Tenant};
use zeroize::Zeroize;

const PROXY_PASSWORD: &str = "proxy-p4ssw0rd-91";
const HEADER_VALUE: &str = "header-value-5577";

/// Collects all log records, those of ureq only up to debug, as the README advises: at trace ureq and
/// ureq_proto log what was sent and received.
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

/// The secrets of a client, in the forms in which a log could show them.
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
fn logs_and_messages_contain_no_secret() {
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
                    Ok(client) => said.extend(all_texts_of(&client)),
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

/// All texts that a client, its tokens and its errors can be formatted to.
fn all_texts_of(client: &Client) -> Vec<String> {
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

/// A command whose environment tells the child about the tenant. The secret is masked, or it would be
/// found in the environment of the child.
fn with_masked_secret(tenant: &Tenant) -> Command {
    let mut command = plain();
    command
        .env("TENANT", tenant.endpoint())
        .env("TENANT_CA", tenant.ca_file())
        .env("TENANT_ID", tenant.client_id())
        .env("TENANT_SECRET", masked(&tenant.client_secret()));
    command
}

fn variable(name: &str) -> String {
    std::env::var(name).expect(name)
}

/// The configuration for the tenant that the environment names.
fn config_from_env() -> Config {
    let secret = unmasked(&variable("TENANT_SECRET"));
    let config = Config::new(&variable("TENANT"), &variable("TENANT_ID"), &secret);
    config.ca_file(variable("TENANT_CA")).proxy(Some(""))
}

/// Makes requests with three clients, one after another, drops them, and stops this process. Three,
/// because the allocator may return all memory of a single client to the operating system, and
/// nothing would be left to search.
fn use_clients(succeeds: bool, configure: impl Fn(Config) -> Config) {
    for _ in 0..3 {
        let config = configure(config_from_env());
        let outcome = Client::new(&config).expect("a client").token();
        assert_eq!(outcome.is_ok(), succeeds, "{outcome:?}");
    }
    stop();
}

/// Fails if one of the texts is in the memory of a stopped process.
fn assert_none_in_memory(pid: u32, texts: &[String]) {
    let mut left = Vec::new();
    for text in texts {
        left.extend(places(pid, text).into_iter().map(|place| format!("{text} at {place}")));
    }
    assert!(left.is_empty(), "{left:#?}");
}

/// The forms in which the client secret is sent.
fn sent_forms(tenant: &Tenant) -> Vec<String> {
    let mut forms = forms(tenant);
    forms.truncate(3);
    forms
}

#[test]
fn memory_search_finds_a_secret_on_heap_and_stack() {
    // Without this the tests below could pass because the search finds nothing at all.
    let tenant = Tenant::start();
    let mut found = Vec::new();
    in_stopping_child(
        || with_masked_secret(&tenant),
        || {
            let config = config_from_env();
            stop();
            drop(config);
            stop();
            let on_stack = || {
                let mut bytes = [0_u8; 256];
                let secret = unmasked(&variable("TENANT_SECRET"));
                bytes[..secret.len()].copy_from_slice(secret.as_bytes());
                drop(secret);
                std::hint::black_box(&mut bytes);
                stop();
                bytes.zeroize();
            };
            on_stack();
            std::thread::scope(|scope| drop(scope.spawn(on_stack)));
            stop();
        },
        |pid| found.push(places(pid, &tenant.client_secret()).len()),
    );
    assert_eq!(found, [1, 0, 1, 1, 0]);
}

#[test]
fn secret_in_form_fields_is_wiped() {
    let tenant = Tenant::start();
    in_stopping_child(
        || with_masked_secret(&tenant),
        || use_clients(true, |config| config),
        |pid| assert_none_in_memory(pid, &sent_forms(&tenant)),
    );
}

#[test]
fn secret_in_basic_authentication_is_wiped() {
    let tenant = Tenant::start();
    in_stopping_child(
        || with_masked_secret(&tenant),
        || use_clients(true, |config| config.basic_auth(true)),
        |pid| assert_none_in_memory(pid, &sent_forms(&tenant)),
    );
}

#[test]
fn secret_sent_through_a_proxy_is_wiped() {
    if !installed("tinyproxy", "tinyproxy") {
        return;
    }
    let tenant = Tenant::start();
    let proxy = tinyproxy(&format!("BasicAuth walter {PROXY_PASSWORD}"));
    let url = format!("http://walter:{PROXY_PASSWORD}@127.0.0.1:{}", proxy.port());
    in_stopping_child(
        || {
            let mut command = with_masked_secret(&tenant);
            command.env("PROXY", &url);
            command
        },
        || {
            use_clients(true, |config| config.proxy(Some(&variable("PROXY"))));
            use_clients(true, |config| config.proxy(Some(&variable("PROXY"))).basic_auth(true));
        },
        |pid| assert_none_in_memory(pid, &sent_forms(&tenant)),
    );
}

#[test]
fn secret_from_a_file_is_wiped() {
    let tenant = Tenant::start();
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, tenant.client_secret() + "\n").expect("a file");
    in_stopping_child(
        || {
            let mut command = with_masked_secret(&tenant);
            command.env("SECRET_FILE", &path);
            command
        },
        || use_clients(true, |config| config.client_secret_file(variable("SECRET_FILE"))),
        |pid| assert_none_in_memory(pid, &sent_forms(&tenant)),
    );
}

#[test]
fn secret_of_a_failed_request_is_wiped() {
    let tenant = Tenant::start();
    for answer in [Answer::Reset, Answer::json(401, r#"{"error":"invalid_client"}"#)] {
        tenant.always(answer);
        in_stopping_child(
            || with_masked_secret(&tenant),
            || {
                use_clients(false, |config| config);
                use_clients(false, |config| config.basic_auth(true));
            },
            |pid| assert_none_in_memory(pid, &sent_forms(&tenant)),
        );
    }
}

#[test]
fn replaced_secret_is_wiped() {
    let tenant = Tenant::start();
    let mut found = Vec::new();
    in_stopping_child(
        || with_masked_secret(&tenant),
        || {
            let config = Config::new(&variable("TENANT"), "id", "another").proxy(Some(""));
            let client = Client::new(&config.ca_file(variable("TENANT_CA"))).expect("a client");
            let secret = unmasked(&variable("TENANT_SECRET"));
            client.set_client_secret(&secret).expect("a new secret");
            drop(secret);
            stop();
            client.set_client_secret("yet another").expect("a new secret");
            stop();
        },
        |pid| found.push(places(pid, &tenant.client_secret()).len()),
    );
    assert!(found[0] > 0 && found[1] == 0, "{found:?}");
}

/// The access token repeats the first text, the ID token the second, so that a remaining piece of
/// either is found whichever part it is.
fn token_texts(tenant: &Tenant) -> [String; 2] {
    let secret = tenant.client_secret();
    [format!("access-{}.", &secret[..16]), format!("id-{}.", &secret[secret.len() - 16..])]
}

/// A response with an access token of about 1000 bytes and an ID token, between two fields with
/// `padding` bytes each.
fn token_body(tenant: &Tenant, padding: usize) -> String {
    let [access, id] = token_texts(tenant).map(|text| text.repeat(40));
    let padding = "x".repeat(padding);
    format!(
        r#"{{"a":"{padding}","access_token":"{access}","id_token":"{id}","expires_in":1800,"z":"{padding}"}}"#
    )
}

fn in_chunks(body: &str) -> Answer {
    let mut answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for chunk in body.as_bytes().chunks(1000) {
        let chunk = std::str::from_utf8(chunk).expect("ASCII");
        answer += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
    }
    Answer::Raw((answer + "0\r\n\r\n").into_bytes())
}

/// A short and a long body, each with Content-Length, in chunks, and ended by closing the connection.
fn token_answers(tenant: &Tenant) -> Vec<Answer> {
    let mut answers = Vec::new();
    for body in [token_body(tenant, 0), token_body(tenant, 20_000)] {
        answers.push(Answer::json(200, &body));
        answers.push(in_chunks(&body));
        answers.push(Answer::Raw(format!("HTTP/1.1 200 OK\r\n\r\n{body}").into_bytes()));
    }
    answers
}

/// Not even a piece of a token may remain, on the heap or on a stack. In a debug build this needs an
/// optimised memchr, with which serde_json looks for the end of a JSON string (see Cargo.toml). An
/// optimised build keeps the vectors of this search in registers. Without optimisation each of them is
/// a variable on the stack: 32 bytes of the token, which nobody can wipe after memchr has returned. A
/// watchpoint on such a piece stops in `memchr::arch::generic::memchr::Two::search_chunk`.
#[test]
fn token_is_wiped_with_its_last_user() {
    let tenant = Tenant::builder().plain_http().start();
    for answer in token_answers(&tenant) {
        tenant.always(answer);
        let mut found = Vec::new();
        in_stopping_child(
            || with_masked_secret(&tenant),
            || {
                let client = Client::new(&config_from_env()).expect("a client");
                let token = client.token().expect("a token");
                stop();
                assert!(token.id_token().is_some());
                drop((client, token));
                use_clients(true, |config| config);
            },
            |pid| found.push(token_texts(&tenant).map(|text| places(pid, &text).len())),
        );
        println!("{found:?}");
        assert!(found[0].iter().all(|copies| *copies >= 40), "{found:?}");
        assert_eq!(found[1], [0, 0]);
    }
}

/// Once with a request whose answer goes into the store, and then with what is found there.
#[test]
fn secret_and_token_are_wiped_with_a_store() {
    let tenant = Tenant::builder().plain_http().start();
    tenant.always(Answer::json(200, &token_body(&tenant, 0)));
    let folder = tempfile::TempDir::new().expect("a folder");
    for number in 0..2 {
        let mut found = Vec::new();
        in_stopping_child(
            || {
                let mut command = with_masked_secret(&tenant);
                command.env("STORE", format!("file:{}", folder.path().join("store").display()));
                command
            },
            || {
                let client =
                    Client::new(&config_from_env().store(&variable("STORE"))).expect("a client");
                let token = client.token().expect("a token");
                stop();
                drop((client, token));
                stop();
                use_clients(true, |config| config.store(&variable("STORE")));
            },
            |pid| {
                let texts = token_texts(&tenant).into_iter().chain([tenant.client_secret()]);
                found.push(texts.filter(|text| !places(pid, text).is_empty()).count());
            },
        );
        assert_eq!(found, [3, 0, 0], "process {number}");
        assert_eq!(tenant.requests(), 1);
    }
}

/// Also from other threads that go on with another client.
#[test]
fn token_of_freed_client_is_wiped_beside_others() {
    let tenant = Tenant::builder().plain_http().start();
    tenant.next(Answer::json(200, &token_body(&tenant, 0)));
    let mut found = Vec::new();
    in_stopping_child(
        || with_masked_secret(&tenant),
        || {
            let [freed, used] =
                [(); 2].map(|()| Client::new(&config_from_env()).expect("a client"));
            let both =
                |freed: &Client| [freed, &used].map(|client| client.token().expect("a token"));
            drop(both(&freed));
            let steps = Barrier::new(2);
            std::thread::scope(|scope| {
                let clone = freed.clone();
                scope.spawn(|| {
                    drop(both(&clone));
                    drop(clone);
                    steps.wait();
                    steps.wait();
                    // Longer than a tick of the coarse clock.
                    std::thread::sleep(Duration::from_millis(50));
                    used.token().expect("a token");
                    steps.wait();
                    steps.wait();
                });
                steps.wait();
                stop();
                drop(freed);
                steps.wait();
                steps.wait();
                stop();
                steps.wait();
            });
        },
        |pid| found.push(token_texts(&tenant).map(|text| places(pid, &text).len())),
    );
    assert!(found[0].iter().all(|copies| *copies >= 40), "{found:?}");
    assert_eq!(found[1], [0, 0]);
}

#[test]
fn echoed_secret_is_hidden_in_every_encoding() {
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
        // The punctuation between the words of the secret may be shown.
        let words = ["p+q", "p%2", "0123456789", "x-0", "cCtx", "r=s"];
        if error.contains(&echo) || words.iter().any(|word| error.contains(word)) {
            shown.push(format!("{echo}: {error}"));
        }
    }
    assert!(shown.is_empty(), "{shown:#?}");
}

#[test]
fn secret_with_quotes_is_hidden_in_a_nested_error() {
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

/// Encodes a form value as Java's URLEncoder does.
fn form_encoded(text: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    const JAVA: &percent_encoding::AsciiSet =
        &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');
    utf8_percent_encode(text, JAVA).to_string().replace(' ', "+")
}

#[test]
fn secret_is_sent_inside_tls_only() {
    let tenant = Tenant::start();
    let relay = Relay::to(tenant.port(), Fault::None);
    let config = support::timeouts::to_port(&tenant, relay.port());
    Client::new(&config).expect("a client").token().expect("a token");
    Client::new(&config.basic_auth(true)).expect("a client").token().expect("a token");
    let seen = String::from_utf8_lossy(&relay.client_bytes()).into_owned();
    assert!(
        seen.contains("localhost"),
        "the server name is sent in the clear, so the relay saw the traffic"
    );
    for form in forms(&tenant) {
        assert!(!seen.contains(&form));
    }
    assert!(!seen.contains(&tenant.client_id()));
}
