//! `portcullis audit`: what was changed by whom, and whether that record is whole.

use super::remembered::{Wrong, store_folder};
use super::{say, tell};
use crate::cli::{Audit, AuditVerb, Format, Ledger, VerifyLedger};
use portcullis_store::OpenError;
use portcullis_store::ledger::chain::hex;
use portcullis_store::ledger::verify::{PublicKey, Report};
use portcullis_store::ledger::{Checkpoint, Transcript};
use portcullis_vault::ledger::{LedgerKey, key_id};
use portcullis_vault::notices::rfc3339;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// Exit code 0; 1: the ledger is not as it was written; 2, 3, 5 as of `portcullis keys`.
pub(crate) fn run(audit: Audit) -> ExitCode {
    let format = audit.format;
    let done = match audit.verb {
        AuditVerb::VerifyLedger(words) => verify(&words, format),
        AuditVerb::Ledger(words) => print(&words, format).map(|()| ExitCode::SUCCESS),
        AuditVerb::PublicKey { place } => folder(&place).and_then(|(folder, _)| {
            let key =
                own_key(&folder)?.ok_or_else(|| Wrong::Missing("nothing was signed here yet".to_owned()))?;
            say(&match format {
                Format::Json => format!("{:#}\n", json!({ "id": key.id, "ed25519": hex(&key.bytes) })),
                Format::Text => format!("{}\n", hex(&key.bytes)),
            });
            Ok(ExitCode::SUCCESS)
        }),
    };
    done.unwrap_or_else(|wrong| wrong.end())
}

fn verify(words: &VerifyLedger, format: Format) -> Result<ExitCode, Wrong> {
    let (folder, sink) = folder(&words.place)?;
    let mut keys: Vec<PublicKey> =
        words.public_keys.iter().map(|text| public_key(text)).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        keys.extend(own_key(&folder)?);
    }
    let mut shipped = Vec::new();
    // The configured file counts where it is; one that is named must be there.
    let configured = sink.filter(|path| path.exists());
    for path in words.checkpoints.iter().chain(configured.as_ref()) {
        shipped.extend(read(path)?);
    }
    let report = match transcript(&folder)?.verify(&keys, &shipped) {
        Ok(report) => report,
        Err(error) => {
            // Damage, not absence: this is the finding.
            tell(&format!("the ledger cannot be read: {error}\n"));
            return Ok(ExitCode::from(1));
        }
    };
    say(&match format {
        Format::Json => format!("{:#}\n", as_json(&report, shipped.len())),
        Format::Text => as_text(&report, shipped.len()),
    });
    Ok(if report.is_intact() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn as_text(report: &Report, shipped: usize) -> String {
    let mut out = String::new();
    for fault in &report.faults {
        out.push_str(&format!("FAULT  {fault}\n"));
    }
    if report.more > 0 {
        out.push_str(&format!("       and {} more\n", report.more));
    }
    let ledger = report.ledger.map_or_else(|| "no ledger".to_owned(), |id| format!("ledger {}", hex(&id)));
    out.push_str(&format!(
        "{ledger}: {} entries, {} checkpoints, {shipped} shipped ones compared\n",
        report.entries, report.checkpoints
    ));
    if let Some((seq, at)) = report.signed {
        out.push_str(&format!("signed up to entry {seq}, on {}\n", rfc3339(at)));
    } else {
        out.push_str("nothing is signed\n");
    }
    if let Some((from, to)) = report.unsigned {
        out.push_str(&format!("not signed yet: entries {from} to {to}\n"));
    }
    out.push_str(if report.is_intact() { "intact\n" } else { "NOT INTACT\n" });
    out
}

fn as_json(report: &Report, shipped: usize) -> Value {
    let faults: Vec<Value> = report
        .faults
        .iter()
        .map(|fault| json!({ "fault": fault.word(), "entry": fault.seq(), "says": fault.to_string() }))
        .collect();
    json!({
        "intact": report.is_intact(),
        "ledger": report.ledger.map(|id| hex(&id)),
        "entries": report.entries,
        "last": report.last,
        "checkpoints": report.checkpoints,
        "shipped_compared": shipped,
        "signed": report.signed.map(|(seq, at)| json!({ "entry": seq, "at": rfc3339(at) })),
        "unsigned": report.unsigned.map(|(from, to)| json!({ "from": from, "to": to })),
        "faults": faults,
        "further_faults": report.more,
    })
}

fn print(words: &Ledger, format: Format) -> Result<(), Wrong> {
    let (folder, _) = folder(&words.place)?;
    let mut transcript = transcript(&folder)?;
    let since = words.since.as_deref().map(super::remembered::moment).transpose()?;
    let take = |line: portcullis_store::ledger::verify::Line| {
        let entry = line.entry.unwrap_or_default();
        let read: Value = serde_json::from_str(&entry).unwrap_or_default();
        let at = read.get("at").and_then(Value::as_i64).unwrap_or(0);
        if since.is_some_and(|since| at < since) {
            return;
        }
        match format {
            Format::Json => say(&format!("{entry}\n")),
            Format::Text => say(&format!("{}\n", shown(&read, at))),
        }
    };
    transcript.entries(words.after.unwrap_or(0), take).map_err(|error| Wrong::Store(error.to_string()))
}

/// One entry for people: nothing of it moves the cursor.
fn shown(entry: &Value, at: i64) -> String {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("-");
    let seq = entry.get("seq").and_then(Value::as_i64).unwrap_or(0);
    let mut out = format!(
        "{seq:>6}  {}  {:<16} {}  by {} ({})",
        rfc3339(at),
        text("event"),
        text("target"),
        text("actor"),
        text("how")
    );
    let known = ["seq", "at", "event", "target", "actor", "how"];
    for (name, value) in
        entry.as_object().into_iter().flatten().filter(|(name, _)| !known.contains(&name.as_str()))
    {
        out.push_str(&format!("  {name}={}", value.as_str().unwrap_or_default()));
    }
    out.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The store's folder, and the file that checkpoints are shipped to.
fn folder(
    place: &crate::cli::LedgerPlace,
) -> Result<(std::path::PathBuf, Option<std::path::PathBuf>), Wrong> {
    match &place.store {
        Some(folder) => Ok((folder.clone(), None)),
        None => store_folder(&place.config),
    }
}

fn transcript(folder: &Path) -> Result<Transcript, Wrong> {
    Transcript::open(folder).map_err(|error| match error {
        OpenError::Io(why) if why.kind() == std::io::ErrorKind::NotFound => {
            Wrong::Missing(format!("there is no ledger in {}", folder.display()))
        }
        other => Wrong::Store(other.to_string()),
    })
}

fn own_key(folder: &Path) -> Result<Option<PublicKey>, Wrong> {
    Ok(LedgerKey::read(folder).map_err(Wrong::Store)?.map(|key| key.public()))
}

/// 64 hexadecimal digits, as `audit public-key` prints them.
fn public_key(text: &str) -> Result<PublicKey, Wrong> {
    let digits: Option<Vec<u32>> = text.trim().chars().map(|c| c.to_digit(16)).collect();
    let bytes: Vec<u8> = digits
        .unwrap_or_default()
        .chunks(2)
        .filter_map(|pair| u8::try_from(pair.first()? * 16 + pair.get(1)?).ok())
        .collect();
    if bytes.len() != 32 {
        return Err(Wrong::Usage(format!(
            "`{text}` is no public key; `portcullis audit public-key` prints it"
        )));
    }
    Ok(PublicKey { id: key_id(&bytes), bytes })
}

/// Checkpoints of a file, or of a log that they stand in.
fn read(path: &Path) -> Result<Vec<Checkpoint>, Wrong> {
    let text = std::fs::read_to_string(path).map_err(|e| Wrong::Usage(format!("{}: {e}", path.display())))?;
    let mut found = Vec::new();
    for line in text.lines().filter(|line| line.contains("portcullis.ledger.checkpoint")) {
        let own = Checkpoint::parse(line);
        // In the program's own notes it stands as a text within a JSON line.
        let noted = || {
            let note: Value = serde_json::from_str(line).ok()?;
            texts(&note).into_iter().find_map(|text| Checkpoint::parse(&text))
        };
        match own.or_else(noted) {
            Some(checkpoint) => found.push(checkpoint),
            None => {
                return Err(Wrong::Usage(format!(
                    "{}: a line is no checkpoint of ours: {line}",
                    path.display()
                )));
            }
        }
    }
    Ok(found)
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
