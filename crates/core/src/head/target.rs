use super::path::{CanonicalPath, PathError, is_target_byte};

/// The target of a request in origin-form: a canonical path and the raw query.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    path: CanonicalPath,
    query: Option<Box<str>>,
}

impl Target {
    /// Reads an origin-form target (RFC 9112, section 3.2.1).
    ///
    /// The query stays raw: its pairs are split and decoded by the contract, once.
    ///
    /// # Errors
    /// The first step of `wire.md`, section 6.2, that fails.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        if !raw.bytes().all(is_target_byte) {
            return Err(PathError::Byte);
        }
        let (path, query) = match raw.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (raw, None),
        };
        Ok(Self { path: CanonicalPath::parse_checked(path)?, query: query.map(Box::from) })
    }

    /// The path.
    pub const fn path(&self) -> &CanonicalPath {
        &self.path
    }

    /// What stands after the first `?`, as it came; visible ASCII. An empty query is `Some("")`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The raw pairs of the query in order: name, and value where a `=` stands. Split at `&` only
    /// (CVE-2021-23336).
    pub fn query_pairs(&self) -> impl Iterator<Item = (&str, Option<&str>)> + Clone {
        self.query().into_iter().flat_map(|query| query.split('&')).map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (pair, None),
        })
    }
}

impl std::fmt::Debug for Target {
    /// Without the query's content: it may carry what must not be logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({}, query: {} B)", self.path, self.query().map_or(0, str::len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_splits_at_the_first_question_mark() {
        let target = Target::parse("/a?b=1?&c=2").unwrap();
        assert_eq!(target.path().to_string(), "/a");
        assert_eq!(target.query(), Some("b=1?&c=2"));
        assert_eq!(target.query_pairs().collect::<Vec<_>>(), [("b", Some("1?")), ("c", Some("2"))]);
        assert_eq!(Target::parse("/a?").unwrap().query(), Some(""));
        assert_eq!(Target::parse("/a").unwrap().query(), None);
        assert_eq!(Target::parse("/a").unwrap().query_pairs().count(), 0);
        assert_eq!(
            Target::parse("/a?b;c=1&=x").unwrap().query_pairs().collect::<Vec<_>>(),
            [("b;c", Some("1")), ("", Some("x"))]
        );
    }

    #[test]
    fn target_refuses_bytes_before_anything_else() {
        assert_eq!(Target::parse("//a\""), Err(PathError::Byte));
        assert_eq!(Target::parse("/a?q=<b>"), Err(PathError::Byte));
        assert_eq!(Target::parse("/a b"), Err(PathError::Byte));
        assert_eq!(Target::parse("a?b"), Err(PathError::NotAbsolute));
        assert_eq!(Target::parse("?b"), Err(PathError::NotAbsolute));
        assert_eq!(Target::parse(""), Err(PathError::NotAbsolute));
    }

    #[test]
    fn target_debug_hides_the_query() {
        assert!(!format!("{:?}", Target::parse("/a?x=hunter2").unwrap()).contains("hunter2"));
    }
}
