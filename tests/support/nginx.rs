//! nginx on a loopback port, with any certificate and TLS settings.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command};

use super::certificates::Identity;
use super::proxy::Daemon;

/// Answers every request with the token `from-nginx`; `more` is added to its server block.
pub fn nginx(identity: &Identity, more: &str) -> Daemon {
    Daemon::start(|folder, port| {
        let (certificate, key) = identity.write(folder, "server");
        let (here, certificate, key) = (folder.display(), certificate.display(), key.display());
        let text = format!(
            "daemon off; master_process off; pid {here}/pid; error_log /dev/null;\n\
             events {{ }}\n\
             http {{\n\
             access_log off; client_body_temp_path {here}/b; proxy_temp_path {here}/p;\n\
             fastcgi_temp_path {here}/f; uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;\n\
             server {{\n\
             listen 127.0.0.1:{port} ssl;\n\
             ssl_certificate {certificate}; ssl_certificate_key {key};\n\
             {more}\n\
             location / {{ default_type application/json;\n\
             return 200 '{{\"access_token\":\"from-nginx\",\"expires_in\":1800}}'; }}\n\
             }} }}\n"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, text).expect("a file");
        let mut command = Command::new("nginx");
        command.arg("-e").arg("/dev/null").arg("-p").arg(folder).arg("-c").arg(file);
        command
    })
}

/// nginx with worker processes. When dropped, it is asked to end, and waited for: a master that is
/// killed leaves its workers behind.
pub struct Workers {
    pub port: u16,
    pub master: Child,
}

impl Workers {
    /// Gets a path on a connection of its own; returns the answer with its headers.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("nginx");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.master.id().to_string()).status();
        let _ = self.master.wait();
    }
}
