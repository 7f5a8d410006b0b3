//! The mock tenant as a program: `cargo run --example tenant`.

#![cfg(unix)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use oneaccess::{Client, Config, ErrorKind};
use serde_json::Value;
use support::native::{example, root};
use tempfile::TempDir;

static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| example("tenant"));

fn tenant(options: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "60"]).arg(&*PROGRAM).args(options);
    command.env_remove("TENANT_CLIENT_SECRET");
    command
}

fn output(options: &[&str]) -> Output {
    tenant(options).output().expect("it starts")
}

/// A mock tenant without a program, and the variables that it printed.
struct Running {
    child: Child,
    variables: Vec<(String, String)>,
}

impl Running {
    fn start(options: &[&str]) -> Running {
        Running::spawn(&mut tenant(options))
    }

    fn spawn(command: &mut Command) -> Running {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.as_mut().expect("a pipe")).lines();
        let lines = lines.map(|line| line.expect("a line"));
        let variables = lines
            .take_while(|line| !line.starts_with('#'))
            .map(|line| {
                let assignment = line.strip_prefix("export ").expect("an assignment");
                let (name, value) = assignment.split_once('=').expect("an assignment");
                (name.to_owned(), value.trim_matches('\'').to_owned())
            })
            .collect();
        Running { child, variables }
    }

    fn variable(&self, name: &str) -> &str {
        let mut variables = self.variables.iter();
        let found = variables.find(|(variable, _)| variable == name);
        &found.unwrap_or_else(|| panic!("{name}: {:?}", self.variables)).1
    }

    fn client(&self) -> Client {
        let [endpoint, id, secret, ca_file] = ["ENDPOINT", "CLIENT_ID", "CLIENT_SECRET", "CA_FILE"]
            .map(|name| self.variable(&format!("ONEACCESS_{name}")));
        let config = Config::new(endpoint, id, secret).ca_file(ca_file).proxy(Some(""));
        Client::new(&config).expect("a client")
    }

    /// The status and the body of an answer; needs --plain-http.
    fn request(&self, request: &str, authorization: &str) -> (u16, Value) {
        let address = self.variable("ONEACCESS_ENDPOINT").strip_prefix("http://").expect("http");
        let mut socket = TcpStream::connect(address).expect("a connection");
        let headers = format!("Authorization: {authorization}\r\nConnection: close\r\n\r\n");
        write!(socket, "{request} HTTP/1.1\r\n{headers}").expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).expect("a status").parse().expect("a number");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    fn terminate(&self) {
        // SAFETY: a system call. The process has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
    }

    /// Returns what it wrote to standard error.
    fn stop(&mut self) -> String {
        self.terminate();
        let mut said = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "{status}: {said}");
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.terminate();
            let _ = self.child.wait();
        }
    }
}

/// A port that the system gives to nobody who asks for any port.
fn unusual_port(offset: u32) -> String {
    (10_000 + (std::process::id() * 10 + offset) % 20_000).to_string()
}

#[test]
fn the_usual_options_fix_every_setting() {
    let folder = TempDir::new().expect("a folder");
    let ca_file = folder.path().join("ca.pem").display().to_string();
    let port = unusual_port(0);
    let options = ["--port", &port, "--client-id=me", "--client-secret", "it's", "--ca-file"];
    let running = Running::start(&[&options[..], &[&ca_file]].concat());
    assert_eq!(running.variable("ONEACCESS_ENDPOINT"), format!("https://localhost:{port}"));
    assert_eq!(running.variable("ONEACCESS_CLIENT_SECRET"), r"it'\''s");
    let endpoint = format!("localhost:{port}");
    let config = Config::new(&endpoint, "me", "it's").ca_file(&ca_file).proxy(Some(""));
    Client::new(&config).expect("a client").token().expect("a token");
}

#[test]
fn the_secret_can_come_from_a_variable() {
    let mut command = tenant(&["--plain-http"]);
    let running = Running::spawn(command.env("TENANT_CLIENT_SECRET", "from the variable"));
    assert_eq!(running.variable("ONEACCESS_CLIENT_SECRET"), "from the variable");
    running.client().token().expect("a token");
}

#[test]
fn answers_come_in_order_and_the_last_one_is_repeated() {
    let running = Running::start(&["--plain-http", "--answers", "2x503,APP.0003,ok,429"]);
    for (status, error_code) in [
        (503, Value::Null),
        (503, Value::Null),
        (400, "APP.0003".into()),
        (400, "COMMON.0001".into()), // what OneAccess answers to a request without a form
        (429, Value::Null),
        (429, Value::Null),
    ] {
        let (answered, body) = running.request("POST /api/v2/tenant/token", "");
        assert_eq!((answered, &body["error_code"]), (status, &error_code));
    }
}

#[test]
fn a_program_can_be_tried_with_a_sequence_of_faults() {
    let mut running = Running::start(&["--answers", "2x503,ok"]);
    running.client().token().expect("a token after two retries");
    assert_eq!(running.stop(), "tenant: token requests: 3, management calls: 0\n");

    let running = Running::start(&["--answers=hang"]);
    let error = running.client().token_within(Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[test]
fn requests_are_counted_over_http_and_at_the_end() {
    let mut running = Running::start(&["--plain-http"]);
    let token = running.client().token().expect("a token");
    for authorization in [token.authorization(), "Bearer another", ""] {
        running.request("GET /api/v2/tenant/users", authorization);
    }
    for _ in 0..2 {
        let (status, counts) = running.request("GET /requests", "");
        let expected = serde_json::json!({"token_requests": 1, "management_calls": 3});
        assert_eq!((status, counts), (200, expected));
    }
    assert_eq!(running.stop(), "tenant: token requests: 1, management calls: 3\n");
}

#[test]
fn users_are_listed_in_pages() {
    let running = Running::start(&["--plain-http", "--users", "25"]);
    let token = running.client().token().expect("a token");
    let get = |query: &str| {
        let request = format!("GET /api/v2/tenant/users{query}");
        running.request(&request, token.authorization())
    };
    for (query, first, count) in [
        ("", "zhangsan", 25),
        ("?org_id=&offset=0&limit=10", "zhangsan", 10),
        ("?org_id=&offset=1&limit=10", "user11", 10),
        ("?offset=2&limit=10", "user21", 5),
    ] {
        let (status, body) = get(query);
        let users = body["users"].as_array().expect("a list");
        assert_eq!((status, users.len(), &body["total"]), (200, count, &25.into()), "{query}");
        assert_eq!(users[0]["user_name"], first, "{query}");
    }
    assert_eq!(get("?offset=3&limit=10").1["users"], serde_json::json!([]));
    for query in ["?offset=0&limit=9", "?offset=0&limit=101", "?offset=-1&limit=10", "?limit=x"] {
        let (status, body) = get(query);
        assert_eq!((status, &body["error_code"]), (400, &"COMMON.0001".into()), "{query}");
    }
}

#[test]
fn without_options_there_are_two_users() {
    let running = Running::start(&["--plain-http"]);
    let token = running.client().token().expect("a token");
    let (_, body) = running.request("GET /api/v2/tenant/users", token.authorization());
    let names: Vec<&Value> =
        body["users"].as_array().expect("a list").iter().map(|user| &user["user_name"]).collect();
    assert_eq!((names, &body["total"]), (vec![&"zhangsan".into(), &"lisi".into()], &2.into()));
}

#[test]
fn standard_output_and_exit_status_are_the_programs() {
    let ran = output(&["--plain-http", "sh", "-c", "echo --port $ONEACCESS_ENDPOINT; exit 5"]);
    assert_eq!(ran.status.code(), Some(5));
    let printed = String::from_utf8_lossy(&ran.stdout);
    assert!(printed.starts_with("--port http://127.0.0.1:"), "{printed}");
    assert_eq!(printed.lines().count(), 1);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(said, "tenant: token requests: 0, management calls: 0\n");
}

#[test]
fn a_port_in_use_is_told() {
    let port = unusual_port(1);
    let _taken = TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port");
    let failed = output(&["--port", &port]);
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(said.starts_with(&format!("tenant: cannot listen on 127.0.0.1:{port}: ")), "{said}");
}

#[test]
fn mistakes_are_told_with_what_is_allowed() {
    for (options, expected) in [
        (&["--prot", "1"][..], "invalid option '--prot'; the options are --port, --client-id, "),
        (&["-p"], "invalid option '-p'; the options are --port, "),
        (&["--port"], "--port requires a whole number from 1 to 65535"),
        (&["--port", "0"], "--port requires a whole number from 1 to 65535"),
        (&["--life", "soon"], "--life requires a whole number from 0 to 31536000"),
        (&["--delay-ms=-1"], "--delay-ms requires a whole number from 0 to 86400000"),
        (&["--users", "1000001"], "--users requires a whole number from 0 to 1000000"),
        (&["--client-id", ""], "--client-id requires a value that is not empty"),
        (&["--client-secret"], "--client-secret requires a value that is not empty"),
        (&["--answers", "503,199"], "\"199\" is not ok, hang, an HTTP status from 200 to 599"),
        (&["--answers", "0x503"], "\"0x503\" is not ok, hang, an HTTP status"),
        (&["--answers", ""], "--answers requires a value that is not empty"),
        (&["--fresh=no"], "unexpected argument for option '--fresh'"),
    ] {
        let failed = output(options);
        assert_eq!(failed.status.code(), Some(2), "{options:?}");
        let said = String::from_utf8_lossy(&failed.stderr);
        assert!(said.starts_with("tenant: ") && said.contains(expected), "{options:?}: {said}");
    }
}

#[test]
fn the_help_lists_the_options_that_exist() {
    let help = output(&["--help"]);
    assert!(help.status.success() && help.stderr.is_empty());
    let help = String::from_utf8_lossy(&help.stdout);
    let options = help.lines().filter_map(|line| line.trim().strip_prefix("--"));
    let options: Vec<&str> = options.filter_map(|line| line.split(' ').next()).collect();
    assert!(options.len() > 8, "{options:?}");
    let folder = TempDir::new().expect("a folder");
    for option in options {
        // A number is allowed as value, and as program it does not exist.
        let mut command = tenant(&[&format!("--{option}"), "200", "true"]);
        let tried = command.current_dir(&folder).output().expect("it starts");
        assert_ne!(tried.status.code(), Some(2), "{option}");
    }
}

#[test]
fn the_readme_uses_options_that_exist() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let help = output(&["--help"]);
    let help = String::from_utf8_lossy(&help.stdout);
    let mut found = 0;
    for line in readme.lines().filter(|line| line.contains("--example tenant --")) {
        let (_, rest) = line.split_once("--example tenant --").expect("checked");
        for option in rest.split_whitespace().filter(|word| word.starts_with("--")) {
            assert!(help.contains(&format!("\n  {option} ")), "{option}");
            found += 1;
        }
    }
    assert!(found > 0);
}
