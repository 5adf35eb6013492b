//! Time and memory of a check among 1.2 million tuples: `cargo bench -p portcullis-relations`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::hint::black_box;
use std::time::Instant;

use portcullis_relations::check::{Limits, Outcome, Query, check};
use portcullis_relations::index::Index;
use portcullis_relations::model::{Model, Names};
use portcullis_relations::tuple::{Object, Subject, Tuple};
use serde_json::Map;

const MODEL: &str = "model
  schema 1.1
type user
type workspace
  relations
    define admin: [user]
    define member: [user] or admin
type folder
  relations
    define parent: [folder]
    define workspace: [workspace]
    define editor: [user] or admin from workspace or editor from parent
    define viewer: [user] or editor or member from workspace or viewer from parent
type document
  relations
    define parent: [folder]
    define owner: [user]
    define blocked: [user]
    define editor: [user] or owner or editor from parent
    define viewer: ([user, user:*] or editor or viewer from parent) but not blocked
";

const WORKSPACES: u32 = 2_000;
const MEMBERS: u32 = 100;
const FOLDERS: u32 = 100_000;
const DOCUMENTS: u32 = 400_000;

fn main() {
    let mut names = Names::default();
    let model = Model::from_text(MODEL, &mut names).unwrap();
    let tuples = tuples();
    let begin = Instant::now();
    let index = Index::build(0x5eed, &mut names, &tuples).unwrap();
    println!(
        "{} tuples, built in {:.2} s, {} bytes a tuple beside ids",
        tuples.len(),
        begin.elapsed().as_secs_f64(),
        index.overhead() / tuples.len()
    );
    assert!(tuples.len() >= 1_200_000);

    // A member of the workspace of the document's folder's folder: document, two folders, workspace, each with the
    // relations on the way.
    let member = |document: u32| {
        let root = document % FOLDERS % (FOLDERS / 2);
        user(root % WORKSPACES, document % MEMBERS)
    };
    measure("viewer through two folders and a workspace", &model, &names, &index, "viewer", true, &member);
    measure("owner of the document", &model, &names, &index, "editor", true, &|document| {
        format!("owner{document}")
    });
    measure("a stranger", &model, &names, &index, "viewer", false, &|document| {
        format!("stranger{}", document % 977)
    });
}

fn measure(
    what: &str,
    model: &Model,
    names: &Names,
    index: &Index,
    relation: &str,
    wanted: bool,
    who: &dyn Fn(u32) -> String,
) {
    let context = Map::new();
    let asked: Vec<(Object, Subject)> = (0..50_000_u32)
        .map(|at| {
            let document = at.wrapping_mul(2_654_435_761) % DOCUMENTS;
            let subject = Subject { object: object("user", who(document)), relation: None };
            (object("document", document.to_string()), subject)
        })
        .collect();
    let mut times = Vec::with_capacity(asked.len());
    for round in 0..2 {
        times.clear();
        for (object, subject) in &asked {
            let query = Query { object, relation, subject, contextual: &[], context: &context };
            let begin = Instant::now();
            let found = black_box(check(model, names, index, &query, Limits::default()).unwrap());
            times.push(begin.elapsed().as_nanos());
            assert_eq!(found == Outcome::Allowed, wanted, "{what}, round {round}");
        }
    }
    times.sort_unstable();
    let at = |share: usize| *times.get(times.len() * share / 1_000).unwrap();
    println!("{what}: p50 {} ns, p99 {} ns", at(500), at(990));
}

fn tuples() -> Vec<Tuple> {
    let mut all = Vec::new();
    for workspace in 0..WORKSPACES {
        for member in 0..MEMBERS {
            all.push(tuple("workspace", workspace.to_string(), "member", "user", user(workspace, member)));
        }
    }
    for folder in 0..FOLDERS {
        if folder < FOLDERS / 2 {
            all.push(tuple(
                "folder",
                folder.to_string(),
                "workspace",
                "workspace",
                (folder % WORKSPACES).to_string(),
            ));
        } else {
            all.push(tuple(
                "folder",
                folder.to_string(),
                "parent",
                "folder",
                (folder - FOLDERS / 2).to_string(),
            ));
        }
        all.push(tuple("folder", folder.to_string(), "editor", "user", format!("editor{folder}")));
    }
    for document in 0..DOCUMENTS {
        let folder = document % FOLDERS;
        all.push(tuple("document", document.to_string(), "parent", "folder", folder.to_string()));
        all.push(tuple("document", document.to_string(), "owner", "user", format!("owner{document}")));
    }
    all
}

fn user(workspace: u32, member: u32) -> String {
    format!("u{workspace}x{member}")
}

fn object(type_name: &str, id: String) -> Object {
    Object { type_name: type_name.to_owned(), id }
}

fn tuple(of: &str, id: String, relation: &str, subject: &str, subject_id: String) -> Tuple {
    Tuple {
        object: object(of, id),
        relation: relation.to_owned(),
        subject: Subject { object: object(subject, subject_id), relation: None },
        condition: None,
    }
}
