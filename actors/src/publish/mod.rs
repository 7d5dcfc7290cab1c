//! Reliable publish: a message under a topic that certain recipients must acknowledge, each with its signature.
//!
//! | room | concept |
//! |---|---|
//! | `message` | ids, levels, what is signed of a message |
//! | `acknowledgement` | what a recipient answers, and what is signed of that |
//! | `waiter` | waits for the acknowledgements of one message: a pure machine |
//! | `publisher` | the actor that signs, sends again, and takes acknowledgements |
//! | `reliable`, `outcome` | [`Publish::require`](crate::Publish::require), and what it comes to |
//! | `checked`, `policy` | what happens to a message first where it comes: its signature is checked, then whether it may be published |
//! | `record`, `replay` | taking messages as they are, for a recorder that keeps them; and having them from it again |
//! | `catch_up`, `seam` | getting from a recorder what a consumer has missed, and going over to what is live |
//! | `text` | messages for whoever has no type of his own |
//! | `encoded` | messages of whatever type, for what carries them elsewhere |
//! | `options` | how a consumer takes messages |
//! | `held`, `window`, `gaps`, `dead` | what a consumer holds, remembers, misses and gives up: pure machines |
//! | `consume`, `consuming`, `delivery`, `consumer` | [`Context::consume`]: as a stream, a value with verdicts, or an actor |
//!
//! ```text
//!   require ── who_has ──> waiter ── signed Carried, along the topic's routes ──> checked ──> held ──> consumer
//!                            ^                                                                  │
//!                            └────────── Acknowledgement, straight to the publisher ────────────┘
//! ```

mod acknowledgement;
mod catch_up;
mod checked;
mod consume;
mod consumer;
mod consuming;
mod dead;
mod delivery;
mod encoded;
mod gaps;
mod held;
mod message;
mod options;
mod outcome;
mod policy;
mod publisher;
mod record;
mod reliable;
mod replay;
mod seam;
mod stats;
mod text;
mod waiter;
mod window;

use std::sync::{Arc, OnceLock};

use actogen_runtime::{
    Phase,
    core::{Handle, policy::Policy},
};

use self::publisher::Publishing;
use crate::{context::Context, intake::Intake};

pub use self::{
    catch_up::CatchUp,
    consume::Consume,
    consumer::{Consumer, ConsumerActor, IntoVerdict, Verdict},
    consuming::Consumption,
    dead::DeadDelivery,
    delivery::{Deliveries, Delivery},
    encoded::{Consumed, Encoded, Proof},
    message::{AckLevel, MessageId, Sequence},
    outcome::{Confirmed, IgnoredAcks, NotSent, Partial, ReliableError},
    policy::PublishPolicy,
    record::{Record, Recorded, Recording},
    reliable::{Reliable, SignedPublish},
    replay::{
        Archive, MOST_EARLY, PagedRecord, ReadPage, RecorderAt, Replay, ReplayAsk, ReplayCursor,
        ReplayError, ReplayMark, ReplayPage, ReplayRange, ReplayRefusal, ReplayStart, Replayed,
        Replays,
    },
    stats::{ConsumerStats, PublishStats},
    text::Text,
    window::{MemoryWindow, Remembered, Window, WindowKey},
};
pub(crate) use self::{
    checked::{Checked, Identity, Unfit, check},
    consuming::Feeder,
    message::Signed,
};

#[cfg(feature = "json")]
pub use self::text::Json;

/// Tells a publisher that this context's policy does not let its message through.
pub(crate) fn reject(
    context: &Context,
    from: actogen_runtime::core::ContextId,
    checked: &Checked,
    why: &str,
) {
    let answer = acknowledgement::Answer::rejected(why);
    consuming::acknowledge(context, held::Owed::of(from, checked, answer).into_iter().collect());
}

/// Acknowledgements that have come and wait.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<OnceLock<Arc<Intake>>>);

/// Where acknowledgements come to, to be opened before anybody can reach the context.
pub(crate) fn door() -> (impl FnOnce(&actogen_runtime::Context) + Send + 'static, Waiting) {
    let waiting = Waiting(Arc::default());
    let opened = waiting.0.clone();
    let open = move |context: &actogen_runtime::Context| {
        let intake = Intake::new::<Publishing>(context.clone());
        context.bind_reserved(Handle::PUBLISH, intake.clone(), Policy::Anyone);
        intake.bound_as(Handle::PUBLISH);
        let _ = opened.set(intake);
    };
    (open, waiting)
}

/// Signs, sends and waits on the thread that calls this, until the context ends.
pub(crate) fn serve(context: &Context, Waiting(intake): Waiting) {
    if let Some(intake) = intake.get() {
        let publishing = Publishing::new(context.clone());
        context.attend_until(publishing, intake.clone(), |phase| *phase == Phase::Down);
    }
}
