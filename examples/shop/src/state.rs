//! What the shop remembers.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A row of the table of users: a bag of members, so that any member can be assigned.
pub type User = Map<String, Value>;

/// A row of the table of orders.
pub type Order = Map<String, Value>;

/// Everything, in memory.
#[derive(Debug, Clone)]
pub struct State {
    /// By user id.
    pub users: BTreeMap<String, User>,
    /// By user id and number.
    pub orders: BTreeMap<(String, u64), Order>,
    /// Pairs of sneakers left in the drop.
    pub sneakers: u64,
    /// Text of each mail that went out.
    pub mails: Vec<String>,
    /// URLs that the shop would have fetched. It only pretends.
    pub fetched: Vec<String>,
    /// Bytes of notes kept for users.
    pub note_bytes: usize,
    /// Sales reports computed.
    pub reports: u64,
}

/// How many products the catalogue has.
pub(crate) const PRODUCTS: u64 = 5_000;

impl Default for State {
    fn default() -> Self {
        let users = [
            ("alice", "Alice Archer", "0042", 90_000, false),
            ("bob", "Bob Baker", "7311", 12_000, false),
            ("mallory", "Mallory", "6666", 100, false),
            ("admin", "Ada Admin", "9182", 0, true),
        ]
        .into_iter()
        .map(|(id, name, pin, cents, admin)| (id.to_owned(), user(id, name, pin, cents, admin)))
        .collect();
        let orders = [
            ("alice", 1, "sku-0001", 2, "leave it with the neighbour at number 7"),
            ("alice", 2, "sku-0300", 1, "a present for Bob, do not tell"),
            ("bob", 1, "sku-0002", 1, "ring twice"),
            ("mallory", 1, "sku-0003", 1, ""),
        ]
        .into_iter()
        .map(|(id, number, sku, quantity, note)| {
            ((id.to_owned(), number), order(number, sku, quantity, note))
        })
        .collect();
        Self {
            users,
            orders,
            sneakers: 10,
            mails: Vec::new(),
            fetched: Vec::new(),
            note_bytes: 0,
            reports: 0,
        }
    }
}

impl State {
    /// The balance of a user in cents; 0 for nobody.
    pub fn cents(&self, user: &str) -> i64 {
        self.users.get(user).and_then(|user| user.get("cents")?.as_i64()).unwrap_or(0)
    }

    /// Whether the row says that the user is an administrator.
    pub fn is_admin(&self, user: &str) -> bool {
        self.users.get(user).and_then(|user| user.get("is_admin")?.as_bool()).unwrap_or(false)
    }

    /// Takes cents from one user and gives them to another. Nothing asks whether they are there, or positive.
    pub(crate) fn transfer(&mut self, from: &str, to: &str, cents: i64) {
        let (paid, received) = (self.cents(from) - cents, self.cents(to) + cents);
        if let Some(user) = self.users.get_mut(from) {
            user.insert("cents".to_owned(), json!(paid));
        }
        if let Some(user) = self.users.get_mut(to) {
            user.insert("cents".to_owned(), json!(received));
        }
    }
}

fn user(id: &str, name: &str, pin: &str, cents: i64, is_admin: bool) -> User {
    bag(json!({
        "id": id, "name": name, "email": format!("{id}@shop.example"), "pin": pin, "cents": cents,
        "is_admin": is_admin, "password_hash": format!("$2y$04$unsalted.{id}"), "national_id": format!("ID-{pin}-{id}"),
    }))
}

/// A row of the table of orders, priced from the catalogue.
pub(crate) fn order(number: u64, sku: &str, quantity: i64, note: &str) -> Order {
    bag(json!({
        "number": number, "sku": sku, "quantity": quantity, "note": note, "price_cents": 1_999,
        "status": "open", "fraud_score": 0.07, "margin_cents": 840,
    }))
}

fn bag(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
