//! Topics and patterns of them: words joined by dots; in a pattern `*` stands for one word and a last `>` for one or more.

use std::collections::{BTreeMap, BTreeSet};

/// The longest topic or pattern, in bytes.
pub(super) const MAX_TOPIC: usize = 256;

/// The most words of one: each is a branch of the tree that is kept of patterns.
const MAX_WORDS: usize = 32;

/// A text that is no topic, or no pattern of topics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: {why}. Give words joined by dots, such as `org.build.done`{hint}")]
pub struct TopicError {
    text: String,
    what: &'static str,
    why: &'static str,
    hint: &'static str,
}

fn check(
    text: &str,
    what: &'static str,
    hint: &'static str,
    takes: impl Fn(&str, bool) -> bool,
) -> Result<(), TopicError> {
    let words: Vec<_> = text.split('.').collect();
    let why = if text.len() > MAX_TOPIC {
        "it is longer than 256 bytes"
    } else if words.len() > MAX_WORDS {
        "it has more than 32 words"
    } else if words.iter().any(|word| word.is_empty()) {
        "a word is empty"
    } else if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "a word has a space in it"
    } else if words.iter().enumerate().any(|(at, word)| !takes(word, at + 1 == words.len())) {
        "`*` and `>` stand alone, `>` last, and only in patterns"
    } else {
        return Ok(());
    };
    let text = text.chars().take(80).flat_map(char::escape_default).collect();
    Err(TopicError { text, what, why, hint })
}

/// Whether this can be published to.
///
/// # Errors
/// [`TopicError`].
pub fn check_topic(topic: &str) -> Result<(), TopicError> {
    check(topic, "topic", "", |word, _| !word.contains(['*', '>']))
}

/// Whether this can be subscribed to.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), TopicError> {
    check(pattern, "pattern", ", `org.*.done` or `org.>`", |word, is_last| match word {
        "*" => true,
        ">" => is_last,
        word => !word.contains(['*', '>']),
    })
}

/// Whether a pattern matches a topic; both are what they are called.
pub(crate) fn matches(pattern: &str, topic: &str) -> bool {
    let mut words = topic.split('.');
    for wanted in pattern.split('.') {
        match (wanted, words.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            (wanted, Some(word)) if wanted != "*" && wanted != word => return false,
            _ => {}
        }
    }
    words.next().is_none()
}

/// Who wants which topics, by patterns, as a tree of words.
#[derive(Debug)]
pub(crate) struct Trie<T> {
    words: BTreeMap<String, Trie<T>>,
    any: Option<Box<Trie<T>>>,
    here: BTreeSet<T>,
    /// Whose pattern ends with `>` here.
    rest: BTreeSet<T>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { words: BTreeMap::new(), any: None, here: BTreeSet::new(), rest: BTreeSet::new() }
    }
}

impl<T: Ord + Copy> Trie<T> {
    pub(crate) fn insert(&mut self, pattern: &str, who: T) {
        let (node, is_rest) = self.node(pattern);
        if is_rest {
            node.rest.insert(who)
        } else {
            node.here.insert(who)
        };
    }

    fn node(&mut self, pattern: &str) -> (&mut Self, bool) {
        let mut node = self;
        for word in pattern.split('.') {
            match word {
                ">" => return (node, true),
                "*" => node = node.any.get_or_insert_default(),
                word => node = node.words.entry(word.to_owned()).or_default(),
            }
        }
        (node, false)
    }

    pub(super) fn remove(&mut self, pattern: &str, who: T) {
        self.take_out(&mut pattern.split('.'), who);
    }

    /// Takes somebody out, and with him the branches that nobody is on any more.
    fn take_out<'a>(&mut self, words: &mut impl Iterator<Item = &'a str>, who: T) {
        match words.next() {
            None => {
                self.here.remove(&who);
            }
            Some(">") => {
                self.rest.remove(&who);
            }
            Some("*") => {
                if let Some(any) = &mut self.any {
                    any.take_out(words, who);
                    if any.is_empty() {
                        self.any = None;
                    }
                }
            }
            Some(word) => {
                if let Some(node) = self.words.get_mut(word) {
                    node.take_out(words, who);
                    if node.is_empty() {
                        self.words.remove(word);
                    }
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty() && self.any.is_none() && self.here.is_empty() && self.rest.is_empty()
    }

    /// Everybody who wants this topic, once each.
    pub(crate) fn matching(&self, topic: &str) -> BTreeSet<T> {
        let words: Vec<_> = topic.split('.').collect();
        let mut found = BTreeSet::new();
        self.collect(&words, &mut found);
        found
    }

    fn collect(&self, words: &[&str], found: &mut BTreeSet<T>) {
        let Some((word, behind)) = words.split_first() else {
            found.extend(&self.here);
            return;
        };
        found.extend(&self.rest);
        if let Some(any) = &self.any {
            any.collect(behind, found);
        }
        if let Some(node) = self.words.get(*word) {
            node.collect(behind, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule in the plainest form.
    fn matches(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern, topic) {
            ([], []) => true,
            ([">"], [_, ..]) => true,
            (["*", pattern @ ..], [_, topic @ ..]) => matches(pattern, topic),
            ([word, pattern @ ..], [first, topic @ ..]) => word == first && matches(pattern, topic),
            _ => false,
        }
    }

    #[test]
    fn topics_and_patterns_are_words_joined_by_dots() {
        for good in ["a", "a.b", "org.build-7.done", "ä.b"] {
            assert_eq!((check_topic(good), check_pattern(good)), (Ok(()), Ok(())), "{good}");
        }
        for pattern in ["*", ">", "a.*.c", "a.>", "*.>"] {
            assert!(check_topic(pattern).is_err() && check_pattern(pattern).is_ok(), "{pattern}");
        }
        for bad in ["", ".", "a.", "a b", "a.>.b", "a*", ">a", "a\n", &"a".repeat(257)] {
            assert!(check_topic(bad).is_err() && check_pattern(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_trie_finds_whom_the_rule_finds(
            patterns in prop::collection::vec("(([ab*])\\.){0,3}[ab*>]", 0..12),
            topic in "([ab]\\.){0,3}[ab]",
        ) {
            let mut trie = Trie::default();
            for (who, pattern) in patterns.iter().enumerate() {
                trie.insert(pattern, who);
            }
            let words: Vec<_> = topic.split('.').collect();
            let wanted: BTreeSet<_> = patterns.iter().enumerate()
                .filter(|(_, pattern)| matches(&pattern.split('.').collect::<Vec<_>>(), &words))
                .map(|(who, _)| who)
                .collect();
            prop_assert_eq!(trie.matching(&topic), wanted);
            for (who, pattern) in patterns.iter().enumerate() {
                trie.remove(pattern, who);
            }
            prop_assert!(trie.is_empty());
        }
    }
}
