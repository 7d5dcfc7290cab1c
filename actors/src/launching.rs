//! Many launches at once, with a bound.

use std::{fmt, pin::Pin};

use actogen_runtime::launch::{Launch, LaunchError};
use futures_util::{Stream, StreamExt, stream};

use crate::{context::Context, spawn::Child};

type Launched = (usize, Result<Child, LaunchError>);

/// Launches that are under way, or wait for their turn; see [`Context::launch_many`]. Dropping it gives up what has not come up.
#[must_use = "what nobody waits for is given up"]
pub struct Launching(Pin<Box<dyn Stream<Item = Launched> + Send>>);

impl Launching {
    /// The next one that comes up, or fails, with its place among those that were given, from 0; `None` when all have.
    pub async fn next(&mut self) -> Option<(usize, Result<Child, LaunchError>)> {
        self.0.next().await
    }
}

impl fmt::Debug for Launching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = self.0.size_hint();
        f.debug_struct("Launching").field("to_come", &most.unwrap_or(least)).finish_non_exhaustive()
    }
}

impl Context {
    /// Launches several, at most so many of them at once, and gives each as it comes up.
    ///
    /// # Panics
    /// If none may be launched at once.
    pub fn launch_many(
        &self,
        launches: impl IntoIterator<Item = Launch>,
        at_once: usize,
    ) -> Launching {
        assert!(at_once > 0, "at least one must be launched at once");
        let launches: Vec<_> = launches.into_iter().enumerate().collect();
        let context = self.clone();
        let launches = stream::iter(launches).map(move |(place, launch)| {
            let context = context.clone();
            async move { (place, context.launch(launch).await) }
        });
        Launching(Box::pin(launches.buffer_unordered(at_once)))
    }
}
