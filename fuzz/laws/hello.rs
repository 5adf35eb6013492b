// What holds of any bytes that a TLS connection begins with. Shared, by `include!`, by the fuzz target and by the
// replay of its corpus in `cargo test`; `Hello` and `message` are in scope.

/// A fingerprint has one form, and records are an envelope: one message in pieces of any size is the same hello.
pub(crate) fn hello(data: &[u8]) {
    let Some(hello) = Hello::read(data) else { return };
    let ja4 = hello.ja4();
    let parts: Vec<usize> = ja4.split('_').map(str::len).collect();
    assert_eq!(parts, [10, 12, 12], "{ja4}");
    assert!(ja4.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{ja4}");
    let whole = message(data).expect("it was read");
    let length = u32::try_from(whole.len()).expect("three bytes").to_be_bytes();
    let handshake = [&[1], &length[1..], &whole].concat();
    for size in [1, 2, 3, 7, 1 << 14] {
        let records: Vec<u8> = handshake
            .chunks(size)
            .flat_map(|piece| {
                let length = u16::try_from(piece.len()).expect("a record").to_be_bytes();
                [&[22, 3, 1], &length[..], piece].concat()
            })
            .collect();
        assert_eq!(Hello::read(&records).as_ref(), Some(&hello));
        assert_eq!(Hello::read(&records[..records.len() - 1]), None, "cut");
    }
}
