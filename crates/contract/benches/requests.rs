//! What finding an operation, reading its parameters and writing its target cost, and how long a document takes:
//! `cargo bench -p portcullis-contract --bench requests`. Documents are taken from `PORTCULLIS_WILD`, when set.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use portcullis_contract::document::{Bounds, Files, Loading, load};
use portcullis_contract::model::{Contract, Found, Terms, compile};
use portcullis_core::head::{
    Authority, Client, FieldRules, Fields, Head, HeadParts, Method, Scheme, Target, Version,
};

fn main() {
    let contract = contract(&document(5000));
    println!("{} operations", contract.operations().len());
    for (what, target) in [
        ("one literal", "/r7"),
        ("one id", "/r4321/77"),
        ("deep, backtracking", "/r4321/77/items/12/notes/9"),
        ("query of three", "/r4321?limit=50&offset=100&status=open"),
        ("nothing there", "/r4321/77/items/12/nothing"),
    ] {
        let head = head(target);
        println!("{what}: find {:.0} ns", nanoseconds(|| contract.find(Method::Get, head.path())));
        if let Found::Operation { operation, path, .. } = contract.find(Method::Get, head.path()) {
            println!(
                "{what}: parameters {:.0} ns",
                nanoseconds(|| operation.parameters(&head, &path).unwrap())
            );
            let values = operation.parameters(&head, &path).unwrap();
            println!("{what}: target {:.0} ns", nanoseconds(|| operation.target("", &values)));
        }
    }
    if let Ok(folder) = std::env::var("PORTCULLIS_WILD") {
        let mut all = Vec::new();
        documents(folder.as_ref(), &mut all);
        all.sort_by_key(|path| std::cmp::Reverse(std::fs::metadata(path).map_or(0, |m| m.len())));
        for path in all.iter().take(20) {
            timed(path);
        }
    }
}

fn timed(path: &std::path::Path) {
    let bytes = std::fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let clock = Instant::now();
    let mut files = Files::new(Bounds { bytes: 64 << 20, schemas: 200_000, ..Bounds::default() });
    files.add(0, &name, &bytes);
    let document = loop {
        match load(&mut files) {
            Loading::Needs(names) => names.iter().for_each(|name| files.missing(name)),
            Loading::Loaded(document) => break document,
            Loading::Refused(findings) => {
                println!("{name}: refused, {}", findings.first().map_or("", |f| f.message.as_str()));
                return;
            }
        }
    };
    let read = clock.elapsed();
    let result = compile(&document, &Terms { base_path: Some(String::new()), ..Terms::default() });
    let operations = result.map_or_else(
        |f| format!("{} findings", f.len()),
        |c| format!("{} operations", c.contract.operations().len()),
    );
    println!(
        "{name}: {} KiB, read in {read:?}, compiled in {:?}, {operations}",
        bytes.len() >> 10,
        clock.elapsed() - read
    );
}

fn documents(folder: &std::path::Path, out: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            documents(&path, out);
        } else {
            out.push(path);
        }
    }
}

/// The median of seven rounds.
fn nanoseconds<T>(mut work: impl FnMut() -> T) -> f64 {
    let n = 100_000;
    let mut rounds: Vec<f64> = (0..7)
        .map(|_| {
            let clock = Instant::now();
            for _ in 0..n {
                black_box(work());
            }
            clock.elapsed().as_nanos() as f64 / f64::from(n)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    *rounds.get(3).unwrap()
}

fn document(operations: usize) -> String {
    let mut out = String::from("openapi: 3.0.3\ninfo: {title: t, version: '1'}\npaths:\n");
    let answer = "responses: {'204': {description: none}}";
    let id = |name: &str| {
        format!("{{name: {name}, in: path, required: true, schema: {{type: integer, format: int64}}}}")
    };
    let query = "{name: limit, in: query, schema: {type: integer, maximum: 100}}, {name: offset, in: query, schema: {type: integer}}, {name: status, in: query, schema: {type: string, enum: [open, closed]}}";
    for i in 0..operations / 4 {
        // Spread names, as real documents have them.
        let r = i * 4 + 1;
        let _ = write!(
            out,
            "  /r{r}: {{get: {{parameters: [{query}], {answer}}}}}\n  /r{r}/{{a}}: {{get: {{parameters: [{}], {answer}}}}}\n  /r{r}/{{a}}/items/{{b}}/notes/{{c}}: {{get: {{parameters: [{}, {}, {}], {answer}}}}}\n  /r{r}/mine/items/{{b}}: {{get: {{parameters: [{}], {answer}}}}}\n",
            id("a"),
            id("a"),
            id("b"),
            id("c"),
            id("b")
        );
    }
    out.push_str("  /r7: {get: {responses: {'204': {description: none}}}}\n");
    out
}

fn contract(text: &str) -> Contract {
    let mut files = Files::new(Bounds::default());
    files.add(0, "api.yaml", text.as_bytes());
    let Loading::Loaded(document) = load(&mut files) else { return contract("openapi: 3.0.0") };
    compile(&document, &Terms::default()).map(|done| done.contract).unwrap()
}

fn head(target: &str) -> Head {
    Head::new(HeadParts {
        method: Method::Get,
        version: Version::Http11,
        scheme: Scheme::Https,
        authority: Authority::parse("api.example.com").unwrap(),
        public_port: 443,
        target: Target::parse(target).unwrap(),
        fields: Fields::admit(http::HeaderMap::new(), Version::Http11, &FieldRules::default()).unwrap(),
        client: Client::peer([127, 0, 0, 1].into()),
        websocket: false,
    })
}
