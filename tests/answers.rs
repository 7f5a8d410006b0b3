//! What each response of the token endpoint gives: a token, or an error of a certain kind and message.

mod support;

use std::time::{Duration, SystemTime};

use oneaccess::{Client, Error, ErrorKind};
use support::tenant::{Answer, Tenant};
use support::{client, config};

/// The error of the first call of a new client.
fn error_of(tenant: &Tenant, answer: Answer) -> Error {
    tenant.always(answer);
    let client = client(tenant);
    client.token_within(Duration::from_secs(10)).expect_err("no token")
}

struct Row {
    answer: Answer,
    kind: ErrorKind,
    retryable: bool,
    code: Option<&'static str>,
    says: &'static str,
}

fn row(answer: Answer, kind: ErrorKind, code: Option<&'static str>, says: &'static str) -> Row {
    let retryable = matches!(kind, ErrorKind::Throttled | ErrorKind::Server);
    Row { answer, kind, retryable, code, says }
}

fn check(rows: Vec<Row>) {
    let tenant = Tenant::start();
    for Row { answer, kind, retryable, code, says } in rows {
        let shown = format!("{answer:?}");
        let error = error_of(&tenant, answer);
        assert_eq!(error.kind(), kind, "{shown}: {error}");
        assert_eq!(error.is_retryable(), retryable, "{shown}: {error}");
        assert_eq!(error.vendor_code(), code, "{shown}: {error}");
        assert!(error.to_string().contains(says), "{shown}: {error}");
    }
}

const PAGE: &str = "<!DOCTYPE html><html><body>Please log in</body></html>";

#[test]
fn vendor_error_is_denied_with_its_code() {
    use ErrorKind::Denied;
    let oauth = r#"{"error":"invalid_client","error_description":"Bad client credentials"}"#;
    let vendor = r#"{"error_code":"APP.0003","error_msg":"应用已禁用"}"#;
    let blank = r#"{"error_code":" APP.ACCOUNT.0038","error_msg":"x"}"#;
    let nested = r#"{"error":{"code":"E17","message":"not today"}}"#;
    let other = r#"{"error":null,"error_code":{"reason":"not today"}}"#;
    let surrogate = r#"{"error_code":"E17","error_msg":"x\ud800"}"#;
    check(vec![
        row(Answer::json(401, oauth), Denied, Some("invalid_client"), "Bad client credentials"),
        row(Answer::json(401, oauth), Denied, Some("invalid_client"), "check client_id and"),
        row(Answer::json(400, vendor), Denied, Some("APP.0003"), "应用已禁用"),
        row(Answer::json(400, blank), Denied, Some("APP.ACCOUNT.0038"), "APP.ACCOUNT.0038: x"),
        row(Answer::json(200, oauth), Denied, Some("invalid_client"), "HTTP 200"),
        row(Answer::json(403, nested), Denied, Some("E17"), "E17: not today (HTTP 403)"),
        row(Answer::json(400, other), Denied, None, "not today"),
        row(Answer::json(400, r#"{"error":["E17"]}"#), Denied, None, "E17"),
        row(Answer::json(400, surrogate), Denied, Some("E17"), "E17: x"),
        row(Answer::json(404, vendor), Denied, Some("APP.0003"), "HTTP 404"),
        row(Answer::html(400, oauth), Denied, Some("invalid_client"), "Bad client"),
    ]);
}

#[test]
fn http_401_or_403_without_a_code_is_denied() {
    check(vec![
        row(Answer::html(401, PAGE), ErrorKind::Denied, None, "HTTP 401"),
        row(Answer::status(403), ErrorKind::Denied, None, "denied the request without a reason"),
    ]);
}

#[test]
fn foreign_response_is_a_protocol_error() {
    use ErrorKind::Protocol;
    check(vec![
        row(Answer::html(404, PAGE), Protocol, None, "check the endpoint"),
        row(Answer::status(405), Protocol, None, "HTTP 405"),
        row(Answer::html(418, PAGE), Protocol, None, "web application firewall"),
        row(Answer::html(400, PAGE), Protocol, None, "is a web page"),
        row(Answer::json(400, "{}"), Protocol, None, "HTTP 400"),
        row(Answer::json(400, r#"{"error":null}"#), Protocol, None, "HTTP 400"),
    ]);
}

fn titled(title: &str) -> String {
    format!("<html>\r\n<head><TITLE lang=en>\n {title}\n</Title></head>\r\n<body>x</body></html>")
}

#[test]
fn web_page_error_has_its_title_and_advice() {
    use ErrorKind::{Denied, Protocol, Server};
    let secret = "s3cr3t-0123456789";
    let tenant = Tenant::builder().client_secret(secret).start();
    for (status, page, kind, says) in [
        (
            404,
            titled("404 Not Found"),
            Protocol,
            "instead of a token: 404 Not Found (HTTP 404); check the",
        ),
        (
            403,
            titled("403 Forbidden"),
            Denied,
            "instead of a token: 403 Forbidden (HTTP 403); check client",
        ),
        (
            502,
            titled("502 Bad Gateway"),
            Server,
            "sent a web page instead of a token: 502 Bad Gateway (HTTP 502)",
        ),
        (
            200,
            titled("Tom &amp; Jerry&#39;s &lt;b&gt;"),
            Protocol,
            "instead of a token: Tom & Jerry's <b> (",
        ),
        (
            200,
            titled("Sign in to Example"),
            Protocol,
            "instead of a token: Sign in to Example (HTTP 200)",
        ),
        (200, "<p><input type=\"password\">".to_owned(), Protocol, "this is a login page"),
        (200, "<title>Login".to_owned(), Protocol, "this is a login page"),
        (
            400,
            titled("400 No required SSL certificate was sent"),
            Protocol,
            "requires a client certificate: set client_certificate_file",
        ),
        (400, titled("400 The SSL certificate error"), Protocol, "does not accept the client cert"),
        (
            400,
            titled("400 The plain HTTP request was sent to HTTPS port"),
            Protocol,
            "HTTPS port (HTTP 400); this port expects TLS: use https://",
        ),
        (
            400,
            titled("400 Request Header Or Cookie Too Large"),
            Protocol,
            "use shorter extra headers",
        ),
        (431, PAGE.to_owned(), Protocol, "use shorter extra headers"),
        (
            418,
            titled("Blocked"),
            Protocol,
            "instead of a token: Blocked (HTTP 418); a web application fire",
        ),
        (403, titled("Attention Required! | Example"), Denied, "a web application firewall"),
        (
            400,
            titled(&format!("No {secret} here")),
            Protocol,
            "instead of a token: No [hidden] here",
        ),
        (400, titled(&"long ".repeat(50)), Protocol, "long long …"),
        (400, titled(""), Protocol, "is a web page"),
    ] {
        let error = error_of(&tenant, Answer::html(status, &page));
        println!("{error}");
        assert_eq!(error.kind(), kind, "{page}: {error}");
        assert!(error.to_string().contains(says), "{page}: {error}");
        assert!(error.to_string().len() < 400, "{error}");
    }
}

#[test]
fn title_is_searched_in_the_first_64_kib() {
    let tenant = Tenant::start();
    for (padding, shown) in [(64 << 10, false), ((64 << 10) - 30, true), (65_530, false)] {
        let page = format!("<{}><title>Found</title>", "é".repeat(padding / 2));
        let error = error_of(&tenant, Answer::html(404, &page));
        assert_eq!(error.to_string().contains("Found"), shown, "{padding}: {error}");
    }
}

#[test]
fn http_200_without_a_token_is_a_protocol_error() {
    use ErrorKind::Protocol;
    let says = |body: &str, says| row(Answer::json(200, body), Protocol, None, says);
    let compressed =
        Answer::json(200, r#"{"access_token":"t"}"#).header("Content-Encoding", "gzip");
    let long = format!(r#"{{"access_token":"t","x":"{}"}}"#, "y".repeat(1 << 20));
    let created = Answer::json(201, r#"{"access_token":"t"}"#);
    check(vec![
        says("", "is empty"),
        row(Answer::html(200, PAGE), Protocol, None, "is a web page"),
        says(r#"{"access_token":"t", "#, "is truncated JSON"),
        says(r#"{"access_token":"very-secret","#, "is truncated JSON"),
        says(r#"{"access_token" "very-secret"}"#, "line 1, column 17"),
        says("[1]", "not an object"),
        says("null", "not an object"),
        says("{}", "has no access_token"),
        says(r#"{"access_token":""}"#, "empty or not visible"),
        says(r#"{"access_token":17}"#, "not a string"),
        says(r#"{"access_token":"a b"}"#, "not visible ASCII"),
        says(r#"{"access_token":"a\u0000b"}"#, "not visible ASCII"),
        says(r#"{"access_token":"a\nb"}"#, "not visible ASCII"),
        says(r#"{"access_token":"é"}"#, "not visible ASCII"),
        says(r#"{"access_token":"t","token_type":"mac"}"#, "other than Bearer"),
        says(r#"{"access_token":"t","token_type":1}"#, "other than Bearer"),
        says(r#"{"access_token":"t"} x"#, "is not JSON"),
        says(&long, "longer than 1048576"),
        row(compressed, Protocol, None, "compressed"),
        row(
            created,
            Protocol,
            None,
            "may contain one, but a token is accepted with HTTP 200 only (HTTP 201)",
        ),
        row(Answer::status(204), Protocol, None, "HTTP 204"),
    ]);
}

#[test]
fn redirect_is_not_followed() {
    let elsewhere = Tenant::start();
    let tenant = Tenant::start();
    let location = format!("{}/api/v2/tenant/token?client_secret=x", elsewhere.endpoint());
    for status in [300, 301, 302, 303, 307, 308] {
        let error = error_of(&tenant, Answer::status(status).header("Location", &location));
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert!(!error.is_retryable());
        assert!(error.to_string().contains(&format!("localhost:{}", elsewhere.port())), "{error}");
        assert!(!error.to_string().contains("client_secret="), "{error}");
    }
    assert_eq!(elsewhere.connections(), 0);
    assert_eq!(tenant.requests(), 6);
}

#[test]
fn throttling_and_server_errors_are_retryable() {
    use ErrorKind::{Server, Throttled};
    let gateway = r#"{"error_code":"APIG.0308","error_msg":"throttled"}"#;
    let busy = r#"{"error_code":"IDAAS.TENANT.COM.0002","error_msg":"system busy"}"#;
    let oauth = |code| Answer::json(400, &format!(r#"{{"error":"{code}"}}"#));
    check(vec![
        row(Answer::status(429).header("Retry-After", "1"), Throttled, None, "HTTP 429"),
        row(Answer::json(400, gateway), Throttled, Some("APIG.0308"), "throttled"),
        row(Answer::json(401, gateway), Throttled, Some("APIG.0308"), "throttled"),
        row(Answer::json(500, busy), Server, Some("IDAAS.TENANT.COM.0002"), "system busy"),
        row(Answer::json(400, busy), Server, Some("IDAAS.TENANT.COM.0002"), "system busy"),
        row(Answer::json(200, busy), Server, Some("IDAAS.TENANT.COM.0002"), "system busy"),
        row(oauth("server_error"), Server, Some("server_error"), "HTTP 400"),
        row(oauth("temporarily_unavailable"), Server, Some("temporarily_unavailable"), "HTTP 400"),
        row(Answer::html(502, PAGE), Server, None, "HTTP 502"),
        row(Answer::status(408), Server, None, "HTTP 408"),
        row(Answer::status(425), Server, None, "HTTP 425"),
    ]);
}

#[test]
fn broken_connection_and_invalid_http_differ_in_kind() {
    use ErrorKind::{Protocol, Transport};
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\":\"t\"";
    let rows = [
        (Answer::Reset, Transport),
        (Answer::ResetAtAccept, Transport),
        (Answer::CloseAtAccept, Transport),
        (Answer::Cut { bytes: Vec::new() }, Transport),
        (Answer::Cut { bytes: cut[..20].to_vec() }, Transport),
        (Answer::Cut { bytes: cut.to_vec() }, Transport),
        (Answer::Raw(cut.to_vec()), Transport),
        (Answer::Raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()), Protocol),
        (Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}".to_vec()), Protocol),
    ];
    let tenant = Tenant::start();
    for (answer, kind) in rows {
        let shown = format!("{answer:?}");
        let error = error_of(&tenant, answer);
        assert_eq!(error.kind(), kind, "{shown}: {error}");
        assert_eq!(error.is_retryable(), kind == Transport, "{shown}: {error}");
        assert_eq!(error.http_status(), 0, "{shown}");
    }
}

#[test]
fn http_503_with_a_truncated_body_is_a_server_error() {
    let tenant = Tenant::start();
    let cut = b"HTTP/1.1 503 x\r\nContent-Length: 100\r\n\r\n<html>".to_vec();
    let error = error_of(&tenant, Answer::Cut { bytes: cut });
    assert_eq!((error.kind(), error.http_status()), (ErrorKind::Server, 503));
}

/// The lifetime in seconds, rounded, that the client gives the token of a response with these fields.
fn lifetime_of(tenant: &Tenant, fields: &str) -> u64 {
    tenant.always(Answer::json(200, &format!(r#"{{"access_token":"t","extra":[{{}}]{fields}}}"#)));
    let token = client(tenant).token().unwrap_or_else(|error| panic!("{fields}: {error}"));
    assert_eq!(token.authorization(), "Bearer t");
    let left = token.expires_at().duration_since(SystemTime::now()).unwrap_or_default();
    (left.as_secs_f64() + 0.9) as u64
}

#[test]
fn invalid_optional_fields_are_ignored() {
    let tenant = Tenant::start();
    for (fields, life) in [
        ("", 300),
        (r#","expires_in":1800"#, 1800),
        (r#","expires_in":"1719""#, 1719),
        (r#","expires_in":1799.5"#, 1799),
        (r#","expires_in":null"#, 300),
        (r#","expires_in":"soon""#, 300),
        (r#","expires_in":{}"#, 300),
        (r#","expires_in":1e300"#, i32::MAX as u64),
        (r#","expires_in":7,"expires_in":60"#, 60),
        (r#","token_type":"BEARER","scope":5,"id_token":["x"]"#, 300),
        (r#","token_type":null,"scope":null"#, 300),
        (r#","scope":"a\u0000b""#, 300),
        (r#","expires_in":1e400"#, 300),
        (r#","expires_in":-1e400,"scope":1e400"#, 300),
        (r#","expires_in":"1e400""#, 300),
        (r#","expires_in":"inf""#, 300),
        (r#","expires_in":60,"id_token":[1e400],"x":-1e999,"y":{"z":1e400}"#, 60),
        (r#","token_type":"mac","token_type":"bearer""#, 300),
        (r#","\ud800":1,"x":"\ud800","expires\u005fin":60"#, 60),
    ] {
        assert!(lifetime_of(&tenant, fields).abs_diff(life) <= 1, "{fields}");
    }
}

#[test]
fn token_that_arrives_expired_is_an_error() {
    let tenant = Tenant::start();
    for life in ["0", "-5", "0.0", "-1e300", "\"0\""] {
        let body = format!(r#"{{"access_token":"t","expires_in":{life}}}"#);
        tenant.always(Answer::json(200, &body));
        let error = client(&tenant).token_within(Duration::from_secs(1)).expect_err("expired");
        assert_eq!(error.kind(), ErrorKind::Protocol, "{life}: {error}");
        assert!(error.to_string().contains("expired when it arrived"), "{life}: {error}");
        assert!(error.is_retryable() && error.retry_after().is_some(), "{life}");
    }
}

#[test]
fn unknown_fields_may_be_nested_deeply() {
    let tenant = Tenant::start();
    for depth in [200, 100_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        tenant.always(Answer::json(200, &format!(r#"{{"access_token":"t","x":{open}1{close}}}"#)));
        assert_eq!(client(&tenant).token().expect("a token").access_token(), "t");
        let error = error_of(&tenant, Answer::json(400, &format!(r#"{{"error":{open}1{close}}}"#)));
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(error.to_string().len() < 1000, "{error}");
    }
}

#[test]
fn bom_blanks_and_bad_utf8_do_not_cost_the_token() {
    let tenant = Tenant::start();
    let bodies: [&[u8]; 4] = [
        b"\xef\xbb\xbf{\"access_token\":\"t\"}",
        b" \r\n{\"access_token\":\"t\"}\n\n",
        b"{\"access_token\":\"t\",\"note\":\"\xb2\xe2\xca\xd4\"}",
        b"{\"access_token\":\"old\",\"access_token\":\"t\"}",
    ];
    for body in bodies {
        let headers = vec![("Content-Type".to_owned(), "text/html".to_owned())];
        tenant.always(Answer::Status { status: 200, headers, body: body.to_vec() });
        let token = client(&tenant).token().unwrap_or_else(|error| panic!("{body:?}: {error}"));
        assert_eq!(token.access_token(), "t");
    }
    let exact = format!(r#"{{"access_token":"t","x":"{}"}}"#, "y".repeat((1 << 20) - 27));
    assert_eq!(exact.len(), 1 << 20);
    tenant.always(Answer::json(200, &exact));
    assert_eq!(client(&tenant).token().expect("a body of exactly 1 MiB").access_token(), "t");
}

#[test]
fn response_header_may_have_32_kib() {
    let tenant = Tenant::start();
    let answer = |length| {
        Answer::json(200, r#"{"access_token":"t"}"#).header("X-Padding", &"x".repeat(length))
    };
    tenant.always(answer(32_000));
    client(&tenant).token().expect("a token");
    let error = error_of(&tenant, answer(33_000));
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert!(error.to_string().contains("header"), "{error}");
}

#[test]
fn long_secret_and_long_header_are_sent() {
    let secret = "s".repeat(32 << 10);
    let tenant = Tenant::builder().client_secret(&secret).start();
    for basic in [false, true] {
        let client = Client::new(&config(&tenant).basic_auth(basic)).expect("a client");
        client.token().expect("a token");
    }
    let long = "x".repeat(20 << 10);
    for (name, value) in [(long.as_str(), "x"), ("x", long.as_str())] {
        Client::new(&config(&tenant).header(name, value))
            .expect("a client")
            .token()
            .expect("a token");
    }
}

#[test]
fn token_has_the_fields_of_the_response() {
    let tenant = Tenant::start();
    let token = client(&tenant).token().expect("a token");
    assert_eq!(Some(token.access_token()), tenant.current_token().as_deref());
    assert_eq!(token.authorization(), format!("Bearer {}", token.access_token()));
    assert_eq!(token.token_type(), "Bearer");
    assert_eq!(token.scope(), Some("all"));
    assert_eq!(token.id_token().map(|id| id.split('.').count()), Some(3));
    let left = token.expires_at().duration_since(SystemTime::now()).expect("not expired");
    assert!((1795..=1800).contains(&left.as_secs()), "{left:?}");
}

#[test]
fn credentials_are_sent_in_form_or_basic_never_both() {
    let secret = "p+q/r=s&t%u:v w~é中";
    let tenant = Tenant::builder().client_secret(secret).start();
    client(&tenant).token().expect("with form fields");
    let form = tenant.last_request().expect("a request");
    assert_eq!(form.method, "POST");
    assert_eq!(form.path, "/api/v2/tenant/token");
    assert_eq!(form.header("Content-Type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(form.header("Authorization"), None);
    assert_eq!(form.form_field("client_secret").as_deref(), Some(secret));

    let basic = oneaccess::Client::new(&config(&tenant).basic_auth(true)).expect("a client");
    basic.token().expect("with Basic");
    let basic = tenant.last_request().expect("a request");
    assert!(basic.header("Authorization").is_some_and(|value| value.starts_with("Basic ")));
    assert_eq!(basic.body, b"grant_type=client_credentials");
    assert_eq!(tenant.requests(), 2);
}

#[test]
fn extra_headers_are_sent() {
    let tenant = Tenant::start();
    let config = config(&tenant).header("X-tenant-id", "isv 17").header("Accept-Language", "zh-CN");
    oneaccess::Client::new(&config).expect("a client").token().expect("a token");
    let request = tenant.last_request().expect("a request");
    assert_eq!(request.header("X-tenant-id"), Some("isv 17"));
    assert_eq!(request.header("Accept-Language"), Some("zh-CN"));
    assert_eq!(
        request.header("User-Agent"),
        Some(concat!("oneaccess/", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let tenant = Tenant::start();
    let dates = [
        ("Date", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ("Retry-After", "Wed, 21 Oct 2015 07:28:40 GMT"),
    ];
    for headers in [&[("Retry-After", "40")][..], &dates[..]] {
        let mut answer = Answer::status(503);
        for (name, value) in headers {
            answer = answer.header(name, value);
        }
        let before = tenant.requests();
        let error = error_of(&tenant, answer);
        let after = error.retry_after().expect("a Retry-After").as_secs();
        assert!((39..=48).contains(&after), "{headers:?}: {after} s");
        assert_eq!(tenant.requests() - before, 1, "Retry-After ends the attempts");
    }
}

#[test]
fn failed_request_is_tried_three_times() {
    let tenant = Tenant::start();
    error_of(&tenant, Answer::status(503));
    assert_eq!(tenant.requests(), 3);
    tenant.normal();
    tenant.next(Answer::status(503));
    tenant.next(Answer::Reset);
    client(&tenant).token().expect("the third attempt");
    assert_eq!(tenant.requests(), 6);
}

#[test]
fn vendor_text_is_redacted_and_on_one_line() {
    let secret = "s3cr3t+/=&%: x";
    let tenant = Tenant::builder().client_secret(secret).client_id("me").start();
    let old = "9507d921f8f0f16a9480b449243aec19f4453a6256dc4428fa1d77d340468097";
    let basic = "bWU6czNjcjN0Ky89JiU6IHg=";
    let form = "s3cr3t%2B%2F%3D%26%25%3A%20x";
    for echo in [secret, old, basic, form, "s3cr3t%2b%2f%3d%26%25%3a%20x"] {
        let text = format!("Access token expired: {echo}\nsecond line {}", "long ".repeat(200));
        let body = serde_json::json!({"error": "invalid_token", "error_description": text});
        let error = error_of(&tenant, Answer::json(401, &body.to_string()));
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(echo), "{shown}");
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(!shown.contains('\n') && error.to_string().len() < 700, "{shown}");
        assert!(shown.contains("second line"), "{shown}");
    }
    let code = serde_json::json!({"error": secret});
    let error = error_of(&tenant, Answer::json(400, &code.to_string()));
    assert!(!format!("{error:?}").contains("s3cr3t"), "{error:?}");
}

#[test]
fn vendor_code_and_host_are_not_shortened() {
    let tenant = Tenant::start();
    let long = r#"{"error_code":"APP.ORGANIZATION.ACCOUNT.0038","error_msg":"x"}"#;
    let error = error_of(&tenant, Answer::json(400, long));
    assert_eq!(error.vendor_code(), Some("APP.ORGANIZATION.ACCOUNT.0038"));
    let portal = "https://auth.cn-north-4.myhuaweicloud.com/authui/login";
    let error = error_of(&tenant, Answer::status(302).header("Location", portal));
    assert!(error.to_string().contains(" to auth.cn-north-4.myhuaweicloud.com "), "{error}");
}

#[test]
fn vendor_code_is_redacted_and_on_one_line() {
    let tenant = Tenant::start();
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abcdefgh";
    for (code, shown) in [
        ("E\n17\u{7}\u{202e}x", "E 17  x"),
        ("E\0", "E"),
        (jwt, "[hidden]"),
        (&format!("token {jwt}"), "token [hidden]"),
        ("9507d921-f8f0-416a-9480-b449243aec19", "[hidden]"),
        ("insufficient_authentication_level2", "insufficient_authentication_level2"),
        ("4711", "4711"),
    ] {
        let body = serde_json::json!({"error": code, "error_description": "x"}).to_string();
        let error = error_of(&tenant, Answer::json(400, &body));
        assert_eq!(error.vendor_code(), Some(shown), "{error}");
    }
}

#[test]
fn echoed_token_is_hidden_in_any_sentence() {
    let tenant = Tenant::start();
    for (text, token) in [
        ("Access token expired: abcdefgh", "abcdefgh"),
        ("Access token abc123def expired", "abc123def"),
        ("token 'eyJh.b' expired", "eyJh.b"),
        ("Access token expired：abcd1234efgh", "abcd1234efgh"),
        ("访问令牌已过期: abcdefgh5678", "abcdefgh5678"),
        ("bad access_token=abcdefgh", "abcdefgh"),
        ("9507d921-f8f0-416a-9480-b449243aec19 is over", "9507d921"),
    ] {
        let body = serde_json::json!({"error": "invalid_token", "error_description": text});
        let error = error_of(&tenant, Answer::json(400, &body.to_string()));
        assert!(!error.to_string().contains(token), "{error}");
        assert!(error.to_string().contains("[hidden]"), "{error}");
    }
    let kept = "Bad client credentials, see 3.2.1 of the manual (request 4711)";
    let body = serde_json::json!({"error": "invalid_client", "error_description": kept});
    let error = error_of(&tenant, Answer::json(401, &body.to_string()));
    assert!(error.to_string().contains(kept), "{error}");
}

#[test]
fn echoed_latest_token_is_hidden() {
    let tenant = Tenant::start();
    tenant.next(Answer::json(200, r#"{"access_token":"short"}"#));
    let client = client(&tenant);
    client.token().expect("a token");
    tenant
        .always(Answer::json(400, r#"{"error":"x","error_description":"gave you short before"}"#));
    client.reject("short");
    client.token().expect("the rejected token, which is still valid");
    let error = client.last_error().expect("denied");
    assert!(error.to_string().contains("gave you [hidden] before"), "{error}");
}

#[test]
fn http_401_with_a_truncated_body_is_not_retried() {
    let tenant = Tenant::start();
    let cut = b"HTTP/1.1 401 x\r\nContent-Length: 100\r\n\r\n{\"err".to_vec();
    assert_eq!(error_of(&tenant, Answer::Cut { bytes: cut }).kind(), ErrorKind::Denied);
    assert_eq!(tenant.requests(), 1);
}
