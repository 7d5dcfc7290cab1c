//! Who becomes whose parent: a context that dials its parent, or waits for the root to dial it, or both at once.
//!
//! When both dial at once, the dial of the lower id stands: the root's. The root refuses the other's with `Simultaneous`, and the
//! other waits for the root's dial; if that has not opened within a second, it dials again (protocol rule 11).

use std::{sync::Arc, time::Duration};

use actogen_core::{
    ContextId, Dead, Incarnation, Limits,
    wire::control::{Role, Welcome},
};

use crate::{
    broker,
    builder::StartError,
    builtin::Place,
    context::Context,
    opening::{self, OpenError, Opened},
    transport::{DialError, Incoming, Transport},
};

/// How long the dial that does not stand waits for the one that does.
const SIMULTANEOUS_WAIT: Duration = Duration::from_secs(1);

/// How a context finds its parent.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParentChoice {
    pub(crate) dial: Option<(String, Option<ContextId>)>,
    pub(crate) wait: Option<Duration>,
}

impl ParentChoice {
    pub(crate) fn is_none(&self) -> bool {
        self.dial.is_none() && self.wait.is_none()
    }
}

/// Gives a context its place: the link to its parent, and what the parent grants.
pub(crate) async fn find_parent(
    transport: &Arc<dyn Transport>,
    limits: &Limits,
    me: ContextId,
    incarnation: Option<Incarnation>,
    choice: &ParentChoice,
) -> Result<(Opened, Welcome), StartError> {
    let dial = async {
        let Some((endpoint, expect)) = &choice.dial else { return std::future::pending().await };
        dial_parent(transport, limits, me, incarnation, endpoint, *expect, choice.wait.is_some())
            .await
    };
    let wait = async {
        let Some(within) = choice.wait else { return std::future::pending().await };
        match tokio::time::timeout(within, wait_for_parent(transport, limits, me)).await {
            Ok(found) => found,
            Err(_) => Err(StartError::NoParentCame(within)),
        }
    };
    tokio::select! {
        found = dial => found,
        found = wait => found,
    }
}

async fn dial_parent(
    transport: &Arc<dyn Transport>,
    limits: &Limits,
    me: ContextId,
    incarnation: Option<Incarnation>,
    endpoint: &str,
    expect: Option<ContextId>,
    waits_too: bool,
) -> Result<(Opened, Welcome), StartError> {
    let failed = |why: String| StartError::Join { endpoint: endpoint.to_owned(), why };
    let once = async || {
        let link = transport.dial(endpoint.to_owned(), expect).await?;
        let hello = opening::hello(me, incarnation, Role::Child, limits.max_message);
        Ok::<_, StartError>(opening::dial(link, &hello).await)
    };
    loop {
        match tokio::time::timeout(limits.handshake_time, once()).await {
            Err(_) => {
                return Err(failed(format!(
                    "it did not answer within {:?}",
                    limits.handshake_time
                )));
            }
            Ok(Err(error)) => return Err(error),
            Ok(Ok(Ok(found))) => return Ok(found),
            // Beside this, the parent's own dial is being waited for.
            Ok(Ok(Err(OpenError::Simultaneous))) if waits_too => {
                tokio::time::sleep(SIMULTANEOUS_WAIT).await
            }
            Ok(Ok(Err(error))) => return Err(failed(error.to_string())),
        }
    }
}

async fn wait_for_parent(
    transport: &Arc<dyn Transport>,
    limits: &Limits,
    me: ContextId,
) -> Result<(Opened, Welcome), StartError> {
    while let Some(incoming) = transport.accept().await {
        let Incoming::Link(link) = incoming else { continue };
        let (peer, remote) = (link.peer, link.remote.clone());
        let opening = opening::accept_parent(link, me, limits.max_message);
        match tokio::time::timeout(limits.handshake_time, opening).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => {
                tracing::warn!(context = %me, %peer, remote, "not taken as a parent: {error}")
            }
            Err(_) => tracing::warn!(context = %me, %peer, remote, "a link did not open in time"),
        }
    }
    Err(StartError::Dial(DialError::Closed))
}

/// Why a waiting context could not be adopted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// Only the root adopts.
    #[error("{0} is not the root: only the root dials contexts to be their parent")]
    NotRoot(ContextId),
    /// It could not be dialled.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The root's authority could not give it a life.
    #[error("{0}")]
    Dead(Dead),
    /// It did not take the root as its parent.
    #[error(
        "{context} did not take the root as its parent: {why}. Does it wait for one (`await_parent`)?"
    )]
    Refused {
        /// The context.
        context: ContextId,
        /// Its text.
        why: String,
    },
    /// It was dialled and has not announced itself in time.
    #[error("{context} did not attach within {within:?}")]
    Timeout {
        /// The context.
        context: ContextId,
        /// The limit.
        within: Duration,
    },
}

impl Context {
    /// Dials a context that waits for its parent ([`crate::Builder::await_parent`]) and becomes its parent. Only the root does.
    ///
    /// When the context dials the root at the same moment, one link comes of it, and this returns as soon as it stands.
    ///
    /// # Errors
    /// [`AdoptError`].
    pub async fn adopt(&self, endpoint: &str, context: ContextId) -> Result<Place, AdoptError> {
        if !self.id().is_root() {
            return Err(AdoptError::NotRoot(self.id()));
        }
        let mut events = self.events();
        let within = self.limits().handshake_time;
        let refused = if self.place_of(context).is_none() {
            let dialled = tokio::time::timeout(within, self.dial_child(endpoint, context));
            dialled.await.unwrap_or(Err(AdoptError::Timeout { context, within })).err()
        } else {
            None
        };
        let attached = async {
            while self.place_of(context).is_none() && events.next().await.is_some() {}
            self.place_of(context).ok_or(AdoptError::Dial(DialError::Closed))
        };
        // One that refused may have dialled itself the moment before, and be about to announce itself.
        let wait = if refused.is_some() { SIMULTANEOUS_WAIT } else { within };
        match (tokio::time::timeout(wait, attached).await, refused) {
            (Ok(place), _) => place,
            (Err(_), Some(refused)) => Err(refused),
            (Err(_), None) => Err(AdoptError::Timeout { context, within }),
        }
    }

    async fn dial_child(&self, endpoint: &str, context: ContextId) -> Result<(), AdoptError> {
        let _dialling = Dialling::begin(self, context);
        let life = self.admit(context).await.map_err(AdoptError::Dead)?;
        let link = self.0.transport.dial(endpoint.to_owned(), Some(context)).await?;
        let mut hello =
            opening::hello(self.id(), Some(self.incarnation()), Role::Parent, self.max_message());
        hello.yours = Some(life);
        hello.capabilities = self.capabilities();
        match opening::dial(link, &hello).await {
            Ok((opened, _)) => {
                broker::attach(self, opened).await;
                Ok(())
            }
            Err(error) => Err(AdoptError::Refused { context, why: error.to_string() }),
        }
    }

    /// Whether this context is dialling that one right now.
    pub(crate) fn is_dialling(&self, context: ContextId) -> bool {
        self.0.dialling.lock().contains(&context)
    }
}

/// Marks a dial under way, for as long as it lives.
struct Dialling(Context, ContextId);

impl Dialling {
    fn begin(of: &Context, context: ContextId) -> Self {
        of.0.dialling.lock().insert(context);
        Self(of.clone(), context)
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        self.0.0.dialling.lock().remove(&self.1);
    }
}
