//! How a context ends: it stops taking work, ends its children, empties its queues, says goodbye, and answers what still waits.

use std::time::Duration;

use actogen_core::{Handle, wire::control::LossKind};
use tokio::time::Instant;

use crate::{
    builtin::{EndWithin, Place},
    context::{Context, Phase},
    mailbox::StopReason,
    router::Stop,
    way::Way,
};

/// Each level passes on less time than it has, so that it can still end itself (protocol rule 33).
const KEPT_FOR_ITSELF: f64 = 0.2;

/// The part of a shutdown's time that the actors' stop hooks may take.
const STOP_HOOKS: f64 = 0.2;

impl Context {
    /// Ends the context within its limit for that. Returns when everything is down; a second call waits for the first.
    ///
    /// In order: no new work is taken; actors are stopped, and their watchers are told; children are asked to end and waited for,
    /// then ended by force; what waits for other contexts is answered; queues are flushed; links are closed with a goodbye; what still waits is answered `Shutdown`.
    pub async fn shutdown(&self) {
        let within = match &*self.0.phase.borrow() {
            Phase::Ending { within, .. } => *within,
            _ => self.limits().shutdown_time,
        };
        self.request_end("it was shut down", within);
        if !self.0.launches.begin_shutdown() {
            let mut phase = self.phase();
            // The sender lives as long as this handle does.
            let _ = phase.wait_for(|phase| *phase == Phase::Down).await;
            return;
        }
        let deadline = Instant::now() + within;
        self.end_actors(within).await;
        self.end_children(deadline).await;
        self.end_holds();
        for link in self.links() {
            link.say_goodbye(LossKind::Shutdown, "it shut down");
        }
        let farewell = async {
            for link in self.links() {
                link.drained().await;
            }
            for link in self.links() {
                link.connection().closed().await;
            }
        };
        let left =
            deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(50));
        let _ = tokio::time::timeout(left, farewell).await;
        self.0.transport.close().await;
        if let Some(router) = self.0.router.get() {
            let _ = router.send(Stop).await;
        }
        self.0.pending.lock().drain();
        for handle in self.mailboxes().handles() {
            self.unbind(handle, &StopReason::Shutdown);
        }
        self.0.phase.send_replace(Phase::Down);
        self.routes().next_generation();
    }

    /// Asks another context below this one to end within this time, if it can be reached.
    pub(crate) fn ask_to_end(&self, place: Place, within: Duration) {
        let millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let body = postcard::to_extend(&EndWithin { millis }, Vec::new())
            .expect("a request has a form in postcard");
        if let Ok(Way::Away(way)) = self.way(place.address(Handle::SHUTDOWN)) {
            // Where it cannot be posted nobody is left to end.
            let _ = self.post_own(&way, &body, None);
        }
    }

    /// Asks the receivers to end and waits for their stop hooks; then their watchers are told. Mailboxes whose receivers take longer
    /// end without them.
    async fn end_actors(&self, within: Duration) {
        let authors = || self.mailboxes().handles().into_iter().filter(|h| !h.is_reserved());
        for bound in authors().filter_map(|handle| self.mailboxes().get(handle)) {
            bound.mailbox.end(StopReason::Shutdown);
        }
        let _ =
            tokio::time::timeout(within.mul_f64(STOP_HOOKS), self.mailboxes().all_ended()).await;
        for handle in authors() {
            self.unbind(handle, &StopReason::Shutdown);
        }
    }

    /// Asks the children to end, waits for them, and ends by force the processes that do not.
    async fn end_children(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let theirs = left.mul_f64(1.0 - KEPT_FOR_ITSELF);
        let millis = u64::try_from(theirs.as_millis()).unwrap_or(u64::MAX);
        let body = postcard::to_extend(&EndWithin { millis }, Vec::new())
            .expect("a request has a form in postcard");
        for link in self.child_links() {
            let header = actogen_core::wire::Header::to(Handle::SHUTDOWN);
            let tag = 0_u64.to_le_bytes();
            let pair = (link.peer, Handle::SHUTDOWN);
            let lane = link.lane(Handle::SHUTDOWN.stream());
            // A lane that takes nothing belongs to a link that is going anyway.
            let _ = lane.append(pair, &header, &[&tag, &body], crate::lane::Class::Notice);
        }
        let gone = async {
            for link in self.child_links() {
                link.connection().closed().await;
            }
            self.0.launches.all_exited().await;
        };
        let _ = tokio::time::timeout(theirs, gone).await;
        self.0.launches.end_by_force().await;
    }
}
