//! Fuzzes a response of the token endpoint. The input is the status (two bytes), the value of
//! Retry-After (up to the first line break), and the body.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((status, rest)) = data.split_first_chunk::<2>() else { return };
    let status = 200 + u16::from_le_bytes(*status) % 400;
    let (retry_after, body) = rest.split_at(rest.iter().position(|b| *b == b'\n').unwrap_or(0));
    let message = oneaccess::fuzzing::answer(status, retry_after, body, "s3cr3t-0123456789");
    assert!(!message.contains("0123456789") && !message.contains('\n'));
    assert!(message.len() < 4000);
});
