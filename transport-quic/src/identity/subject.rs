//! Whom a certificate is of: one context, and the names that the authority has bound to it.

use actogen_core::id::ContextId;
use actogen_runtime::names::{ContextNames, MOST_NAMES};
use webpki::EndEntityCert;

use super::{
    judge::Refusal,
    mesh::{self, MeshName},
};

/// What a certificate says of its owner, whoever issued it.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) mesh: MeshName,
    pub(super) context: ContextId,
    pub(super) names: ContextNames,
}

impl Subject {
    /// Reads the URIs of a certificate: exactly one is of a context, up to eight are of names in the same mesh, and there are no others.
    pub(super) fn read(leaf: &EndEntityCert<'_>) -> Result<Self, Refusal> {
        let (mut owner, mut names) = (None, Vec::new());
        for uri in leaf.valid_uri_names() {
            match (mesh::parse_context_uri(uri), mesh::parse_name_uri(uri)) {
                (Some(context), _) if owner.is_none() => owner = Some(context),
                (None, Some(name)) if names.len() < MOST_NAMES => names.push(name),
                (None, Some(_)) => return Err(Refusal::Names),
                _ => return Err(Refusal::Unnamed),
            }
        }
        let (mesh, context) = owner.ok_or(Refusal::Unnamed)?;
        if names.iter().any(|(of, _)| *of != mesh) {
            return Err(Refusal::Names);
        }
        let names = ContextNames::new(names.into_iter().map(|(_, name)| name));
        Ok(Self { mesh, context, names: names.map_err(|_| Refusal::Names)? })
    }
}
