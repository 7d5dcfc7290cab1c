//! The file service: what a context offers, and the transfers that it takes part in.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use actogen_runtime::{
    Place,
    core::{
        ContextId, Incarnation,
        policy::{Origin, has_parent_authority},
    },
    events::ContextEvent,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, task::JoinHandle, time::Instant};

use super::{
    Answer, Fetched, FileError, PIECE, Progress,
    offered::Offered,
    source::{Hash, Source},
    spool::{Reader, Spools},
};
use crate::{blob::Blob, channel::Sender, context::Context, service::Service};

/// Transfers that one context may have from this one at once, and all of them together.
const MOST_OF_ONE: usize = 64;
const MOST: usize = 1024;

/// How long a transfer may rest before another may take its place.
const REST: Duration = Duration::from_secs(120);

/// What a piece's message holds beside its bytes, generously.
const AROUND_A_PIECE: usize = 256;

/// Asks for a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[doc(hidden)]
pub struct Open {
    pub(super) holder: ContextId,
    pub(super) incarnation: Incarnation,
    pub(super) path: PathBuf,
    /// Bytes that the asker has.
    pub(super) offset: u64,
    /// The most bytes that it takes at once.
    pub(super) piece: u64,
    /// On the asker's own authority, which may reach further than what is offered.
    pub(super) all: bool,
}

impl Open {
    pub(super) fn holder(&self) -> Place {
        Place { context: self.holder, incarnation: self.incarnation }
    }
}

/// A transfer that has begun.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[doc(hidden)]
pub struct Opened {
    pub(super) session: u64,
    /// Of the whole file, in bytes.
    pub(super) size: u64,
    pub(super) mode: u32,
    /// Bytes of each piece but the last.
    pub(super) piece: u64,
}

/// A part of a file.
#[derive(Debug, Serialize, Deserialize)]
#[doc(hidden)]
pub struct Piece {
    pub(super) bytes: Blob,
    /// Of the whole file, with the last piece.
    pub(super) hash: Option<Hash>,
}

/// What another context is told to fetch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Order {
    /// The context that has the file.
    pub holder: Place,
    /// Its path there.
    pub path: PathBuf,
    /// Where it is written.
    pub to: PathBuf,
    /// Goes on where an earlier try ended, and leaves what has come for another.
    pub resume: bool,
    /// Where word of the progress goes.
    pub progress: Option<Sender<Progress>>,
}

impl Order {
    /// To fetch a file and write it there.
    pub fn new(holder: Place, path: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Self {
        Self { holder, path: path.into(), to: to.into(), resume: false, progress: None }
    }
}

/// The largest piece that may travel to or from a context.
pub(super) fn piece_of(context: &Context) -> usize {
    PIECE.min(context.max_message().saturating_sub(AROUND_A_PIECE)).max(1)
}

/// Offers files to others, and takes part in their way through the tree; every context has one. See [`FilesCalls`].
pub struct Files {
    context: Context,
    offered: RefCell<Offered>,
    sessions: Rc<Sessions>,
    spools: Spools,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("sessions", &self.sessions.0.borrow().len()).finish()
    }
}

/// Transfers under way, by number.
#[derive(Default)]
struct Sessions(RefCell<BTreeMap<u64, Session>>);

struct Session {
    by: ContextId,
    piece: usize,
    used: Cell<Instant>,
    reading: Rc<Mutex<Reading>>,
}

/// A piece, and with the last the hash of the whole.
type ReadPiece = Result<(Bytes, Option<Hash>), FileError>;

/// A file that is read one piece ahead of whoever asks.
struct Ahead(Option<JoinHandle<(ReadPiece, Source)>>);

impl Ahead {
    fn of(source: Source, most: usize) -> Self {
        Self(Some(Self::read(source, most)))
    }

    fn read(mut source: Source, most: usize) -> JoinHandle<(ReadPiece, Source)> {
        tokio::task::spawn_blocking(move || (source.read(most), source))
    }

    /// The next piece; the one behind it is begun. When whoever asks gives up while it is read, the transfer is over.
    async fn next(&mut self, most: usize) -> crate::Result<ReadPiece> {
        let reading = self.0.take().ok_or("an earlier piece was given up")?;
        let (piece, source) = reading.await?;
        if matches!(piece, Ok((_, None))) {
            self.0 = Some(Self::read(source, most));
        }
        Ok(piece)
    }
}

/// Where the pieces of a transfer come from.
enum Reading {
    /// From a file of this context, of which one piece is read while the one before is sent.
    Own(Ahead),
    /// From what is on its way through.
    Passing(Reader),
}

impl Sessions {
    /// Room for one more.
    fn admit(&self, by: ContextId, me: ContextId) -> Result<(), FileError> {
        let mut all = self.0.borrow_mut();
        let is_full = |all: &BTreeMap<u64, Session>| {
            all.len() >= MOST
                || all.values().filter(|session| session.by == by).count() >= MOST_OF_ONE
        };
        if is_full(&all) {
            all.retain(|_, session| session.used.get().elapsed() < REST);
        }
        if is_full(&all) { Err(FileError::Busy { by: me }) } else { Ok(()) }
    }
}

impl Service for Files {
    async fn start(context: Context) -> crate::Result<Self> {
        let sessions = Rc::<Sessions>::default();
        let (of_lost, mut events) = (Rc::downgrade(&sessions), context.events());
        tokio::task::spawn_local(async move {
            while let Some(event) = events.next().await {
                let Some(sessions) = of_lost.upgrade() else { return };
                if let Ok(ContextEvent::Down { context, .. }) = event {
                    sessions.0.borrow_mut().retain(|_, session| session.by != context);
                }
            }
        });
        let spools = Spools::of(&context);
        Ok(Self { context, offered: RefCell::default(), sessions, spools })
    }
}

#[crate::service(name = "actogen.Files", start = anyone, crate = crate)]
impl Files {
    /// Offers a file: every context of the mesh may fetch it.
    #[method(policy = parent_authority)]
    fn register(&self, path: PathBuf) -> crate::Result<()> {
        Ok(self.offered.borrow_mut().add_file(path)?)
    }

    /// Offers all files in and below a folder.
    #[method(policy = parent_authority)]
    fn register_folder(&self, path: PathBuf) -> crate::Result<()> {
        Ok(self.offered.borrow_mut().add_folder(path)?)
    }

    /// Offers a file or folder no longer; transfers that have begun go on. Gives whether it was offered.
    #[method(policy = parent_authority)]
    fn unregister(&self, path: PathBuf) -> bool {
        self.offered.borrow_mut().remove(&path)
    }

    /// Fetches a file to the machine of this context.
    #[method(policy = parent_authority)]
    async fn fetch(&self, order: Order) -> crate::Result<Fetched> {
        Ok(self.fetch_as_told(order).await?)
    }

    #[doc(hidden)]
    #[method(policy = parent_authority)]
    async fn fetch_told(&self, order: Order) -> Answer<Fetched> {
        self.fetch_as_told(order).await.into()
    }

    /// How many transfers are under way from here, and how many files are on their way through.
    #[method(policy = parent_authority)]
    fn under_way(&self) -> (u64, u64) {
        (self.sessions.0.borrow().len() as u64, self.spools.len() as u64)
    }

    #[doc(hidden)]
    #[method(policy = only_self)]
    fn register_alias(&self, alias: PathBuf, path: PathBuf) {
        self.offered.borrow_mut().add_alias(alias, path);
    }

    #[doc(hidden)]
    #[method(policy = anyone)]
    async fn open(&self, origin: Origin, open: Open) -> Answer<Opened> {
        self.open_for(origin, open).await.into()
    }

    #[doc(hidden)]
    #[method(policy = anyone)]
    async fn read(&self, origin: Origin, session: u64) -> crate::Result<Answer<Piece>> {
        let found = {
            let all = self.sessions.0.borrow();
            let own = all.get(&session).filter(|session| session.by == origin.source);
            own.map(|session| {
                session.used.set(Instant::now());
                (session.reading.clone(), session.piece)
            })
        };
        let (reading, most) = found.ok_or("there is no such transfer, or it is over")?;
        let piece = match &mut *reading.lock().await {
            Reading::Own(ahead) => ahead.next(most).await?,
            Reading::Passing(reader) => reader.read(most).await,
        };
        let goes_on = matches!(&piece, Ok((_, None)));
        if !goes_on {
            self.sessions.0.borrow_mut().remove(&session);
        }
        Ok(piece.map(|(bytes, hash)| Piece { bytes: Blob(bytes), hash }).into())
    }

    #[doc(hidden)]
    #[method(policy = anyone)]
    fn close(&self, origin: Origin, session: u64) {
        let mut all = self.sessions.0.borrow_mut();
        if all.get(&session).is_some_and(|session| session.by == origin.source) {
            all.remove(&session);
        }
    }
}

impl Files {
    async fn fetch_as_told(&self, order: Order) -> Result<Fetched, FileError> {
        let Order { holder, path, to, resume, progress } = order;
        let mut fetch = self.context.fetch(holder, path).resume(resume);
        if let Some(progress) = progress {
            fetch = fetch.progress(move |now| {
                // One that finds no room is followed by another.
                let _ = progress.try_send(now);
            });
        }
        fetch.to(to).await
    }

    async fn open_for(&self, origin: Origin, mut open: Open) -> Result<Opened, FileError> {
        self.sessions.admit(origin.source, self.context.id())?;
        let piece = piece_of(&self.context).min(usize::try_from(open.piece).unwrap_or(usize::MAX));
        let piece = piece.max(1);
        // What the asker may not, nobody may for it.
        open.all &= has_parent_authority(&origin, &self.context.family());
        let (reading, size, mode) = if open.holder == self.context.id() {
            let path = self.offered.borrow().resolve(&open.path, open.all)?;
            let opening =
                tokio::task::spawn_blocking(move || Source::open(&path, &open.path, open.offset));
            let source =
                opening.await.map_err(|error| FileError::unreadable(Path::new("?"), error))??;
            let (size, mode) = (source.size(), source.mode());
            (Reading::Own(Ahead::of(source, piece)), size, mode)
        } else {
            let reader = self.spools.reader(&open, origin.source).await?;
            let (size, mode) = (reader.size(), reader.mode());
            (Reading::Passing(reader), size, mode)
        };
        // Others may have come while this one waited.
        self.sessions.admit(origin.source, self.context.id())?;
        let number = self.context.fresh_number();
        let session = Session {
            by: origin.source,
            piece,
            used: Cell::new(Instant::now()),
            reading: Rc::new(Mutex::new(reading)),
        };
        self.sessions.0.borrow_mut().insert(number, session);
        Ok(Opened { session: number, size, mode, piece: piece as u64 })
    }
}

/// Offers a file to the tree for as long as another context fetches it.
pub(super) async fn send(
    context: &Context,
    to: Place,
    path: &Path,
    there: PathBuf,
) -> Result<Fetched, FileError> {
    let absolute = std::path::absolute(path).map_err(|error| FileError::unreadable(path, error))?;
    let alias = PathBuf::from(format!("/actogen/sent/{:016x}", context.fresh_number()));
    let own = context.service::<Files>();
    let broken = |error| FileError::broken(path, &error);
    let lent = own.register_alias(alias.clone(), absolute.clone()).await;
    lent.map_err(broken)?;
    let _taken_back = TakenBack { context: context.clone(), alias: alias.clone() };
    let order = Order::new(context.place(), alias.clone(), there);
    let fetching = context.service_in::<Files>(to).fetch_told(order);
    // However long it takes: each piece has its limit.
    let fetched = fetching.within(Duration::MAX / 4).await.map_err(broken)?.into_result();
    fetched.map_err(|error| error.named(&alias, &absolute))
}

/// A name that is taken back, also when whoever sends gives up.
struct TakenBack {
    context: Context,
    alias: PathBuf,
}

impl Drop for TakenBack {
    fn drop(&mut self) {
        let call = self.context.service::<Files>().unregister(std::mem::take(&mut self.alias));
        tokio::task::spawn_local(async move { drop(call.await) });
    }
}

impl FileError {
    /// The same error with the name that its reader knows the file by.
    fn named(mut self, alias: &Path, path: &Path) -> Self {
        match &mut self {
            Self::NotOffered { path: named }
            | Self::BadPath { path: named }
            | Self::Unreadable { path: named, .. }
            | Self::Changed { path: named }
            | Self::Damaged { path: named }
            | Self::Broken { path: named, .. }
                if named == alias =>
            {
                path.clone_into(named);
            }
            _ => {}
        }
        self
    }
}
