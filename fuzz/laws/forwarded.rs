// What holds of what a trusted proxy says about its client (wire.md § 8). Shared, by `include!`, by the fuzz target and
// by the replay of its corpus in `cargo test`; `look` (what a plaintext connection of a peer
// says) and the vocabulary are in scope.

/// The first byte chooses the header, the other lines are its lines.
pub(crate) fn forwarded(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let (header, name) = if first & 1 == 0 {
        (ClientHeader::XForwardedFor, "x-forwarded-for")
    } else {
        (ClientHeader::Forwarded, "forwarded")
    };
    let lines: Vec<http::HeaderValue> = rest
        .split(|byte| *byte == b'\n')
        .filter_map(|line| http::HeaderValue::from_bytes(line).ok())
        .collect();
    let said = |lines: &[http::HeaderValue]| {
        let mut map = http::HeaderMap::new();
        for line in lines {
            map.append(name, line.clone());
        }
        map
    };
    let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")], header).expect("not all");
    let (stranger, scheme) = look(&said(&lines), "192.0.2.1", &trusted);
    assert_eq!((stranger, scheme), (Client::peer(stranger.address), Scheme::Http), "a stranger is not asked");
    assert_eq!(stranger.address.to_string(), "192.0.2.1");

    let (client, scheme) = look(&said(&lines), "10.0.0.1", &trusted);
    assert_eq!(client.address, client.address.to_canonical());
    assert!(client.through_proxy);
    assert!(client.how != How::Peer || client.address.to_string() == "10.0.0.1");
    // Whatever a client writes in front of what the proxies add changes nothing.
    if !trusted.contains(client.address) {
        let lie = if first & 1 == 0 { "203.0.113.66" } else { "for=203.0.113.66;proto=https" };
        let mut more = vec![http::HeaderValue::from_static(lie)];
        more.extend(lines.iter().cloned());
        assert_eq!(look(&said(&more), "10.0.0.1", &trusted), (client, scheme));
    }
}
