//! The files of one document, and what a `$ref` reaches in them.

use std::collections::HashMap;
use std::fmt;

use super::node::{self, Node};

/// The parsed files of one OpenAPI document. Nothing outside the folder of the first (root) file is reachable.
#[derive(Debug, Default)]
pub struct Bundle {
    files: Vec<Parsed>,
    by_id: HashMap<u16, usize>,
    by_name: HashMap<Box<str>, usize>,
    /// Objects of many members, by file and first byte: position of each key.
    wide: HashMap<(u16, u32), HashMap<Box<str>, u32>>,
    /// `$anchor` and `$id` of 3.1 schemas: file and decoded pointer tokens.
    anchors: HashMap<(usize, Box<str>), Tokens>,
    ids: HashMap<Box<str>, (usize, Tokens)>,
}

/// Decoded tokens of a JSON pointer.
type Tokens = Box<[Box<str>]>;

#[derive(Debug)]
struct Parsed {
    id: u16,
    /// Relative to the folder of the root, with `/`.
    name: Box<str>,
    root: Node,
}

/// Why a reference leads nowhere. `Display` is a sentence without the reference itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefError {
    /// It has a scheme (`http:`, `file:`, …) or an authority.
    Remote,
    /// It is an absolute path.
    Absolute,
    /// It leaves the folder of the root document.
    Outside,
    /// It is not a relative path with an optional fragment.
    Malformed,
    /// The file is not part of the bundle.
    NotLoaded(String),
    /// The fragment names nothing in the file.
    Dangling,
    /// A chain of pure references that returns to itself.
    Cycle,
    /// A chain of pure references longer than the bound.
    TooLong,
}

impl fmt::Display for RefError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote => f.write_str("references with a scheme or host are never followed"),
            Self::Absolute => f.write_str("references are relative to the file they stand in"),
            Self::Outside => f.write_str("the reference leaves the folder of the root document"),
            Self::Malformed => f.write_str("the reference is not a relative path with a JSON pointer"),
            Self::NotLoaded(name) => write!(f, "there is no file `{name}` in the folder of the document"),
            Self::Dangling => f.write_str("the reference names nothing"),
            Self::Cycle => f.write_str("the reference leads back to itself"),
            Self::TooLong => f.write_str("the chain of references is too long"),
        }
    }
}

impl std::error::Error for RefError {}

/// Objects with more members than this get an index.
const WIDE: usize = 32;
/// References followed in a chain.
const CHAIN: usize = 64;

impl Bundle {
    /// Adds a parsed file. `id` is the index of the file in the source map, `name` its path relative to the folder
    /// of the root document, with `/`; the first file added is the root.
    pub fn add(&mut self, id: u16, name: &str, root: Node) {
        let index = self.files.len();
        let mut tokens = Vec::new();
        self.index(index, &root, &mut tokens);
        self.by_id.insert(id, index);
        self.by_name.insert(name.into(), index);
        self.files.push(Parsed { id, name: name.into(), root });
    }

    /// The root of the first file.
    pub fn root(&self) -> Option<&Node> {
        self.files.first().map(|file| &file.root)
    }

    /// The roots of all files, with their ids.
    pub fn files(&self) -> impl Iterator<Item = (u16, &Node)> {
        self.files.iter().map(|file| (file.id, &file.root))
    }

    /// Whether the file of that name has been added.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The node that `reference`, standing in file `from_file`, names: one hop, which may be a reference itself.
    ///
    /// # Errors
    /// See [`RefError`]; nothing is ever fetched.
    pub fn resolve(&self, from_file: u16, reference: &str) -> Result<(u16, &Node), RefError> {
        let from = *self.by_id.get(&from_file).ok_or(RefError::Malformed)?;
        if let Some((file, tokens)) = self.ids.get(reference) {
            return self.walk(*file, tokens.iter().map(|t| &**t));
        }
        let (path, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if let Some((file, tokens)) = self.ids.get(path)
            && !path.is_empty()
        {
            let (id, base) = self.walk(*file, tokens.iter().map(|t| &**t))?;
            return self.fragment(*file, id, base, fragment);
        }
        let file = if path.is_empty() {
            from
        } else {
            let base = self.files.get(from).map_or("", |file| &file.name);
            let name = relative(base, path)?;
            *self.by_name.get(name.as_str()).ok_or(RefError::NotLoaded(name))?
        };
        let parsed = self.files.get(file).ok_or(RefError::Dangling)?;
        self.fragment(file, parsed.id, &parsed.root, fragment)
    }

    /// Follows `$ref` from `node` until a node that has none: the file and node reached, or `node` itself.
    ///
    /// # Errors
    /// As [`Bundle::resolve`], and for cycles and chains of more than 64.
    pub fn follow<'a>(&'a self, node: &'a Node) -> Result<&'a Node, RefError> {
        let mut seen: Vec<*const Node> = Vec::new();
        let mut here = node;
        while let Some(reference) = here.get("$ref").and_then(Node::as_str) {
            if seen.contains(&std::ptr::from_ref(here)) {
                return Err(RefError::Cycle);
            }
            if seen.len() >= CHAIN {
                return Err(RefError::TooLong);
            }
            seen.push(here);
            here = self.resolve(here.at.file, reference)?.1;
        }
        Ok(here)
    }

    /// The name of the file that `reference` in the file called `base` names; `None` for the same file.
    ///
    /// # Errors
    /// When the reference leaves the folder.
    pub fn file_of(&self, from_file: u16, reference: &str) -> Result<Option<String>, RefError> {
        let (path, _) = reference.split_once('#').unwrap_or((reference, ""));
        if path.is_empty() || self.ids.contains_key(path) || self.ids.contains_key(reference) {
            return Ok(None);
        }
        let base = self.by_id.get(&from_file).and_then(|i| self.files.get(*i)).map_or("", |file| &file.name);
        relative(base, path).map(Some)
    }

    /// The member `key` of `node`, by the index where there is one.
    pub fn member<'a>(&self, node: &'a Node, key: &str) -> Option<&'a Node> {
        match self.wide.get(&(node.at.file, node.at.start)) {
            Some(index) => {
                let position = usize::try_from(*index.get(key)?).ok()?;
                node.as_object()?.get(position).filter(|(k, _)| &*k.text == key).map(|(_, child)| child)
            }
            None => node.child(key),
        }
    }

    fn fragment<'a>(
        &'a self,
        file: usize,
        id: u16,
        base: &'a Node,
        fragment: &str,
    ) -> Result<(u16, &'a Node), RefError> {
        let fragment = percent_decode(fragment).ok_or(RefError::Malformed)?;
        if fragment.is_empty() {
            return Ok((id, base));
        }
        if let Some(pointer) = fragment.strip_prefix('/') {
            let mut here = base;
            for token in pointer.split('/') {
                let token = node::unescape(token).ok_or(RefError::Malformed)?;
                here = self.member(here, &token).ok_or(RefError::Dangling)?;
            }
            return Ok((id, here));
        }
        let tokens = self.anchors.get(&(file, fragment.into())).ok_or(RefError::Dangling)?;
        self.walk(file, tokens.iter().map(|t| &**t))
    }

    fn walk<'t>(&self, file: usize, tokens: impl Iterator<Item = &'t str>) -> Result<(u16, &Node), RefError> {
        let parsed = self.files.get(file).ok_or(RefError::Dangling)?;
        let mut here = &parsed.root;
        for token in tokens {
            here = self.member(here, token).ok_or(RefError::Dangling)?;
        }
        Ok((parsed.id, here))
    }

    fn index(&mut self, file: usize, node: &Node, tokens: &mut Vec<Box<str>>) {
        match &node.value {
            node::Value::Object(members) => {
                if members.len() > WIDE {
                    let positions =
                        (0u32..).zip(members).map(|(i, (key, _))| (key.text.clone(), i)).collect();
                    self.wide.insert((node.at.file, node.at.start), positions);
                }
                for (key, child) in members {
                    match (&*key.text, child.as_str()) {
                        ("$anchor", Some(anchor)) => {
                            self.anchors.insert((file, anchor.into()), tokens.clone().into());
                        }
                        ("$id", Some(id)) => {
                            self.ids.insert(id.trim_end_matches('#').into(), (file, tokens.clone().into()));
                        }
                        _ => {}
                    }
                    if matches!(child.value, node::Value::Object(_) | node::Value::Array(_)) {
                        tokens.push(key.text.clone());
                        self.index(file, child, tokens);
                        tokens.pop();
                    }
                }
            }
            node::Value::Array(items) => {
                for (i, child) in items.iter().enumerate() {
                    if matches!(child.value, node::Value::Object(_) | node::Value::Array(_)) {
                        tokens.push(i.to_string().into());
                        self.index(file, child, tokens);
                        tokens.pop();
                    }
                }
            }
            _ => {}
        }
    }
}

/// `path` relative to the file `base`, within the folder; percent-decoded once.
fn relative(base: &str, path: &str) -> Result<String, RefError> {
    let path = percent_decode(path).ok_or(RefError::Malformed)?;
    let scheme = path.split(['/', '?']).next().unwrap_or("");
    if scheme.contains(':') || path.starts_with("//") {
        return Err(RefError::Remote);
    }
    if path.starts_with('/') || path.starts_with('~') {
        return Err(RefError::Absolute);
    }
    if path.contains(['\\', '?', '\0']) || path.chars().any(char::is_control) {
        return Err(RefError::Malformed);
    }
    let mut parts: Vec<&str> = base.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop().ok_or(RefError::Outside)?;
            }
            "" => return Err(RefError::Malformed),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// RFC 3986 percent-decoding, once; `None` for a bad escape or text that is not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let hi = char::from(bytes.next()?).to_digit(16)?;
            let lo = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(hi * 16 + lo).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_stay_in_the_folder() {
        for (base, path, expected) in [
            ("shop.yaml", "schemas/user.yaml", Ok("schemas/user.yaml")),
            ("schemas/user.yaml", "../shop.yaml", Ok("shop.yaml")),
            ("schemas/user.yaml", "./a%20b.yaml", Ok("schemas/a b.yaml")),
            ("shop.yaml", "../../etc/passwd", Err(RefError::Outside)),
            ("a/b.yaml", "../../etc/passwd", Err(RefError::Outside)),
            ("a/b.yaml", "%2e%2e/%2e%2e/etc/passwd", Err(RefError::Outside)),
            ("shop.yaml", "/etc/passwd", Err(RefError::Absolute)),
            ("shop.yaml", "//169.254.169.254/x", Err(RefError::Remote)),
            ("shop.yaml", "http://169.254.169.254/", Err(RefError::Remote)),
            ("shop.yaml", "file:///etc/passwd", Err(RefError::Remote)),
            ("shop.yaml", "C:\\x", Err(RefError::Remote)),
            ("shop.yaml", "..\\x", Err(RefError::Malformed)),
            ("shop.yaml", "a//b", Err(RefError::Malformed)),
            ("shop.yaml", "a%zz", Err(RefError::Malformed)),
        ] {
            assert_eq!(relative(base, path), expected.map(str::to_owned), "{base} {path}");
        }
    }
}
