// What holds of a PROXY header (versions 1 and 2). Shared, by `include!`, by the fuzz target and by the replay of its
// corpus in `cargo test`; `parse_v1` and `parse_v2` are in scope.

/// What is read is written in one way, and read back the same; no address is an IPv4 address in disguise.
pub(crate) fn proxy(data: &[u8]) {
    if let Ok(Some(client)) = parse_v1(data) {
        assert_eq!(client.ip(), client.ip().to_canonical(), "{client}");
        // The header does not tell families apart once an address is unmapped.
        let (family, other) = if client.is_ipv4() { ("TCP4", "0.0.0.0") } else { ("TCP6", "::") };
        let again = format!("PROXY {family} {} {other} {} 1\r\n", client.ip(), client.port());
        assert_eq!(parse_v1(again.as_bytes()).ok(), Some(Some(client)), "{again}");
        let text = String::from_utf8_lossy(data);
        let line = text.strip_suffix("\r\n");
        assert!(line.is_some_and(|line| !line.contains(['\r', '\n', '%'])), "{text}");
    }
    let [verb, family, body @ ..] = data else { return };
    if let Ok(Some(client)) = parse_v2(*verb, *family, body) {
        assert_eq!((*verb, client.ip()), (0x21, client.ip().to_canonical()), "{client}");
        // What follows the addresses (TLVs) is never looked at.
        let longer = [body, b"\x01\x00\x01x"].concat();
        assert_eq!(parse_v2(*verb, *family, &longer).ok(), Some(Some(client)));
    }
}
