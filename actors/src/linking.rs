//! Links: actors that end together. When one of the two fails, so does the other; one that ends normally takes nobody with it.

use std::collections::HashMap;

use actogen_runtime::{
    Ended, Place,
    core::{Address, ContextId, Handle},
    mailbox::StopReason,
};
use tokio::task::AbortHandle;

use crate::{
    actor::RemoteActor,
    address::Remote,
    context::Context,
    message::Codec,
    nursery::{Answer, Ask},
};

/// Two actors that end together; see [`Context::link`]. Dropping this changes nothing.
#[derive(Debug)]
pub struct Link {
    context: Context,
    near: AbortHandle,
    far: Far,
}

/// The other direction.
#[derive(Debug)]
enum Far {
    Here(AbortHandle),
    There { place: Place, number: u64 },
}

/// Why two actors could not be linked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The first of the two lives elsewhere.
    #[error("the actor is one of {0}: link it from there, or the other way round")]
    NotHere(ContextId),
    /// The context of the other did not do its part; its text.
    #[error("{context} does not link its actor: {why}")]
    Refused {
        /// The context.
        context: ContextId,
        /// What it says, or why it could not be asked.
        why: String,
    },
}

impl Link {
    /// Has both live on their own again.
    pub async fn unlink(self) {
        self.near.abort();
        match self.far {
            Far::Here(far) => far.abort(),
            Far::There { place, number } => {
                if let Ok(body) = Codec::Postcard.encode(&Ask::Unlink { number }) {
                    // If its context is lost, so is the link.
                    let _ = self.context.ask(place.address(Handle::SPAWN), &body).await;
                }
            }
        }
    }
}

impl Context {
    /// Has an actor of this context and another one, here or in a context below this one, end together: when one fails (an error, a panic, a
    /// kill, the loss of its context) the other ends with an error that says so. An actor that has failed before counts.
    ///
    /// # Errors
    /// [`LinkError`]; nothing is linked then.
    pub async fn link<A: RemoteActor, B: RemoteActor>(
        &self,
        near: &Remote<A>,
        other: &Remote<B>,
    ) -> Result<Link, LinkError> {
        if near.context_id() != self.id() {
            return Err(LinkError::NotHere(near.context_id()));
        }
        let far = if other.context_id() == self.id() {
            Far::Here(self.follow(other.address(), near.address()))
        } else {
            let Address { context, incarnation, handle } = other.address();
            let (place, number) = (Place { context, incarnation }, self.fresh_number());
            let ask = Ask::Link { follower: handle, leader: near.address(), number };
            let refused = |why: String| LinkError::Refused { context, why };
            let body = Codec::Postcard.encode(&ask).map_err(|error| refused(error.to_string()))?;
            let answer = self.ask(place.address(Handle::SPAWN), &body).await;
            let answer = answer.map_err(|dead| refused(dead.to_string()))?;
            let answer: Answer =
                Codec::Postcard.decode(&answer).map_err(|error| refused(error.to_string()))?;
            answer.map_err(refused)?;
            Far::There { place, number }
        };
        Ok(Link { context: self.clone(), near: self.follow(near.address(), other.address()), far })
    }

    /// Ends an actor of this context when another one fails, until the task is given up or the follower has ended.
    pub(crate) fn follow(&self, follower: Address, leader: Address) -> AbortHandle {
        let (leads, follows) = (self.watch_address(leader), self.watch_address(follower));
        let context = self.clone();
        let following = async move {
            let ended = tokio::select! {
                ended = leads => ended,
                _ = follows => return,
            };
            if ended != Ended::Stopped(StopReason::Normal) {
                let why = format!("linked to {leader}, which was lost: {ended}");
                context.stop_address(follower, StopReason::Error(why));
            }
        };
        tokio::task::spawn_local(following).abort_handle()
    }
}

/// Links that were asked for from elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Followers(HashMap<(ContextId, u64), AbortHandle>);

/// Links that may be kept for others.
const MOST: usize = 100_000;

impl Followers {
    pub(crate) fn add(
        &mut self,
        key: (ContextId, u64),
        context: &Context,
        follower: Handle,
        leader: Address,
    ) -> Answer {
        let followers = &mut self.0;
        // Those that are over are forgotten now and then.
        if followers.len().is_power_of_two() || followers.len() >= MOST {
            followers.retain(|_, following| !following.is_finished());
        }
        if followers.len() >= MOST {
            return Err(format!("{MOST} links are kept already"));
        }
        // Whoever asks again under the same number means the same link.
        if let Some(before) = followers.remove(&key) {
            before.abort();
        }
        if context.mailbox(follower).is_none() {
            return Err("there is no such actor".to_owned());
        }
        followers.insert(key, context.follow(context.address(follower), leader));
        Ok(follower)
    }

    pub(crate) fn remove(&mut self, key: (ContextId, u64)) {
        if let Some(following) = self.0.remove(&key) {
            following.abort();
        }
    }
}
