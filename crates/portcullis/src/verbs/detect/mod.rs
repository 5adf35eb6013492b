//! `portcullis detect`: rules and triggers over a log that is there already, or over traffic that is made up.

mod lines;
mod simulate;

use super::{colour_of_errors, fail, say, tell};
use crate::assemble::{given, variable};
use crate::cli::{Detect, DetectVerb, Format, Replay};
use lines::{Line, Lines};
use portcullis_core::time::Now;
use portcullis_detect::alert::{Alert, Entity, Trigger};
use portcullis_detect::rule::Rules;
use portcullis_detect::{Engine, Settings};
use portcullis_vault::notices::rfc3339;
use serde_json::json;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::process::ExitCode;

/// Exit code 0, also when something fired; 1: the rules or the log cannot be read.
pub(crate) fn run(detect: Detect) -> ExitCode {
    match detect.verb {
        DetectVerb::Replay(words) => replay(&words),
        DetectVerb::Simulate(words) => simulate::run(&words),
    }
}

/// Longest line that is read, in bytes: longer ones are counted as unreadable.
const MAX_LINE: u64 = 1 << 20;

fn replay(words: &Replay) -> ExitCode {
    let rules = match &words.rules {
        None => portcullis_config::Rules::default(),
        Some(path) => match portcullis_config::rules(path, given(&variable)) {
            Ok(rules) => rules,
            Err((findings, sources)) => {
                let text: String = findings.iter().map(|it| sources.render(it, colour_of_errors())).collect();
                tell(&text);
                return ExitCode::FAILURE;
            }
        },
    };
    let lines = match Lines::new(&rules.formats) {
        Ok(lines) => lines,
        Err(why) => return fail(&why),
    };
    let source: Box<dyn Read> = if words.log.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        match File::open(&words.log) {
            Ok(file) => Box::new(file),
            Err(error) => return fail(&format!("{}: {error}", words.log.display())),
        }
    };
    let mut replayed = Replayed {
        rules: Rules::new(rules.rules, 100_000, 0),
        engine: Engine::new(Settings::default()),
        format: words.format,
        ticked: 0,
        alerts: 0,
    };
    let (mut reader, mut buffer) = (BufReader::new(source), Vec::new());
    let (mut read, mut unreadable, mut first) = (0_u64, 0_u64, None);
    loop {
        buffer.clear();
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return fail(&format!("{}: {error}", words.log.display())),
        }
        read += 1;
        let text = String::from_utf8_lossy(&buffer);
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            continue;
        }
        match lines.read(text) {
            Some(line) => replayed.take(&line),
            None => {
                unreadable += 1;
                first.get_or_insert(read);
            }
        }
    }
    replayed.end();
    tell(&format!("{read} lines, {} alerts\n", replayed.alerts));
    if let Some(first) = first {
        tell(&format!(
            "{unreadable} lines could not be read, the first is line {first}: they are neither JSON with a time nor of \
             one of the `formats` of the rules\n"
        ));
    }
    if unreadable == read && read > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

struct Replayed {
    rules: Rules,
    engine: Engine,
    format: Format,
    ticked: i64,
    alerts: u64,
}

impl Replayed {
    fn take(&mut self, line: &Line) {
        let mut out = Vec::new();
        // The log's own clock ticks, and never backwards.
        let second = line.now().secs();
        if second > self.ticked {
            self.ticked = second;
            self.engine.tick(Now::from_secs(second), &mut out);
        }
        if let Some(event) = line.event() {
            self.engine.step(&event, &mut out);
        }
        self.rules.step(line, &|_, group| Entity::Group(group), &mut out);
        for alert in out {
            self.print(&alert, line);
        }
    }

    fn end(&mut self) {
        let mut out = Vec::new();
        self.engine.tick(Now::from_secs(self.ticked + 1), &mut out);
        for alert in out {
            self.print(&alert, &Line::default());
        }
    }

    fn print(&mut self, alert: &Alert, line: &Line) {
        self.alerts += 1;
        let rule = match alert.trigger {
            Trigger::Rule(number) => self.rules.rules().get(usize::from(number)),
            _ => None,
        };
        let name = rule.map_or(alert.trigger.word(), |rule| rule.name.as_str());
        let entity = match (rule, alert.entity) {
            (Some(rule), _) => line.group(&rule.group_by),
            (None, Entity::Address(address)) => format!("address {address}"),
            (None, Entity::User(hash)) => format!("user {hash:016x}"),
            (None, Entity::Key(_) | Entity::Principal(_)) => {
                line.caller().unwrap_or_else(|| "a caller".to_owned())
            }
            (None, Entity::Route(_)) => line.route().unwrap_or_else(|| "a route".to_owned()),
            (None, Entity::Service) => "the service".to_owned(),
            (None, Entity::Group(hash)) => format!("group {hash:016x}"),
        };
        let at = rfc3339(alert.last.secs());
        let subtype = alert.subtype.map(|subtype| subtype.word());
        say(&match self.format {
            Format::Json => format!(
                "{}\n",
                json!({
                    "time": at, "rule": name, "subtype": subtype, "severity": alert.severity.word(), "entity": entity,
                    "first": rfc3339(alert.first.secs()), "observed": alert.observed, "threshold": alert.threshold,
                    "baseline": alert.baseline, "window_s": alert.window_s, "incomplete": alert.incomplete,
                })
            ),
            Format::Text => format!(
                "{at}  {:<8} {name}{}  {entity}  {} (more than {})\n",
                alert.severity.word(),
                subtype.map_or_else(String::new, |subtype| format!("/{subtype}")),
                round(alert.observed),
                round(alert.threshold),
            ),
        });
    }
}

fn round(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
