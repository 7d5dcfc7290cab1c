//! The record of names: which context each was bound to last. It stands in the authority's folder as `ca-names`.
//!
//! A name stays with its context for ever, revoked or not, until it is bound to another: who asks whose it is gets an answer while that context
//! is away, and learns who it was when it is gone.

use std::collections::BTreeMap;

use actogen_core::id::ContextId;
use actogen_runtime::names::{ContextNames, Holder, MOST_NAMES, is_name};

use super::revocations::Revocations;

/// The most names in a mesh: with the longest ones the record stays far below what is read of a file, 256 KiB.
pub(super) const MOST: usize = 2000;

/// Whose each name is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NameRecord(BTreeMap<String, ContextId>);

/// Why names cannot be bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unbindable {
    #[error("the name `{name}` is bound to {by}")]
    Held { name: String, by: ContextId },
    #[error("{0} has been revoked")]
    Revoked(ContextId),
    #[error("the root's names stay with it: it cannot be revoked")]
    Root,
    #[error("{0} would have more than {MOST_NAMES} names")]
    TooMany(ContextId),
    #[error("the mesh has {MOST} names, as many as it may")]
    Full,
}

impl NameRecord {
    pub(super) fn holder(&self, name: &str) -> Option<ContextId> {
        self.0.get(name).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn names_of(&self, context: ContextId) -> ContextNames {
        let own = self.0.iter().filter(|&(_, &of)| of == context).map(|(name, _)| &**name);
        ContextNames::new(own).expect("the record binds well-formed names, and few to each context")
    }

    /// Whether names can be bound, to a context that is known or to a new one. Gives the contexts that must be revoked first.
    pub(super) fn check(
        &self,
        context: Option<ContextId>,
        names: &ContextNames,
        holder: Holder,
        revoked: &Revocations,
    ) -> Result<Vec<ContextId>, Unbindable> {
        if let Some(gone) = context.filter(|&context| revoked.contains(context)) {
            return Err(Unbindable::Revoked(gone));
        }
        let (mut others, mut new) = (Vec::new(), 0);
        for name in names.as_slice() {
            match self.holder(name) {
                Some(by) if context == Some(by) => {}
                // A revoked context has nothing any more.
                Some(by) if revoked.contains(by) => new += 1,
                Some(by) if holder == Holder::Stays => {
                    return Err(Unbindable::Held { name: name.clone(), by });
                }
                Some(by) => {
                    others.push(by);
                    new += 1;
                }
                None => new += 1,
            }
        }
        if let Some(context) = context
            && self.names_of(context).as_slice().len() + new > MOST_NAMES
        {
            return Err(Unbindable::TooMany(context));
        }
        let unknown = names.as_slice().iter().filter(|&name| !self.0.contains_key(name)).count();
        if self.0.len() + unknown > MOST {
            return Err(Unbindable::Full);
        }
        others.sort_unstable();
        others.dedup();
        match others.first() {
            Some(first) if first.is_root() => Err(Unbindable::Root),
            _ => Ok(others),
        }
    }

    /// Binds names, which [`Self::check`] has let pass.
    pub(super) fn bind(&mut self, context: ContextId, names: &ContextNames) {
        self.0.extend(names.as_slice().iter().map(|name| (name.clone(), context)));
    }

    /// A line for each name: the name, and the context's id.
    pub(super) fn to_text(&self) -> String {
        self.0.iter().map(|(name, context)| format!("{name} {}\n", context.0)).collect()
    }

    /// Reads what [`Self::to_text`] wrote; the number of the first line that cannot stand there else.
    pub(super) fn from_text(text: &str) -> Result<Self, usize> {
        let (mut record, mut counts) = (BTreeMap::new(), BTreeMap::<ContextId, usize>::new());
        for (place, line) in text.lines().enumerate() {
            let parsed = || {
                let (name, id) = line.split_once(' ')?;
                let context = ContextId(id.parse().ok()?);
                is_name(name).then(|| (name.to_owned(), context))
            };
            let (name, context) = parsed().ok_or(place + 1)?;
            let count = counts.entry(context).or_default();
            *count += 1;
            if *count > MOST_NAMES || record.insert(name, context).is_some() {
                return Err(place + 1);
            }
        }
        Ok(Self(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> ContextNames {
        ContextNames::new(texts.iter().copied()).unwrap()
    }

    fn record(bound: &[(u64, &[&str])]) -> NameRecord {
        let mut record = NameRecord::default();
        for (id, texts) in bound {
            record.bind(ContextId(*id), &names(texts));
        }
        record
    }

    fn revoked(id: u64) -> Revocations {
        let mut revoked = Revocations::default();
        revoked.revoke(ContextId(id)).unwrap();
        revoked
    }

    #[test]
    fn a_name_has_one_context() {
        let mut record = record(&[(1, &["a", "b"]), (2, &["c"])]);
        let check = |record: &NameRecord, id: Option<u64>, texts: &[&str], holder, gone: u64| {
            record.check(id.map(ContextId), &names(texts), holder, &revoked(gone))
        };
        let held = Unbindable::Held { name: "a".into(), by: ContextId(1) };
        assert_eq!(check(&record, Some(2), &["a"], Holder::Stays, 9), Err(held.clone()));
        assert_eq!(check(&record, None, &["a"], Holder::Stays, 9), Err(held));
        assert_eq!(check(&record, Some(1), &["a"], Holder::Stays, 9), Ok(vec![]));
        assert_eq!(check(&record, Some(2), &["a"], Holder::Stays, 1), Ok(vec![]));
        let all = ["a", "b", "c"];
        let both = vec![ContextId(1), ContextId(2)];
        assert_eq!(check(&record, Some(3), &all, Holder::Revoked, 9), Ok(both));
        let gone = Err(Unbindable::Revoked(ContextId(3)));
        assert_eq!(check(&record, Some(3), &all, Holder::Revoked, 3), gone);
        record.bind(ContextId(3), &names(&["a"]));
        assert_eq!(record.holder("a"), Some(ContextId(3)));
        assert_eq!(record.names_of(ContextId(1)), names(&["b"]));
        assert_eq!(record.holder("d"), None);
    }

    #[test]
    fn names_are_bounded_for_each_context_and_in_all() {
        let none = Revocations::default();
        let many = |from: usize, count| {
            ContextNames::new((from..from + count).map(|n| format!("n{n}"))).unwrap()
        };
        let mut record = NameRecord::default();
        record.bind(ContextId(1), &many(0, MOST_NAMES));
        let more = record.check(Some(ContextId(1)), &many(MOST_NAMES, 1), Holder::Stays, &none);
        assert_eq!(more, Err(Unbindable::TooMany(ContextId(1))));
        for id in 1..MOST / MOST_NAMES {
            record.bind(ContextId(id as u64 + 1), &many(id * MOST_NAMES, MOST_NAMES));
        }
        assert_eq!(record.check(None, &many(MOST, 1), Holder::Stays, &none), Err(Unbindable::Full));
        // Those that are known may go to others still.
        assert!(record.check(None, &many(0, 1), Holder::Revoked, &none).is_ok());
    }

    #[test]
    fn the_record_survives_on_the_disk() {
        let record = record(&[(1, &["a", "b"]), (20, &["node-7.west_2"])]);
        assert_eq!(NameRecord::from_text(&record.to_text()), Ok(record));
        assert_eq!(NameRecord::from_text(""), Ok(NameRecord::default()));
        for (bad, line) in [("a", 1), ("a 1\nB 2\n", 2), ("a 1\na 2\n", 2), ("a x\n", 1)] {
            assert_eq!(NameRecord::from_text(bad), Err(line), "{bad}");
        }
        let nine: String = (0..=MOST_NAMES).map(|n| format!("n{n} 1\n")).collect();
        assert_eq!(NameRecord::from_text(&nine), Err(MOST_NAMES + 1));
    }
}
