//! Children with names that the authority binds to them: launched by the root alone, which has the authority and sees the whole tree.

use super::LaunchError;
use crate::{context::Context, names::ContextNames};

impl Context {
    /// The names that a launch asks for, if this context may give them now.
    pub(super) fn names_to_give(&self, names: &[String]) -> Result<ContextNames, LaunchError> {
        let names = ContextNames::new(names.iter().map(String::as_str))
            .map_err(|error| LaunchError::Name(error.to_string()))?;
        self.may_give(&names).map_err(LaunchError::Name)?;
        Ok(names)
    }

    /// Whether names may be bound to a child that is launched now: by the root, and if no context in the tree has one.
    pub(crate) fn may_give(&self, names: &ContextNames) -> Result<(), String> {
        if names.is_empty() {
            return Ok(());
        }
        let Some(authority) = self.authority() else {
            return Err(format!("{} is not the root: only the root gives names", self.id()));
        };
        for name in names.as_slice() {
            let holder = authority.holder(name).map_err(|error| error.0)?;
            if let Some(holder) = holder.filter(|&holder| self.place_of(holder).is_some()) {
                return Err(format!(
                    "the name `{name}` belongs to {holder}, which is in the tree: end that one first, or choose another name"
                ));
            }
        }
        Ok(())
    }
}
