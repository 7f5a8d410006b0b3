//! Runs the C programs under AddressSanitizer. The library is instrumented too: otherwise errors
//! inside the library would not be detected.

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use support::native::{as_user, has, root, skip, succeed, target_folder, with_tenant};
use support::tenant::{Answer, Tenant};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The instrumented library, or `None` if this machine cannot build it.
static LIBRARY: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let mut nightly = Command::new("cargo");
    nightly.args(["+nightly", "--version"]);
    if !as_user(&mut nightly).output().is_ok_and(|output| output.status.success()) {
        skip("there is no nightly toolchain; install one with rustup");
        return None;
    }
    if !has("clang", "clang and libclang-rt-dev") {
        return None;
    }
    let target = target_folder().join("sanitizer");
    let mut cargo = Command::new("cargo");
    as_user(&mut cargo).current_dir(root());
    cargo.args(["+nightly", "rustc", "--quiet", "--locked", "--lib", "--crate-type", "cdylib"]);
    cargo.args(["--target", TARGET, "--target-dir"]).arg(&target);
    cargo.env("RUSTFLAGS", "-Zsanitizer=address");
    succeed(&mut cargo);
    Some(target.join(TARGET).join("debug/liboneaccess.so"))
});

/// A folder with the program and the instrumented library.
fn compile(library: &PathBuf, source: &str) -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().expect("a folder");
    let shared = folder.path().join("liboneaccess.so.0");
    std::fs::copy(library, &shared).expect("the library");
    let mut clang = Command::new("clang");
    clang.args(["-g", "-fsanitize=address", "-pthread", "-Wl,-rpath,$ORIGIN", "-o"]);
    clang.arg(folder.path().join("program")).arg(root().join(source));
    succeed(clang.arg("-I").arg(root().join("include")).arg(shared));
    folder
}

fn run(folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "120"]).arg(folder.path().join("program"));
    command.env("ASAN_OPTIONS", "detect_leaks=1");
    command
}

#[test]
fn every_function_is_clean_under_the_sanitizer() {
    let Some(library) = &*LIBRARY else { return };
    let folder = compile(library, "tests/c/abi.c");
    let (tenant, hanging) = (Tenant::start(), Tenant::start());
    hanging.always(Answer::Hang);
    let mut command = run(&folder);
    command
        .env("ONEACCESS_HANGING", hanging.endpoint())
        .env("ONEACCESS_HANGING_CA", hanging.ca_file());
    assert_eq!(succeed(with_tenant(&mut command, &tenant)), "ok\n");
}

#[test]
fn library_is_built_with_the_sanitizer() {
    let Some(library) = &*LIBRARY else { return };
    let folder = compile(library, "tests/c/misuse.c");
    let tenant = Tenant::start();
    for (misuse, says) in [
        ("use-after-free", ["heap-use-after-free", "oneaccess_client_refresh_in_ms"]),
        ("leak", ["detected memory leaks", "oneaccess_client_new"]),
    ] {
        let output = with_tenant(run(&folder).arg(misuse), &tenant).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{misuse}");
        for part in says {
            assert!(said.contains(part), "{misuse}: {part}: {said}");
        }
    }
}
