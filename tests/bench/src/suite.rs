//! What can be measured: a table of suites, of which each is a list of works with their measures.

use std::time::Duration;

use serde::Serialize;

use crate::{
    calls, crowd, failure::Failure, files, flood, groups, journal, local, mixed, publish, relay,
    remote, report::Report, savina, scale, settings::Settings,
};

/// Every suite there is.
pub(crate) const SUITES: &[Suite] = &[
    local::SUITE,
    remote::SUITE,
    relay::SUITE,
    mixed::SUITE,
    calls::SUITE,
    crowd::SUITE,
    files::SUITE,
    flood::SUITE,
    scale::SUITE,
    groups::SUITE,
    savina::SUITE,
    journal::SUITE,
    publish::SUITE,
];

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
    /// What it is compared with; `None` where there is nothing that does the same.
    pub(crate) reference: Option<&'static str>,
    /// The ratio that is to be reached: at least, where higher is better, at most, where lower is.
    pub(crate) floor: Option<f64>,
}

/// Measures that are taken together.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Its measures, in the order in which they are taken.
    pub(crate) measures: fn() -> Vec<&'static Measure>,
    pub(crate) run: fn(&Plan, &mut Report) -> Result<(), Failure>,
}

impl Suite {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        SUITES.iter().find(|suite| suite.name == name)
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
    /// How many messages a flood has, and how many turns a recovery, instead of their own numbers.
    pub(crate) messages: Option<u64>,
    /// Whether to measure beside a reference that is slow itself.
    pub(crate) accepts_slow_reference: bool,
    pub(crate) settings: Settings,
}

impl Plan {
    pub(crate) fn wants(&self, measure: &Measure) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == measure.name)
    }

    /// Whether any of these is wanted: what is measured together is taken together.
    pub(crate) fn wants_any<'a>(&self, measures: impl IntoIterator<Item = &'a Measure>) -> bool {
        measures.into_iter().any(|measure| self.wants(measure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measure_has_its_name() {
        for suite in SUITES {
            let mut names: Vec<_> = (suite.measures)().iter().map(|measure| measure.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "a name stands twice in `{}`", suite.name);
        }
    }
}
