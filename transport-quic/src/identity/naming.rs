//! How an authority binds names to contexts: durably, and one that another context has only by revoking that.

use actogen_core::id::ContextId;
use actogen_runtime::names::{ContextNames, Holder};

use super::{
    authority::{Ledger, MeshAuthority, read_revoked},
    folder::{Folder, FolderError, NAMES_FILE, REVOKED_FILE, Stamp},
    names::{NameRecord, Unbindable},
};

/// The record of names, as it was read from the folder, and from which writing of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    pub(super) record: NameRecord,
    read: Option<Stamp>,
}

impl Ledger {
    /// The record as it is on the disk now. A question is one look at the file's date as long as nobody has written it.
    fn names(&mut self) -> Result<&NameRecord, FolderError> {
        if let Some(path) = &self.folder {
            let folder = Folder(path);
            // Looked at before the file is read: what is written meanwhile is read the next time.
            let stamp = folder.stamp(NAMES_FILE)?;
            if stamp.is_none() {
                self.named = Named::default();
            } else if stamp != self.named.read {
                self.named = Named { record: read_names(&folder)?, read: stamp };
            }
        }
        Ok(&self.named.record)
    }
}

impl MeshAuthority {
    /// Binds names to a context, durably, beside those that it has: the certificates that are issued for it from now on carry them.
    ///
    /// # Errors
    /// [`FolderError::NameTaken`] when another context has a name and is to [stay](Holder::Stays); otherwise what went wrong with a file,
    /// or what bound is reached.
    pub fn name_context(
        &self,
        context: ContextId,
        names: &ContextNames,
        holder: Holder,
    ) -> Result<(), FolderError> {
        if names.is_empty() {
            return Ok(());
        }
        let mut ledger = self.ledger();
        let Some(path) = ledger.folder.clone() else {
            let others = ledger.named.record.check(Some(context), names, holder, &ledger.revoked);
            for other in others.map_err(refused)? {
                revoke(&mut ledger.revoked, other)?;
            }
            ledger.named.record.bind(context, names);
            return Ok(());
        };
        let folder = Folder(&path);
        let _lock = folder.lock()?;
        let (mut record, mut revoked) = (read_names(&folder)?, read_revoked(&folder)?);
        let others = record.check(Some(context), names, holder, &revoked).map_err(refused)?;
        // First those who had them lose them: after a crash in between, nobody has.
        for &other in &others {
            revoke(&mut revoked, other)?;
        }
        if !others.is_empty() {
            folder.replace(REVOKED_FILE, &revoked.to_text())?;
        }
        record.bind(context, names);
        folder.replace(NAMES_FILE, &record.to_text())
    }

    /// Whether [`Self::name_context`] would bind these names now, for a context that is known or for a new one.
    pub(super) fn may_name(
        &self,
        context: Option<ContextId>,
        names: &ContextNames,
        holder: Holder,
    ) -> Result<(), FolderError> {
        if names.is_empty() {
            return Ok(());
        }
        let revoked = self.revoked()?;
        let mut ledger = self.ledger();
        ledger.names()?.check(context, names, holder, &revoked).map(drop).map_err(refused)
    }

    /// The names that are bound to a context.
    pub(super) fn names_of(&self, context: ContextId) -> Result<ContextNames, FolderError> {
        Ok(self.ledger().names()?.names_of(context))
    }

    /// To which context a name was bound last; `None` when it never was.
    ///
    /// # Errors
    /// [`FolderError`] when the record cannot be read.
    pub fn holder_of(&self, name: &str) -> Result<Option<ContextId>, FolderError> {
        Ok(self.ledger().names()?.holder(name))
    }
}

fn revoke(
    revoked: &mut super::revocations::Revocations,
    context: ContextId,
) -> Result<(), FolderError> {
    revoked
        .revoke(context)
        .map(drop)
        .map_err(|error| FolderError::Content { path: REVOKED_FILE.into(), why: error.to_string() })
}

fn refused(unbindable: Unbindable) -> FolderError {
    match unbindable {
        Unbindable::Held { name, by } => FolderError::NameTaken { name, by: by.0 },
        other => FolderError::Content { path: NAMES_FILE.into(), why: other.to_string() },
    }
}

fn read_names(folder: &Folder<'_>) -> Result<NameRecord, FolderError> {
    NameRecord::from_text(&folder.read_if_there(NAMES_FILE)?).map_err(|line| {
        folder.content(NAMES_FILE, format!("line {line} is not one of a list of names"))
    })
}
