//! Launches that another context is asked for: that one is the parent then (protocol rule 29).

use std::{sync::Arc, time::Duration};

use actogen_core::{Dead, DeadReason, Handle, Handled, policy::Policy};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::{Child, Launch, LaunchError, Started};
use crate::{
    batch::Batch,
    builtin::{Place, reply, take},
    context::Context,
    envelope::Envelope,
    mailbox::Mailbox,
};

/// What a context is asked for about launches. Variants are only ever appended.
#[derive(Debug, Serialize, Deserialize)]
enum Ask {
    /// A child. Answered by what became of it.
    Launch(Box<Launch>),
    /// The end of the process of such a launch.
    Kill(u64),
    /// How it has ended, once it has.
    Exited(u64),
}

/// Requests that a context serves at once; more are refused.
const MOST_AT_ONCE: usize = 1024;

/// Answers them.
#[derive(Debug)]
struct Launcher {
    /// One for each that is served.
    places: Arc<Semaphore>,
}

impl Mailbox for Launcher {
    fn push(&self, context: &Context, batch: Batch) {
        for envelope in batch.into_envelopes(context) {
            let Some(ask) = take::<Ask>(&envelope.body) else {
                let text = "the request does not decode";
                context.refuse(envelope, DeadReason::Malformed, Handled::No, text);
                continue;
            };
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                let text = "as many launches are asked for as may be";
                context.refuse(envelope, DeadReason::MailboxFull, Handled::No, text);
                continue;
            };
            let served = serve(context.clone(), ask, envelope);
            context.spawn(async move {
                served.await;
                drop(place);
            });
        }
    }
}

async fn serve(context: Context, ask: Ask, envelope: Envelope) {
    match ask {
        Ask::Launch(launch) => {
            let launched = context.launch_here(*launch).await.map(|child| child.launched);
            reply(envelope, &launched);
        }
        Ask::Kill(launch) => {
            if let Some(process) = context.0.launches.process(launch) {
                process.kill();
                process.exited().await;
            }
            reply(envelope, &());
        }
        Ask::Exited(launch) => {
            let status = match context.0.launches.process(launch) {
                // Whoever asks asks again: else those who have given up would gather here.
                Some(process) => {
                    let patience = context.limits().request_time / 2;
                    tokio::time::timeout(patience, process.exited()).await.ok()
                }
                None => Some("it has ended before".to_owned()),
            };
            reply(envelope, &status);
        }
    }
}

/// Binds the mailbox for launches; those above may use it.
pub(crate) fn bind(context: &Context) {
    let launcher = Launcher { places: Arc::new(Semaphore::new(MOST_AT_ONCE)) };
    context.bind_reserved(Handle::LAUNCH, Arc::new(launcher), Policy::ParentAuthority);
}

impl Context {
    /// Has another context start one. Its errors are those that the other gave, or [`LaunchError::Via`] when that could not be asked.
    pub(super) async fn launch_via(
        &self,
        parent: Place,
        launch: Launch,
    ) -> Result<Child, LaunchError> {
        let mut events = self.events();
        // It ends by itself; the rest is for the way.
        let limit = launch.within + self.limits().request_time;
        let answer = self.ask_launcher(parent, &Ask::Launch(Box::new(launch)), limit).await;
        let answer = answer.map_err(|dead| LaunchError::Via(dead.to_string()))?;
        let launched = take::<Result<Started, LaunchError>>(&answer).ok_or_else(|| {
            LaunchError::Via(format!("{} gave an answer that does not decode", parent.context))
        })??;
        // Word of the way there comes from its parent's Router, and the answer beside that.
        let known = async {
            let place = launched.place;
            while self.place_of(place.context).is_none() {
                match events.next().await {
                    // It may be lost again by now.
                    Some(Ok(event)) if event.context() == place.context => return,
                    Some(_) => {}
                    None => return,
                }
            }
        };
        let _ = tokio::time::timeout(self.limits().request_time, known).await;
        Ok(Child { context: self.clone(), launched, process: None })
    }

    async fn ask_launcher(
        &self,
        place: Place,
        ask: &Ask,
        limit: Duration,
    ) -> Result<bytes::Bytes, Dead> {
        let body = postcard::to_extend(ask, Vec::new()).expect("a request has a form in postcard");
        self.ask_within(place.address(Handle::LAUNCH), &body, limit).await
    }
}

impl Child {
    pub(super) async fn kill_there(&self) {
        let Started { parent, launch, .. } = self.launched;
        // A parent that is lost has taken its children along.
        let limit = self.context.limits().request_time;
        let _ = self.context.ask_launcher(parent, &Ask::Kill(launch), limit).await;
    }

    pub(super) async fn exited_there(&self) -> String {
        let Started { parent, launch, .. } = self.launched;
        loop {
            let limit = self.context.limits().request_time;
            match self.context.ask_launcher(parent, &Ask::Exited(launch), limit).await {
                Ok(answer) => match take::<Option<String>>(&answer) {
                    Some(Some(status)) => return status,
                    Some(None) => {}
                    None => return "unknown status".to_owned(),
                },
                Err(dead) if dead.reason == DeadReason::NoAnswer => {}
                Err(dead) => return dead.to_string(),
            }
        }
    }
}
