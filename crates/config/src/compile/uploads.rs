//! Files that clients send: their types, and who scans them.

use super::desk::Desk;
use crate::words::api::{Api, Rule};
use crate::words::uploads::WhenUnreachable;
use portcullis_contract::model::UploadTerms;
use portcullis_contract::upload::FileType;
use portcullis_core::finding::did_you_mean;
use portcullis_plan::api::{Scan, ScanAddress};

/// Most that a scanner is asked to take at once in its self-test.
const SAMPLE: u64 = 100 << 20;

/// What the contract is told of files. The loosenings join where all loosenings are read.
pub(super) fn terms(desk: &mut Desk<'_>, api: &Api) -> UploadTerms {
    let mut types = Vec::new();
    for word in &api.uploads.types {
        match FileType::of_media(word) {
            Some(kind) if types.contains(&kind) => {}
            Some(kind) => types.push(kind),
            None => {
                let message = format!("`{}` is no type of a file that can be let in", word.value);
                let known = FileType::ALL.iter().map(|kind| kind.media());
                let help = match did_you_mean(word, known) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => {
                        "the guide to uploads lists them; what is not among them is refused always".to_owned()
                    }
                };
                desk.error("upload-type-unknown", word.at, message, help);
            }
        }
    }
    // An error of the size is told where the plan is made.
    let max_bytes = api.uploads.max_bytes.as_ref().map_or(25 << 20, |size| size.0);
    UploadTerms { types, max_bytes, scanner: api.uploads.scan.is_some(), ..UploadTerms::default() }
}

/// Who scans files, and where files pass without.
pub(super) fn scan(desk: &mut Desk<'_>, api: &Api) -> Option<Scan> {
    let unscanned: Vec<_> =
        api.loosen.iter().filter(|loosen| loosen.allow.value == Rule::Unscanned).collect();
    let Some(words) = &api.uploads.scan else {
        for loosen in unscanned {
            let help = "remove it, or add  uploads: { scan: { clamav: { address: 127.0.0.1:3310 } } }";
            desk.error(
                "loosening-idle",
                loosen.at,
                "there is no scanner whose absence could be overlooked",
                help,
            );
        }
        return None;
    };
    // There is one word, and the other way is a loosening with a reason and an end.
    let WhenUnreachable::Refuse = words.when_unreachable;
    let word = &words.clamav.address;
    let address = address(word);
    if address.is_none() {
        let message = format!("`{}` is no address of a scanner", word.value);
        desk.error("scanner-address", word.at, message, "HOST:PORT, or the absolute path of a socket");
    }
    let max_bytes = api.uploads.max_bytes.as_ref().map_or(25 << 20, |size| size.0);
    let all = Box::from("*");
    let unscanned = unscanned.iter().flat_map(|loosen| {
        let named: Vec<Box<str>> = loosen.operations.iter().map(|id| id.value.as_str().into()).collect();
        if named.is_empty() { vec![Box::clone(&all)] } else { named }
    });
    Some(Scan { address: address?, sample_bytes: max_bytes.clamp(1, SAMPLE), unscanned: unscanned.collect() })
}

fn address(text: &str) -> Option<ScanAddress> {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    if path.starts_with('/') {
        return Some(ScanAddress::Unix(std::path::Path::new(path).into()));
    }
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty() && host.bytes().all(is_host)).then(|| ScanAddress::Tcp { host: host.into(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let shown = |text: &str| address(text).map(|address| address.to_string());
        assert_eq!(shown("127.0.0.1:3310").as_deref(), Some("127.0.0.1:3310"));
        assert_eq!(shown("[::1]:3310").as_deref(), Some("::1:3310"));
        assert_eq!(shown("/run/clamd.ctl").as_deref(), Some("unix:/run/clamd.ctl"));
        assert_eq!(shown("unix:/run/clamd.ctl").as_deref(), Some("unix:/run/clamd.ctl"));
        for wrong in [
            "",
            "clamd",
            "clamd:",
            "clamd:0",
            "clamd:99999",
            ":3310",
            "::1:3310",
            "http://clamd:3310",
            "run/clamd",
        ] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }
}
