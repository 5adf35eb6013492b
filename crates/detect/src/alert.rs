//! What a detector says.

use std::net::IpAddr;

use portcullis_core::time::Now;
use smallvec::SmallVec;

/// An alert, before anybody is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Which trigger.
    pub trigger: Trigger,
    /// Which kind of it.
    pub subtype: Option<Subtype>,
    /// How bad.
    pub severity: Severity,
    /// Whom it is about.
    pub entity: Entity,
    /// When the first event of the window was.
    pub first: Now,
    /// When the last one was.
    pub last: Now,
    /// What was counted or measured.
    pub observed: f64,
    /// What it was compared with.
    pub threshold: f64,
    /// What is usual, where there is such a thing.
    pub baseline: Option<f64>,
    /// Length of the window, in seconds.
    pub window_s: u64,
    /// Requests to look at first.
    pub traces: SmallVec<[u128; 5]>,
    /// Events were lost in this time: it may have been worse.
    pub incomplete: bool,
}

/// What fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// T1: failed authentications.
    CredentialAttack,
    /// T2: a rise of 401 and 403.
    RefusalRise,
    /// T3: a country where the key has not been.
    NewCountry,
    /// T4: answers that are larger than usual.
    ResponseSize,
    /// T5: outside the hours.
    OffHours,
    /// T6: limits, again and again.
    LimitBreaches,
    /// A rule of the operator's own, by its number.
    Rule(u16),
}

/// Which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subtype {
    /// Many users from one address.
    Stuffing,
    /// One user from many addresses.
    Spraying,
    /// Many addresses on one route.
    Distributed,
    /// More than is usual in an hour or in a day, slowly.
    Slow,
    /// A sign-in that succeeded after the alarm.
    SuccessAfter,
    /// Objects that are not the caller's.
    BolaProbing,
    /// Refused tokens from somewhere new.
    TokenTheft,
    /// Ids one after the other.
    Enumeration,
    /// Many callers at once: the service has changed, not they.
    Deployment,
    /// One answer.
    SingleResponse,
    /// An hour of them.
    Volume,
    /// A schedule that somebody wrote.
    Schedule,
    /// Hours in which nothing was ever seen.
    Learned,
    /// Does not wait as it is told.
    IgnoresRetryAfter,
}

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Worth a look today.
    Medium,
    /// Worth a look now.
    High,
    /// Worth waking somebody.
    Critical,
}

/// Whom an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// An address.
    Address(IpAddr),
    /// A user: keyed hash.
    User(u64),
    /// A key or client: keyed hash of its id.
    Key(u64),
    /// A caller, whichever of the two: keyed hash.
    Principal(u64),
    /// An operation.
    Route(u32),
    /// Everybody.
    Service,
    /// The group of a rule: hash of its values.
    Group(u64),
}

impl Trigger {
    /// The word in alerts and rules.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::CredentialAttack => "credential_attack",
            Self::RefusalRise => "refusal_rise",
            Self::NewCountry => "new_country",
            Self::ResponseSize => "response_size",
            Self::OffHours => "off_hours",
            Self::LimitBreaches => "limit_breaches",
            Self::Rule(_) => "rule",
        }
    }
}

impl Subtype {
    /// The word in alerts.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stuffing => "stuffing",
            Self::Spraying => "spraying",
            Self::Distributed => "distributed",
            Self::Slow => "slow",
            Self::SuccessAfter => "success_after",
            Self::BolaProbing => "bola_probing",
            Self::TokenTheft => "token_theft",
            Self::Enumeration => "enumeration",
            Self::Deployment => "deployment",
            Self::SingleResponse => "single_response",
            Self::Volume => "volume",
            Self::Schedule => "schedule",
            Self::Learned => "learned",
            Self::IgnoresRetryAfter => "ignores_retry_after",
        }
    }
}

impl Severity {
    /// The word in alerts and rules.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}
