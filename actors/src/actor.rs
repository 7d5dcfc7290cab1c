//! What can be reached: actors with a declared name, and how an intake comes to its actor.

use std::{marker::PhantomData, sync::Arc};

use actix::{Actor, Addr, AsyncContext, Context as ActixContext, Handler, Message};
use actogen_runtime::mailbox::StopReason;

use crate::{
    intake::Intake,
    message::Tag,
    pump::Pump,
    turn::{Envelope, Turn},
};

/// An actor that other contexts can reach. Derive it; the handlers stay plain actix handlers:
///
/// ```
/// use actogen::prelude::*;
///
/// #[derive(RemoteMessage, Serialize, Deserialize)]
/// #[remote(name = "calc.Add", reply = "i64")]
/// struct Add(i64, i64);
///
/// #[derive(RemoteActor, Default)]
/// #[remote(name = "calc", messages(Add), spawn)]
/// struct Calc;
///
/// impl Actor for Calc {
///     type Context = actix::Context<Self>;
/// }
///
/// impl Handler<Add> for Calc {
///     type Result = i64;
///     fn handle(&mut self, m: Add, _: &mut Self::Context) -> i64 {
///         m.0 + m.1
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a remote actor",
    label = "derive `RemoteActor` for it",
    note = "add `#[derive(RemoteActor)]` and `#[remote(name = \"area.actor\", messages(...))]`"
)]
pub trait RemoteActor: Actor<Context = ActixContext<Self>> + Handler<Attach<Self>> {
    /// The declared name.
    const NAME: &'static str;
    /// The tags of the messages that it accepts.
    const TAGS: &'static [Tag];

    /// Calls the handler for what an envelope holds; written by the derive.
    #[doc(hidden)]
    fn dispatch(&mut self, envelope: &mut Envelope<'_>, turn: &mut Turn<'_, Self>);
}

/// Brings an intake to its actor: the pump starts when the actor handles it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Attach<A: RemoteActor> {
    intake: Option<Arc<Intake>>,
    _actor: PhantomData<fn(A)>,
}

impl<A: RemoteActor> Message for Attach<A> {
    type Result = ();
}

impl<A: RemoteActor> Attach<A> {
    pub(crate) fn new(intake: Arc<Intake>) -> Self {
        Self { intake: Some(intake), _actor: PhantomData }
    }

    /// Starts the pump; written into the handler by the derive.
    pub fn attach(mut self, ctx: &mut ActixContext<A>) {
        if let Some(intake) = self.intake.take() {
            let address: Addr<A> = ctx.address();
            ctx.spawn(Pump::new(intake, address.downgrade()));
        }
    }
}

impl<A: RemoteActor> Drop for Attach<A> {
    fn drop(&mut self) {
        // The actor ended before it handled this.
        if let Some(intake) = self.intake.take() {
            intake.close(&mut Default::default(), StopReason::Normal);
        }
    }
}

/// Fails the build when two tags are equal; used by the derive.
#[doc(hidden)]
pub const fn no_duplicate_tags(tags: &[Tag], text: &str) {
    let mut a = 0;
    while a < tags.len() {
        let mut b = a + 1;
        while b < tags.len() {
            if tags[a].get() == tags[b].get() {
                panic!("{}", text);
            }
            b += 1;
        }
        a += 1;
    }
}
