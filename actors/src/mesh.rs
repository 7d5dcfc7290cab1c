//! Who a context is, and in which mesh: a fresh authority, or PEM folders issued beforehand.

use std::{path::Path, sync::Arc, time::Duration};

use actogen_runtime::{
    core::{ContextId, Incarnation},
    names::{ContextNames, Holder},
    transport::Authority,
};
use actogen_transport_quic::{
    EnrolError, FolderError, JoinKey, JoinToken, MeshAuthority, NodeIdentity, QuicOptions, TokenId,
};

/// A context's identity and, for the root, the mesh's authority.
#[derive(Clone, Debug)]
pub struct Mesh {
    identity: Arc<NodeIdentity>,
    authority: Option<Arc<MeshAuthority>>,
    /// What joining has brought beside the identity: the first life, and whose child it is.
    joined: Option<(Incarnation, String, ContextId)>,
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
        Ok(Self::of_authority(authority))
    }

    /// As [`Self::fresh`], with certificates that live so long instead of a day. They are renewed at half of it.
    ///
    /// # Errors
    /// [`MeshError::Name`].
    pub fn fresh_with_lifetime(name: &str, lifetime: Duration) -> Result<Self, MeshError> {
        let authority = MeshAuthority::generate(name)
            .map_err(|error| MeshError::Name { name: name.to_owned(), why: error.to_string() })?;
        Ok(Self::of_authority(authority.with_lifetime(lifetime)))
    }

    /// The root of a mesh whose authority is kept in a folder; see [`Self::create_authority`].
    ///
    /// # Errors
    /// [`MeshError::Folder`].
    pub fn root(authority: impl AsRef<Path>) -> Result<Self, MeshError> {
        Ok(Self::of_authority(MeshAuthority::load(authority)?))
    }

    /// The identity of a context other than the root, from the folder that [`Self::issue`] wrote: `ca.pem`, `cert.pem`,
    /// `key.pem`.
    ///
    /// # Errors
    /// [`MeshError::Folder`].
    pub fn from_pem(folder: impl AsRef<Path>) -> Result<Self, MeshError> {
        Ok(Self::enrolled(NodeIdentity::from_pem(folder)?))
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

    /// Joins a mesh with a one-time token, by whichever context of it answers at `endpoint`: that is the parent then. A builder that gets this
    /// mesh connects there by itself.
    ///
    /// The key is made here and never leaves the process. The token admits one key: after a failure on the way, try again with a new token.
    ///
    /// # Errors
    /// [`EnrolError`]; nothing has been sent unless the other has proved to be of the token's mesh.
    pub async fn join(endpoint: &str, token: &JoinToken) -> Result<Self, EnrolError> {
        let options = QuicOptions::dial_only();
        let joined =
            actogen_transport_quic::join(options, endpoint, token, JoinKey::generate()).await?;
        let place = (joined.incarnation, endpoint.to_owned(), joined.parent);
        Ok(Self { joined: Some(place), ..Self::enrolled(joined.identity) })
    }

    /// Writes this identity into a folder, as [`Self::from_pem`] reads it: the key readable by its owner alone.
    ///
    /// # Errors
    /// [`MeshError::Folder`]; a key that is there stays.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), MeshError> {
        Ok(self.identity.save(folder)?)
    }

    /// Gives out a one-time token by which a process may join, from the authority in this folder, whether its root runs or not.
    ///
    /// # Errors
    /// [`MeshError::Folder`].
    pub fn create_token(
        authority: impl AsRef<Path>,
        good_for: Duration,
    ) -> Result<JoinToken, MeshError> {
        Ok(MeshAuthority::load(authority)?.create_token(good_for)?)
    }

    /// As [`Self::create_token`]; the mesh's authority binds these names to the context that joins, as far as `holder` lets it then.
    ///
    /// # Errors
    /// [`MeshError::Folder`], also when another context has a name and is to [stay](Holder::Stays).
    pub fn create_token_named(
        authority: impl AsRef<Path>,
        good_for: Duration,
        names: &ContextNames,
        holder: Holder,
    ) -> Result<JoinToken, MeshError> {
        Ok(MeshAuthority::load(authority)?.create_token_named(good_for, names, holder)?)
    }

    /// Takes a token back; whom it has admitted stays. False when there is no such token, or it has expired.
    ///
    /// # Errors
    /// [`MeshError::Folder`].
    pub fn revoke_token(authority: impl AsRef<Path>, token: TokenId) -> Result<bool, MeshError> {
        Ok(MeshAuthority::load(authority)?.revoke_token(token)?)
    }

    /// As [`Self::create_token`], from the authority that this mesh's root has with it.
    ///
    /// # Errors
    /// [`MeshError::Folder`].
    ///
    /// # Panics
    /// For a mesh that is not the root's: nobody else has the authority.
    pub fn invite(&self, good_for: Duration) -> Result<JoinToken, MeshError> {
        let authority = self.authority.as_ref();
        let authority = authority.expect("only the root's mesh has the authority");
        Ok(authority.create_token(good_for)?)
    }

    /// As [`Self::create_token_named`], from the authority that this mesh's root has with it.
    ///
    /// # Errors
    /// [`MeshError::Folder`].
    ///
    /// # Panics
    /// For a mesh that is not the root's: nobody else has the authority.
    pub fn invite_named(
        &self,
        good_for: Duration,
        names: &ContextNames,
        holder: Holder,
    ) -> Result<JoinToken, MeshError> {
        let authority = self.authority.as_ref();
        let authority = authority.expect("only the root's mesh has the authority");
        Ok(authority.create_token_named(good_for, names, holder)?)
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

    /// As [`Self::issue`], with names that the authority binds to the context; its certificate carries them, and so do those that it is renewed by.
    ///
    /// # Errors
    /// [`MeshError::Folder`], also when another context has a name and is to [stay](Holder::Stays).
    pub fn issue_named(
        authority: impl AsRef<Path>,
        folder: impl AsRef<Path>,
        context: ContextId,
        lifetime: Duration,
        names: &ContextNames,
        holder: Holder,
    ) -> Result<(), MeshError> {
        let authority = MeshAuthority::load(authority)?;
        Ok(authority.issue_pem_named(folder, context, lifetime, names, holder)?)
    }

    /// To which context the authority in this folder has bound a name last; `None` when it never has. In a mesh that runs,
    /// [`Context::who_has`](actogen_runtime::Context::who_has) asks the root.
    ///
    /// # Errors
    /// [`MeshError::Folder`].
    pub fn holder_of(
        authority: impl AsRef<Path>,
        name: &str,
    ) -> Result<Option<ContextId>, MeshError> {
        Ok(MeshAuthority::load(authority)?.holder_of(name)?)
    }

    /// Revokes the certificate of a context for good, by the authority in this folder, whether its root runs or not; a root that runs takes
    /// notice within a second. False when that was done before. Where the root is at hand, [`Context::revoke`](actogen_runtime::Context::revoke) does
    /// it at once.
    ///
    /// # Errors
    /// [`MeshError::Folder`].
    pub fn revoke(authority: impl AsRef<Path>, context: ContextId) -> Result<bool, MeshError> {
        Ok(MeshAuthority::load(authority)?.revoke_context(context)?)
    }

    pub(crate) fn enrolled(identity: NodeIdentity) -> Self {
        Self { identity: Arc::new(identity), authority: None, joined: None }
    }

    /// The root of the mesh of an authority that was made, or read, with its own settings.
    pub fn of_authority(authority: MeshAuthority) -> Self {
        let identity = Arc::new(authority.root_identity());
        Self { identity, authority: Some(Arc::new(authority)), joined: None }
    }

    /// The mesh's name.
    pub fn name(&self) -> &str {
        self.identity.mesh_name().as_str()
    }

    /// Where joining has led: the life that it has given, the endpoint and the parent.
    pub(crate) fn joined(&self) -> Option<&(Incarnation, String, ContextId)> {
        self.joined.as_ref()
    }

    /// Which context it makes of a process.
    pub fn context(&self) -> ContextId {
        use actogen_runtime::transport::Identity;
        self.identity.context()
    }

    pub(crate) fn into_parts(self) -> (Arc<NodeIdentity>, Option<Arc<dyn Authority>>) {
        (self.identity, self.authority.map(|authority| authority as Arc<dyn Authority>))
    }
}
