//! The bounds of contract.md § 16.1.

/// What one document may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the query's text, before lexing.
    pub query_bytes: usize,
    /// Tokens.
    pub tokens: usize,
    /// Bytes of one string or block string.
    pub string_bytes: usize,
    /// Braces, lists and types inside one another.
    pub nesting: usize,
    /// Bytes of the variables.
    pub variables_bytes: usize,
    /// Nesting of the variables.
    pub variables_depth: u32,
    /// Operations in a document.
    pub operations: usize,
    /// Fragments in a document.
    pub fragments: usize,
    /// Directives of a document.
    pub directives: usize,
    /// Directives of one node.
    pub directives_of_node: usize,
    /// Aliases, expanded.
    pub aliases: u64,
    /// Root fields, expanded.
    pub root_fields: u64,
    /// Fields inside one another, expanded.
    pub depth: u64,
    /// Fields, expanded.
    pub fields: u64,
    /// Cost.
    pub cost: u64,
    /// The largest slicing argument where the schema says nothing.
    pub slice: u64,
    /// The largest offset where the schema says nothing.
    pub offset: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            query_bytes: 15_000,
            tokens: 2_000,
            string_bytes: 4 << 10,
            nesting: 64,
            variables_bytes: 64 << 10,
            variables_depth: 16,
            operations: 5,
            fragments: 50,
            directives: 50,
            directives_of_node: 4,
            aliases: 15,
            root_fields: 20,
            depth: 10,
            fields: 1_000,
            cost: 1_000,
            slice: 100,
            offset: 1_000_000,
        }
    }
}

impl Limits {
    /// What configuration cannot exceed. The tree that is checked is never larger than `fields`.
    pub const HARD: Self = Self {
        query_bytes: 256 << 10,
        tokens: 20_000,
        string_bytes: 256 << 10,
        nesting: 64,
        variables_bytes: 1 << 20,
        variables_depth: 32,
        operations: 50,
        fragments: 500,
        directives: 500,
        directives_of_node: 16,
        aliases: 500,
        root_fields: 200,
        depth: 50,
        fields: 10_000,
        cost: 1_000_000,
        slice: 10_000,
        offset: 1_000_000_000,
    };

    /// For a schema: written by whoever runs the gateway, but read by the same lexer.
    pub(super) const SCHEMA: Self =
        Self { query_bytes: 10 << 20, tokens: 2_000_000, string_bytes: 1 << 20, nesting: 32, ..Self::HARD };
}
