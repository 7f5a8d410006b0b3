//! What the README prints works as printed.

mod support;

use std::path::Path;
use std::process::Command;

use support::native::{NATIVE_LIBRARIES, has, root, shared_library, succeed, with_tenant};
use support::tenant::Tenant;

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("the README")
}

/// The first code block in that language.
fn block(language: &str) -> String {
    let readme = readme();
    let (_, rest) = readme.split_once(&format!("```{language}\n")).expect("a block");
    rest.split_once("```").expect("its end").0.to_owned()
}

fn prints_a_working_header(program: &Path) {
    let tenant = Tenant::start();
    let mut command = Command::new("timeout");
    let printed = succeed(with_tenant(command.args(["-s", "KILL", "60"]).arg(program), &tenant));
    let token = tenant.current_token().expect("a token");
    assert_eq!(printed, format!("Authorization: Bearer {token}\n"));
}

#[test]
fn the_c_program_works_as_printed() {
    if has("cc", "gcc") {
        let folder = shared_library();
        let (source, program) = (folder.path().join("program.c"), folder.path().join("program"));
        std::fs::write(&source, block("c")).expect("written");
        let mut cc = Command::new("cc");
        cc.args(["-Wall", "-Wextra", "-Werror"]).arg(&source).arg("-o").arg(&program);
        cc.arg("-I").arg(root().join("include")).arg(folder.path().join("liboneaccess.so.0"));
        succeed(cc.arg("-Wl,-rpath,$ORIGIN"));
        prints_a_working_header(&program);
    }
}

#[test]
fn the_rust_program_works_as_printed() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (source, program) = (folder.path().join("program.rs"), folder.path().join("program"));
    std::fs::write(&source, block("rust")).expect("written");
    let test = std::env::current_exe().expect("the test program");
    let built = test.parent().expect("its folder");
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-D", "warnings"]).arg(&source).arg("-o").arg(&program);
    rustc.arg("--extern").arg(format!("oneaccess={}", built.join("liboneaccess.rlib").display()));
    succeed(rustc.arg("-L").arg(format!("dependency={}", built.display())));
    prints_a_working_header(&program);
}

#[test]
fn the_native_libraries_are_those_that_the_tests_link() {
    assert!(readme().contains(&format!("target/capi/liboneaccess.a {NATIVE_LIBRARIES} ")));
}

#[test]
fn every_error_kind_is_in_the_table() {
    let header = std::fs::read_to_string(root().join("include/oneaccess.h")).expect("the header");
    let kinds = header.lines().filter_map(|line| line.strip_prefix("#define ONEACCESS_ERROR_"));
    for kind in kinds.filter_map(|line| line.split(' ').next()).filter(|kind| *kind != "NONE") {
        assert!(readme().contains(&format!("\n| `{kind}` | ")), "{kind}");
    }
}

/// The rules are printed at the top of the header too.
#[test]
fn the_readme_has_the_rules_of_the_header() {
    let header = std::fs::read_to_string(root().join("include/oneaccess.h")).expect("the header");
    for rule in ["Ownership.", "Text.", "Errors.", "NULL.", "Threads."] {
        assert!(header.contains(&format!(" {rule} ")), "{rule}");
        assert!(readme().contains(&format!(" **{rule}** ")), "{rule}");
    }
}
