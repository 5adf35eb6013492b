//! What one JSON body costs: scan, validate, keep, write; ours beside the crate `jsonschema` over `serde_json`.
//! `cargo bench -p portcullis-contract --bench body`

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a bench")]

use std::hint::black_box;
use std::time::Instant;

use portcullis_contract::document::{self, Bundle, Version, parse};
use portcullis_contract::json::{Bounds, Tape, scan, write};
use portcullis_contract::schema::{Compiler, Options};

/// About 1 KB, 20 fields.
const SMALL: &str = r#"{"id":"0192f0c1-0000-7000-8000-00000000000a","number":"ORD-2024-000123","customer":{"id":42,"name":"Maria Gonzalez","email":"maria.gonzalez@example.com","address":{"street":"12 Long Street","city":"Springfield","zip":"12345","country":"US"}},"currency":"EUR","total":199.95,"paid":true,"status":"open","note":"Please ring the bell twice and leave the parcel with the neighbours if nobody answers within a few minutes.","created":"2024-02-29T12:00:00Z","items":[{"sku":"ABC-1","quantity":2,"price":49.99,"title":"A rather long title of some product, with details"},{"sku":"ABC-2","quantity":1,"price":99.97,"title":"Another rather long title of some other product, with more details"}],"tags":["new","priority","gift"],"weight":1250,"carrier":"dhl","tracking":null,"channel":"web","locale":"de-DE","version":7,"discount":0.15,"coupon":"SPRING-2024-SALE","reference":"a text that is here to make the body about as large as it should be for the bench, no more"}"#;

const SCHEMA: &str = r"
Order:
  type: object
  required: [number, customer, items]
  properties:
    id: {type: string, format: uuid}
    number: {type: string, pattern: '^ORD-[0-9]{4}-[0-9]{6}$'}
    customer: {$ref: '#/components/schemas/Customer'}
    currency: {type: string, enum: [EUR, USD, GBP]}
    total: {type: number, minimum: 0}
    paid: {type: boolean}
    status: {type: string, enum: [open, paid, sent]}
    note: {type: string, maxLength: 500}
    created: {type: string, format: date-time}
    items: {type: array, maxItems: 2000, items: {$ref: '#/components/schemas/Item'}}
    tags: {type: array, items: {type: string, maxLength: 20}}
    weight: {type: integer, minimum: 0}
    carrier: {type: string}
    tracking: {type: string, nullable: true}
    channel: {type: string}
    locale: {type: string, minLength: 2, maxLength: 10}
    version: {type: integer, format: int32}
    discount: {type: number, minimum: 0, maximum: 1}
    coupon: {type: string}
    reference: {type: string}
Customer:
  type: object
  properties:
    id: {type: integer, format: int64}
    name: {type: string}
    email: {type: string, format: email}
    address:
      type: object
      properties: {street: {type: string}, city: {type: string}, zip: {type: string}, country: {type: string, minLength: 2, maxLength: 2}}
Item:
  type: object
  required: [sku, quantity]
  properties:
    sku: {type: string, maxLength: 20}
    quantity: {type: integer, minimum: 1, maximum: 1000}
    price: {type: number, minimum: 0}
    title: {type: string, maxLength: 200}
";

fn main() {
    let indented: String = SCHEMA.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!("components:\n  schemas:\n{indented}");
    let root = parse(0, "a.yaml", text.as_bytes(), &document::Bounds::default()).unwrap();
    let mut bundle = Bundle::default();
    bundle.add(0, "a.yaml", root);
    let node = bundle.resolve(0, "#/components/schemas/Order").unwrap().1;
    let mut compiler = Compiler::new(&bundle, Version::V30, Options::default());
    let request = compiler.request(node).unwrap();
    let response = compiler.response(node).unwrap();
    drop(compiler);

    let item = r#"{"sku":"ABC-1","quantity":2,"price":49.99,"title":"A rather long title of some product, with details"}"#;
    let items = vec![item; 1_000].join(",");
    let middle = SMALL.replace("\"items\":[", &format!("\"items\":[{},", vec![item; 84].join(",")));
    let large = SMALL.replace("\"items\":[", &format!("\"items\":[{items},"));
    for (name, text) in [("1 KB", SMALL), ("10 KB", &middle), ("100 KB", &large)] {
        println!("{name}: {} bytes", text.len());
        let bounds = Bounds::default();
        let tape = scan(text, &bounds, [1, 2]).unwrap();
        assert!(request.is_valid(&tape), "{:?}", request.violations(&tape));
        let spaced =
            serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(text).unwrap()).unwrap();
        let spaced_tape = scan(spaced.as_str(), &bounds, [1, 2]).unwrap();
        let wrong = text.replace("\"version\":7", "\"version\":\"7\",\"is_admin\":true");
        let wrong_tape = scan(wrong.as_str(), &bounds, [1, 2]).unwrap();
        let mut out = Vec::with_capacity(2 * text.len());
        time("scan", || scan(black_box(text), &bounds, [1, 2]).unwrap().len());
        time("scan, indented", || scan(black_box(spaced.as_str()), &bounds, [1, 2]).unwrap().len());
        time("is_valid", || usize::from(request.is_valid(black_box(&tape))));
        time("keep, valid", || response.keep(black_box(&tape)).dropped as usize);
        time("keep, one dropped", || response.keep(black_box(&wrong_tape)).dropped as usize);
        // What a response costs: read, cut to what is declared, written again.
        time("scan + keep + write", || {
            let tape = scan(black_box(text), &bounds, [1, 2]).unwrap();
            let kept = response.keep(&tape);
            out.clear();
            write(&tape, kept.keep.as_ref(), &mut out);
            out.len()
        });
        time("violations", || request.violations(black_box(&wrong_tape)).len());
        time("write", || {
            out.clear();
            write(black_box(&spaced_tape), None, &mut out);
            out.len()
        });
        time("scan + is_valid + write", || {
            let tape = scan(black_box(spaced.as_str()), &bounds, [1, 2]).unwrap();
            out.clear();
            write(&tape, None, &mut out);
            out.len() + usize::from(request.is_valid(&tape))
        });
        time("serde_json to a tree", || {
            usize::from(serde_json::from_str::<serde_json::Value>(black_box(text)).unwrap().is_object())
        });
        theirs(&tape, text);
    }
}

/// The same rules, in the crate `jsonschema`, closed by hand.
fn theirs(tape: &Tape, text: &str) {
    let closed = include_str!("order.schema.json");
    let schema: serde_json::Value = serde_json::from_str(closed).expect("a schema");
    let over_tape = jsonschema::options_for::<Tape>()
        .with_draft(jsonschema::Draft::Draft202012)
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(&schema)
        .unwrap();
    let over_tree = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let tree: serde_json::Value = serde_json::from_str(text).unwrap();
    assert!(over_tree.is_valid(&tree) && over_tape.is_valid(tape.root()));
    time("jsonschema over the tape", || usize::from(over_tape.is_valid(black_box(tape).root())));
    time("jsonschema over a tree", || usize::from(over_tree.is_valid(black_box(&tree))));
}

/// The fastest of several rounds: what the work costs when nobody else is at it.
fn time(name: &str, mut work: impl FnMut() -> usize) {
    let begun = Instant::now();
    let mut rounds = 0u32;
    while begun.elapsed().as_millis() < 50 {
        black_box(work());
        rounds += 1;
    }
    let each = rounds.max(10) / 10;
    let best = (0..20)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..each {
                black_box(work());
            }
            begun.elapsed().as_secs_f64() / f64::from(each)
        })
        .fold(f64::INFINITY, f64::min);
    println!("  {name:<28} {:>10.3} µs", best * 1e6);
}
