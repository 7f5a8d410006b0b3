//! Settings that are refused when the client is made.

use std::fs;

use oneaccess::{Client, Config, Error};

use super::support::certificates::Ca;
use super::support::child::{in_child, set_env};
use super::support::resolver::Resolver;
use super::table::{SETTINGS, Seen, compare, seen};
use super::{armored, folder, write};

fn tenant_example() -> Config {
    Config::new("tenant.example", "id", "secret").proxy(Some(""))
}

fn refused(config: &Config) -> Error {
    Client::new(config).expect_err("a refusal")
}

/// The operating system's certificates are read then.
fn refused_at_the_first_request(config: &Config) -> Error {
    Client::new(config).expect("a client").token().expect_err("a refusal")
}

#[test]
fn messages_about_settings() {
    let resolver = Resolver::compile();
    in_child(
        || resolver.runner(0, "127.0.0.1"),
        || {
            let mut all = Vec::new();
            for endpoint in [
                "unix:/x",
                "https:/tenant.example",
                "https://tenant.example/api/v2/tenant/users",
                "{host}",
                "http://tenant.example",
            ] {
                all.push(seen(&refused(&Config::new(endpoint, "id", "secret")), &[]));
            }
            let long = "x".repeat(32 << 10);
            all.push(seen(&refused(&tenant_example().header("X-Long", &long)), &[]));
            all.push(seen(&refused(&tenant_example().system_roots(false)), &[]));
            all.extend(ca_files());
            all.extend(system_roots());
            all.extend(secret_files());
            all.extend(client_certificates());
            let bad = "http://walter:p4ss@proxy:port";
            all.push(seen(&refused(&tenant_example().proxy(Some(bad))), &[]));
            set_env("https_proxy", Some(bad));
            all.push(seen(&refused(&tenant_example().proxy(None)), &[]));
            let plain = Config::new("http://localhost", "id", "secret");
            all.push(seen(&refused(&plain.proxy(Some("http://proxy:3128"))), &[]));
            compare(SETTINGS, &all);
        },
    );
}

fn ca_files() -> Vec<Seen> {
    let folder = folder();
    let paths = [
        folder.path().join("nowhere").display().to_string(),
        folder.path().display().to_string(),
        "/dev/zero".to_owned(),
        write(&folder, "big", vec![b'x'; (16 << 20) + 1]),
        write(&folder, "utf16", b"\xff\xfe-\0"),
        write(&folder, "empty", ""),
        write(&folder, "key", armored("PRIVATE KEY", "AAAA")),
        write(&folder, "base64", armored("CERTIFICATE", "!!!!")),
        write(&folder, "second", Ca::new().pem() + &armored("CERTIFICATE", "AAAA")),
    ];
    let refusal =
        |path: &String| seen(&refused(&tenant_example().ca_file(path)), &[(path, "/etc/ca.pem")]);
    let mut all: Vec<_> = paths.iter().map(refusal).collect();
    let unreadable = write(&folder, "unreadable", "");
    let no_rights = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs::set_permissions(&unreadable, no_rights).expect("permissions");
    // Root may read every file. On Linux one thread can give up that right.
    // SAFETY: a system call.
    unsafe { libc::setfsuid(65534) };
    all.push(refusal(&unreadable));
    // SAFETY: a system call.
    unsafe { libc::setfsuid(libc::geteuid()) };
    all
}

fn system_roots() -> Vec<Seen> {
    let empty = folder();
    set_env("SSL_CERT_DIR", empty.path().to_str());
    let none = seen(&refused_at_the_first_request(&tenant_example()), &[]);
    set_env("SSL_CERT_DIR", None);
    set_env("SSL_CERT_FILE", Some("/nowhere/ca.pem"));
    let unusable = seen(&refused_at_the_first_request(&tenant_example()), &[]);
    set_env("SSL_CERT_FILE", None);
    vec![none, unusable]
}

fn secret_files() -> Vec<Seen> {
    let folder = folder();
    let paths = [
        folder.path().join("nowhere").display().to_string(),
        folder.path().display().to_string(),
        "/dev/zero".to_owned(),
        write(&folder, "empty", ""),
        write(&folder, "latin1", b"\xfcber"),
    ];
    let all = paths.iter().map(|path| {
        let config = tenant_example().client_secret_file(path);
        seen(&refused(&config), &[(path, "/run/secret")])
    });
    all.collect()
}

fn client_certificates() -> Vec<Seen> {
    let folder = folder();
    let (certificate, key) = Ca::new().server(&["x"]).write(folder.path(), "client");
    let (_, other_key) = Ca::new().server(&["x"]).write(folder.path(), "other");
    let mut all = Vec::new();
    for text in [
        fs::read_to_string(other_key).expect("a key"),
        armored("ENCRYPTED PRIVATE KEY", "AAAA"),
        "garbage".to_owned(),
    ] {
        fs::write(&key, text).expect("a file");
        let config = tenant_example().client_certificate_file(&certificate, &key);
        let here = format!("{}/", folder.path().display());
        all.push(seen(&refused(&config), &[(&here, "")]));
    }
    all
}
