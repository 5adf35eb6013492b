//! Words → Plan: the only crate that reads files of configuration.

mod date;
mod read;
mod schema;
pub mod words;

pub use date::Date;
pub use schema::{reference, schema};

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::finding::SourceMap;

    fn read(text: &str) -> String {
        let mut map = SourceMap::default();
        let file = map.add("portcullis.yaml", text);
        let reading = read::document(file, "portcullis.yaml", text);
        let mut out: String = reading.findings.iter().map(|f| map.render(f, false)).collect();
        if let Some(d) = reading.document {
            out.push_str(&format!("{d:?}"));
        }
        out
    }

    #[test]
    fn tries() {
        println!("{}", schema());
        for text in [
            "listen: 0.0.0.0:8443\ntls: { cert: { file: tls/cert.pem }, key: { file: tls/key.pem } }\napis:\n  shop:\n    spec: a.yaml\n    upstraem: http://127.0.0.1:3000\n",
            "listen: [{address: 1.2.3.4:3, serve: [apis, foo], tls: {min: 1.3, cert: hunter2}}]\n",
            "apis: {shop: {spec: a.yaml, authenticate: {jwt: {issuer: https://a/, audience: shop}}, anonymous: [{allow: x, because: y, until: 2026-01-01}]}}\nlimits: {global: off, key: {rate: 10/min}, user: {rate: 10}}\nissuers: {a: {url: https://x, discovery: {fil: a.json}}}\nbounds: {headers: abc, header_bytes: 3PiB}\n",
            "apis: {shop: {spec: a.yaml, authenticate: {jwt: {issuer: https://a/, audience: shop}}, anonymous: [{allow: x, because: y, until: 2026-01-01}]}}\nlimits: {global: off, key: {rate: 10/min}, user: {rate: 10/s}}\nissuers: {a: {url: https://x, discovery: {file: a.json}}}\nbounds: {headers: 10, header_bytes: 3MiB}\n",
        ] {
            println!("{}\n-----", read(text));
        }
    }
}
