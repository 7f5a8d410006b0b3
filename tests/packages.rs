//! `make packages`: what each package contains, and that it works without the repository.

#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use support::native::{
    as_user, files_below, has, make, root, skip, succeed, target_folder, with_tenant,
};
use support::tenant::Tenant;
use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The three packages, built once for all tests; or None, with the tests reported as skipped.
fn packages() -> Option<&'static Packages> {
    static PACKAGES: LazyLock<Packages> = LazyLock::new(|| {
        succeed(make().arg("packages"));
        let folder = target_folder().join("packages");
        let [wheel, gem, npm] = files_below(&folder).try_into().expect("three packages");
        Packages { wheel: folder.join(wheel), gem: folder.join(gem), npm: folder.join(npm) }
    });
    static REGISTRIES: LazyLock<bool> = LazyLock::new(|| {
        let mut npm = Command::new("npm");
        npm.args(["ping", "--silent"]).output().is_ok_and(|output| output.status.success())
    });
    let tools = [("make", "make"), ("pip3", "python3-pip"), ("npm", "npm"), ("gem", "ruby")];
    if !tools.iter().all(|(tool, package)| has(tool, package)) {
        return None;
    }
    if !*REGISTRIES {
        skip("there is no network: the registry of npm does not answer");
        return None;
    }
    Some(&PACKAGES)
}

struct Packages {
    wheel: PathBuf,
    gem: PathBuf,
    npm: PathBuf,
}

/// Runs a copy of an example in a folder where its package is installed. It must load the library that
/// is below that folder.
fn prints_users(example: &str, interpreter: &Path, folder: &TempDir, packaged: &str) {
    let tenant = Tenant::start();
    let source = root().join("bindings").join(example);
    let copy = folder.path().join(source.file_name().expect("a name"));
    fs::copy(&source, &copy).expect("a copy");
    let log = TempDir::new().expect("a folder");
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "60"]).arg(interpreter).arg(&copy).current_dir(folder);
    for name in ["LD_LIBRARY_PATH", "ONEACCESS_LIBRARY", "NODE_PATH", "PYTHONPATH", "RUBYLIB"] {
        command.env_remove(name);
    }
    command
        .env("GEM_HOME", folder.path())
        .env("NODE_EXTRA_CA_CERTS", tenant.ca_file())
        .env("LD_DEBUG", "files")
        .env("LD_DEBUG_OUTPUT", log.path().join("log"));
    assert_eq!(succeed(with_tenant(&mut command, &tenant)), "zhangsan\nlisi\n");

    let mut loaded = Vec::new();
    for file in files_below(log.path()) {
        let text = fs::read(log.path().join(file)).expect("the log of the loader");
        let text = String::from_utf8_lossy(&text).into_owned();
        let paths = text.lines().filter_map(|line| line.split_once("calling init: "));
        loaded.extend(paths.map(|(_, path)| path.to_owned()).filter(|p| p.contains("oneaccess")));
    }
    assert_eq!(loaded.len(), 1, "{loaded:?}");
    let path = Path::new(&loaded[0]);
    assert!(path.starts_with(folder) && path.ends_with(packaged), "{path:?}");
}

#[test]
fn wheel_works_in_an_empty_environment() {
    if let Some(packages) = packages() {
        let folder = TempDir::new().expect("a folder");
        succeed(Command::new("python3").args(["-m", "venv"]).arg(folder.path().join("env")));
        let programs = folder.path().join("env/bin");
        let mut pip = Command::new(programs.join("pip"));
        succeed(pip.args(["install", "--quiet", "--no-index"]).arg(&packages.wheel));
        let python = programs.join("python");
        prints_users("python/users.py", &python, &folder, "oneaccess/liboneaccess.so.0");
    }
}

#[test]
fn npm_package_works_in_an_empty_folder() {
    if let Some(packages) = packages() {
        let folder = TempDir::new().expect("a folder");
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]);
        succeed(npm.arg(folder.path()).arg(&packages.npm).current_dir(&folder));
        let library = "node_modules/oneaccess/liboneaccess.so.0";
        prints_users("node/users.js", Path::new("node"), &folder, library);
        let platform = "const { os, cpu } = require('./node_modules/oneaccess/package.json');
            const { platform, arch } = process;
            require('assert').deepEqual({ os, cpu }, { os: [platform], cpu: [arch] });";
        succeed(Command::new("node").args(["-e", platform]).current_dir(&folder));
    }
}

#[test]
fn gem_works_in_an_empty_folder() {
    if let Some(packages) = packages() {
        let folder = TempDir::new().expect("a folder");
        let mut gem = Command::new("gem");
        gem.args(["install", "--local", "--no-document", "--install-dir"]).arg(folder.path());
        succeed(gem.arg(&packages.gem).current_dir(&folder));
        prints_users("ruby/users.rb", Path::new("ruby"), &folder, "lib/liboneaccess.so.0");
    }
}

/// Unpacks a package with a shell command, compares the list of its files, and returns its README.
fn readme_of(package: &Path, unpack: &str, files: &[&str], library: &str, readme: &str) -> String {
    let folder = TempDir::new().expect("a folder");
    let mut shell = Command::new("sh");
    succeed(shell.args(["-euc", unpack, "sh"]).arg(package).current_dir(&folder));
    assert_eq!(files_below(folder.path()), files);
    let read = |path: PathBuf| fs::read(path).expect("a file");
    let built = read(target_folder().join("capi/liboneaccess.so"));
    assert!(read(folder.path().join(library)) == built, "another library than make has built");
    fs::read_to_string(folder.path().join(readme)).expect("a README")
}

#[test]
fn packages_contain_only_what_they_need() {
    let Some(packages) = packages() else { return };
    let info = format!("oneaccess-{VERSION}.dist-info");
    let in_info = |name| format!("{info}/{name}");
    let metadata = in_info("METADATA");
    let wheel = readme_of(
        &packages.wheel,
        "python3 -m zipfile -e \"$1\" .",
        &[
            &metadata,
            &in_info("RECORD"),
            &in_info("WHEEL"),
            &in_info("licenses/LICENSE-APACHE"),
            &in_info("licenses/LICENSE-MIT"),
            &in_info("top_level.txt"),
            "oneaccess/__init__.py",
            "oneaccess/liboneaccess.so.0",
            "oneaccess/py.typed",
        ],
        "oneaccess/liboneaccess.so.0",
        &metadata,
    );
    let npm = readme_of(
        &packages.npm,
        "tar xf \"$1\" --strip-components 1",
        &[
            "LICENSE-APACHE",
            "LICENSE-MIT",
            "README.md",
            "liboneaccess.so.0",
            "oneaccess.d.ts",
            "oneaccess.js",
            "package.json",
        ],
        "liboneaccess.so.0",
        "README.md",
    );
    let gem = readme_of(
        &packages.gem,
        "tar xOf \"$1\" data.tar.gz | tar xz",
        &[
            "LICENSE-APACHE",
            "LICENSE-MIT",
            "README.md",
            "lib/liboneaccess.so.0",
            "lib/oneaccess.rb",
        ],
        "lib/liboneaccess.so.0",
        "README.md",
    );
    for readme in [wheel, npm, gem] {
        for link in readme.split("](").skip(1) {
            assert!(link.starts_with("https://") || link.starts_with("#settings)"), "{readme}");
        }
        assert!(readme.contains("\n## Settings\n\n| setting | "), "{readme}");
        assert!(readme.contains("](#settings)") && readme.contains("`ONEACCESS_TIMEOUT_MS`"));
        assert!(readme.contains("\n## Install\n") && !readme.contains("make -C"), "{readme}");
    }
}

#[test]
fn packages_have_the_version_of_the_library() {
    for (file, line) in [
        ("python/pyproject.toml", format!("version = \"{VERSION}\"")),
        ("node/package.json", format!("  \"version\": \"{VERSION}\",")),
        ("ruby/oneaccess.gemspec", format!("  spec.version = \"{VERSION}\"")),
    ] {
        let text = fs::read_to_string(root().join("bindings").join(file)).expect("the file");
        assert!(text.lines().any(|other| other == line), "{file}: {line}");
    }
}

#[test]
fn missing_tools_are_named() {
    if has("make", "make") {
        let folder = TempDir::new().expect("a folder");
        for tool in ["python3", "npm", "gem"] {
            symlink("/bin/false", folder.path().join(tool)).expect("a link");
        }
        let path = std::env::var("PATH").expect("a path");
        let path = format!("{}:{path}", folder.path().display());
        let output = make().arg("packages").env("PATH", path).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        assert!(said.starts_with("make packages needs python3 -m pip, npm, gem\n"), "{said}");
    }
}

/// What cargo packs from a source folder where the bindings, examples and tests have been run.
#[test]
fn crate_contains_bindings_but_no_build_products() {
    let folder = TempDir::new().expect("a folder");
    let entries = fs::read_dir(root()).expect("the source").map(|entry| entry.expect("an entry"));
    let sources =
        entries.filter(|entry| entry.file_name() != "target" && entry.file_name() != ".git");
    let sources = sources.map(|entry| entry.path());
    succeed(Command::new("cp").arg("-R").args(sources).arg(folder.path()));
    let products = [
        "bindings/cpp/users.out",
        "bindings/node/node_modules/koffi/index.js",
        "bindings/python/.mypy_cache/CACHEDIR.TAG",
        "bindings/python/build/lib/oneaccess/__init__.py",
        "bindings/python/oneaccess.egg-info/PKG-INFO",
        "bindings/python/oneaccess/__pycache__/__init__.cpython-311.pyc",
        "examples-c/event_loop",
        "examples-c/token",
        "examples-c/token-cpp",
        "examples-c/users",
        "tests/fuzz/Cargo.lock",
        "token",
    ];
    for product in products {
        let path = folder.path().join(product);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, "").expect("a file");
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["package", "--list", "--offline"]).current_dir(&folder);
    let listed = succeed(as_user(&mut cargo));
    let has = |file: &str| listed.lines().any(|line| line == file);
    for product in products {
        assert!(!has(product), "{product}");
    }
    assert!(has("CONTRIBUTING.md") && has("bindings/common.mk") && has("packaging/readme.sed"));
    for language in fs::read_dir(root().join("bindings")).expect("the bindings") {
        let language = language.expect("an entry").path();
        let name = language.file_name().expect("a name").to_string_lossy().into_owned();
        for file in ["Makefile", "README.md"] {
            assert!(!language.is_dir() || has(&format!("bindings/{name}/{file}")), "{name}/{file}");
        }
    }
}
