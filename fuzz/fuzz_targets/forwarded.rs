#![no_main]
#![allow(dead_code, reason = "the reader is compiled without the rest of the gateway")]

use portcullis_core::head::{How, Scheme};
use std::net::IpAddr;

/// As in `gates::canonical`, which the reader takes it from.
pub struct Connection<'a> {
    pub peer: IpAddr,
    pub how: How,
    pub scheme: Scheme,
    pub sni: Option<&'a str>,
    pub public_port: Option<u16>,
    pub websocket: bool,
    pub body: bool,
}

#[path = "../../crates/gateway/src/gates/canonical/client.rs"]
mod client;
use client::find;
use portcullis_core::head::Client;
use portcullis_plan::edge::{ClientHeader, TrustedProxies};

fn look(headers: &http::HeaderMap, peer: &str, trusted: &TrustedProxies) -> (Client, Scheme) {
    let connection = Connection {
        peer: peer.parse().expect("an address"),
        how: How::Peer,
        scheme: Scheme::Http,
        sni: None,
        public_port: None,
        websocket: false,
        body: false,
    };
    find(headers, &connection, trusted)
}

include!("../laws/forwarded.rs");

libfuzzer_sys::fuzz_target!(|data: &[u8]| forwarded(data));
