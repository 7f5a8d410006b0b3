//! Handles, texts and ownership without I/O, so that the tests run under Miri. `tests/c/abi.c` tests
//! the same over sockets.

use super::*;

fn shown(text: *const c_char) -> Option<String> {
    // SAFETY: texts of this library are NULL or NUL-terminated.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_str().expect("UTF-8").to_owned())
}

#[test]
fn token_texts_are_valid_until_the_last_free() {
    let token =
        Token::new("abc", Some("all"), None).expiring_at(Duration::from_secs(1_800_000_000));
    let first = handle(Arc::new(token.clone()));
    let shared = Arc::new(token);
    let second = handle(shared.clone());
    drop(shared);
    for token in [first, second] {
        assert_eq!(shown(oneaccess_token_access_token(token)).as_deref(), Some("abc"));
        assert_eq!(oneaccess_token_access_token_length(token), 3);
        assert_eq!(shown(oneaccess_token_authorization(token)).as_deref(), Some("Bearer abc"));
        assert_eq!(shown(oneaccess_token_token_type(token)).as_deref(), Some("Bearer"));
        assert_eq!(shown(oneaccess_token_scope(token)).as_deref(), Some("all"));
        assert_eq!(shown(oneaccess_token_id_token(token)), None);
        assert_eq!(oneaccess_token_expires_at(token), 1_800_000_000);
    }
    oneaccess_token_free(first);
    assert_eq!(shown(oneaccess_token_access_token(second)).as_deref(), Some("abc"));
    let second = second.expose_provenance();
    // C may free it from another thread.
    let free = move || oneaccess_token_free(std::ptr::with_exposed_provenance_mut(second));
    std::thread::spawn(free).join().expect("no panic");
}

#[test]
fn error_texts_are_valid_until_the_free() {
    let error =
        Error::new(ErrorKind::Denied, "line\nbreak").with_answer(401, Some("invalid_client"));
    let error = Box::new(oneaccess_error(error));
    assert_eq!(oneaccess_error_kind(Some(&error)), ONEACCESS_ERROR_DENIED);
    assert_eq!(oneaccess_error_http_status(Some(&error)), 401);
    assert_eq!(shown(oneaccess_error_message(Some(&error))).as_deref(), Some("line break"));
    assert_eq!(shown(oneaccess_error_vendor_code(Some(&error))).as_deref(), Some("invalid_client"));
    assert_eq!(oneaccess_error_retry_after_ms(Some(&error)), 0);
    oneaccess_error_free(Some(error));
}

#[test]
fn config_copies_texts_and_remembers_mistakes() {
    let endpoint = c"example.com:0".to_owned();
    let mut config =
        oneaccess_config_new(endpoint.as_ptr(), null(), c"\xff".as_ptr()).expect("never NULL");
    drop(endpoint);
    oneaccess_config_set(Some(&mut config), c"timeout_ms".as_ptr(), c"-1".as_ptr());
    oneaccess_config_set(Some(&mut config), null(), c"1".as_ptr());
    oneaccess_config_add_header(Some(&mut config), c"X-a".as_ptr(), null());
    oneaccess_config_set(Some(&mut config), c"client_secret_file".as_ptr(), c"/nowhere".as_ptr());
    let mut out = MaybeUninit::uninit();
    let error = oneaccess_client_new(Some(&config), Some(&mut out)).expect("an error");
    // SAFETY: `out` is always written.
    assert!(unsafe { out.assume_init() }.is_null());
    let message = shown(oneaccess_error_message(Some(&error))).expect("a message");
    for part in [
        "port",
        "client_id is missing",
        "client_secret is not UTF-8",
        "timeout_ms is \"-1\"",
        "the name of a setting is NULL",
        "header",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(oneaccess_error_kind(Some(&error)), ONEACCESS_ERROR_CONFIG);
    oneaccess_config_free(Some(config));
}

#[test]
fn panic_does_not_unwind_into_c() {
    let error = guard_error(|| panic!("on purpose")).expect("an error");
    assert_eq!(oneaccess_error_kind(Some(&error)), ONEACCESS_ERROR_INTERNAL);
    assert_eq!(guard(17, || panic!("on purpose")), 17);
    let mut out = MaybeUninit::<*mut oneaccess_client>::uninit();
    assert!(store_result(Some(&mut out), || panic!("on purpose")).is_some());
    // SAFETY: `out` is always written.
    assert!(unsafe { out.assume_init() }.is_null());
}

#[test]
fn durations_are_rounded_up() {
    assert_eq!(milliseconds_up(Duration::ZERO), 0);
    assert_eq!(milliseconds_up(Duration::from_nanos(1)), 1);
    assert_eq!(milliseconds_up(Duration::from_millis(7)), 7);
    assert_eq!(milliseconds_up(Duration::MAX), i64::MAX);
}
