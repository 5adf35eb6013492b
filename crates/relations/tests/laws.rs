//! Laws over random models and tuples, and the attacks on an engine that follows other people's graphs.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeSet;

use portcullis_relations::check::{Code, Limits, Outcome, Query, check};
use portcullis_relations::index::{Change, Index};
use portcullis_relations::list::{Listed, ObjectsQuery, UsersQuery, list_objects, list_users};
use portcullis_relations::model::{Model, Names};
use portcullis_relations::tuple::{Object, Subject, Tuple};
use proptest::prelude::*;
use serde_json::Map;

/// A rewrite over the relations `r0`–`r2`, of groups and documents alike.
#[derive(Clone, Debug)]
enum Rewrite {
    This,
    Computed(usize),
    From(usize),
    Union(Vec<Rewrite>),
    Intersection(Vec<Rewrite>),
    Difference(Box<Rewrite>, Box<Rewrite>),
}

const RELATIONS: usize = 3;
const OBJECTS: usize = 3;
const USERS: usize = 2;

#[derive(Clone, Debug)]
struct World {
    /// Of `group`, then of `doc`.
    rewrites: Vec<Vec<Rewrite>>,
    tuples: Vec<Tuple>,
}

fn rewrite() -> impl Strategy<Value = Rewrite> {
    let leaf = prop_oneof![
        3 => Just(Rewrite::This),
        2 => (0..RELATIONS).prop_map(Rewrite::Computed),
        2 => (0..RELATIONS).prop_map(Rewrite::From),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Rewrite::Union),
            proptest::collection::vec(inner.clone(), 2..3).prop_map(Rewrite::Intersection),
            (inner.clone(), inner).prop_map(|(a, b)| Rewrite::Difference(Box::new(a), Box::new(b))),
        ]
    })
}

/// The language refuses operands that are said twice.
fn once(rewrite: Rewrite) -> Rewrite {
    let each = |operands: Vec<Rewrite>| {
        let mut seen = BTreeSet::new();
        let all = operands.into_iter().map(once).filter(|operand| seen.insert(format!("{operand:?}")));
        all.collect::<Vec<_>>()
    };
    match rewrite {
        Rewrite::Union(operands) => match each(operands) {
            mut only if only.len() == 1 => only.remove(0),
            all => Rewrite::Union(all),
        },
        Rewrite::Intersection(operands) => match each(operands) {
            mut only if only.len() == 1 => only.remove(0),
            all => Rewrite::Intersection(all),
        },
        Rewrite::Difference(a, b) => match (once(*a), once(*b)) {
            (a, b) if format!("{a:?}") == format!("{b:?}") => a,
            (a, b) => Rewrite::Difference(Box::new(a), Box::new(b)),
        },
        leaf => leaf,
    }
}

fn world() -> impl Strategy<Value = World> {
    // Half of them with a direct way in, or few models had an entry point.
    let one = (any::<bool>(), rewrite()).prop_map(|(open, inner)| {
        once(if open { Rewrite::Union(vec![Rewrite::This, inner]) } else { inner })
    });
    let rewrites = proptest::collection::vec(proptest::collection::vec(one, RELATIONS), 2);
    let tuple = (0..2_usize, 0..OBJECTS, 0..=RELATIONS, 0..5_usize, 0..OBJECTS, 0..RELATIONS);
    let tuples = proptest::collection::vec(tuple.prop_map(a_tuple), 0..25);
    (rewrites, tuples).prop_map(|(rewrites, tuples)| World { rewrites, tuples })
}

const TYPES: [&str; 2] = ["group", "doc"];

fn a_tuple((of, id, relation, kind, subject, userset): (usize, usize, usize, usize, usize, usize)) -> Tuple {
    let object = Object { type_name: TYPES[of].to_owned(), id: id.to_string() };
    let (type_name, id, userset) = if relation == RELATIONS {
        (TYPES[kind % 2], subject.to_string(), None)
    } else {
        match kind {
            0 | 1 => ("user", (subject % USERS).to_string(), None),
            2 => ("user", "*".to_owned(), None),
            3 => ("group", subject.to_string(), Some(format!("r{userset}"))),
            _ => ("doc", subject.to_string(), Some(format!("r{userset}"))),
        }
    };
    let relation = if relation == RELATIONS { "parent".to_owned() } else { format!("r{relation}") };
    Tuple {
        object,
        relation,
        subject: Subject { object: Object { type_name: type_name.to_owned(), id }, relation: userset },
        condition: None,
    }
}

/// As text: the engine reads it as a user would write it. `rotate` turns the operands round.
fn text(world: &World, rotate: bool) -> String {
    const ALLOWED: &str = "[user, user:*, group#r0, group#r1, group#r2, doc#r0, doc#r1, doc#r2]";
    fn phrase(rewrite: &Rewrite, rotate: bool, top: bool) -> String {
        let join = |operands: &[Rewrite], word: &str| {
            let mut parts: Vec<_> = operands.iter().map(|operand| phrase(operand, rotate, false)).collect();
            if rotate {
                parts.reverse();
            }
            parts.join(word)
        };
        let inner = match rewrite {
            Rewrite::This => return "direct".to_owned(),
            Rewrite::Computed(relation) => return format!("r{relation}"),
            Rewrite::From(relation) => return format!("r{relation} from parent"),
            Rewrite::Union(operands) => join(operands, " or "),
            Rewrite::Intersection(operands) => join(operands, " and "),
            Rewrite::Difference(a, b) => {
                format!("{} but not {}", phrase(a, rotate, false), phrase(b, rotate, false))
            }
        };
        if top { inner } else { format!("({inner})") }
    }
    let mut out = "model\n  schema 1.1\ntype user\n".to_owned();
    for (of, rewrites) in world.rewrites.iter().enumerate() {
        out.push_str(&format!("type {}\n  relations\n    define parent: [group, doc]\n", TYPES[of]));
        for (at, rewrite) in rewrites.iter().enumerate() {
            // Direct assignment stands in a relation of its own, so that it may come anywhere.
            let body = phrase(rewrite, rotate, true).replace("direct", &format!("d{at}"));
            out.push_str(&format!("    define d{at}: {ALLOWED}\n    define r{at}: {body}\n"));
        }
    }
    out
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Yes,
    No,
    Cycle,
}

/// The definition, without memory, without short cuts, over a plain list of tuples.
struct Naive<'w> {
    world: &'w World,
    subject: &'w Subject,
    /// It has no memory, so it may take for ever.
    steps: usize,
}

impl Naive<'_> {
    fn holds(&mut self, object: &Object, relation: &str, path: &mut Vec<(Object, String)>) -> Truth {
        self.steps += 1;
        if self.subject.relation.as_deref() == Some(relation) && self.subject.object == *object {
            return Truth::Yes;
        }
        let here = (object.clone(), relation.to_owned());
        if self.steps > 20_000 || path.contains(&here) {
            return Truth::Cycle;
        }
        path.push(here);
        let at: usize = relation.trim_start_matches(['r', 'd']).parse().unwrap();
        let of = TYPES.iter().position(|name| *name == object.type_name).unwrap();
        let found = if relation.starts_with('d') {
            self.direct(object, relation, path)
        } else {
            let rewrite = self.world.rewrites[of][at].clone();
            self.rewrite(&rewrite, object, at, path)
        };
        path.pop();
        found
    }

    fn direct(&mut self, object: &Object, relation: &str, path: &mut Vec<(Object, String)>) -> Truth {
        let mut found = Truth::No;
        // A stored tuple names `r0`; it stands for what is assigned directly.
        let stored: Vec<Tuple> = self
            .world
            .tuples
            .iter()
            .filter(|each| each.object == *object && stored_as(each) == relation)
            .cloned()
            .collect();
        for tuple in stored {
            let subject = &tuple.subject;
            let everybody = subject.is_wildcard()
                && self.subject.relation.is_none()
                && subject.object.type_name == self.subject.object.type_name;
            let value = if *subject == *self.subject || everybody {
                Truth::Yes
            } else if let Some(userset) = &subject.relation {
                self.holds(&subject.object, userset, path)
            } else {
                Truth::No
            };
            found = or(found, value);
        }
        found
    }

    fn rewrite(
        &mut self,
        rewrite: &Rewrite,
        object: &Object,
        at: usize,
        path: &mut Vec<(Object, String)>,
    ) -> Truth {
        match rewrite {
            Rewrite::This => self.holds(object, &format!("d{at}"), path),
            Rewrite::Computed(other) => self.holds(object, &format!("r{other}"), path),
            Rewrite::From(other) => {
                let parents: Vec<Object> = self
                    .world
                    .tuples
                    .iter()
                    .filter(|each| each.object == *object && each.relation == "parent")
                    .map(|each| each.subject.object.clone())
                    .collect();
                parents.iter().fold(Truth::No, |found, parent| {
                    or(found, self.holds(parent, &format!("r{other}"), path))
                })
            }
            Rewrite::Union(operands) => operands
                .iter()
                .fold(Truth::No, |found, operand| or(found, self.rewrite(operand, object, at, path))),
            Rewrite::Intersection(operands) => operands
                .iter()
                .fold(Truth::Yes, |found, operand| and(found, self.rewrite(operand, object, at, path))),
            Rewrite::Difference(a, b) => {
                let (a, b) = (self.rewrite(a, object, at, path), self.rewrite(b, object, at, path));
                and(
                    a,
                    match b {
                        Truth::Yes => Truth::No,
                        Truth::No => Truth::Yes,
                        Truth::Cycle => Truth::Cycle,
                    },
                )
            }
        }
    }
}

fn or(a: Truth, b: Truth) -> Truth {
    match (a, b) {
        (Truth::Yes, _) | (_, Truth::Yes) => Truth::Yes,
        (Truth::Cycle, _) | (_, Truth::Cycle) => Truth::Cycle,
        _ => Truth::No,
    }
}

fn and(a: Truth, b: Truth) -> Truth {
    match (a, b) {
        (Truth::No, _) | (_, Truth::No) => Truth::No,
        (Truth::Cycle, _) | (_, Truth::Cycle) => Truth::Cycle,
        _ => Truth::Yes,
    }
}

fn stored_as(tuple: &Tuple) -> String {
    tuple.relation.replacen('r', "d", usize::from(tuple.relation.starts_with('r')))
}

fn stored(world: &World) -> Vec<Tuple> {
    world.tuples.iter().map(|each| Tuple { relation: stored_as(each), ..each.clone() }).collect()
}

fn subjects() -> Vec<Subject> {
    let plain = (0..USERS).map(|id| Subject::parse(&format!("user:{id}")).unwrap());
    let sets = ["group:0#r0", "doc:1#r2"].into_iter().map(|text| Subject::parse(text).unwrap());
    plain.chain([Subject::parse("user:*").unwrap()]).chain(sets).collect()
}

/// Deep enough that only cycles decide.
const WIDE: Limits = Limits { depth: 1_000, nodes: 1_000_000 };

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_global_rejects: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn engine_and_definition_agree_and_operand_order_does_not_matter(world in world()) {
        let (mut names, tuples, empty) = (Names::default(), stored(&world), Map::new());
        // A model without an entry point is refused at load, as it should be: another is drawn.
        let model = Model::from_text(&text(&world, false), &mut names);
        prop_assume!(model.is_ok());
        let model = model.unwrap();
        let turned = Model::from_text(&text(&world, true), &mut names).unwrap();
        let index = Index::build(1, &mut names, &tuples).unwrap();
        for (object, relation) in all() {
            for subject in subjects() {
                let query = Query { object: &object, relation: &relation, subject: &subject, contextual: &[], context: &empty };
                let found = check(&model, &names, &index, &query, WIDE).unwrap();
                prop_assert_eq!(found, check(&turned, &names, &index, &query, WIDE).unwrap(), "order of operands");
                let mut naive = Naive { world: &world, subject: &subject, steps: 0 };
                let wanted = naive.holds(&object, &relation, &mut Vec::new());
                if naive.steps <= 20_000 {
                    prop_assert_eq!(found == Outcome::Allowed, wanted == Truth::Yes, "{:?} {} {}", object, relation, subject);
                }
            }
        }
    }

    #[test]
    fn lists_say_what_checks_say(world in world()) {
        let (mut names, tuples, empty) = (Names::default(), stored(&world), Map::new());
        let model = Model::from_text(&text(&world, false), &mut names);
        prop_assume!(model.is_ok());
        let model = model.unwrap();
        let index = Index::build(1, &mut names, &tuples).unwrap();
        let allowed = |object: &Object, relation: &str, subject: &Subject| {
            let query = Query { object, relation, subject, contextual: &[], context: &empty };
            check(&model, &names, &index, &query, WIDE).unwrap() == Outcome::Allowed
        };
        for relation in (0..RELATIONS).map(|at| format!("r{at}")) {
            for subject in subjects() {
                let query = ObjectsQuery { type_name: "doc", relation: &relation, subject: &subject, contextual: &[], context: &empty };
                let found = list_objects(&model, &names, &index, &query, WIDE, &mut || false).unwrap();
                // A userset of an object without tuples holds itself; a list only knows objects that have been named.
                let wanted: BTreeSet<String> = objects("doc").filter(|object| allowed(object, &relation, &subject)).map(|it| it.to_string()).collect();
                prop_assert_eq!(listed(found), wanted, "{} {}", relation, subject);
            }
            for object in objects("doc") {
                let query = UsersQuery { object: &object, relation: &relation, type_name: "user", userset: None, contextual: &[], context: &empty };
                let found = listed(list_users(&model, &names, &index, &query, WIDE, &mut || false).unwrap());
                for name in &found {
                    prop_assert!(allowed(&object, &relation, &Subject::parse(name).unwrap()), "{} is listed", name);
                }
                for id in 0..USERS {
                    let subject = Subject::parse(&format!("user:{id}")).unwrap();
                    let reached = found.contains(&subject.to_string()) || found.contains("user:*");
                    prop_assert!(reached || !allowed(&object, &relation, &subject), "{} is not listed", subject);
                }
            }
        }
    }

    #[test]
    fn a_tuple_never_adds_access_under_an_exclusion(at in 0..OBJECTS, who in 0..USERS) {
        let text = "model\n  schema 1.1\ntype user\ntype doc\n  relations\n    define blocked: [user]\n    define owner: [user]\n    define viewer: owner but not blocked\n";
        let mut names = Names::default();
        let model = Model::from_text(text, &mut names).unwrap();
        let owner = tuple(&format!("doc:{at}#owner@user:{who}"));
        let before = Index::build(1, &mut names, [&owner]).unwrap();
        let after = before.apply(&mut names, &[Change { tuple: tuple(&format!("doc:{at}#blocked@user:{who}")), present: true }]).unwrap();
        let asked = format!("doc:{at}#viewer@user:{who}");
        prop_assert_eq!(ask(&model, &names, &before, &asked), Outcome::Allowed);
        prop_assert_ne!(ask(&model, &names, &after, &asked), Outcome::Allowed);
    }
}

#[test]
fn a_cycle_under_an_exclusion_is_not_allowed() {
    let text = "model\n  schema 1.1\ntype user\ntype doc\n  relations\n    define restricted: [doc#viewer, user]\n    define viewer: [user] but not restricted\n";
    let mut names = Names::default();
    let model = Model::from_text(text, &mut names).unwrap();
    let tuples = [tuple("doc:1#viewer@user:a"), tuple("doc:1#restricted@doc:1#viewer")];
    let index = Index::build(1, &mut names, &tuples).unwrap();
    assert_eq!(ask(&model, &names, &index, "doc:1#viewer@user:a"), Outcome::NotAllowed { cycle: true });
}

#[test]
fn a_chain_that_is_too_deep_fails_and_does_not_overflow() {
    let text = "model\n  schema 1.1\ntype user\ntype folder\n  relations\n    define parent: [folder]\n    define viewer: [user] or viewer from parent\n";
    let mut names = Names::default();
    let model = Model::from_text(text, &mut names).unwrap();
    let mut tuples: Vec<Tuple> =
        (0..10_000).map(|at| tuple(&format!("folder:{at}#parent@folder:{}", at + 1))).collect();
    tuples.push(tuple("folder:20#viewer@user:near"));
    tuples.push(tuple("folder:10000#viewer@user:far"));
    let index = Index::build(1, &mut names, &tuples).unwrap();
    assert_eq!(ask(&model, &names, &index, "folder:0#viewer@user:near"), Outcome::Allowed);
    assert_eq!(ask(&model, &names, &index, "folder:0#viewer@user:far"), Outcome::Failed(Code::TooComplex));
    assert_eq!(ask(&model, &names, &index, "folder:9990#viewer@user:far"), Outcome::Allowed);
}

#[test]
fn a_broad_graph_fails_at_its_bound() {
    let text =
        "model\n  schema 1.1\ntype user\ntype group\n  relations\n    define member: [user, group#member]\n";
    let mut names = Names::default();
    let model = Model::from_text(text, &mut names).unwrap();
    let mut tuples = Vec::new();
    for at in 0..200 {
        tuples.push(tuple(&format!("group:top#member@group:a{at}#member")));
        for below in 0..200 {
            tuples.push(tuple(&format!("group:a{at}#member@group:b{at}x{below}#member")));
        }
    }
    let index = Index::build(1, &mut names, &tuples).unwrap();
    assert_eq!(
        ask(&model, &names, &index, "group:top#member@user:nobody"),
        Outcome::Failed(Code::TooComplex)
    );
}

/// Neither the members of a group nor the groups of a document are walked: with a bound of eight visits both answer.
#[test]
fn a_group_of_many_and_a_document_of_many_groups_cost_a_look_up() {
    let text = "model\n  schema 1.1\ntype user\ntype group\n  relations\n    define member: [user]\ntype doc\n  relations\n    define viewer: [group#member]\n";
    let mut names = Names::default();
    let model = Model::from_text(text, &mut names).unwrap();
    let mut tuples: Vec<Tuple> =
        (0..50_000).map(|at| tuple(&format!("group:big#member@user:{at}"))).collect();
    tuples.extend((0..10_000).map(|at| tuple(&format!("doc:shared#viewer@group:{at}#member"))));
    tuples.push(tuple("doc:shared#viewer@group:big#member"));
    tuples.push(tuple("group:7777#member@user:solo"));
    let index = Index::build(1, &mut names, &tuples).unwrap();
    let few = Limits { depth: 25, nodes: 8 };
    let ask = |text: &str| {
        let asked = tuple(text);
        let query = Query {
            object: &asked.object,
            relation: &asked.relation,
            subject: &asked.subject,
            contextual: &[],
            context: &Map::new(),
        };
        check(&model, &names, &index, &query, few).unwrap()
    };
    assert_eq!(ask("doc:shared#viewer@user:49999"), Outcome::Allowed);
    assert_eq!(ask("doc:shared#viewer@user:solo"), Outcome::Allowed);
    assert_eq!(ask("doc:shared#viewer@user:nobody"), Outcome::NotAllowed { cycle: false });
}

fn all() -> impl Iterator<Item = (Object, String)> {
    TYPES
        .into_iter()
        .flat_map(objects)
        .flat_map(|object| (0..RELATIONS).map(move |at| (object.clone(), format!("r{at}"))))
}

fn objects(type_name: &str) -> impl Iterator<Item = Object> + use<> {
    let type_name = type_name.to_owned();
    (0..OBJECTS).map(move |id| Object { type_name: type_name.clone(), id: id.to_string() })
}

fn listed(found: Listed) -> BTreeSet<String> {
    match found {
        Listed::Found { names, complete: true } => names.into_iter().collect(),
        other => panic!("{other:?}"),
    }
}

/// `doc:1#viewer@user:a`.
fn tuple(text: &str) -> Tuple {
    let (left, subject) = text.split_once('@').unwrap();
    let (object, relation) = left.split_once('#').unwrap();
    Tuple {
        object: Object::parse(object).unwrap(),
        relation: relation.to_owned(),
        subject: Subject::parse(subject).unwrap(),
        condition: None,
    }
}

fn ask(model: &Model, names: &Names, index: &Index, text: &str) -> Outcome {
    let asked = tuple(text);
    let query = Query {
        object: &asked.object,
        relation: &asked.relation,
        subject: &asked.subject,
        contextual: &[],
        context: &Map::new(),
    };
    check(model, names, index, &query, Limits::default()).unwrap()
}
