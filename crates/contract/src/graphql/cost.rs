//! What a field costs (contract.md § 16.3).

use super::ast::{Field, Value};
use super::limits::Limits;
use super::measure::{Given, Known};
use super::refused::{Bound, Judged, too_complex};
use super::schema::FieldDef;

/// How many a list is taken to hold when nobody says.
const ASSUMED: u64 = 10;

/// A cost that depends on how large the lists at its top are: a fragment is measured once, and used where they are of
/// different sizes (`orders(first: 5) { ...F }`, where F selects the list `edges`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sized {
    fixed: u64,
    /// For each item of a list whose size is not its own to say.
    each: u64,
}

impl Sized {
    pub(super) const fn plus(self, other: Self) -> Self {
        Self { fixed: self.fixed.saturating_add(other.fixed), each: self.each.saturating_add(other.each) }
    }

    const fn with(self, size: u64) -> u64 {
        self.fixed.saturating_add(self.each.saturating_mul(size))
    }

    pub(super) const fn alone(self) -> u64 {
        self.with(ASSUMED)
    }
}

pub(super) fn of(
    field: &Field<'_>,
    def: Option<&FieldDef>,
    composite: bool,
    below: Sized,
    given: &Given<'_, '_>,
    limits: &Limits,
) -> Judged<Sized> {
    let own = def.and_then(|def| def.cost).unwrap_or(u64::from(composite));
    let Some(def) = def else { return Ok(Sized { fixed: own.saturating_add(below.alone()), each: 0 }) };
    let size = size(field, def, given, limits)?;
    Ok(match (size, def.ty.is_list()) {
        (Some(size), true) => {
            Sized { fixed: own.saturating_add(below.alone().saturating_mul(size)), each: 0 }
        }
        (None, true) => Sized { fixed: own, each: below.alone() },
        (Some(size), false) => Sized { fixed: own.saturating_add(below.with(size)), each: 0 },
        (None, false) => Sized { fixed: own.saturating_add(below.alone()), each: 0 },
    })
}

/// The size that the arguments say, within its bound; nothing when the field is not sliced. Checks the arguments that
/// are offsets on the way (contract.md § 9).
fn size(field: &Field<'_>, def: &FieldDef, given: &Given<'_, '_>, limits: &Limits) -> Judged<Option<u64>> {
    let mut largest: Option<u64> = None;
    let mut sliced = def.list.is_some();
    for argument in &def.arguments {
        let named = def.list.as_ref().is_some_and(|list| list.slicing.contains(&argument.name));
        // `first` may be somebody's first name.
        let (slices, offsets) = if argument.is_int { guarded(&argument.name) } else { (false, false) };
        // Where the schema names its slicing arguments, they are those.
        let slices = if def.list.is_some() { named } else { slices };
        if !slices && !offsets {
            continue;
        }
        sliced |= slices;
        let Some((_, value)) = field.arguments.iter().find(|(name, _)| **name == *argument.name) else {
            continue;
        };
        let count = match given.known(value) {
            Known::Absent => continue,
            Known::Literal(Value::Int(text)) => text.parse::<u64>().ok(),
            Known::Json(node) => match (node.as_u64(), node.number_text()) {
                (None, None) if !slices => continue,
                (count, _) => count,
            },
            // What is no number is the schema's to refuse; an offset may be a cursor.
            Known::Literal(_) if !slices => continue,
            Known::Literal(_) => None,
        };
        let bound = match (&def.list, slices) {
            (Some(list), true) => list.max.unwrap_or(limits.slice),
            (None, true) => limits.slice,
            (_, false) => limits.offset,
        };
        let count = count.filter(|count| *count <= bound).ok_or(too_complex(Bound::ListSize))?;
        if slices {
            largest = Some(largest.map_or(count, |known| known.max(count)));
        }
    }
    let assumed = def.list.as_ref().map_or(ASSUMED, |list| list.assumed);
    Ok(sliced.then(|| largest.unwrap_or(assumed)))
}

/// Whether a name is one of a page's size, and whether it is one of its beginning (contract.md § 9).
fn guarded(name: &str) -> (bool, bool) {
    let plain: String =
        name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect();
    let slices = matches!(
        &*plain,
        "limit"
            | "pagesize"
            | "perpage"
            | "first"
            | "last"
            | "count"
            | "size"
            | "top"
            | "take"
            | "maxresults"
    );
    (slices, matches!(&*plain, "offset" | "skip" | "page"))
}
