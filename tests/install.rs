//! `make install`: which files it installs, and that programs can be built against them.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use support::native::{
    Library, NATIVE_LIBRARIES, Program, as_user, files_below, has, make, root, succeed,
    target_folder, with_tenant,
};
use support::tenant::Tenant;
use tempfile::TempDir;

/// The prefix that `make install` has filled, once for all tests.
static PREFIX: LazyLock<PathBuf> = LazyLock::new(|| {
    let prefix = target_folder().join("installed");
    succeed(make().arg("install").arg(format!("PREFIX={}", prefix.display())));
    prefix
});

#[test]
fn destdir_is_used_and_uninstall_removes_all_files() {
    if !has("make", "make") {
        return;
    }
    let stage = TempDir::new().expect("a folder");
    let places = [
        format!("DESTDIR={}", stage.path().display()),
        "PREFIX=/usr".to_owned(),
        "LIBDIR=/usr/lib/x86_64-linux-gnu".to_owned(),
    ];
    succeed(make().arg("install").args(&places));
    let version = env!("CARGO_PKG_VERSION");
    let lib = "usr/lib/x86_64-linux-gnu";
    assert_eq!(
        files_below(stage.path()),
        [
            "usr/bin/oneaccess-token".to_owned(),
            "usr/include/oneaccess.h".to_owned(),
            "usr/include/oneaccess.hpp".to_owned(),
            format!("{lib}/cmake/oneaccess/oneaccess-config-version.cmake"),
            format!("{lib}/cmake/oneaccess/oneaccess-config.cmake"),
            format!("{lib}/liboneaccess.a"),
            format!("{lib}/liboneaccess.so"),
            format!("{lib}/liboneaccess.so.0"),
            format!("{lib}/liboneaccess.so.{version}"),
            format!("{lib}/pkgconfig/oneaccess.pc"),
            "usr/share/man/man1/oneaccess-token.1".to_owned(),
        ]
    );
    let pc = std::fs::read_to_string(stage.path().join(lib).join("pkgconfig/oneaccess.pc"));
    let pc = pc.expect("the pkg-config file");
    assert!(pc.contains("prefix=/usr\n") && !pc.contains('@'), "{pc}");
    assert!(pc.contains(&format!("Libs.private: {NATIVE_LIBRARIES}\n")), "{pc}");
    succeed(make().arg("uninstall").args(&places));
    assert_eq!(files_below(stage.path()), [""; 0]);
}

fn prints_the_tenants_token(program: &mut Command) {
    let tenant = Tenant::start();
    let printed = succeed(with_tenant(program, &tenant));
    let token = tenant.current_token().expect("a token");
    assert!(printed.contains(&format!("Authorization: Bearer {token}\n")), "{printed}");
}

fn shell(script: &str, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-euc", script]).current_dir(folder);
    command.env("PREFIX", &*PREFIX).env("PKG_CONFIG_PATH", PREFIX.join("lib/pkgconfig"));
    command
}

/// Runs the commands of the README that install, compile and run a program, in a new home folder.
#[test]
fn readme_install_commands_work() {
    if !has("make", "make") || !has("pkg-config", "pkg-config") {
        return;
    }
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let start = readme.find("make install PREFIX=$HOME").expect("the lines");
    let lines = readme[start..].split("```").next().expect("their end");
    assert_eq!(lines.trim().lines().count(), 4);
    let home = TempDir::new().expect("a folder");
    let rust_home = |name: &str, folder: &str| {
        let usual = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(folder);
        std::env::var_os(name).map_or_else(usual, PathBuf::from)
    };
    let mut user = Command::new("sh");
    as_user(&mut user).args(["-euc", lines]).current_dir(root()).env("HOME", home.path());
    user.env("CARGO_HOME", rust_home("CARGO_HOME", ".cargo"));
    user.env("RUSTUP_HOME", rust_home("RUSTUP_HOME", ".rustup"));
    user.env("MAKEFLAGS", format!("TARGET_DIR={}", target_folder().display()));
    prints_the_tenants_token(&mut user);
    assert!(home.path().join(".local/include/oneaccess.h").exists());
    std::fs::remove_file(root().join("token")).expect("the program");
}

#[test]
fn installed_program_needs_no_library_path() {
    if has("make", "make") {
        let caches = TempDir::new().expect("a folder");
        let mut program = Command::new(PREFIX.join("bin/oneaccess-token"));
        prints_the_tenants_token(program.env("XDG_CACHE_HOME", caches.path()));
    }
}

#[test]
fn pkg_config_links_the_static_library() {
    if has("make", "make") && has("pkg-config", "pkg-config") {
        let folder = TempDir::new().expect("a folder");
        let source = root().join("examples-c/token.c");
        let script = format!(
            "cc {} $(pkg-config --cflags oneaccess) -L$PREFIX/lib -l:liboneaccess.a \
             $(pkg-config --static --libs oneaccess | sed 's/-loneaccess//') -o token",
            source.display()
        );
        succeed(&mut shell(&script, folder.path()));
        let program = folder.path().join("token");
        let needed = succeed(Command::new("readelf").arg("-d").arg(&program));
        assert!(!needed.contains("oneaccess"), "{needed}");
        prints_the_tenants_token(&mut Command::new(program));
    }
}

/// Runs the commands of the README of C++, but for `make install`.
#[test]
fn installed_cpp_wrapper_is_found() {
    if has("make", "make") && has("pkg-config", "pkg-config") && has("g++", "g++") {
        let readme = std::fs::read_to_string(root().join("bindings/cpp/README.md"));
        let readme = readme.expect("a README");
        let (_, lines) =
            readme.split_once("make install PREFIX=$HOME/.local\n").expect("the lines");
        let (lines, _) = lines.split_once("```").expect("their end");
        let (_, program) = readme.split_once("```cpp\n").expect("a program");
        let (program, _) = program.split_once("```").expect("its end");
        let folder = TempDir::new().expect("a folder");
        let source = format!(
            "#include <oneaccess.hpp>\n#include <iostream>\nint main() {{\n{program}\
             std::cout << header << '\\n';\n}}\n"
        );
        std::fs::write(folder.path().join("program.cpp"), source).expect("written");
        succeed(&mut shell(&lines.replace("$HOME/.local", "$PREFIX"), folder.path()));
        prints_the_tenants_token(Command::new("./a.out").current_dir(folder.path()));
    }
}

const CMAKE: &str = "\
cmake_minimum_required(VERSION 3.10)
project(consumer C CXX)
find_package(oneaccess 0.1 REQUIRED)
add_executable(in_c token.c)
add_executable(in_cpp token.cpp)
set_target_properties(in_cpp PROPERTIES CXX_STANDARD 17)
target_link_libraries(in_c oneaccess::oneaccess)
target_link_libraries(in_cpp oneaccess::oneaccess)
";

#[test]
fn cmake_links_both_libraries_in_c_and_cpp() {
    if has("make", "make") && has("cmake", "cmake") {
        for (flag, shared) in [("OFF", true), ("ON", false)] {
            let folder = TempDir::new().expect("a folder");
            std::fs::write(folder.path().join("CMakeLists.txt"), CMAKE).expect("written");
            for name in ["token.c", "token.cpp"] {
                let source = root().join("examples-c").join(name);
                std::fs::copy(source, folder.path().join(name)).expect("copied");
            }
            let script = format!(
                "cmake -DCMAKE_PREFIX_PATH=$PREFIX -DONEACCESS_STATIC={flag} . && cmake --build ."
            );
            succeed(&mut shell(&script, folder.path()));
            for name in ["in_c", "in_cpp"] {
                let program = folder.path().join(name);
                let needed = succeed(Command::new("readelf").arg("-d").arg(&program));
                assert_eq!(needed.contains("[liboneaccess.so.0]"), shared, "{needed}");
                prints_the_tenants_token(&mut Command::new(program));
            }
        }
    }
}

#[test]
fn cmake_rejects_a_required_version_too_new() {
    if has("make", "make") && has("cmake", "cmake") {
        let folder = TempDir::new().expect("a folder");
        let project = CMAKE.replace("oneaccess 0.1 ", "oneaccess 0.999 ");
        std::fs::write(folder.path().join("CMakeLists.txt"), project).expect("written");
        let mut cmake = shell("cmake -DCMAKE_PREFIX_PATH=$PREFIX .", folder.path());
        let output = cmake.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("0.999"), "{said}");
    }
}

/// Another Rust library in the same program; each contains a copy of Rust's standard library.
const OTHER: &str = r#"
#[unsafe(no_mangle)]
pub extern "C" fn other() -> i32 {
    std::thread::spawn(|| "17".parse().unwrap()).join().unwrap()
}
"#;

#[test]
fn program_links_another_rust_library_too() {
    if !has("make", "make") || !has("cc", "gcc") {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let token = std::fs::read_to_string(root().join("examples-c/token.c")).expect("the example");
    let main = token.replace(
        "int main(void)\n{",
        "int other(void);\nint main(void)\n{\n    if (other() != 17)\n        return 3;",
    );
    std::fs::write(folder.path().join("main.c"), main).expect("written");
    std::fs::write(folder.path().join("other.rs"), OTHER).expect("written");
    for (kind, ours) in [
        ("cdylib", "-L$PREFIX/lib -loneaccess -Wl,-rpath,$PREFIX/lib"),
        ("staticlib", "-L$PREFIX/lib -loneaccess -Wl,-rpath,$PREFIX/lib"),
        ("staticlib", "$PREFIX/lib/liboneaccess.a -Wl,--allow-multiple-definition"),
    ] {
        let script = format!(
            "rm -f libother.*; rustc --edition 2024 -O --crate-type {kind} other.rs
             cc main.c -I$PREFIX/include {ours} ./libother.* {NATIVE_LIBRARIES} -Wl,-rpath,. -o main"
        );
        succeed(&mut shell(&script, folder.path()));
        prints_the_tenants_token(Command::new("./main").current_dir(folder.path()));
    }
}

#[test]
fn library_can_be_loaded_and_unloaded_repeatedly() {
    if has("make", "make") && has("cc", "gcc") {
        let flags = ["-std=gnu11", "-pthread", "-ldl"];
        let program = Program::compile("cc", "tests/c/plugin.c", &flags, Library::None);
        let tenant = Tenant::start();
        let mut command = program.command();
        command.arg(PREFIX.join("lib/liboneaccess.so.0"));
        assert_eq!(succeed(with_tenant(&mut command, &tenant)), "ok\n");
        assert_eq!(tenant.requests(), 100);
    }
}

const DEPENDENT: &str = r#"
[package]
name = "dependent"
version = "0.1.0"
edition = "2024"
[lib]
crate-type = ["cdylib"]
[dependencies]
"#;

#[test]
fn dependent_rust_library_exports_no_oneaccess_symbol() {
    if !has("nm", "binutils") {
        return;
    }
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let line = readme.lines().find(|line| line.starts_with("oneaccess = {")).expect("the line");
    let here = format!("path = {:?}", root().display().to_string());
    let folder = TempDir::new().expect("a folder");
    let manifest = DEPENDENT.to_owned() + &line.replace("path = \"../oneaccess\"", &here);
    std::fs::write(folder.path().join("Cargo.toml"), manifest).expect("written");
    std::fs::create_dir(folder.path().join("src")).expect("made");
    let library = "#[unsafe(no_mangle)] pub extern \"C\" fn dependent() -> bool {
        oneaccess::Client::new(&oneaccess::Config::from_env()).is_ok()
    }";
    std::fs::write(folder.path().join("src/lib.rs"), library).expect("written");
    std::fs::copy(root().join("Cargo.lock"), folder.path().join("Cargo.lock")).expect("copied");
    let target = target_folder().join("dependent");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet"]).current_dir(folder.path());
    succeed(as_user(&mut cargo).env("CARGO_TARGET_DIR", &target));
    let library = target.join("debug/libdependent.so");
    let exported = succeed(Command::new("nm").args(["-D", "--defined-only"]).arg(library));
    assert!(exported.contains(" dependent") && !exported.contains("oneaccess_"), "{exported}");
}

#[test]
fn packaged_crate_builds_from_a_read_only_source() {
    if !has("make", "make") || !has("tar", "tar") {
        return;
    }
    let target = target_folder();
    let mut package = Command::new("cargo");
    package
        .args(["package", "--quiet", "--no-verify", "--allow-dirty", "--target-dir"])
        .arg(&target);
    succeed(as_user(package.current_dir(root())));
    let name = concat!("oneaccess-", env!("CARGO_PKG_VERSION"));
    let folder = TempDir::new().expect("a folder");
    let archive = target.join(format!("package/{name}.crate"));
    succeed(Command::new("tar").arg("xf").arg(archive).arg("-C").arg(folder.path()));
    let source = folder.path().join(name);
    let before = files_below(&source);
    for wanted in [
        "Cargo.lock",
        "Makefile",
        "bindings/cpp/oneaccess.hpp",
        "include/oneaccess.h",
        "packaging/oneaccess.pc.in",
    ] {
        assert!(before.iter().any(|file| file == wanted), "{wanted}: {before:?}");
    }
    succeed(Command::new("chmod").args(["-R", "a-w"]).arg(&source));
    let stage = format!("DESTDIR={}", folder.path().join("stage").display());
    let mut make = make();
    // A build folder of its own: the package must not reuse what make has built from this tree.
    let built = folder.path().join("target");
    make.current_dir(&source)
        .args(["install", &stage])
        .arg(format!("TARGET_DIR={}", built.display()));
    make.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
    succeed(&mut make);
    assert_eq!(files_below(&source), before);
    assert_eq!(files_below(&folder.path().join("stage")).len(), 11);
    succeed(Command::new("chmod").args(["-R", "u+w"]).arg(&source));
}
