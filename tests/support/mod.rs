//! Shared by the integration tests.

#![allow(dead_code)] // every test program uses a different part

pub mod application;
pub mod certificates;
pub mod child;
pub mod fault;
pub mod memory;
pub mod namespace;
pub mod native;
pub mod nginx;
pub mod proxy;
pub mod resolver;
pub mod rng;
pub mod tenant;
pub mod timeouts;

use oneaccess::{Client, Config};
use tenant::Tenant;

/// The configuration for this tenant, as a user would write it.
pub fn config(tenant: &Tenant) -> Config {
    let (id, secret) = (tenant.client_id(), tenant.client_secret());
    Config::new(&tenant.endpoint(), &id, &secret).ca_file(tenant.ca_file()).proxy(Some(""))
}

pub fn client(tenant: &Tenant) -> Client {
    Client::new(&config(tenant)).expect("a client")
}
