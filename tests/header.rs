//! `include/oneaccess.h` is what cbindgen generates from `src/ffi.rs`; `BLESS=1` writes it.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use support::native::{has, succeed};

const ABI: &str = "include/oneaccess.abi";
const HEADER: &str = "include/oneaccess.h";

fn generated() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("config");
    let version = env!("CARGO_PKG_VERSION");
    let parts: Vec<u32> = version.split('.').map(|part| part.parse().expect("a number")).collect();
    let number = parts[0] * 1_000_000 + parts[1] * 1_000 + parts[2];
    config.after_includes = Some(format!(
        "\n/** Version of this header. */\n\
         #define ONEACCESS_VERSION \"{version}\"\n\
         /** The same as major * 1000000 + minor * 1000 + patch. */\n\
         #define ONEACCESS_VERSION_NUMBER {number}\n\n\
         #ifdef __cplusplus\nextern \"C\" {{ /* C++ only */\n#endif"
    ));
    let mut header = Vec::new();
    cbindgen::Builder::new()
        .with_src(root.join("src/ffi.rs"))
        .with_config(config)
        .generate()
        .expect("src/ffi.rs can be read")
        .write(&mut header);
    String::from_utf8(header).expect("UTF-8")
}

#[test]
fn header_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(HEADER);
    let generated = generated();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &generated).expect("header written");
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == generated,
        "{HEADER} differs from src/ffi.rs; BLESS=1 cargo test --test header updates it"
    );
}

/// The declarations and numbered constants of the header, each on one line.
fn declarations(header: &str) -> Vec<String> {
    let number = |line: &str| {
        let rest = line.strip_prefix("#define ")?;
        let (name, value) = rest.split_once(' ')?;
        let pinned = name.starts_with("ONEACCESS_ERROR_") || name.starts_with("ONEACCESS_STAT_");
        pinned.then(|| format!("{name} {value}"))
    };
    let mut found: Vec<String> = header.lines().filter_map(number).collect();
    let code: Vec<&str> =
        header.lines().filter(|line| !line.starts_with(['#', '/', ' ', '}'])).collect();
    // `code` has only the first line of a declaration, since the others begin with blanks: the whole
    // declaration ends at the next semicolon.
    let whole = |start: &str| {
        let from = &header[header.find(start).expect("it is a line of the header")..];
        let declaration = from.split(';').next().unwrap_or_default();
        declaration.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let starts = code.iter().filter(|line| line.contains("oneaccess_") && !line.is_empty());
    found.extend(starts.map(|line| whole(line)));
    found
}

/// `include/oneaccess.abi` lists every declaration with its version. Listed declarations must remain
/// in the header; `BLESS=1` adds new ones to the list.
#[test]
fn abi_keeps_every_declaration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("checked in");
    let declared = declarations(&read(HEADER));
    assert!(declared.len() > 55, "{declared:?}");
    let mut abi = read(ABI);
    let known: BTreeMap<String, String> = abi
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(version, declaration)| (declaration.to_owned(), version.to_owned()))
        .collect();
    for (declaration, version) in &known {
        assert!(
            declared.contains(declaration),
            "missing, but part of the ABI since {version}: {declaration}"
        );
    }
    let new = declared.iter().filter(|declaration| !known.contains_key(*declaration));
    let new: Vec<String> = new.map(|it| format!("{} {it}\n", env!("CARGO_PKG_VERSION"))).collect();
    if std::env::var_os("BLESS").is_some() {
        abi.extend(new);
        std::fs::write(root.join(ABI), abi).expect("written");
    } else {
        assert!(new.is_empty(), "missing in {ABI}; BLESS=1 adds: {new:?}");
    }
}

#[test]
fn doxygen_reads_the_header_without_warnings() {
    if has("doxygen", "doxygen") {
        let folder = tempfile::TempDir::new().expect("a folder");
        let settings = format!(
            "INPUT={}/{HEADER}\nGENERATE_LATEX=NO\nQUIET=YES\nHAVE_DOT=NO\nOPTIMIZE_OUTPUT_FOR_C=YES\n\
             WARN_AS_ERROR=FAIL_ON_WARNINGS\n",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::write(folder.path().join("Doxyfile"), settings).expect("written");
        succeed(Command::new("doxygen").current_dir(&folder));
    }
}
