//! Files: what one context offers, others fetch, hop by hop.
//!
//! A context offers a file by registering its path, or everything below a folder; whoever has a parent's authority over it may fetch any file.
//! [`Context::fetch`] gets one: from the neighbour on the way, which gets it from its own neighbour if it has not got it, and passes on what has
//! come. So a file crosses each link once, however many below it ask at the same time. The fetching side asks piece by piece, a
//! window of them at once, which is all that is under way at any time.
//!
//! | room | concept |
//! |---|---|
//! | here | what can go wrong; sending and fetching, as an author does |
//! | `service` | the file service that each context has |
//! | `offered` | which paths may be fetched |
//! | `source` | a file as its holder reads it |
//! | `spool` | a file on its way through this context |
//! | `fetch` | the fetching side: a window of pieces |
//! | `target` | the file that is written |

mod fetch;
mod offered;
mod service;
mod source;
mod spool;
mod target;

use std::path::{Path, PathBuf};

use actogen_runtime::{Place, core::ContextId};
use serde::{Deserialize, Serialize};

pub use fetch::{Fetch, Fetched, Progress};
pub use service::{Files, FilesCalls, Order};

use crate::{context::Context, function::CallError, spawn::Child};

/// Bytes of a file that travel in one piece, where the contexts' limit for messages allows it.
const PIECE: usize = 1024 * 1024;

/// Pieces that a fetching context has asked for and not got.
const WINDOW: usize = 8;

/// Why a file could not be fetched. Variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The path is not offered, and the caller has no parent's authority there.
    #[error("{path} is not offered there: register it with the file service, or a folder above it")]
    NotOffered {
        /// The path.
        path: PathBuf,
    },
    /// The path is relative, or goes up.
    #[error("{path} cannot be fetched: give an absolute path without `..`")]
    BadPath {
        /// The path.
        path: PathBuf,
    },
    /// The holder cannot read it, or it is no file.
    #[error("{path} cannot be read there: {why}")]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// It has another size or other bytes than when the fetch began. What had come is discarded.
    #[error("{path} changed while it was fetched: fetch it again")]
    Changed {
        /// The path.
        path: PathBuf,
    },
    /// What has come is not what was sent. It is discarded.
    #[error("{path} did not arrive as it was sent: fetch it again")]
    Damaged {
        /// The path.
        path: PathBuf,
    },
    /// A context on the way has as many transfers as it may.
    #[error("context {by} has as many transfers as it may: try again when some are done")]
    Busy {
        /// The context.
        by: ContextId,
    },
    /// A context on the way could not be asked, or was lost.
    #[error("the way to {path} is broken: {why}")]
    Broken {
        /// The path.
        path: PathBuf,
        /// What happened.
        why: String,
    },
    /// The file cannot be written here.
    #[error("{path} cannot be written: {why}")]
    Unwritable {
        /// Where to.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
}

impl FileError {
    fn unreadable(path: &Path, why: impl std::fmt::Display) -> Self {
        Self::Unreadable { path: path.to_owned(), why: why.to_string() }
    }

    fn unwritable(path: &Path, why: impl std::fmt::Display) -> Self {
        Self::Unwritable { path: path.to_owned(), why: why.to_string() }
    }

    fn broken(path: &Path, error: &CallError) -> Self {
        let causes = std::iter::successors(std::error::Error::source(error), |c| c.source());
        let why = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        Self::Broken { path: path.to_owned(), why }
    }
}

/// What a context answers: errors of files travel as such, with what is known of them.
#[derive(Debug, Serialize, Deserialize)]
#[doc(hidden)]
pub enum Answer<T> {
    Done(T),
    Failed(FileError),
}

impl<T> Answer<T> {
    fn into_result(self) -> Result<T, FileError> {
        match self {
            Self::Done(value) => Ok(value),
            Self::Failed(error) => Err(error),
        }
    }
}

impl<T> From<Result<T, FileError>> for Answer<T> {
    fn from(result: Result<T, FileError>) -> Self {
        match result {
            Ok(value) => Self::Done(value),
            Err(error) => Self::Failed(error),
        }
    }
}

impl Context {
    /// Fetches a file that another context offers, or any file of one below this one.
    ///
    /// ```no_run
    /// # async fn example(cx: actogen::Context, child: actogen::Child) -> actogen::Result<()> {
    /// let fetched = cx.fetch(child.place(), "/var/log/app.log").to("app.log").await?;
    /// println!("{} bytes, {}", fetched.bytes, fetched.hash);
    /// # Ok(())
    /// # }
    /// ```
    pub fn fetch(&self, holder: impl Into<Place>, path: impl Into<PathBuf>) -> Fetch {
        Fetch::new(self.clone(), holder.into(), path.into())
    }
}

impl Child {
    /// Fetches a file of the child.
    pub fn fetch(&self, path: impl Into<PathBuf>) -> Fetch {
        self.context().fetch(self.place(), path)
    }

    /// Sends a file of this context to the child, which writes it under a path of its own. The file is offered to the tree meanwhile, under a
    /// name that nobody can guess.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn send_file(
        &self,
        path: impl AsRef<Path>,
        to: impl Into<PathBuf>,
    ) -> Result<Fetched, FileError> {
        service::send(self.context(), self.place(), path.as_ref(), to.into()).await
    }
}
