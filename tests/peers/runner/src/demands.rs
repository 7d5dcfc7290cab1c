//! What Actogen promises beside its peers, encrypted as it is and they are not.

/// A measure of ours must be at least so many times a peer's. More is better in all of these.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) measure: &'static str,
    pub(crate) peer: &'static str,
    pub(crate) times: f64,
}

const fn demand(measure: &'static str, peer: &'static str, times: f64) -> Demand {
    Demand { measure, peer, times }
}

pub(crate) const DEMANDS: &[Demand] = &[
    demand("tell64", "elfo", 3.0),
    demand("tell64", "erlang", 5.0),
    demand("ask64_x64", "elfo", 1.2),
    demand("tell1k", "elfo", 1.0),
    demand("pingpong_local", "actix", 1.0),
    demand("counting_local", "actix", 1.0),
    demand("forkjoin_local", "actix", 1.0),
    demand("threadring_local", "actix", 1.0),
    demand("big_local", "actix", 1.0),
    demand("bank_local", "actix", 1.0),
    demand("boundedbuffer_local", "actix", 1.0),
    demand("pingpong_local", "ractor", 1.0),
    demand("counting_local", "ractor", 1.0),
    demand("forkjoin_local", "ractor", 1.0),
    demand("threadring_local", "ractor", 1.0),
    demand("big_local", "ractor", 1.0),
    demand("bank_local", "ractor", 1.0),
    demand("boundedbuffer_local", "ractor", 1.0),
    demand("pingpong_local", "kameo", 1.0),
    demand("counting_local", "kameo", 1.0),
    demand("forkjoin_local", "kameo", 1.0),
    demand("threadring_local", "kameo", 1.0),
    demand("big_local", "kameo", 1.0),
    demand("bank_local", "kameo", 1.0),
    demand("boundedbuffer_local", "kameo", 1.0),
    demand("forkjoin_two", "actix", 2.0),
    demand("big_two", "actix", 2.0),
    demand("bank_two", "actix", 2.0),
];

impl Demand {
    /// Says whether it holds at this ratio, ours over the peer's.
    pub(crate) fn verdict(&self, ratio: Option<f64>) -> String {
        let Self { measure, peer, times } = self;
        let verdict = match ratio {
            Some(ratio) if ratio >= *times => format!("holds ({ratio:.2})"),
            Some(ratio) => format!("DOES NOT HOLD ({ratio:.2})"),
            None => "not measured".to_owned(),
        };
        format!("{measure} at least {times} times that of {peer}: {verdict}")
    }
}

#[cfg(test)]
mod tests {
    use measure::work::{Better, WORKS};

    use super::*;
    use crate::peer::Peer;

    #[test]
    fn each_demand_is_of_a_peer_and_of_a_measure_where_more_is_better() {
        for demand in DEMANDS {
            assert!(Peer::find(demand.peer).is_some(), "{demand:?}");
            let mut measures = WORKS.iter().flat_map(|work| work.measures);
            let measure = measures.find(|measure| measure.name == demand.measure);
            assert_eq!(measure.map(|measure| measure.better), Some(Better::Higher), "{demand:?}");
        }
    }

    #[test]
    fn a_demand_holds_from_its_number_on() {
        let demand = Demand { measure: "tell64", peer: "elfo", times: 3.0 };
        assert!(demand.verdict(Some(3.0)).ends_with("elfo: holds (3.00)"));
        assert!(demand.verdict(Some(2.99)).ends_with("elfo: DOES NOT HOLD (2.99)"));
        assert!(demand.verdict(None).ends_with("elfo: not measured"));
    }
}
