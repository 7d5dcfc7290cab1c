//! One-way messages within a process: a sender and an actor, on one arbiter or on two.
//!
//! Actix's `do_send` knows no bound, and ours makes a dead letter of what finds no room. So both have the same back-pressure here, from
//! outside: the actor gives its sender leave for so many messages more whenever it has handled as many, and the sender never has
//! more under way than it has leave for, which is less than a mailbox holds. Nothing is lost on either side, and a run ends when all
//! is handled.

use std::{sync::Arc, time::Duration};

use actogen::prelude::*;
use tokio::sync::{Semaphore, oneshot};

use crate::{
    failure::Failure,
    note::{Note, SMALL},
    workload::{Outcome, Span},
};

/// How long a run may take to end after its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the actor lives, seen from its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// On the same arbiter.
    Same,
    /// On another one of the same process.
    Across,
}

impl Where {
    /// How many messages the actor gives leave for at once.
    fn grant(self) -> usize {
        match self {
            Self::Same => 256,
            Self::Across => 1024,
        }
    }

    /// How many may be under way.
    fn ahead(self) -> usize {
        8 * self.grant()
    }
}

/// A note, one way.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Work")]
struct Work(Note);

/// Handles notes, and says that it has.
#[derive(Debug, RemoteActor)]
#[remote(name = "actogen-bench.worker", messages(Work))]
struct Worker {
    handled: usize,
    grant: usize,
    leave: Arc<Semaphore>,
}

impl Actor for Worker {
    type Context = actix::Context<Self>;
}

impl Handler<Work> for Worker {
    type Result = ();

    fn handle(&mut self, work: Work, _: &mut Self::Context) {
        std::hint::black_box(work);
        self.handled += 1;
        if self.handled.is_multiple_of(self.grant) {
            self.leave.add_permits(self.grant);
        }
    }
}

/// Two workers in one place: one is reached by a `Remote`, the other by its `Addr`.
pub(super) struct Bench {
    place: Where,
    arbiter: Option<actix::Arbiter>,
    remote: (Remote<Worker>, Arc<Semaphore>),
    plain: (actix::Addr<Worker>, Arc<Semaphore>),
}

impl Bench {
    /// # Errors
    /// [`Failure::Ours`] if the arbiter ends at once.
    pub(super) async fn start(place: Where, context: &Context) -> Result<Self, Failure> {
        let worker = || {
            let leave = Arc::new(Semaphore::new(place.ahead()));
            (Worker { handled: 0, grant: place.grant(), leave: leave.clone() }, leave)
        };
        let ((ours, remote_leave), (plain, plain_leave)) = (worker(), worker());
        let context = context.clone();
        let start = move || (context.start(ours), plain.start());
        let (arbiter, (remote, plain)) = match place {
            Where::Same => (None, start()),
            Where::Across => {
                let arbiter = actix::Arbiter::new();
                let (tell, told) = oneshot::channel();
                arbiter.spawn_fn(move || drop(tell.send(start())));
                let started = told.await.map_err(Failure::ours("starting actors on an arbiter"))?;
                (Some(arbiter), started)
            }
        };
        Ok(Self { place, arbiter, remote: (remote, remote_leave), plain: (plain, plain_leave) })
    }

    pub(super) async fn ours(&self, lasts: Duration) -> Result<Outcome, Failure> {
        let (remote, leave) = &self.remote;
        self.run(leave, |work| remote.do_send(work), lasts).await
    }

    pub(super) async fn actix(&self, lasts: Duration) -> Result<Outcome, Failure> {
        let (address, leave) = &self.plain;
        self.run(leave, |work| address.do_send(work), lasts).await
    }

    async fn run(
        &self,
        leave: &Semaphore,
        send: impl Fn(Work),
        lasts: Duration,
    ) -> Result<Outcome, Failure> {
        let (grant, ahead) = (self.place.grant(), self.place.ahead());
        let take = async |messages: usize| {
            let leave = leave.acquire_many(messages as u32).await;
            leave.expect("nobody closes it").forget();
        };
        let work = async {
            let span = Span::of(lasts);
            let mut sent = 0;
            while !span.is_over() {
                take(grant).await;
                for _ in 0..grant {
                    send(Work(Note::new(sent, SMALL)));
                    sent += 1;
                }
            }
            take(ahead).await;
            let rate = span.rate(sent);
            leave.add_permits(ahead);
            rate
        };
        match tokio::time::timeout(lasts + PATIENCE, work).await {
            Ok(rate) => Ok(rate.into()),
            Err(_) => {
                let why = format!("not all messages were handled {PATIENCE:?} after its time");
                Err(Failure::Ours { doing: "a run", why })
            }
        }
    }

    pub(super) fn end(self) {
        let Self { arbiter, .. } = self;
        if let Some(arbiter) = arbiter {
            arbiter.stop();
            // What it frees must not be counted as another measure's.
            let _ = arbiter.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use actogen::Limits;

    use super::*;

    #[test]
    fn what_may_be_under_way_is_never_refused() {
        let Limits { mailbox_messages, mailbox_bytes, .. } = Limits::default();
        for place in [Where::Same, Where::Across] {
            // From a third of its bounds on a mailbox takes no more from its own context.
            assert!(place.ahead() < mailbox_messages / 3, "{place:?}");
            assert!(place.ahead() * 256 < mailbox_bytes / 3, "{place:?}");
        }
    }
}
