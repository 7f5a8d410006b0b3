use percent_encoding::NON_ALPHANUMERIC;

use super::{Text, base64, percent_encode};
use child::{in_stopping_child, plain, stop};
use memory::{masked, places, unmasked};

#[allow(dead_code)]
#[path = "../support/child.rs"]
mod child;
#[path = "../support/memory.rs"]
mod memory;

const SECRET: &str = "me:+/=&%-0123456789-and-so-on";

#[test]
fn encodings_leave_no_copy_behind() {
    let mut found = Vec::new();
    in_stopping_child(
        || {
            let mut command = plain();
            command.env("SECRET", masked(SECRET));
            command
        },
        || {
            let secret = unmasked(&std::env::var("SECRET").expect("it was set"));
            drop((base64(&secret), percent_encode(&secret, NON_ALPHANUMERIC), Text::new(&secret)));
            drop(secret);
            stop();
        },
        |pid| {
            let encoded = [base64(SECRET), percent_encode(SECRET, NON_ALPHANUMERIC)];
            let texts = encoded.iter().map(|text| text.as_str()).chain([SECRET]);
            found.extend(texts.flat_map(|text| places(pid, text)));
        },
    );
    assert_eq!(found, [""; 0]);
}

#[test]
fn base64_of_every_length_is_padded() {
    let expected = ["", "YQ==", "YWE=", "YWFh", "YWFhYQ=="];
    for (length, expected) in expected.iter().enumerate() {
        assert_eq!(base64(&"a".repeat(length)).as_str(), *expected);
    }
    assert_eq!(base64(&"a".repeat(3000)).as_str(), "YWFh".repeat(1000));
}
