//! PDF: where it begins and ends, and that nothing in it acts by itself.
//!
//! Names are read as a viewer reads them (`/J#61vaScript` is `/JavaScript`), also those in object streams, which are
//! compressed: they are inflated under a bound, looked at, and thrown away.

use super::inflate::inflate;
use super::read::Reader;
use super::{Checked, Rejected};

/// Bytes that all object streams together may become.
const OBJECTS: u64 = 64 << 20;
/// Object streams of a file.
const STREAMS: usize = 20_000;

/// Header, end mark, and no active content unless that is loosened.
pub(super) fn check(reader: &mut Reader<'_>, active: bool) -> Checked {
    let len = reader.len();
    let from = len.saturating_sub(1024);
    let tail = reader.whole(from, len, 1024)?;
    let end = memchr::memmem::rfind(&tail, b"%%EOF").ok_or(Rejected::kind("pdf-end"))?;
    super::read::only_padding(reader, from + end as u64 + 5)?;
    if active {
        return Ok(());
    }
    let mut names = Names { streams: Some(Vec::new()), ..Names::default() };
    reader.each(0, len, |piece| names.piece(piece))?;
    names.end()?;
    let mut left = OBJECTS;
    for at in names.streams.take().unwrap_or_default() {
        let mut names = Names::default();
        let done = inflate(reader, (at, len), true, left, |piece| names.piece(piece))
            .map_err(|_| Rejected::kind("pdf-object-stream"))?;
        names.end()?;
        left = left.saturating_sub(done.out);
    }
    Ok(())
}

/// Reads names and the few keywords that matter, byte by byte.
#[derive(Default)]
struct Names {
    at: u64,
    state: State,
    token: Vec<u8>,
    /// What the dictionary of the current object says.
    object: Object,
    /// Where object streams begin; nothing inside of one.
    streams: Option<Vec<u64>>,
    /// Behind the word `stream`: its line must end first.
    waits: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Outside,
    Word,
    Name,
    /// Behind `#` in a name; one digit, or none yet.
    Escape(Option<u8>),
}

#[derive(Default)]
struct Object {
    objects: bool,
    first: bool,
    count: bool,
    deflate: bool,
    coded: bool,
}

impl Names {
    fn piece(&mut self, piece: &[u8]) -> Checked {
        for byte in piece {
            self.byte(*byte)?;
            self.at += 1;
        }
        Ok(())
    }

    fn end(&mut self) -> Checked {
        self.byte(b' ')
    }

    fn byte(&mut self, byte: u8) -> Checked {
        if std::mem::take(&mut self.waits) {
            // CR LF, or LF: then the stream's bytes.
            match byte {
                b'\r' => {
                    self.waits = true;
                    return Ok(());
                }
                b'\n' => self.stream(self.at + 1)?,
                // CR alone is against the rule, and some viewers take it.
                _ => self.stream(self.at)?,
            }
        }
        match self.state {
            State::Escape(None) if byte.is_ascii_hexdigit() => {
                self.state = State::Escape(Some(byte));
                return Ok(());
            }
            State::Escape(Some(high)) if byte.is_ascii_hexdigit() => {
                let digit = |b: u8| (b as char).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap_or(0);
                self.keep(digit(high) << 4 | digit(byte));
                self.state = State::Name;
                return Ok(());
            }
            State::Escape(_) => self.state = State::Name,
            _ => {}
        }
        let delimits = matches!(
            byte,
            0 | b'\t'
                | b'\n'
                | 12
                | b'\r'
                | b' '
                | b'('
                | b')'
                | b'<'
                | b'>'
                | b'['
                | b']'
                | b'{'
                | b'}'
                | b'/'
                | b'%'
        );
        match (self.state, byte) {
            (State::Name, b'#') => self.state = State::Escape(None),
            (State::Name | State::Word, _) if !delimits => self.keep(byte),
            _ => {
                match self.state {
                    State::Name => self.name()?,
                    State::Word => self.word(byte)?,
                    _ => {}
                }
                self.token.clear();
                self.state = match byte {
                    b'/' => State::Name,
                    _ if delimits => State::Outside,
                    _ => {
                        self.keep(byte);
                        State::Word
                    }
                };
            }
        }
        Ok(())
    }

    fn keep(&mut self, byte: u8) {
        // No name that matters is longer.
        if self.token.len() < 24 {
            self.token.push(byte);
        }
    }

    fn name(&mut self) -> Checked {
        let object = &mut self.object;
        match self.token.as_slice() {
            b"JavaScript" => return Err(Rejected::kind("pdf-javascript")),
            b"Launch" => return Err(Rejected::kind("pdf-launch")),
            b"EmbeddedFile" | b"EmbeddedFiles" => return Err(Rejected::kind("pdf-embedded-file")),
            b"ObjStm" => object.objects = true,
            b"First" => object.first = true,
            b"N" => object.count = true,
            b"FlateDecode" | b"Fl" => object.deflate = true,
            b"ASCIIHexDecode" | b"AHx" | b"ASCII85Decode" | b"A85" | b"LZWDecode" | b"LZW"
            | b"RunLengthDecode" | b"RL" | b"Crypt" | b"Predictor" => object.coded = true,
            _ => {}
        }
        Ok(())
    }

    fn word(&mut self, behind: u8) -> Checked {
        match self.token.as_slice() {
            b"obj" | b"endobj" => self.object = Object::default(),
            b"stream" if matches!(behind, b'\r' | b'\n') => match behind {
                b'\r' => self.waits = true,
                _ => self.stream(self.at + 1)?,
            },
            _ => {}
        }
        Ok(())
    }

    /// A stream begins. Objects in it are looked at; what hides them in a coding that is not undone here is refused.
    fn stream(&mut self, at: u64) -> Checked {
        let object = std::mem::take(&mut self.object);
        let Some(streams) = &mut self.streams else { return Ok(()) };
        if !(object.objects || (object.first && object.count)) {
            return Ok(());
        }
        if object.coded {
            return Err(Rejected::kind("pdf-object-stream"));
        }
        if object.deflate {
            if streams.len() >= STREAMS {
                return Err(Rejected::kind("pdf-object-stream"));
            }
            streams.push(at);
        }
        Ok(())
    }
}
