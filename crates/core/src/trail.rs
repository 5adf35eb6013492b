//! What the gates decided, and by which rule. Gates append; none reads it. It becomes the log line and `explain`.

use crate::finding::Span;
use std::borrow::Cow;

/// The gates, in the order of `admit.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gate {
    /// One parse, one truth.
    Canonical,
    /// Is it declared?
    Route,
    /// Global and address limits.
    Flood,
    /// Who is it?
    Identify,
    /// Key, user and endpoint limits.
    Quota,
    /// Scope.
    Operation,
    /// Parameters and body.
    Intake,
    /// Whose object?
    Object,
    /// To the upstream.
    Forward,
    /// The answer.
    Release,
}

impl Gate {
    /// Lower-case word for logs and `explain`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Canonical => "canonical",
            Self::Route => "route",
            Self::Flood => "flood",
            Self::Identify => "identify",
            Self::Quota => "quota",
            Self::Operation => "operation",
            Self::Intake => "intake",
            Self::Object => "object",
            Self::Forward => "forward",
            Self::Release => "release",
        }
    }
}

/// One decision of one gate.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which gate.
    pub gate: Gate,
    /// Stable word or short sentence; never a value of the request.
    pub decision: Cow<'static, str>,
    /// The rule that made it (file and line in the plan's sources).
    pub rule: Option<Span>,
}

const MOST: usize = 64;

/// The decisions of one request, in order.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    steps: Vec<Step>,
}

impl Trail {
    /// An empty trail with room for a full pass.
    pub fn new() -> Self {
        Self { steps: Vec::with_capacity(12) }
    }

    /// Appends a decision. Of more than 64 the latest takes the place of the one before it: a client decides how many
    /// lines and members there are to be judged, and not how long a line of the log is.
    pub fn note(&mut self, gate: Gate, decision: impl Into<Cow<'static, str>>, rule: Option<Span>) {
        if self.steps.len() >= MOST {
            self.steps.pop();
        }
        self.steps.push(Step { gate, decision: decision.into(), rule });
    }

    /// All decisions, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_is_bounded_and_ends_with_the_latest() {
        let mut trail = Trail::new();
        for n in 0..100_000 {
            trail.note(Gate::Intake, n.to_string(), None);
        }
        assert_eq!(trail.steps().len(), MOST);
        assert_eq!(trail.steps().last().map(|step| &*step.decision), Some("99999"));
        assert_eq!(trail.steps().first().map(|step| &*step.decision), Some("0"));
    }
}
