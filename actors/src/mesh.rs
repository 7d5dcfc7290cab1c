//! Who a context is, and in which mesh: a fresh authority, or PEM folders issued beforehand.

use std::{path::Path, sync::Arc, time::Duration};

use actogen_runtime::{core::ContextId, transport::Authority};
use actogen_transport_quic::{FolderError, MeshAuthority, NodeIdentity};

/// A context's identity and, for the root, the mesh's authority.
#[derive(Clone, Debug)]
pub struct Mesh {
    identity: Arc<NodeIdentity>,
    authority: Option<Arc<MeshAuthority>>,
}

/// Why there is no mesh.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    /// The name is no mesh's name.
    #[error("`{name}` cannot be a mesh's name: {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A folder could not be read or written, or holds what it should not.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl Mesh {
    /// A fresh mesh, whose authority lives and ends with this process, and its root's identity.
    ///
    /// # Errors
    /// [`MeshError::Name`].
    pub fn fresh(name: &str) -> Result<Self, MeshError> {
        let authority = MeshAuthority::generate(name)
            .map_err(|error| MeshError::Name { name: name.to_owned(), why: error.to_string() })?;
        Ok(Self::of_root(authority))
    }

    /// The root of a mesh whose authority is kept in a folder; see [`Self::create_authority`].
    ///
    /// # Errors
    /// [`MeshError::Folder`].
    pub fn root(authority: impl AsRef<Path>) -> Result<Self, MeshError> {
        Ok(Self::of_root(MeshAuthority::load(authority)?))
    }

    /// The identity of a context other than the root, from the folder that [`Self::issue`] wrote: `ca.pem`, `cert.pem`,
    /// `key.pem`.
    ///
    /// # Errors
    /// [`MeshError::Folder`].
    pub fn from_pem(folder: impl AsRef<Path>) -> Result<Self, MeshError> {
        Ok(Self { identity: Arc::new(NodeIdentity::from_pem(folder)?), authority: None })
    }

    /// Makes a mesh's authority and keeps it in a folder: for the root, and for issuing.
    ///
    /// # Errors
    /// [`MeshError`].
    pub fn create_authority(name: &str, folder: impl AsRef<Path>) -> Result<(), MeshError> {
        let authority = MeshAuthority::generate(name)
            .map_err(|error| MeshError::Name { name: name.to_owned(), why: error.to_string() })?;
        Ok(authority.save(folder)?)
    }

    /// Issues an identity beforehand, into a folder that is then brought to the other machine. The id is reserved durably.
    ///
    /// # Errors
    /// [`MeshError::Folder`].
    pub fn issue(
        authority: impl AsRef<Path>,
        folder: impl AsRef<Path>,
        context: ContextId,
        lifetime: Duration,
    ) -> Result<(), MeshError> {
        Ok(MeshAuthority::load(authority)?.issue_pem(folder, context, lifetime)?)
    }

    pub(crate) fn enrolled(identity: NodeIdentity) -> Self {
        Self { identity: Arc::new(identity), authority: None }
    }

    fn of_root(authority: MeshAuthority) -> Self {
        let identity = Arc::new(authority.root_identity());
        Self { identity, authority: Some(Arc::new(authority)) }
    }

    /// The mesh's name.
    pub fn name(&self) -> &str {
        self.identity.mesh_name().as_str()
    }

    pub(crate) fn into_parts(self) -> (Arc<NodeIdentity>, Option<Arc<dyn Authority>>) {
        (self.identity, self.authority.map(|authority| authority as Arc<dyn Authority>))
    }
}
