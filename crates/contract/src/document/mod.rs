//! From bytes to a tree with places: YAML and JSON, references, and the files of one document together.

mod bundle;
mod json;
mod load;
pub mod node;
mod tree;
mod yaml;

pub use bundle::{Bundle, RefError};
pub use load::{Document, Files, Loading, load};
pub use node::{Key, Node, Value};
pub use portcullis_core::finding::{Finding, Span};

/// Which OpenAPI rules a document follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.0.x: schemas are the OpenAPI dialect.
    V30,
    /// 3.1.x (and 3.2 with a warning): schemas are JSON Schema 2020-12.
    V31,
}

/// How much a document may hold. `Default` is what stands in the design; [`Bounds::HARD`] is what configuration
/// may raise them to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one file, and of all files of one API together.
    pub bytes: usize,
    /// Files of one API.
    pub files: usize,
    /// Nodes after alias expansion; each alias counts as a copy.
    pub nodes: usize,
    /// Nesting of objects and arrays.
    pub depth: usize,
    /// Schemas that are reached.
    pub schemas: usize,
    /// Operations.
    pub operations: usize,
    /// Parameters of one operation.
    pub parameters: usize,
    /// Distinct patterns.
    pub patterns: usize,
}

impl Bounds {
    /// The hard maximum of each bound.
    pub const HARD: Self = Self {
        bytes: 64 << 20,
        files: 1024,
        nodes: 20_000_000,
        depth: 256,
        schemas: 200_000,
        operations: 10_000,
        parameters: 200,
        patterns: 50_000,
    };
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            bytes: 10 << 20,
            files: 256,
            nodes: 2_000_000,
            depth: 128,
            schemas: 20_000,
            operations: 10_000,
            parameters: 200,
            patterns: 5_000,
        }
    }
}

/// Reads one file: JSON when `name` ends with `.json`, YAML 1.2 (core schema) otherwise. Both are strict: UTF-8,
/// one document, no duplicate key; YAML also without tags, merge keys and keys that are not scalars. `file` becomes
/// the `file` of every place.
///
/// # Errors
/// Findings with the place; never partial trees.
pub fn parse(file: u16, name: &str, bytes: &[u8], bounds: &Bounds) -> Result<Node, Vec<Finding>> {
    let nowhere = Span { file, ..Span::default() };
    if bytes.len() > bounds.bytes {
        let message =
            format!("the file has {} bytes, more than the {} that are allowed", bytes.len(), bounds.bytes);
        return Err(vec![Finding::error("document-bounds", nowhere, message)]);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("not UTF-8: byte {} begins no character", error.valid_up_to());
        vec![Finding::error("document-syntax", nowhere, message)]
    })?;
    let json = name.rsplit_once('.').is_some_and(|(_, ext)| ext.eq_ignore_ascii_case("json"));
    if json { json::read(file, text, bounds) } else { yaml::read(file, text, bounds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> Result<Node, Vec<Finding>> {
        parse(3, "a.yaml", text.as_bytes(), &Bounds::default())
    }

    fn json(text: &str) -> Result<Node, Vec<Finding>> {
        parse(3, "a.json", text.as_bytes(), &Bounds::default())
    }

    fn code(result: Result<Node, Vec<Finding>>) -> &'static str {
        result.unwrap_err().last().unwrap().code
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = "openapi: 3.0.3\ninfo:\n  title: \"Läden\"\n  x: [1, two]\n";
        let node = yaml(text).unwrap();
        let title = node.pointer("/info/title").unwrap();
        assert_eq!((title.at.file, title.at.line, title.at.column), (3, 3, 10));
        let slice = |at: Span| text.get(at.start as usize..at.end as usize).unwrap();
        assert_eq!(slice(title.at), "\"Läden\"");
        assert_eq!(slice(node.pointer("/info/x/1").unwrap().at), "two");
        assert_eq!(slice(node.get("info").unwrap().entry("x").unwrap().0.at), "x");

        let text = "{\n \"a\": [1, {\"b\\u0041\": \"\\ud83d\\ude00\"}]}";
        let node = json(text).unwrap();
        let b = node.pointer("/a/1/bA").unwrap();
        assert_eq!((b.as_str(), b.at.line, b.at.column), (Some("😀"), 2, 23));
        assert_eq!(text.get(b.at.start as usize..b.at.end as usize), Some("\"\\ud83d\\ude00\""));
    }

    #[test]
    fn yaml_reads_the_core_schema() {
        let node = yaml(
            "a: no\nb: on\nc: 1:30\nd: 2024-01-01\ne: 1.50\nf: 0x1F\ng: 007\nh: ~\ni: True\n200: ok\nj: 1_000\nk: .5\nl: -0\nm: \"1\"\nn: y\n",
        )
        .unwrap();
        let get = |key: &str| node.get(key).unwrap();
        for (key, text) in [("a", "no"), ("b", "on"), ("c", "1:30"), ("d", "2024-01-01"), ("f", "0x1F")] {
            assert_eq!(get(key).as_str(), Some(text));
        }
        for (key, text) in [("g", "007"), ("200", "ok"), ("j", "1_000"), ("k", ".5"), ("m", "1"), ("n", "y")]
        {
            assert_eq!(get(key).as_str(), Some(text));
        }
        assert_eq!(get("e").as_number(), Some("1.50"));
        assert_eq!(get("l").as_number(), Some("-0"));
        assert!(get("h").is_null());
        assert_eq!(get("i").as_bool(), Some(true));
    }

    #[test]
    fn yaml_refuses_what_two_readers_could_read_differently() {
        for (text, expected) in [
            ("a: 1\na: 2\n", "document-duplicate-key"),
            ("a: {b: 1, \"b\": 2}\n", "document-duplicate-key"),
            ("200: x\n\"200\": y\n", "document-duplicate-key"),
            ("a: !!str 1\n", "yaml-tag"),
            ("a: !include x\n", "yaml-tag"),
            ("a: !!python/object:os.system {}\n", "yaml-tag"),
            ("x: &x {a: 1}\ny:\n  <<: *x\n", "yaml-merge-key"),
            ("a: 1\n---\nb: 2\n", "document-syntax"),
            ("? [a]\n: 1\n", "document-syntax"),
            ("x: &x a\n*x : 1\n", "document-syntax"),
            ("a: &a [*a]\n", "document-syntax"),
            ("a: *b\n", "document-syntax"),
            ("a: [1\n", "document-syntax"),
            ("a: b: c\n", "document-syntax"),
            (": 1\n", "document-syntax"),
        ] {
            assert_eq!(code(yaml(text)), expected, "{text}");
        }
        assert_eq!(code(parse(0, "a.yaml", b"a: \xff", &Bounds::default())), "document-syntax");
    }

    #[test]
    fn json_is_strict() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "['a']",
            "01",
            "1.",
            "+1",
            "NaN",
            "[1] 2",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\udc00\\ud800\"",
            "\"a\nb\"",
            "// x\n1",
            "[1 2]",
            "tru",
            "\"abc",
            "{\"a\" 1}",
            "]",
        ] {
            assert_eq!(code(json(text)), "document-syntax", "{text}");
        }
        assert_eq!(code(json("{\"role\":1,\"\\u0072ole\":2}")), "document-duplicate-key");
        assert_eq!(json("\u{feff} [1e5, -0.0]").unwrap().as_array().unwrap().len(), 2);
    }

    #[test]
    fn aliases_are_copies_and_counted() {
        let node = yaml("a: &x {k: [1, 2]}\nb: *x\nc: [*x, *x]\n").unwrap();
        assert_eq!(node.get("a"), node.get("b"));
        assert_eq!(node.pointer("/c/1/k/1").unwrap().as_number(), Some("2"));

        // A billion laughs stops at the node bound.
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let prior = i - 1;
            let aliases = vec![format!("*a{prior}"); 10].join(", ");
            laughs.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
        }
        assert_eq!(code(yaml(&laughs)), "document-bounds");

        // Few nodes but much text stops at the text bound: 1 MiB, named ten thousand times.
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 10_000].join(","));
        assert_eq!(code(yaml(&long)), "document-bounds");

        // Depth counts through aliases.
        let mut deep = String::from("a0: &a0 [x]\n");
        for i in 1..200 {
            deep.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
        }
        assert_eq!(code(yaml(&deep)), "document-bounds");
    }

    #[test]
    fn nesting_is_bounded_in_both_languages() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(code(json(&deep)), "document-bounds");
        assert!(yaml(&deep).is_err());
        let fine = format!("{}{}", "[".repeat(128), "]".repeat(128));
        assert!(json(&fine).is_ok() && yaml(&fine).is_ok());
        let over = format!("{}{}", "[".repeat(129), "]".repeat(129));
        assert!(json(&over).is_err() && yaml(&over).is_err());
    }

    #[test]
    fn a_file_over_the_bound_is_not_read() {
        let bounds = Bounds { bytes: 10, ..Bounds::default() };
        assert_eq!(code(parse(0, "a.yaml", b"abcdefghijk", &bounds)), "document-bounds");
    }
}
