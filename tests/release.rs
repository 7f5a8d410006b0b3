//! The libraries that `make` builds: names, size, exported symbols.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use support::native::{has, make, root, succeed, target_folder};

/// The folder with the libraries, built once for all tests.
static CAPI: LazyLock<PathBuf> = LazyLock::new(|| {
    succeed(&mut make());
    target_folder().join("capi")
});

fn declared() -> BTreeSet<String> {
    let header = std::fs::read_to_string(root().join("include/oneaccess.h")).expect("the header");
    let code = header.lines().filter(|line| !line.starts_with([' ', '/', '#']));
    code.filter_map(|line| {
        let (before, _) = line.split_once('(')?;
        let name = before.rsplit([' ', '*']).next()?;
        name.starts_with("oneaccess_").then(|| name.to_owned())
    })
    .collect()
}

fn defined(arguments: &[&str], library: &Path) -> BTreeSet<String> {
    let listed = succeed(Command::new("nm").args(arguments).arg(library));
    listed.lines().filter_map(|line| line.split(' ').nth(2)).map(str::to_owned).collect()
}

#[test]
fn shared_library_exports_only_the_declared_names() {
    if has("make", "make") && has("nm", "binutils") {
        let exported = defined(&["-D", "--defined-only"], &CAPI.join("liboneaccess.so"));
        assert_eq!(exported, declared());
        assert!(exported.len() > 30);
    }
}

#[test]
fn static_library_defines_the_declared_names() {
    if has("make", "make") && has("nm", "binutils") {
        let all = defined(&["-g", "--defined-only"], &CAPI.join("liboneaccess.a"));
        let ours: BTreeSet<String> =
            all.into_iter().filter(|name| name.starts_with("oneaccess_")).collect();
        assert_eq!(ours, declared());
    }
}

#[test]
fn shared_library_is_small_and_never_unloaded() {
    if has("make", "make") && has("readelf", "binutils") {
        let name = format!("liboneaccess.so.{}", env!("CARGO_PKG_VERSION"));
        let library = CAPI.join(&name);
        for link in ["liboneaccess.so", "liboneaccess.so.0"] {
            let target = std::fs::canonicalize(CAPI.join(link)).expect("a link");
            assert_eq!(target, std::fs::canonicalize(&library).expect("the library"));
        }
        let size = std::fs::metadata(&library).expect("the library").len();
        assert!(size <= 2_150_000, "{size} bytes");
        let dynamic = succeed(Command::new("readelf").args(["-d", "-W"]).arg(&library));
        for entry in ["[liboneaccess.so.0]", "NODELETE", "BIND_NOW"] {
            assert!(dynamic.contains(entry), "{entry}: {dynamic}");
        }
        let needed: Vec<&str> = dynamic.lines().filter(|line| line.contains("(NEEDED)")).collect();
        let known = ["libc.so", "libgcc_s.so", "ld-linux"];
        assert!(
            needed.iter().all(|line| known.iter().any(|name| line.contains(name))),
            "{needed:?}"
        );
        let segments = succeed(Command::new("readelf").args(["-l", "-W"]).arg(&library));
        let stack = segments.lines().find(|line| line.contains("GNU_STACK")).expect("a stack");
        assert!(segments.contains("GNU_RELRO") && !stack.contains('E'), "{segments}");
        assert!(!dynamic.contains("TEXTREL"));
    }
}
