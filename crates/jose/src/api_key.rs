//! API keys: the MAC that is kept of one, and its life as a function of its row and the time.
//!
//! No job is needed for any of this to be right: a key ends even if every background task has died.

use crate::alg::{Algorithm, Algorithms};
use crate::jwk::{KeyFault, KeyPolicy, VerifyKey};
use crate::mac::MacKey;
use portcullis_core::opaque::ApiKey;
use portcullis_core::secret::constant_time_eq;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// Seconds from creation to rotation, at most, whatever a row says.
pub const MAX_ROTATE: i64 = 90 * DAY;
/// The least grace that a rotation may give, in seconds.
pub const MIN_GRACE: i64 = 24 * HOUR;
/// The grace without further words, in seconds.
pub const DEFAULT_GRACE: i64 = 48 * HOUR;
/// The longest grace, in seconds, whatever a row says.
pub const MAX_GRACE: i64 = 72 * HOUR;
/// Seconds before `rotate_at` from which a key is due.
const DUE: i64 = 7 * DAY;
/// Seconds after the end until what is secret in a row is erased.
const PURGE: i64 = 30 * DAY;
/// Seconds before the end of grace at which its owner is told.
const LAST_CALL: i64 = 12 * HOUR;

/// What the row keeps of a key: HMAC-SHA256 of the 32 bytes under the pepper. A dump of the store
/// opens nothing.
pub fn mac(pepper: &MacKey, key: &ApiKey) -> [u8; 32] {
    pepper.sign(key.secret().expose())
}

/// Is this the key that the row was made of? Without a row the same work is done, for equal timing.
pub fn mac_fits(pepper: &MacKey, key: &ApiKey, row: Option<&[u8; 32]>) -> bool {
    let told = mac(pepper, key);
    let equal = constant_time_eq(&told, row.unwrap_or(&[0; 32]));
    equal && row.is_some()
}

/// Reads the public key of a key of kind `jwk`: Ed25519 or P-256.
///
/// # Errors
/// The first check that fails.
pub fn partner_key(jwk: &[u8]) -> Result<VerifyKey, KeyFault> {
    let algorithms = Algorithms::EMPTY.with(Algorithm::EdDsa).with(Algorithm::Es256);
    VerifyKey::parse(jwk, &KeyPolicy { algorithms, ..KeyPolicy::default() })
}

/// The moments in a key's row, unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dates {
    /// Made.
    pub created: i64,
    /// Works from here.
    pub activate_at: i64,
    /// Deprecated from here, at the latest.
    pub rotate_at: i64,
    /// Ends here at the latest, if set.
    pub expires_at: Option<i64>,
    /// Seconds that it goes on working after it was deprecated.
    pub grace: i64,
    /// Set by rotation.
    pub deprecated_at: Option<i64>,
    /// Set by hand, or by a response of watch.
    pub revoked_at: Option<i64>,
    /// Set by hand, or by a response of watch; can be lifted.
    pub suspended_at: Option<i64>,
}

/// The state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Does not work yet.
    Pending,
    /// Works.
    Active,
    /// Works; its owner is told to rotate it.
    Due,
    /// Works for the grace; marked on every answer.
    Deprecated,
    /// Works no more.
    Expired,
    /// Works no more, and nothing secret of it is kept.
    Purged,
    /// Ended by hand.
    Revoked,
    /// Stopped by hand.
    Suspended,
}

impl State {
    /// Is a key in this state accepted?
    pub const fn works(self) -> bool {
        matches!(self, Self::Active | Self::Due | Self::Deprecated)
    }

    /// Lower-case word for logs and lists.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Due => "due",
            Self::Deprecated => "deprecated",
            Self::Expired => "expired",
            Self::Purged => "purged",
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
        }
    }
}

impl Dates {
    /// A key that is made and works at `now`. `rotate_every` and `grace` are in seconds; more than 90
    /// days and grace outside 24–72 h are brought back.
    pub fn new(now: i64, rotate_every: i64, grace: i64) -> Self {
        Self {
            created: now,
            activate_at: now,
            rotate_at: now.saturating_add(rotate_every.clamp(0, MAX_ROTATE)),
            expires_at: None,
            grace: grace.clamp(MIN_GRACE, MAX_GRACE),
            deprecated_at: None,
            revoked_at: None,
            suspended_at: None,
        }
    }

    /// The state at `now`.
    pub fn state(&self, now: i64) -> State {
        let ends_at = self.ends_at();
        if self.revoked_at.is_some_and(|at| at <= now) {
            State::Revoked
        } else if now >= ends_at.saturating_add(PURGE) {
            State::Purged
        } else if now >= ends_at {
            State::Expired
        } else if self.suspended_at.is_some_and(|at| at <= now) {
            State::Suspended
        } else if now < self.activate_at {
            State::Pending
        } else if now >= self.deprecated_from() {
            State::Deprecated
        } else if now >= self.rotate_by().saturating_sub(DUE) {
            State::Due
        } else {
            State::Active
        }
    }

    /// When it is deprecated: by rotation, or by itself. `Deprecation` of RFC 9745.
    pub fn deprecated_from(&self) -> i64 {
        self.deprecated_at.map_or(self.rotate_by(), |at| at.min(self.rotate_by()))
    }

    /// When it works no more: never after creation + 90 days + grace. `Sunset` of RFC 8594.
    pub fn ends_at(&self) -> i64 {
        let end = self.deprecated_from().saturating_add(self.grace.clamp(0, MAX_GRACE));
        self.expires_at.map_or(end, |at| at.min(end))
    }

    /// The notices whose moment has come by `now`. The outbox keeps each (key, type, bucket) once, so
    /// asking again sends nothing again; of several missed due moments only the latest is told.
    pub fn notices(&self, now: i64) -> Vec<Notice> {
        let (state, ends_at) = (self.state(now), self.ends_at());
        let mut all = Vec::new();
        if matches!(state, State::Due | State::Deprecated) && !self.rotated() {
            let moments = [(1, "1d"), (3, "3d"), (7, "7d")];
            let due = moments.map(|(days, bucket)| (self.rotate_by().saturating_sub(days * DAY), bucket));
            // A key shorter than the notice: what lies before its beginning is not told.
            let passed = due.into_iter().find(|(at, _)| *at <= now && *at >= self.created);
            all.extend(passed.map(|(at, bucket)| Notice { kind: NoticeKind::RotationDue, bucket, at }));
        }
        let last_call = ends_at.saturating_sub(LAST_CALL);
        if state == State::Deprecated && now >= last_call {
            all.push(Notice { kind: NoticeKind::ExpiringGrace, bucket: "12h", at: last_call });
        }
        match (state, self.revoked_at) {
            (State::Expired | State::Purged, _) => {
                all.push(Notice { kind: NoticeKind::Expired, bucket: "once", at: ends_at });
            }
            (State::Revoked, Some(at)) => all.push(Notice { kind: NoticeKind::Revoked, bucket: "once", at }),
            _ => {}
        }
        all
    }

    /// Rotates: what becomes of this row. `successor` is the state of the one it already has.
    ///
    /// # Errors
    /// [`Conflict`].
    pub fn rotate(&self, now: i64, rotation: &Rotation, successor: Option<State>) -> Result<Self, Conflict> {
        if !self.state(now).works() {
            return Err(Conflict::NotRotatable);
        }
        if successor.is_some_and(|s| !matches!(s, State::Expired | State::Purged | State::Revoked)) {
            return Err(Conflict::InProgress);
        }
        if rotation.compromised {
            return Ok(Self { revoked_at: Some(now), ..*self });
        }
        let row = Self { grace: rotation.grace.unwrap_or(self.grace).clamp(MIN_GRACE, MAX_GRACE), ..*self };
        Ok(if rotation.on_first_use { row } else { row.deprecate(now) })
    }

    /// Deprecates at `now`: rotation, or the first use of a successor. Never later than it was.
    #[must_use]
    pub fn deprecate(&self, now: i64) -> Self {
        Self { deprecated_at: Some(self.deprecated_at.map_or(now, |at| at.min(now))), ..*self }
    }

    /// `rotate_at`, and never more than 90 days after creation.
    fn rotate_by(&self) -> i64 {
        self.rotate_at.min(self.created.saturating_add(MAX_ROTATE))
    }

    fn rotated(&self) -> bool {
        self.deprecated_at.is_some_and(|at| at < self.rotate_by())
    }
}

/// How a key is to be rotated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation {
    /// Seconds of grace for the predecessor, 24–72 h; its own without.
    pub grace: Option<i64>,
    /// Grace 0: the predecessor is revoked.
    pub compromised: bool,
    /// The predecessor is deprecated when the successor is first accepted, at the latest at `rotate_at`.
    pub on_first_use: bool,
}

/// Why a key is not rotated (409).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conflict {
    /// It has a living successor.
    InProgress,
    /// Pending, expired, revoked or suspended.
    NotRotatable,
}

impl Conflict {
    /// The stable code.
    pub const fn text(self) -> &'static str {
        match self {
            Self::InProgress => "key-rotation-in-progress",
            Self::NotRotatable => "key-not-rotatable",
        }
    }
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Conflict {}

/// A notice about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// 7, 3 and 1 days before `rotate_at`.
    RotationDue,
    /// 12 h before the end of grace.
    ExpiringGrace,
    /// It ended.
    Expired,
    /// It was ended.
    Revoked,
}

impl NoticeKind {
    /// The type, as the outbox and webhooks name it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::RotationDue => "apikey.rotation_due",
            Self::ExpiringGrace => "apikey.expiring_grace",
            Self::Expired => "apikey.expired",
            Self::Revoked => "apikey.revoked",
        }
    }
}

/// A notice whose moment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its type.
    pub kind: NoticeKind,
    /// Unique with the key and the type.
    pub bucket: &'static str,
    /// Its moment, unix seconds.
    pub at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::opaque::Env;

    const BORN: i64 = 1_767_225_600;

    fn key() -> Dates {
        Dates::new(BORN, MAX_ROTATE, DEFAULT_GRACE)
    }

    #[test]
    fn known_answer_of_the_mac() {
        let id = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99];
        let key = ApiKey::new(Env::Test, id, std::array::from_fn(|i| u8::try_from(i).unwrap()));
        let pepper = MacKey::new(&[0x70; 32]);
        let row = mac(&pepper, &key);
        let hex: String = row.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "0b99bdb360aa3ea0eb75af809ba843ee74dca47ab6521499912f3fc60683b131");
        assert!(mac_fits(&pepper, &key, Some(&row)));
        assert!(!mac_fits(&pepper, &key, None), "no row");
        assert!(!mac_fits(&MacKey::new(&[0x71; 32]), &key, Some(&row)), "another pepper");
        let mut other = row;
        other[31] ^= 1;
        assert!(!mac_fits(&pepper, &key, Some(&other)));
    }

    #[test]
    fn known_answer_of_the_hash_of_a_refresh_token() {
        let text = "pcr_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf3w65GA";
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let hex: String = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "c4d897b85613f36c2ae4758ad827a203054f32d1e5166c5a374a6f51125b835f");
    }

    #[test]
    fn a_walk_through_93_days_and_beyond() {
        for grace in [24 * HOUR, 48 * HOUR, 72 * HOUR] {
            let key = Dates { activate_at: BORN + HOUR, ..Dates::new(BORN, MAX_ROTATE, grace) };
            let end = BORN + 90 * DAY + grace;
            for (at, state) in [
                (BORN, State::Pending),
                (BORN + HOUR - 1, State::Pending),
                (BORN + HOUR, State::Active),
                (BORN + 83 * DAY - 1, State::Active),
                (BORN + 83 * DAY, State::Due),
                (BORN + 90 * DAY - 1, State::Due),
                (BORN + 90 * DAY, State::Deprecated),
                (end - 1, State::Deprecated),
                (end, State::Expired),
                (end + 30 * DAY - 1, State::Expired),
                (end + 30 * DAY, State::Purged),
            ] {
                assert_eq!(key.state(at), state, "{}", at - BORN);
            }
            assert_eq!((key.deprecated_from(), key.ends_at()), (BORN + 90 * DAY, end));
        }
    }

    #[test]
    fn a_row_that_says_more_does_not_get_more() {
        let row = Dates { rotate_at: i64::MAX, grace: i64::MAX, expires_at: Some(i64::MAX), ..key() };
        assert_eq!(row.ends_at(), BORN + 90 * DAY + MAX_GRACE);
        assert_eq!(row.state(BORN + 93 * DAY), State::Expired);
        let row = Dates { deprecated_at: Some(i64::MAX), ..key() };
        assert_eq!(row.deprecated_from(), BORN + 90 * DAY);
        let row = Dates { grace: i64::MIN, ..key() };
        assert_eq!(row.ends_at(), BORN + 90 * DAY);
    }

    #[test]
    fn revoked_suspended_and_an_early_end() {
        assert_eq!(Dates { revoked_at: Some(BORN + 5), ..key() }.state(BORN + 5), State::Revoked);
        assert_eq!(Dates { revoked_at: Some(BORN + 5), ..key() }.state(BORN + 4), State::Active);
        let suspended = Dates { suspended_at: Some(BORN), ..key() };
        assert_eq!(suspended.state(BORN), State::Suspended);
        assert_eq!(Dates { suspended_at: None, ..suspended }.state(BORN), State::Active, "lifted");
        assert_eq!(suspended.state(BORN + 200 * DAY), State::Purged, "and ends all the same");
        let early = Dates { expires_at: Some(BORN + DAY), ..key() };
        assert_eq!((early.state(BORN + DAY - 1), early.state(BORN + DAY)), (State::Active, State::Expired));
        let works = |s: State| s.works();
        assert!(works(State::Active) && works(State::Due) && works(State::Deprecated));
        assert!(
            ![State::Pending, State::Expired, State::Purged, State::Revoked, State::Suspended]
                .map(works)
                .contains(&true)
        );
    }

    #[test]
    fn notices_once_each() {
        let key = key();
        let mut seen = Vec::new();
        for hour in 0..=(93 * 24) {
            for notice in key.notices(BORN + hour * HOUR) {
                if !seen.iter().any(|(kind, bucket, _)| (*kind, *bucket) == (notice.kind, notice.bucket)) {
                    seen.push((notice.kind, notice.bucket, (BORN + hour * HOUR, notice.at)));
                }
            }
        }
        let at = |days: i64, hours: i64| (BORN + days * DAY + hours * HOUR, BORN + days * DAY + hours * HOUR);
        assert_eq!(
            seen,
            [
                (NoticeKind::RotationDue, "7d", at(83, 0)),
                (NoticeKind::RotationDue, "3d", at(87, 0)),
                (NoticeKind::RotationDue, "1d", at(89, 0)),
                (NoticeKind::ExpiringGrace, "12h", at(91, 12)),
                (NoticeKind::Expired, "once", at(92, 0)),
            ]
        );
    }

    #[test]
    fn of_missed_due_moments_only_the_latest() {
        let told = |now| key().notices(now).into_iter().map(|n| n.bucket).collect::<Vec<_>>();
        assert_eq!(told(BORN + 88 * DAY), ["3d"]);
        assert_eq!(told(BORN + 89 * DAY + 1), ["1d"]);
        assert_eq!(told(BORN + 90 * DAY + 1), ["1d"], "down until it was deprecated");
        assert!(told(BORN + 82 * DAY).is_empty());
        let rotated = key().rotate(BORN + 80 * DAY, &Rotation::default(), None).unwrap();
        assert!(rotated.notices(BORN + 80 * DAY + HOUR).is_empty(), "rotated: nothing is due");
        let short = Dates { rotate_at: BORN + 2 * DAY, ..key() };
        assert!(short.notices(BORN + HOUR).is_empty(), "3 and 7 days lie before its beginning");
        assert_eq!(short.notices(BORN + DAY)[0].bucket, "1d");
        let revoked = Dates { revoked_at: Some(BORN), ..key() };
        assert_eq!(revoked.notices(BORN)[0].kind.text(), "apikey.revoked");
    }

    #[test]
    fn rotation() {
        let now = BORN + 85 * DAY;
        let next = |rotation: &Rotation| key().rotate(now, rotation, None);
        let scheduled = next(&Rotation { grace: Some(24 * HOUR), ..Rotation::default() }).unwrap();
        assert_eq!((scheduled.state(now), scheduled.ends_at()), (State::Deprecated, now + 24 * HOUR));
        let greedy = next(&Rotation { grace: Some(90 * DAY), ..Rotation::default() }).unwrap();
        assert_eq!(greedy.ends_at(), now + MAX_GRACE);
        let compromised = next(&Rotation { compromised: true, ..Rotation::default() }).unwrap();
        assert_eq!(compromised.state(now), State::Revoked, "grace 0");
        let later = next(&Rotation { on_first_use: true, ..Rotation::default() }).unwrap();
        assert_eq!((later.state(now), later.deprecated_from()), (State::Due, BORN + 90 * DAY));
        assert_eq!(later.deprecate(now + DAY).deprecated_from(), now + DAY, "the successor was used");
        assert_eq!(later.deprecate(now + DAY).deprecate(now + 2 * DAY).deprecated_from(), now + DAY);
    }

    #[test]
    fn rotation_that_is_refused() {
        let again = |dates: Dates, successor| dates.rotate(BORN + DAY, &Rotation::default(), successor).err();
        for living in [State::Pending, State::Active, State::Due, State::Deprecated, State::Suspended] {
            assert_eq!(again(key(), Some(living)), Some(Conflict::InProgress), "{}", living.text());
        }
        for dead in [State::Expired, State::Purged, State::Revoked] {
            assert_eq!(again(key(), Some(dead)), None);
        }
        for row in [
            Dates { activate_at: BORN + 2 * DAY, ..key() },
            Dates { expires_at: Some(BORN), ..key() },
            Dates { revoked_at: Some(BORN), ..key() },
            Dates { suspended_at: Some(BORN), ..key() },
        ] {
            assert_eq!(again(row, None), Some(Conflict::NotRotatable));
        }
        assert_eq!(Conflict::InProgress.text(), "key-rotation-in-progress");
        assert_eq!(Conflict::NotRotatable.text(), "key-not-rotatable");
    }

    #[test]
    fn partners_register_ed25519_or_p256() {
        let ed = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        assert!(partner_key(ed.as_bytes()).is_ok());
        let private = ed.replace("}", r#","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#);
        assert_eq!(partner_key(private.as_bytes()).err(), Some(KeyFault::PrivateMaterial));
        assert_eq!(partner_key(b"{}").err(), Some(KeyFault::Malformed));
        assert_eq!(partner_key(b"").err(), Some(KeyFault::Malformed));
    }
}
