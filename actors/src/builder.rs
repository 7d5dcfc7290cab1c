//! Settings for a context, with the QUIC transport where the feature `quic` is on.

use std::{fmt, sync::Arc, time::Duration};

use actogen_runtime::{
    Builder, Placement, StartError,
    core::{ContextId, Incarnation, Limits, policy::Policy},
    transport::{Authority, BoxFuture, Transport},
};

use crate::{context::Context, directory, function, logs, nursery, publish, service, topics};

/// Settings for a context. Made by [`Context::builder`].
#[must_use = "a builder does nothing until it starts"]
pub struct ContextBuilder {
    runtime: Builder,
    #[cfg(feature = "quic")]
    quic: Option<Quic>,
}

/// The QUIC transport's part of the settings.
#[cfg(feature = "quic")]
struct Quic {
    mesh: crate::mesh::Mesh,
    options: actogen_transport_quic::QuicOptions,
}

impl ContextBuilder {
    pub(crate) fn new() -> Self {
        Self {
            runtime: actogen_runtime::Context::builder(),
            #[cfg(feature = "quic")]
            quic: None,
        }
    }

    fn map(mut self, set: impl FnOnce(Builder) -> Builder) -> Self {
        self.runtime = set(self.runtime);
        self
    }

    /// Who this context is, and in which mesh. It dials only, unless [`Self::listen`] follows. One that has joined with a token attaches to
    /// the context by which it did.
    #[cfg(feature = "quic")]
    pub fn mesh(mut self, mesh: crate::mesh::Mesh) -> Self {
        let options = match self.quic {
            Some(quic) => quic.options,
            None => actogen_transport_quic::QuicOptions::dial_only(),
        };
        let joined = mesh.joined().cloned();
        self.quic = Some(Quic { mesh, options });
        match joined {
            Some((life, endpoint, parent)) => self.incarnation(life).connect_to(endpoint, parent),
            None => self,
        }
    }

    /// Accepts links at this address, such as `0.0.0.0:4433`; port 0 lets the system choose. Call it after [`Self::mesh`].
    ///
    /// # Panics
    /// If no mesh was given before: nothing listens without authentication.
    #[cfg(feature = "quic")]
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        let quic = self
            .quic
            .as_mut()
            .expect("give the builder a mesh first: nothing listens without authentication");
        quic.options.listen = Some(address.into());
        self
    }

    /// Changes the QUIC transport's own options. Call it after [`Self::mesh`].
    #[cfg(feature = "quic")]
    pub fn quic(mut self, change: impl FnOnce(&mut actogen_transport_quic::QuicOptions)) -> Self {
        if let Some(quic) = self.quic.as_mut() {
            change(&mut quic.options);
        }
        self
    }

    /// Attaches to the parent at this endpoint when it starts.
    pub fn connect(self, endpoint: impl Into<String>) -> Self {
        self.map(|runtime| runtime.connect(endpoint, None))
    }

    /// As [`Self::connect`], to just this parent.
    pub fn connect_to(self, endpoint: impl Into<String>, parent: ContextId) -> Self {
        self.map(|runtime| runtime.connect(endpoint, Some(parent)))
    }

    /// Waits at most this long for the root to dial this context and be its parent ([`actogen_runtime::Context::adopt`]); beside
    /// [`Self::connect`], whichever comes first.
    pub fn await_parent(self, within: Duration) -> Self {
        self.map(|runtime| runtime.await_parent(within))
    }

    /// The bounds to work within.
    pub fn limits(self, limits: Limits) -> Self {
        self.map(|runtime| runtime.limits(limits))
    }

    /// Where the I/O tasks and the Router run.
    pub fn placement(self, placement: Placement) -> Self {
        self.map(|runtime| runtime.placement(placement))
    }

    /// Another transport than QUIC; made on the broker's runtime.
    pub fn transport<F, T>(self, make: F) -> Self
    where
        F: FnOnce(Limits) -> BoxFuture<'static, Result<T, String>> + Send + 'static,
        T: Transport,
    {
        self.map(|runtime| runtime.transport(make))
    }

    /// The mesh's authority, for a root with another transport than QUIC ([`Self::mesh`] brings it along).
    pub fn authority(self, authority: Arc<dyn Authority>) -> Self {
        self.map(|runtime| runtime.authority(authority))
    }

    /// The life that the root has given already, at enrolment.
    pub fn incarnation(self, incarnation: Incarnation) -> Self {
        self.map(|runtime| runtime.incarnation(incarnation))
    }

    /// Which events of the programs below this context come to the root, as `RUST_LOG` says it; warnings and errors unless set.
    pub fn log_filter(self, filter: impl Into<String>) -> Self {
        self.map(|runtime| runtime.log_filter(filter))
    }

    pub(crate) fn logs(self, logs: Arc<actogen_runtime::logs::Logs>) -> Self {
        self.map(|runtime| runtime.logs(logs))
    }

    /// The seed of all handles, for simulations that must repeat.
    pub fn seed(self, seed: [u8; 32]) -> Self {
        self.map(|runtime| runtime.seed(seed))
    }

    /// Refuses messages that one child, or a context below it, sends to another child or below that: here and in the whole subtree, as
    /// children take the mode from their parent. What goes up, what comes from above and all answers pass. Off unless set.
    pub fn one_way(self, one_way: bool) -> Self {
        self.map(|runtime| runtime.one_way(one_way))
    }

    /// Who may be given a ticket to a direct link ([`Context::connect`](crate::Context)) by this context, and through it: each context on
    /// the way from the asker to the one that is asked applies its own. Anyone unless set.
    pub fn direct_links(self, policy: Policy) -> Self {
        self.map(|runtime| runtime.direct_links(policy))
    }

    /// Endpoints of contexts below which this one goes on when it loses its parent; it ends when none of them takes it within the
    /// detection time.
    pub fn other_parents(self, endpoints: impl IntoIterator<Item = String>) -> Self {
        self.map(|runtime| runtime.other_parents(endpoints))
    }

    /// Whether the context ends when it loses its parent; it does unless this says no.
    pub fn ends_with_parent(self, ends: bool) -> Self {
        self.map(|runtime| runtime.ends_with_parent(ends))
    }

    /// Starts the context, and returns when it has its place in the tree.
    ///
    /// # Errors
    /// [`StartError`].
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`: actors need one.
    pub async fn start(self) -> Result<Context, StartError> {
        #[cfg(feature = "quic")]
        let runtime = match self.quic {
            Some(Quic { mesh, options }) => {
                let (identity, authority) = mesh.into_parts();
                let runtime = self.runtime.transport(move |limits| {
                    Box::pin(async move {
                        let options = options.with_limits(&limits);
                        actogen_transport_quic::QuicTransport::bind(identity, options)
                            .map_err(|error| error.to_string())
                    })
                });
                match authority {
                    Some(authority) => runtime.authority(authority),
                    None => runtime,
                }
            }
            None => self.runtime,
        };
        #[cfg(not(feature = "quic"))]
        let runtime = self.runtime;
        let (door, requests) = nursery::door();
        let (functions, calls) = function::door();
        let (services, service_calls) = service::door();
        let (keeper, records) = logs::door();
        let (directory, words) = directory::door();
        let (topics, published) = topics::door();
        let (publishing, acknowledgements) = publish::door();
        let runtime = runtime.prepare(move |context| {
            door(context);
            functions(context);
            services(context);
            keeper(context);
            directory(context);
            topics(context);
            publishing(context);
        });
        let context = Context::over(runtime.start().await?);
        nursery::serve(&context, requests);
        function::serve(&context, calls);
        service::serve(&context, service_calls);
        logs::serve(&context, records);
        directory::serve(&context, words);
        topics::serve(&context, published);
        publish::serve(&context, acknowledgements);
        Ok(context)
    }
}

impl fmt::Debug for ContextBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ContextBuilder").field(&self.runtime).finish()
    }
}
