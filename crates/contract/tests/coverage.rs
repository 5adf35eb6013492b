//! Every key of a document in exactly one class, and an unknown key in every object of the specification is a finding.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::collections::HashSet;

use portcullis_contract::document::{Node, Span, Value};
use portcullis_contract::model::{Class, Terms, coverage};
use support::{document, findings, rendered};

/// One of every object of OpenAPI 3.0.4 and 3.1.2. In the line `@ Kind: value` a key may be added to an object of that
/// kind.
const WHOLE: &str = "\
openapi: VERSION
@ OpenAPI Object: 0
info:
  title: t
  version: '1'
  @ Info Object: 0
  contact:
    name: n
    @ Contact Object: 0
  license:
    name: l
    @ License Object: 0
servers:
  - url: 'https://{h}/v1'
    @ Server Object: 0
    variables:
      h:
        default: a
        @ Server Variable Object: 0
tags:
  - name: t
    @ Tag Object: 0
externalDocs:
  url: 'https://a.example'
  @ External Documentation Object: 0
security:
  - oauth: []
    @ Security Requirement Object: []
paths:
  @ Paths Object: {}
  /a:
    @ Path Item Object: 0
    post:
      @ Operation Object: 0
      operationId: a
      parameters:
        - $ref: '#/components/parameters/p'
          @ Reference Object: 0
        - name: q
          in: query
          @ Parameter Object: 0
          schema:
            type: string
            @ Schema Object: 0
          examples:
            e:
              value: 1
              @ Example Object: 0
      requestBody:
        @ Request Body Object: 0
        content:
          application/json:
            @ Media Type Object: 0
            schema: {$ref: '#/components/schemas/S'}
          application/x-www-form-urlencoded:
            schema: {type: object, properties: {f: {type: string}}}
            encoding:
              f:
                style: form
                @ Encoding Object: 0
      responses:
        @ Responses Object: {description: d}
        '200':
          description: d
          @ Response Object: 0
          headers:
            X-H:
              schema: {type: string}
              @ Header Object: 0
          links:
            l:
              operationId: a
              @ Link Object: 0
      callbacks:
        c:
          '{$request.query.q}':
            @ Path Item Object of a Callback Object: 0
            post:
              @ Operation Object of a Callback Object: 0
              responses: {'200': {description: d}}
components:
  @ Components Object: 0
  parameters: {p: {name: p, in: query, schema: {type: string}}}
  schemas:
    S:
      oneOf: [{$ref: '#/components/schemas/T'}]
      discriminator:
        propertyName: k
        @ Discriminator Object: 0
    T:
      type: object
      xml:
        name: x
        @ XML Object: 0
      properties: {k: {type: string}}
    Unreached:
      type: object
      @ Schema Object that nobody reaches: 0
  securitySchemes:
    oauth:
      type: oauth2
      @ Security Scheme Object: 0
      flows:
        @ OAuth Flows Object: 0
        clientCredentials:
          tokenUrl: 'https://a.example'
          @ OAuth Flow Object: 0
          scopes: {}
";

/// The text without the marked lines but one, which becomes `key`.
fn with(kept: &str, key: &str, version: &str) -> String {
    let mut out = String::new();
    for line in WHOLE.lines() {
        match line.split_once("@ ") {
            None => out.push_str(line),
            Some((indent, mark)) => {
                let (mark, value) = mark.split_once(": ").unwrap();
                if mark != kept {
                    continue;
                }
                out.push_str(&format!("{indent}{key}: {value}"));
            }
        }
        out.push('\n');
    }
    out.replace("VERSION", version)
}

fn marks() -> Vec<&'static str> {
    WHOLE.lines().filter_map(|line| line.split_once("@ ")?.1.split_once(": ")).map(|(mark, _)| mark).collect()
}

#[test]
fn an_unknown_key_in_each_object_of_the_specification_is_a_finding() {
    assert!(marks().len() >= 30);
    for version in ["3.0.4", "3.1.2"] {
        let clean = with("", "", version);
        let before: HashSet<_> = findings(&clean, &Terms::default()).iter().map(|f| f.code).collect();
        assert_eq!(before, HashSet::from(["callbacks-ignored"]), "{version}:\n{clean}");
        for mark in marks() {
            let text = with(mark, "sproing", version);
            let found = findings(&text, &Terms::default());
            let line = 1 + text.lines().position(|line| line.contains("sproing")).unwrap();
            let hit = found.iter().filter(|f| f.at.line as usize == line && f.message.contains("sproing"));
            assert_eq!(hit.count(), 1, "{version} {mark}: {}", rendered(&text, &found));
        }
    }
}

/// Every key of the tree that is not data below an annotation or a value.
fn keys(node: &Node, out: &mut Vec<(Span, String)>) {
    const DATA: [&str; 6] = ["enum", "const", "default", "example", "value", "x-mine"];
    match &node.value {
        Value::Object(members) => {
            for (key, value) in members {
                out.push((key.at, key.text.to_string()));
                if !DATA.contains(&&*key.text) {
                    keys(value, out);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, out)),
        _ => {}
    }
}

#[test]
fn every_key_is_listed_once_in_one_class() {
    let text = with("Operation Object", "sproing", "3.0.3")
        .replace("    T:\n", "    T:\n      example: {any: {thing: 1}}\n      x-mine: {a: 1}\n");
    let document = document(&text).unwrap();
    let mut expected = Vec::new();
    keys(document.bundle().root().unwrap(), &mut expected);
    expected.sort();
    let sections = coverage(&document);
    let mut listed: Vec<(Span, String)> = sections
        .iter()
        .flat_map(|section| &section.entries)
        .map(|entry| {
            let name = entry.pointer.rsplit('/').next().unwrap();
            (entry.at, name.replace("~1", "/").replace("~0", "~"))
        })
        .collect();
    listed.sort();
    assert_eq!(listed, expected);
    let unread: Vec<_> =
        sections.iter().flat_map(|s| &s.entries).filter(|entry| entry.class == Class::Finding).collect();
    assert_eq!(unread.iter().map(|entry| &*entry.pointer).collect::<Vec<_>>(), ["/sproing"]);
    let titles: Vec<_> = sections.iter().map(|section| &*section.title).collect();
    for title in ["document", "/a", "POST /a", "components/schemas/S", "components/parameters/p"] {
        assert!(titles.contains(&title), "{titles:?}");
    }
}
