//! What differs between two encoded states.

use bytes::Bytes;

use crate::rows::Changed;

/// Equal bytes between two differences that are written with them, since a place of its own costs about as much.
const GAP: usize = 16;

/// What makes `new` of `old`.
pub(crate) fn between(old: &[u8], new: &[u8]) -> Changed {
    let mut places: Vec<(u64, Bytes)> = Vec::new();
    let mut push = |start: usize, end: usize| {
        places.push((start as u64, Bytes::copy_from_slice(&new[start..end])));
    };
    if old.len() == new.len() {
        let mut open: Option<(usize, usize)> = None;
        for (at, _) in old.iter().zip(new).enumerate().filter(|(_, (old, new))| old != new) {
            open = match open {
                Some((start, end)) if at - end < GAP => Some((start, at + 1)),
                Some((start, end)) => {
                    push(start, end);
                    Some((at, at + 1))
                }
                None => Some((at, at + 1)),
            };
        }
        if let Some((start, end)) = open {
            push(start, end);
        }
        return Changed::Patch { length: new.len() as u64, places };
    }
    // Something was put in or taken out: what follows has moved, so all from the first difference on is written.
    let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    if same < new.len() {
        push(same, new.len());
    }
    Changed::Patch { length: new.len() as u64, places }
}

/// The bytes that a patch takes.
pub(crate) fn weight(changed: &Changed) -> usize {
    match changed {
        Changed::Patch { places, .. } => places.iter().map(|(_, bytes)| bytes.len() + 10).sum(),
        Changed::Events(events) => events.iter().map(|event| event.len() + 4).sum(),
    }
}

/// Applies a patch; nothing when it does not fit.
pub(crate) fn applied(old: &[u8], length: u64, places: &[(u64, Bytes)]) -> Option<Vec<u8>> {
    let length = usize::try_from(length).ok()?;
    let longest =
        places.iter().map(|(_, bytes)| bytes.len()).sum::<usize>().checked_add(old.len())?;
    if length > longest {
        return None;
    }
    let mut new = old.to_vec();
    new.resize(length, 0);
    for (start, bytes) in places {
        let start = usize::try_from(*start).ok()?;
        new.get_mut(start..start.checked_add(bytes.len())?)?.copy_from_slice(bytes);
    }
    Some(new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_patch_makes_the_new_of_the_old(
            old: Vec<u8>, new: Vec<u8>, changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..8),
        ) {
            let mut near = old.clone();
            for (at, byte) in changes {
                if !near.is_empty() {
                    let at = usize::from(at) % near.len();
                    near[at] = byte;
                }
            }
            for new in [new, near] {
                let Changed::Patch { length, places } = between(&old, &new) else { unreachable!() };
                prop_assert_eq!(applied(&old, length, &places), Some(new));
            }
        }
    }

    #[test]
    fn a_small_change_of_a_long_state_is_small() {
        let old = vec![7; 1 << 20];
        let mut new = old.clone();
        new[5] = 1;
        new[9] = 1;
        new[900_000] = 1;
        assert!(weight(&between(&old, &new)) < 40);
    }

    #[test]
    fn a_patch_of_another_state_is_refused() {
        assert_eq!(applied(b"ab", 1 << 40, &[]), None);
        assert_eq!(applied(b"ab", 2, &[(1, Bytes::from_static(b"xy"))]), None);
    }
}
