//! Files on their way through a context: fetched once, whoever asks for them meanwhile, and passed on as they come.
//!
//! What has come lies in a file without a name, so that nothing is left of it, however the process ends.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use actogen_runtime::core::{ContextId, Incarnation};
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{AbortHandle, Abortable, LocalBoxFuture, Shared, WeakShared},
};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    FileError, WINDOW,
    fetch::{Pull, next_hop, no_way},
    service::{Open, piece_of},
    source::Hash,
};
use crate::context::Context;

/// Bytes of files that may be on their way through a context at once.
const MOST_BYTES: u64 = 16 << 30;

type Opening = LocalBoxFuture<'static, Result<Rc<Spool>, FileError>>;
type MaybeOpen = (u64, WeakShared<Opening>);

/// Which file, and on whose authority: what one may have is not given to another who may not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    holder: ContextId,
    incarnation: Incarnation,
    path: PathBuf,
    all: bool,
}

/// Files on their way through.
pub(super) struct Spools {
    context: Context,
    /// With the first byte that each has.
    open: RefCell<BTreeMap<Key, MaybeOpen>>,
}

/// A file on its way through, from some byte on.
struct Spool {
    base: u64,
    size: u64,
    mode: u32,
    file: Arc<File>,
    recent: Recent,
    have: watch::Receiver<Have>,
    filling: AbortHandle,
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.filling.abort();
    }
}

/// The pieces that have come last, with where each begins: who keeps up needs not read them from the file.
type Recent = Rc<RefCell<VecDeque<(u64, Bytes)>>>;

/// How far it has come.
#[derive(Clone, Debug, Default)]
struct Have {
    /// Bytes of the file that have come, those before the base counted.
    bytes: u64,
    /// Of those, what can be read from the file.
    written: u64,
    /// Nothing more comes.
    end: Option<Result<Hash, FileError>>,
}

impl Spools {
    pub(super) fn of(context: &Context) -> Self {
        Self { context: context.clone(), open: RefCell::default() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        let mut open = self.open.borrow_mut();
        open.retain(|_, (_, spool)| spool.upgrade().is_some());
        open.len()
    }

    /// A reader of a file, which is on its way or begins it now.
    pub(super) async fn reader(&self, open: &Open, asker: ContextId) -> Result<Reader, FileError> {
        let key = Key {
            holder: open.holder,
            incarnation: open.incarnation,
            path: open.path.clone(),
            all: open.all,
        };
        let there =
            self.open.borrow().get(&key).and_then(|(base, spool)| {
                if *base <= open.offset { spool.upgrade() } else { None }
            });
        // One that has failed is no help to who comes later.
        let there = there.filter(|spool| match spool.peek() {
            Some(Ok(spool)) => !matches!(spool.have.borrow().end, Some(Err(_))),
            Some(Err(_)) => false,
            None => true,
        });
        let spool: Shared<Opening> = match there {
            Some(spool) => spool,
            None => {
                let beginning = self.begin(open.clone(), asker)?.shared();
                let mut all = self.open.borrow_mut();
                all.retain(|_, (_, spool)| spool.upgrade().is_some());
                all.extend(beginning.downgrade().map(|weak| (key, (open.offset, weak))));
                beginning
            }
        };
        let opened = spool.clone().await?;
        if open.offset > opened.size {
            return Err(FileError::Changed { path: open.path.clone() });
        }
        Ok(Reader { path: open.path.clone(), position: open.offset, spool: opened, _keeps: spool })
    }

    fn bytes(&self) -> u64 {
        let open = self.open.borrow();
        let sizes = open.values().filter_map(|(_, spool)| {
            let spool = spool.upgrade()?;
            spool.peek().and_then(|spool| spool.as_ref().ok().map(|spool| spool.size))
        });
        sizes.sum()
    }

    fn begin(&self, mut open: Open, asker: ContextId) -> Result<Opening, FileError> {
        let context = self.context.clone();
        let hop = next_hop(&context, open.holder());
        // Two that send each other on know less than they think.
        let hop = hop.filter(|hop| hop.context != asker);
        let hop = hop.ok_or_else(|| no_way(&open.path, open.holder))?;
        let room = MOST_BYTES.saturating_sub(self.bytes());
        open.piece = piece_of(&context) as u64;
        Ok(Box::pin(async move {
            let (path, base) = (open.path.clone(), open.offset);
            let pull = Pull::begin(&context, hop, open).await?;
            let (size, mode) = (pull.opened.size, pull.opened.mode);
            if size - base > room {
                return Err(FileError::Busy { by: context.id() });
            }
            let file = tempfile::tempfile().map_err(|error| spool_error(&path, error))?;
            let file = Arc::new(file);
            let (sender, have) = watch::channel(Have { bytes: base, written: base, end: None });
            let recent = Recent::default();
            let (filling, registration) = AbortHandle::new_pair();
            let filler = fill(pull, file.clone(), recent.clone(), base, path, sender);
            tokio::task::spawn_local(Abortable::new(filler, registration));
            Ok(Rc::new(Spool { base, size, mode, file, recent, have, filling }))
        }))
    }
}

fn spool_error(path: &Path, error: impl std::fmt::Display) -> FileError {
    let why = format!("a context on the way cannot keep what comes: {error}");
    FileError::Broken { path: path.to_owned(), why }
}

/// Writes what comes, and says how far it is.
async fn fill(
    pull: Pull,
    file: Arc<File>,
    recent: Recent,
    base: u64,
    path: PathBuf,
    have: watch::Sender<Have>,
) {
    let mut position = base;
    // One piece is written while the next one comes.
    let mut writing: Option<JoinHandle<std::io::Result<u64>>> = None;
    let written = async |writing: &mut Option<JoinHandle<std::io::Result<u64>>>| {
        let Some(before) = writing.take() else { return Ok(()) };
        let end = match before.await {
            Ok(Ok(end)) => end,
            Ok(Err(error)) => return Err(spool_error(&path, error)),
            Err(error) => return Err(spool_error(&path, error)),
        };
        have.send_modify(|have| have.written = end);
        Ok(())
    };
    let end = pull
        .run(async |piece: Bytes| {
            written(&mut writing).await?;
            let (file, at) = (file.clone(), position - base);
            {
                let mut recent = recent.borrow_mut();
                recent.push_back((position, piece.clone()));
                if recent.len() > WINDOW {
                    recent.pop_front();
                }
            }
            position += piece.len() as u64;
            let end = position;
            have.send_modify(|have| have.bytes = end);
            writing = Some(tokio::task::spawn_blocking(move || {
                file.write_all_at(&piece, at).map(|()| end)
            }));
            Ok(())
        })
        .await;
    let last = written(&mut writing).await;
    have.send_modify(|have| have.end = Some(last.and(end)));
}

/// One who reads a file on its way.
pub(super) struct Reader {
    path: PathBuf,
    position: u64,
    spool: Rc<Spool>,
    /// As long as somebody reads it, others may.
    _keeps: Shared<Opening>,
}

impl Reader {
    pub(super) fn size(&self) -> u64 {
        self.spool.size
    }

    pub(super) fn mode(&self) -> u32 {
        self.spool.mode
    }

    /// The next piece, of at most so many bytes, as soon as it has come; behind the last the hash of the whole.
    pub(super) async fn read(&mut self, most: usize) -> Result<(Bytes, Option<Hash>), FileError> {
        let until = self.spool.size.min(self.position + most as u64);
        let mut have = self.spool.have.clone();
        let is_last = until == self.spool.size;
        let enough = move |have: &Have| have.end.is_some() || (have.bytes >= until && !is_last);
        let now = match have.wait_for(enough).await {
            Ok(now) => now.clone(),
            Err(_) => return Err(spool_error(&self.path, "it has given up")),
        };
        let hash = match now.end {
            Some(Err(error)) if now.bytes < until || is_last => return Err(error),
            Some(Ok(hash)) if is_last => Some(hash),
            _ => None,
        };
        let len = usize::try_from(until - self.position).unwrap_or_default();
        let kept = {
            let recent = self.spool.recent.borrow();
            let is_next =
                |(from, piece): &&(u64, Bytes)| *from == self.position && piece.len() == len;
            recent.iter().find(is_next).map(|(_, piece)| piece.clone())
        };
        if let Some(piece) = kept {
            self.position = until;
            return Ok((piece, hash));
        }
        let written = |have: &Have| have.written >= until || matches!(have.end, Some(Err(_)));
        match have.wait_for(written).await.map(|have| have.end.clone()) {
            Ok(Some(Err(error))) => return Err(error),
            Ok(_) => {}
            Err(_) => return Err(spool_error(&self.path, "it has given up")),
        }
        let (file, at) = (self.spool.file.clone(), self.position - self.spool.base);
        let read = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; len];
            file.read_exact_at(&mut buffer, at).map(|()| Bytes::from(buffer))
        });
        let bytes = match read.await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => return Err(spool_error(&self.path, error)),
            Err(error) => return Err(spool_error(&self.path, error)),
        };
        self.position = until;
        Ok((bytes, hash))
    }
}
