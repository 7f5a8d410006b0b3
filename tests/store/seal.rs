//! What opens an entry, and what does not.

use super::*;

fn config() -> Config {
    Config::new("https://tenant.example", "id", "secret")
}

fn sealed() -> Vec<u8> {
    Seal::new(&config(), "secret").close(Zeroizing::new(b"plain".to_vec())).expect("sealed")
}

#[test]
fn same_identity_and_secret_open_it() {
    let opened = Seal::new(&config(), "secret").open(&sealed()).expect("opened");
    assert_eq!(*opened, b"plain");
}

#[test]
fn anything_else_has_another_name_and_does_not_open_it() {
    let own = Seal::new(&config(), "secret");
    for other in [
        Seal::new(&config(), "secret2"),
        Seal::new(&config(), ""),
        Seal::new(&Config::new("https://tenant.example:444", "id", ""), "secret"),
        Seal::new(&Config::new("https://other.example", "id", ""), "secret"),
        Seal::new(&Config::new("https://tenant.example", "id2", ""), "secret"),
        Seal::new(&config().basic_auth(true), "secret"),
        Seal::new(&config().header("X-a", "b"), "secret"),
        Seal::new(&config().header("X-a", "bX-cd"), "secret"),
        Seal::new(&config().header("X-a", "b").header("X-c", "d"), "secret"),
        Seal::new(&config().client_certificate_file("/certificate", "/key"), "secret"),
    ] {
        assert_ne!(other.name, own.name);
        assert!(other.open(&sealed()).is_none());
    }
}

#[test]
fn settings_of_one_process_do_not_matter() {
    let other = config().timeout(std::time::Duration::from_secs(1)).ca_file("/ca").proxy(Some(""));
    assert_eq!(Seal::new(&other, "secret").name, Seal::new(&config(), "secret").name);
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let (seal, whole) = (Seal::new(&config(), "secret"), sealed());
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(seal.open(&flipped).is_none(), "bit {bit}");
    }
    for length in 0..whole.len() {
        assert!(seal.open(&whole[..length]).is_none(), "{length} bytes");
    }
    assert!(seal.open(&[whole, vec![0]].concat()).is_none());
}

#[test]
fn no_two_entries_have_the_same_salt() {
    assert_ne!(sealed()[..SALT_LENGTH], sealed()[..SALT_LENGTH]);
}
