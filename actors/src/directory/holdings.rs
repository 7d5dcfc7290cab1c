//! How much a directory keeps: what must return to where it was when all have left.

use actix::{Context as ActixContext, Handler, MessageResult};
use serde::{Deserialize, Serialize};

use super::{actor::Directory, asks::Here, dead, top::DirectoryError};
use crate::{RemoteMessage, context::Context};

/// The sizes of a directory's tables. All but the last two are those of the top of the tree, and zero anywhere else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DirectoryHoldings {
    /// Names that have an owner.
    pub names: usize,
    /// Groups that somebody is in, or holds.
    pub groups: usize,
    /// Members of all groups.
    pub members: usize,
    /// Contexts that hold a group, counted for each group.
    pub holders: usize,
    /// Contexts that wait for a name, counted for each name.
    pub waiting: usize,
    /// Contexts that have anything of all this.
    pub parts: usize,
    /// Contexts that could not be told all yet.
    pub late: usize,
    /// Contexts that had something and were lost: remembered by their ids, at most 4,096, until they come back.
    pub gone: usize,
    /// Names and memberships of this context's own actors.
    pub own: usize,
    /// Groups that this context holds, and names that it waits for.
    pub wishes: usize,
}

/// Asks the directory of the same context for its sizes.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.CountDirectory", reply = "DirectoryHoldings", crate = crate)]
pub(super) struct Count(Here<()>);

impl Context {
    /// How much this context's directory keeps of names and groups, after it has let go of what nobody holds here any more.
    ///
    /// # Errors
    /// [`DirectoryError::Dead`] when the context has ended.
    pub async fn directory_holdings(&self) -> Result<DirectoryHoldings, DirectoryError> {
        self.directory().send(Count(Here(()))).await.map_err(dead)
    }
}

impl Handler<Count> for Directory {
    type Result = MessageResult<Count>;

    fn handle(&mut self, _: Count, ctx: &mut ActixContext<Self>) -> Self::Result {
        self.catch_up(ctx);
        self.tidy(ctx);
        let mut holdings = DirectoryHoldings {
            late: self.late.len(),
            gone: self.gone.len(),
            own: self.own.count(),
            wishes: self.wishes.count(),
            ..DirectoryHoldings::default()
        };
        self.top.count(&mut holdings);
        MessageResult(holdings)
    }
}
