// What holds for content codings. Shared, by `include!`, by the fuzz target and by the replay of its corpus; `coding` is
// the module that it is about.

use coding::{Coding, DecodeError, Decoder, Limits};
use std::io::Read;

/// Which coding, the size of pieces, then the coded bytes.
pub(crate) fn coded(data: &[u8]) {
    let [which, step, body @ ..] = data else { return };
    let coding = match which % 3 {
        0 => Coding::Gzip,
        1 => Coding::Brotli,
        _ => Coding::Zstd,
    };
    let limits = Limits { bytes: 1 << 20, ratio: 100 };
    let whole = decode(coding, limits, body, body.len().max(1), 64 << 10);
    let pieces = decode(coding, limits, body, usize::from(*step).max(1), 1 + usize::from(*step) * 16);
    match (&whole, &pieces) {
        // Where in a piece a bound or a fault is met first depends on the pieces, whether one is met does not.
        (Err(_), Err(_)) => {}
        _ => assert_eq!(whole, pieces, "pieces change nothing"),
    }
    let Ok(out) = whole else { return };
    assert!(out.len() <= 1 << 20 && (out.len() <= 64 << 10 || out.len() <= 100 * body.len()));
    if coding == Coding::Gzip {
        let mut theirs = Vec::new();
        let read = flate2::read::MultiGzDecoder::new(body).read_to_end(&mut theirs);
        assert!(read.is_ok() && theirs == out, "flate2 reads another text");
    }
}

fn decode(
    coding: Coding,
    limits: Limits,
    body: &[u8],
    step: usize,
    room: usize,
) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(coding, limits);
    let (mut out, mut buffer) = (Vec::new(), vec![0; room]);
    for mut piece in body.chunks(step) {
        loop {
            match decoder.pull(&mut piece, &mut buffer)? {
                0 => break,
                made => out.extend_from_slice(buffer.get(..made).unwrap_or_default()),
            }
        }
        assert!(piece.is_empty(), "nothing is left behind");
    }
    decoder.finish().map(|()| out)
}
