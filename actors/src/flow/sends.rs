//! What messages can be sent by: an address, or one with something around it.

use std::{future::Future, time::Duration};

use actogen_runtime::core::ContextId;

use super::FlowError;
use crate::{
    address::{Reach, Remote, RemoteRecipient},
    message::{MessageOf, RemoteMessage},
    supervise::chance,
};

/// What messages of a type can be sent by: an address, or one with something around it. What this module puts around an address takes
/// whatever does this, so that a limit, a breaker and retries go around each other in any order.
pub trait Sends<M: RemoteMessage>: Send + Sync {
    /// Sends a request and resolves to its answer. It waits no longer than this in all, or than the context's limit for requests when
    /// nothing is given.
    fn ask(
        &self,
        message: M,
        within: Option<Duration>,
    ) -> impl Future<Output = Result<M::Result, FlowError<M>>> + Send;

    /// Sends one way, and waits for room; as [`Remote::tell`].
    fn tell(&self, message: M) -> impl Future<Output = Result<(), FlowError<M>>> + Send;

    /// Sends one way, or hands the message back when it cannot go now.
    ///
    /// # Errors
    /// [`FlowError`], with the message.
    fn try_send(&self, message: M) -> Result<(), FlowError<M>>;

    /// A number from 0 to 1 out of the context's own randomness, which a simulation repeats.
    fn chance(&self) -> f64;

    /// The context that sends, where there is one.
    fn sender(&self) -> Option<ContextId>;
}

fn chance_of(reach: &Reach) -> f64 {
    // An address without a context fails whatever the number is.
    reach.context.as_ref().map_or(0.5, chance)
}

macro_rules! sends {
    ($type:ty, [$($parameter:ident $(: $bound:path)?),*]) => {
        impl<$($parameter $(: $bound)?),*> Sends<M> for $type {
            async fn ask(
                &self,
                message: M,
                within: Option<Duration>,
            ) -> Result<M::Result, FlowError<M>> {
                let request = self.send(message);
                let answer = match within {
                    Some(within) => request.within(within).await,
                    None => request.await,
                };
                answer.map_err(FlowError::Send)
            }

            async fn tell(&self, message: M) -> Result<(), FlowError<M>> {
                Self::tell(self, message).await.map_err(FlowError::Send)
            }

            fn try_send(&self, message: M) -> Result<(), FlowError<M>> {
                Self::try_send(self, message).map_err(FlowError::Send)
            }

            fn chance(&self) -> f64 {
                chance_of(&self.reach)
            }

            fn sender(&self) -> Option<ContextId> {
                self.reach.context.as_ref().map(|context| context.id())
            }
        }
    };
}

sends!(Remote<A>, [A, M: MessageOf<A>]);
sends!(RemoteRecipient<M>, [M: RemoteMessage]);
