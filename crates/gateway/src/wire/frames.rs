//! WebSocket frames (RFC 6455 §§ 5, 7): read strictly, written anew.
//!
//! Pure: bytes in, frames out, the time passed in.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Bounds of one direction.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    /// Payload of one frame.
    pub frame: usize,
    /// Payload of one message.
    pub message: usize,
    /// Messages in one second.
    pub rate: u32,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self { frame: 64 << 10, message: 256 << 10, rate: 100 }
    }
}

/// Kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// A frame, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) op: Op,
    pub(crate) fin: bool,
    pub(crate) payload: Bytes,
}

/// Close codes that this program sends.
pub(crate) mod code {
    pub(crate) const GOING_AWAY: u16 = 1001;
    pub(crate) const PROTOCOL: u16 = 1002;
    pub(crate) const NOT_TEXT: u16 = 1007;
    pub(crate) const POLICY: u16 = 1008;
    pub(crate) const TOO_LARGE: u16 = 1009;
}

/// Reads one direction of a connection.
#[derive(Debug)]
pub(crate) struct Reader {
    masked: bool,
    limits: FrameLimits,
    /// The message that is not complete: whether it is text, and its bytes so far.
    message: Option<(bool, usize)>,
    /// The beginning of a character that is not complete.
    partial: [u8; 4],
    partial_len: usize,
    second: u64,
    in_second: u32,
}

impl Reader {
    /// `masked`: from a client (masks are required), else from a server (masks are refused).
    pub(crate) const fn new(masked: bool, limits: FrameLimits) -> Self {
        Self { masked, limits, message: None, partial: [0; 4], partial_len: 0, second: 0, in_second: 0 }
    }

    /// The next frame, if it is complete; `second` is the present one on any scale.
    ///
    /// # Errors
    /// The close code for what is wrong.
    pub(crate) fn next(&mut self, buf: &mut BytesMut, second: u64) -> Result<Option<Frame>, u16> {
        let [first, length, ..] = **buf else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(code::PROTOCOL);
        }
        let fin = first & 0x80 != 0;
        let op = match first & 0x0f {
            0 => Op::Continuation,
            1 => Op::Text,
            2 => Op::Binary,
            8 => Op::Close,
            9 => Op::Ping,
            10 => Op::Pong,
            _ => return Err(code::PROTOCOL),
        };
        if (length & 0x80 != 0) != self.masked {
            return Err(code::PROTOCOL);
        }
        let (head, size) = match length & 0x7f {
            126 => {
                let Some(&[a, b]) = buf.get(2..4) else { return Ok(None) };
                (4, u64::from(u16::from_be_bytes([a, b])))
            }
            127 => {
                let Some(bytes) = buf.get(2..10).and_then(|bytes| bytes.first_chunk::<8>()) else {
                    return Ok(None);
                };
                (10, u64::from_be_bytes(*bytes))
            }
            short => (2, u64::from(short)),
        };
        // The shortest form is the only one (§ 5.2).
        if (head == 4 && size < 126) || (head == 10 && size <= 0xffff) {
            return Err(code::PROTOCOL);
        }
        let control = matches!(op, Op::Close | Op::Ping | Op::Pong);
        if control && (!fin || size > 125) {
            return Err(code::PROTOCOL);
        }
        let size =
            usize::try_from(size).ok().filter(|&size| size <= self.limits.frame).ok_or(code::TOO_LARGE)?;
        if !control {
            self.fits(op, size)?;
        }
        let mask_at = head;
        let head = head + if self.masked { 4 } else { 0 };
        if buf.len() < head + size {
            return Ok(None);
        }
        let mask: Option<[u8; 4]> = if self.masked {
            buf.get(mask_at..).and_then(|bytes| bytes.first_chunk()).copied()
        } else {
            None
        };
        buf.advance(head);
        let mut payload = buf.split_to(size);
        if let Some(mask) = mask {
            apply(mask, &mut payload);
        }
        let frame = Frame { op, fin, payload: payload.freeze() };
        self.judge(&frame, second)?;
        Ok(Some(frame))
    }

    /// Whether a data frame may come now, before its payload is waited for.
    fn fits(&self, op: Op, size: usize) -> Result<(), u16> {
        let sofar = match (op, self.message) {
            (Op::Continuation, Some((_, sofar))) => sofar,
            (Op::Text | Op::Binary, None) => 0,
            _ => return Err(code::PROTOCOL),
        };
        if sofar + size > self.limits.message { Err(code::TOO_LARGE) } else { Ok(()) }
    }

    fn judge(&mut self, frame: &Frame, second: u64) -> Result<(), u16> {
        match frame.op {
            Op::Ping | Op::Pong => return self.count(second),
            Op::Close => return close_fits(&frame.payload),
            Op::Text | Op::Binary => self.message = Some((frame.op == Op::Text, 0)),
            Op::Continuation => {}
        }
        let Some((text, sofar)) = &mut self.message else { return Err(code::PROTOCOL) };
        *sofar += frame.payload.len();
        if *text {
            self.utf8(&frame.payload, frame.fin)?;
        }
        if frame.fin {
            self.message = None;
            self.count(second)?;
        }
        Ok(())
    }

    fn count(&mut self, second: u64) -> Result<(), u16> {
        if self.second != second {
            (self.second, self.in_second) = (second, 0);
        }
        self.in_second += 1;
        if self.in_second > self.limits.rate { Err(code::POLICY) } else { Ok(()) }
    }

    /// Text is UTF-8, also where a character is cut by frames.
    fn utf8(&mut self, mut data: &[u8], fin: bool) -> Result<(), u16> {
        while self.partial_len > 0 {
            let Some((&byte, rest)) = data.split_first() else { break };
            data = rest;
            if let Some(slot) = self.partial.get_mut(self.partial_len) {
                *slot = byte;
            }
            self.partial_len += 1;
            match std::str::from_utf8(self.partial.get(..self.partial_len).unwrap_or_default()) {
                Ok(_) => self.partial_len = 0,
                Err(error) if error.error_len().is_some() || self.partial_len == 4 => {
                    return Err(code::NOT_TEXT);
                }
                Err(_) => {}
            }
        }
        if let Err(error) = std::str::from_utf8(data) {
            if error.error_len().is_some() {
                return Err(code::NOT_TEXT);
            }
            let rest = data.get(error.valid_up_to()..).unwrap_or_default();
            if let Some(slot) = self.partial.get_mut(..rest.len()) {
                slot.copy_from_slice(rest);
            }
            self.partial_len = rest.len();
        }
        if fin && self.partial_len > 0 { Err(code::NOT_TEXT) } else { Ok(()) }
    }
}

fn close_fits(payload: &[u8]) -> Result<(), u16> {
    match payload {
        [] => Ok(()),
        [high, low, reason @ ..] => {
            let fine = matches!(u16::from_be_bytes([*high, *low]), 1000..=1003 | 1007..=1014 | 3000..=4999);
            match (fine, std::str::from_utf8(reason)) {
                (true, Ok(_)) => Ok(()),
                (true, Err(_)) => Err(code::NOT_TEXT),
                (false, _) => Err(code::PROTOCOL),
            }
        }
        _ => Err(code::PROTOCOL),
    }
}

/// Writes a frame; masked towards a server.
pub(crate) fn write(frame: &Frame, mask: Option<[u8; 4]>, out: &mut BytesMut) {
    out.put_u8(if frame.fin { 0x80 } else { 0 } | frame.op as u8);
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let size = frame.payload.len();
    match (u8::try_from(size), u16::try_from(size)) {
        (Ok(short @ 0..=125), _) => out.put_u8(bit | short),
        (_, Ok(middle)) => {
            out.put_u8(bit | 126);
            out.put_u16(middle);
        }
        _ => {
            out.put_u8(bit | 127);
            out.put_u64(size as u64);
        }
    }
    if let Some(mask) = mask {
        out.put_slice(&mask);
    }
    let start = out.len();
    out.put_slice(&frame.payload);
    if let (Some(mask), Some(payload)) = (mask, out.get_mut(start..)) {
        apply(mask, payload);
    }
}

/// A close frame without a reason.
pub(crate) fn close(code: u16) -> Frame {
    Frame { op: Op::Close, fin: true, payload: Bytes::copy_from_slice(&code.to_be_bytes()) }
}

fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    mod laws {
        use crate::wire::frames::{Frame, FrameLimits, Op, Reader, write};
        include!("../../../../fuzz/laws/frames.rs");
    }

    /// What the fuzzer has kept.
    #[test]
    fn corpus() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/frames");
        for entry in std::fs::read_dir(folder).unwrap() {
            laws::frames(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }

    fn read(masked: bool, bytes: &[u8]) -> Result<Vec<Frame>, u16> {
        let mut reader = Reader::new(masked, FrameLimits::default());
        let (mut buf, mut frames) = (BytesMut::from(bytes), Vec::new());
        while let Some(frame) = reader.next(&mut buf, 0)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn server(op: u8, payload: &[u8]) -> Vec<u8> {
        [&[op, u8::try_from(payload.len()).unwrap()], payload].concat()
    }

    #[test]
    fn what_is_refused() {
        let cases: &[(&str, Vec<u8>, u16)] = &[
            ("rsv", server(0xc1, b"a"), 1002),
            ("opcode", server(0x83, b"a"), 1002),
            ("mask from a server", vec![0x81, 0x81, 0, 0, 0, 0, b'a'], 1002),
            ("continuation first", server(0x80, b"a"), 1002),
            ("text inside of a message", [server(0x01, b"a"), server(0x81, b"a")].concat(), 1002),
            ("fragmented ping", server(0x09, b"a"), 1002),
            ("long ping", [vec![0x89, 126, 0, 126], vec![0; 126]].concat(), 1002),
            ("long form", vec![0x81, 126, 0, 1, b'a'], 1002),
            ("longest form", [vec![0x81, 127], 65535u64.to_be_bytes().to_vec()].concat(), 1002),
            ("large frame", [vec![0x82, 127], 65537u64.to_be_bytes().to_vec()].concat(), 1009),
            ("high bit of length", [vec![0x82, 127], u64::MAX.to_be_bytes().to_vec()].concat(), 1009),
            ("not text", server(0x81, b"\xff"), 1007),
            ("cut text", server(0x81, b"\xe2\x82"), 1007),
            ("overlong text", server(0x81, b"\xc0\xaf"), 1007),
            ("close of one byte", server(0x88, b"\x03"), 1002),
            ("close 1005", server(0x88, &1005u16.to_be_bytes()), 1002),
            ("close 999", server(0x88, &999u16.to_be_bytes()), 1002),
            ("close reason", server(0x88, b"\x03\xe8\xff"), 1007),
        ];
        for (name, bytes, code) in cases {
            assert_eq!(read(false, bytes), Err(*code), "{name}");
        }
        assert_eq!(read(true, &server(0x81, b"a")), Err(1002), "no mask from a client");
    }

    #[test]
    fn messages_are_bounded_and_counted() {
        let frame = Frame { op: Op::Binary, fin: false, payload: vec![0; 65536].into() };
        let mut bytes = BytesMut::new();
        write(&frame, None, &mut bytes);
        for _ in 0..3 {
            write(&Frame { op: Op::Continuation, ..frame.clone() }, None, &mut bytes);
        }
        assert_eq!(read(false, &bytes).unwrap().len(), 4);
        write(
            &Frame { op: Op::Continuation, fin: true, payload: Bytes::from_static(b"x") },
            None,
            &mut bytes,
        );
        assert_eq!(read(false, &bytes), Err(1009));
        assert_eq!(read(false, &server(0x81, b"a").repeat(100)).unwrap().len(), 100);
        assert_eq!(read(false, &server(0x81, b"a").repeat(101)), Err(1008));
        assert_eq!(read(false, &server(0x89, b"a").repeat(101)), Err(1008), "pings count");
    }

    #[test]
    fn text_may_be_cut_inside_of_a_character() {
        let bytes =
            [server(0x01, b"a\xe2"), server(0x89, b""), server(0x00, b"\x82"), server(0x80, b"\xac!")]
                .concat();
        assert_eq!(read(false, &bytes).unwrap().len(), 4);
        let bytes = [server(0x01, b"a\xe2"), server(0x80, b"x")].concat();
        assert_eq!(read(false, &bytes), Err(1007));
    }

    proptest! {
        #[test]
        fn written_frames_are_read(
            payload in prop::collection::vec(any::<u8>(), 0..70_000),
            mask in prop::option::of(any::<[u8; 4]>()),
            cut in any::<prop::sample::Index>(),
        ) {
            let fits = payload.len() <= 65536;
            let frame = Frame { op: Op::Binary, fin: true, payload: payload.into() };
            let mut all = BytesMut::new();
            write(&frame, mask, &mut all);
            let mut reader = Reader::new(mask.is_some(), FrameLimits::default());
            let mut buf = BytesMut::from(&all[..cut.index(all.len())]);
            let early = reader.next(&mut buf, 0);
            let rest = all.len() - cut.index(all.len());
            if !fits { prop_assert!(early.is_err() || buf.len() < 10); return Ok(()); }
            prop_assert_eq!(early, Ok(None));
            buf.extend_from_slice(&all[all.len() - rest..]);
            prop_assert_eq!(reader.next(&mut buf, 0), Ok(Some(frame)));
            prop_assert!(buf.is_empty());
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..300), masked: bool) {
            let _ = read(masked, &bytes);
        }
    }
}
