//! `portcullis init --from-spec`.

use super::{colour_of_errors, fail, say, tell};
use crate::assemble::{given, variable};
use crate::cli::Init;
use std::process::ExitCode;

pub(crate) fn run(init: &Init) -> ExitCode {
    let text =
        match portcullis_config::init_from_spec(&init.from_spec, Some(&init.upstream), given(&variable)) {
            Ok(text) => text,
            Err(outcome) => {
                tell(&outcome.render(colour_of_errors()));
                return ExitCode::FAILURE;
            }
        };
    let Some(path) = &init.out else {
        say(&text);
        return ExitCode::SUCCESS;
    };
    let written = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    match written.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes())) {
        Ok(()) => {
            tell(&format!("wrote {}; next: portcullis check --config {}\n", path.display(), path.display()));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("{}: {error}; nothing was overwritten", path.display())),
    }
}
