//! Real proxies on loopback ports: tinyproxy, squid, microsocks, dante.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server program that is killed when dropped.
pub struct Daemon {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Daemon {
    /// `prepare` gets a folder and a port, and returns a command that runs in the foreground.
    pub fn start(prepare: impl Fn(&Path, u16) -> Command) -> Daemon {
        // Another process may take the free port before the daemon does: then try another port.
        let mut attempts = 0;
        loop {
            let folder = TempDir::new().expect("a folder");
            let port = free_port();
            let mut command = prepare(folder.path(), port);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().expect("it starts");
            if answers(&mut child, port) {
                return Daemon { child, port, _folder: folder };
            }
            let _ = child.kill();
            let _ = child.wait();
            attempts += 1;
            assert!(attempts < 3, "{command:?} does not listen");
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    listener.local_addr().expect("its address").port()
}

fn answers(child: &mut Child, port: u16) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end && child.try_wait().is_ok_and(|status| status.is_none()) {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// `more`: additional lines of its configuration, such as `BasicAuth user password`.
pub fn tinyproxy(more: &str) -> Daemon {
    Daemon::start(|folder, port| {
        let file = folder.join("tinyproxy.conf");
        let text =
            format!("Port {port}\nListen 127.0.0.1\nTimeout 60\nLogLevel Critical\n{more}\n");
        fs::write(&file, text).expect("a file");
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(file);
        command
    })
}

/// `rules`: its access rules.
pub fn squid(rules: &str) -> Daemon {
    Daemon::start(|folder, port| {
        let file = folder.join("squid.conf");
        let here = folder.display();
        let text = format!(
            "http_port 127.0.0.1:{port}\n{rules}\ncache deny all\naccess_log none\n\
             cache_log {here}/cache.log\npid_filename none\nshutdown_lifetime 0 seconds\n\
             coredump_dir {here}\npinger_enable off\nworkers 1\nnetdb_filename none\n"
        );
        fs::write(&file, text).expect("a file");
        // Its helper processes run as another user.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(folder, open).expect("permissions");
        let mut command = Command::new("squid");
        command.args(["-N", "--foreground", "-n", &format!("test{port}"), "-f"]).arg(file);
        command
    })
}

pub fn microsocks(arguments: &[&str]) -> Daemon {
    Daemon::start(|_, port| {
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
        command
    })
}

/// SOCKS 4, 4a and 5, without authentication.
pub fn dante() -> Daemon {
    Daemon::start(|folder, port| {
        let file = folder.join("danted.conf");
        let text = format!(
            "internal: 127.0.0.1 port = {port}\nexternal: 127.0.0.1\nclientmethod: none\n\
             socksmethod: none\nclient pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n\
             socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n"
        );
        fs::write(&file, text).expect("a file");
        let mut command = Command::new("danted");
        command.arg("-f").arg(file);
        command
    })
}

/// Like `has`, for programs without a --version option.
pub fn installed(program: &str, package: &str) -> bool {
    let mut which = Command::new("sh");
    let found = which.arg("-c").arg(format!("command -v {program}")).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        super::native::skip(&format!("there is no {program}; install {package}"));
    }
    found
}

/// Accepts TLS with this certificate and forwards the connection to another port.
pub fn stunnel(certificate: &Path, key: &Path, to: u16) -> Daemon {
    Daemon::start(|folder, port| {
        let file = folder.join("stunnel.conf");
        let (certificate, key) = (certificate.display(), key.display());
        let text = format!(
            "foreground = yes\npid =\n[proxy]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{to}\n\
             cert = {certificate}\nkey = {key}\n"
        );
        fs::write(&file, text).expect("a file");
        let mut command = Command::new("stunnel");
        command.arg(file);
        command
    })
}
