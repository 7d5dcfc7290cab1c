//! Who may publish what, as a receiving context sees it.

use std::fmt;

use actogen_runtime::core::ContextId;

use crate::topics::{TopicError, Trie, check_pattern};

/// The most rules of one policy.
const MOST_RULES: usize = 10_000;

/// Which senders may publish under which topics. Once a context has one, whatever no rule allows is refused there: consumers and
/// subscriptions do not get it, the refusal is counted, and a publisher who requires an acknowledgement from there gets a rejection.
///
/// A signed message is judged by its signature: by its publisher's context, and by the names that its certificate carries. A plain one is
/// judged by its source, which the routers on the way have checked; it has no names.
#[derive(Default)]
pub struct PublishPolicy {
    rules: Vec<Who>,
    by_topic: Trie<usize>,
}

#[derive(Debug, PartialEq, Eq)]
enum Who {
    Anyone,
    Name(String),
    Context(ContextId),
}

impl PublishPolicy {
    /// Nobody may publish anything.
    pub fn deny_all() -> Self {
        Self::default()
    }

    /// Also whoever has this name, by certificate, may publish under topics that the pattern matches, in signed messages.
    ///
    /// # Errors
    /// [`TopicError`], when the text is no pattern.
    ///
    /// # Panics
    /// Above 10,000 rules.
    pub fn allow_name(self, name: impl Into<String>, pattern: &str) -> Result<Self, TopicError> {
        self.allow(Who::Name(name.into()), pattern)
    }

    /// Also this context may, in signed messages and plain ones.
    ///
    /// # Errors
    /// As [`Self::allow_name`].
    pub fn allow_context(self, context: ContextId, pattern: &str) -> Result<Self, TopicError> {
        self.allow(Who::Context(context), pattern)
    }

    /// Also everybody may.
    ///
    /// # Errors
    /// As [`Self::allow_name`].
    pub fn allow_anyone(self, pattern: &str) -> Result<Self, TopicError> {
        self.allow(Who::Anyone, pattern)
    }

    fn allow(mut self, who: Who, pattern: &str) -> Result<Self, TopicError> {
        check_pattern(pattern)?;
        assert!(self.rules.len() < MOST_RULES, "a policy has at most {MOST_RULES} rules");
        self.by_topic.insert(pattern, self.rules.len());
        self.rules.push(who);
        Ok(self)
    }

    /// Whether a publisher may. `names` are those that its certificate carries; none for a plain message.
    pub(crate) fn lets(&self, from: ContextId, names: &[String], topic: &str) -> bool {
        self.by_topic.matching(topic).into_iter().any(|rule| match &self.rules[rule] {
            Who::Anyone => true,
            Who::Name(name) => names.contains(name),
            Who::Context(context) => *context == from,
        })
    }
}

impl fmt::Debug for PublishPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublishPolicy({} rules)", self.rules.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_rule_allows_is_denied() -> Result<(), TopicError> {
        let policy = PublishPolicy::deny_all()
            .allow_name("builder", "org.build.>")?
            .allow_context(ContextId(5), "org.*.done")?
            .allow_anyone("public")?;
        let builder = ["x".to_owned(), "builder".to_owned()];
        for (from, names, topic, lets) in [
            (7, &builder[..], "org.build.done", true),
            (7, &[], "org.build.done", false),
            (7, &builder, "org.test.done", false),
            (5, &[], "org.test.done", true),
            (5, &[], "org.test", false),
            (9, &[], "public", true),
            (9, &[], "public.not", false),
        ] {
            assert_eq!(policy.lets(ContextId(from), names, topic), lets, "{from} {topic}");
        }
        assert!(PublishPolicy::deny_all().allow_anyone("a..b").is_err());
        assert!(!PublishPolicy::deny_all().lets(ContextId(1), &builder, "a"));
        Ok(())
    }
}
