//! Streams, released event by event (§ 15.4): server-sent events, JSON lines, JSON text sequences.
//!
//! Nothing is held beyond one event. What leaves is written anew: of an event stream `event`, `id`, `retry` and `data`,
//! and comments without their text, for they keep connections alive and say nothing to anybody.

use super::Kept;
use crate::body::Family;
use crate::json::{self, Bounds, Builder, Tape};
use crate::schema::CompiledSchema;

/// Bytes of one event.
pub const MOST_EVENT: usize = 256 << 10;
/// Bytes of the `id` and `event` of one event.
const MOST_FIELD: usize = 256;

/// How the events of a stream follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `text/event-stream` (HTML § 9.2).
    Events,
    /// A JSON text on each line.
    Lines,
    /// RFC 7464.
    Sequence,
}

impl Framing {
    /// That of a media type; nothing for what is no stream.
    pub const fn of(family: Family) -> Option<Self> {
        match family {
            Family::EventStream => Some(Self::Events),
            Family::NdJson => Some(Self::Lines),
            Family::JsonSeq => Some(Self::Sequence),
            _ => None,
        }
    }
}

/// What is done with an event that does not fit its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Undeclared members are dropped; other violations are counted.
    Filter,
    /// Any violation ends the stream.
    Enforce,
    /// Nothing is changed; violations are counted.
    Report,
}

/// Why a stream ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// An event is larger than [`MOST_EVENT`].
    TooLarge,
    /// An event is not of the stream's form.
    Malformed,
    /// An event does not fit its schema, or nothing of it is declared.
    Violation,
}

impl StreamEnd {
    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TooLarge => "event-too-large",
            Self::Malformed => "event-unreadable",
            Self::Violation => "event-undeclared",
        }
    }
}

/// What was seen on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that left.
    pub events: u64,
    /// Members and items that were dropped.
    pub dropped: u32,
    /// Names of dropped members, as in [`Kept::names`].
    pub names: Vec<String>,
    /// Events that did not fit in another way.
    pub violations: u32,
}

/// Releases one stream.
#[derive(Debug)]
pub struct Streamer {
    framing: Framing,
    /// Of each item; without one any item of the form passes.
    schema: Option<CompiledSchema>,
    strictness: Strictness,
    key: [u64; 2],
    /// The event that is not complete: what came of its line or record.
    line: Vec<u8>,
    event: Event,
    /// The last byte was a CR: an LF after it ends no second line.
    after_cr: bool,
    begun: bool,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Event {
    data: Option<Vec<u8>>,
    name: Vec<u8>,
    id: Option<Vec<u8>>,
    retry: Vec<u8>,
    comment: bool,
}

impl Streamer {
    /// `key` is that of [`json::scan`].
    pub fn new(
        framing: Framing,
        schema: Option<CompiledSchema>,
        strictness: Strictness,
        key: [u64; 2],
    ) -> Self {
        Self {
            framing,
            schema,
            strictness,
            key,
            line: Vec::new(),
            event: Event::default(),
            after_cr: false,
            begun: false,
            tally: Tally::default(),
        }
    }

    /// What was seen so far.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Takes the next bytes; what may leave is appended to `out`.
    ///
    /// # Errors
    /// See [`StreamEnd`]; the stream has ended then, and what stands in `out` may still leave.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), StreamEnd> {
        match self.framing {
            Framing::Events => self.events(bytes, out),
            Framing::Lines => self.lines(bytes, out),
            Framing::Sequence => self.sequence(bytes, out),
        }
    }

    /// The stream has ended. An event that is not complete is none (HTML § 9.2.6); a last line or record is one.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), StreamEnd> {
        match self.framing {
            Framing::Events => Ok(()),
            Framing::Lines => self.json_line(out),
            Framing::Sequence => self.record(out),
        }
    }

    fn events(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), StreamEnd> {
        for &byte in bytes {
            if byte == b'\n' && std::mem::take(&mut self.after_cr) {
                continue;
            }
            self.after_cr = byte == b'\r';
            if matches!(byte, b'\n' | b'\r') {
                let line = std::mem::take(&mut self.line);
                self.field(&line, out)?;
                self.line = line;
                self.line.clear();
                continue;
            }
            self.line.push(byte);
            let held = self.line.len() + self.event.data.as_ref().map_or(0, Vec::len);
            if held > MOST_EVENT {
                return Err(StreamEnd::TooLarge);
            }
        }
        Ok(())
    }

    /// One line of an event stream.
    fn field(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), StreamEnd> {
        let line = match std::mem::replace(&mut self.begun, true) {
            true => line,
            false => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
        };
        if line.is_empty() {
            return self.dispatch(out);
        }
        let (name, value) = match line.iter().position(|b| *b == b':') {
            Some(at) => {
                let value = line.get(at + 1..).unwrap_or_default();
                (line.get(..at).unwrap_or_default(), value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match name {
            b"" => self.event.comment = true,
            b"data" => match &mut self.event.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.event.data = Some(value.to_vec()),
            },
            b"event" | b"id" => {
                let plain = |b: &u8| *b >= 0x20 && *b != 0x7f;
                if value.len() > MOST_FIELD || !value.iter().all(plain) || std::str::from_utf8(value).is_err()
                {
                    return Err(StreamEnd::Malformed);
                }
                match name {
                    b"event" => self.event.name = value.to_vec(),
                    _ => self.event.id = Some(value.to_vec()),
                }
            }
            b"retry" if !value.is_empty() && value.len() < 10 && value.iter().all(u8::is_ascii_digit) => {
                self.event.retry = value.to_vec();
            }
            // A field that nobody knows is ignored by every reader, and may hold anything.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, out: &mut Vec<u8>) -> Result<(), StreamEnd> {
        let event = std::mem::take(&mut self.event);
        let data = match &event.data {
            Some(data) => Some(self.data(data)?),
            None => None,
        };
        let before = out.len();
        let mut put = |name: &[u8], value: &[u8]| {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.push(b'\n');
        };
        if !event.name.is_empty() && data.is_some() {
            put(b"event", &event.name);
        }
        if let Some(id) = &event.id {
            put(b"id", id);
        }
        if !event.retry.is_empty() {
            put(b"retry", &event.retry);
        }
        for line in data.iter().flat_map(|data| data.split(|b| *b == b'\n')) {
            put(b"data", line);
        }
        if out.len() == before && event.comment {
            out.extend_from_slice(b":\n");
        }
        if out.len() > before {
            out.push(b'\n');
        }
        self.tally.events += u64::from(data.is_some());
        Ok(())
    }

    /// The data of one event: text where the schema takes text, else JSON.
    fn data(&mut self, data: &[u8]) -> Result<Vec<u8>, StreamEnd> {
        let text = std::str::from_utf8(data).map_err(|_| StreamEnd::Malformed)?;
        let Some(schema) = &self.schema else { return Ok(data.to_vec()) };
        if schema.is_valid(&Builder::one_string(text)) {
            return Ok(data.to_vec());
        }
        let mut out = Vec::with_capacity(data.len());
        self.json(data, &mut out)?;
        Ok(out)
    }

    fn lines(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), StreamEnd> {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|b| *b == b'\n') {
            self.hold(rest.get(..at).unwrap_or_default())?;
            rest = rest.get(at + 1..).unwrap_or_default();
            self.json_line(out)?;
        }
        self.hold(rest)
    }

    fn json_line(&mut self, out: &mut Vec<u8>) -> Result<(), StreamEnd> {
        let line = std::mem::take(&mut self.line);
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        self.json(&line, out)?;
        out.push(b'\n');
        self.tally.events += 1;
        Ok(())
    }

    fn sequence(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), StreamEnd> {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|b| *b == RECORD) {
            self.hold(rest.get(..at).unwrap_or_default())?;
            rest = rest.get(at + 1..).unwrap_or_default();
            self.record(out)?;
            self.begun = true;
        }
        self.hold(rest)?;
        // A record ends with a line feed. One that stands inside it is rarely the last byte that came, and then the
        // text does not scan yet: it is held on.
        if self.line.last() == Some(&b'\n') && json::scan(self.line.as_slice(), &bounds(), self.key).is_ok() {
            self.record(out)?;
        }
        Ok(())
    }

    fn record(&mut self, out: &mut Vec<u8>) -> Result<(), StreamEnd> {
        let record = std::mem::take(&mut self.line);
        if record.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        if !self.begun {
            return Err(StreamEnd::Malformed);
        }
        out.push(RECORD);
        let before = out.len();
        if let Err(end) = self.json(&record, out) {
            out.truncate(before - 1);
            return Err(end);
        }
        out.push(b'\n');
        self.tally.events += 1;
        Ok(())
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), StreamEnd> {
        if self.line.len() + bytes.len() > MOST_EVENT {
            return Err(StreamEnd::TooLarge);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn json(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), StreamEnd> {
        let tape = json::scan(text, &bounds(), self.key).map_err(|_| StreamEnd::Malformed)?;
        let Some(schema) = &self.schema else {
            json::write(&tape, None, out);
            return Ok(());
        };
        let kept = released(schema, &tape, self.strictness)?;
        self.tally.dropped = self.tally.dropped.saturating_add(kept.dropped);
        self.tally.violations = self.tally.violations.saturating_add(u32::from(kept.violations > 0));
        for name in &kept.names {
            if self.tally.names.len() < super::MOST_NAMES && !self.tally.names.contains(name) {
                self.tally.names.push(name.clone());
            }
        }
        let keep = if self.strictness == Strictness::Report { None } else { kept.keep.as_ref() };
        json::write(&tape, keep, out);
        Ok(())
    }
}

/// What of one JSON text may leave.
fn released(schema: &CompiledSchema, tape: &Tape, strictness: Strictness) -> Result<Kept, StreamEnd> {
    if strictness == Strictness::Enforce && !schema.is_valid(tape) {
        return Err(StreamEnd::Violation);
    }
    let kept = schema.keep(tape);
    if kept.nothing_left && strictness != Strictness::Report {
        return Err(StreamEnd::Violation);
    }
    Ok(kept)
}

/// RFC 7464 § 2.2.
const RECORD: u8 = 0x1e;

fn bounds() -> Bounds {
    Bounds::default().capped()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::document::{self, Bundle, Version, parse};
    use crate::schema::{Compiler, Options};

    fn schema(text: &str) -> CompiledSchema {
        let mut bundle = Bundle::default();
        bundle.add(0, "s.yaml", parse(0, "s.yaml", text.as_bytes(), &document::Bounds::default()).unwrap());
        let node = bundle.root().unwrap();
        let mut compiler = Compiler::new(&bundle, Version::V30, Options::default());
        compiler.response(node).unwrap()
    }

    const ITEM: &str =
        "{type: object, required: [id], properties: {id: {type: integer}, name: {type: string}}}";

    /// What leaves of a stream that comes in pieces of `step` bytes, and how it ends.
    fn run(
        framing: Framing,
        schema_text: &str,
        strictness: Strictness,
        text: &[u8],
        step: usize,
    ) -> (String, Result<(), StreamEnd>, Tally) {
        let mut streamer = Streamer::new(framing, Some(schema(schema_text)), strictness, [1, 2]);
        let mut out = Vec::new();
        let mut end = Ok(());
        for piece in text.chunks(step) {
            end = streamer.feed(piece, &mut out);
            if end.is_err() {
                break;
            }
        }
        if end.is_ok() {
            end = streamer.finish(&mut out);
        }
        (String::from_utf8(out).unwrap(), end, streamer.tally().clone())
    }

    #[test]
    fn events_are_filtered_and_written_anew() {
        let given = "\u{feff}: hello from 10.0.0.7\n\nevent: order\r\nid: 7\r\ndata: {\"id\":1,\r\ndata:  \"password_hash\":\"x\"}\r\n\r\n\
                     retry: 3000\rx-debug: secret\rdata:{\"id\":2,\"name\":\"a\"}\r\rdata: {\"id\":3";
        let expected =
            ":\n\nevent: order\nid: 7\ndata: {\"id\":1}\n\nretry: 3000\ndata: {\"id\":2,\"name\":\"a\"}\n\n";
        for step in [1, 2, 7, 1000] {
            let (out, end, tally) = run(Framing::Events, ITEM, Strictness::Filter, given.as_bytes(), step);
            assert_eq!((out.as_str(), end), (expected, Ok(())), "{step}");
            assert_eq!((tally.events, tally.dropped, tally.names), (2, 1, vec!["password_hash".to_owned()]));
        }
    }

    #[test]
    fn lines_and_sequences_are_filtered() {
        let lines = "{\"id\":1,\"x\":[1]}\r\n\n {\"id\":2}\n{\"id\":3,\"y\":0}";
        let sequence = "\u{1e}{\"id\":1,\"x\":[1]}\n\u{1e}{\"id\":\n2}\n\u{1e}{\"id\":3,\"y\":0}\n";
        for step in [1, 3, 1000] {
            let (out, end, tally) = run(Framing::Lines, ITEM, Strictness::Filter, lines.as_bytes(), step);
            assert_eq!((out.as_str(), end), ("{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n", Ok(())));
            assert_eq!((tally.events, tally.dropped), (3, 2));
            let (out, end, tally) =
                run(Framing::Sequence, ITEM, Strictness::Filter, sequence.as_bytes(), step);
            assert_eq!(
                (out.as_str(), end),
                ("\u{1e}{\"id\":1}\n\u{1e}{\"id\":2}\n\u{1e}{\"id\":3}\n", Ok(())),
                "{step}"
            );
            assert_eq!((tally.events, tally.dropped), (3, 2));
        }
    }

    #[test]
    fn a_sequence_leaves_each_record_when_it_ends() {
        let mut streamer = Streamer::new(Framing::Sequence, Some(schema(ITEM)), Strictness::Filter, [1, 2]);
        let mut out = Vec::new();
        streamer.feed(b"\x1e{\"id\":1}\n", &mut out).unwrap();
        assert_eq!(out, b"\x1e{\"id\":1}\n");
    }

    #[test]
    fn an_event_that_cannot_be_released_ends_the_stream() {
        let good = "data: {\"id\":1}\n\n";
        for (bad, why) in [
            ("data: at com.a.B.c(B.java:1)\n\n", StreamEnd::Malformed),
            ("data: {\"id\":1,\"id\":2}\n\n", StreamEnd::Malformed),
            ("data: [1]\n\n", StreamEnd::Violation),
            ("data: \"text\"\n\n", StreamEnd::Violation),
            ("data: {\"password_hash\":\"x\"}\n\n", StreamEnd::Violation),
            ("id: a\u{1}b\n\n", StreamEnd::Malformed),
            (&*format!("event: {}\n", "x".repeat(300)), StreamEnd::Malformed),
            (&*"x".repeat(MOST_EVENT + 1), StreamEnd::TooLarge),
            (&*"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(10_000), StreamEnd::TooLarge),
        ] {
            let text = format!("{good}{bad}");
            let (out, end, _) = run(Framing::Events, ITEM, Strictness::Filter, text.as_bytes(), 4096);
            assert_eq!((out.as_str(), end), (good, Err(why)), "{:.40}", bad);
        }
        let (out, end, _) =
            run(Framing::Events, ITEM, Strictness::Enforce, b"data: {\"id\":1,\"x\":2}\n\n", 99);
        assert_eq!((out.as_str(), end), ("", Err(StreamEnd::Violation)));
        let (out, end, tally) =
            run(Framing::Events, ITEM, Strictness::Report, b"data: {\"id\":1,\"x\":2}\n\n", 99);
        assert_eq!((out.as_str(), end, tally.dropped), ("data: {\"id\":1,\"x\":2}\n\n", Ok(()), 1));
        let (_, end, _) = run(Framing::Sequence, ITEM, Strictness::Filter, b"{\"id\":1}\n", 99);
        assert_eq!(end, Err(StreamEnd::Malformed));
        let line = vec![b' '; MOST_EVENT + 1];
        assert_eq!(run(Framing::Lines, ITEM, Strictness::Filter, &line, 1000).1, Err(StreamEnd::TooLarge));
    }

    #[test]
    fn text_passes_where_text_is_declared() {
        let (out, end, _) =
            run(Framing::Events, "{type: string}", Strictness::Filter, b"data: [DONE]\ndata: x\n\n", 3);
        assert_eq!((out.as_str(), end), ("data: [DONE]\ndata: x\n\n", Ok(())));
    }

    proptest! {
        #[test]
        fn pieces_change_nothing_and_what_leaves_leaves_again(
            text in "(data|id|event|:|x): ?[a-z0-9{}\":,\\[\\] ]{0,12}(\n|\r|\r\n|\n\n){1,2}",
            more in "(data: \\{\"id\":[0-9]\\}\n\n|data: \\{\"id\":1,\"q\":2\\}\r\r|[\n\r:a]{0,5})",
            step in 1usize..9,
        ) {
            let text = format!("{more}{text}{more}");
            let whole = run(Framing::Events, ITEM, Strictness::Filter, text.as_bytes(), 10_000);
            let pieces = run(Framing::Events, ITEM, Strictness::Filter, text.as_bytes(), step);
            prop_assert_eq!(&whole, &pieces);
            let again = run(Framing::Events, ITEM, Strictness::Filter, whole.0.as_bytes(), 10_000);
            prop_assert_eq!(again.0, whole.0);
        }
    }
}
