//! Fuzzes the endpoint: the host that is contacted must be the one written in it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some((host, port)) = oneaccess::fuzzing::endpoint(text) {
        assert!(port != 0 && !host.is_empty());
        assert!(!host.contains(['/', '?', '#', '@', '\\', ' ']), "{host:?}");
        let written = text.to_ascii_lowercase();
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        assert!(is_address || written.contains(&host), "{host:?} of {text:?}");
    }
});
