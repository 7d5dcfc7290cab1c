//! Which topic is which subject: a subtree, or a single one, of each.

/// A subtree of topics and the subtree of subjects that stands for it, or one topic and one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    topic: Tree,
    subject: Tree,
}

/// A text that maps nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{topic}` cannot be mapped to `{subject}`: {why}. Give two subtrees, such as `orders.>` and `mesh.orders.>`, or a topic and a subject"
)]
pub struct MappingError {
    topic: String,
    subject: String,
    why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tree {
    One(String),
    /// All below these words; below none of them, everything.
    Below(String),
}

impl Tree {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (words, tree) = match text {
            ">" => return Ok(Self::Below(String::new())),
            text => match text.strip_suffix(".>") {
                Some(words) => (words, Self::Below(words.to_owned())),
                None => (text, Self::One(text.to_owned())),
            },
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '*' | '>');
        if words.len() > 200 {
            Err("one is longer than 200 bytes")
        } else if words.split('.').any(str::is_empty) {
            Err("a word is empty")
        } else if words.contains(odd) {
            Err("`*` and spaces cannot be mapped, and `>` stands last")
        } else {
            Ok(tree)
        }
    }

    fn pattern(&self) -> String {
        match self {
            Self::One(text) => text.clone(),
            Self::Below(words) if words.is_empty() => ">".to_owned(),
            Self::Below(words) => format!("{words}.>"),
        }
    }

    /// What comes below this tree's words; empty for a tree of one.
    fn rest<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Self::One(one) => (one == text).then_some(""),
            Self::Below(words) if words.is_empty() => Some(text),
            Self::Below(words) => {
                let rest = text.strip_prefix(words.as_str())?.strip_prefix('.')?;
                (!rest.is_empty()).then_some(rest)
            }
        }
    }

    fn with(&self, rest: &str) -> String {
        match self {
            Self::One(one) => one.clone(),
            Self::Below(words) if words.is_empty() => rest.to_owned(),
            Self::Below(words) => format!("{words}.{rest}"),
        }
    }
}

impl Mapping {
    /// Maps topics to subjects: both end with `.>`, or neither does. `>` alone stands for all topics.
    ///
    /// # Errors
    /// [`MappingError`]. A subject has a word before its `>`, and does not begin with `$` or `_`: those are NATS's own.
    pub fn new(topic: &str, subject: &str) -> Result<Self, MappingError> {
        let error = |why| MappingError {
            topic: topic.escape_debug().take(80).collect(),
            subject: subject.escape_debug().take(80).collect(),
            why,
        };
        let mapping = Self {
            topic: Tree::parse(topic).map_err(error)?,
            subject: Tree::parse(subject).map_err(error)?,
        };
        match (&mapping.topic, &mapping.subject) {
            (_, Tree::Below(words)) if words.is_empty() => {
                Err(error("the subject is everything on the server"))
            }
            (_, Tree::One(words) | Tree::Below(words)) if words.starts_with(['$', '_']) => {
                Err(error("subjects that begin so are the server's own"))
            }
            (Tree::One(_), Tree::One(_)) | (Tree::Below(_), Tree::Below(_)) => Ok(mapping),
            _ => Err(error("one is a subtree and the other is not")),
        }
    }

    /// The topics, as a pattern.
    pub fn topics(&self) -> String {
        self.topic.pattern()
    }

    /// The subjects, as a pattern.
    pub fn subjects(&self) -> String {
        self.subject.pattern()
    }

    /// The subject of a topic, if it is mapped.
    pub fn subject_of(&self, topic: &str) -> Option<String> {
        Some(self.subject.with(self.topic.rest(topic)?))
    }

    /// The topic of a subject, if it is mapped.
    pub fn topic_of(&self, subject: &str) -> Option<String> {
        Some(self.topic.with(self.subject.rest(subject)?))
    }
}

/// Whether a pattern of subjects has all that another one has. A word of the other that stands for many needs one that does, too.
pub(crate) fn covers(pattern: &str, other: &str) -> bool {
    let (mut pattern, mut other) = (pattern.split('.'), other.split('.'));
    loop {
        match (pattern.next(), other.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(word)) if word != ">" => {}
            (Some(mine), Some(word)) if mine == word && word != "*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_is_mapped_both_ways() {
        let mapping = Mapping::new("orders.>", "mesh.orders.>").unwrap();
        assert_eq!(mapping.subject_of("orders.new.eu").as_deref(), Some("mesh.orders.new.eu"));
        assert_eq!(mapping.topic_of("mesh.orders.new.eu").as_deref(), Some("orders.new.eu"));
        for other in ["orders", "orders.", "ordersnew", "other.new"] {
            assert_eq!(mapping.subject_of(other), None, "{other}");
        }
        assert_eq!(mapping.topic_of("mesh.ordersnew"), None);
        let all = Mapping::new(">", "mesh.>").unwrap();
        assert_eq!(all.subject_of("a.b").as_deref(), Some("mesh.a.b"));
        assert_eq!(all.topic_of("mesh.a").as_deref(), Some("a"));
        let one = Mapping::new("a.b", "c").unwrap();
        assert_eq!(
            (one.subject_of("a.b").as_deref(), one.topic_of("c").as_deref()),
            (Some("c"), Some("a.b"))
        );
        assert_eq!((one.subject_of("a.b.c"), one.topic_of("c.d")), (None, None));
    }

    #[test]
    fn what_cannot_be_mapped_is_refused() {
        for (topic, subject) in [
            ("a.>", "b"),
            ("a", "b.>"),
            ("a.>", ">"),
            ("a.*", "b.*"),
            ("a..b", "c"),
            ("a b", "c"),
            ("", "c"),
            ("a.>", "$JS.API.>"),
            ("a.>", "_INBOX.>"),
        ] {
            assert!(Mapping::new(topic, subject).is_err(), "{topic} {subject}");
        }
    }

    #[test]
    fn a_stream_covers_a_subtree() {
        for (pattern, other, is_covered) in [
            ("mesh.>", "mesh.orders.>", true),
            ("mesh.orders.>", "mesh.orders.>", true),
            (">", "a", true),
            ("mesh.*", "mesh.orders", true),
            ("mesh.*", "mesh.orders.>", false),
            ("mesh.*", "mesh.>", false),
            ("mesh.orders", "mesh.orders.>", false),
            ("mesh.orders.>", "mesh.>", false),
            ("mesh.orders.>", "mesh.orders", false),
            ("other.>", "mesh.orders.>", false),
        ] {
            assert_eq!(covers(pattern, other), is_covered, "{pattern} {other}");
        }
    }
}
