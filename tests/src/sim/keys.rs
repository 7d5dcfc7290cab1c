//! The identities of the simulated contexts, made once for all seeds: certificates cost more than a simulated minute of routing.

use std::sync::{Arc, OnceLock};

use actogen::{
    ContextId,
    quic::{JoinKey, MeshAuthority, NodeIdentity},
    transport::{Authority, IdentityError},
};
use parking_lot::Mutex;

use super::plan::MOST_CONTEXTS;

/// The mesh's authority and everybody's identity.
#[derive(Debug)]
pub(crate) struct Keys {
    authority: MeshAuthority,
    identities: Vec<Arc<NodeIdentity>>,
}

impl Keys {
    /// Those of this process.
    pub(crate) fn shared() -> Arc<Self> {
        static KEYS: OnceLock<Arc<Keys>> = OnceLock::new();
        KEYS.get_or_init(|| Arc::new(Self::generate())).clone()
    }

    fn generate() -> Self {
        let authority = MeshAuthority::generate("sim.test").expect("the name can name a mesh");
        let mut identities = vec![Arc::new(authority.root_identity())];
        for context in 1..MOST_CONTEXTS as u64 {
            let key = JoinKey::generate();
            let certificate = authority
                .issue(ContextId(context), &key.request())
                .expect("a request of our own is signed");
            let identity = NodeIdentity::from_enrolment(key, &certificate, &authority.roots())
                .expect("a certificate of our own is accepted");
            identities.push(Arc::new(identity));
        }
        Self { authority, identities }
    }

    pub(crate) fn identity(&self, context: usize) -> Arc<NodeIdentity> {
        self.identities[context].clone()
    }
}

/// The authority of one simulation: what its root has reserved outlives the root's crashes, and belongs to no other simulation.
#[derive(Debug)]
pub(crate) struct Kept {
    keys: Arc<Keys>,
    reserved: Mutex<(u64, u64)>,
}

impl Kept {
    pub(crate) fn new(keys: Arc<Keys>) -> Self {
        Self { keys, reserved: Mutex::new((0, MOST_CONTEXTS as u64)) }
    }
}

impl Authority for Kept {
    fn issue(&self, context: ContextId, request: &[u8]) -> Result<Vec<u8>, IdentityError> {
        self.keys.authority.issue(context, request)
    }

    fn reserve(&self, term: u64, ids_below: u64) -> Result<(), IdentityError> {
        *self.reserved.lock() = (term, ids_below);
        Ok(())
    }

    fn reserved(&self) -> (u64, u64) {
        *self.reserved.lock()
    }
}
