//! Which parameter a name in the query belongs to.

use crate::violation::Rule;

/// The names of one operation's query parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Sorted by name.
    exact: Vec<(Box<str>, Claim)>,
    /// Names of deepObject parameters, which stand before a bracket.
    deep: Vec<(Box<str>, u16)>,
    /// The exploded object that takes what no other parameter claims.
    rest: Option<u16>,
    /// Every declared name, folded, for `unknown: allow`.
    folded: Vec<String>,
}

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The parameter itself.
    Whole(u16),
    /// A property of an exploded object.
    Property(u16),
}

/// Whose a pair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner<'n> {
    /// Of a parameter as a whole.
    Whole(u16),
    /// The named property of a parameter.
    Property(u16, &'n str),
    /// Of nobody.
    Nobody,
}

impl Names {
    /// Gives `name` to a parameter.
    ///
    /// # Errors
    /// When another has it.
    pub(crate) fn claim(&mut self, name: &str, claim: Claim) -> Result<(), ()> {
        match self.exact.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(_) => Err(()),
            Err(i) => {
                self.exact.insert(i, (name.into(), claim));
                self.folded.push(fold(name));
                Ok(())
            }
        }
    }

    /// Gives `name[…]` to a parameter.
    pub(crate) fn claim_deep(&mut self, name: &str, parameter: u16) {
        self.deep.push((name.into(), parameter));
        self.folded.push(fold(name));
    }

    /// Gives all other names to a parameter.
    ///
    /// # Errors
    /// When another has them.
    pub(crate) fn claim_rest(&mut self, parameter: u16) -> Result<(), ()> {
        if self.rest.replace(parameter).is_some() { Err(()) } else { Ok(()) }
    }

    /// Whose a decoded name is.
    pub(crate) fn owner<'n>(&self, name: &'n str) -> Owner<'n> {
        if let Ok(i) = self.exact.binary_search_by(|(known, _)| (**known).cmp(name)) {
            return match self.exact.get(i) {
                Some((_, Claim::Whole(parameter))) => Owner::Whole(*parameter),
                Some((_, Claim::Property(parameter))) => Owner::Property(*parameter, name),
                None => Owner::Nobody,
            };
        }
        if let Some((base, property)) = name.split_once('[')
            && let Some((_, parameter)) = self.deep.iter().find(|(known, _)| **known == *base)
            && let Some(property) = property.strip_suffix(']')
            && !property.is_empty()
            && !property.contains(['[', ']'])
        {
            return Owner::Property(*parameter, property);
        }
        match self.rest {
            Some(parameter) => Owner::Property(parameter, name),
            None => Owner::Nobody,
        }
    }

    /// Whether an undeclared name may pass under `unknown: allow`: some frameworks fold `a.b`, `a[b` and `a_b` into
    /// one name, so a name that folds to a declared one may not.
    pub(crate) fn may_pass(&self, name: &str) -> Result<(), Rule> {
        let folded = fold(name);
        let bracket = name.split(['[', '.']).next().map(fold);
        if self.folded.iter().any(|known| *known == folded || Some(known) == bracket.as_ref()) {
            return Err(Rule::AmbiguousName);
        }
        Ok(())
    }
}

/// Lower case, and every run of other characters than letters and digits one `_`.
fn fold(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut gap = false;
    for c in name.chars() {
        if c.is_alphanumeric() {
            if gap {
                out.push('_');
            }
            gap = false;
            out.extend(c.to_lowercase());
        } else {
            gap = true;
        }
    }
    if gap {
        out.push('_');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_owner() {
        let mut names = Names::default();
        names.claim("limit", Claim::Whole(0)).unwrap();
        names.claim("R", Claim::Property(1)).unwrap();
        names.claim("page[size]", Claim::Whole(2)).unwrap();
        names.claim_deep("filter", 3);
        assert!(names.claim("limit", Claim::Property(1)).is_err());
        for (name, owner) in [
            ("limit", Owner::Whole(0)),
            ("R", Owner::Property(1, "R")),
            ("page[size]", Owner::Whole(2)),
            ("filter[name]", Owner::Property(3, "name")),
            ("filter", Owner::Nobody),
            ("filter[]", Owner::Nobody),
            ("filter[a][b]", Owner::Nobody),
            ("filter[a", Owner::Nobody),
            ("limit[]", Owner::Nobody),
            ("Limit", Owner::Nobody),
        ] {
            assert_eq!(names.owner(name), owner, "{name}");
        }
        names.claim_rest(4).unwrap();
        assert_eq!(names.owner("any"), Owner::Property(4, "any"));
    }

    #[test]
    fn names_that_fold_to_declared_ones_never_pass() {
        let mut names = Names::default();
        names.claim("user_id", Claim::Whole(0)).unwrap();
        names.claim_deep("filter", 1);
        for name in
            ["USER_ID", "user.id", "user[id", "user-id", "user__id", "filter[x][y]", "Filter", "user id"]
        {
            assert!(names.may_pass(name).is_err(), "{name}");
        }
        assert!(names.may_pass("utm_source").is_ok());
    }
}
