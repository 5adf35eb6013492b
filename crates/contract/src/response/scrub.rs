//! Texts that say how the inside is made: stack frames, queries, paths, addresses (§ 15.3).

use regex::RegexSet;

use crate::json::{Kind, Tape};

/// What a text gave away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Telltale {
    /// A frame of a stack trace, of any of the common runtimes.
    StackFrame,
    /// A query, or the text of a database or its driver.
    Database,
    /// An absolute path of a file.
    Path,
    /// A private address or the name of a host inside.
    Host,
    /// An address in memory.
    Memory,
    /// More than is searched.
    TooLong,
}

/// Longer strings are taken as a hit: no declared message of an error is that long.
const SEARCHED: usize = 16 * 1024;

const PATTERNS: &[(Telltale, &str)] = &[
    // Java, Kotlin, Scala, JavaScript in Java style.
    (
        Telltale::StackFrame,
        r"(?m)\bat [\w$.<>/]+\([\w$. ]*(?:\.(?:java|kt|scala|groovy):\d+|Native Method|Unknown Source)\)",
    ),
    (
        Telltale::StackFrame,
        r"\b(?:java|javax|jakarta|org\.springframework|org\.hibernate|kotlin|scala)\.[\w.$]*(?:Exception|Error)\b",
    ),
    (Telltale::StackFrame, r"(?m)^Caused by: "),
    // .NET.
    (Telltale::StackFrame, r"\bat [\w.<>`\[\],+]+\([^)\n]*\) in .+:line \d+"),
    (Telltale::StackFrame, r"\b(?:System|Microsoft)\.[\w.]*Exception\b"),
    // Python.
    (Telltale::StackFrame, r"Traceback \(most recent call last\)"),
    (Telltale::StackFrame, r#"File "[^"\n]+", line \d+"#),
    // Node.
    (
        Telltale::StackFrame,
        r"\bat (?:async )?(?:[\w$.<> \[\]]+ )?\(?(?:file://|node:|/|[A-Za-z]:\\)[^\s()]*:\d+:\d+\)?",
    ),
    (Telltale::StackFrame, r"node_modules[/\\]"),
    // PHP.
    (Telltale::StackFrame, r"(?:PHP )?(?:Fatal error|Parse error|Warning|Notice): .+ in .+ on line \d+"),
    (Telltale::StackFrame, r"#\d+ \S+\.php\(\d+\)"),
    (Telltale::StackFrame, r"\bStack trace:"),
    // Ruby.
    (Telltale::StackFrame, r"\.rb:\d+:in [`']"),
    // Go.
    (Telltale::StackFrame, r"\bgoroutine \d+ \["),
    (Telltale::StackFrame, r"\.go:\d+"),
    // Rust.
    (Telltale::StackFrame, r"panicked at "),
    (Telltale::StackFrame, r"\.rs:\d+:\d+"),
    // C and C++.
    (Telltale::StackFrame, r"\b[\w/.-]+\.(?:c|cc|cpp|cxx|h|hpp):\d+\b"),
    (Telltale::StackFrame, r"#\d+\s+0x[0-9a-fA-F]+ in "),
    (Telltale::StackFrame, r"Segmentation fault|core dumped|std::(?:bad_alloc|runtime_error|out_of_range)"),
    (
        Telltale::Database,
        r"SQLSTATE|\bORA-\d{4,5}|PG::|\bMySQL|MariaDB|sqlite3?\.|SQLITE_|MongoError|MongoServerError|psycopg2?\.|PSQLException|SQLException|Npgsql|ActiveRecord::|SequelizeDatabaseError|redis\.exceptions|duplicate key value violates|E11000 duplicate key",
    ),
    (
        Telltale::Database,
        r#"(?i)\bsyntax error at or near "|near ".*": syntax error|You have an error in your SQL syntax|unclosed quotation mark"#,
    ),
    (
        Telltale::Database,
        r"\bSELECT\b[^\n]{1,400}\bFROM\s|\bINSERT INTO\s|\bUPDATE \S+ SET\s|\bDELETE FROM\s",
    ),
    (Telltale::Database, r"(?i)\bselect\s+(?:\*|[\w.`\x22]+(?:\s*,\s*[\w.`\x22]+)+)\s+from\s"),
    (
        Telltale::Path,
        r"(?:^|[\s\x22'(=:,\[])/(?:usr|home|root|var|etc|opt|srv|app|tmp|proc|mnt|lib|Users|workspace|build|code|private|run|data)/[\w.@+-]",
    ),
    (Telltale::Path, r"(?:^|[\s\x22'(=,\[])[A-Za-z]:\\[\w.$ -]"),
    (Telltale::Path, r"\\\\[\w.-]+\\[\w$.-]+"),
    (
        Telltale::Host,
        r"(?:^|[^\d.])(?:10\.\d{1,3}\.\d{1,3}\.\d{1,3}|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|192\.168\.\d{1,3}\.\d{1,3}|172\.(?:1[6-9]|2\d|3[01])\.\d{1,3}\.\d{1,3}|169\.254\.\d{1,3}\.\d{1,3})(?:[^\d.]|\.?$|\.\D)",
    ),
    (
        Telltale::Host,
        r"(?i)\b(?:[a-z0-9_-]+\.)+(?:internal|local|svc|cluster\.local|localdomain|lan|intranet)\b",
    ),
    (Telltale::Host, r"(?i)\blocalhost:\d+|ECONNREFUSED|ENOTFOUND|getaddrinfo|connection refused"),
    (
        Telltale::Host,
        r"(?i)(?:^|[^0-9a-f:])(?:fe80|fd[0-9a-f]{2}|fc[0-9a-f]{2}):(?::|[0-9a-f]{1,4}:)[0-9a-f:]*",
    ),
    (Telltale::Memory, r"\bat 0x[0-9a-fA-F]{4,}|\b0x[0-9a-fA-F]{8,16}\b"),
];

/// The search, made once: one automaton for all texts, linear in what it reads.
#[derive(Clone, Debug)]
pub struct Scrubber {
    set: RegexSet,
}

impl Scrubber {
    /// None if the built-in patterns did not compile, which a test rules out.
    pub fn new() -> Option<Self> {
        let set = regex::RegexSetBuilder::new(PATTERNS.iter().map(|(_, pattern)| pattern))
            .size_limit(8 << 20)
            .dfa_size_limit(8 << 20)
            .build();
        set.ok().map(|set| Self { set })
    }

    /// What a text gives away first, if anything.
    pub fn search(&self, text: &str) -> Option<Telltale> {
        if text.len() > SEARCHED {
            return Some(Telltale::TooLong);
        }
        if text.len() < 5 {
            return None;
        }
        if !self.set.is_match(text) {
            return None;
        }
        let hit = self.set.matches(text).iter().next();
        hit.and_then(|i| PATTERNS.get(i)).map(|(telltale, _)| *telltale)
    }

    /// The same for every string and every name of a JSON text.
    pub fn search_tape(&self, tape: &Tape) -> Option<Telltale> {
        (0..tape.len() as u32)
            .filter_map(|index| tape.node(index))
            .filter(|node| node.kind() == Kind::String)
            .filter_map(|node| node.as_str())
            .find_map(|text| self.search(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Bounds, scan};

    #[test]
    fn what_the_inside_says_is_found() {
        let scrubber = Scrubber::new().unwrap();
        for (telltale, text) in [
            (Telltale::StackFrame, "\tat com.example.shop.OrderService.find(OrderService.java:42)"),
            (Telltale::StackFrame, "java.lang.NullPointerException: Cannot invoke \"Order.id()\""),
            (Telltale::StackFrame, "   at Shop.Orders.Get(Int32 id) in C:\\src\\Orders.cs:line 17"),
            (Telltale::StackFrame, "System.InvalidOperationException: Sequence contains no elements"),
            (
                Telltale::StackFrame,
                "Traceback (most recent call last):\n  File \"app.py\", line 3, in <module>",
            ),
            (Telltale::StackFrame, "File \"views.py\", line 88, in get"),
            (Telltale::StackFrame, "Error: x\n    at Object.<anonymous> (/srv/app/index.js:10:15)"),
            (Telltale::StackFrame, "    at async handler (file:///x/app.mjs:1:2)"),
            (Telltale::StackFrame, "Fatal error: Uncaught Exception in index.php on line 3"),
            (Telltale::StackFrame, "#0 Order.php(12): find()"),
            (Telltale::StackFrame, "app/models/order.rb:12:in `find'"),
            (Telltale::StackFrame, "goroutine 1 [running]:"),
            (Telltale::StackFrame, "main.main() main.go:17"),
            (Telltale::StackFrame, "thread 'main' panicked at src/main.rs:4:5"),
            (Telltale::StackFrame, "#3  0x00007f1 in main () at order.c:12"),
            (Telltale::Database, "SQLSTATE[42S02]: Base table or view not found"),
            (Telltale::Database, "ORA-00942: table or view does not exist"),
            (Telltale::Database, "PG::UndefinedTable: ERROR: relation does not exist"),
            (Telltale::Database, "near \"FORM\": syntax error"),
            (
                Telltale::Database,
                "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server",
            ),
            (Telltale::Database, "sqlite3.OperationalError: no such table"),
            (Telltale::Database, "MongoError: E11000 duplicate key error collection"),
            (Telltale::Database, "SELECT id, password_hash FROM users WHERE id = 1"),
            (Telltale::Path, "cannot open /var/lib/shop/orders.db"),
            (Telltale::Path, "no such file: '/home/deploy/.env'"),
            (Telltale::Path, "failed to load D:\\apps\\shop\\config.json"),
            (Telltale::Host, "cannot reach 10.0.3.17"),
            (Telltale::Host, "upstream http://192.168.1.5:8080 failed"),
            (Telltale::Host, "connect to orders-db.prod.svc failed"),
            (Telltale::Host, "no route to db.shop.internal"),
            (Telltale::Host, "connect ECONNREFUSED"),
            (Telltale::Host, "peer [fd00::1:2] gone"),
            (Telltale::Memory, "<Order object at 0x7f3c2a10>"),
            (Telltale::TooLong, &"x".repeat(20_000)),
        ] {
            assert_eq!(scrubber.search(text), Some(telltale), "{text}");
        }
    }

    #[test]
    fn messages_for_people_pass() {
        let scrubber = Scrubber::new().unwrap();
        for text in [
            "The order does not exist.",
            "Please select an item from the list",
            "quantity must be at least 1",
            "Update your settings and try again",
            "GET /orders/42 is not allowed",
            "/orders/42",
            "urn:portcullis:problem:schema-violation",
            "https://example.com/errors/not-found",
            "2024-01-01T10:00:00Z",
            "version 10.2.3",
            "Ratio 16:9, at 10:30:15",
            "0192f0c1-0000-7000-8000-00000000000a",
            "Local pickup: ask at the counter",
            "Größe: 10.5 cm",
            "",
        ] {
            assert_eq!(scrubber.search(text), None, "{text}");
        }
    }

    #[test]
    fn a_tape_is_searched_whole_and_in_linear_time() {
        let scrubber = Scrubber::new().unwrap();
        let tape = |text: &str| scan(text, &Bounds::default(), [0, 1]).unwrap();
        let deep = tape(r#"{"error":{"details":[{"x":"ok"},{"y":"at com.a.B.c(B.java:1)"}]}}"#);
        assert_eq!(scrubber.search_tape(&deep), Some(Telltale::StackFrame));
        let key = tape(r#"{"/var/lib/x":1}"#);
        assert_eq!(scrubber.search_tape(&key), Some(Telltale::Path));
        assert_eq!(scrubber.search_tape(&tape(r#"{"code":"gone","at":12}"#)), None);
        for text in ["at ".repeat(5_000), "select ".repeat(2_300), "a.".repeat(8_000), "/".repeat(16_000)] {
            assert_eq!(scrubber.search(&text), None, "{text:.9}");
        }
    }
}
