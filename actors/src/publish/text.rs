//! Messages for whoever publishes without a type of his own, such as a shell.

use serde::{Deserialize, Serialize};

use crate::RemoteMessage;

/// A line of text.
#[derive(Clone, Debug, PartialEq, Eq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Text", crate = crate)]
pub struct Text(pub String);

/// Any JSON.
#[cfg(feature = "json")]
#[derive(Clone, Debug, PartialEq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Json", codec = "json", crate = crate)]
pub struct Json(pub serde_json::Value);
