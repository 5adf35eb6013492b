//! Regular expressions of a document, in bounded time.

use std::collections::HashMap;
use std::sync::Arc;

/// One compiled pattern. Not anchored: ECMA-262 searches.
#[derive(Debug)]
pub(crate) enum Pattern {
    /// Linear in the value.
    Linear(regex::Regex),
    /// Look-around or back-references: backtracks up to a limit, on values up to a length.
    Backtracking(fancy_regex::Regex),
}

/// What a search said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    Yes,
    No,
    /// A limit was reached. Counts as a violation wherever the pattern stands, under `not` too.
    Exceeded,
}

/// Why a pattern is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatternError {
    /// Neither engine reads it.
    Invalid,
    /// More than 1 MiB when compiled.
    TooLarge,
    /// More distinct patterns than `documents` allows.
    TooMany,
}

const COMPILED: usize = 1 << 20;
const BACKTRACKS: usize = 10_000;
const BACKTRACKED_VALUE: usize = 4096;

impl Pattern {
    /// Compiles an ECMA-262 pattern: the linear engine first.
    pub(crate) fn new(source: &str) -> Result<Self, PatternError> {
        if source.len() > 64 * 1024 {
            return Err(PatternError::TooLarge);
        }
        let linear = jsonschema_regex::to_rust_regex(source).ok();
        if let Some(translated) = linear.as_deref() {
            match regex::RegexBuilder::new(translated)
                .size_limit(COMPILED)
                .dfa_size_limit(2 * COMPILED)
                .nest_limit(200)
                .build()
            {
                Ok(regex) => return Ok(Self::Linear(regex)),
                Err(regex::Error::CompiledTooBig(_)) => return Err(PatternError::TooLarge),
                Err(_) => {}
            }
        }
        // What the linear engine refuses for another reason is not read more generously by the other one.
        if !needs_backtracking(source) {
            return Err(PatternError::Invalid);
        }
        fancy_regex::RegexBuilder::new(source)
            .backtrack_limit(BACKTRACKS)
            .delegate_size_limit(COMPILED)
            .delegate_dfa_size_limit(2 * COMPILED)
            .build()
            .map(Self::Backtracking)
            .map_err(|error| match error {
                fancy_regex::Error::CompileError(inner)
                    if matches!(
                        *inner,
                        fancy_regex::CompileError::InnerError(ref inner) if inner.size_limit().is_some()
                    ) =>
                {
                    PatternError::TooLarge
                }
                _ => PatternError::Invalid,
            })
    }

    /// Whether it is found in `text`.
    pub(crate) fn search(&self, text: &str) -> Matched {
        let found = match self {
            Self::Linear(regex) => Some(regex.is_match(text)),
            Self::Backtracking(_) if text.len() > BACKTRACKED_VALUE => None,
            Self::Backtracking(regex) => regex.is_match(text).ok(),
        };
        match found {
            Some(true) => Matched::Yes,
            Some(false) => Matched::No,
            None => Matched::Exceeded,
        }
    }

    /// Whether it may backtrack.
    pub(crate) const fn backtracks(&self) -> bool {
        matches!(self, Self::Backtracking(_))
    }
}

/// Whether a pattern has look-around or a back-reference, escapes aside.
fn needs_backtracking(source: &str) -> bool {
    let mut rest = source;
    while let Some(at) = rest.find(['\\', '(']) {
        let (_, here) = rest.split_at(at);
        if ["(?=", "(?!", "(?<=", "(?<!", "\\k<"].iter().any(|begin| here.starts_with(begin))
            || (here.starts_with('\\') && here.as_bytes().get(1).is_some_and(|b| matches!(b, b'1'..=b'9')))
        {
            return true;
        }
        let length =
            if here.starts_with('\\') { 1 + here.chars().nth(1).map_or(0, char::len_utf8) } else { 1 };
        rest = here.get(length..).unwrap_or("");
    }
    false
}

/// Each distinct pattern of an API is compiled once.
#[derive(Debug)]
pub(crate) struct Patterns {
    compiled: HashMap<Box<str>, Result<Arc<Pattern>, PatternError>>,
    most: usize,
}

impl Patterns {
    /// Up to `most` distinct patterns.
    pub(crate) fn new(most: usize) -> Self {
        Self { compiled: HashMap::new(), most }
    }

    pub(crate) fn get(&mut self, source: &str) -> Result<Arc<Pattern>, PatternError> {
        if let Some(found) = self.compiled.get(source) {
            return found.clone();
        }
        if self.compiled.len() >= self.most {
            return Err(PatternError::TooMany);
        }
        let made = Pattern::new(source).map(Arc::new);
        self.compiled.insert(source.into(), made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linear_engine_is_preferred() {
        assert!(!Pattern::new("^(a+)+$").unwrap().backtracks());
        assert!(!Pattern::new(r"^\d{3}-[\w.]+$").unwrap().backtracks());
        for source in ["^(?=.*[A-Z]).{8,}$", r"(a)\1", "(?<!x)y"] {
            assert!(Pattern::new(source).unwrap().backtracks(), "{source}");
        }
        // ECMA: `\d` is ASCII.
        assert_eq!(Pattern::new(r"^\d$").unwrap().search("٣"), Matched::No);
    }

    #[test]
    fn what_is_no_pattern_is_an_error() {
        for source in ["(", "[a", "a{2,1}", "*", "(?<n", r"\p{Nope}"] {
            assert_eq!(Pattern::new(source).unwrap_err(), PatternError::Invalid, "{source}");
        }
        for source in ["^.{0,1000000000}$", "((a{1000}){1000}){1000}", r"(?:\w{1000}){1000}"] {
            assert!(
                matches!(Pattern::new(source), Err(PatternError::TooLarge | PatternError::Invalid)),
                "{source}"
            );
        }
        assert!(Pattern::new(&"(".repeat(100_000)).is_err());
        assert!(Pattern::new(&format!("{}{}", "(".repeat(5_000), ")".repeat(5_000))).is_err());
    }

    #[test]
    fn catastrophic_backtracking_is_cut() {
        let text = "a".repeat(50 * 1024);
        for source in ["^(a+)+$", "^(a|a)*b$"] {
            // The linear engine cannot backtrack.
            let pattern = Pattern::new(source).unwrap();
            assert!(!pattern.backtracks());
            assert_eq!(pattern.search(&format!("{text}!")), Matched::No, "{source}");
        }
        // The other one counts: 10,000 steps, and texts of 4 KiB.
        let pattern = Pattern::new(r"^(?:(a+)+\1)+b$").unwrap();
        assert!(pattern.backtracks());
        assert_eq!(pattern.search(&text), Matched::Exceeded);
        assert_eq!(pattern.search(&"a".repeat(4000)), Matched::Exceeded);
        assert_eq!(pattern.search(&"a".repeat(30)), Matched::Exceeded);
        assert_eq!(pattern.search("aab"), Matched::Yes);
    }
}
