//! Where calls of services come in, and where a context wakes a service of its own.
//!
//! Two handles, as in Mitogen: CALL_SERVICE is for whoever the method's policy lets through, and STUB_CALL_SERVICE, which only starts
//! services, for the context itself.

use actix::{Context as ActixContext, Handler};
use actogen_runtime::{
    Phase,
    core::{Handle, policy::Policy},
};
use serde::{Deserialize, Serialize};

use super::{ServiceError, running::Services};
use crate::{
    RemoteActor, RemoteMessage,
    address::Remote,
    context::Context,
    function::{Calls, callee},
    intake::Intake,
    send_error::SendError,
};

/// Starts a service unless it runs.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Wake", reply = "Result<(), String>", crate = crate)]
struct Wake {
    service: String,
}

/// Starts services of its context.
#[derive(RemoteActor)]
#[remote(name = "actogen.stub", messages(Wake), crate = crate)]
struct Stub {
    services: Services,
}

impl actix::Actor for Stub {
    type Context = ActixContext<Self>;
}

impl Handler<Wake> for Stub {
    type Result = actix::ResponseFuture<Result<(), String>>;

    fn handle(&mut self, Wake { service }: Wake, _: &mut Self::Context) -> Self::Result {
        let starting = self.services.start(&service);
        Box::pin(async move { starting.await.map_err(|failure| failure.to_string()) })
    }
}

/// Where services are called, to be opened before anybody can reach the context, and what comes in by it.
pub(crate) fn door() -> (impl FnOnce(&actogen_runtime::Context) + Send + 'static, Calls) {
    // Each method has its own policy.
    callee::door(Handle::CALL_SERVICE, Policy::Anyone)
}

/// Runs the services that are called, on the thread that calls this, until the context ends.
pub(crate) fn serve(context: &Context, calls: Calls) {
    let services = Services::of(context);
    callee::serve(context, calls, Box::new(services.clone()));
    let intake = Intake::new::<Stub>((**context).clone());
    context.bind_reserved(Handle::STUB_CALL_SERVICE, intake.clone(), Policy::OnlySelf);
    intake.bound_as(Handle::STUB_CALL_SERVICE);
    context.attend_until(Stub { services }, intake, |phase| *phase != Phase::Running);
}

pub(super) async fn wake(context: &Context, service: &'static str) -> Result<(), ServiceError> {
    let stub: Remote<Stub> = context.remote(context.address(Handle::STUB_CALL_SERVICE));
    let woken = stub.send(Wake { service: service.to_owned() }).await;
    match woken {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(ServiceError::NotStarted { service, why }),
        Err(SendError::Unsent(_, dead) | SendError::Dead(dead)) => Err(ServiceError::Dead(dead)),
        Err(error) => Err(ServiceError::NotStarted { service, why: error.to_string() }),
    }
}
