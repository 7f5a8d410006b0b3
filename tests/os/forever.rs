use super::*;

#[test]
fn values_that_were_replaced_remain() {
    static VALUE: Forever<String> = Forever::empty();
    assert!(VALUE.get().is_none());
    let first = VALUE.set("first".to_owned());
    std::thread::scope(|scope| {
        let second = scope.spawn(|| VALUE.set("second".to_owned()));
        assert!(VALUE.get().is_some());
        assert_eq!(second.join().expect("no panic"), "second");
    });
    assert_eq!((first.as_str(), VALUE.get().map(String::as_str)), ("first", Some("second")));
}
