//! Writing a tape again.

use super::node::Node;
use super::tape::{Entry, KEY, Kind, TRUE, Tape};

/// Entries of one tape that are not written: a member by its key's entry, an item by its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    dropped: Vec<u64>,
    count: u32,
}

impl Keep {
    /// Everything is kept.
    pub fn all(tape: &Tape) -> Self {
        Self { dropped: vec![0; tape.len().div_ceil(64)], count: 0 }
    }

    /// Leaves out the value at `index`, with its name if it is a member.
    pub fn drop_value(&mut self, tape: &Tape, index: u32) {
        let Some(before) = index.checked_sub(1) else { return };
        let at = if tape.entry(before).has(KEY) && !tape.entry(index).has(KEY) { before } else { index };
        if let Some(word) = self.dropped.get_mut(at as usize / 64) {
            let bit = 1 << (at % 64);
            self.count += u32::from(*word & bit == 0);
            *word |= bit;
        }
    }

    /// How many members and items are left out, not counting what lies below them.
    pub const fn dropped(&self) -> u32 {
        self.count
    }

    /// Whether the value at `index` is left out, and not only what is below it.
    pub fn leaves_out(&self, tape: &Tape, index: u32) -> bool {
        let before = index.checked_sub(1).filter(|key| tape.entry(*key).has(KEY));
        self.is_dropped(index) || before.is_some_and(|key| self.is_dropped(key))
    }

    fn is_dropped(&self, at: u32) -> bool {
        self.dropped.get(at as usize / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }
}

/// Appends the text of the tape: no white space, keys in the order received, numbers as they were written, and in
/// strings only `"`, `\` and controls escaped. With `keep`, without what it leaves out.
pub fn write(tape: &Tape, keep: Option<&Keep>, out: &mut Vec<u8>) {
    let keep = keep.filter(|keep| keep.count > 0);
    if keep.is_none() && tape.minimal {
        out.extend_from_slice(tape.text.as_bytes());
        return;
    }
    out.reserve(tape.text.len());
    write_range(tape, 0, tape.entries.len() as u32, keep, out);
}

/// As [`write`], of one value of the tape.
pub fn write_node(node: Node<'_>, keep: Option<&Keep>, out: &mut Vec<u8>) {
    let end = node.index().saturating_add(node.weight());
    write_range(node.tape(), node.index(), end, keep.filter(|keep| keep.count > 0), out);
}

fn write_range(tape: &Tape, start: u32, end: u32, keep: Option<&Keep>, out: &mut Vec<u8>) {
    // Open containers: where each ends, its closing byte, whether something was written in it.
    let mut open: Vec<(u32, u8, bool)> = Vec::with_capacity(16);
    let mut at = start;
    while at < end || !open.is_empty() {
        while let Some(&(until, close, _)) = open.last()
            && at >= until
        {
            out.push(close);
            open.pop();
        }
        if at >= end {
            continue;
        }
        let entry = tape.entry(at);
        if keep.is_some_and(|keep| keep.is_dropped(at)) {
            let value = if entry.has(KEY) { at + 1 } else { at };
            at = tape.entry(value).next(value);
            continue;
        }
        let after_key = at > 0 && tape.entry(at - 1).has(KEY) && !entry.has(KEY);
        if !after_key && let Some((_, _, begun)) = open.last_mut() {
            if *begun {
                out.push(b',');
            }
            *begun = true;
        }
        match entry.kind {
            Kind::Object => {
                out.push(b'{');
                open.push((entry.a, b'}', false));
            }
            Kind::Array => {
                out.push(b'[');
                open.push((entry.a, b']', false));
            }
            _ => scalar(tape, entry, out),
        }
        at += 1;
    }
}

/// Appends a JSON string: quotes, and only `"`, `\` and controls escaped.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(bytes.get(from..i).unwrap_or_default());
        from = i + 1;
        let short = match byte {
            b'"' | b'\\' => byte,
            8 => b'b',
            9 => b't',
            10 => b'n',
            12 => b'f',
            13 => b'r',
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX.get(usize::from(byte >> 4)).copied().unwrap_or(b'0'));
                out.push(HEX.get(usize::from(byte & 15)).copied().unwrap_or(b'0'));
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
    out.push(b'"');
}

fn scalar(tape: &Tape, entry: Entry, out: &mut Vec<u8>) {
    match entry.kind {
        Kind::String if entry.has(super::tape::ESCAPED) => write_string(tape.string(entry), out),
        Kind::String => {
            out.push(b'"');
            out.extend_from_slice(tape.raw(entry).as_bytes());
            out.push(b'"');
        }
        Kind::Number => out.extend_from_slice(tape.raw(entry).as_bytes()),
        Kind::Bool => out.extend_from_slice(if entry.has(TRUE) { b"true" } else { b"false" }),
        _ => out.extend_from_slice(b"null"),
    }
    if entry.has(KEY) {
        out.push(b':');
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bounds, Keep, Tape, scan, write};

    fn tape(text: &str) -> Tape {
        scan(text, &Bounds::default(), [3, 4]).unwrap()
    }

    fn written(tape: &Tape, keep: Option<&Keep>) -> String {
        let mut out = Vec::new();
        write(tape, keep, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn says_the_same_in_the_fewest_bytes() {
        for (given, expected) in [
            (" { } ", "{}"),
            ("[ ]", "[]"),
            (" [ 1 , [ ] , { \"a\" : null } ] ", r#"[1,[],{"a":null}]"#),
            (r#"{"b":1,"a":{"z":[true,false]}}"#, r#"{"b":1,"a":{"z":[true,false]}}"#),
            (r#""\u0041\/\u00e9\ud83d\ude00""#, "\"A/é😀\""),
            (r#""\u001f\t\"\\""#, r#""\u001f\t\"\\""#),
            ("9007199254740993", "9007199254740993"),
            (" [1.50,1e2,-0]", "[1.50,1e2,-0]"),
            (r#"{"\u0061": 1}"#, r#"{"a":1}"#),
        ] {
            assert_eq!(written(&tape(given), None), expected, "{given}");
        }
    }

    #[test]
    fn leaves_out_what_is_not_kept() {
        let tape = tape(r#"{"a":1,"b":{"c":[1,2,{"d":3}],"e":4},"f":5}"#);
        let without = |pointers: &[&str]| {
            let mut keep = Keep::all(&tape);
            for pointer in pointers {
                keep.drop_value(&tape, tape.root().pointer(pointer).unwrap().index());
            }
            (written(&tape, Some(&keep)), keep.dropped())
        };
        assert_eq!(without(&["/a"]), (r#"{"b":{"c":[1,2,{"d":3}],"e":4},"f":5}"#.into(), 1));
        assert_eq!(without(&["/b", "/f"]), (r#"{"a":1}"#.into(), 2));
        assert_eq!(without(&["/a", "/b", "/f"]), ("{}".into(), 3));
        assert_eq!(without(&["/b/c/0", "/b/c/2/d", "/b/e"]), (r#"{"a":1,"b":{"c":[2,{}]},"f":5}"#.into(), 3));
        assert_eq!(
            without(&["/b/c/0", "/b/c/1", "/b/c/2", "/a", "/a"]),
            (r#"{"b":{"c":[],"e":4},"f":5}"#.into(), 4)
        );
    }
}
