//! The fetching side: asks the neighbour on the way for piece after piece, a window of them at once.

use std::{
    collections::VecDeque,
    fmt,
    path::{Path, PathBuf},
};

use actogen_runtime::{Place, core::ContextId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::{
    FileError, Files, FilesCalls, WINDOW,
    service::{Open, Opened, piece_of},
    source::Hash,
    target::Target,
};
use crate::context::Context;

/// A file that has been fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fetched {
    /// Its size.
    pub bytes: u64,
    /// What of that had come by an earlier try.
    pub resumed_at: u64,
    /// Its BLAKE3 hash, in hexadecimal digits.
    pub hash: String,
}

/// How far a transfer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that have come.
    pub written: u64,
    /// Bytes of the whole file.
    pub size: u64,
}

/// A file to fetch; see [`Context::fetch`]. [`Self::to`] does it.
#[must_use = "nothing is fetched before it has a place to go `to`"]
pub struct Fetch {
    context: Context,
    holder: Place,
    path: PathBuf,
    resume: bool,
    progress: Option<Box<dyn FnMut(Progress)>>,
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch")
            .field("holder", &self.holder.context)
            .field("path", &self.path)
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}

/// A transfer from a neighbour: what is asked for, and of whom.
pub(super) struct Pull {
    files: FilesCalls,
    path: PathBuf,
    pub(super) opened: Opened,
    from: u64,
}

/// Who is next on the way to a file.
pub(super) fn next_hop(context: &Context, holder: Place) -> Option<Place> {
    if holder.context == context.id() {
        return Some(context.place());
    }
    let neighbour = context.neighbour_towards(holder.context)?;
    // The holder's own life counts, not that of whoever has its id now.
    Some(if neighbour.context == holder.context { holder } else { neighbour })
}

impl Pull {
    /// Begins a transfer.
    pub(super) async fn begin(
        context: &Context,
        hop: Place,
        open: Open,
    ) -> Result<Self, FileError> {
        let files = context.service_in::<Files>(hop);
        let (path, from) = (open.path.clone(), open.offset);
        let answer = files.open(open).await;
        let opened = answer.map_err(|error| FileError::broken(&path, &error))?.into_result()?;
        if opened.piece == 0 || opened.size < from {
            return Err(FileError::Changed { path });
        }
        Ok(Self { files, path, opened, from })
    }

    /// Takes all pieces in their order, with a window of them under way. Gives the hash of the whole file, as its holder says.
    pub(super) async fn run(
        self,
        mut take: impl AsyncFnMut(Bytes) -> Result<(), FileError>,
    ) -> Result<Hash, FileError> {
        let Self { files, path, opened: Opened { session, size, piece, .. }, from } = self;
        let over = Over { files: Some((files.clone(), session)) };
        let mut to_ask = (size - from).div_ceil(piece).max(1);
        let (mut asked, mut left) = (VecDeque::with_capacity(WINDOW), size - from);
        loop {
            while to_ask > 0 && asked.len() < WINDOW {
                asked.push_back(files.read(session));
                to_ask -= 1;
            }
            // The last piece ends the loop.
            let Some(next) = asked.pop_front() else { return Err(FileError::Damaged { path }) };
            let answer = next.await.map_err(|error| FileError::broken(&path, &error))?;
            let piece = answer.into_result()?;
            left = left
                .checked_sub(piece.bytes.len() as u64)
                .ok_or_else(|| FileError::Damaged { path: path.clone() })?;
            take(piece.bytes.0).await?;
            if let Some(hash) = piece.hash {
                over.has_ended();
                return if left == 0 { Ok(hash) } else { Err(FileError::Damaged { path }) };
            }
        }
    }
}

/// Tells the neighbour when a transfer ends before its last piece.
struct Over {
    files: Option<(FilesCalls, u64)>,
}

impl Over {
    fn has_ended(mut self) {
        self.files = None;
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        if let Some((files, session)) = self.files.take() {
            let close = files.close(session);
            tokio::task::spawn_local(async move { drop(close.await) });
        }
    }
}

impl Fetch {
    pub(super) fn new(context: Context, holder: Place, path: PathBuf) -> Self {
        Self { context, holder, path, resume: false, progress: None }
    }

    /// Goes on where an earlier try to the same place ended, and leaves what has come, beside that place, for another. Without this,
    /// what is not whole is gone.
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Calls this with each piece.
    pub fn progress(mut self, progress: impl FnMut(Progress) + 'static) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Fetches it, and writes it there: the file appears when it is whole and has the hash that its holder gives, and replaces what
    /// was there. It has the permissions of the original.
    ///
    /// # Errors
    /// [`FileError`].
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub async fn to(self, to: impl Into<PathBuf>) -> Result<Fetched, FileError> {
        let Self { context, holder, path, resume, mut progress } = self;
        let to = to.into();
        let mut target = blocking(&to, {
            let to = to.clone();
            move || Target::create(&to, resume)
        })
        .await?;
        let hop = next_hop(&context, holder).ok_or_else(|| no_way(&path, holder.context))?;
        let ask = |offset| Open {
            holder: holder.context,
            incarnation: holder.incarnation,
            path: path.clone(),
            offset,
            piece: piece_of(&context) as u64,
            all: true,
        };
        let begun = Pull::begin(&context, hop, ask(target.written())).await;
        let pull = match begun {
            // What an earlier try has left is longer than the file is now.
            Err(FileError::Changed { .. }) if target.written() > 0 => {
                target.clear()?;
                Pull::begin(&context, hop, ask(0)).await?
            }
            begun => begun?,
        };
        let (resumed_at, Opened { size, mode, .. }) = (target.written(), pull.opened);
        let mut writer = Writer::over(target, to.clone());
        let mut written = resumed_at;
        let pulled = pull
            .run(async |piece: Bytes| {
                written += piece.len() as u64;
                writer.write(piece).await?;
                if let Some(progress) = &mut progress {
                    progress(Progress { written, size });
                }
                Ok(())
            })
            .await;
        let target = writer.end().await?;
        match pulled {
            Ok(hash) => {
                blocking(&to, move || target.finish(&hash, mode)).await?;
                let hash = blake3::Hash::from_bytes(hash).to_hex().to_string();
                Ok(Fetched { bytes: size, resumed_at, hash })
            }
            // It is another file now: nothing of this one helps.
            Err(error @ (FileError::Changed { .. } | FileError::Damaged { .. })) => {
                target.discard();
                Err(error)
            }
            Err(error) => Err(error),
        }
    }
}

pub(super) fn no_way(path: &Path, holder: ContextId) -> FileError {
    let why = format!("there is no way to {holder}");
    FileError::Broken { path: path.to_owned(), why }
}

/// Runs on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(FileError::unwritable(path, error)))
}

/// Writes one piece while the next one comes.
struct Writer {
    path: PathBuf,
    state: State,
}

enum State {
    Idle(Target),
    Writing(JoinHandle<(Result<(), FileError>, Target)>),
    /// Between two states, or after a thread has panicked.
    Lost,
}

impl Writer {
    fn over(target: Target, path: PathBuf) -> Self {
        Self { path, state: State::Idle(target) }
    }

    async fn idle(&mut self) -> Result<Target, FileError> {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(target) => Ok(target),
            State::Writing(writing) => match writing.await {
                Ok((Ok(()), target)) => Ok(target),
                Ok((Err(error), _)) => Err(error),
                Err(error) => Err(FileError::unwritable(&self.path, error)),
            },
            State::Lost => {
                Err(FileError::unwritable(&self.path, "an earlier piece was not written"))
            }
        }
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), FileError> {
        let mut target = self.idle().await?;
        let write = move || (target.write(&piece), target);
        self.state = State::Writing(tokio::task::spawn_blocking(write));
        Ok(())
    }

    async fn end(mut self) -> Result<Target, FileError> {
        self.idle().await
    }
}
