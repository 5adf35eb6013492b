//! What only the world can answer, and the one way past it (contract.md § 1).

use super::super::route::Matched;
use crate::passage::Passage;
use crate::services::Services;
use portcullis_contract::duty::Duty;
use portcullis_core::verdict::Stop;

/// Something that was judged as far as the contract alone can judge it.
#[must_use]
pub(super) struct Undischarged<T> {
    value: T,
    duties: Vec<Duty>,
}

/// Evidence: nothing is left to ask.
#[must_use]
pub(super) struct Discharged<T>(T);

impl<T> Undischarged<T> {
    /// With what is still to be asked.
    pub(super) const fn new(value: T, duties: Vec<Duty>) -> Self {
        Self { value, duties }
    }

    /// And more of it.
    pub(super) fn join(mut self, mut duties: Vec<Duty>) -> Self {
        self.duties.append(&mut duties);
        self
    }

    /// The value, for other questions.
    pub(super) const fn value(&self) -> &T {
        &self.value
    }

    /// The same duties, owed by something made of the value.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Undischarged<U> {
        Undischarged { value: make(self.value), duties: self.duties }
    }

    /// Asks the world.
    pub(super) async fn discharge(
        self,
        matched: &Matched<'_>,
        passage: &Passage,
        services: &Services,
    ) -> Result<Discharged<T>, Stop> {
        if !self.duties.is_empty() {
            super::urls::judge(self.duties, matched, passage, services).await?;
        }
        Ok(Discharged(self.value))
    }
}

impl<T> Discharged<T> {
    /// The value, about which nothing is left to ask.
    pub(super) fn into_inner(self) -> T {
        self.0
    }
}
