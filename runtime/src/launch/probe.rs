//! What the end of a process says of the child: all, where it is the child's own; little, where it is a tool's (protocol rule 32).

use std::time::Duration;

use actogen_core::{DeadReason, wire::control::LossKind};

use super::Process;
use crate::{builtin::Place, context::Context};

/// So many round trips must go unanswered before a child whose tool has ended counts as lost.
const PROBES: u32 = 3;

/// The shortest time that one may take.
const PROBE: Duration = Duration::from_millis(100);

impl Context {
    /// Withdraws a child at once when its process ends; one behind a tool when it does not answer any more either.
    pub(super) fn watch_process(&self, child: Place, process: &Process) {
        let (context, process) = (self.clone(), process.clone());
        self.spawn(async move {
            let round_trip = match process.is_tool {
                true => context.ping(child).await.unwrap_or_default(),
                false => Duration::ZERO,
            };
            let status = process.exited().await;
            if !process.is_tool {
                context.cut_off(
                    child,
                    LossKind::ProcessExited,
                    &format!("process exited ({status})"),
                );
            } else if !context.answers(child, PROBE.max(round_trip)).await {
                let text = format!("its tool ended ({status}), and it does not answer");
                context.cut_off(child, LossKind::Silent, &text);
            }
        });
    }

    /// Whether a context answers to one of a few probes, each within this time, or is lost already.
    async fn answers(&self, place: Place, within: Duration) -> bool {
        for _ in 0..PROBES {
            match tokio::time::timeout(within, self.ping(place)).await {
                Ok(Ok(_)) => return true,
                Ok(Err(dead)) if dead.reason == DeadReason::RouteLost => return true,
                Ok(Err(_)) | Err(_) => {}
            }
        }
        false
    }

    fn cut_off(&self, child: Place, kind: LossKind, text: &str) {
        for link in self.child_links() {
            if link.peer == child.context && !link.is_closing() {
                link.cut(kind, text);
            }
        }
    }
}
