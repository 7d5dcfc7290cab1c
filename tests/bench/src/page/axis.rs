//! Axes: where a value lies between two ends, and which values are written beside it.

use crate::report::figure;

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    Linear,
    Logarithmic,
    /// Shares of requests in percent, by how rare what lies beyond them is: 90, 99 and 99.9 are equally far apart.
    Rarity,
}

/// One axis of a plot.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) label: String,
    spread: Spread,
    low: f64,
    high: f64,
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero to at least `most`, in round steps.
    pub(super) fn linear(label: &str, most: f64) -> Self {
        let step = round_step(most / 5.0);
        let steps = (most / step).ceil().max(1.0) as usize;
        let ticks = (0..=steps).map(|n| n as f64 * step).map(|at| (at, short(at))).collect();
        let high = steps as f64 * step;
        Self { label: label.into(), spread: Spread::Linear, low: 0.0, high, ticks }
    }

    /// From at most `least` to at least `most`, both above zero, by powers of ten.
    pub(super) fn logarithmic(label: &str, least: f64, most: f64) -> Self {
        let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
        let last = last.max(first + 1);
        let ticks = (first..=last).map(|power| 10_f64.powi(power));
        let ticks = ticks.map(|at| (at, short(at))).collect();
        let (low, high) = (10_f64.powi(first), 10_f64.powi(last));
        Self { label: label.into(), spread: Spread::Logarithmic, low, high, ticks }
    }

    /// From the first to the last of these values, which are above zero and in order, each with its own text.
    pub(super) fn logarithmic_at(label: &str, at: Vec<(f64, String)>) -> Self {
        let ends = (at.first().map_or(1.0, |first| first.0), at.last().map_or(10.0, |last| last.0));
        let (low, high) = if ends.0 < ends.1 { ends } else { (ends.0 / 2.0, ends.0 * 2.0) };
        Self { label: label.into(), spread: Spread::Logarithmic, low, high, ticks: at }
    }

    /// Shares in percent up to `most`, which is below 100.
    pub(super) fn rarity(label: &str, most: f64) -> Self {
        let ticks = [0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9].into_iter();
        let ticks = ticks.filter(|&at| at <= most).map(|at| (at, format!("{at}"))).collect();
        Self { label: label.into(), spread: Spread::Rarity, low: 0.0, high: most, ticks }
    }

    /// Where a value lies: 0 at the lower end, 1 at the upper, and never beyond either.
    pub(super) fn place(&self, value: f64) -> f64 {
        let spread = |x: f64| match self.spread {
            Spread::Linear => x,
            Spread::Logarithmic => x.log10(),
            Spread::Rarity => -(1.0 - x / 100.0).log10(),
        };
        let (low, high) = (spread(self.low), spread(self.high));
        ((spread(value) - low) / (high - low)).clamp(0.0, 1.0)
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least this.
fn round_step(least: f64) -> f64 {
    if least.is_nan() || least <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= least * 0.999);
    factor.unwrap_or(10.0) * power
}

/// A tick's text: no digits that say nothing.
fn short(value: f64) -> String {
    let text = figure(value);
    let (digits, letter) = text.split_once(' ').unwrap_or((&text, ""));
    let digits = if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    };
    format!("{digits} {letter}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn linear_axes_have_round_steps_and_hold_all() {
        let axis = Axis::linear("x", 4.3);
        assert_eq!(texts(&axis), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!((axis.place(0.0), axis.place(2.5), axis.place(5.0)), (0.0, 0.5, 1.0));
        // What lies outside is drawn at the edge.
        assert_eq!((axis.place(-1.0), axis.place(7.0)), (0.0, 1.0));
        assert_eq!(texts(&Axis::linear("x", 130_000.0)), ["0", "50 k", "100 k", "150 k"]);
        assert_eq!(texts(&Axis::linear("x", 0.0)), ["0", "1"]);
    }

    #[test]
    fn logarithmic_axes_go_by_powers_of_ten() {
        let axis = Axis::logarithmic("x", 30.0, 4000.0);
        assert_eq!(texts(&axis), ["10", "100", "1000", "10 k"]);
        assert!((axis.place(100.0) - 1.0 / 3.0).abs() < 1e-9);
        let one = Axis::logarithmic("x", 100.0, 100.0);
        assert_eq!(texts(&one), ["100", "1000"]);
        let alone = Axis::logarithmic_at("x", vec![(64.0, "64".into())]);
        assert!((alone.place(64.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn rare_requests_have_as_much_room_as_common_ones() {
        let axis = Axis::rarity("x", 99.9);
        assert_eq!((axis.place(0.0), axis.place(99.9)), (0.0, 1.0));
        let (a, b) = (axis.place(99.0) - axis.place(90.0), axis.place(90.0) - axis.place(0.0));
        assert!((a - b).abs() < 1e-9);
    }

    #[test]
    fn steps_are_round() {
        for (least, step) in [(0.07, 0.1), (1.0, 1.0), (1.2, 2.0), (3.0, 5.0), (7.0, 10.0)] {
            assert!((round_step(least) - step).abs() < 1e-9, "{least}");
        }
    }
}
