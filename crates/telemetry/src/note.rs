//! The program's own notes: start, reload, errors of its own. JSON lines on standard error, by a thread of their own.
//!
//! A value is a number, a flag, or a text that the program has at hand; `Secret` has no text, so it cannot be noted.

use crate::json::{self, Object};
use portcullis_core::time::{Clock as _, Now, SystemClock};
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// How much a note weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// For those who look for a fault.
    Debug = 0,
    /// What everybody may want to know.
    Info = 1,
    /// Something is not as it should be, and the program copes.
    Warn = 2,
    /// Something failed.
    Error = 3,
}

impl Level {
    /// Lower-case word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// A value beside a note.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// A count.
    Number(u64),
    /// A number that may be negative.
    Signed(i64),
    /// Yes or no.
    Flag(bool),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value<'_> {
    fn from(n: u64) -> Self {
        Self::Number(n)
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// Notes waiting to be written; more are dropped and counted.
const QUEUE: usize = 1_024;
/// Longest text of a value in bytes.
const MAX_TEXT: usize = 4_096;

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static DROPPED: AtomicU64 = AtomicU64::new(0);
static WRITER: OnceLock<Option<SyncSender<Job>>> = OnceLock::new();

enum Job {
    Write(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Notes below `level` are left out from now on.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// A note at level debug. `event` is a stable dotted word (`reload.done`), names of values are plain words.
pub fn debug(event: &'static str, message: &str, values: &[(&'static str, Value<'_>)]) {
    note(Level::Debug, event, message, values);
}

/// A note at level info.
pub fn info(event: &'static str, message: &str, values: &[(&'static str, Value<'_>)]) {
    note(Level::Info, event, message, values);
}

/// A note at level warn.
pub fn warn(event: &'static str, message: &str, values: &[(&'static str, Value<'_>)]) {
    note(Level::Warn, event, message, values);
}

/// A note at level error.
pub fn error(event: &'static str, message: &str, values: &[(&'static str, Value<'_>)]) {
    note(Level::Error, event, message, values);
}

/// Notes dropped because standard error was not read (`notes_dropped_total`).
pub fn dropped_total() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Waits until what was noted so far is written, at most `patience`. For the end of the program.
pub fn flush(patience: Duration) -> bool {
    let Some(Some(writer)) = WRITER.get() else { return true };
    let (tell, done) = sync_channel(1);
    writer.try_send(Job::Flush(tell)).is_ok() && done.recv_timeout(patience).is_ok()
}

fn note(level: Level, event: &'static str, message: &str, values: &[(&'static str, Value<'_>)]) {
    if (level as u8) < LEVEL.load(Ordering::Relaxed) {
        return;
    }
    let writer = WRITER.get_or_init(start);
    let line = render(SystemClock.now(), level, event, message, values);
    match writer {
        Some(writer) if writer.try_send(Job::Write(line)).is_ok() => {}
        _ => {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn start() -> Option<SyncSender<Job>> {
    let (send, receive) = sync_channel::<Job>(QUEUE);
    let run = move || {
        for job in receive {
            match job {
                Job::Write(line) => drop(std::io::stderr().lock().write_all(&line)),
                Job::Flush(tell) => drop(tell.try_send(())),
            }
        }
    };
    std::thread::Builder::new().name("notes".to_owned()).spawn(run).ok().map(|_| send)
}

fn render(
    at: Now,
    level: Level,
    event: &'static str,
    message: &str,
    values: &[(&'static str, Value<'_>)],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut time = Vec::with_capacity(32);
    json::timestamp(&mut time, at.micros());
    let mut object = Object::begin(&mut out);
    object.text("@timestamp", std::str::from_utf8(&time).unwrap_or_default());
    object.text("log.level", level.word());
    object.text("event.action", event);
    object.text("message", shortened(message));
    for (name, value) in values {
        match value {
            Value::Text(text) => object.text(name, shortened(text)),
            Value::Number(n) => object.number(name, *n),
            Value::Signed(n) => object.signed(name, *n),
            Value::Flag(flag) => object.flag(name, *flag),
        }
    }
    object.end();
    out.push(b'\n');
    out
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_json_lines() {
        let values = [
            ("path", Value::from("a\"b\n\u{2028}{\"log.level\":\"error\"}")),
            ("count", Value::from(7)),
            ("delta", Value::Signed(-3)),
            ("ok", Value::from(true)),
        ];
        let line = render(
            Now::from_secs(1_767_225_600),
            Level::Warn,
            "reload.failed",
            "kept the last plan",
            &values,
        );
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["log.level"], "warn");
        assert_eq!(value["@timestamp"], "2026-01-01T00:00:00.000000Z");
        assert_eq!(value["path"], "a\"b\n\u{2028}{\"log.level\":\"error\"}");
        assert_eq!((&value["count"], &value["delta"], &value["ok"]), (&7.into(), &(-3).into(), &true.into()));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "ä".repeat(MAX_TEXT);
        let line = render(Now::default(), Level::Info, "x", &text, &[]);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["message"].as_str().unwrap().len(), MAX_TEXT);
    }

    #[test]
    fn flush_waits_for_what_was_noted() {
        set_level(Level::Info);
        debug("quiet", "is not written", &[]);
        info("test.note", "a note of the test-suite", &[("n", 1.into())]);
        assert!(flush(Duration::from_secs(10)));
    }
}
