//! Names that the mesh's authority binds to contexts: what one may look like, and how many a certificate may carry.
//!
//! Such a name is another thing than those of mailboxes ([`Context::register`](crate::Context::register)) and those that contexts claim
//! from each other: only the authority gives it, and only to one context at a time, so it says who somebody is after a restart, which takes
//! another id, as well.

use serde::{Deserialize, Serialize};

/// The most names that one certificate carries: with the longest ones it stays far below the 8 KiB that an announcement has room for.
pub const MOST_NAMES: usize = 8;

/// The longest name, in bytes: as much as a label of DNS, and one more.
pub const LONGEST_NAME: usize = 64;

/// Why a text cannot be bound to a context, or why so many cannot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is too long, empty, or has other characters.
    #[error(
        "`{0}` cannot be a context's name: give 1 to {LONGEST_NAME} of the characters a-z, 0-9, `-`, `.` and `_`"
    )]
    Form(String),
    /// They are too many.
    #[error("a context has at most {MOST_NAMES} names, and not {0}")]
    TooMany(usize),
    /// The same one comes twice.
    #[error("`{0}` is given twice")]
    Twice(String),
}

/// Whether a text can be a name. The narrow alphabet makes one that a stranger's certificate carries safe to print.
pub fn is_name(text: &str) -> bool {
    let is_of_names = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(is_of_names)
}

/// The names of one context: well formed, each once, in their order, and no more than may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct ContextNames(Vec<String>);

impl ContextNames {
    /// Names from texts, in whatever order.
    ///
    /// # Errors
    /// [`NameError`]: one cannot be a name, comes twice, or they are too many.
    pub fn new<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> Result<Self, NameError> {
        let mut names: Vec<String> = texts.into_iter().map(Into::into).collect();
        if names.len() > MOST_NAMES {
            return Err(NameError::TooMany(names.len()));
        }
        if let Some(bad) = names.iter().find(|name| !is_name(name)) {
            let shown = bad.chars().take(80).flat_map(char::escape_default).collect();
            return Err(NameError::Form(shown));
        }
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(NameError::Twice(pair[0].clone())),
            None => Ok(Self(names)),
        }
    }

    /// The names, in their order.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// The first name that others have as well.
    pub(crate) fn in_common(&self, others: &Self) -> Option<String> {
        self.0.iter().find(|name| others.0.contains(name)).cloned()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<String>> for ContextNames {
    type Error = NameError;

    fn try_from(texts: Vec<String>) -> Result<Self, NameError> {
        Self::new(texts)
    }
}

impl From<ContextNames> for Vec<String> {
    fn from(names: ContextNames) -> Self {
        names.0
    }
}

/// What becomes of another context that has a name which is to be bound anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// It keeps the name, and binding it is refused.
    Stays,
    /// Its certificate is revoked, for good.
    Revoked,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_of_few_characters() {
        for good in ["a", "node-7.west_2", "0", ".", &"a".repeat(LONGEST_NAME)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "A", "a b", "a/b", "ä", "a\n", "a%20", &"a".repeat(LONGEST_NAME + 1)] {
            assert!(!is_name(bad), "{bad}");
            let error = ContextNames::new([bad]).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error:?}");
        }
    }

    #[test]
    fn names_are_few_and_each_comes_once() {
        let many = |count: usize| ContextNames::new((0..count).map(|n| format!("n{n}")));
        assert_eq!(many(MOST_NAMES).unwrap().as_slice().len(), MOST_NAMES);
        assert_eq!(many(MOST_NAMES + 1), Err(NameError::TooMany(MOST_NAMES + 1)));
        assert_eq!(ContextNames::new(["b", "a", "b"]), Err(NameError::Twice("b".into())));
        assert_eq!(ContextNames::new(["b", "a"]).unwrap().as_slice(), ["a", "b"]);
        let none = ContextNames::new(Vec::<String>::new()).unwrap();
        assert!(none.is_empty());
    }
}
