//! Log histogram: γ = 2^¼, 129 buckets of 16 bits, so a quantile is within 8.6 % of the truth.

/// Counts of values from 0 to 2³². Halved when a bucket is full, so it forgets slowly and never overflows.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    buckets: Box<[u16; 129]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new([0; 129]), total: 0 }
    }
}

impl Histogram {
    /// Values counted.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn add(&mut self, value: u64) {
        let Some(bucket) = self.buckets.get_mut(bucket_of(value)) else { return };
        *bucket += 1;
        self.total += 1;
        if *bucket == u16::MAX {
            self.total = 0;
            for bucket in self.buckets.iter_mut() {
                *bucket /= 2;
                self.total += u64::from(*bucket);
            }
        }
    }

    /// The value below which `share` of the counted ones lie: the geometric middle of its bucket.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil().max(1.0);
        let mut seen = 0.0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += f64::from(*count);
            if seen >= wanted {
                return middle(at);
            }
        }
        0.0
    }
}

fn bucket_of(value: u64) -> usize {
    if value == 0 {
        return 0;
    }
    let at = ((value as f64).log2() * 4.0).floor() as usize + 1;
    at.min(128)
}

fn middle(bucket: usize) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let low = (bucket - 1) as f64 / 4.0;
    (low + 0.125).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_quantile_is_within_nine_per_cent(values in proptest::collection::vec(1_u64..1 << 31, 1..500)) {
            let mut histogram = Histogram::default();
            for value in &values {
                histogram.add(*value);
            }
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let at = ((values.len() as f64 * 0.95).ceil() as usize).max(1) - 1;
            let (truth, found) = (sorted[at] as f64, histogram.quantile(0.95));
            proptest::prop_assert!((found / truth - 1.0).abs() < 0.091, "{found} for {truth}");
        }
    }

    #[test]
    fn a_full_bucket_halves_all_of_them() {
        let mut histogram = Histogram::default();
        for _ in 0..200_000 {
            histogram.add(1_000);
        }
        assert!(histogram.total() > 30_000 && histogram.total() <= u64::from(u16::MAX));
        assert!((histogram.quantile(0.5) / 1_000.0 - 1.0).abs() < 0.091);
    }
}
