//! The README's function for async Rust: a thousand tasks, one request, few threads.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oneaccess::{Client, Error, Token};
use support::tenant::Tenant;

// As in the README:
static REFRESH: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn token(client: &Client) -> Result<Arc<Token>, Error> {
    let cached = || client.cached_token().filter(|_| client.refresh_in() != Some(Duration::ZERO));
    if let Some(token) = cached() {
        return Ok(token);
    }
    let _one_at_a_time = REFRESH.lock().await;
    if let Some(token) = cached() {
        return Ok(token);
    }
    let client = client.clone();
    tokio::task::spawn_blocking(move || client.token()).await.expect("token() does not panic")
}
// Up to here.

#[test]
fn thousand_tasks_take_one_blocking_thread() {
    let tenant = Tenant::builder().delay(Duration::from_millis(200)).start();
    let client = support::client(&tenant);
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(|| _ = THREADS.fetch_add(1, Ordering::Relaxed))
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let tasks: Vec<_> = (0..1000)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { token(&client).await.map(drop) })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic").expect("a token");
        }
    });
    assert_eq!(tenant.requests(), 1);
    // Two workers, and one at a time that blocks.
    let threads = THREADS.load(Ordering::Relaxed);
    assert!(threads <= 8, "{threads} threads");
}

#[test]
fn readme_prints_this_function() {
    let source = include_str!("async_rust.rs");
    let (_, rest) = source.split_once("// As in the README:\n").expect("its start");
    let (function, _) = rest.split_once("// Up to here.").expect("its end");
    assert!(include_str!("../README.md").contains(function));
}
