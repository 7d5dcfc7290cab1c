//! How often each word was seen.

use std::{
    collections::HashMap,
    io::{self, Write},
};

/// How often each word was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(HashMap<String, u64>);

impl Tally {
    /// One more of this word.
    pub fn count(&mut self, word: &str) {
        // Most words have been seen before: those cost no allocation.
        match self.0.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(word.to_owned(), 1);
            }
        }
    }

    /// Adds what another tally has counted.
    pub fn merge(&mut self, other: Self) {
        if self.0.is_empty() {
            self.0 = other.0;
            return;
        }
        for (word, count) in other.0 {
            let sum = self.0.entry(word).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// How many different words there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no word was seen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes `count<TAB>word` lines: the highest count first, ties in the order of the words' bytes. At most `top` lines; 0 means
    /// all.
    ///
    /// # Errors
    /// What the writer says.
    pub fn print(&self, top: usize, out: &mut impl Write) -> io::Result<()> {
        let mut lines: Vec<_> = self.0.iter().map(|(word, count)| (*count, word)).collect();
        lines.sort_unstable_by(|(count, word), (other, than)| {
            other.cmp(count).then_with(|| word.cmp(than))
        });
        let shown = if top == 0 { lines.len() } else { top.min(lines.len()) };
        for (count, word) in &lines[..shown] {
            writeln!(out, "{count}\t{word}")?;
        }
        Ok(())
    }

    /// The tally as bytes, for [`Self::from_bytes`] in another process.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(&self.0).expect("a map of strings to numbers is always written")
    }

    /// A tally that another process has written.
    ///
    /// # Errors
    /// The bytes are no tally.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, postcard::Error> {
        match postcard::take_from_bytes(bytes)? {
            (counts, []) => Ok(Self(counts)),
            _ => Err(postcard::Error::DeserializeBadEncoding),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tally(words: &[&str]) -> Tally {
        let mut tally = Tally::default();
        words.iter().for_each(|word| tally.count(word));
        tally
    }

    fn printed(tally: &Tally, top: usize) -> String {
        let mut out = Vec::new();
        tally.print(top, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_highest_comes_first_and_ties_go_by_bytes() {
        let tally = tally(&["b", "z", "ä", "a", "z", "aa"]);
        assert_eq!(printed(&tally, 0), "2\tz\n1\ta\n1\taa\n1\tb\n1\tä\n");
    }

    #[test]
    fn only_the_top_is_printed_unless_that_is_0() {
        let tally = tally(&["a", "b", "b", "c", "c", "c"]);
        assert_eq!(printed(&tally, 2), "3\tc\n2\tb\n");
        assert_eq!(printed(&tally, 100), printed(&tally, 0));
    }

    #[test]
    fn nothing_counted_prints_nothing() {
        assert_eq!(printed(&Tally::default(), 0), "");
    }

    #[test]
    fn counts_that_overflow_stay_at_the_highest() {
        let mut full = Tally(HashMap::from([("a".to_owned(), u64::MAX)]));
        full.merge(tally(&["a"]));
        assert_eq!(printed(&full, 0), format!("{}\ta\n", u64::MAX));
    }

    #[test]
    fn bytes_that_are_no_tally_are_refused() {
        let mut bytes = tally(&["a"]).to_bytes();
        bytes.push(0);
        assert!(Tally::from_bytes(&bytes).is_err());
        assert!(Tally::from_bytes(&bytes[..1]).is_err());
    }

    proptest! {
        #[test]
        fn merged_parts_are_the_whole(words in prop::collection::vec("[a-d]{1,2}", 0..60), at in any::<prop::sample::Index>()) {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let (left, right) = words.split_at(at.index(words.len() + 1));
            let mut merged = tally(left);
            merged.merge(Tally::from_bytes(&tally(right).to_bytes()).unwrap());
            prop_assert_eq!(&merged, &tally(&words));
            prop_assert_eq!(printed(&merged, 3), printed(&tally(&words), 3));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Tally::from_bytes(&bytes);
        }
    }
}
