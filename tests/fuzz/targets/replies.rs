//! The replies of a Redis server.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    oneaccess::fuzzing::replies(bytes);
});
