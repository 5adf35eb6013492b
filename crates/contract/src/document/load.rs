//! Gathering the files of one document: what it needs, and what it is.

use super::{Bounds, Bundle, Finding, Node, Span, Value, Version, parse};

/// What [`load`] wants next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one of them for each document")]
pub enum Loading {
    /// These files, by path relative to the folder of the root document; add each with [`Files::add`] or say that
    /// it is not there with [`Files::missing`]. The caller canonicalises: a symbolic link out of the folder is
    /// missing.
    Needs(Vec<String>),
    /// The document with all its files.
    Loaded(Document),
    /// It cannot be read.
    Refused(Vec<Finding>),
}

/// An OpenAPI document with all its files, its version known.
#[derive(Debug)]
pub struct Document {
    pub(crate) bundle: Bundle,
    pub(crate) version: Version,
    pub(crate) bounds: Bounds,
    pub(crate) findings: Vec<Finding>,
}

impl Document {
    /// The files.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The rules it follows.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its bounds.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Warnings and remarks of reading it.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

/// The files so far. The first one added is the root.
#[derive(Debug)]
pub struct Files {
    bundle: Bundle,
    bounds: Bounds,
    bytes: usize,
    count: usize,
    missing: Vec<String>,
    errors: Vec<Finding>,
    overlay: Option<Node>,
}

impl Files {
    /// No file yet.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bundle: Bundle::default(),
            bounds,
            bytes: 0,
            count: 0,
            missing: Vec::new(),
            errors: Vec::new(),
            overlay: None,
        }
    }

    /// Adds a file. `id` is its index in the source map (places carry it), `name` its path relative to the folder
    /// of the root, with `/`, `bytes` what it holds.
    pub fn add(&mut self, id: u16, name: &str, bytes: &[u8]) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes.len());
        let nowhere = Span { file: id, ..Span::default() };
        if self.count > self.bounds.files {
            let message = format!("the document has more than {} files", self.bounds.files);
            self.errors.push(Finding::error("document-bounds", nowhere, message));
        } else if self.bytes > self.bounds.bytes {
            let message =
                format!("the files of the document have more than {} bytes together", self.bounds.bytes);
            self.errors.push(Finding::error("document-bounds", nowhere, message));
        } else {
            match parse(id, name, bytes, &self.bounds) {
                Ok(mut root) => {
                    if self.count == 1
                        && let Some(overlay) = &self.overlay
                    {
                        apply(&mut root, overlay, &mut self.errors);
                    }
                    self.bundle.add(id, name, root);
                }
                Err(findings) => self.errors.extend(findings),
            }
        }
    }

    /// The file called `name` is not there, or may not be read.
    pub fn missing(&mut self, name: &str) {
        self.missing.push(name.to_owned());
    }

    /// An overlay: JSON pointer → `x-portcullis` object, merged as if written there. To be given before the root.
    pub fn overlay(&mut self, id: u16, name: &str, bytes: &[u8]) {
        match parse(id, name, bytes, &self.bounds) {
            Ok(node) => self.overlay = Some(node),
            Err(findings) => self.errors.extend(findings),
        }
    }
}

/// Looks at what is there: more files are needed, or the document is complete, or it cannot be read.
pub fn load(files: &mut Files) -> Loading {
    if !files.errors.is_empty() {
        return Loading::Refused(std::mem::take(&mut files.errors));
    }
    let Some(root) = files.bundle.root() else { return Loading::Refused(Vec::new()) };
    let mut findings = Vec::new();
    let version = match version(root, &mut findings) {
        Ok(version) => version,
        Err(finding) => return Loading::Refused(vec![*finding]),
    };
    let mut needs = Vec::new();
    for (id, node) in files.bundle.files() {
        references(node, false, &mut |reference| {
            // What leads out of the folder is reported where it is used.
            if let Some(text) = reference.as_str()
                && let Ok(Some(name)) = files.bundle.file_of(id, text)
                && !files.bundle.contains(&name)
                && !files.missing.contains(&name)
                && !needs.contains(&name)
            {
                needs.push(name);
            }
        });
    }
    if !needs.is_empty() {
        return Loading::Needs(needs);
    }
    Loading::Loaded(Document {
        bundle: std::mem::take(&mut files.bundle),
        version,
        bounds: files.bounds,
        findings,
    })
}

fn version(root: &Node, findings: &mut Vec<Finding>) -> Result<Version, Box<Finding>> {
    let Some(_) = root.as_object() else {
        let message = format!("an OpenAPI document is an object; this is {}", root.kind());
        return Err(Box::new(Finding::error("version-unsupported", root.at, message)));
    };
    if let Some((key, value)) = root.entry("swagger") {
        let message = format!("this is a Swagger {value} document; OpenAPI 3.0 and 3.1 are understood");
        return Err(Box::new(
            Finding::error("version-unsupported", key.at, message).help(
                "convert it once, for example with `npx swagger2openapi FILE`, and check the result in",
            ),
        ));
    }
    let Some(value) = root.get("openapi") else {
        return Err(Box::new(
            Finding::error("version-unsupported", root.at, "the document does not say `openapi: 3.x.y`")
                .help("OpenAPI 3.0 and 3.1 are understood"),
        ));
    };
    let text = value.scalar_text().unwrap_or("");
    let mut parts = text.split('.');
    match (parts.next(), parts.next()) {
        (Some("3"), Some("0")) => Ok(Version::V30),
        (Some("3"), Some("1")) => Ok(Version::V31),
        (Some("3"), Some("2")) => {
            let message = "OpenAPI 3.2 is read as 3.1; what only 3.2 has is an error";
            findings.push(Finding::warning("version-newer", value.at, message));
            Ok(Version::V31)
        }
        _ => Err(Box::new(
            Finding::error("version-unsupported", value.at, format!("OpenAPI `{value}` is not understood"))
                .help("OpenAPI 3.0 and 3.1 are"),
        )),
    }
}

/// Keys whose value is data and never holds a reference of the document.
const DATA: [&str; 5] = ["example", "examples", "default", "enum", "const"];
/// Keys whose value maps free names to objects.
const MAPS: [&str; 15] = [
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
    "schemas",
    "responses",
    "headers",
    "requestBodies",
    "pathItems",
    "paths",
    "content",
    "callbacks",
    "links",
    "securitySchemes",
];

/// Visits the value of every `$ref` (and of `mapping` in a discriminator) below `node`.
fn references<'n>(node: &'n Node, names: bool, visit: &mut impl FnMut(&'n Node)) {
    match &node.value {
        Value::Object(members) => {
            for (key, child) in members {
                if names {
                    references(child, false, visit);
                } else if &*key.text == "$ref" {
                    visit(child);
                } else if !DATA.contains(&&*key.text) && !key.text.starts_with("x-") {
                    let map = MAPS.contains(&&*key.text)
                        || (&*key.text == "parameters" && child.as_object().is_some());
                    references(child, map, visit);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|child| references(child, false, visit)),
        _ => {}
    }
}

/// Merges each `pointer: {…}` of the overlay into the `x-portcullis` of what the pointer names.
fn apply(root: &mut Node, overlay: &Node, errors: &mut Vec<Finding>) {
    let Some(entries) = overlay.as_object() else {
        errors.push(Finding::error(
            "overlay-invalid",
            overlay.at,
            "an overlay maps JSON pointers to objects",
        ));
        return;
    };
    for (pointer, addition) in entries {
        let Some(members) = addition.as_object() else {
            errors.push(Finding::error("overlay-invalid", addition.at, "expected an `x-portcullis` object"));
            continue;
        };
        let target = tokens(&pointer.text).and_then(|tokens| find(root, &tokens));
        let Some(Node { value: Value::Object(target), .. }) = target else {
            let message = format!("the pointer `{}` names no object of the document", pointer.text);
            errors.push(Finding::error("overlay-invalid", pointer.at, message));
            continue;
        };
        let position = target.iter().position(|(key, _)| &*key.text == "x-portcullis");
        match position.and_then(|i| target.get_mut(i)) {
            None => {
                let key = super::Key { text: "x-portcullis".into(), at: pointer.at };
                target.push((key, addition.clone()));
            }
            Some((_, Node { value: Value::Object(existing), .. })) => {
                for (key, value) in members {
                    if existing.iter().any(|(k, _)| k.text == key.text) {
                        let message =
                            format!("`{}` is already in the document at `{}`", key.text, pointer.text);
                        errors.push(Finding::error("overlay-invalid", key.at, message));
                    } else {
                        existing.push((key.clone(), value.clone()));
                    }
                }
            }
            Some((key, _)) => {
                errors.push(Finding::error("extension-unknown", key.at, "`x-portcullis` is an object"));
            }
        }
    }
}

fn tokens(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    pointer.strip_prefix('/')?.split('/').map(super::node::unescape).collect()
}

fn find<'n>(node: &'n mut Node, tokens: &[String]) -> Option<&'n mut Node> {
    let Some((first, rest)) = tokens.split_first() else { return Some(node) };
    match &mut node.value {
        Value::Object(members) => {
            let (_, child) = members.iter_mut().find(|(key, _)| *key.text == **first)?;
            find(child, rest)
        }
        Value::Array(items) => find(items.get_mut(first.parse::<usize>().ok()?)?, rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(text: &str) -> Files {
        let mut files = Files::new(Bounds::default());
        files.add(0, "api.yaml", text.as_bytes());
        files
    }

    fn refused(text: &str) -> Finding {
        match load(&mut start(text)) {
            Loading::Refused(mut findings) => findings.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn versions() {
        for (text, expected) in [
            ("openapi: 3.0.3", Version::V30),
            ("openapi: 3.1", Version::V31),
            ("openapi: 3.2.0", Version::V31),
        ] {
            let Loading::Loaded(document) = load(&mut start(text)) else { panic!("{text}") };
            assert_eq!(document.version(), expected);
            assert_eq!(document.findings().len(), usize::from(text.contains("3.2")));
        }
        for text in ["openapi: 4.0.0", "openapi: 2.0", "info: {}", "openapi: [3]", "[1]", ""] {
            assert_eq!(refused(text).code, "version-unsupported", "{text}");
        }
        let swagger = refused("swagger: '2.0'\ninfo: {}\n");
        assert_eq!((swagger.code, swagger.at.line), ("version-unsupported", 1));
        assert!(swagger.help.unwrap().contains("swagger2openapi"));
    }

    #[test]
    fn files_are_asked_for_until_all_are_there() {
        let mut files = start(
            "openapi: 3.0.0\npaths: {/a: {$ref: 'paths/a.yaml#/a'}}\ncomponents: {schemas: {default: {$ref: 'd.yaml'}}}\n\
             x-a: {$ref: no.yaml}\nz: {$ref: 'http://x/'}\n",
        );
        let Loading::Needs(needs) = load(&mut files) else { panic!() };
        assert_eq!(needs, ["paths/a.yaml", "d.yaml"]);
        files.add(
            1,
            "paths/a.yaml",
            b"a: {get: {x: {$ref: '../d.yaml#/q'}, example: {$ref: e.yaml}, y: {$ref: b.yaml}}}",
        );
        files.missing("d.yaml");
        let Loading::Needs(needs) = load(&mut files) else { panic!() };
        assert_eq!(needs, ["paths/b.yaml"]);
        files.add(2, "paths/b.yaml", b"q: {$ref: '#/r'}\nr: 1\n");
        let Loading::Loaded(document) = load(&mut files) else { panic!() };
        let bundle = document.bundle();
        let (file, node) = bundle.resolve(0, "paths/a.yaml#/a").unwrap();
        assert_eq!((file, node.at.file), (1, 1));
        let (file, node) = bundle.resolve(2, "#/q").unwrap();
        assert_eq!(file, 2);
        assert_eq!(bundle.follow(node).unwrap().as_number(), Some("1"));
        assert!(bundle.resolve(0, "d.yaml").is_err());
    }
}
