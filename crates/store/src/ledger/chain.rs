//! Hashes and statements of the ledger. Pure.

use super::Checkpoint;
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use std::fmt::Write as _;

/// SHA-256.
pub type Hash = [u8; 32];

/// What stands before the first entry: it ties the chain to its ledger.
pub fn genesis(ledger: &[u8; 16]) -> Hash {
    sha256(&[b"portcullis-ledger-v1\n", ledger])
}

/// The hash of an entry: over that of the one before it, and over its text.
pub fn next(previous: &Hash, entry: &str) -> Hash {
    sha256(&[previous, entry.as_bytes()])
}

/// The number that an entry says it has.
pub fn number(entry: &str) -> Option<i64> {
    let rest = entry.strip_prefix("{\"seq\":")?;
    rest.split_once(',')?.0.parse().ok()
}

impl Checkpoint {
    /// What is signed: six lines of text.
    pub fn statement(&self) -> String {
        format!(
            "portcullis-checkpoint-v1\n{}\n{}\n{}\n{}\n{}\n",
            hex(&self.ledger),
            self.seq,
            hex(&self.hash),
            self.at,
            self.previous,
        )
    }

    /// Whether the signature is by this Ed25519 key.
    pub fn is_signed_by(&self, public: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, public).verify(self.statement().as_bytes(), &self.signature).is_ok()
    }

    /// One line of JSON, as checkpoints are shipped.
    pub fn line(&self) -> String {
        format!(
            "{{\"type\":\"portcullis.ledger.checkpoint\",\"ledger\":\"{}\",\"seq\":{},\"hash\":\"{}\",\"at\":{},\
             \"previous\":{},\"key\":\"{}\",\"signature\":\"{}\"}}",
            hex(&self.ledger),
            self.seq,
            hex(&self.hash),
            self.at,
            self.previous,
            self.key,
            hex(&self.signature),
        )
    }

    /// A line that [`Checkpoint::line`] wrote.
    pub fn parse(line: &str) -> Option<Self> {
        let rest = line.trim_end().strip_prefix("{\"type\":\"portcullis.ledger.checkpoint\",")?;
        let mut members = rest.strip_suffix('}')?.split(',').map(|member| {
            let (name, value) = member.split_once(':')?;
            Some((name.trim_matches('"'), value.trim_matches('"')))
        });
        let mut take = |name: &str| {
            let (found, value) = members.next()??;
            (found == name).then_some(value)
        };
        let checkpoint = Self {
            ledger: unhex(take("ledger")?)?.try_into().ok()?,
            seq: take("seq")?.parse().ok()?,
            hash: unhex(take("hash")?)?.try_into().ok()?,
            at: take("at")?.parse().ok()?,
            previous: take("previous")?.parse().ok()?,
            key: take("key")?.to_owned(),
            signature: unhex(take("signature")?)?,
        };
        // What is written differently is not ours.
        (checkpoint.line() == line.trim_end()).then_some(checkpoint)
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|d| d.len().is_multiple_of(2))?;
    digits.chunks_exact(2).map(|pair| Some(pair.first()? << 4 | pair.last()?)).collect()
}

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_checkpoints_come_back_as_they_went() {
        let checkpoint = Checkpoint {
            ledger: [7; 16],
            seq: 41,
            hash: [9; 32],
            at: 1_770_000_000,
            previous: 12,
            key: "k1".to_owned(),
            signature: vec![3; 64],
        };
        let line = checkpoint.line();
        assert_eq!(Checkpoint::parse(&line), Some(checkpoint.clone()));
        assert_eq!(Checkpoint::parse(&format!("{line}\n")), Some(checkpoint));
        for bad in
            ["", "{}", &line.replace("41", "4x"), &line.replace("\"seq\"", "\"sea\""), &line.to_uppercase()]
        {
            assert_eq!(Checkpoint::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn known_answers() {
        // sha256sum over the same bytes says the same.
        assert_eq!(
            hex(&genesis(&[0; 16])),
            hex(&sha256(&[b"portcullis-ledger-v1\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"]))
        );
        assert_eq!(
            hex(&sha256(&[b"abc"])),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_ne!(next(&[0; 32], "a"), next(&[1; 32], "a"));
        assert_eq!(number("{\"seq\":12,\"at\":3}"), Some(12));
        for bad in ["", "{\"seq\":12", "{\"at\":12,", "{ \"seq\":12,"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
