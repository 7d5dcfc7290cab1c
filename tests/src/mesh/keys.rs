//! Identities for fabrics over QUIC: one authority for each mesh, which lives as long as the test.

use std::sync::Arc;

use actogen::{
    ContextId,
    quic::{JoinKey, MeshAuthority, NodeIdentity, QuicOptions, QuicTransport},
    transport::{Authority, Transport},
};

/// The authority of one mesh.
#[derive(Clone, Debug)]
pub(super) struct Keys(Arc<MeshAuthority>);

/// Who a context is.
#[derive(Debug)]
pub(super) struct Papers(Arc<NodeIdentity>);

impl Keys {
    pub(super) fn fresh() -> Self {
        let authority = MeshAuthority::generate("conformance.test").expect("that is a mesh's name");
        Self(Arc::new(authority))
    }

    pub(super) fn authority(&self) -> Arc<dyn Authority> {
        self.0.clone()
    }

    pub(super) fn identity(&self, context: ContextId) -> Result<Papers, String> {
        if context.is_root() {
            return Ok(Papers(Arc::new(self.0.root_identity())));
        }
        let key = JoinKey::generate();
        let certificate = self.0.issue(context, &key.request()).map_err(|error| error.0)?;
        let identity = NodeIdentity::from_enrolment(key, &certificate, &self.0.roots());
        identity.map(|identity| Papers(Arc::new(identity))).map_err(|error| error.0)
    }
}

impl Papers {
    /// Opens a transport for the context.
    pub(super) fn bind(self, options: QuicOptions) -> Result<Arc<dyn Transport>, String> {
        let transport = QuicTransport::bind(self.0, options);
        transport.map(|t| Arc::new(t) as Arc<dyn Transport>).map_err(|error| error.to_string())
    }
}
