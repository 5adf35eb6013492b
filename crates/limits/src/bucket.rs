//! One layer of limits, ready to decide.

use crate::gcra::Pace;
use crate::rate::Rate;
use core::fmt;
use portcullis_core::finding::Span;
use smallvec::SmallVec;

/// Windows that may stand on one layer.
pub const MAX_WINDOWS: usize = 4;

/// The layers, cheapest first (limits.md § 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// Everything together. Its counters are never evicted and never advertised.
    Global,
    /// One client address (IPv4 /32, IPv6 /64).
    Address,
    /// One IPv6 /48.
    AddressWide,
    /// One API key or client id.
    Key,
    /// One subject.
    User,
    /// One caller or address at one sensitive or costly operation.
    Endpoint,
    /// One tenant.
    Tenant,
}

impl Layer {
    /// The layer's name in headers, logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Address => "address",
            Self::AddressWide => "address-wide",
            Self::Key => "key",
            Self::User => "user",
            Self::Endpoint => "endpoint",
            Self::Tenant => "tenant",
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// A policy's name on the wire: 1–15 of `a–z 0–9 -`. Kept inline, so that a verdict needs no reference to the plan.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    bytes: [u8; 15],
    len: u8,
}

impl Name {
    /// Reads a name; `None` when it is not one.
    pub fn new(text: &str) -> Option<Self> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || !text.bytes().all(good) {
            return None;
        }
        let mut bytes = [0; 15];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, len: u8::try_from(text.len()).ok()? })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.len)).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One window as it is written: a rate and how much may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// So many per period.
    pub rate: Rate,
    /// Size of the bucket; the rate's limit if absent.
    pub burst: Option<u32>,
}

impl From<Rate> for Window {
    fn from(rate: Rate) -> Self {
        Self { rate, burst: None }
    }
}

/// Why a bucket cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketError {
    /// No window, or more than [`MAX_WINDOWS`].
    Windows,
    /// A burst of zero, or one that would take thousands of years to refill.
    Burst,
    /// `strict_window` needs a burst below the limit.
    StrictBurst,
    /// Not 1–15 of `a–z 0–9 -`.
    Name,
}

impl fmt::Display for BucketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Windows => "a layer has one to four windows",
            Self::Burst => "a burst is at least 1 and refills within a human time",
            Self::StrictBurst => "`strict_window` needs a burst smaller than the limit",
            Self::Name => "a limit's name is 1 to 15 of a-z, 0-9 and `-`",
        })
    }
}

impl core::error::Error for BucketError {}

/// One layer of limits: up to four windows, each exact.
///
/// A bucket whose burst equals its limit admits up to twice the limit within one window: the burst, and what is
/// refilled while it is spent. With `strict_window` the pace is (limit − burst)/window, so that no window of that
/// length ever admits more than the limit.
#[derive(Clone, Debug)]
pub struct Bucket {
    layer: Layer,
    windows: SmallVec<[Paced; 1]>,
    shadow: bool,
    scope: u128,
    /// Where the number comes from, for `explain`.
    pub at: Option<Span>,
}

/// One window with its arithmetic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paced {
    pub(crate) name: Name,
    pub(crate) pace: Pace,
    pub(crate) limit: u32,
    /// What is refilled per period: the limit, or less under `strict_window`.
    pub(crate) refill: u32,
    pub(crate) period_us: u64,
    pub(crate) burst: u32,
}

impl Bucket {
    /// A bucket for a layer. `scope` says whose counters these are: buckets of one layer with the same scope share
    /// them (`""` for the defaults, `api/operation` for an override). A rate may change on reload; the counters stay.
    pub fn new(
        layer: Layer,
        scope: &str,
        windows: &[Window],
        strict_window: bool,
    ) -> Result<Self, BucketError> {
        if windows.is_empty() || windows.len() > MAX_WINDOWS {
            return Err(BucketError::Windows);
        }
        let mut paced = SmallVec::new();
        for (i, window) in windows.iter().enumerate() {
            paced.push(Paced::new(layer, i, *window, strict_window)?);
        }
        // A fixed seed: the scope comes from the configuration, and the table's own seed covers the whole key.
        let mut hash: crate::hash::Sip = crate::hash::Sip::new(0, layer.index() as u64);
        hash.part(scope.as_bytes());
        Ok(Self { layer, windows: paced, shadow: false, scope: hash.finish(), at: None })
    }

    /// Counts and reports, and refuses nothing.
    #[must_use]
    pub fn shadow(mut self, shadow: bool) -> Self {
        self.shadow = shadow;
        self
    }

    /// With the place that it comes from.
    #[must_use]
    pub fn from_rule(mut self, at: Span) -> Self {
        self.at = Some(at);
        self
    }

    /// With a name of its own instead of the layer's, for the headers; further windows get `-2`, `-3`, `-4`.
    pub fn named(mut self, name: &str) -> Result<Self, BucketError> {
        for (i, window) in self.windows.iter_mut().enumerate() {
            window.name = numbered(name, i)?;
        }
        Ok(self)
    }

    /// The layer.
    pub fn layer(&self) -> Layer {
        self.layer
    }

    /// Whether it only reports.
    pub fn is_shadow(&self) -> bool {
        self.shadow
    }

    /// The smallest burst of its windows: a cost above it can never be admitted.
    pub fn max_cost(&self) -> u32 {
        self.windows.iter().map(|w| w.burst).min().unwrap_or(0)
    }

    /// The windows: name, rate, burst.
    pub fn windows(&self) -> impl Iterator<Item = (Name, Rate, u32)> + '_ {
        self.windows.iter().filter_map(|w| Some((w.name, Rate::new(w.limit, w.period_us).ok()?, w.burst)))
    }

    pub(crate) fn paced(&self) -> &[Paced] {
        &self.windows
    }

    pub(crate) fn scope(&self) -> u128 {
        self.scope
    }
}

impl Paced {
    fn new(layer: Layer, index: usize, window: Window, strict: bool) -> Result<Self, BucketError> {
        let (limit, period_us) = (window.rate.limit(), window.rate.period_us());
        let burst = window.burst.unwrap_or(limit);
        if burst == 0 {
            return Err(BucketError::Burst);
        }
        let refill = if strict {
            limit.checked_sub(burst).filter(|l| *l > 0).ok_or(BucketError::StrictBurst)?
        } else {
            limit
        };
        let pace = Pace::new(refill, period_us, burst).ok_or(BucketError::Burst)?;
        Ok(Self { name: numbered(layer.word(), index)?, pace, limit, refill, period_us, burst })
    }
}

fn numbered(name: &str, index: usize) -> Result<Name, BucketError> {
    let name = if index == 0 { Name::new(name) } else { Name::new(&format!("{name}-{}", index + 1)) };
    name.ok_or(BucketError::Name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_bucket_refuses_to_be() {
        let rate = Rate::per_minute(10);
        let window = |burst| Window { rate, burst };
        let new = |w: &[Window], strict| Bucket::new(Layer::Key, "", w, strict).map(|_| ());
        assert_eq!(new(&[], false), Err(BucketError::Windows));
        assert_eq!(new(&[window(None); 5], false), Err(BucketError::Windows));
        assert_eq!(new(&[window(Some(0))], false), Err(BucketError::Burst));
        assert_eq!(new(&[window(None)], true), Err(BucketError::StrictBurst));
        assert_eq!(new(&[window(Some(9))], true), Ok(()));
        let slow = Window { rate: "1/366day".parse().unwrap(), burst: Some(u32::MAX) };
        assert_eq!(new(&[slow], false), Err(BucketError::Burst));
        assert_eq!(new(&[window(None); 4], false), Ok(()));
    }

    #[test]
    fn names() {
        let bucket =
            Bucket::new(Layer::Key, "", &[Rate::per_second(10).into(), Rate::per_minute(60).into()], false);
        let names: Vec<_> = bucket.unwrap().windows().map(|(n, ..)| n.as_str().to_owned()).collect();
        assert_eq!(names, ["key", "key-2"]);
        for bad in ["", "Key", "a\"b", "sixteen-letters-", "ä"] {
            assert!(Name::new(bad).is_none(), "{bad}");
        }
    }
}
