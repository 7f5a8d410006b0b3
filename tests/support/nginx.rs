//! nginx on a loopback port, with any certificate and TLS settings.

use std::fs;
use std::process::Command;

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
