//! What can be measured: a table of suites, of which each is a list of works with their measures.

use std::time::Duration;

use serde::Serialize;

use crate::{failure::Failure, remote, report::Report, settings::Settings, workload::Workload};

/// Every suite there is.
pub(crate) const SUITES: &[Suite] = &[remote::SUITE];

/// Whether more or less of a measure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// One figure of a suite.
#[derive(Debug)]
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// What it is compared with.
    pub(crate) reference: &'static str,
}

/// A work, and the measures that its figures are, in their order.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) workload: Workload,
    pub(crate) measures: &'static [Measure],
}

/// Measures that are taken together.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) steps: &'static [Step],
    pub(crate) run: fn(&Plan, &mut Report) -> Result<(), Failure>,
}

impl Suite {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        SUITES.iter().find(|suite| suite.name == name)
    }

    pub(crate) fn measures(&self) -> impl Iterator<Item = &'static Measure> {
        self.steps.iter().flat_map(|step| step.measures)
    }
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How often both do each work.
    pub(crate) rounds: usize,
    /// How long either does it in a round.
    pub(crate) lasts: Duration,
    /// The measures to take, all if there are none.
    pub(crate) only: Vec<String>,
    pub(crate) settings: Settings,
}

impl Plan {
    pub(crate) fn wants(&self, measure: &Measure) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == measure.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_its_measure_and_each_measure_its_name() {
        for suite in SUITES {
            for step in suite.steps {
                assert_eq!(step.measures.len(), step.workload.figures(), "{:?}", step.workload);
            }
            let mut names: Vec<_> = suite.measures().map(|measure| measure.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "a name stands twice in `{}`", suite.name);
        }
    }
}
