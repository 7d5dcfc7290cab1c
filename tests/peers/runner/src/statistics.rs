//! Medians, and what is made of a measure's rounds. The ratio is that of `actogen-bench`.

/// One round of a measure: ours if there is one, and the peer's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Round {
    pub(crate) ours: Option<f64>,
    pub(crate) peer: f64,
}

/// Median, smallest and largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Figure {
    /// `None` of nothing.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        Some(Self {
            value: median(values)?,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

/// Median of the rounds' own ratios, ours over the peer's: what disturbs the machine for longer than a round disturbs both.
pub(crate) fn ratio(rounds: &[Round]) -> Option<f64> {
    let ratios: Option<Vec<f64>> =
        rounds.iter().map(|round| Some(round.ours? / round.peer)).collect();
    median(&ratios?)
}

/// The middle one, or the mean of the two in the middle; `None` of nothing.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (sorted[middle - 1] + upper) / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_median_in_the_middle() {
        assert_eq!(Figure::of(&[]), None);
        assert_eq!(Figure::of(&[9.0, 1.0, 5.0]), Some(Figure { value: 5.0, min: 1.0, max: 9.0 }));
        assert_eq!(Figure::of(&[4.0, 2.0]), Some(Figure { value: 3.0, min: 2.0, max: 4.0 }));
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_own() {
        // The machine was slow in the second round, for both: a ratio of medians would be 6/10.
        let rounds = [(6.0, 10.0), (1.0, 2.0), (8.0, 16.0)]
            .map(|(ours, peer)| Round { ours: Some(ours), peer });
        assert_eq!(ratio(&rounds), Some(0.5));
    }

    #[test]
    fn without_ours_there_is_no_ratio() {
        assert_eq!(ratio(&[Round { ours: None, peer: 1.0 }]), None);
        assert_eq!(ratio(&[]), None);
    }
}
