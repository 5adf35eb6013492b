//! `portcullis-shop [ADDRESS]`: the vulnerable shop on its own, by default on 127.0.0.1:3000.

use std::io::{self, Write as _};

use portcullis_shop::Shop;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let address: std::net::SocketAddr = address.parse().map_err(io::Error::other)?;
    if !address.ip().is_loopback() {
        return Err(io::Error::other("this program is vulnerable on purpose: loopback addresses only"));
    }
    let shop = Shop::open(address)?;
    writeln!(io::stdout(), "the vulnerable shop listens on http://{}", shop.address())?;
    loop {
        std::thread::park();
    }
}
