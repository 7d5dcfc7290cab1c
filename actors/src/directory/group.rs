//! Groups: actors of one kind, anywhere in the mesh, that are sent to together or by turns.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use actix::Message;
use tokio::sync::broadcast;

use super::{
    asks::{Here, Hold, What},
    dead,
    top::{DirectoryError, Known},
    view::{Choice, GroupEvent, Outstanding, View},
};
use crate::{
    actor::RemoteActor,
    address::Remote,
    context::Context,
    message::{MessageOf, RemoteMessage},
    send::Request,
    send_error::SendError,
};

/// A group as its context knows it: what it says of members is as of the last word from the top of the tree. A cheap handle; the group is held
/// as long as one of them is.
pub struct Group<A> {
    context: Context,
    name: String,
    view: Arc<View>,
    _actor: PhantomData<fn() -> A>,
}

impl<A> Clone for Group<A> {
    fn clone(&self) -> Self {
        Self {
            context: self.context.clone(),
            name: self.name.clone(),
            view: self.view.clone(),
            _actor: PhantomData,
        }
    }
}

impl<A> fmt::Debug for Group<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Context {
    /// Holds a group of the whole mesh, with or without members.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn group<A: RemoteActor>(&self, name: &str) -> Result<Group<A>, DirectoryError> {
        let hold = Hold { group: name.to_owned(), kind: A::NAME.to_owned(), here: Here(()) };
        let Here(view) = self.directory().send(hold).await.map_err(dead)??;
        Ok(Group { context: self.clone(), name: name.to_owned(), view, _actor: PhantomData })
    }
}

impl<A: RemoteActor> Group<A> {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes an actor of this context a member, until it leaves, ends, or is lost with its context. A member twice is one once.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn join(&self, actor: &Remote<A>) -> Result<(), DirectoryError> {
        let member = Known { address: actor.address(), kind: A::NAME.to_owned() };
        self.context.change(What::Join { group: self.name.clone(), member }).await
    }

    /// Makes it none any more.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn leave(&self, actor: &Remote<A>) -> Result<(), DirectoryError> {
        let (group, member) = (self.name.clone(), actor.address());
        self.context.change(What::Leave { group, member }).await
    }

    /// The members, in the order of their addresses.
    pub fn members(&self) -> Vec<Remote<A>> {
        self.view.members().into_iter().map(|member| self.context.remote(member)).collect()
    }

    /// The members that come and go, from now on.
    pub fn events(&self) -> GroupEvents {
        GroupEvents(self.view.subscribe())
    }

    /// Sends to every member, without waiting for room; gives how many it was posted to. Whom it does not reach is a dead letter each.
    pub fn broadcast<M: MessageOf<A> + Clone>(&self, message: M) -> usize {
        let members = self.members();
        members.iter().filter(|member| member.try_send(message.clone()).is_ok()).count()
    }

    /// Chooses one of the members; `None` when there is none.
    pub fn pick(&self, choice: Choice<'_>) -> Option<Remote<A>> {
        let chance = if choice == Choice::RoundRobin { 0 } else { self.context.fresh_number() };
        self.view.choose(choice, chance).map(|member| self.context.remote(member))
    }

    /// Sends a request to one of the members.
    ///
    /// # Errors
    /// The message, when there is no member.
    pub fn send<M: MessageOf<A>>(
        &self,
        choice: Choice<'_>,
        message: M,
    ) -> Result<GroupRequest<M>, M> {
        let Some(member) = self.pick(choice) else { return Err(message) };
        let outstanding = self.view.begin(member.address());
        Ok(GroupRequest { request: member.send(message), _outstanding: outstanding })
    }
}

/// A request to a member of a group; counts as outstanding until it is answered or dropped.
#[must_use = "a request does nothing more once it is dropped"]
pub struct GroupRequest<M: RemoteMessage> {
    request: Request<M>,
    _outstanding: Outstanding,
}

impl<M: RemoteMessage> fmt::Debug for GroupRequest<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupRequest").finish_non_exhaustive()
    }
}

impl<M: RemoteMessage> Future for GroupRequest<M>
where
    Request<M>: Future<Output = Result<<M as Message>::Result, SendError<M>>> + Unpin,
{
    type Output = Result<<M as Message>::Result, SendError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.request).poll(cx)
    }
}

/// Members that come and go.
#[derive(Debug)]
pub struct GroupEvents(broadcast::Receiver<GroupEvent>);

impl GroupEvents {
    /// The next one; `Err` with a number when so many were dropped because nobody took them, `None` when nobody holds the group here any more.
    pub async fn next(&mut self) -> Option<Result<GroupEvent, u64>> {
        match self.0.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Lagged(dropped)) => Some(Err(dropped)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
