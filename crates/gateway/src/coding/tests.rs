use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::Write;

const ALL: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];
const WIDE: Limits = Limits { bytes: 64 << 20, ratio: 1_000_000 };

fn encode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Brotli => {
            let mut out = Vec::new();
            let mut writer = ::brotli::CompressorWriter::new(&mut out, 4096, 5, 22);
            writer.write_all(bytes).unwrap();
            drop(writer);
            out
        }
        Coding::Zstd => compress_to_vec(bytes, CompressionLevel::Fastest),
    }
}

/// Decodes in pieces of `step` bytes into a buffer of `room`.
fn decode(
    coding: Coding,
    limits: Limits,
    input: &[u8],
    step: usize,
    room: usize,
) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(coding, limits);
    let (mut out, mut buffer) = (Vec::new(), vec![0; room]);
    for mut piece in input.chunks(step) {
        loop {
            match decoder.pull(&mut piece, &mut buffer)? {
                0 => break,
                made => out.extend_from_slice(&buffer[..made]),
            }
        }
        assert!(piece.is_empty());
    }
    decoder.finish().map(|()| out)
}

fn whole(coding: Coding, input: &[u8]) -> Result<Vec<u8>, DecodeError> {
    decode(coding, WIDE, input, input.len().max(1), 16 << 10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunking_changes_nothing(bytes in proptest::collection::vec(0u8..4, 0..20_000), step in 1usize..5000, room in 1usize..4000) {
        for coding in ALL {
            let coded = encode(coding, &bytes);
            prop_assert_eq!(decode(coding, WIDE, &coded, step, room).unwrap(), bytes.clone());
        }
    }

    #[test]
    fn bytes_of_any_kind_are_no_crash(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0usize..400, flip in any::<u8>()) {
        for coding in ALL {
            let _ = whole(coding, &bytes);
            let mut coded = encode(coding, &bytes);
            let place = at % coded.len();
            coded[place] ^= flip;
            let _ = whole(coding, &coded);
        }
        bytes.clear();
    }
}

#[test]
fn what_is_cut_short_or_goes_on_is_malformed() {
    let text = b"some text, some text, some other text".repeat(40);
    for coding in ALL {
        let coded = encode(coding, &text);
        assert_eq!(whole(coding, &coded).unwrap(), text);
        for end in 0..coded.len() {
            assert_eq!(whole(coding, &coded[..end]), Err(DecodeError::Malformed), "{coding:?} cut at {end}");
        }
        for tail in [&b"\0"[..], b"x", b"<html>", &coded[..coded.len() / 2]] {
            assert_eq!(
                whole(coding, &[&coded, tail].concat()),
                Err(DecodeError::Malformed),
                "{coding:?} {tail:?}"
            );
        }
    }
}

#[test]
fn members_and_frames_count_together() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let one = encode(coding, &[b'a'; 600]);
        assert_eq!(whole(coding, &one.repeat(3)).unwrap().len(), 1800);
        let limits = Limits { bytes: 1799, ..WIDE };
        let three = decode(coding, limits, &one.repeat(3), 7, 512);
        assert_eq!(three, Err(DecodeError::TooLarge), "{coding:?}");
    }
    // Brotli has no members: what comes behind its end is refused.
    let one = encode(Coding::Brotli, b"a");
    assert_eq!(whole(Coding::Brotli, &one.repeat(2)), Err(DecodeError::Malformed));
}

#[test]
fn the_ratio_counts_once_64_kib_have_come_out() {
    let limits = Limits { bytes: 64 << 20, ratio: 100 };
    for coding in ALL {
        let small = encode(coding, &vec![b'a'; 64 << 10]);
        assert!(small.len() < 600, "{coding:?} {}", small.len());
        assert_eq!(decode(coding, limits, &small, 100, 4096).unwrap().len(), 64 << 10);
        let large = encode(coding, &vec![b'a'; 8 << 20]);
        assert_eq!(decode(coding, limits, &large, 100, 4096), Err(DecodeError::TooLarge), "{coding:?}");
    }
}

/// CVE-2011-2716 and its kin: what a header says of a size is never allocated.
#[test]
fn sizes_that_are_told_are_not_believed() {
    let mut coded = encode(Coding::Gzip, b"abc");
    let at = coded.len() - 4;
    coded[at..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(whole(Coding::Gzip, &coded), Err(DecodeError::Malformed));
    // A window of 16 MiB, of 2 GiB, and a content of 2^60 bytes in one segment.
    for header in [
        &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 14 << 3, 1, 0, 0][..],
        &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0],
        &[0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0],
    ] {
        assert_eq!(whole(Coding::Zstd, header), Err(DecodeError::TooLarge), "{header:?}");
    }
    assert_eq!(
        whole(Coding::Zstd, &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 1, 0, 0]).unwrap(),
        b"",
        "8 MiB is allowed"
    );
}

#[test]
fn odd_forms_are_refused() {
    let gzip = encode(Coding::Gzip, b"abc");
    for (at, value) in [(0, 0x1e), (1, 0), (2, 7), (3, 0x20), (3, 0x80)] {
        let mut odd = gzip.clone();
        odd[at] = value;
        assert_eq!(whole(Coding::Gzip, &odd), Err(DecodeError::Malformed), "{at} {value}");
    }
    // A name without an end.
    let mut named = gzip.clone();
    named[3] = 8;
    named.splice(10..10, std::iter::repeat_n(b'n', 5000));
    assert_eq!(whole(Coding::Gzip, &named), Err(DecodeError::Malformed));
    // All of the header that RFC 1952 knows: extra field, name, comment, checksum.
    let mut full = vec![0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3, 2, 0, b'x', b'y', b'n', 0, b'c', 0];
    let mut crc = flate2::Crc::new();
    crc.update(&full);
    full.extend_from_slice(&(crc.sum() as u16).to_le_bytes());
    full.extend_from_slice(&gzip[10..]);
    assert_eq!(whole(Coding::Gzip, &full).unwrap(), b"abc");
    full[18] ^= 1;
    assert_eq!(whole(Coding::Gzip, &full), Err(DecodeError::Malformed));
    // The large window: the bits 0x11, then its own size.
    assert_eq!(whole(Coding::Brotli, &[0x11, 0x1e, 0x03]), Err(DecodeError::Malformed));
    // A skippable frame, a dictionary, the reserved bit, the reserved kind of block.
    for odd in [
        &[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0][..],
        &[0x28, 0xb5, 0x2f, 0xfd, 0x01, 0, 7, 1, 0, 0],
        &[0x28, 0xb5, 0x2f, 0xfd, 0x08, 0, 1, 0, 0],
        &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0, 7, 0, 0],
    ] {
        assert_eq!(whole(Coding::Zstd, odd), Err(DecodeError::Malformed), "{odd:?}");
    }
}

#[test]
fn one_layer_by_its_token() {
    assert_eq!(Coding::parse("GZIP"), Some(Coding::Gzip));
    assert_eq!(Coding::parse("br"), Some(Coding::Brotli));
    for token in ["", "gzip, gzip", "x-gzip", "deflate", "compress", "gzip ", "identity", "gzip,"] {
        assert_eq!(Coding::parse(token), None, "{token}");
    }
}

mod law {
    #![allow(clippy::disallowed_methods, reason = "a test")]
    use super::super as coding;

    include!("../../../../fuzz/laws/coding.rs");
}

#[test]
fn the_corpus_of_the_fuzzer() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/coding");
    let inputs: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| std::fs::read(e.unwrap().path()).unwrap()).collect();
    inputs.iter().for_each(|input| law::coded(input));
    assert!(inputs.len() >= 5);
}
