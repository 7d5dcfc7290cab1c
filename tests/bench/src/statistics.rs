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
    /// How it compares, where there is something to compare with.
    pub(crate) compared: Option<Compared>,
}

/// What a measure's reference gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Compared {
    /// Median of the reference's.
    pub(crate) reference: f64,
    /// Median of the rounds' own ratios, ours over the reference's: what disturbs the machine for longer than a round disturbs both.
    pub(crate) ratio: f64,
}

impl Summary {
    /// `None` without a round, and where a figure is not a positive number, which no measure can give.
    pub(crate) fn of(rounds: &[Round]) -> Option<Self> {
        let values: Vec<f64> = rounds.iter().map(|round| round.value).collect();
        let references: Vec<f64> = rounds.iter().map(|round| round.reference).collect();
        let ratios: Vec<f64> = rounds.iter().map(|round| round.value / round.reference).collect();
        let compared =
            Compared { reference: Self::alone(&references)?.value, ratio: median(&ratios)? };
        Some(Self { compared: Some(compared), ..Self::alone(&values)? })
    }

    /// As [`Self::of`], where there is nothing to compare with.
    pub(crate) fn alone(values: &[f64]) -> Option<Self> {
        if !values.iter().all(|&x| x.is_finite() && x > 0.0) {
            return None;
        }
        Some(Self {
            value: median(values)?,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(0.0, f64::max),
            n: values.len(),
            compared: None,
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

/// The shares of all values, in percent, at which a distribution is kept: closer together where the rare ones lie.
pub(crate) const SHARES: [f64; 17] = [
    0.0, 1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.5,
    99.9,
];

/// The values at each of [`SHARES`] (nearest rank); nothing of nothing. Sorts them.
pub(crate) fn distribution(values: &mut [u64]) -> Vec<u64> {
    values.sort_unstable();
    let rank = |share: f64| (values.len() as f64 * share / 100.0).ceil() as usize;
    SHARES.iter().filter_map(|&share| values.get(rank(share).saturating_sub(1)).copied()).collect()
}

/// The medians of what several rounds gave for each of [`SHARES`]; nothing where a round gave none.
pub(crate) fn typical(rounds: &[Vec<f64>]) -> Vec<f64> {
    (0..SHARES.len())
        .map_while(|at| {
            let there: Option<Vec<f64>> =
                rounds.iter().map(|round| round.get(at).copied()).collect();
            median(&there?)
        })
        .collect()
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
    fn a_distribution_has_a_value_for_each_share() {
        let mut thousand: Vec<u64> = (1..=1000).rev().collect();
        let kept = distribution(&mut thousand);
        assert_eq!(kept.len(), SHARES.len());
        assert_eq!((kept[0], kept[7], kept[14], kept[16]), (1, 500, 990, 999));
        assert!(kept.is_sorted() && SHARES.is_sorted());
        assert_eq!(distribution(&mut []), Vec::<u64>::new());
    }

    #[test]
    fn rounds_have_a_typical_distribution_together() {
        let round = |x: f64| vec![x; SHARES.len()];
        assert_eq!(typical(&[round(1.0), round(9.0), round(2.0)]), round(2.0));
        assert_eq!(typical(&[round(1.0), Vec::new()]), Vec::<f64>::new());
        assert_eq!(typical(&[]), Vec::<f64>::new());
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
            Summary {
                value: 6.0,
                min: 1.0,
                max: 8.0,
                n: 3,
                compared: Some(Compared { reference: 10.0, ratio: 0.5 })
            }
        );
        assert_eq!(
            Summary::alone(&[6.0, 1.0, 8.0]).unwrap(),
            Summary { compared: None, ..summary }
        );
    }

    #[test]
    fn what_cannot_be_measured_is_no_summary() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::alone(&[]), None);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Summary::of(&[Round { value: bad, reference: 1.0 }]), None);
            assert_eq!(Summary::of(&[Round { value: 1.0, reference: bad }]), None);
            assert_eq!(Summary::alone(&[1.0, bad]), None);
        }
    }
}
