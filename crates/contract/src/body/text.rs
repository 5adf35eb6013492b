//! What no string of a request may hold (`contract.md`, section 10).

use crate::model::TextRule;
use crate::violation::Rule;

/// Rules for the strings of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TextRules {
    /// Markup.
    pub markup: TextRule,
    /// Whether bidirectional controls pass.
    pub bidi_controls: bool,
}

/// Most combining marks in a row; a reader's screen and an index survive eight.
const MARKS: usize = 8;

/// Judges one decoded string. Tabs and line ends pass here; parameters refuse them before.
///
/// # Errors
/// [`Rule::Characters`] or [`Rule::Markup`].
pub fn check(text: &str, rules: TextRules) -> Result<(), Rule> {
    let bytes = text.as_bytes();
    let odd = |b: &u8| (*b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) || *b >= 0x7f;
    if bytes.iter().any(odd) {
        characters(text, rules.bidi_controls)?;
    }
    if rules.markup == TextRule::Plain && holds_markup(bytes) {
        return Err(Rule::Markup);
    }
    Ok(())
}

fn characters(text: &str, bidi_controls: bool) -> Result<(), Rule> {
    let mut marks = 0;
    for c in text.chars() {
        let refused = match c {
            '\t' | '\n' | '\r' => false,
            '\0'..='\u{1f}' | '\u{7f}' => true,
            // Bidirectional controls reorder what a person reads (CVE-2021-42574).
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => !bidi_controls,
            c => is_noncharacter(c),
        };
        if refused {
            return Err(Rule::Characters);
        }
        marks = if is_combining(c) { marks + 1 } else { 0 };
        if marks > MARKS {
            return Err(Rule::Characters);
        }
    }
    Ok(())
}

const fn is_noncharacter(c: char) -> bool {
    let code = c as u32;
    matches!(code, 0xfdd0..=0xfdef) || code & 0xfffe == 0xfffe
}

/// The blocks of combining marks that stack on any letter.
const fn is_combining(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}' | '\u{6d6}'..='\u{6dc}' | '\u{6df}'..='\u{6e4}' | '\u{e31}' | '\u{e34}'..='\u{e3a}'
        | '\u{e47}'..='\u{e4e}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}')
}

/// `<` followed by a letter, `!`, `?` or `/`.
pub(crate) fn holds_markup(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| matches!(pair, [b'<', next] if next.is_ascii_alphabetic() || matches!(next, b'!' | b'?' | b'/')))
}

/// Whether a URL has a scheme that `text: plain` lets through, or none.
pub(crate) fn plain_scheme(url: &str) -> bool {
    let Some((scheme, _)) = url.split_once(':') else { return true };
    if scheme.contains(['/', '?', '#']) {
        return true;
    }
    ["http", "https", "mailto"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_deceive_are_refused() {
        let rules = TextRules::default();
        for text in [
            "a\0",
            "a\u{1b}[31m",
            "\u{7f}",
            "\u{fffe}",
            "\u{ffff}",
            "\u{fdd0}",
            "\u{1fffe}",
            "abc\u{202e}gpj.exe",
            "\u{2066}x",
            "Z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}",
        ] {
            assert_eq!(check(text, rules), Err(Rule::Characters), "{text:?}");
        }
        for text in ["", "line\r\n\ttab", "naïve", "日本語", "👩‍👩‍👧", "e\u{301}\u{302}", "<b> & 'quotes'"]
        {
            assert_eq!(check(text, rules), Ok(()), "{text:?}");
        }
        assert_eq!(check("abc\u{202e}", TextRules { bidi_controls: true, ..rules }), Ok(()));
    }

    #[test]
    fn plain_text_holds_no_markup() {
        let rules = TextRules { markup: TextRule::Plain, ..TextRules::default() };
        for text in ["<script>", "a</b>", "<!--", "<?php", "x<Y"] {
            assert_eq!(check(text, rules), Err(Rule::Markup), "{text}");
        }
        for text in ["a < b", "1<2", "<", "<<", "->", "<3"] {
            assert_eq!(check(text, rules), Ok(()), "{text}");
        }
        assert!(!plain_scheme("javascript:alert(1)") && !plain_scheme("DATA:x"));
        assert!(plain_scheme("https://a/b:c") && plain_scheme("/a:b") && plain_scheme("mailto:a@b"));
    }
}
