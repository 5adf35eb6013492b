//! The desk on which a plan is made: files, findings, and the list of loosenings.

use crate::files::Files;
use crate::words::{At, Day, Reference};
use portcullis_contract::model::Section;
use portcullis_core::finding::{Finding, Span};
use portcullis_core::secret::Secret;
use portcullis_plan::Loosening;

pub(crate) struct Desk<'a> {
    pub(crate) files: Files<'a>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) loosenings: Vec<Loosening>,
    /// Where a secret is written out: such text is never shown.
    pub(crate) secrets: Vec<Span>,
    /// By API: every key of its document, where somebody asked.
    pub(crate) coverage: Vec<(String, Vec<Section>)>,
}

/// Why, and until when.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'w> {
    pub(crate) because: &'w Option<At<String>>,
    pub(crate) until: &'w Option<At<Day>>,
    pub(crate) at: Span,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(files: Files<'a>) -> Self {
        Self {
            files,
            findings: Vec::new(),
            loosenings: Vec::new(),
            secrets: Vec::new(),
            coverage: Vec::new(),
        }
    }

    /// An error with a way out.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        at: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.findings.push(Finding::error(code, at, message).help(help));
    }

    /// A warning with a way out.
    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        at: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.findings.push(Finding::warning(code, at, message).help(help));
    }

    /// The content of a reference, or an error.
    pub(crate) fn secret(&mut self, reference: &At<Reference>) -> Option<Secret<Vec<u8>>> {
        self.files.secret(reference).map_err(|finding| self.findings.push(*finding)).ok()
    }

    /// The content of a reference that holds text.
    pub(crate) fn secret_text(&mut self, reference: &At<Reference>) -> Option<Secret<String>> {
        let bytes = self.secret(reference)?;
        let text = std::str::from_utf8(bytes.expose()).map(str::to_owned);
        if text.is_err() {
            let message = format!("`{}` is not text", reference.shown());
            self.error("secret-form", reference.at, message, "save it as UTF-8");
        }
        text.ok().map(Secret::new)
    }

    /// Law 5: a loosening has a name, a reason and an end. Enters it into the list; false when it does not hold.
    pub(crate) fn loosen(
        &mut self,
        name: &'static str,
        subject: impl Into<String>,
        terms: Terms<'_>,
    ) -> bool {
        if terms.until.is_none() {
            let example = self.files.today().plus_days(180);
            let message = format!("the loosening `{name}` has no end");
            self.error("until-missing", terms.at, message, format!("add  until: {example}"));
            return false;
        }
        self.named(name, subject, terms)
    }

    /// What is let through with a reason; its end is optional.
    pub(crate) fn named(&mut self, name: &'static str, subject: impl Into<String>, terms: Terms<'_>) -> bool {
        let reason = terms.because.as_ref().map(|because| because.trim()).filter(|text| !text.is_empty());
        let Some(because) = reason else {
            let message = format!("`{name}` is let through without a reason");
            let help = "add  because: \"…\"  for whoever reads this next year";
            self.error("because-missing", terms.at, message, help);
            return false;
        };
        if let Some(until) = terms.until
            && until.0 < self.files.today()
        {
            let message = format!("`{name}` was let through until {}, which has passed", until.0);
            self.error(
                "loosening-expired",
                until.at,
                message,
                "remove it, or decide anew and give a later day",
            );
            return false;
        }
        self.loosenings.push(Loosening {
            name,
            subject: subject.into(),
            because: because.to_owned(),
            until: terms.until.as_ref().map(|until| until.0.to_string()),
            at: terms.at,
        });
        true
    }
}
