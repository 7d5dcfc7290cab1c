//! Rounds: the same work by us and by the reference in turns, and what comes of them.

use std::time::Duration;

use crate::{
    failure::Failure,
    report::{Distributions, Report},
    statistics::{Round, Summary, typical},
    suite::{Measure, Plan},
    workload::Outcome,
};

/// The shortest warm-up.
const WARM_UP: Duration = Duration::from_millis(50);

/// Takes measures whose figures one run gives together: after a short run of both, as many rounds as are asked for.
///
/// # Errors
/// Those of the runs, and [`Failure::Nothing`].
pub(crate) async fn take(
    plan: &Plan,
    report: &mut Report,
    measures: &'static [Measure],
    ours: impl AsyncFn(Duration) -> Result<Outcome, Failure>,
    reference: impl AsyncFn(Duration) -> Result<Outcome, Failure>,
) -> Result<(), Failure> {
    let names: Vec<_> = measures.iter().map(|measure| measure.name).collect();
    let names = names.join(", ");
    let warm_up = (plan.lasts / 4).max(WARM_UP);
    ours(warm_up).await?;
    reference(warm_up).await?;
    let mut rounds = vec![Vec::with_capacity(plan.rounds); measures.len()];
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        report.progress(&format!("{names}: round {round} of {}", plan.rounds));
        let (value, reference) = (ours(plan.lasts).await?, reference(plan.lasts).await?);
        let figures = value.figures.into_iter().zip(reference.figures);
        for (measure, (value, reference)) in rounds.iter_mut().zip(figures) {
            measure.push(Round { value, reference });
        }
        here.push(value.distribution);
        there.push(reference.distribution);
    }
    for (measure, rounds) in measures.iter().zip(&rounds) {
        let summary = Summary::of(rounds).filter(|summary| summary.n == plan.rounds);
        let seconds = plan.lasts.as_secs_f64();
        let summary = summary.ok_or(Failure::Nothing { measure: measure.name, seconds })?;
        if plan.wants(measure) {
            report.result(measure, &summary)?;
        }
    }
    if let Some(measure) = measures.first() {
        let (ours, reference) = (typical(&here), typical(&there));
        report.distributions(Distributions { measure, ours, reference });
    }
    Ok(())
}
