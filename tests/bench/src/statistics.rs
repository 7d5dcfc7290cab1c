//! Medians, percentiles, and what is made of a measure's rounds.

/// One round of a measure: the same work done by both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Round {
    /// Ours.
    pub(crate) value: f64,
    /// The reference's.
    pub(crate) reference: f64,
}

/// What the rounds of a measure amount to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// Median of ours.
    pub(crate) value: f64,
    /// Smallest of ours.
    pub(crate) min: f64,
    /// Largest of ours.
    pub(crate) max: f64,
    /// Rounds.
    pub(crate) n: usize,
    /// Median of the reference's.
    pub(crate) reference: f64,
    /// Median of the rounds' own ratios, ours over the reference's: what disturbs the machine for longer than a round disturbs both.
    pub(crate) ratio: f64,
}

impl Summary {
    /// `None` without a round, and where a figure is not a positive number, which no measure can give.
    pub(crate) fn of(rounds: &[Round]) -> Option<Self> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        if !rounds.iter().all(|round| positive(round.value) && positive(round.reference)) {
            return None;
        }
        let values: Vec<f64> = rounds.iter().map(|round| round.value).collect();
        let references: Vec<f64> = rounds.iter().map(|round| round.reference).collect();
        let ratios: Vec<f64> = rounds.iter().map(|round| round.value / round.reference).collect();
        Some(Self {
            value: median(&values)?,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(0.0, f64::max),
            n: rounds.len(),
            reference: median(&references)?,
            ratio: median(&ratios)?,
        })
    }
}

/// The middle one, or the mean of the two in the middle; `None` of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (sorted[middle - 1] + upper) / 2.0 })
}

/// The smallest value that at least `percent` of them do not exceed (nearest rank); `None` of nothing. Sorts them.
pub(crate) fn percentile(values: &mut [u64], percent: usize) -> Option<u64> {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_lie_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 100.0]), Some(3.5));
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut hundred, 50), Some(50));
        assert_eq!(percentile(&mut hundred, 99), Some(99));
        assert_eq!(percentile(&mut hundred, 100), Some(100));
        assert_eq!(percentile(&mut [8, 2], 99), Some(8));
        assert_eq!(percentile(&mut [5], 1), Some(5));
        assert_eq!(percentile(&mut [], 50), None);
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_own() {
        // The machine was slow in the second round, for both: a ratio of medians would be 6/10.
        let rounds = [
            Round { value: 6.0, reference: 10.0 },
            Round { value: 1.0, reference: 2.0 },
            Round { value: 8.0, reference: 16.0 },
        ];
        let summary = Summary::of(&rounds).unwrap();
        assert_eq!(
            summary,
            Summary { value: 6.0, min: 1.0, max: 8.0, n: 3, reference: 10.0, ratio: 0.5 }
        );
    }

    #[test]
    fn what_cannot_be_measured_is_no_summary() {
        assert_eq!(Summary::of(&[]), None);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Summary::of(&[Round { value: bad, reference: 1.0 }]), None);
            assert_eq!(Summary::of(&[Round { value: 1.0, reference: bad }]), None);
        }
    }
}
