//! The header is what cbindgen makes of `src/ffi.rs`; `BLESS=1` writes it.

use std::path::Path;

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
        "{HEADER} is not what src/ffi.rs says; BLESS=1 cargo test --test header writes it"
    );
}
