//! Who is compared, and a peer at work.

use std::{path::PathBuf, process::Command, time::Duration};

use measure::{
    PATIENCE,
    order::{Answer, Order, READY},
};

use crate::{
    Error, build,
    process::{Processes, Started},
};

/// How a peer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// From a package of this workspace; the program is started with this argument, if there is one.
    Package { package: &'static str, argument: Option<&'static str> },
    /// From `erlang/`, with an Erlang that is installed.
    Erlang,
}

/// A system beside which Actogen is measured.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) made: Made,
    /// What hides its messages from others, if anything does.
    pub(crate) encrypted: Option<&'static str>,
    /// The packages of its own whose versions say which one was measured.
    pub(crate) of: &'static [&'static str],
}

const fn package(package: &'static str) -> Made {
    Made::Package { package, argument: None }
}

/// All of them, in the order of their turns.
pub(crate) const PEERS: &[Peer] = &[
    Peer { name: "actix", made: package("actogen-peers-actix"), encrypted: None, of: &["actix"] },
    Peer { name: "elfo", made: package("actogen-peers-elfo"), encrypted: None, of: &["elfo"] },
    Peer { name: "erlang", made: Made::Erlang, encrypted: None, of: &[] },
    Peer {
        name: "ractor",
        made: package("actogen-peers-ractor"),
        encrypted: None,
        of: &["ractor_cluster"],
    },
    Peer {
        name: "kameo",
        made: package("actogen-peers-kameo"),
        encrypted: Some("Noise"),
        of: &["kameo", "libp2p"],
    },
    Peer { name: "tonic", made: package("actogen-peers-tonic"), encrypted: None, of: &["tonic"] },
    Peer {
        name: "tonic-unary",
        made: Made::Package { package: "actogen-peers-tonic", argument: Some("unary") },
        encrypted: None,
        of: &["tonic"],
    },
];

impl Peer {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        PEERS.iter().find(|peer| peer.name == name)
    }
}

/// A peer whose program is there.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) peer: &'static Peer,
    /// The program, or the folder with Erlang's modules.
    pub(crate) path: PathBuf,
}

impl Built {
    fn command(&self) -> Command {
        match self.peer.made {
            Made::Package { argument, .. } => {
                let mut command = Command::new(&self.path);
                command.args(argument);
                command
            }
            Made::Erlang => build::erl(&self.path),
        }
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// That it does not start, or ends.
    pub(crate) fn start(self, processes: &Processes) -> Result<Running, Error> {
        let mut process = processes.start(&mut self.command())?;
        // It has its own patience, of the same length, for its second process.
        let line = process.hear(PATIENCE * 2)?;
        let about = line.strip_prefix(READY).ok_or_else(|| format!("it said `{line}`"))?;
        let versions = build::versions(self.peer.of)?;
        let about = [versions.join(", "), about.trim().to_owned()];
        let about = about.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
        Ok(Running { peer: self.peer, process, about: about.join("; ") })
    }
}

/// A peer that takes orders.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) peer: &'static Peer,
    process: Started,
    /// Versions, and how it is carried.
    pub(crate) about: String,
}

impl Running {
    /// Has it do a work.
    ///
    /// # Errors
    /// That it has ended, hangs, or says what is no answer.
    pub(crate) fn answer(&mut self, order: Order) -> Result<Answer, Error> {
        self.process.tell(&order.to_string())?;
        // It gives up by itself after its patience, and says so.
        let line = self.process.hear(order.lasts + PATIENCE + Duration::from_secs(5))?;
        Answer::parse(&line, order.work).ok_or_else(|| format!("it said `{line}`").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_its_own_name_and_known_versions() {
        let mut names: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PEERS.len());
        for peer in PEERS {
            assert_eq!(build::versions(peer.of).unwrap().len(), peer.of.len(), "{}", peer.name);
        }
    }
}
