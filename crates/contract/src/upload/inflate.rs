//! Deflate, undone into nothing: what comes out is looked at and thrown away.

use super::read::{PAGE, Reader};
use super::{Checked, Rejected};
use flate2::{Decompress, FlushDecompress, Status};

/// How a stream ended.
pub(super) struct Inflated {
    /// Bytes read.
    pub(super) read: u64,
    /// Bytes that came out.
    pub(super) out: u64,
}

/// Inflates a range. `each` sees what comes out, and stops it by an error; what is longer than `most` is refused.
pub(super) fn inflate(
    reader: &mut Reader<'_>,
    (from, to): (u64, u64),
    zlib: bool,
    most: u64,
    mut each: impl FnMut(&[u8]) -> Checked,
) -> Checked<Inflated> {
    let mut state = Decompress::new(zlib);
    let mut page = vec![0; PAGE / 2];
    let mut at = from;
    loop {
        let left = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX);
        let input: &[u8] = if left == 0 { &[] } else { reader.some(at)? };
        let input = input.get(..left).unwrap_or(input);
        let (read, out) = (state.total_in(), state.total_out());
        let status = state
            .decompress(input, &mut page, FlushDecompress::None)
            .map_err(|_| Rejected::kind("deflate-broken"))?;
        let (read, out) = (state.total_in() - read, state.total_out() - out);
        at = at.saturating_add(read);
        if state.total_out() > most {
            return Err(Rejected::kind("inflates-too-far"));
        }
        each(page.get(..usize::try_from(out).unwrap_or(0)).unwrap_or_default())?;
        match status {
            Status::StreamEnd => return Ok(Inflated { read: at - from, out: state.total_out() }),
            _ if read == 0 && out == 0 => return Err(Rejected::kind("deflate-cut")),
            _ => {}
        }
    }
}
