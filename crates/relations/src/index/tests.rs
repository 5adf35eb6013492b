//! The index against a plain set of tuples.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn tuple(object: u8, relation: u8, subject: u8, userset: Option<u8>) -> Tuple {
    Tuple {
        object: Object { type_name: "doc".to_owned(), id: object.to_string() },
        relation: format!("r{relation}"),
        subject: Subject {
            object: Object {
                type_name: if subject.is_multiple_of(2) { "doc" } else { "user" }.to_owned(),
                id: subject.to_string(),
            },
            relation: userset.map(|relation| format!("r{relation}")),
        },
        condition: None,
    }
}

fn tuples() -> impl Strategy<Value = Vec<(bool, Tuple)>> {
    let one = (any::<bool>(), 0_u8..12, 0_u8..3, 0_u8..12, proptest::option::of(0_u8..3));
    proptest::collection::vec(one.prop_map(|(present, o, r, s, u)| (present, tuple(o, r, s, u))), 0..60)
}

proptest! {
    #[test]
    fn base_overlay_and_fold_say_what_a_set_says(base in tuples(), changes in tuples(), later in tuples()) {
        let mut names = Names::default();
        let mut model: BTreeMap<String, Tuple> = BTreeMap::new();
        let key = |tuple: &Tuple| format!("{}#{}@{}", tuple.object, tuple.relation, tuple.subject);
        let first: Vec<Tuple> = base.into_iter().map(|(_, tuple)| tuple).collect();
        let mut index = Index::build(7, &mut names, &first).unwrap();
        model.extend(first.iter().map(|tuple| (key(tuple), tuple.clone())));
        for (round, batch) in [changes, later].into_iter().enumerate() {
            let batch: Vec<Change> = batch.into_iter().map(|(present, tuple)| Change { tuple, present }).collect();
            index = index.apply(&mut names, &batch).unwrap();
            for change in batch {
                if change.present {
                    model.insert(key(&change.tuple), change.tuple);
                } else {
                    model.remove(&key(&change.tuple));
                }
            }
            if round == 1 {
                let folded = index.fold().unwrap();
                prop_assert_eq!(folded.overlay_len(), 0);
                prop_assert_eq!(folded.len(), index.len());
                index = folded;
            }
            prop_assert_eq!(index.len(), model.len());
            for (o, r, s) in (0..12).flat_map(|o| (0..3).flat_map(move |r| (0..12).map(move |s| (o, r, s)))) {
                for userset in [None, Some(0), Some(1), Some(2)] {
                    let asked = tuple(o, r, s, userset);
                    prop_assert_eq!(index.contains(&names, &asked), model.contains_key(&key(&asked)));
                }
            }
            let mut forward: Vec<String> = (0..12)
                .flat_map(|o| index.tuples_of(&names, &Object { type_name: "doc".to_owned(), id: o.to_string() }))
                .map(|tuple| key(&tuple))
                .collect();
            forward.sort();
            prop_assert_eq!(&forward, &model.keys().cloned().collect::<Vec<_>>());
            let mut back = 0;
            for node in 0..index.node_count() {
                for relation in 0..4_u16 {
                    let relation = if relation == 3 { RelationId::NONE } else { RelationId(relation) };
                    index.backwards(Node(u32::try_from(node).unwrap()), relation, |_| back += 1);
                }
            }
            prop_assert_eq!(back, model.len());
        }
    }
}

#[test]
fn a_tuple_costs_at_most_64_bytes_beside_its_ids() {
    let mut names = Names::default();
    // As many objects as tuples: the dearest case.
    let all: Vec<Tuple> = (0..50_000_u32)
        .map(|at| Tuple {
            object: Object { type_name: "doc".to_owned(), id: format!("{at}") },
            relation: "owner".to_owned(),
            subject: Subject {
                object: Object { type_name: "user".to_owned(), id: format!("{}", at / 3) },
                relation: None,
            },
            condition: None,
        })
        .collect();
    let index = Index::build(1, &mut names, &all).unwrap();
    assert!(index.overhead() <= 64 * all.len(), "{} bytes a tuple", index.overhead() / all.len());
}
