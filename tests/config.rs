//! What a configuration accepts, and what it says about the rest.

mod support;

use std::process::Command;
use std::time::Duration;

use oneaccess::{Client, Config, Error, ErrorKind};
use support::child::{in_child, plain};
use support::native::succeed;
use support::tenant::Tenant;

fn refusal(config: &Config) -> Error {
    Client::new(config).expect_err("a refusal")
}

#[test]
fn an_endpoint_is_a_host_or_a_pasted_url() {
    for (written, url) in [
        ("example.com", "https://example.com/"),
        (" example.com\n", "https://example.com/"),
        ("EXAMPLE.com:8443", "https://example.com:8443/"),
        ("https://example.com/", "https://example.com/"),
        ("HTTPS://example.com", "https://example.com/"),
        ("https://example.com/api/v2/tenant/token", "https://example.com/"),
        ("example.com/api/v2/tenant/token/", "https://example.com/"),
        ("10.1.2.3", "https://10.1.2.3/"),
        ("10.1.2.3:443", "https://10.1.2.3:443/"),
        ("[2001:db8::1]", "https://[2001:db8::1]/"),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443/"),
        ("2001:db8::1", "https://[2001:db8::1]/"),
        ("http://localhost:8080", "http://localhost:8080/"),
        ("http://127.0.0.1", "http://127.0.0.1/"),
        ("http://127.9.9.9/", "http://127.9.9.9/"),
        ("http://[::1]:80/", "http://[::1]:80/"),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example/"),
    ] {
        let config = Config::new(written, "id", "secret").proxy(Some(""));
        Client::new(&config).unwrap_or_else(|error| panic!("{written:?}: {error}"));
        let shown = format!("{config:?}");
        assert!(shown.contains(&format!("\"{url}api/v2/tenant/token\"")), "{written:?}: {shown}");
    }
}

#[test]
fn other_endpoints_are_refused_with_the_reason() {
    for (written, says) in [
        ("", "missing"),
        ("  ", "missing"),
        ("https://", "host is missing"),
        ("ftp://example.com", "only https:// is supported"),
        ("unix:/run/socket", "only https:// is supported"),
        ("unix:///run/socket", "only https:// is supported"),
        ("/run/socket", "host is missing"),
        ("//example.com", "host is missing"),
        ("https:///example.com", "host is missing"),
        ("https:/example.com", "write it as https://host"),
        ("https:example.com", "write it as https://host"),
        ("HTTPS//example.com", "write it as https://host"),
        ("http//localhost", "write it as https://host"),
        ("https://https://example.com", "write it as https://host"),
        ("example.com/path:8443", "keep \"example.com:8443\""),
        ("example.com:443/path:8443", "keep \"example.com:443\""),
        ("example.com/path:x", "keep \"example.com\""),
        ("exa mple.com/path", "space"),
        ("\"example.com\"", "not a valid host name"),
        ("http://example.com", "loopback"),
        ("http://10.0.0.1", "loopback"),
        ("http://localhost.example.com", "loopback"),
        ("user:pass@example.com", "before the @"),
        ("https://user@example.com/", "before the @"),
        ("example.com?x=1", "query"),
        ("example.com#x", "fragment"),
        ("https://example.com/api/v2/tenant/users", "keep \"example.com\""),
        ("example.com:0", "1 to 65535"),
        ("example.com:99999", "1 to 65535"),
        ("example.com:", "1 to 65535"),
        ("example.com:+80", "1 to 65535"),
        ("example.com:80:80", "1 to 65535"),
        ("[::1", "]"),
        ("[::1]x", ":"),
        ("[example.com]", "IPv6"),
        ("fe80::1%eth0", "port"),
        ("exa mple.com", "space"),
        ("-a.example.com", "host name"),
        ("a..example.com", "host name"),
        ("bücher.example", "xn--"),
        ("300.1.1.1", "IPv4"),
        ("1.2.3", "IPv4"),
        ("example.com\\@evil.com", "@"),
    ] {
        let error = refusal(&Config::new(written, "id", "secret"));
        assert!(error.to_string().contains("endpoint"), "{written:?}: {error}");
        assert!(error.to_string().contains(says), "{written:?}: {error}");
        let empty = written.trim().is_empty();
        let kind = if empty { ErrorKind::Argument } else { ErrorKind::Config };
        assert_eq!(error.kind(), kind, "{written:?}: {error}");
    }
    for leaky in ["me:hunter2@example.com/?key=hunter3#hunter4", "me:hunter2/hunter3@example.com"] {
        let error = refusal(&Config::new(leaky, "id", "secret"));
        assert!(!error.to_string().contains("hunter"), "{error}");
    }
}

#[test]
fn all_mistakes_are_reported_together() {
    let config = Config::new("example.com:0", "", "")
        .timeout(Duration::ZERO)
        .header("Content-Type", "text/plain")
        .header("a b", "x")
        .header("X-Tenant-Id", "line\r\nbreak")
        .basic_auth(true);
    let error = refusal(&config).to_string();
    for part in [
        "port",
        "client_id is missing",
        "client_secret is missing",
        "less than one millisecond",
        "Content-Type is set by the library",
        "\"a b\" is not a valid header name",
        "value of the header X-Tenant-Id",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn headers_set_by_the_library_are_refused() {
    for name in
        ["Host", "authorization", "Content-Length", "Transfer-Encoding", "Connection", "", "a:b"]
    {
        let error = refusal(&Config::new("example.com", "id", "secret").header(name, "x"));
        assert_eq!(error.kind(), ErrorKind::Argument, "{name:?}: {error}");
    }
}

#[test]
fn headers_may_be_32_kib_long_together() {
    let config = |name: usize, value: usize| {
        let (name, value) = ("x".repeat(name), "y".repeat(value));
        Config::new("example.com", "id", "secret").header(&name, &value).header("z", "")
    };
    for (name, value) in [((32 << 10) - 1, 0), (1, (32 << 10) - 2)] {
        Client::new(&config(name, value)).expect("a client");
    }
    for (name, value) in [(100_000, 1), (1, 100_000), (32 << 10, 0), (1, (32 << 10) - 1)] {
        let error = refusal(&config(name, value));
        assert_eq!(error.kind(), ErrorKind::Argument);
        assert_eq!(
            error.to_string(),
            "the extra headers are longer than 32 KiB in total (names and values)"
        );
    }
    let blank = Config::new("example.com", "id", "secret").header(&" ".repeat(100_000), "x");
    assert!(refusal(&blank).to_string().len() < 200, "it is not shown in full");
}

#[test]
fn basic_auth_refuses_a_colon_in_the_client_id() {
    let config = Config::new("example.com", "a:b", "secret");
    Client::new(&config).expect("fine in a form");
    assert!(refusal(&config.basic_auth(true)).to_string().contains("colon"));
}

#[test]
fn enormous_durations_are_clamped() {
    let tenant = Tenant::start();
    let config = support::config(&tenant).timeout(Duration::MAX).expiry_margin(Duration::MAX);
    let client = Client::new(&config).expect("a client");
    client.token_within(Duration::MAX).expect("a token");
}

#[test]
fn a_secret_file_is_a_line_of_text() {
    let tenant = Tenant::start();
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("secret");
    let write = |secret: &str| std::fs::write(&file, secret).expect("written");
    for ending in ["", "\n", "\r\n"] {
        write(&(tenant.client_secret() + ending));
        let config = support::config(&tenant).client_secret_file(&file);
        Client::new(&config).expect("a client").token().expect("a token");
    }
    write(&(tenant.client_secret() + "\n\n"));
    let config = support::config(&tenant).client_secret_file(&file);
    let client = Client::new(&config).expect("a client");
    let error = client.token().expect_err("one line break is not part of it, the other is");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(client.set_client_secret("x").is_err_and(|error| error.kind() == ErrorKind::Argument));

    write("");
    let error = refusal(&config);
    assert!(error.to_string().contains("empty") && error.is_retryable(), "{error}");
    std::fs::write(&file, b"\xfcber").expect("written");
    assert!(refusal(&config).to_string().contains("not UTF-8"));
    std::fs::remove_file(&file).expect("removed");
    let error = refusal(&config);
    assert!(error.to_string().contains("No such file") && error.is_retryable(), "{error}");
}

#[test]
fn a_secret_file_may_start_with_a_byte_order_mark() {
    let tenant = Tenant::start();
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("secret");
    let config = support::config(&tenant).client_secret_file(&file);
    std::fs::write(&file, format!("\u{feff}{}\r\n", tenant.client_secret())).expect("written");
    Client::new(&config).expect("a client").token().expect("a token");
    for bytes in [b"\xff\xfes\0", b"\xfe\xff\0s"] {
        std::fs::write(&file, bytes).expect("written");
        let error = refusal(&config);
        assert!(error.to_string().contains("it is UTF-16 text; save it as UTF-8"), "{error}");
        assert!(!error.is_retryable());
    }
    std::fs::write(&file, "\u{feff}\n").expect("written");
    assert!(refusal(&config).to_string().contains("it is empty"));
}

#[test]
fn a_secret_file_may_be_64_kib_long() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("secret");
    let config = Config::new("example.com", "id", "").client_secret_file(&file);
    std::fs::write(&file, vec![b'x'; 64 << 10]).expect("written");
    Client::new(&config).expect("a client");
    std::fs::write(&file, vec![b'x'; (64 << 10) + 1]).expect("written");
    assert!(refusal(&config).to_string().contains("it is longer than 64 KiB"));
    for (path, why) in [("/dev/zero", "not a regular file"), ("/", "it is a directory")] {
        let error = refusal(&config.clone().client_secret_file(path));
        assert!(error.to_string().contains(why) && !error.is_retryable(), "{error}");
    }
}

#[test]
fn fifo_in_place_of_a_file_does_not_block() {
    in_child(plain, || {
        let tenant = Tenant::start();
        let folder = tempfile::TempDir::new().expect("a folder");
        let [file, fifo, next] = ["secret", "fifo", "next"].map(|name| folder.path().join(name));
        succeed(Command::new("mkfifo").arg(&fifo));
        let config = support::config(&tenant).client_secret_file(&file).system_roots(false);
        std::thread::scope(|scope| {
            let swaps = scope.spawn(|| {
                for _ in 0..300 {
                    std::fs::write(&next, "secret").expect("written");
                    std::fs::rename(&next, &file).expect("a file");
                    std::fs::hard_link(&fifo, &next).expect("a link");
                    std::fs::rename(&next, &file).expect("a FIFO");
                }
            });
            while !swaps.is_finished() {
                if let Err(error) = Client::new(&config) {
                    let retried = error.is_retryable();
                    assert!(retried || error.to_string().contains("not a regular file"), "{error}");
                }
            }
        });
    });
}

#[test]
fn environment_has_a_variable_for_each_setting() {
    let command = || {
        let mut command = plain();
        command.env("ONEACCESS_ENDPOINT", "https://tenant.example");
        command.env("ONEACCESS_CLIENT_ID", "id").env("ONEACCESS_CLIENT_SECRET", "secret");
        command.env("ONEACCESS_TIMEOUT_MS", "0").env("ONEACCESS_EXPIRY_MARGIN_S", "soon");
        command.env("ONEACCESS_BASIC_AUTH", "maybe").env("ONEACCESS_HEADERS", "Host: x");
        command.env("ONEACCESS_CLIENT_KEY_FILE", "/nowhere/key");
        command
    };
    in_child(command, || {
        let error = Client::new(&Config::from_env()).expect_err("mistakes").to_string();
        for part in [
            "the environment variable ONEACCESS_TIMEOUT_MS is \"0\"; allowed: 1 to 86400000",
            "the environment variable ONEACCESS_EXPIRY_MARGIN_S is \"soon\"",
            "the environment variable ONEACCESS_BASIC_AUTH is \"maybe\"; allowed: true, false",
            "the header Host",
            "the client certificate is incomplete",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    });
}
