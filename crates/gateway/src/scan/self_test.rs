//! A scanner shows that it finds, that it does not give up silently, and that it takes files as long as ours.

use super::IN_ALL;
use super::clamd::{self, Reply, Source, Trouble};
use flate2::Crc;
use portcullis_core::time::Now;
use portcullis_egress::Door;
use portcullis_plan::api::Scan;
use tokio::time::timeout;

/// What a scanner says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) text: String,
    /// Days since its signatures were made, where it says so.
    pub(super) age_days: Option<u64>,
}

/// Runs all of it; `whole` also the long stream.
pub(super) async fn run(door: &Door, plan: &Scan, now: Now, whole: bool) -> Result<Version, &'static str> {
    let address = &plan.address;
    let asked = |source| async {
        match timeout(IN_ALL, clamd::scan(door, address, source)).await {
            Ok(answer) => answer,
            Err(_) => Err(Trouble::lasting("scanner-too-slow")),
        }
    };
    let text = timeout(IN_ALL, clamd::version(door, address)).await.map_err(|_| "scanner-too-slow")?;
    let text = text.map_err(|trouble| trouble.why)?;
    let (alone, deep) = (eicar(), nested(20));
    match asked(Source::Bytes(&alone)).await {
        Ok(Reply::Found(_)) => {}
        Ok(Reply::Clean) => return Err("eicar-not-found"),
        Err(trouble) => return Err(trouble.why),
    }
    // Deeper than its limits a daemon says that all is well, unless it is told to say otherwise.
    match asked(Source::Bytes(&deep)).await {
        Ok(Reply::Clean) => return Err("deep-archives-pass-unscanned: set AlertExceedsMax yes"),
        Ok(Reply::Found(_)) | Err(Trouble { doubt: false, .. }) => {}
        Err(trouble) => return Err(trouble.why),
    }
    if whole {
        match asked(Source::Zeros(plan.sample_bytes)).await {
            Ok(Reply::Clean) => {}
            Ok(Reply::Found(_)) => return Err("zeros-are-found: raise MaxScanSize and MaxFileSize"),
            Err(Trouble { why: "scanner-size-limit", .. }) => {
                return Err("stream-limit: raise StreamMaxLength");
            }
            Err(trouble) => return Err(trouble.why),
        }
    }
    let age_days =
        signatures(&text).map(|made| u64::try_from(now.secs().saturating_sub(made) / 86_400).unwrap_or(0));
    Ok(Version { text, age_days })
}

/// The text that every scanner knows; backwards, so that none finds it in this program.
fn eicar() -> Vec<u8> {
    let backwards = b"*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X";
    backwards.iter().rev().copied().collect()
}

/// It in so many archives, one in the other. Deflated: stored, its bytes would stand in the outermost for all to see, and
/// a daemon would find it without opening any.
fn nested(deep: usize) -> Vec<u8> {
    (0..deep)
        .fold(eicar(), |inner, level| archive(if level == 0 { "eicar.com" } else { "inner.zip" }, &inner))
}

/// An archive with one entry.
fn archive(name: &str, data: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(data);
    let packed = deflated(data);
    let four = |size: usize| u32::try_from(size).unwrap_or(0).to_le_bytes();
    let name_size = u16::try_from(name.len()).unwrap_or(0).to_le_bytes();
    let sums = [crc.sum().to_le_bytes(), four(packed.len()), four(data.len())].concat();
    // Version, no flags, deflated, no time, sums.
    let shared = [&[20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0x58][..], &sums, &name_size, &[0, 0]].concat();
    let local = [b"PK\x03\x04", &shared[..], name.as_bytes(), &packed].concat();
    let central = [b"PK\x01\x02\x14\0", &shared[..], &[0; 14], name.as_bytes()].concat();
    let end =
        [b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(), &four(central.len()), &four(local.len()), &[0, 0]];
    [local, central, end.concat()].concat()
}

/// One block of fixed codes (RFC 1951 § 3.2.6), literals only: a compressor would store what is as short as this.
fn deflated(data: &[u8]) -> Vec<u8> {
    let (mut out, mut bits) = (vec![0_u8], 0_usize);
    let mut put = |value: u32, width: u32| {
        // Codes are written from their highest bit, into bytes from the lowest.
        for at in (0..width).rev() {
            if bits == 8 {
                out.push(0);
                bits = 0;
            }
            if let Some(last) = out.last_mut() {
                *last |= u8::from(value >> at & 1 == 1) << bits;
            }
            bits += 1;
        }
    };
    // The last block, of kind 01 (lowest bit first).
    put(0b110, 3);
    for byte in data {
        match *byte {
            low @ 0..=143 => put(0x30 + u32::from(low), 8),
            high => put(0x190 + u32::from(high) - 144, 9),
        }
    }
    put(0, 7);
    out
}

/// `ClamAV 1.4.6/27500/Mon Nov 23 09:12:11 2026`: when the signatures were made, in seconds since 1970.
fn signatures(version: &str) -> Option<i64> {
    let mut words = version.split('/').nth(2)?.split_whitespace().skip(1);
    let month = words.next()?;
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = (1..).zip(months).find(|(_, name)| *name == month)?.0;
    let day: u8 = words.next()?.parse().ok()?;
    let time = words.next()?;
    let year: u16 = words.next()?.parse().ok()?;
    portcullis_core::time::rfc3339(&format!("{year:04}-{month:02}-{day:02}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_signatures_is_read() {
        assert_eq!(signatures("ClamAV 1.4.6/27500/Thu Jan  1 00:01:00 1970"), Some(60));
        assert_eq!(signatures("ClamAV 1.4.6"), None);
        assert_eq!(signatures("ClamAV 1.4.6/1/nonsense"), None);
    }

    #[test]
    fn the_archives_are_archives_to_our_own_reader() {
        use portcullis_contract::upload::{Declared, FileType, UploadRules, inspect};
        let rules =
            UploadRules { entries: vec![FileType::Txt], ..UploadRules::new(vec![FileType::Zip], 1 << 20) };
        let one = archive("a.txt", b"text");
        assert!(inspect(&rules, &one, Declared { media: None, file_name: None }).is_ok());
        let deep = inspect(&rules, &nested(2), Declared { media: None, file_name: None });
        assert_eq!(deep.unwrap_err().reason, "archive-in-archive");
        assert_eq!(eicar().len(), 68);
        let visible = |bytes: &[u8]| bytes.windows(20).any(|part| eicar().starts_with(part));
        assert!(!visible(&nested(1)) && !visible(&nested(20)));
    }
}
