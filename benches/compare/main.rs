//! `cargo bench`: compares the release build of the library, through its C ABI, with a program that
//! uses libcurl and cJSON instead (`peer.c`). Both run the same loops (`bench.c`) in turns against the
//! same mock tenant. Prints a table for the README.

mod crowds;
mod programs;
#[path = "../../tests/support"]
mod support {
    #[allow(dead_code)] // the integration tests use the rest
    pub mod tenant;
}
mod table;

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use programs::{Both, OPEN, Program, Programs, Side, median};
use support::tenant::{Answer, Tenant};
use table::{Table, count, megabytes, time};

type Section = fn(&Programs, &mut Table);

const SECTIONS: [(&str, Section); 9] = [
    ("cached", cached),
    ("renewal", renewal),
    ("first", first_exchange),
    ("process", whole_process),
    ("store", store),
    ("size", size),
    ("expiry", crowds::expiry),
    ("due", crowds::due),
    ("outages", crowds::outages),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (options, wanted): (Vec<_>, Vec<_>) =
        arguments.iter().partition(|argument| argument.starts_with('-'));
    if !options.iter().any(|option| *option == "--bench") {
        return; // `cargo test --all-targets`
    }
    let mut table = Table::start();
    let programs = Programs::build();
    for (name, section) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|wanted| *wanted == name) {
            section(&programs, &mut table);
        }
    }
    table.print();
    if !programs.have_peer() {
        println!("\nNothing to compare with. {}", programs::WHAT_TO_INSTALL);
    }
}

fn cached(programs: &Programs, table: &mut Table) {
    let tenant = Tenant::start();
    // The usual length of a JSON Web Token.
    let token = "x".repeat(1024);
    let body = format!(r#"{{"access_token":"{token}","expires_in":1800}}"#);
    tenant.always(Answer::json(200, &body));
    let mut pairs = programs.start_pairs(5, &tenant);
    for pair in &mut pairs {
        pair.each(|program| program.ask(&format!("all {OPEN}")));
    }
    // Many short turns: other processes on the machine disturb some of them, but not the median.
    let mut turns = |count: usize, command: &str| {
        let mut turns = Both::default();
        for pair in &mut pairs {
            turns.extend(pair.alternate(count, |program| {
                let [time, calls] = program.ask(command)[..] else { panic!("two numbers") };
                time as f64 / calls as f64
            }));
        }
        turns
    };
    table.times("cached token, one thread: get, copy 1 KiB, free", &turns(64, "copy 1 1"), 0.9);
    let what = "the same without the copy (the C program has to copy)";
    let one_client = turns(64, "use 1 1");
    table.times(what, &one_client, 0.5);
    let in_turn = turns(64, "turn 1 1");
    let cells = in_turn.map(|turns| time(median(turns)));
    let reached = median(&in_turn.ours) <= 2.0 * median(&one_client.ours);
    let what = "the same, 8 clients in turn";
    table.row(what, &cells, in_turn.ratio(|a, b| a / b), Some(reached), "≤ 2 × one client");
    table.rates("cached tokens per second, 2 threads", &turns(10, "copy 2 20"), 2.0);
    table.rates("cached tokens per second, 8 threads", &turns(10, "copy 8 20"), 2.0);
}

fn renewal(programs: &Programs, table: &mut Table) {
    let tenant = crowds::tenant(1).start();
    let mut pairs = programs.start_pairs(6, &tenant);
    let mut others = programs.start_pairs(6, &tenant);
    let (mut same_client, mut new_handle) = (Both::default(), Both::default());
    for _ in 0..8 {
        // The minimum interval between two refreshes is one second.
        sleep(Duration::from_millis(1100));
        for pair in &mut pairs {
            same_client.extend(pair.alternate(1, Program::get));
        }
        for pair in &mut others {
            new_handle.extend(pair.alternate(1, |program| match program.side {
                Side::Ours => program.get(),
                Side::Peer => program.open_and_get(OPEN),
            }));
        }
    }
    table.times("renewal: new connection, same client", &same_client, 0.5);
    table.times("the same, if the C program makes a new handle every time", &new_handle, 0.5);
}

fn first_exchange(programs: &Programs, table: &mut Table) {
    let tenant = Tenant::start();
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = with_system_roots(&tenant, folder.path());
    let start = |side| match side {
        Side::Ours => programs.start(side, &tenant),
        Side::Peer => {
            programs.start_with(side, &tenant, "ONEACCESS_CA_FILE", bundle.clone().into())
        }
    };
    let turns = programs.alternate(21, start, |program| program.open_and_get("30000 -1 1"));
    table.times("first exchange of a process, with the system's roots", &turns, 0.07);
}

/// Writes the one CA file of the C program: the system's roots and the tenant's CA.
fn with_system_roots(tenant: &Tenant, folder: &Path) -> PathBuf {
    let mut bundle = tenant.ca_pem().to_owned();
    for root in rustls_native_certs::load_native_certs().certs {
        bundle += "-----BEGIN CERTIFICATE-----\n";
        for line in BASE64_STANDARD.encode(root).as_bytes().chunks(64) {
            bundle += std::str::from_utf8(line).expect("base64");
            bundle += "\n";
        }
        bundle += "-----END CERTIFICATE-----\n";
    }
    let path = folder.join("bundle.pem");
    std::fs::write(&path, bundle).expect("written");
    path
}

fn whole_process(programs: &Programs, table: &mut Table) {
    let tenant = Tenant::start();
    let turns = programs.alternate(
        31,
        |side| programs.start(side, &tenant),
        |program| {
            program.open_and_get(OPEN);
            let wall = program.started.elapsed().as_nanos() as i64;
            [vec![wall], program.ask("process")].concat()
        },
    );
    let column = |number: usize| {
        turns.map(|turns| turns.iter().map(|turn| turn[number] as f64).collect::<Vec<_>>())
    };
    table.times("whole process, start to first token", &column(0), 0.23);

    let memory = column(1).map(|kilobytes| median(kilobytes) * 1024.0);
    let cells = memory.map(|bytes| megabytes(*bytes));
    let ratio = memory.ratio_of(|ours, peer| ours / peer);
    table.row("its peak memory", &cells, ratio, Some(memory.ours <= 4.1e6), "≤ 4.1 MB");

    let most = |turns: &[Vec<i64>], number: usize| turns.iter().map(|turn| turn[number]).max();
    let left = turns.map(|turns| (most(turns, 2).unwrap_or(0), most(turns, 3).unwrap_or(0)));
    let cells = left.map(|(threads, descriptors)| {
        format!("{}, {}", count(*threads, "thread"), count(*descriptors, "descriptor"))
    });
    let reached = left.ours.0 == 1 && left.ours.1 <= 1;
    let what = "what it leaves running and open";
    table.row(what, &cells, None, Some(reached), "1 thread, 1 descriptor at most");
}

/// With a token in a shared store, which the C program does not have.
fn store(programs: &Programs, table: &mut Table) {
    let tenant = Tenant::builder().plain_http().start();
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("file:{}", folder.path().display());
    let start =
        || programs.start_with(Side::Ours, &tenant, "ONEACCESS_STORE", store.clone().into());
    start().open_and_get(OPEN);

    let turns: Vec<[f64; 2]> = (0..201)
        .map(|_| {
            let client = start().run(&format!("open {OPEN}\n"));
            [start().run(&format!("open {OPEN}\nget\n")), client]
        })
        .collect();
    let column = |number: usize| turns.iter().map(|turn| turn[number]).collect::<Vec<_>>();
    let ratio = median(&turns.iter().map(|[token, client]| token / client).collect::<Vec<_>>());
    let cells = Both {
        ours: time(median(&column(0))),
        peer: Some(format!("{}, ours, with a client only", time(median(&column(1))))),
    };
    let what = "whole process, start to end, with the token from a shared store";
    table.row(what, &cells, Some(ratio), Some(ratio <= 1.2), "≤ 1.2");

    let mut program = start();
    let visits: Vec<f64> = (0..201)
        .map(|_| {
            program.ask(&format!("open {OPEN}"));
            program.get()
        })
        .collect();
    let cells = Both { ours: time(median(&visits)), peer: None };
    table.row("the store's part of it, in a running process", &cells, None, None, "–");
    assert_eq!(tenant.requests(), 1, "the store has the token");
}

fn size(programs: &Programs, table: &mut Table) {
    let sizes = programs.sizes();
    table.row(
        "shared libraries, stripped, with all they load beyond libc",
        &sizes.map(|bytes| megabytes(*bytes)),
        sizes.ratio_of(|ours, peer| ours / peer),
        Some(sizes.ours <= 2.3e6),
        "≤ 2.3 MB",
    );
}
