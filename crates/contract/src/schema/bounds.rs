//! Bounds that a schema forgot (§ 9): page sizes and offsets by name.

/// Bounds for integers whose name says what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guards {
    /// Of `limit` and its like.
    pub page: i64,
    /// Of `offset` and its like.
    pub offset: i64,
}

impl Default for Guards {
    fn default() -> Self {
        Self { page: 100, offset: 1_000_000 }
    }
}

impl Guards {
    /// The largest value of an integer called `name`, when its schema has none; the smallest is then 0. Case, `-`,
    /// `_` and camel form make no difference.
    pub fn maximum(&self, name: &str) -> Option<i64> {
        let plain: String =
            name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect();
        match plain.as_str() {
            "limit" | "pagesize" | "perpage" | "first" | "last" | "count" | "size" | "top" | "$top"
            | "take" | "maxresults" => Some(self.page),
            "offset" | "skip" | "$skip" | "page" => Some(self.offset),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_in_any_form() {
        let guards = super::Guards::default();
        for name in ["limit", "LIMIT", "page_size", "pageSize", "page-size", "PerPage", "$top", "maxResults"]
        {
            assert_eq!(guards.maximum(name), Some(100), "{name}");
        }
        assert_eq!(guards.maximum("offset"), Some(1_000_000));
        assert_eq!(guards.maximum("Page"), Some(1_000_000));
        for name in ["limited", "total", "id", ""] {
            assert_eq!(guards.maximum(name), None, "{name}");
        }
    }
}
