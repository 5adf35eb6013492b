//! The table, on stdout and between the markers of the page.

use std::fs;
use std::io::{self, Write as _};

use crate::compare::{CONNECTIONS, Options, Row, Turn};
use crate::peers::Peer;
use crate::work::Work;
use crate::{Result, text};

const PAGE: &str = "docs/reference/performance.md";
const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// Prints the table and, unless `dry`, puts it into the page.
pub(crate) fn write(rows: &[Row], options: &Options, dry: bool) -> Result {
    let table = format!("{}\n{}", table(rows), conditions(options));
    writeln!(io::stdout(), "{table}").map_err(text)?;
    if dry {
        return Ok(());
    }
    let page = fs::read_to_string(PAGE).map_err(|error| format!("{PAGE}: {error}"))?;
    let between = splice(&page, &table).ok_or_else(|| format!("{PAGE} lacks its markers"))?;
    fs::write(PAGE, between).map_err(text)
}

fn splice(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

fn table(rows: &[Row]) -> String {
    let reference = rows
        .iter()
        .find(|row| row.peer == Peer::Haproxy && row.work == Work::Plain)
        .map(|row| median(row, |turn| turn.micros));
    let mut lines = vec![
        "| work | program | CPU µs a request | min – max | ratio to HAProxy plain | requests/s on one core | p50 µs | p99 µs |".to_owned(),
        "|---|---|---:|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for row in rows {
        let micros = median(row, |turn| turn.micros);
        let ratio =
            reference.map_or_else(|| "–".to_owned(), |reference| format!("{:.2}", micros / reference));
        let all = row.turns.iter().map(|turn| turn.micros);
        lines.push(format!(
            "| {} | {} {} | {micros:.1} | {:.1} – {:.1} | {ratio} | {:.0} | {:.0} | {:.0} |",
            row.work.name(),
            row.peer.name(),
            row.version,
            all.clone().fold(f64::INFINITY, f64::min),
            all.fold(0.0, f64::max),
            median(row, |turn| turn.rate),
            median(row, |turn| turn.p50),
            median(row, |turn| turn.p99),
        ));
    }
    lines.join("\n")
}

fn conditions(options: &Options) -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("an unnamed processor");
    let cores = info.matches("processor\t").count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "\n{model}, {cores} cores, Linux {}; the proxy on core 0, load and backend on the rest; {CONNECTIONS} \
         connections kept busy; {} rounds of {} s each, interleaved; medians over the rounds. CPU is user and \
         system time of the proxy's processes from `/proc`.",
        kernel.trim(),
        options.rounds,
        options.seconds
    )
}

fn median(row: &Row, of: impl Fn(&Turn) -> f64) -> f64 {
    let mut all: Vec<f64> = row.turns.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_takes_the_place_of_the_old_one() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(splice(&page, "new"), Some(format!("a\n{BEGIN}\nnew\n{END}\nb\n")));
        assert_eq!(splice("no markers", "new"), None);
    }

    #[test]
    fn ratios_are_to_haproxy_of_the_same_run() {
        let row = |peer, work, micros| Row {
            peer,
            version: "1".to_owned(),
            work,
            turns: vec![Turn { micros, rate: 1.0, p50: 1.0, p99: 1.0 }],
        };
        let rows = [row(Peer::Haproxy, Work::Plain, 10.0), row(Peer::Portcullis, Work::Secured, 15.0)];
        assert!(table(&rows).contains("| secured | portcullis 1 | 15.0 | 15.0 – 15.0 | 1.50 |"));
    }
}
