//! What an exchange remembers of the secret file.

use super::*;

#[test]
fn secret_file_readable_again_counts_as_changed() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, "secret\n").expect("written");
    // No server listens on this port.
    let config = Config::new("http://127.0.0.1:9", "id", "").client_secret_file(&path);
    let exchange = Exchange::new(Arc::new(config)).expect("an exchange");
    let kind =
        || exchange.request(Duration::from_millis(200), None).map_err(|error| error.kind()).err();
    assert_eq!(kind(), Some(ErrorKind::Transport));
    assert!(!exchange.secret_file_changed());
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(kind(), Some(ErrorKind::Config));
    assert!(!exchange.secret_file_changed());
    std::fs::write(&path, "secret\n").expect("written again");
    assert!(exchange.secret_file_changed());
}
