//! The path of `servers`: what stands in front of every path. Scheme and host never choose an upstream.

use super::keys::Kind;
use super::paths::{Piece, Template};
use super::reader::Reader;
use crate::document::{Finding, Node, Span};

/// The base path.
#[derive(Debug)]
pub(crate) struct Base {
    /// Empty, or with a slash in front and none behind.
    pub(crate) text: Box<str>,
    pub(crate) template: Template,
}

/// The base path of the document; `None` with a finding.
pub(crate) fn base_path<'d>(reader: &mut Reader<'d>, root: &'d Node) -> Option<Base> {
    let found = paths(reader, root);
    if let Some(own) = &reader.terms.base_path {
        let at = root.get("servers").map_or(root.at, |node| node.at);
        return base(reader, own.trim_end_matches('/'), at);
    }
    let Some((first, at)) = found.first().cloned() else { return base(reader, "", root.at) };
    if let Some((other, at)) = found.iter().find(|(path, _)| *path != first) {
        let message = format!("the servers have different paths, `{first}/` and `{other}/`");
        reader.findings.push(
            Finding::error("servers-ambiguous", *at, message)
                .help("say `base_path:` for this API in portcullis.yaml"),
        );
        return None;
    }
    base(reader, &first, at)
}

/// `servers` of a path item must not say otherwise.
pub(crate) fn same<'d>(reader: &mut Reader<'d>, node: &'d Node, base: &Base) {
    let found = paths(reader, node);
    if reader.terms.base_path.is_some() {
        return;
    }
    if let Some((other, at)) = found.iter().find(|(path, _)| **path != *base.text) {
        let message = format!("the servers have different paths, `{}/` and `{other}/`", base.text);
        reader.findings.push(
            Finding::error("servers-ambiguous", *at, message)
                .help("say `base_path:` for this API in portcullis.yaml"),
        );
    }
}

fn base(reader: &mut Reader<'_>, text: &str, at: Span) -> Option<Base> {
    if text.is_empty() {
        return Some(Base {
            text: "".into(),
            template: Template { segments: Vec::new(), trailing_slash: false },
        });
    }
    match Template::parse(text) {
        Ok(template) if template.segments.iter().all(|piece| matches!(piece, Piece::Literal { .. })) => {
            Some(Base { text: text.into(), template })
        }
        Ok(_) => {
            reader.error(
                "servers-invalid",
                at,
                format!("the base path `{text}` has a variable without a default"),
            );
            None
        }
        Err(reason) => {
            reader.error(
                "servers-invalid",
                at,
                format!("the base path `{text}` can never be asked for: {reason}"),
            );
            None
        }
    }
}

/// The paths of all servers of an object, without a slash behind.
fn paths<'d>(reader: &mut Reader<'d>, node: &'d Node) -> Vec<(String, Span)> {
    let mut out = Vec::new();
    for server in reader.items(node, "servers") {
        let Some(server) = reader.object(server, Kind::Server) else { continue };
        let Some(url) = reader.text(server, "url") else { continue };
        let mut url = url.to_owned();
        for (key, variable) in reader.members(server, "variables") {
            if let Some(variable) = reader.object(variable, Kind::ServerVariable)
                && let Some(default) = variable.get("default").and_then(Node::scalar_text)
            {
                url = url.replace(&format!("{{{}}}", key.text), default);
            }
        }
        out.push((path_of(&url), server.at));
    }
    out
}

fn path_of(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or("").trim();
    let path = match url.split_once("://").map(|(_, rest)| rest).or_else(|| url.strip_prefix("//")) {
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or(""),
        None => url,
    };
    let path = path.strip_prefix("./").unwrap_or(path);
    let path = path.trim_end_matches('/');
    if path.is_empty() || path == "." {
        String::new()
    } else if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn only_the_path_of_a_server_counts() {
        for (url, path) in [
            ("https://api.example.com/v1", "/v1"),
            ("https://api.example.com/v1/", "/v1"),
            ("https://api.example.com", ""),
            ("//api.example.com/a/b", "/a/b"),
            ("/v2", "/v2"),
            ("/", ""),
            (".", ""),
            ("./v3", "/v3"),
            ("v3", "/v3"),
            ("https://api.example.com/v1?x=1#y", "/v1"),
            ("", ""),
        ] {
            assert_eq!(path_of(url), path, "{url}");
        }
    }
}
