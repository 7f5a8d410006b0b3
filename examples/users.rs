//! Prints the names of the users of a OneAccess tenant, page by page, with ureq.

use std::error::Error;
use std::sync::Arc;
use std::{env, fs};

use oneaccess::{Client, Config};
use serde_json::Value;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

const PAGE_SIZE: u64 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::new(&Config::from_env())?; // one for the whole process
    let agent = agent()?;
    let endpoint = env::var("ONEACCESS_ENDPOINT")?;
    let (mut page, mut total) = (0, 1);
    while page * PAGE_SIZE < total {
        let query = format!("org_id=&offset={page}&limit={PAGE_SIZE}");
        let url = format!("{endpoint}/api/v2/tenant/users?{query}");
        let answer = call(&client, &agent, &url, 2)?;
        for user in answer["users"].as_array().into_iter().flatten() {
            println!("{}", user["user_name"].as_str().unwrap_or("(no name)"));
        }
        total = answer["total"].as_u64().unwrap_or(0);
        page += 1;
    }
    Ok(())
}

/// Calls a management API. If it rejects the token, tries once more with another token.
fn call(client: &Client, agent: &Agent, url: &str, attempts: u32) -> Result<Value, Box<dyn Error>> {
    let token = client.token()?; // before every use
    let mut response = agent.get(url).header("Authorization", token.authorization()).call()?;
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_string()?;
    match status {
        200 => return Ok(serde_json::from_str(&body)?),
        401 => {}
        400 if body.contains("invalid_token") => {}
        _ => return Err(format!("{url}: HTTP {status}").into()),
    }
    client.reject(token.access_token());
    if attempts == 1 {
        return Err(format!("{url}: the token was rejected").into());
    }
    call(client, agent, url, attempts - 1)
}

/// Trusts the CA in ONEACCESS_CA_FILE, or else those of the system.
fn agent() -> Result<Agent, Box<dyn Error>> {
    let certificates: Vec<Certificate<'static>> = match env::var_os("ONEACCESS_CA_FILE") {
        Some(path) => parse_pem(&fs::read(path)?)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect(),
        None => rustls_native_certs::load_native_certs()
            .certs
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect(),
    };
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        // Not needed with the default features of ureq.
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = Agent::config_builder().tls_config(tls.build()).http_status_as_error(false);
    Ok(config.build().into())
}
