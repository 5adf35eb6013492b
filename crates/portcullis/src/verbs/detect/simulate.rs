//! `portcullis detect simulate`: how well the triggers tell attackers from ordinary callers.

use crate::cli::{Format, Simulate};
use crate::verbs::{say, tell};
use portcullis_detect::simulate::{Scenario, Score, play};
use serde_json::json;
use std::io::IsTerminal as _;
use std::process::ExitCode;

pub(super) fn run(words: &Simulate) -> ExitCode {
    let scenario = Scenario {
        seed: words.seed,
        days: words.days,
        principals: words.principals,
        attacks: !words.benign,
        shuffle: words.shuffle,
    };
    let show = std::io::stderr().is_terminal();
    let score = play(scenario, &mut |day| {
        if show {
            tell(&format!("\rday {day} of {}", words.days));
        }
    });
    if show {
        tell("\r");
    }
    say(&match words.format {
        Format::Json => format!("{:#}\n", as_json(words, &score)),
        Format::Text => as_text(words, &score),
    });
    ExitCode::SUCCESS
}

fn as_text(words: &Simulate, score: &Score) -> String {
    let mut out = format!(
        "seed {}, {} days, {} callers, {} events{}\n\n",
        words.seed,
        words.days,
        words.principals,
        score.events,
        if words.shuffle { ", labels shuffled" } else { "" }
    );
    for each in &score.attacks {
        out.push_str(&format!(
            "{:<16} {:>3} of {:>3} found, after {:.0} s\n",
            each.name, each.found, each.all, each.delay_s
        ));
    }
    out.push_str(&format!(
        "\nprecision {:.3}  recall {:.3}  alerts {} right, {} wrong  false alarms per key and day {:.6}\n",
        score.precision(),
        score.recall(),
        score.right,
        score.wrong,
        score.wrong_per_key_day
    ));
    out
}

fn as_json(words: &Simulate, score: &Score) -> serde_json::Value {
    let attacks: Vec<_> = score
        .attacks
        .iter()
        .map(|each| json!({ "name": each.name, "all": each.all, "found": each.found, "delay_s": each.delay_s }))
        .collect();
    json!({
        "seed": words.seed, "days": words.days, "principals": words.principals, "shuffled": words.shuffle,
        "events": score.events, "attacks": attacks, "precision": score.precision(), "recall": score.recall(),
        "right": score.right, "wrong": score.wrong, "false_alarms_per_key_day": score.wrong_per_key_day,
    })
}
