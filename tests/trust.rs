//! Who is trusted, who is not, and what is said about it at night.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use oneaccess::{Client, Config, Error, ErrorKind};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use support::certificates::{Ca, Identity, named};
use support::child::{in_child, plain, set_env};
use support::fault::Server;
use support::native::succeed;
use support::nginx::nginx;
use support::proxy::installed;
use support::tenant::Tenant;
use tempfile::TempDir;

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

fn write(folder: &TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a file");
    path
}

fn at(port: u16) -> Config {
    Config::new(&format!("localhost:{port}"), "id", "secret").proxy(Some(""))
}

fn token(config: &Config) -> String {
    let client = Client::new(config).expect("a client");
    client.token().expect("a token").access_token().to_owned()
}

/// Not trusted: what is said. Nothing that a retry would mend.
fn distrust(config: &Config) -> String {
    let client = Client::new(config).expect("a client");
    let error = client.token().expect_err("no token");
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(!error.is_retryable(), "{error}");
    assert_eq!(client.stat(oneaccess::Stat::Attempts), 1);
    error.to_string()
}

fn refused(config: &Config) -> Error {
    let error = Client::new(config).expect_err("refused");
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error
}

/// The operating system's roots are read at the first request.
fn refused_at_the_first_request(config: &Config) -> String {
    let client = Client::new(config).expect("a client");
    let error = client.token().expect_err("refused");
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.to_string()
}

fn says(text: &str, all: &[&str]) {
    for words in all {
        assert!(text.contains(words), "{words:?} is not in: {text}");
    }
}

/// nginx with this certificate, and a client that trusts the CA.
fn to_nginx(ca: &Ca, identity: &Identity, more: &str, then: impl FnOnce(&Config)) {
    let folder = folder();
    let roots = write(&folder, "ca.pem", ca.pem());
    let server = nginx(identity, more);
    then(&at(server.port()).ca_file(roots).timeout(Duration::from_secs(10)));
}

#[test]
fn nginx_with_a_good_chain_is_trusted() {
    if !installed("nginx", "nginx") {
        return;
    }
    let ca = Ca::new();
    let good = |config: &Config| assert_eq!(token(config), "from-nginx");
    to_nginx(&ca, &ca.server(&["localhost"]), "", good);
    to_nginx(&ca, &ca.server(&["localhost"]), "ssl_protocols TLSv1.2;", good);
    to_nginx(&ca, &ca.server(&["localhost"]), "ssl_protocols TLSv1.3;", good);
    let intermediate = ca.intermediate();
    let mut chained = intermediate.server(&["localhost"]);
    chained.certificate += &intermediate.pem();
    to_nginx(&ca, &chained, "", good);
}

#[test]
fn an_incomplete_chain_is_an_unknown_issuer() {
    if !installed("nginx", "nginx") {
        return;
    }
    let ca = Ca::new();
    let identity = ca.intermediate().server(&["localhost"]);
    to_nginx(&ca, &identity, "", |config| {
        says(&distrust(config), &["localhost:", "signed by an unknown issuer", "intermediate"]);
    });
}

#[test]
fn unknown_issuer_is_reported_with_the_ca_setting() {
    if !installed("nginx", "nginx") {
        return;
    }
    let (ca, other) = (Ca::new(), Ca::new().intermediate());
    for identity in
        [other.server(&["localhost"]), Identity::self_signed(named("Nobody", &["localhost"]))]
    {
        to_nginx(&ca, &identity, "", |config| {
            let text = distrust(config);
            says(&text, &["signed by an unknown issuer", "ca_file (ONEACCESS_CA_FILE)"]);
        });
    }
}

#[test]
fn recreated_ca_with_the_same_name_is_reported() {
    let (old, new) = (Tenant::start(), Tenant::start());
    let text = distrust(&support::config(&new).ca_file(old.ca_file()));
    says(&text, &["invalid signature", "ca_file"]);
}

#[test]
fn a_weak_certificate_is_told() {
    if !installed("nginx", "nginx") || !installed("openssl", "openssl") {
        return;
    }
    for (key, hash) in [("rsa:1024", "-sha256"), ("rsa:2048", "-sha1")] {
        let folder = folder();
        let (certificate, key_file) = (folder.path().join("weak.pem"), folder.path().join("key"));
        let mut command = openssl(&["req", "-x509", "-nodes", "-newkey", key, hash]);
        command.args(["-subj", "/CN=x", "-addext", "subjectAltName=DNS:localhost"]);
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        succeed(command.arg("-keyout").arg(&key_file).arg("-out").arg(&certificate));
        let read = |path| fs::read_to_string(path).expect("a file");
        let identity = Identity { certificate: read(&certificate), key: read(&key_file) };
        let server = nginx(&identity, "ssl_ciphers DEFAULT@SECLEVEL=0;");
        let text = distrust(&at(server.port()).ca_file(&certificate));
        says(&text, &["localhost", "weak"]);
        assert!(text.len() < 400 && !text.contains('{'), "not for people: {text}");
    }
}

#[test]
fn wrong_host_is_reported_with_certificate_names() {
    if !installed("nginx", "nginx") {
        return;
    }
    let ca = Ca::new();
    let names = ["a.example", "*.b.example", "192.0.2.7"];
    to_nginx(&ca, &ca.server(&names), "", |config| {
        let text = distrust(config);
        says(
            &text,
            &["localhost", "not valid for this host name", "a.example", "*.b.example", "192.0.2.7"],
        );
        assert!(!text.contains("DnsName("), "{text}");
    });
    to_nginx(&ca, &ca.server(&["localhost"]), "", |config| {
        let port = config_port(config);
        let by_address = Config::new(&format!("127.0.0.1:{port}"), "id", "secret");
        let folder = folder();
        let roots = write(&folder, "ca.pem", ca.pem());
        let text = distrust(&by_address.proxy(Some("")).ca_file(roots));
        says(&text, &["127.0.0.1", "not valid for this host name", "localhost"]);
    });
}

#[test]
fn first_of_many_certificate_names_are_shown() {
    if !installed("nginx", "nginx") {
        return;
    }
    let ca = Ca::new();
    let names: Vec<String> = (100..400).map(|number| format!("host-{number}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    to_nginx(&ca, &ca.server(&names), "", |config| {
        let text = distrust(config);
        says(
            &text,
            &["not valid for this host name; it names host-100.example, host-101.example, ", "…"],
        );
        assert!(text.len() < 500, "{text}");
    });
}

fn config_port(config: &Config) -> u16 {
    let shown = format!("{config:?}");
    let (_, rest) = shown.split_once("localhost:").expect("its endpoint");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a port")
}

#[test]
fn common_name_alone_is_reported() {
    if !installed("nginx", "nginx") {
        return;
    }
    let ca = Ca::new();
    to_nginx(&ca, &ca.sign(named("localhost", &[])), "", |config| {
        says(&distrust(config), &["subjectAltName", "common name is not used"]);
    });
}

#[test]
fn expired_and_not_yet_valid_report_both_dates() {
    if !installed("nginx", "nginx") {
        return;
    }
    let ca = Ca::new();
    let year = httpdate::fmt_http_date(std::time::SystemTime::now());
    let year = &year[12..16];
    let mut old = named("x", &["localhost"]);
    (old.not_before, old.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 2, 3));
    to_nginx(&ca, &ca.sign(old), "", |config| {
        says(&distrust(config), &["expired", "03 Feb 2020", "clock of this machine", year]);
    });
    let mut new = named("x", &["localhost"]);
    (new.not_before, new.not_after) = (date_time_ymd(2091, 4, 5), date_time_ymd(2093, 1, 1));
    to_nginx(&ca, &ca.sign(new), "", |config| {
        let text = distrust(config);
        says(&text, &["not valid before", "05 Apr 2091", "clock of this machine", year]);
    });
}

#[test]
fn self_signed_ca_as_server_certificate_is_named() {
    if !installed("nginx", "nginx") {
        return;
    }
    let mut params = named("localhost", &["localhost"]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let identity = Identity::self_signed(params);
    let folder = folder();
    let roots = write(&folder, "self.pem", &identity.certificate);
    let server = nginx(&identity, "");
    says(&distrust(&at(server.port()).ca_file(roots)), &["self-signed CA", "CA:FALSE"]);
}

#[test]
fn self_signed_certificate_can_be_the_ca_file() {
    if !installed("nginx", "nginx") {
        return;
    }
    let mut params = named("localhost", &["localhost"]);
    params.is_ca = IsCa::ExplicitNoCa;
    let identity = Identity::self_signed(params);
    let folder = folder();
    let roots = write(&folder, "self.pem", &identity.certificate);
    let server = nginx(&identity, "");
    assert_eq!(token(&at(server.port()).ca_file(roots)), "from-nginx");
}

#[test]
fn a_certificate_for_clients_only_is_told() {
    if !installed("nginx", "nginx") {
        return;
    }
    let ca = Ca::new();
    let mut params = named("x", &["localhost"]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    to_nginx(&ca, &ca.sign(params), "", |config| {
        says(&distrust(config), &["the certificate of localhost"]);
    });
}

#[test]
fn an_old_protocol_is_told() {
    if !installed("nginx", "nginx") {
        return;
    }
    let ca = Ca::new();
    for protocols in ["TLSv1", "TLSv1.1", "TLSv1 TLSv1.1"] {
        let more = format!("ssl_protocols {protocols}; ssl_ciphers DEFAULT@SECLEVEL=0;");
        to_nginx(&ca, &ca.server(&["localhost"]), &more, |config| {
            says(&distrust(config), &["supports neither TLS 1.2 nor 1.3"]);
        });
    }
    // A server that chooses TLS 1.1 although it was not offered.
    let mut hello = b"\x16\x03\x02\x00\x4a\x02\x00\x00\x46\x03\x02".to_vec();
    hello.extend_from_slice(&[7; 32]);
    hello.push(32);
    hello.extend_from_slice(&[8; 32]);
    hello.extend_from_slice(b"\xc0\x13\x00");
    says(&distrust(&at(Server::saying(&hello).port())), &["TLS"]);
    let choosing = Server::saying(&hello);
    says(&distrust(&at(choosing.port())), &["supports neither TLS 1.2 nor 1.3"]);
    let alerting = Server::saying(b"\x15\x03\x01\x00\x02\x02\x46");
    says(&distrust(&at(alerting.port())), &["supports neither TLS 1.2 nor 1.3"]);
}

#[test]
fn old_ciphers_are_reported_as_no_common_cipher() {
    if !installed("nginx", "nginx") {
        return;
    }
    let ca = Ca::new();
    let more = "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES128-SHA:AES128-SHA;";
    to_nginx(&ca, &ca.server(&["localhost"]), more, |config| {
        says(&distrust(config), &["HandshakeFailure", "cipher"]);
    });
}

#[test]
fn a_port_without_tls_is_told() {
    let plain = Tenant::builder().plain_http().start();
    says(&distrust(&at(plain.port())), &["does not speak TLS on this port"]);
    for greeting in ["SSH-2.0-OpenSSH_9.2p1\r\n", "220 mail ESMTP\r\n", "* OK IMAP4rev1\r\n"] {
        let server = Server::saying(greeting.as_bytes());
        says(&distrust(&at(server.port())), &["does not speak TLS on this port"]);
    }
}

#[test]
fn ca_file_adds_to_system_roots_or_replaces_them() {
    in_child(plain, || {
        let (one, two) = (Tenant::start(), Tenant::start());
        let folder = folder();
        let both = write(&folder, "both.pem", one.ca_pem().to_owned() + two.ca_pem());
        let with = |tenant: &Tenant| {
            let (id, secret) = (tenant.client_id(), tenant.client_secret());
            Config::new(&tenant.endpoint(), &id, &secret).proxy(Some(""))
        };
        set_env("SSL_CERT_FILE", one.ca_file().to_str());
        token(&with(&one));
        token(&with(&two).ca_file(two.ca_file()));
        token(&with(&one).ca_file(two.ca_file()));
        distrust(&with(&two));
        distrust(&with(&one).ca_file(two.ca_file()).system_roots(false));
        token(&with(&two).ca_file(two.ca_file()).system_roots(false));
        for tenant in [&one, &two] {
            token(&with(tenant).ca_file(&both).system_roots(false));
        }
        let error = refused(&with(&one).system_roots(false));
        says(&error.to_string(), &["no server could be trusted"]);
    });
}

#[test]
fn the_systems_roots_are_where_the_environment_says() {
    if !installed("openssl", "openssl") {
        return;
    }
    in_child(plain, || {
        let tenant = Tenant::start();
        let (id, secret) = (tenant.client_id(), tenant.client_secret());
        let config = Config::new(&tenant.endpoint(), &id, &secret).proxy(Some(""));
        let folder = folder();
        fs::copy(tenant.ca_file(), folder.path().join("ca.pem")).expect("a copy");
        succeed(Command::new("openssl").arg("rehash").arg(folder.path()));
        set_env("SSL_CERT_DIR", folder.path().to_str());
        token(&config);

        let empty = TempDir::new().expect("a folder");
        set_env("SSL_CERT_DIR", empty.path().to_str());
        says(
            &refused_at_the_first_request(&config),
            &["no trusted certificates", "ca-certificates"],
        );
        token(&config.clone().ca_file(tenant.ca_file()));
        set_env("SSL_CERT_DIR", None);
        set_env("SSL_CERT_FILE", Some("/nowhere/ca.pem"));
        says(
            &refused_at_the_first_request(&config),
            &["SSL_CERT_FILE", "/nowhere/ca.pem: No such file"],
        );
        token(&config.clone().ca_file(tenant.ca_file()));
        // As for curl, empty is not set.
        set_env("SSL_CERT_FILE", Some(""));
        set_env("SSL_CERT_DIR", folder.path().to_str());
        token(&config);
    });
}

fn fifo(folder: &TempDir, name: &str) -> PathBuf {
    let path = folder.path().join(name);
    succeed(Command::new("mkfifo").arg(&path));
    path
}

/// Longer than any file of certificates, without taking room on the disk.
fn too_long(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("long");
    let file = fs::File::create(&path).expect("a file");
    file.set_len((16 << 20) + 1).expect("a length");
    path
}

#[test]
fn a_file_that_never_ends_is_refused_at_once() {
    in_child(plain, || {
        let folder = folder();
        let (certificate, key) = Ca::new().server(&["x"]).write(folder.path(), "one");
        for (path, why) in [
            (fifo(&folder, "fifo"), "it is not a regular file"),
            ("/dev/zero".into(), "it is not a regular file"),
            (too_long(&folder), "it is longer than 16 MiB"),
        ] {
            let name = path.to_str().expect("UTF-8");
            let says = |config: &Config, what: &str| {
                says(&refused(config).to_string(), &[&format!("{what} {name}: {why}")]);
            };
            says(&at(1).ca_file(&path), "the CA file");
            says(&at(1).client_certificate_file(&path, &key), "the client certificate file");
            says(&at(1).client_certificate_file(&certificate, &path), "the client key file");
            set_env("SSL_CERT_FILE", Some(name));
            let text = refused_at_the_first_request(&at(1));
            assert!(text.contains(&format!(
                "SSL_CERT_FILE names a file that is not usable, {name}: {why}"
            )));
            set_env("SSL_CERT_FILE", None);
        }
    });
}

#[test]
fn other_files_in_the_roots_folder_are_skipped() {
    in_child(plain, || {
        let tenant = Tenant::start();
        let folder = folder();
        fifo(&folder, "fifo");
        too_long(&folder);
        for (target, link) in [("/dev/zero", "zero"), ("fifo", "link"), ("/nowhere", "nowhere")] {
            std::os::unix::fs::symlink(target, folder.path().join(link)).expect("a link");
        }
        write(&folder, "garbage", "garbage");
        set_env("SSL_CERT_DIR", folder.path().to_str());
        says(
            &refused_at_the_first_request(&at(1)),
            &["no trusted certificates", "longer than 16 MiB"],
        );
        write(&folder, "ca.pem", tenant.ca_pem());
        let (id, secret) = (tenant.client_id(), tenant.client_secret());
        token(&Config::new(&tenant.endpoint(), &id, &secret).proxy(Some("")));
    });
}

#[test]
fn an_unusable_ssl_cert_file_is_named_in_the_error() {
    in_child(plain, || {
        let tenant = Tenant::start();
        let folder = folder();
        let other = write(&folder, "other.pem", Tenant::start().ca_pem());
        for (path, why) in [
            ("/nowhere/ca.pem", "No such file"),
            ("/dev/null", "not a regular file"),
            ("/etc", "it is a directory"),
            (write(&folder, "empty", "").to_str().expect("UTF-8"), "no certificate"),
        ] {
            set_env("SSL_CERT_FILE", Some(path));
            let named = ["the environment variable SSL_CERT_FILE", path, why];
            says(&refused_at_the_first_request(&at(tenant.port())), &named);
            // It could be what the tenant needs.
            says(&distrust(&at(tenant.port()).ca_file(&other)), &named);
            let text = distrust(&at(tenant.port()).ca_file(&other).system_roots(false));
            assert!(!text.contains("SSL_CERT_FILE"), "{text}");
        }
    });
}

#[test]
fn byte_order_mark_is_skipped_and_utf16_reported() {
    let tenant = Tenant::builder().require_client_certificate().start();
    let folder = folder();
    let utf8 = |name: &str, text: &str| write(&folder, name, format!("\u{feff}{text}"));
    let utf16 = |name: &str, mark: [u8; 2], order: fn(u16) -> [u8; 2], text: &str| {
        let units: Vec<u8> = text.encode_utf16().flat_map(order).collect();
        write(&folder, name, [&mark[..], &units].concat())
    };
    let (certificate, key) = tenant.client_certificate_files();
    let read = |path| fs::read_to_string(path).expect("a file");
    let (certificate, key) = (read(certificate), read(key));
    let config = support::config(&tenant).ca_file(utf8("ca.pem", tenant.ca_pem()));
    let mine = (utf8("certificate", &certificate), utf8("key", &key));
    token(&config.clone().client_certificate_file(&mine.0, &mine.1));

    for config in [
        config.clone().ca_file(utf16("little", [0xff, 0xfe], u16::to_le_bytes, tenant.ca_pem())),
        config.clone().ca_file(utf16("big", [0xfe, 0xff], u16::to_be_bytes, tenant.ca_pem())),
        config
            .client_certificate_file(&mine.0, utf16("key16", [0xff, 0xfe], u16::to_le_bytes, &key)),
    ] {
        says(&refused(&config).to_string(), &["it is UTF-16 text; save it as UTF-8"]);
    }
}

#[test]
fn folder_of_roots_is_read_when_the_bundle_fails() {
    in_child(plain, || {
        let (in_folder, in_file) = (Tenant::start(), Tenant::start());
        let folder = folder();
        fs::copy(in_folder.ca_file(), folder.path().join("ca.pem")).expect("a copy");
        set_env("SSL_CERT_DIR", folder.path().to_str());
        set_env("SSL_CERT_FILE", in_file.ca_file().to_str());
        // How many connections the token took: the file is tried first, and alone.
        for (tenant, connections) in [(&in_file, 1), (&in_folder, 2)] {
            let (id, secret) = (tenant.client_id(), tenant.client_secret());
            token(&Config::new(&tenant.endpoint(), &id, &secret).proxy(Some("")));
            assert_eq!((tenant.connections(), tenant.requests()), (connections, 1));
        }
        for nothing in ["/nowhere/ca.pem", "/dev/null"] {
            set_env("SSL_CERT_FILE", Some(nothing));
            let (id, secret) = (in_folder.client_id(), in_folder.client_secret());
            token(&Config::new(&in_folder.endpoint(), &id, &secret).proxy(Some("")));
        }
        assert_eq!((in_folder.connections(), in_folder.requests()), (4, 3));
    });
}

/// In TLS 1.2; in 1.3 rustls and ureq together lose the alert.
#[test]
fn untrusted_server_receives_the_alert() {
    let (tell, told) = mpsc::channel();
    let config = Arc::new(tls12(&Ca::new().server(&["localhost"])));
    let server = Server::start(move |mut socket| {
        let mut tls = ServerConnection::new(config.clone()).expect("a server");
        let error = loop {
            if let Err(error) = tls.complete_io(&mut socket) {
                break error;
            }
        };
        tell.send(error.to_string()).expect("somebody listens");
    });
    distrust(&at(server.port()));
    let told = told.recv_timeout(Duration::from_secs(5)).expect("the server's error");
    says(&told, &["received fatal alert: UnknownCA"]);
}

fn tls12(identity: &Identity) -> ServerConfig {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.expect("PEM")], key.expect("PEM"))
        .expect("a certificate that fits its key")
}

#[test]
fn system_roots_do_not_trust_a_private_ca() {
    let tenant = Tenant::start();
    says(&distrust(&at(tenant.port())), &["signed by an unknown issuer"]);
    assert_eq!(tenant.requests(), 0);
}

#[test]
fn changed_ca_file_is_reloaded_on_tls_failure() {
    let (old, new) = (Tenant::start(), Tenant::start());
    let folder = folder();
    let path = write(&folder, "ca.pem", old.ca_pem());
    let (id, secret) = (new.client_id(), new.client_secret());
    let config = Config::new(&new.endpoint(), &id, &secret).proxy(Some("")).ca_file(&path);
    let client = Client::new(&config).expect("a client");
    fs::write(&path, new.ca_pem()).expect("a file");
    client.token().expect("at its next request");
    // The handshake that failed was one connection, the second one brought the token.
    assert_eq!((new.connections(), new.requests()), (2, 1));
}

#[test]
fn changed_system_roots_are_reloaded_on_tls_failure() {
    in_child(plain, || {
        let (old, new) = (Tenant::start(), Tenant::start());
        let folder = folder();
        let path = write(&folder, "ca.pem", old.ca_pem());
        set_env("SSL_CERT_FILE", path.to_str());
        let (id, secret) = (new.client_id(), new.client_secret());
        let config = Config::new(&new.endpoint(), &id, &secret).proxy(Some(""));
        let client = Client::new(&config).expect("a client");
        client.token().expect_err("not trusted");
        fs::write(&path, new.ca_pem()).expect("a file");
        std::thread::sleep(client.refresh_in().expect("not closed"));
        client.token().expect("at its next request");
    });
}

#[test]
fn broken_ca_file_does_not_replace_loaded_roots() {
    let (tenant, stranger) = (Tenant::start(), Tenant::start());
    let folder = folder();
    let path = write(&folder, "ca.pem", tenant.ca_pem());
    let client = Client::new(&at(stranger.port()).ca_file(&path)).expect("a client");
    for broken in ["", "garbage", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"] {
        fs::write(&path, broken).expect("a file");
        let error = client.token().expect_err("a stranger");
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        std::thread::sleep(client.refresh_in().expect("not closed").min(Duration::from_secs(2)));
    }
    assert_eq!(stranger.requests(), 0);
}

#[test]
fn a_ca_file_that_cannot_be_used_is_refused_at_once() {
    let folder = folder();
    let tenant = Tenant::start();
    let der = {
        let mut command = Command::new("openssl");
        command.args(["x509", "-outform", "der", "-in"]).arg(tenant.ca_file());
        command.output().map(|output| output.stdout).unwrap_or_default()
    };
    let armored =
        |what: &str, body: &str| format!("-----BEGIN {what}-----\n{body}\n-----END {what}-----\n");
    let unfinished: String = tenant.ca_pem().lines().take(3).collect::<Vec<_>>().join("\n");
    let rows = [
        (folder.path().join("nowhere.pem"), "No such file"),
        (folder.path().to_owned(), "it is a directory"),
        (write(&folder, "empty", ""), "no certificate"),
        (write(&folder, "garbage", "garbage"), "no certificate"),
        (write(&folder, "der", der), "no certificate"),
        (write(&folder, "key", armored("PRIVATE KEY", "AAAA")), "no certificate"),
        (write(&folder, "base64", armored("CERTIFICATE", "!!!!")), "PEM"),
        (write(&folder, "asn1", armored("CERTIFICATE", "AAAA")), "certificate 1 is not usable"),
        (write(&folder, "cut", unfinished), "PEM"),
        (
            write(&folder, "second", tenant.ca_pem().to_owned() + &armored("CERTIFICATE", "AAAA")),
            "certificate 2 is not usable",
        ),
    ];
    for (path, why) in rows {
        let error = refused(&at(1).ca_file(&path));
        says(&error.to_string(), &["the CA file", path.to_str().expect("UTF-8"), why]);
    }
}

#[test]
fn a_ca_file_may_hold_more_than_certificates() {
    let tenant = Tenant::start();
    let folder = folder();
    let text =
        format!("# a comment\r\n\u{feff}subject=x\r\n{}", tenant.ca_pem().replace('\n', "\r\n"));
    let path = write(&folder, "ca.pem", text);
    token(&support::config(&tenant).ca_file(path));
}

#[test]
fn an_unreadable_ca_file_is_told() {
    let folder = folder();
    let path = write(&folder, "ca.pem", "");
    let nobody = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs::set_permissions(&path, nobody).expect("permissions");
    // Root reads everything. On Linux a thread can give up that right alone, and this one ends here.
    // SAFETY: a system call.
    unsafe { libc::setfsuid(65534) };
    let error = refused(&at(1).ca_file(&path));
    // SAFETY: a system call.
    unsafe { libc::setfsuid(libc::geteuid()) };
    says(&error.to_string(), &["the CA file", "Permission denied"]);
}

#[test]
fn client_certificate_is_sent_on_request() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let tenant =
            Tenant::builder().require_client_certificate().tls_versions(&[version]).start();
        let (certificate, key) = tenant.client_certificate_files();
        token(&support::config(&tenant).client_certificate_file(certificate, key));

        says(&distrust(&support::config(&tenant)), &["client certificate"]);
        // One of an unknown CA, and one of a CA that was made anew under its old name.
        let folder = folder();
        let unknown = Ca::new().server(&["x"]).write(folder.path(), "unknown");
        let other = Tenant::start();
        for (certificate, key) in [unknown, other.client_certificate_files()] {
            let stranger = support::config(&tenant).client_certificate_file(certificate, key);
            says(&distrust(&stranger), &["client certificate"]);
        }
    }
}

#[test]
fn nginx_requires_a_client_certificate_over_http() {
    if !installed("nginx", "nginx") {
        return;
    }
    let ca = Ca::new();
    let folder = folder();
    let roots = write(&folder, "clients.pem", ca.pem());
    let more = format!("ssl_client_certificate {}; ssl_verify_client on;", roots.display());
    let mut params = named("client", &[]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let (certificate, key) = ca.sign(params).write(folder.path(), "client");
    to_nginx(&ca, &ca.server(&["localhost"]), &more, |config| {
        let with = config.clone().client_certificate_file(&certificate, &key);
        assert_eq!(token(&with), "from-nginx");
        // nginx finishes the handshake and answers HTTP 400 with a page.
        let stranger = Ca::new().server(&["x"]).write(folder.path(), "stranger");
        let wrong = config.clone().client_certificate_file(stranger.0, stranger.1);
        for (config, title, advice) in [
            (config, "400 No required SSL certificate was sent", "requires a client certificate"),
            (&wrong, "400 The SSL certificate error", "does not accept the client certificate"),
        ] {
            let error = Client::new(config).expect("a client").token().expect_err("no token");
            println!("{error}");
            assert_eq!(error.kind(), ErrorKind::Protocol);
            let page = format!("sent a web page instead of a token: {title} (HTTP 400)");
            says(&error.to_string(), &[&page, advice, "client_certificate_file"]);
        }
    });
}

#[test]
fn nginx_pages_say_what_to_do() {
    if !installed("nginx", "nginx") {
        return;
    }
    let ca = Ca::new();
    let long = "x".repeat(9000);
    to_nginx(&ca, &ca.server(&["localhost"]), "", |config| {
        let plain =
            Config::new(&format!("http://localhost:{}", config_port(config)), "id", "secret");
        let plain = plain.proxy(Some(""));
        let long = config.clone().header("X-Long", &long);
        for (config, words) in [(plain, "https://"), (long, "shorter extra headers")] {
            let error = Client::new(&config).expect("a client").token().expect_err("no token");
            println!("{error}");
            says(
                &error.to_string(),
                &["sent a web page instead of a token: 400 ", "(HTTP 400); ", words],
            );
        }
    });
}

/// The same key in every form that is accepted.
#[test]
fn a_client_key_may_be_pkcs8_pkcs1_or_sec1() {
    if !installed("openssl", "openssl") {
        return;
    }
    let tenant = Tenant::start();
    let folder = folder();
    let rsa = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let ec = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    for (generate, traditional) in [(&rsa[..], "rsa"), (&ec[..], "ec")] {
        let key = folder.path().join(traditional);
        let certificate = folder.path().join("certificate");
        succeed(openssl(generate).arg("-out").arg(&key));
        let request = ["req", "-x509", "-subj", "/CN=x", "-days", "2", "-key"];
        succeed(openssl(&request).arg(&key).arg("-out").arg(&certificate));
        let old = folder.path().join("traditional");
        let convert = [traditional, "-in"];
        let mut command = openssl(&convert);
        command.arg(&key).arg("-out").arg(&old);
        if traditional == "rsa" {
            command.arg("-traditional");
        }
        succeed(&mut command);
        for key in [&key, &old] {
            token(&support::config(&tenant).client_certificate_file(&certificate, key));
        }
    }
}

fn openssl(arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments);
    command
}

#[test]
fn unusable_client_certificate_is_refused_at_once() {
    let folder = folder();
    let (ca, other) = (Ca::new(), Ca::new());
    let (certificate, key) = ca.server(&["x"]).write(folder.path(), "one");
    let (_, foreign) = other.server(&["y"]).write(folder.path(), "two");
    let garbage = write(&folder, "garbage", "garbage");
    let nowhere = folder.path().join("nowhere");
    let bad_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad = write(&folder, "bad", bad_der);
    let public = write(&folder, "public", bad_der.replace("CERTIFICATE", "PUBLIC KEY"));
    let bad_key = write(&folder, "badkey", bad_der.replace("CERTIFICATE", "PRIVATE KEY"));
    let mut wrong = Vec::new();
    for (certificate, key, blames, why) in [
        (&certificate, &foreign, &foreign, "does not belong to the certificate"),
        (&certificate, &garbage, &garbage, "no PEM private key"),
        (&certificate, &public, &public, "no PEM private key"),
        (&certificate, &certificate, &certificate, "no PEM private key"),
        (&certificate, &bad_key, &bad_key, "key"),
        (&certificate, &nowhere, &nowhere, "No such file"),
        (&nowhere, &key, &nowhere, "No such file"),
        (&garbage, &key, &garbage, "no certificate"),
        (&key, &key, &key, "no certificate"),
        (&bad, &key, &bad, "certificate"),
    ] {
        let config = at(1).client_certificate_file(certificate, key);
        let text = refused(&config).to_string();
        let blames = blames.to_str().expect("UTF-8");
        let (blamed, _) = text.split_once(": ").unwrap_or_default();
        if !blamed.contains(blames) || !text.contains(why) {
            wrong.push(format!("{blames} {why}: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_encrypted_client_key_is_told() {
    if !installed("openssl", "openssl") {
        return;
    }
    let folder = folder();
    let (certificate, key) = Ca::new().server(&["x"]).write(folder.path(), "x");
    let new = folder.path().join("pkcs8");
    let mut command = openssl(&["pkcs8", "-topk8", "-passout", "pass:p4ss", "-in"]);
    succeed(command.arg(&key).arg("-out").arg(&new));
    let old = folder.path().join("sec1");
    let mut command = openssl(&["ec", "-aes128", "-passout", "pass:p4ss", "-in"]);
    succeed(command.arg(&key).arg("-out").arg(&old));
    for key in [new, old] {
        let error = refused(&at(1).client_certificate_file(&certificate, key));
        says(&error.to_string(), &["encrypted", "openssl"]);
    }
}
