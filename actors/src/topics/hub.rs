//! Where what is published goes from one context: to subscribers here, and to those neighbours behind which there are some. A pure machine.
//!
//! Each context tells each neighbour which patterns are wanted on its own side: by itself, or by anybody it hears of from others. So a
//! message takes each link once, however many subscribers are behind it, and none behind which there is nobody.

use std::collections::{BTreeMap, BTreeSet};

use actogen_runtime::core::ContextId;
use serde::{Deserialize, Serialize};

use super::pattern::{Trie, check_pattern};

/// The most patterns that one neighbour may want; more are not taken.
pub(super) const MOST_PATTERNS: usize = 100_000;

/// So many are remembered that have said something before word of their link has come.
const MOST_EARLY: usize = 1000;

/// Who wants a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// A subscription of this context.
    Here(u64),
    /// Somebody behind this neighbour.
    Behind(ContextId),
}

/// What one context tells a neighbour of what is wanted on its side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interest {
    /// Nothing of what was said before holds.
    pub(super) anew: bool,
    /// Nor is anything known here of what the other has said: he shall say all anew.
    pub(super) asks: bool,
    pub(super) wanted: BTreeSet<String>,
    pub(super) unwanted: BTreeSet<String>,
}

impl Interest {
    /// Cuts it into words of so many patterns at most, to be said in this order.
    pub(super) fn into_parts(self, most: usize) -> Vec<Self> {
        let Self { anew, asks, wanted, unwanted } = self;
        let (mut parts, mut part) = (Vec::new(), Self::default());
        let words = unwanted.into_iter().map(|word| (false, word));
        for (at, (is_wanted, word)) in
            words.chain(wanted.into_iter().map(|word| (true, word))).enumerate()
        {
            if at > 0 && at % most == 0 {
                parts.push(std::mem::take(&mut part));
            }
            if is_wanted { &mut part.wanted } else { &mut part.unwanted }.insert(word);
        }
        if !part.wanted.is_empty() || !part.unwanted.is_empty() || anew {
            parts.push(part);
        }
        if let Some(first) = parts.first_mut() {
            (first.anew, first.asks) = (anew, asks);
        }
        parts
    }
}

/// What to tell to whom.
pub(super) type News = BTreeMap<ContextId, Interest>;

#[derive(Debug, Default)]
pub(super) struct Hub {
    trie: Trie<Who>,
    wanted: BTreeMap<String, BTreeSet<Who>>,
    subscriptions: BTreeMap<u64, String>,
    /// What each neighbour wants, and what it has been told that is wanted here.
    neighbours: BTreeMap<ContextId, Neighbour>,
    /// Those that have been told something, by this link or an earlier one, and may remember it.
    spoken_to: BTreeSet<ContextId>,
    /// Those who have said something before they were neighbours, and will be asked.
    early: BTreeSet<ContextId>,
    /// Those that have been asked for all that they want, and have not said it.
    asked: BTreeSet<ContextId>,
}

#[derive(Debug, Default)]
struct Neighbour {
    wants: BTreeSet<String>,
    told: BTreeSet<String>,
}

impl Hub {
    /// Somebody here wants a pattern. The number is one that nobody else has.
    pub(super) fn subscribe(&mut self, number: u64, pattern: &str, news: &mut News) {
        self.subscriptions.insert(number, pattern.to_owned());
        self.add(pattern, Who::Here(number), news);
    }

    pub(super) fn unsubscribe(&mut self, number: u64, news: &mut News) {
        if let Some(pattern) = self.subscriptions.remove(&number) {
            self.remove(&pattern, Who::Here(number), news);
        }
    }

    pub(super) fn neighbours(&self) -> Vec<ContextId> {
        self.neighbours.keys().copied().collect()
    }

    /// A link stands, or stands anew: its other end is told all, and says all itself. What was heard before holds until then. Where nothing is
    /// wanted, and never was, nothing is said.
    pub(super) fn link_up(&mut self, neighbour: ContextId, news: &mut News) {
        self.neighbours.entry(neighbour).or_default();
        let asks = self.early.remove(&neighbour);
        if asks || !self.wanted.is_empty() || self.spoken_to.contains(&neighbour) {
            self.tell_all(neighbour, news);
            news.entry(neighbour).or_default().asks = asks;
        }
    }

    /// Asks all neighbours for all that they want.
    pub(super) fn ask(&mut self, news: &mut News) {
        for neighbour in self.neighbours() {
            self.tell_all(neighbour, news);
            news.entry(neighbour).or_default().asks = true;
            self.asked.insert(neighbour);
        }
    }

    /// Whether one of them has not answered.
    pub(super) fn is_asking(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Tells a neighbour all that is wanted here, instead of what was to be said to him.
    pub(super) fn tell_all(&mut self, neighbour: ContextId, news: &mut News) {
        let Some(known) = self.neighbours.get_mut(&neighbour) else { return };
        let wanted = self.wanted.iter();
        let wanted = wanted.filter(|(_, by)| by.iter().any(|who| *who != Who::Behind(neighbour)));
        known.told = wanted.map(|(pattern, _)| pattern.clone()).collect();
        match known.told.is_empty() {
            true => self.spoken_to.remove(&neighbour),
            false => self.spoken_to.insert(neighbour),
        };
        let interest = news.entry(neighbour).or_default();
        let (wanted, unwanted) = (known.told.clone(), BTreeSet::new());
        *interest = Interest { anew: true, asks: interest.asks, wanted, unwanted };
    }

    pub(super) fn link_down(&mut self, neighbour: ContextId, news: &mut News) {
        let Some(gone) = self.neighbours.remove(&neighbour) else { return };
        self.asked.remove(&neighbour);
        for pattern in gone.wants {
            self.remove(&pattern, Who::Behind(neighbour), news);
        }
        news.remove(&neighbour);
    }

    /// A neighbour has told what is wanted on its side. False when it wants more than it may.
    pub(super) fn hear(
        &mut self,
        neighbour: ContextId,
        interest: Interest,
        news: &mut News,
    ) -> bool {
        let Some(known) = self.neighbours.get_mut(&neighbour) else {
            // Word of the link itself is on its way, as a rule.
            if self.early.len() < MOST_EARLY {
                self.early.insert(neighbour);
            }
            return true;
        };
        let who = Who::Behind(neighbour);
        let mut gone = interest.unwanted;
        if interest.anew {
            self.asked.remove(&neighbour);
            gone.extend(known.wants.difference(&interest.wanted).cloned());
        }
        for pattern in gone {
            if let Some(known) = self.neighbours.get_mut(&neighbour) {
                known.wants.remove(&pattern);
            }
            self.remove(&pattern, who, news);
        }
        let mut has_room = true;
        for pattern in interest.wanted {
            let Some(known) = self.neighbours.get_mut(&neighbour) else { return has_room };
            if known.wants.len() >= MOST_PATTERNS || check_pattern(&pattern).is_err() {
                has_room = false;
                continue;
            }
            known.wants.insert(pattern.clone());
            self.add(&pattern, who, news);
        }
        if interest.asks {
            self.tell_all(neighbour, news);
        }
        has_room
    }

    /// Where a message to this topic goes that has come from there.
    pub(super) fn route(&self, topic: &str, from: Option<ContextId>) -> BTreeSet<Who> {
        let mut to = self.trie.matching(topic);
        if let Some(from) = from {
            to.remove(&Who::Behind(from));
        }
        to
    }

    fn add(&mut self, pattern: &str, who: Who, news: &mut News) {
        if self.wanted.entry(pattern.to_owned()).or_default().insert(who) {
            self.trie.insert(pattern, who);
            self.tell(pattern, news);
        }
    }

    fn remove(&mut self, pattern: &str, who: Who, news: &mut News) {
        let Some(wanting) = self.wanted.get_mut(pattern) else { return };
        if wanting.remove(&who) {
            self.trie.remove(pattern, who);
            if wanting.is_empty() {
                self.wanted.remove(pattern);
            }
            self.tell(pattern, news);
        }
    }

    /// Tells each neighbour of a pattern, if what it knows has changed.
    fn tell(&mut self, pattern: &str, news: &mut News) {
        let nobody = BTreeSet::new();
        let wanting = self.wanted.get(pattern).unwrap_or(&nobody);
        for (&id, neighbour) in &mut self.neighbours {
            let is_wanted = wanting.iter().any(|who| *who != Who::Behind(id));
            let is_told = neighbour.told.contains(pattern);
            if is_wanted == is_told {
                continue;
            }
            let interest = news.entry(id).or_default();
            // What was to be said a moment ago, and is not so any more, need not be said at all.
            let (now, before) = match is_wanted {
                true => (&mut interest.wanted, &mut interest.unwanted),
                false => (&mut interest.unwanted, &mut interest.wanted),
            };
            self.spoken_to.insert(id);
            if !before.remove(pattern) {
                now.insert(pattern.to_owned());
            }
            match is_wanted {
                true => neighbour.told.insert(pattern.to_owned()),
                false => neighbour.told.remove(pattern),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A tree of hubs whose words are heard in order; parents are before their children.
    struct Tree {
        hubs: Vec<Hub>,
        links: Vec<(usize, usize)>,
        words: Vec<(usize, usize, Interest)>,
    }

    impl Tree {
        fn new(parents: &[usize]) -> Self {
            let mut tree = Self {
                hubs: (0..=parents.len()).map(|_| Hub::default()).collect(),
                links: parents
                    .iter()
                    .enumerate()
                    .map(|(at, &parent)| (parent % (at + 1), at + 1))
                    .collect(),
                words: Vec::new(),
            };
            for (a, b) in tree.links.clone() {
                tree.act(a, |hub, news| hub.link_up(ContextId(b as u64), news));
                tree.act(b, |hub, news| hub.link_up(ContextId(a as u64), news));
            }
            tree
        }

        fn act(&mut self, at: usize, act: impl FnOnce(&mut Hub, &mut News)) {
            let mut news = News::new();
            act(&mut self.hubs[at], &mut news);
            self.words.extend(news.into_iter().map(|(to, word)| (at, to.0 as usize, word)));
        }

        fn settle(&mut self) {
            while !self.words.is_empty() {
                let (from, to, word) = self.words.remove(0);
                self.act(to, |hub, news| {
                    assert!(hub.hear(ContextId(from as u64), word, news));
                });
            }
        }

        /// Who gets a message that is published there, and by how many links.
        fn publish(&self, topic: &str, at: usize) -> (BTreeSet<u64>, usize) {
            let (mut got, mut links, mut wave) = (BTreeSet::new(), 0, vec![(at, None)]);
            while let Some((at, from)) = wave.pop() {
                for who in self.hubs[at].route(topic, from) {
                    match who {
                        Who::Here(number) => assert!(got.insert(number), "once each"),
                        Who::Behind(next) => {
                            links += 1;
                            wave.push((next.0 as usize, Some(ContextId(at as u64))));
                        }
                    }
                }
            }
            (got, links)
        }
    }

    proptest! {
        /// Whatever is subscribed and given up, wherever: a message gets to just those who want it, and takes no link twice and none in vain.
        #[test]
        fn a_message_takes_the_links_that_lead_to_somebody(
            parents in prop::collection::vec(0..8_usize, 0..8),
            acts in prop::collection::vec((0..9_usize, prop::sample::select(vec!["a", "a.*", "a.b", ">", "*.b"]), any::<bool>()), 0..30),
            at in 0..9_usize,
        ) {
            let mut tree = Tree::new(&parents);
            let mut subscribed: BTreeMap<u64, (usize, &str)> = BTreeMap::new();
            for (number, (place, pattern, settles)) in acts.into_iter().enumerate() {
                let place = place % tree.hubs.len();
                let known = subscribed.iter().find(|(_, kept)| **kept == (place, pattern)).map(|(n, _)| *n);
                match known {
                    Some(known) => {
                        subscribed.remove(&known);
                        tree.act(place, |hub, news| hub.unsubscribe(known, news));
                    }
                    None => {
                        subscribed.insert(number as u64, (place, pattern));
                        tree.act(place, |hub, news| hub.subscribe(number as u64, pattern, news));
                    }
                }
                if settles {
                    tree.settle();
                }
            }
            tree.settle();
            for topic in ["a", "a.b", "a.c", "b.b", "c"] {
                let mut trie = Trie::default();
                for (&number, (_, pattern)) in &subscribed {
                    trie.insert(pattern, number);
                }
                let wanting = trie.matching(topic);
                let at = at % tree.hubs.len();
                let (got, links) = tree.publish(topic, at);
                prop_assert_eq!(&got, &wanting);
                // The links that lead to somebody are those of the smallest tree over the publisher and all who want it.
                let places: BTreeSet<_> = wanting.iter().map(|number| subscribed[number].0).collect();
                prop_assert_eq!(links, span(&tree.links, at, &places));
            }
            for (number, (place, _)) in subscribed {
                tree.act(place, |hub, news| hub.unsubscribe(number, news));
            }
            tree.settle();
            prop_assert!(tree.hubs.iter().all(|hub| hub.wanted.is_empty() && hub.trie.is_empty()));
        }
    }

    /// How many links connect these places with `at`.
    fn span(links: &[(usize, usize)], at: usize, places: &BTreeSet<usize>) -> usize {
        let parent =
            |of: usize| links.iter().find(|(_, child)| *child == of).map(|(parent, _)| *parent);
        let line =
            |of: usize| std::iter::successors(Some(of), |&of| parent(of)).collect::<Vec<_>>();
        let mut used = BTreeSet::new();
        for &place in places {
            let (mine, theirs) = (line(at), line(place));
            let common: BTreeSet<_> = mine.iter().filter(|of| theirs.contains(of)).collect();
            used.extend(mine.iter().chain(&theirs).filter(|of| !common.contains(of)).copied());
        }
        used.len()
    }

    #[test]
    fn a_link_that_comes_back_is_told_all_and_one_that_goes_takes_its_wishes() {
        let (mut hub, mut news) = (Hub::default(), News::new());
        let (left, right) = (ContextId(1), ContextId(2));
        hub.subscribe(1, "a", &mut news);
        hub.link_up(left, &mut news);
        hub.link_up(right, &mut news);
        let wants =
            |pattern: &str| Interest { wanted: [pattern.into()].into(), ..Interest::default() };
        let all = |patterns: &[&str]| Interest {
            anew: true,
            asks: false,
            wanted: patterns.iter().map(|&p| p.to_owned()).collect(),
            unwanted: BTreeSet::new(),
        };
        assert_eq!(
            std::mem::take(&mut news),
            News::from([(left, all(&["a"])), (right, all(&["a"]))])
        );
        hub.hear(left, wants("b"), &mut news);
        assert_eq!(std::mem::take(&mut news), News::from([(right, wants("b"))]));
        // What it wanted holds until it says all anew.
        hub.link_up(left, &mut news);
        assert_eq!(std::mem::take(&mut news), News::from([(left, all(&["a"]))]));
        assert_eq!(hub.route("b", None), BTreeSet::from([Who::Behind(left)]));
        hub.hear(left, all(&["c"]), &mut news);
        let changed = Interest {
            wanted: ["c".into()].into(),
            unwanted: ["b".into()].into(),
            ..Interest::default()
        };
        assert_eq!(std::mem::take(&mut news), News::from([(right, changed)]));
        assert_eq!(hub.route("b", None), BTreeSet::new());
        hub.link_down(left, &mut news);
        let unwants = Interest { unwanted: ["c".into()].into(), ..Interest::default() };
        assert_eq!(std::mem::take(&mut news), News::from([(right, unwants)]));
        hub.link_up(left, &mut news);
        news.clear();
        // Of a stranger, and of what is no pattern, nothing is kept; the stranger is asked when he is none any more.
        let stranger = ContextId(9);
        assert!(hub.hear(stranger, wants("c"), &mut news));
        assert!(news.is_empty());
        hub.link_up(stranger, &mut news);
        let asked = Interest { asks: true, ..all(&["a"]) };
        assert_eq!(std::mem::take(&mut news), News::from([(stranger, asked.clone())]));
        hub.hear(stranger, asked, &mut news);
        assert_eq!(std::mem::take(&mut news)[&stranger], all(&["a"]));
        assert!(!hub.hear(left, wants("a..b"), &mut news));
        assert!(news.is_empty() && hub.wanted.len() == 1);
    }

    #[test]
    fn a_long_word_is_said_in_parts_and_means_the_same() {
        let many: BTreeSet<_> = (0..2500).map(|number| format!("t.{number}")).collect();
        let word = Interest {
            anew: true,
            asks: true,
            wanted: many.clone(),
            unwanted: ["gone".into()].into(),
        };
        let parts = word.into_parts(1000);
        assert_eq!(parts.len(), 3);
        let (mut hub, mut news) = (Hub::default(), News::new());
        hub.link_up(ContextId(1), &mut news);
        for part in parts {
            assert!(part.wanted.len() + part.unwanted.len() <= 1000);
            assert!(hub.hear(ContextId(1), part, &mut news));
        }
        assert_eq!(hub.wanted.into_keys().collect::<BTreeSet<_>>(), many);
        assert_eq!(Interest::default().into_parts(1000), []);
        let empty = Interest { anew: true, asks: true, ..Interest::default() };
        assert_eq!(empty.clone().into_parts(1000), [empty]);
    }

    #[test]
    fn who_asks_waits_for_each_neighbour_that_stays() {
        let (mut hub, mut news) = (Hub::default(), News::new());
        hub.ask(&mut news);
        assert!(!hub.is_asking() && news.is_empty(), "there is nobody to ask");
        let [one, two] = [1, 2].map(ContextId);
        hub.link_up(one, &mut news);
        hub.link_up(two, &mut news);
        hub.ask(&mut news);
        assert!(news.values().all(|word| word.asks) && news.len() == 2);
        let said =
            |pattern: &str| Interest { wanted: [pattern.into()].into(), ..Interest::default() };
        assert!(hub.hear(one, said("a"), &mut news));
        assert!(hub.is_asking(), "that was said before it was asked");
        assert!(hub.hear(one, Interest { anew: true, ..said("a") }, &mut news));
        assert!(hub.is_asking());
        hub.link_down(two, &mut news);
        assert!(!hub.is_asking());
    }
}
