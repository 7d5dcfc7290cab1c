//! The actor by which a recorder is reached.

use std::{cell::Cell, fmt, rc::Rc, time::Duration};

use actix::{Actor, Handler, ResponseFuture};
use actogen_runtime::core::{ContextId, policy::Policy};

use super::{Archive, ReplayAsk, ReplayCursor, ReplayPage, ReplayRefusal};
use crate::{
    Inbound, RemoteActor,
    address::Remote,
    context::Context,
    directory::DirectoryError,
    publish::{policy::PublishPolicy, record::Record},
};

/// So many pages are read at a time; each is of about 1 MiB.
const MOST_READING: u64 = 32;

/// How long until a name that is still another's is claimed again.
const CLAIM_AGAIN: Duration = Duration::from_millis(100);

/// The name of the whole mesh under which a recorder is found.
pub(super) fn claimed(name: &str) -> String {
    format!("actogen.recorder/{name}")
}

/// The actor that replays what a recorder has kept; see [`Context::serve_replays`].
#[derive(RemoteActor)]
#[remote(name = "actogen.replays", inbound(ReplayAsk), crate = crate)]
pub struct Replays {
    archive: Rc<dyn Archive>,
    readers: Option<Rc<PublishPolicy>>,
    reading: Rc<Cell<u64>>,
}

impl fmt::Debug for Replays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replays").field("reading", &self.reading).finish_non_exhaustive()
    }
}

impl Actor for Replays {
    type Context = actix::Context<Self>;
}

/// One that reads.
struct Reading(Rc<Cell<u64>>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Handler<Inbound<ReplayAsk>> for Replays {
    type Result = ResponseFuture<Result<ReplayPage, ReplayRefusal>>;

    fn handle(&mut self, ask: Inbound<ReplayAsk>, _: &mut Self::Context) -> Self::Result {
        let Inbound { message: ask, origin } = ask;
        let early = match &ask.cursor {
            Some(ReplayCursor::At { early, .. }) => early.len(),
            _ => 0,
        };
        let refused = if !ask.range.is_bounded() || early > super::MOST_EARLY {
            Some(ReplayRefusal::Range)
        } else if self.reading.get() >= MOST_READING {
            Some(ReplayRefusal::Busy(self.reading.get()))
        } else {
            None
        };
        if let Some(refusal) = refused {
            return Box::pin(std::future::ready(Err(refusal)));
        }
        self.reading.set(self.reading.get() + 1);
        let reading = Reading(self.reading.clone());
        let (page, readers) = (self.archive.page(ask), self.readers.clone());
        Box::pin(async move {
            let mut page = page.await?;
            if let Some(readers) = readers {
                withhold(&mut page, &readers, origin.source);
            }
            drop(reading);
            Ok(page)
        })
    }
}

/// Takes out what a reader may not have.
fn withhold(page: &mut ReplayPage, readers: &PublishPolicy, reader: ContextId) {
    let before = page.records.len();
    page.records.retain(|paged| {
        Record::from_bytes(&paged.record)
            .is_ok_and(|record| readers.lets(reader, &[], record.topic()))
    });
    page.withheld += (before - page.records.len()) as u64;
}

impl Context {
    /// Lets others in the mesh replay what a recorder has kept, by its actor's address, and by this name as long as the actor lives and nobody else has
    /// it. With a policy, a message is replayed only for contexts that might publish under its topic by that; names do not count in it.
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub fn serve_replays(
        &self,
        name: &str,
        archive: impl Archive,
        readers: Option<PublishPolicy>,
    ) -> Remote<Replays> {
        let (archive, readers) = (Rc::new(archive), readers.map(Rc::new));
        let replays =
            self.start_with(Replays { archive, readers, reading: Rc::default() }, Policy::Anyone);
        let (context, actor, name) = (self.clone(), replays.clone(), claimed(name));
        let ends = self.watch(&replays);
        tokio::task::spawn_local(async move {
            tokio::select! {
                _ = ends => {}
                () = keep_name(&context, &actor, &name) => {}
            }
        });
        replays
    }
}

/// Has the name given to the actor, and again when it is lost: a predecessor that was killed has it until that is known.
async fn keep_name(context: &Context, actor: &Remote<Replays>, name: &str) {
    loop {
        match context.claim(name, actor).await {
            Ok(mut claim) => drop(claim.lost().await),
            Err(DirectoryError::BadName(_) | DirectoryError::Ended(_)) => return,
            Err(_) => {}
        }
        tokio::time::sleep(CLAIM_AGAIN).await;
    }
}
