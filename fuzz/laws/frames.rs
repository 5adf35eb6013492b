// What holds of WebSocket frames. Shared, by `include!`, by the fuzz target and by the replay of its corpus in
// `cargo test`; `Frame`, `FrameLimits`, `Op`, `Reader` and `write` are in scope.

/// The first byte says from which side they come and in pieces of which size they arrive.
pub(crate) fn frames(data: &[u8]) {
    let Some((&first, input)) = data.split_first() else { return };
    let masked = first & 1 == 1;
    let whole = read(masked, input, input.len().max(1));
    assert_eq!(whole, read(masked, input, usize::from(first >> 1) + 1), "in pieces");
    let (frames, end) = whole;
    let limits = FrameLimits::default();
    let mut message: Option<(Op, Vec<u8>)> = None;
    for frame in &frames {
        assert!(frame.payload.len() <= limits.frame);
        match frame.op {
            Op::Close | Op::Ping | Op::Pong => assert!(frame.fin && frame.payload.len() <= 125),
            Op::Continuation => message.as_mut().expect("one has begun").1.extend_from_slice(&frame.payload),
            op => assert!(message.replace((op, frame.payload.to_vec())).is_none(), "inside of another"),
        }
        if frame.fin && matches!(frame.op, Op::Continuation | Op::Text | Op::Binary) {
            let (op, bytes) = message.take().expect("it has begun");
            assert!(bytes.len() <= limits.message);
            assert!(op != Op::Text || std::str::from_utf8(&bytes).is_ok());
        }
    }
    if end.is_none() {
        // What was let through is let through by the next reader, whichever side it stands on.
        for mask in [None, Some([1, 2, 3, 4])] {
            let mut out = bytes::BytesMut::new();
            frames.iter().for_each(|frame| write(frame, mask, &mut out));
            assert_eq!(read(mask.is_some(), &out, out.len().max(1)), (frames.clone(), None));
        }
    }
}

/// The frames, and the close code of what is wrong after them.
fn read(masked: bool, input: &[u8], size: usize) -> (Vec<Frame>, Option<u16>) {
    let mut reader = Reader::new(masked, FrameLimits { rate: u32::MAX, ..FrameLimits::default() });
    let (mut buffer, mut frames) = (bytes::BytesMut::new(), Vec::new());
    for piece in input.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            match reader.next(&mut buffer, 0) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(code) => return (frames, Some(code)),
            }
        }
    }
    (frames, None)
}
