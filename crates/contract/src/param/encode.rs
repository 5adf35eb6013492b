//! From values to the one text that goes on (`contract.md`, section 5.3).

use super::style::Style;
use super::{Scalar, Value};
use crate::violation::In;

/// Which characters stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// RFC 3986 § 2.3.
    Unreserved,
    /// `allowReserved`: also `/ ? : @ ! $ ' ( ) * ,`.
    Reserved,
    /// Cookie octets (RFC 6265 § 4.1.1) but `%`, `+` and `,`.
    Cookie,
    /// An item of a list in a header: all but `,` and `%` (white space at its ends is encoded, too).
    HeaderItem,
    /// A name or value of an object in a header: nor `=`.
    HeaderMember,
    /// A whole header value, which is not encoded (OpenAPI 3.1.1, appendix D).
    Header,
}

impl Set {
    const fn keeps(self, byte: u8) -> bool {
        let unreserved = matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~');
        match self {
            Self::Unreserved => unreserved,
            Self::Reserved => {
                unreserved
                    || matches!(
                        byte,
                        b'/' | b'?' | b':' | b'@' | b'!' | b'$' | b'\'' | b'(' | b')' | b'*' | b','
                    )
            }
            Self::Cookie => {
                matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
                    && !matches!(byte, b'%' | b'+' | b',')
            }
            Self::HeaderItem => !matches!(byte, b',' | b'%' | 0x7f..),
            Self::HeaderMember => !matches!(byte, b',' | b'%' | b'=' | 0x7f..),
            Self::Header => true,
        }
    }
}

/// Appends `text` with what `set` does not keep as `%XX`.
pub(crate) fn push(out: &mut String, text: &str, set: Set) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for (i, byte) in bytes.iter().enumerate() {
        if !set.keeps(*byte) {
            out.push_str(text.get(from..i).unwrap_or(""));
            push_escape(out, *byte);
            from = i + 1;
        }
    }
    out.push_str(text.get(from..).unwrap_or(""));
}

fn push_escape(out: &mut String, byte: u8) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    out.push('%');
    for nibble in [byte >> 4, byte & 15] {
        out.push(HEX.get(usize::from(nibble)).copied().unwrap_or('0'));
    }
}

/// How one parameter is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing<'p> {
    pub(crate) name: &'p str,
    pub(crate) location: In,
    pub(crate) style: Style,
    pub(crate) explode: bool,
    pub(crate) reserved: bool,
}

impl Writing<'_> {
    fn set(&self, whole: bool) -> Set {
        match self.location {
            In::Path => Set::Unreserved,
            In::Query if self.reserved => Set::Reserved,
            In::Query => Set::Unreserved,
            In::Header if whole => Set::Header,
            In::Header => Set::HeaderItem,
            In::Cookie => Set::Cookie,
        }
    }

    /// A comma separates items, so inside one it is encoded even where `allowReserved` would leave it.
    fn push_item(&self, out: &mut String, text: &str, member: bool) {
        match self.set(false) {
            Set::Reserved => {
                let mut parts = text.split(',');
                push(out, parts.next().unwrap_or(""), Set::Reserved);
                for part in parts {
                    out.push_str("%2C");
                    push(out, part, Set::Reserved);
                }
            }
            Set::HeaderItem => {
                // Readers trim items (RFC 9110 § 5.6.1).
                let inner = text.trim_matches(' ');
                let (lead, trail) = match text.find(inner) {
                    _ if inner.is_empty() => (text.len(), 0),
                    Some(lead) => (lead, text.len() - lead - inner.len()),
                    None => (0, 0),
                };
                out.extend(std::iter::repeat_n("%20", lead));
                push(out, inner, if member { Set::HeaderMember } else { Set::HeaderItem });
                out.extend(std::iter::repeat_n("%20", trail));
            }
            set => push(out, text, set),
        }
    }

    /// Appends the value as it stands in a path segment, a header or a cookie.
    pub(crate) fn value(&self, out: &mut String, value: &Value) {
        let label = self.style == Style::Label;
        let matrix = self.style == Style::Matrix;
        let before = |out: &mut String| {
            if label {
                out.push('.');
            } else if matrix {
                out.push(';');
                push(out, self.name, Set::Unreserved);
                out.push('=');
            }
        };
        match value {
            Value::Scalar(Scalar { text, .. }) => {
                before(out);
                push(out, text, self.set(true));
            }
            Value::Json(text) => {
                before(out);
                push(out, text, self.set(true));
            }
            Value::Array(items) => {
                // Without an item the name alone is what says that it was given.
                if !(matrix && self.explode) || items.is_empty() {
                    before(out);
                }
                for (i, item) in items.iter().enumerate() {
                    if matrix && self.explode {
                        before(out);
                    } else if i > 0 {
                        out.push_str(self.delimiter());
                    }
                    self.push_item(out, &item.text, false);
                }
            }
            Value::Object(members) => {
                if !(matrix && self.explode) {
                    before(out);
                }
                for (i, (name, item)) in members.iter().enumerate() {
                    if matrix && self.explode {
                        out.push(';');
                    } else if i > 0 {
                        out.push_str(self.delimiter());
                    }
                    self.push_item(out, name, true);
                    out.push_str(if self.explode { "=" } else { self.delimiter() });
                    self.push_item(out, &item.text, true);
                }
            }
        }
    }

    fn delimiter(&self) -> &'static str {
        match (self.style, self.explode) {
            (Style::Label, true) => ".",
            (Style::SpaceDelimited, _) => "%20",
            (Style::PipeDelimited, _) => "%7C",
            _ => ",",
        }
    }

    /// Appends the pairs of a query or form; `first` says whether a pair stands before.
    pub(crate) fn pairs(&self, out: &mut String, value: &Value, first: &mut bool) {
        let mut next = |out: &mut String| {
            if !std::mem::take(first) {
                out.push('&');
            }
        };
        let set = self.set(false);
        match value {
            Value::Object(members) if self.style == Style::DeepObject => {
                for (name, item) in members {
                    next(out);
                    push(out, self.name, Set::Unreserved);
                    out.push_str("%5B");
                    push(out, name, Set::Unreserved);
                    out.push_str("%5D=");
                    push(out, &item.text, set);
                }
            }
            Value::Object(members) if self.explode => {
                for (name, item) in members {
                    next(out);
                    push(out, name, Set::Unreserved);
                    out.push('=');
                    push(out, &item.text, set);
                }
            }
            // An array without items is written `c=`, as it came: left out, it would not be the value that was checked.
            Value::Array(items) if self.explode && !items.is_empty() => {
                for item in items {
                    next(out);
                    push(out, self.name, Set::Unreserved);
                    out.push('=');
                    push(out, &item.text, set);
                }
            }
            value => {
                next(out);
                push(out, self.name, Set::Unreserved);
                out.push('=');
                self.value(out, value);
            }
        }
    }
}
