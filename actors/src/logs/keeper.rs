//! The actor that takes records in: under FORWARD_LOG, for those below.

use std::sync::{Arc, OnceLock};

use actix::{Context as ActixContext, Handler};
use actogen_runtime::{
    Phase,
    core::{
        Handle,
        policy::{Policy, Side},
    },
    logs::LogRecord,
};
use serde::{Deserialize, Serialize};

use super::show;
use crate::{Inbound, RemoteActor, RemoteMessage, context::Context, intake::Intake};

/// What a context has to say.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Said", version = 2, crate = crate)]
pub(super) struct Said {
    pub(super) records: Vec<LogRecord>,
    /// Records for which there was no room, behind these.
    pub(super) dropped: u64,
}

/// Shows what comes.
#[derive(RemoteActor)]
#[remote(name = "actogen.logs", inbound(Said), crate = crate)]
pub(super) struct Keeper {
    context: Context,
}

impl actix::Actor for Keeper {
    type Context = ActixContext<Self>;
}

impl Handler<Inbound<Said>> for Keeper {
    type Result = ();

    fn handle(&mut self, said: Inbound<Said>, _: &mut Self::Context) {
        let Said { records, dropped } = said.message;
        show::show(&self.context, said.origin.source, records, dropped);
    }
}

/// Records that have come in and wait to be shown.
#[derive(Debug)]
pub(crate) struct Records(Arc<OnceLock<Arc<Intake>>>);

/// Where records come in, at the root, to be opened before anybody can reach it.
pub(crate) fn door() -> (impl FnOnce(&actogen_runtime::Context) + Send + 'static, Records) {
    let records = Records(Arc::default());
    let opened = records.0.clone();
    let open = move |context: &actogen_runtime::Context| {
        if !context.id().is_root() {
            return;
        }
        let below = Policy::custom("is_descendant", |origin, _| {
            origin.neighbour.is_some_and(|neighbour| neighbour.side == Side::Child)
        });
        let intake = Intake::new::<Keeper>(context.clone());
        context.bind_reserved(Handle::FORWARD_LOG, intake.clone(), below);
        intake.bound_as(Handle::FORWARD_LOG);
        let _ = opened.set(intake);
    };
    (open, records)
}

pub(super) fn serve(context: &Context, Records(intake): Records) {
    if let Some(intake) = intake.get() {
        let keeper = Keeper { context: context.clone() };
        // What those below say while they end is shown as well.
        context.attend_until(keeper, intake.clone(), |phase| *phase == Phase::Down);
    }
}
