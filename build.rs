//! Link arguments of the shared library: its soname, and that it is never unloaded.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let major = std::env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets it");
    let arguments = match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        // The fork handler and the destructors of thread-local variables point into the library, so
        // dlclose must not unmap it.
        Ok("linux" | "android" | "freebsd") => {
            vec![format!("-Wl,-soname,liboneaccess.so.{major}"), "-Wl,-z,nodelete".to_owned()]
        }
        Ok("macos") => vec![format!("-Wl,-install_name,@rpath/liboneaccess.{major}.dylib")],
        _ => vec![],
    };
    for argument in arguments {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
}
