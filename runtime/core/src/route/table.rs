//! What a context knows of its own subtree: one route for each context in it.

use std::collections::{BTreeMap, BTreeSet};

use super::tombstones::{Tombstone, Tombstones};
use crate::{
    id::{Attachment, ContextId, Incarnation, LinkId},
    wire::control::{Announcement, Withdrawn},
};

/// A route to a context of the own subtree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The child link that leads there.
    pub link: LinkId,
    /// What the context has signed; kept to be passed on when this context attaches to another parent.
    pub announcement: Announcement,
}

impl Route {
    /// Life and attachment, which order announcements of one context.
    pub fn version(&self) -> (Incarnation, Attachment) {
        (self.announcement.incarnation, self.announcement.attachment)
    }

    /// The route as a withdrawal names it.
    pub fn withdrawn(&self) -> Withdrawn {
        Withdrawn {
            context: self.announcement.context,
            incarnation: self.announcement.incarnation,
            attachment: self.announcement.attachment,
        }
    }
}

/// What the table keeps of a route that went.
#[derive(Clone, Copy, Debug)]
struct Buried {
    link: LinkId,
    version: (Incarnation, Attachment),
}

/// The routes of the subtree, with indexes by link and by parent, and the tombstones of those that went.
#[derive(Debug)]
pub struct Table {
    routes: BTreeMap<ContextId, Route>,
    by_link: BTreeMap<LinkId, BTreeSet<ContextId>>,
    by_parent: BTreeMap<ContextId, BTreeSet<ContextId>>,
    tombstones: Tombstones<Buried>,
}

impl Table {
    /// An empty table that remembers at most `tombstones` routes that went.
    pub fn new(tombstones: usize) -> Self {
        Self {
            routes: BTreeMap::new(),
            by_link: BTreeMap::new(),
            by_parent: BTreeMap::new(),
            tombstones: Tombstones::new(tombstones),
        }
    }

    /// The route to a context of the subtree.
    pub fn get(&self, context: ContextId) -> Option<&Route> {
        self.routes.get(&context)
    }

    /// Whether a context lies in the subtree below this one.
    pub fn contains(&self, context: ContextId) -> bool {
        self.routes.contains_key(&context)
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// All routes, by context.
    pub fn iter(&self) -> impl Iterator<Item = (ContextId, &Route)> {
        self.routes.iter().map(|(&context, route)| (context, route))
    }

    /// What remains in mind of the route that a context had before; beside a present route only if that led elsewhere, since
    /// words of routers on the old way may still come by it.
    pub fn tombstone(&self, context: ContextId) -> Option<Tombstone> {
        let Buried { link, version: (incarnation, _) } = self.tombstones.get(context)?;
        Some(Tombstone { link, incarnation })
    }

    /// The life and attachment of the route that a context had before.
    pub fn last_version(&self, context: ContextId) -> Option<(Incarnation, Attachment)> {
        self.tombstones.get(context).map(|buried| buried.version)
    }

    /// How many tombstones there are.
    pub fn tombstones(&self) -> usize {
        self.tombstones.len()
    }

    /// Installs a route, in place of one that the context may have.
    pub fn install(&mut self, link: LinkId, announcement: Announcement) {
        let (context, parent) = (announcement.context, announcement.parent);
        self.unindex(context);
        self.tombstones.raise_if(context, |buried| buried.link == link);
        self.by_link.entry(link).or_default().insert(context);
        self.by_parent.entry(parent).or_default().insert(context);
        self.routes.insert(context, Route { link, announcement });
    }

    /// Takes a route out and leaves a tombstone.
    pub fn remove(&mut self, context: ContextId) -> Option<Route> {
        self.unindex(context);
        let route = self.routes.remove(&context)?;
        self.tombstones.bury(context, Buried { link: route.link, version: route.version() });
        Some(route)
    }

    /// The contexts that a link leads to, in order.
    pub fn through(&self, link: LinkId) -> Vec<ContextId> {
        self.by_link.get(&link).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    /// A context and all below it by their signed parents, the context first and every parent before its children.
    pub fn subtree(&self, top: ContextId) -> Vec<ContextId> {
        let mut order = vec![top];
        let mut at = 0;
        while at < order.len() {
            if let Some(children) = self.by_parent.get(&order[at]) {
                order.extend(children.iter().copied());
            }
            at += 1;
        }
        order
    }

    fn unindex(&mut self, context: ContextId) {
        let Some(route) = self.routes.get(&context) else { return };
        let (link, parent) = (route.link, route.announcement.parent);
        remove_from(&mut self.by_link, link, context);
        remove_from(&mut self.by_parent, parent, context);
    }
}

fn remove_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<ContextId>>, key: K, context: ContextId) {
    if let Some(ids) = index.get_mut(&key) {
        ids.remove(&context);
        if ids.is_empty() {
            index.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announce(context: u64, parent: u64, attachment: u64) -> Announcement {
        Announcement {
            context: ContextId(context),
            incarnation: Incarnation::new(1, context),
            attachment: Attachment(attachment),
            parent: ContextId(parent),
            certificate: Vec::new(),
            signature: Vec::new(),
        }
    }

    fn ids(ids: &[u64]) -> Vec<ContextId> {
        ids.iter().copied().map(ContextId).collect()
    }

    #[test]
    fn a_subtree_lists_parents_before_children() {
        let mut table = Table::new(10);
        for (context, parent) in [(9, 4), (4, 2), (2, 0), (3, 0), (5, 2)] {
            table.install(LinkId(1), announce(context, parent, 1));
        }
        assert_eq!(table.subtree(ContextId(2)), ids(&[2, 4, 5, 9]));
        assert_eq!(table.through(LinkId(1)), ids(&[2, 3, 4, 5, 9]));
        assert_eq!(table.subtree(ContextId(77)), ids(&[77]));
    }

    #[test]
    fn a_route_that_moves_leaves_no_trace_at_its_old_place() {
        let mut table = Table::new(10);
        table.install(LinkId(1), announce(4, 2, 1));
        table.install(LinkId(2), announce(4, 3, 2));
        assert_eq!(table.through(LinkId(1)), []);
        assert_eq!(table.subtree(ContextId(2)), ids(&[2]));
        assert_eq!(table.subtree(ContextId(3)), ids(&[3, 4]));
        assert_eq!(table.tombstone(ContextId(4)), None);
    }

    #[test]
    fn what_a_route_was_is_remembered_until_it_is_back_where_it_was() {
        let mut table = Table::new(10);
        assert!(table.is_empty());
        table.install(LinkId(1), announce(4, 2, 3));
        assert!(!table.is_empty() && table.last_version(ContextId(4)).is_none());
        table.remove(ContextId(4));
        let last = Some((Incarnation::new(1, 4), Attachment(3)));
        assert_eq!((table.last_version(ContextId(4)), table.tombstones()), (last, 1));
        table.install(LinkId(2), announce(4, 9, 4));
        let stone = Tombstone { link: LinkId(1), incarnation: Incarnation::new(1, 4) };
        assert_eq!(table.tombstone(ContextId(4)), Some(stone), "words of the old way may come");
        table.remove(ContextId(4));
        table.install(LinkId(2), announce(4, 9, 4));
        assert_eq!((table.tombstone(ContextId(4)), table.tombstones()), (None, 0));
    }

    #[test]
    fn r19_tombstones_stay_bounded_under_churn() {
        let mut table = Table::new(8);
        for round in 0..1000 {
            let context = round % 20;
            table.install(LinkId(1), announce(context, 0, round));
            table.remove(ContextId(context));
        }
        assert!(table.is_empty() && table.by_link.is_empty() && table.by_parent.is_empty());
        assert_eq!(table.tombstones(), 8);
        assert!(table.tombstone(ContextId(999 % 20)).is_some(), "the newest tombstone is kept");
    }
}
