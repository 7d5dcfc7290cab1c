//! What somebody in this context wants to know of the mesh: whose a name is, once it is somebody's, and who is in a group.

use std::{collections::BTreeMap, sync::Arc};

use actix::{
    ActorFutureExt, AsyncContext, Context as ActixContext, Handler, ResponseActFuture, WrapFuture,
};
use actogen_runtime::core::Address;
use tokio::sync::oneshot;

use super::{
    actor::Directory,
    asks::{Ask, Here, Hold, Resolve},
    top::{DirectoryError, Known},
    view::View,
};

/// The most that wait here for one name, or for the members of one group.
const MOST_WAITING: usize = 1024;

type Waiter = oneshot::Sender<Result<Arc<View>, DirectoryError>>;

/// A group that is held here.
struct Held {
    view: Arc<View>,
    kind: String,
    /// Those who wait for its members; `None` once they are known.
    waiting: Option<Vec<Waiter>>,
}

#[derive(Default)]
pub(super) struct Wishes {
    held: BTreeMap<String, Held>,
    waiting: BTreeMap<String, Vec<oneshot::Sender<Known>>>,
}

impl Wishes {
    /// All that the top must know.
    pub(super) fn asks(&self) -> impl Iterator<Item = Ask> {
        let holds = self
            .held
            .iter()
            .map(|(group, held)| Ask::Hold { group: group.clone(), kind: held.kind.clone() });
        let waits = self.waiting.keys().map(|name| Ask::Resolve { name: name.clone(), wait: true });
        holds.chain(waits)
    }

    /// Groups that are held, and names that somebody waits for.
    pub(super) fn count(&self) -> usize {
        self.held.len() + self.waiting.len()
    }

    /// Whether what was asked for is so still.
    pub(super) fn mean(&self, ask: &Ask) -> bool {
        match ask {
            Ask::Hold { group, .. } => self.held.contains_key(group),
            Ask::LetGo { group } => !self.held.contains_key(group),
            Ask::Resolve { name, .. } => self.waiting.contains_key(name),
            Ask::Forget { name } => !self.waiting.contains_key(name),
            _ => true,
        }
    }

    pub(super) fn whole(&mut self, group: &str, members: &[Address]) {
        let Some(held) = self.held.get_mut(group) else { return };
        held.view.replace(members);
        for waiter in held.waiting.take().unwrap_or_default() {
            // Whoever has given up waiting needs no word.
            let _ = waiter.send(Ok(held.view.clone()));
        }
    }

    /// A group cannot be held any more: who waits for it is told. Those who hold it keep what was known last.
    pub(super) fn refused(&mut self, group: &str, error: &DirectoryError) {
        tracing::warn!(group, "a group is known no more: {error}");
        let held = self.held.remove(group);
        for waiter in held.and_then(|held| held.waiting).unwrap_or_default() {
            // Whoever has given up waiting needs no word.
            let _ = waiter.send(Err(error.clone()));
        }
    }

    pub(super) fn changed(&self, group: &str, joined: &[Address], left: &[Address]) {
        if let Some(held) = self.held.get(group) {
            held.view.change(joined, left);
        }
    }

    pub(super) fn appeared(&mut self, name: &str, known: &Known) {
        for waiter in self.waiting.remove(name).unwrap_or_default() {
            let _ = waiter.send(known.clone());
        }
    }

    /// Lets go of groups that nobody holds here any more, and of names that nobody waits for; gives what the top must know of that.
    pub(super) fn tidy(&mut self) -> Vec<Ask> {
        let mut asks = Vec::new();
        self.waiting.retain(|name, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.is_empty() {
                asks.push(Ask::Forget { name: name.clone() });
            }
            !waiters.is_empty()
        });
        self.held.retain(|group, held| {
            let awaited = held.waiting.as_mut().is_some_and(|waiting| {
                waiting.retain(|waiter| !waiter.is_closed());
                !waiting.is_empty()
            });
            let is_held = awaited || Arc::strong_count(&held.view) > 1;
            if !is_held {
                asks.push(Ask::LetGo { group: group.clone() });
            }
            is_held
        });
        asks
    }
}

impl Handler<Resolve> for Directory {
    type Result = ResponseActFuture<Self, Result<Known, DirectoryError>>;

    fn handle(&mut self, resolve: Resolve, ctx: &mut ActixContext<Self>) -> Self::Result {
        self.catch_up(ctx);
        let Resolve { name, within, .. } = resolve;
        let Some(within) = within else {
            let asked = self.ask(Ask::Resolve { name: name.clone(), wait: false });
            return Box::pin(asked.map(|answer, _, _| {
                answer.and_then(|known| known.ok_or(DirectoryError::Unknown(name)))
            }));
        };
        self.tidy(ctx);
        let waiting = self.wishes.waiting.entry(name.clone()).or_default();
        if waiting.len() >= MOST_WAITING {
            return Box::pin(async { Err(DirectoryError::Full) }.into_actor(self));
        }
        let (waiter, appears) = oneshot::channel();
        waiting.push(waiter);
        self.repeat(Ask::Resolve { name: name.clone(), wait: true }, ctx);
        // An answer under way stands until it is there, whether or not somebody still waits for it: so it ends with the asker's time. The next
        // one who asks, or is told, finds the closed channel.
        let appears = async move {
            match tokio::time::timeout(within, appears).await {
                Ok(Ok(known)) => Ok(known),
                Ok(Err(_)) | Err(_) => Err(DirectoryError::Unknown(name)),
            }
        };
        Box::pin(appears.into_actor(self))
    }
}

impl Handler<Hold> for Directory {
    type Result = ResponseActFuture<Self, Result<Here<Arc<View>>, DirectoryError>>;

    fn handle(&mut self, hold: Hold, ctx: &mut ActixContext<Self>) -> Self::Result {
        self.catch_up(ctx);
        self.tidy(ctx);
        let Hold { group, kind, .. } = hold;
        let (waiter, known) = oneshot::channel();
        let is_new = !self.wishes.held.contains_key(&group);
        let held = self.wishes.held.entry(group.clone()).or_insert_with(|| Held {
            view: Arc::default(),
            kind: kind.clone(),
            waiting: Some(Vec::new()),
        });
        if held.kind != kind {
            let error =
                DirectoryError::OtherKind { name: group, kind: held.kind.clone(), asked: kind };
            return Box::pin(async move { Err(error) }.into_actor(self));
        }
        match &mut held.waiting {
            Some(waiting) if waiting.len() >= MOST_WAITING => {
                return Box::pin(async { Err(DirectoryError::Full) }.into_actor(self));
            }
            Some(waiting) => waiting.push(waiter),
            None => drop(waiter.send(Ok(held.view.clone()))),
        }
        if is_new {
            let (asked, above) = (self.ask(Ask::Hold { group: group.clone(), kind }), self.above);
            ctx.spawn(asked.map(move |answer, me: &mut Self, ctx| {
                let Err(error) = answer else { return };
                if me.above != above {
                    // The new top has been asked.
                    return;
                }
                me.wishes.refused(&group, &error);
                if matches!(error, DirectoryError::Dead(_)) {
                    // It may have been heard.
                    me.repeat(Ask::LetGo { group }, ctx);
                }
            }));
        }
        let gone = || DirectoryError::Dead("the directory has ended".to_owned());
        Box::pin(
            async move { known.await.unwrap_or_else(|_| Err(gone())).map(Here) }.into_actor(self),
        )
    }
}
