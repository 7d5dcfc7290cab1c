//! Instants at which a test may kill the process.
//!
//! Each is named where it is passed. Without the feature `failpoints` nothing is there to pass.

use std::fmt;
#[cfg(feature = "failpoints")]
use std::sync::Arc;

/// What to do at each instant; nothing, unless a test asked.
#[derive(Clone, Default)]
pub struct FailPoints {
    #[cfg(feature = "failpoints")]
    hook: Option<Arc<dyn Fn(&'static str) + Send + Sync>>,
}

impl FailPoints {
    /// Those of a file.
    pub const FILE: [&'static str; 5] = [
        "disk.write.before",
        "disk.write.torn",
        "disk.write.after",
        "disk.sync.before",
        "disk.sync.after",
    ];

    /// Those of a database: connected; the lease is taken; a commit's rows are there and it has not been said; it is done and nobody knows.
    pub const POSTGRES: [&'static str; 4] = [
        "postgres.connected",
        "postgres.lease.taken",
        "postgres.commit.open",
        "postgres.commit.done",
    ];

    /// Those of every store, in the order of a message's life.
    pub const COMMON: [&'static str; 14] = [
        "open.before",
        "open.after",
        "recover.out",
        "load.after",
        "attempt.after",
        "turn.before",
        "turn.after",
        "commit.before",
        "commit.after",
        "release.before",
        "release.between",
        "release.after",
        "deliver.acknowledged",
        "trim.after",
    ];

    /// Calls this at each instant, with its name.
    #[cfg(feature = "failpoints")]
    pub fn new(hook: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        Self { hook: Some(Arc::new(hook)) }
    }

    #[inline]
    pub(crate) fn pass(&self, name: &'static str) {
        debug_assert!(
            [&Self::FILE[..], &Self::POSTGRES, &Self::COMMON].concat().contains(&name),
            "{name} is in no list"
        );
        #[cfg(feature = "failpoints")]
        if let Some(hook) = &self.hook {
            hook(name);
        }
        let _ = name;
    }

    /// Whether anything happens at any instant.
    #[inline]
    pub(crate) fn are_set(&self) -> bool {
        #[cfg(feature = "failpoints")]
        return self.hook.is_some();
        #[cfg(not(feature = "failpoints"))]
        false
    }
}

impl fmt::Debug for FailPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FailPoints")
    }
}
