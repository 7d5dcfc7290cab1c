//! Leaving a parent, and finding another: DETACHING, moving below somebody else, and what an orphan does.
//!
//! A context that detaches outlives its parent from the moment when that has confirmed it: before, the parent's end is its own, as for
//! everybody. It keeps its id, its life and its subtree; nobody outside reaches it until it attaches again (protocol rule 28).

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use actogen_core::{
    ContextId, StreamId,
    policy::Side,
    wire::control::{LinkMessage, LossKind, Role},
};
use tokio::sync::watch;

use crate::{
    broker,
    builder::StartError,
    builtin::Place,
    context::Context,
    link::LinkState,
    opening::{self, OpenError},
};

/// How long an orphan waits before it tries those whom it may rejoin once more.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// What a context does without its parent.
#[derive(Debug)]
pub(crate) struct Orphanage {
    ends_with_parent: AtomicBool,
    /// The parent has been asked to let it go.
    asked: AtomicBool,
    /// The parent has.
    detached: watch::Sender<bool>,
    /// Endpoints of those below whom it may go on when its parent is lost.
    others: Vec<String>,
    rejoins: AtomicBool,
}

impl Orphanage {
    pub(crate) fn new(ends_with_parent: bool, others: Vec<String>) -> Self {
        Self {
            ends_with_parent: ends_with_parent.into(),
            asked: false.into(),
            detached: watch::Sender::new(false),
            others,
            rejoins: false.into(),
        }
    }
}

/// Why a context could not leave its parent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetachError {
    /// It has none.
    #[error("{0} has no parent to detach from")]
    NoParent(ContextId),
    /// The parent was lost before it confirmed.
    #[error("the parent was lost before it let this context go: {0}")]
    Lost(String),
    /// The parent has not confirmed in time.
    #[error("the parent did not answer within {0:?}")]
    Timeout(Duration),
}

impl Context {
    /// Leaves the parent, with the whole subtree: from then on this context outlives it. For the old parent, and all whom it reached by
    /// that, it is lost; it may [attach](Self::attach_to) below another.
    ///
    /// What this context has sent before is flushed, on both sides.
    ///
    /// # Errors
    /// [`DetachError`]; the context ends with its parent as before.
    pub async fn detach(&self) -> Result<(), DetachError> {
        let orphanage = &self.0.orphanage;
        let link = self.routes().parent_link().ok_or(DetachError::NoParent(self.id()))?;
        orphanage.asked.store(true, Ordering::Release);
        link.send_own(Some(StreamId::CONTROL), &LinkMessage::Detaching);
        let gone = async {
            while self.routes().parent_link().is_some_and(|now| now.id == link.id) {
                let mut detached = orphanage.detached.subscribe();
                tokio::select! {
                    _ = link.connection().closed() => tokio::task::yield_now().await,
                    _ = detached.changed() => {}
                }
            }
        };
        let within = self.limits().handshake_time;
        let in_time = tokio::time::timeout(within, gone).await;
        orphanage.asked.store(false, Ordering::Release);
        match in_time {
            Err(_) => Err(DetachError::Timeout(within)),
            Ok(()) if *orphanage.detached.borrow() => Ok(()),
            Ok(()) => Err(DetachError::Lost(link.loss().to_string())),
        }
    }

    /// Waits until the parent has let this context go.
    pub async fn detached(&self) {
        let mut detached = self.0.orphanage.detached.subscribe();
        // The sender lives as long as this handle does.
        let _ = detached.wait_for(|detached| *detached).await;
    }

    /// Whether the context goes on when its parent is lost: it was detached, may rejoin others, or was started so.
    pub fn outlives_parent(&self) -> bool {
        let orphanage = &self.0.orphanage;
        !orphanage.ends_with_parent.load(Ordering::Acquire) || !orphanage.others.is_empty()
    }

    /// Attaches below the context at this endpoint, with the whole subtree: one that has no parent finds one, one that has leaves it.
    /// Addresses of this context and those below it stay as they are.
    ///
    /// # Errors
    /// [`StartError::Dial`] and [`StartError::Join`]; everything is as it was then.
    pub async fn attach_to(
        &self,
        endpoint: &str,
        expect: Option<ContextId>,
    ) -> Result<Place, StartError> {
        let failed = |why: String| StartError::Join { endpoint: endpoint.to_owned(), why };
        if self.id().is_root() {
            return Err(StartError::RootWithParent);
        }
        let within = self.limits().handshake_time;
        let hello = opening::hello(
            self.id(),
            Some(self.incarnation()),
            Role::Child,
            self.limits().max_message,
        );
        let dial = async {
            let link = self.0.transport.dial(endpoint.to_owned(), expect).await?;
            opening::dial(link, &hello).await.map_err(|error: OpenError| failed(error.to_string()))
        };
        let late = |_| failed(format!("it did not answer within {within:?}"));
        let (opened, welcome) = tokio::time::timeout(within, dial).await.map_err(late)??;
        let parent = Place { context: opened.peer, incarnation: opened.incarnation };
        self.0
            .max_message
            .store(Self::inherit(self.limits(), welcome.max_message), Ordering::Relaxed);
        self.take_mode(welcome.capabilities);
        broker::attach(self, opened).await;
        // As at the start: the answer comes behind the parent's reading of this context's announcement.
        match tokio::time::timeout(within, self.ping(parent)).await {
            Ok(Ok(_)) => Ok(parent),
            Ok(Err(dead)) => Err(failed(dead.to_string())),
            Err(late_too) => Err(late(late_too)),
        }
    }

    /// The parent lets go of this context, if it was asked to.
    pub(crate) fn set_free(&self, link: &LinkState, kind: LossKind) {
        let orphanage = &self.0.orphanage;
        let was_asked = link.side == Side::Parent
            && kind == LossKind::Detached
            && orphanage.asked.load(Ordering::Acquire);
        if was_asked {
            orphanage.ends_with_parent.store(false, Ordering::Release);
            orphanage.detached.send_replace(true);
        }
    }

    /// The parent is lost: the context ends, unless it outlives that, or finds another.
    pub(crate) fn parent_lost(&self) {
        let orphanage = &self.0.orphanage;
        if !orphanage.ends_with_parent.load(Ordering::Acquire) || !self.is_running() {
            return;
        }
        if orphanage.others.is_empty() {
            return self.request_end("its parent is gone", self.limits().shutdown_time);
        }
        if !orphanage.rejoins.swap(true, Ordering::AcqRel) {
            let context = self.clone();
            self.spawn(async move { context.rejoin().await });
        }
    }

    /// Tries those whom it may rejoin, one after the other and again, for as long as a loss may take to be detected.
    async fn rejoin(&self) {
        let limit = self.limits().detection_time;
        let found = tokio::time::timeout(limit, async {
            while self.is_running() {
                for endpoint in &self.0.orphanage.others {
                    match self.attach_to(endpoint, None).await {
                        Ok(parent) => {
                            tracing::info!(context = %self.id(), parent = %parent.context, "attached to another parent");
                            return;
                        }
                        Err(error) => {
                            tracing::debug!(context = %self.id(), "not attached: {error}")
                        }
                    }
                }
                tokio::time::sleep(TRY_AGAIN).await;
            }
        });
        let found = found.await.is_ok();
        self.0.orphanage.rejoins.store(false, Ordering::Release);
        if !found {
            let why = format!("its parent is gone, and no other took it within {limit:?}");
            self.request_end(&why, self.limits().shutdown_time);
        } else if self.routes().parent_link().is_none() {
            // That one is lost as well by now.
            self.parent_lost();
        }
    }
}
