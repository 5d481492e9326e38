//! Whatever stands in a pointer, reading it does not panic; what is accepted with a secret was signed with it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use warmswap::core::caches::{Key, Pointer, Ticket};

fuzz_target!(|bytes: &[u8]| {
    let key = Key::parse("key", "site/a").expect("a key");
    if let Ok(pointer) = Pointer::read(bytes, &key, None) {
        let again = Pointer::read(&pointer.to_bytes(&key, Some(b"secret")), &key, Some(b"secret"));
        assert_eq!(again.ok().map(|again| again.sha256), Some(pointer.sha256));
    }
    assert!(
        Pointer::read(bytes, &key, Some(b"another secret")).is_err(),
        "nobody who does not know the secret can sign"
    );
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Ticket::parse(text, &key));
        drop(Key::parse("key", text));
    }
});
