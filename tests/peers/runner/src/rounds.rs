//! The turns: in each round, for each work, ours and then each peer's.

use std::path::PathBuf;

use measure::{
    order::{Answer, Order},
    work::{Measure, Work},
};
use serde_json::Value;

use crate::{
    Error,
    options::Options,
    ours::{Ours, Turn},
    peer::{Built, Peer, Running},
    process::Processes,
    report::Trouble,
    statistics::Round,
};

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) settings: Value,
    /// What each peer said of itself.
    pub(crate) about: Vec<(&'static Peer, String)>,
    /// One for each measure that was wanted, ours first.
    pub(crate) measured: Vec<Measured>,
}

/// One measure of ours and of all peers.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) suite: &'static str,
    pub(crate) measure: &'static Measure,
    pub(crate) ours: Vec<f64>,
    pub(crate) peers: Vec<OfPeer>,
}

/// One measure of a peer.
#[derive(Debug)]
pub(crate) struct OfPeer {
    pub(crate) peer: &'static Peer,
    pub(crate) rounds: Vec<Round>,
    pub(crate) sent: u64,
    pub(crate) handled: u64,
}

/// Everybody, ready to be measured.
pub(crate) struct Run<'a> {
    options: &'a Options,
    processes: &'a Processes,
    ours: Ours,
    peers: Vec<Running>,
}

impl<'a> Run<'a> {
    /// Starts all peers. One that does not start is a trouble.
    ///
    /// # Errors
    /// That we ourselves cannot be measured.
    pub(crate) fn new(
        options: &'a Options,
        processes: &'a Processes,
        ours: PathBuf,
        built: Vec<Built>,
        troubles: &mut Vec<Trouble>,
    ) -> Result<Self, Error> {
        let ours = Ours::new(processes, ours, options)?;
        let mut peers = Vec::new();
        for built in built {
            let peer = built.peer.name;
            eprintln!("peers: starting {peer}");
            match built.start(processes) {
                Ok(running) => peers.push(running),
                Err(error) => {
                    troubles
                        .push(Trouble::Failed { peer, why: format!("it did not start: {error}") });
                }
            }
        }
        Ok(Self { options, processes, ours, peers })
    }

    /// Lets all take their turns.
    ///
    /// # Errors
    /// That we ourselves could not be measured.
    pub(crate) fn all(mut self, troubles: &mut Vec<Trouble>) -> Result<Results, Error> {
        let mut turns: Vec<Turns> = Vec::new();
        for work in self.options.works() {
            let able = self.able(work, troubles);
            if self.ours.suite(work).is_none() {
                let why = "actogen-bench has no such measure".to_owned();
                troubles.push(Trouble::Without { who: "actogen", work, why });
            }
            turns.push(Turns { work, able, ours: Vec::new() });
        }
        let mut settings = Value::Null;
        for round in 1..=self.options.rounds {
            for turn in &mut turns {
                let name = turn.work.name;
                eprintln!("peers: {name}: round {round} of {}", self.options.rounds);
                if let Some(ours) = self.take(turn, troubles)? {
                    settings = ours;
                }
            }
        }
        let about = self.peers.iter().map(|running| (running.peer, running.about.clone()));
        let about = about.collect();
        let measured = turns.into_iter().flat_map(|turn| turn.measured(self.options)).collect();
        Ok(Results { settings, about, measured })
    }

    /// The peers that can do a work: each does it for a quarter of its time, which warms it up as well.
    fn able(&mut self, work: &'static Work, troubles: &mut Vec<Trouble>) -> Vec<Able> {
        eprintln!("peers: {}: warming up", work.name);
        let order = Order { work, lasts: self.options.lasts / 4 };
        let mut able = Vec::new();
        for running in &mut self.peers {
            let peer = running.peer;
            match running.answer(order) {
                Ok(Answer::Done(_)) => {
                    able.push(Able { peer, rounds: Vec::new(), sent: 0, handled: 0 })
                }
                Ok(Answer::Without(why)) => {
                    troubles.push(Trouble::Without { who: peer.name, work, why });
                }
                Ok(Answer::Failed(why)) => troubles.push(failed(peer, work, &why)),
                Err(error) => troubles.push(failed(peer, work, &error.to_string())),
            }
        }
        able
    }

    /// One turn of a work: ours if we have it, and each peer's. A peer that fails takes no more turns of this work. Our settings.
    fn take(
        &mut self,
        turn: &mut Turns,
        troubles: &mut Vec<Trouble>,
    ) -> Result<Option<Value>, Error> {
        let Turns { work, able, ours } = turn;
        let order = Order { work, lasts: self.options.lasts };
        let mut settings = None;
        let mut figures = None;
        if self.ours.suite(work).is_some() {
            let turn = self.ours.turn(self.processes, work, order.lasts);
            let turn = turn.map_err(|error| format!("actogen: {}: {error}", work.name))?;
            ours.push(turn.figures.clone());
            let Turn { figures: ours, settings: used } = turn;
            (figures, settings) = (Some(ours), Some(used));
        }
        able.retain_mut(|able| {
            let running = self.peers.iter_mut().find(|running| running.peer.name == able.peer.name);
            let answer = running.map(|running| running.answer(order));
            let why = match answer {
                Some(Ok(Answer::Done(outcome))) => {
                    able.sent += outcome.sent;
                    able.handled += outcome.handled;
                    let of =
                        |n: usize| figures.as_ref().and_then(|figures| figures.get(n).copied());
                    let rounds = outcome.figures.iter().enumerate();
                    able.rounds
                        .push(rounds.map(|(n, &peer)| Round { ours: of(n), peer }).collect());
                    return true;
                }
                Some(Ok(Answer::Without(why) | Answer::Failed(why))) => why,
                Some(Err(error)) => error.to_string(),
                None => "it is not there".to_owned(),
            };
            troubles.push(failed(able.peer, work, &why));
            false
        });
        Ok(settings)
    }
}

fn failed(peer: &Peer, work: &Work, why: &str) -> Trouble {
    Trouble::Failed { peer: peer.name, why: format!("{}: {why}", work.name) }
}

/// A work, and who has done it how.
struct Turns {
    work: &'static Work,
    able: Vec<Able>,
    /// Figures of each round.
    ours: Vec<Vec<f64>>,
}

struct Able {
    peer: &'static Peer,
    /// For each round one for each measure.
    rounds: Vec<Vec<Round>>,
    sent: u64,
    handled: u64,
}

impl Turns {
    fn measured(self, options: &Options) -> Vec<Measured> {
        let Self { work, able, ours } = self;
        let suite = if work.place == measure::work::Place::Remote { "remote" } else { "local" };
        let of_peer = |n: usize, able: &Able| OfPeer {
            peer: able.peer,
            rounds: able.rounds.iter().filter_map(|round| round.get(n).copied()).collect(),
            sent: able.sent,
            handled: able.handled,
        };
        let wanted = work.measures.iter().enumerate().filter(|(_, measure)| options.wants(measure));
        wanted
            .map(|(n, measure)| Measured {
                suite,
                measure,
                ours: ours.iter().filter_map(|round| round.get(n).copied()).collect(),
                peers: able.iter().map(|able| of_peer(n, able)).collect(),
            })
            .collect()
    }
}
