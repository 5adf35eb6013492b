//! Lines of logs as records: our own, any JSON, and what a pattern with named groups reads.

use portcullis_core::time::Now;
use portcullis_detect::event::{Authentication, Event};
use portcullis_detect::rule::Record;
use regex::Regex;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};

/// Readers of lines.
pub(super) struct Lines {
    formats: Vec<Regex>,
}

/// One line.
#[derive(Default)]
pub(super) struct Line {
    at: Now,
    fields: BTreeMap<String, String>,
}

impl Lines {
    pub(super) fn new(formats: &[String]) -> Result<Self, String> {
        let formats = formats.iter().map(|format| {
            let built = regex::RegexBuilder::new(format).size_limit(1 << 20).build();
            built.map_err(|error| format!("formats: `{format}` is not a pattern: {error}"))
        });
        Ok(Self { formats: formats.collect::<Result<_, _>>()? })
    }

    /// The record of a line; nothing where it has no form that is known, or no time.
    pub(super) fn read(&self, text: &str) -> Option<Line> {
        let fields = if text.starts_with('{') { json(text)? } else { self.pattern(text)? };
        let time = ["@timestamp", "time", "timestamp"].into_iter().find_map(|name| fields.get(name))?;
        Some(Line { at: Now::from_micros(moment(time)?), fields })
    }

    fn pattern(&self, text: &str) -> Option<BTreeMap<String, String>> {
        self.formats.iter().find_map(|format| {
            let found = format.captures(text)?;
            let named = format.capture_names().flatten();
            Some(
                named
                    .filter_map(|name| Some((name.to_owned(), found.name(name)?.as_str().to_owned())))
                    .collect(),
            )
        })
    }
}

/// Members by dotted names: `{"a":{"b":1}}` has the field `a.b`, and so has `{"a.b":1}`.
fn json(text: &str) -> Option<BTreeMap<String, String>> {
    fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
        let text = match value {
            Value::Object(members) => {
                for (key, value) in members {
                    let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                    flatten(&name, value, into);
                }
                return;
            }
            Value::Null | Value::Array(_) => return,
            Value::String(text) => text.clone(),
            Value::Bool(truth) => truth.to_string(),
            Value::Number(number) => number.to_string(),
        };
        into.insert(name.to_owned(), text);
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let mut fields = BTreeMap::new();
    flatten("", value.as_object().map(|_| &value)?, &mut fields);
    Some(fields)
}

impl Record for Line {
    fn at(&self) -> Now {
        self.at
    }

    fn id(&self) -> u128 {
        let id = self.get(&["http.request.id", "id"]).unwrap_or_default();
        u128::from_str_radix(&id.replace('-', ""), 16).unwrap_or(0)
    }

    fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        self.fields.get(name).map(|value| Cow::Borrowed(value.as_str()))
    }
}

impl Line {
    pub(super) const fn now(&self) -> Now {
        self.at
    }

    fn get(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.fields.get(*name)).map(String::as_str)
    }

    /// The values of a group, as they stand in the line.
    pub(super) fn group(&self, by: &[String]) -> String {
        let parts = by.iter().map(|name| self.fields.get(name).map_or("-", String::as_str));
        let parts: Vec<&str> = parts.collect();
        if parts.is_empty() { "all".to_owned() } else { parts.join(" ") }
    }

    pub(super) fn caller(&self) -> Option<String> {
        let key = self.get(&["portcullis.key.id", "key_id"]).map(|id| format!("key {id}"));
        let client = || self.get(&["portcullis.client.id", "client_id"]).map(|id| format!("client {id}"));
        let user = || self.get(&["user.hash", "user_hash"]).map(|hash| format!("user {hash}"));
        key.or_else(client).or_else(user)
    }

    pub(super) fn route(&self) -> Option<String> {
        self.get(&["portcullis.operation", "operation"]).map(|operation| format!("operation {operation}"))
    }

    /// The event of a line of our own request log, for the six triggers; nothing for other lines.
    pub(super) fn event(&self) -> Option<Event> {
        let ours = self.get(&["event.dataset", "log"])? == "portcullis.request";
        let address = self.get(&["source.ip", "source"])?.parse().ok().filter(|_| ours)?;
        let status = self.get(&["http.response.status_code", "status"])?.parse().ok()?;
        let key = self
            .get(&["portcullis.key.id", "key_id"])
            .or_else(|| self.get(&["portcullis.client.id", "client_id"]));
        let user = self.get(&["user.hash", "user_hash"]);
        let known = self.get(&["portcullis.caller", "caller"]).is_some_and(|caller| caller != "anonymous");
        let problem = self.get(&["error.code", "problem"]).unwrap_or_default();
        let authentication = if known {
            Authentication::Succeeded
        } else if status == 401 && problem != "credential-missing" {
            Authentication::Failed
        } else {
            Authentication::None
        };
        Some(Event {
            at: self.at,
            id: Record::id(self),
            address,
            user: user.map_or(0, number),
            key: key.map_or(0, number),
            route: u32::try_from(
                self.get(&["portcullis.operation", "operation"]).map_or(0, number) & 0xffff_ffff,
            )
            .unwrap_or(0),
            status,
            authentication,
            object: None,
            response_bytes: self
                .get(&["http.response.body.bytes", "response_bytes"])
                .and_then(|bytes| bytes.parse().ok())
                .unwrap_or(0),
            country: [0, 0],
            network: 0,
            ja4: 0,
            limited: status == 429,
            early: false,
        })
    }
}

/// A number for a text, never 0.
fn number(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish().max(1)
}

/// Microseconds since 1970 of the forms in which logs write the time. Without a zone it is UTC.
fn moment(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let month_word = text.get(3..6).and_then(|word| MONTHS.iter().position(|month| *month == word));
    // 29/Sep/2021:12:37:05 +0000, else 2021/09/30 09:23:53, 2022-02-11 14:44:34, 2022-02-11T14:44:34.5Z
    let (date, clock) = match month_word {
        Some(month) => ((number(7, 11)?, i64::try_from(month).ok()? + 1, number(0, 2)?), 12),
        None => ((number(0, 4)?, number(5, 7)?, number(8, 10)?), 11),
    };
    let (hour, minute, second) =
        (number(clock, clock + 2)?, number(clock + 3, clock + 5)?, number(clock + 6, clock + 8)?);
    let rest = text.get(clock + 8..).unwrap_or_default();
    let digits = rest.strip_prefix(['.', ',']).map_or("", |after| {
        after.get(..after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len())).unwrap_or_default()
    });
    let micros: i64 =
        format!("{:0<6}", digits.get(..digits.len().min(6)).unwrap_or_default()).parse().ok()?;
    let zone = rest.trim_start_matches(|c: char| c == '.' || c == ',' || c.is_ascii_digit()).trim();
    let offset = match zone.split_at_checked(1) {
        Some((sign @ ("+" | "-"), after)) => {
            let after = after.replace(':', "");
            let part = |from: usize| after.get(from..from + 2).and_then(|part| part.parse::<i64>().ok());
            let seconds = part(0)? * 3_600 + part(2)? * 60;
            if sign == "+" { seconds } else { -seconds }
        }
        _ => 0,
    };
    let (year, month, day) = date;
    ((1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61)
        .then_some(())?;
    let days = {
        // Days since 1970-01-01 (H. Hinnant).
        let year = if month <= 2 { year - 1 } else { year };
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        year.div_euclid(400) * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    };
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second - offset) * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_usual_logs() {
        let wanted = Some(1_632_919_025_000_000);
        for text in [
            "29/Sep/2021:12:37:05 +0000",
            "29/Sep/2021:14:37:05 +0200",
            "2021/09/29 12:37:05",
            "2021-09-29 12:37:05",
            "2021-09-29T12:37:05Z",
            "2021-09-29T08:37:05-04:00",
        ] {
            assert_eq!(moment(text), wanted, "{text}");
        }
        assert_eq!(moment("2021-09-29T12:37:05.25Z"), Some(1_632_919_025_250_000));
        for bad in ["", "yesterday", "2021-13-01 00:00:00", "29/Foo/2021:12:37:05 +0000", "2021-09-29"] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }

    #[test]
    fn json_is_read_by_dotted_names() {
        let line = Lines::new(&[])
            .unwrap()
            .read(r#"{"@timestamp":"2021-09-29T12:37:05Z","a":{"b":404},"c.d":"x"}"#)
            .unwrap();
        assert_eq!(line.field("a.b").as_deref(), Some("404"));
        assert_eq!(line.field("c.d").as_deref(), Some("x"));
        assert!(Lines::new(&[]).unwrap().read(r#"{"a":1}"#).is_none(), "no time");
        assert!(Lines::new(&["(".to_owned()]).is_err());
    }
}
