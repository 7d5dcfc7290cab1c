//! The tree of contexts: launched level by level, each hop once.

use std::{collections::BTreeMap, time::Instant};

use actogen::{Child, Context};

use super::{
    arguments::Arguments,
    hop::{Hop, Way},
};

/// A context that is up.
#[derive(Debug)]
pub struct Host {
    /// Keeps the context.
    pub child: Child,
    /// Milliseconds from its launch until it could be reached.
    pub launch_ms: u64,
}

/// The contexts that are up, by the hops that lead there.
#[derive(Debug, Default)]
pub struct Tree {
    hosts: BTreeMap<Vec<Hop>, Host>,
    failed: BTreeMap<Vec<Hop>, String>,
}

impl Tree {
    /// Launches whatever the ways need, those of one level at once, and tells of each.
    pub async fn grow(cx: &Context, arguments: &Arguments, said: impl Fn(&str)) -> Self {
        let mut tree = Self::default();
        let deepest = arguments.on.iter().map(|way| way.0.len()).max().unwrap_or_default();
        for depth in 1..=deepest {
            let mut level: Vec<Vec<Hop>> = arguments
                .on
                .iter()
                .filter_map(|way| way.0.get(..depth).map(<[Hop]>::to_vec))
                .collect();
            level.sort();
            level.dedup();
            tree.launch_level(cx, level, arguments, &said).await;
        }
        tree
    }

    async fn launch_level(
        &mut self,
        cx: &Context,
        level: Vec<Vec<Hop>>,
        arguments: &Arguments,
        said: &impl Fn(&str),
    ) {
        let mut launches = Vec::new();
        let mut ways = Vec::new();
        for way in level {
            let Some((last, before)) = way.split_last() else { continue };
            let launch = last.launch(&arguments.ssh_argument);
            match self.hosts.get(before) {
                Some(parent) => launches.push(launch.via(&parent.child)),
                None if before.is_empty() => launches.push(launch),
                // Its error is told once, where it happened.
                None => continue,
            }
            ways.push(way);
        }
        let begun = Instant::now();
        let mut launching = cx.launch_many(launches, arguments.at_once.get().into());
        while let Some((place, launched)) = launching.next().await {
            let way = ways[place].clone();
            let name = Way(way.clone());
            match launched {
                Ok(child) => {
                    let launch_ms = begun.elapsed().as_millis() as u64;
                    said(&format!("{name} is up as {} after {launch_ms} ms", child.id()));
                    self.hosts.insert(way, Host { child, launch_ms });
                }
                Err(error) => {
                    said(&format!("{name}: {error}"));
                    self.failed.insert(way, error.to_string());
                }
            }
        }
    }

    /// The context at the end of a way, if it is up.
    pub fn host(&self, way: &Way) -> Option<&Host> {
        self.hosts.get(&way.0)
    }

    /// Why there is none.
    pub fn failure(&self, way: &Way) -> Option<&str> {
        (1..=way.0.len()).find_map(|depth| self.failed.get(&way.0[..depth])).map(String::as_str)
    }

    /// The ids of the contexts on a way, the root's first.
    pub fn route(&self, way: &Way) -> String {
        let ids = (1..=way.0.len())
            .filter_map(|depth| self.hosts.get(&way.0[..depth]))
            .map(|host| host.child.id().0.to_string());
        std::iter::once("0".to_owned()).chain(ids).collect::<Vec<_>>().join("/")
    }

    /// The tree as lines, a context each.
    pub fn lines(&self) -> Vec<String> {
        let root = std::iter::once("context 0, this process".to_owned());
        let hosts = self.hosts.iter().map(|(way, host)| {
            let hop = way.last().map(Hop::to_string).unwrap_or_default();
            format!("{}{}, {hop}", "  ".repeat(way.len()), host.child.id())
        });
        root.chain(hosts).collect()
    }
}
