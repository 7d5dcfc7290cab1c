//! Links beside the tree, from one context straight to another (protocol rules 8 and 9).
//!
//! A direct link speaks for exactly its peer, as source and as authority, and is a way to nobody else: [`super::judge::origin`]
//! sees to that. It is no part of the tree: it is never a parent, and nothing is announced or withdrawn by it. What it adds is a
//! second candidate for the way to its peer. Which of the two is taken, and how that changes, is [`super::path`]'s business.

use std::collections::{BTreeMap, BTreeSet};

use super::path::Way;
use crate::{
    id::{ContextId, LinkId},
    wire::direct::Lost,
};

/// The direct links of one context: at most one to each peer.
#[derive(Debug)]
pub struct DirectLinks {
    by_peer: BTreeMap<ContextId, LinkId>,
    limit: usize,
    /// What peers have said last of links that they have lost.
    lost: BTreeMap<ContextId, Lost>,
    /// Peers to whom this context could not say that it has lost a link, having no other way to them.
    untold: BTreeSet<ContextId>,
}

impl DirectLinks {
    /// None yet. The words of at most `limit` peers are kept; of one that is forgotten a late copy costs a link, and no order.
    pub fn new(limit: usize) -> Self {
        Self { by_peer: BTreeMap::new(), limit, lost: BTreeMap::new(), untold: BTreeSet::new() }
    }

    /// A peer says, by the tree, that it has lost its link to this context. True for the first copy of that word: it comes before
    /// there can be another link, since the request for its ticket and the grant come behind it.
    pub fn is_news(&mut self, peer: ContextId, lost: Lost) -> bool {
        let is_news = self.lost.get(&peer).is_none_or(|&last| lost > last);
        if is_news {
            self.lost.insert(peer, lost);
            if self.lost.len() > self.limit {
                self.lost.pop_first();
            }
        }
        is_news
    }

    /// A peer cannot be told now that the link to it is lost.
    pub fn leave_untold(&mut self, peer: ContextId) {
        self.untold.insert(peer);
        if self.untold.len() > self.limit {
            self.untold.pop_first();
        }
    }

    /// There is a way by the tree to the contexts that `is_reached` says: gives those of them that are to be told of a loss.
    pub fn take_untold(&mut self, is_reached: impl Fn(ContextId) -> bool) -> Vec<ContextId> {
        let reached = self.untold.iter().copied().filter(|&peer| is_reached(peer));
        let reached: Vec<ContextId> = reached.collect();
        for peer in &reached {
            self.untold.remove(peer);
        }
        reached
    }

    /// A link stands, in place of the stale one that is given back.
    pub fn open(&mut self, peer: ContextId, link: LinkId) -> Option<LinkId> {
        self.untold.remove(&peer);
        self.by_peer.insert(peer, link)
    }

    /// A link is gone; false if another had taken its place.
    pub fn close(&mut self, peer: ContextId, link: LinkId) -> bool {
        let is_present = self.by_peer.get(&peer) == Some(&link);
        if is_present {
            self.by_peer.remove(&peer);
        }
        is_present
    }

    /// The link to a peer.
    pub fn get(&self, peer: ContextId) -> Option<LinkId> {
        self.by_peer.get(&peer).copied()
    }

    /// The peers and their links, in order.
    pub fn iter(&self) -> impl Iterator<Item = (ContextId, LinkId)> + '_ {
        self.by_peer.iter().map(|(&peer, &link)| (peer, link))
    }
}

/// The links by which a context can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Its route in the own subtree, or the parent.
    pub tree: Option<LinkId>,
    /// The direct link to it.
    pub direct: Option<LinkId>,
}

impl Candidates {
    /// The way that is taken where there is a choice.
    pub fn best(self) -> Option<Way> {
        self.direct.map(Way::Direct).or(self.by_tree())
    }

    /// The way of what has no path ([`super::path::lane_of`]) and so no order to keep: on foreign authority the tree alone.
    pub fn pathless(self, is_own: bool) -> Option<Way> {
        if is_own { self.best() } else { self.by_tree() }
    }

    fn by_tree(self) -> Option<Way> {
        self.tree.map(|_| Way::Tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Incarnation;

    const PEER: ContextId = ContextId(7);

    #[test]
    fn a_newer_link_takes_the_place_of_a_stale_one_whose_end_is_nothing_new() {
        let mut links = DirectLinks::new(10);
        assert_eq!(links.open(PEER, LinkId(1)), None);
        assert_eq!(links.open(PEER, LinkId(2)), Some(LinkId(1)));
        assert!(!links.close(PEER, LinkId(1)));
        assert_eq!(links.iter().collect::<Vec<_>>(), [(PEER, LinkId(2))]);
        assert!(links.close(PEER, LinkId(2)) && links.get(PEER).is_none());
    }

    #[test]
    fn a_loss_that_could_not_be_told_is_told_once_unless_there_is_a_newer_link() {
        let mut links = DirectLinks::new(2);
        for n in [9, 8, 7] {
            links.leave_untold(ContextId(n));
        }
        links.open(ContextId(8), LinkId(1));
        assert_eq!(links.take_untold(|peer| peer != ContextId(9)), []);
        assert_eq!(links.take_untold(|_| true), [ContextId(9)]);
        assert_eq!(links.take_untold(|_| true), []);
    }

    #[test]
    fn as_many_losses_as_the_bound_allows_are_left_to_be_told() {
        let mut links = DirectLinks::new(2);
        for (peers, kept) in [(&[8, 9][..], [8, 9]), (&[7, 8, 9], [8, 9])] {
            peers.iter().for_each(|&peer| links.leave_untold(ContextId(peer)));
            assert_eq!(links.take_untold(|_| true), kept.map(ContextId));
        }
    }

    #[test]
    fn of_the_copies_of_a_word_about_a_loss_the_first_counts() {
        let lost = |life, number| Lost { incarnation: Incarnation::new(1, life), number };
        let mut links = DirectLinks::new(1);
        assert!(links.is_news(PEER, lost(3, 1)) && !links.is_news(PEER, lost(3, 1)));
        assert!(links.is_news(PEER, lost(3, 2)) && !links.is_news(PEER, lost(3, 1)));
        assert!(links.is_news(PEER, lost(4, 1)), "of another life");
        assert!(links.is_news(ContextId(8), lost(1, 1)));
        assert_eq!(links.lost.len(), 1);
    }

    #[test]
    fn direct_links_are_preferred_and_never_carry_what_is_on_foreign_authority() {
        let (tree, direct) = (Some(LinkId(1)), Some(LinkId(2)));
        let by_link = Some(Way::Direct(LinkId(2)));
        let rows = [
            (Candidates { tree, direct }, by_link, Some(Way::Tree)),
            (Candidates { tree, direct: None }, Some(Way::Tree), Some(Way::Tree)),
            (Candidates { tree: None, direct }, by_link, None),
            (Candidates::default(), None, None),
        ];
        for (candidates, own, foreign) in rows {
            let got = (candidates.pathless(true), candidates.pathless(false));
            assert_eq!((candidates.best(), got), (own, (own, foreign)), "{candidates:?}");
        }
    }
}
