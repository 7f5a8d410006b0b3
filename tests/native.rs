//! C and C++ programs, compiled against the header and both libraries, run against a tenant.

mod support;

use std::process::Command;

use support::native::{Library, Program, has, root, succeed, with_tenant};
use support::tenant::{Answer, Tenant};

const LIBRARIES: [Library; 2] = [Library::Shared, Library::Static];

fn prints_the_tenants_token(program: &Program) {
    let tenant = Tenant::start();
    let printed = succeed(with_tenant(&mut program.command(), &tenant));
    let token = tenant.current_token().expect("a token");
    assert!(printed.contains(&format!("Authorization: Bearer {token}\n")), "{printed}");
    assert_eq!(tenant.requests(), 1);

    tenant.set_client_secret("another");
    tenant.expire_now();
    let failed = with_tenant(&mut program.command(), &tenant)
        .env("ONEACCESS_CLIENT_SECRET", "wrong")
        .output()
        .expect("it starts");
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(said.contains("no token: ") && said.contains("invalid_client"), "{said}");
}

#[test]
fn c_example_works_with_both_libraries() {
    if has("cc", "gcc") {
        for library in LIBRARIES {
            let program = Program::compile("cc", "examples-c/token.c", &["-std=c99"], library);
            prints_the_tenants_token(&program);
        }
    }
}

#[test]
fn cpp_example_works_with_both_libraries() {
    if has("c++", "g++") {
        for library in LIBRARIES {
            let program = Program::compile("c++", "examples-c/token.cpp", &["-std=c++17"], library);
            prints_the_tenants_token(&program);
        }
    }
}

fn every_function(library: Library, under_valgrind: bool) {
    let program = Program::compile("cc", "tests/c/abi.c", &["-std=c99", "-pthread"], library);
    let tenant = Tenant::start();
    let hanging = Tenant::start();
    hanging.always(Answer::Hang);
    let mut command = if under_valgrind { program.under_valgrind() } else { program.command() };
    command
        .env("ONEACCESS_HANGING", hanging.endpoint())
        .env("ONEACCESS_HANGING_CA", hanging.ca_file());
    assert_eq!(succeed(with_tenant(&mut command, &tenant)), "ok\n");
}

#[test]
fn every_function_follows_the_header() {
    if has("cc", "gcc") {
        LIBRARIES.into_iter().for_each(|library| every_function(library, false));
    }
}

#[test]
fn every_function_is_clean_under_valgrind() {
    if has("cc", "gcc") && has("valgrind", "valgrind") {
        every_function(Library::Shared, true);
    }
}

const C: [&str; 4] = ["c99", "c11", "c17", "c2x"];
const CPP: [&str; 6] = ["c++98", "c++11", "c++14", "c++17", "c++20", "c++2b"];

/// Compiles text as that language without a warning.
fn compiles(compiler: &str, language: &str, standard: &str, text: &str) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let source = folder.path().join("source");
    std::fs::write(&source, text).expect("written");
    let mut command = Command::new(compiler);
    command.args(["-fsyntax-only", "-Wall", "-Wextra", "-pedantic", "-Werror", "-x", language]);
    command.arg(format!("-std={standard}"));
    succeed(command.arg("-I").arg(root().join("include")).arg(&source));
}

#[test]
fn header_compiles_twice_in_every_standard() {
    let text = "#include <oneaccess.h>\n#include <oneaccess.h>\nint main(void) { return 0; }\n";
    for (compiler, package) in [("gcc", "gcc"), ("clang", "clang")] {
        if has(compiler, package) {
            C.iter().for_each(|standard| compiles(compiler, "c", standard, text));
        }
    }
    for (compiler, package) in [("g++", "g++"), ("clang++", "clang")] {
        if has(compiler, package) {
            CPP.iter().for_each(|standard| compiles(compiler, "c++", standard, text));
        }
    }
}

#[test]
fn header_is_plain_c_without_a_preprocessor() {
    let header = std::fs::read_to_string(root().join("include/oneaccess.h")).expect("the header");
    assert!(header.is_ascii());
    let plain = |line: &&str| !line.starts_with('#') && !line.contains("C++ only");
    let stripped: Vec<&str> = header.lines().filter(plain).collect();
    let types = "typedef int int32_t;\ntypedef long long int64_t;\n";
    if has("gcc", "gcc") {
        compiles("gcc", "cpp-output", "c99", &(types.to_owned() + &stripped.join("\n")));
    }
}

#[test]
fn header_has_only_types_of_every_language() {
    let header = std::fs::read_to_string(root().join("include/oneaccess.h")).expect("the header");
    let code: Vec<&str> = header
        .lines()
        .filter(|line| !line.starts_with([' ', '/', '#', '}']) && !line.contains("extern"))
        .collect();
    for forbidden in ["bool", "size_t", "uint", "enum", "...", "(*", "double", "union", "long"] {
        assert!(!code.iter().any(|line| line.contains(forbidden)), "{forbidden}");
    }
}
