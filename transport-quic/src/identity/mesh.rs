//! Names: of meshes, and of contexts inside certificates.

use std::{fmt, str::FromStr};

use actogen_core::id::ContextId;

/// The name of a mesh, which is the trust domain of its certificates.
///
/// Lower-case, DNS-like: labels of `a-z`, `0-9` and inner `-`, at most 63 bytes each, joined by dots, at most 253 bytes in all.
/// The narrow alphabet makes a name that a stranger's certificate claims safe to print.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MeshName(String);

/// A text that cannot name a mesh.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` cannot name a mesh: {why}. Use lower-case labels of letters, digits and inner hyphens joined by dots, such as `fleet.example`"
)]
pub struct MeshNameError {
    name: String,
    why: &'static str,
}

impl MeshName {
    const LABEL_MAX: usize = 63;
    const NAME_MAX: usize = 253;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands in the authority's own certificate: the trust domain without a path.
    pub(crate) fn authority_uri(&self) -> String {
        format!("{SCHEME}{}", self.0)
    }

    /// What stands in a context's certificate: `spiffe://<mesh>/context/<id>`.
    pub(crate) fn context_uri(&self, context: ContextId) -> String {
        format!("{SCHEME}{}{CONTEXT_PATH}{}", self.0, context.0)
    }

    /// What stands beside that for each name of the context: `spiffe://<mesh>/name/<name>`.
    pub(crate) fn name_uri(&self, name: &str) -> String {
        format!("{SCHEME}{}{NAME_PATH}{name}", self.0)
    }
}

impl FromStr for MeshName {
    type Err = MeshNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let label = |label: &str| match label.as_bytes() {
            [] => Some("a label is empty"),
            bytes if bytes.len() > Self::LABEL_MAX => Some("a label is longer than 63 bytes"),
            [b'-', ..] | [.., b'-'] => Some("a label begins or ends with a hyphen"),
            bytes if bytes.iter().any(|b| !matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')) => {
                Some("only a-z, 0-9 and hyphens stand in a label")
            }
            _ => None,
        };
        let why = if name.len() > Self::NAME_MAX {
            Some("it is longer than 253 bytes")
        } else {
            name.split('.').find_map(label)
        };
        match why {
            None => Ok(Self(name.to_owned())),
            Some(why) => {
                let shown = name.chars().take(80).flat_map(char::escape_default).collect();
                Err(MeshNameError { name: shown, why })
            }
        }
    }
}

impl fmt::Display for MeshName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MeshName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

const SCHEME: &str = "spiffe://";
const CONTEXT_PATH: &str = "/context/";
const NAME_PATH: &str = "/name/";

/// Reads `spiffe://<mesh>` as it stands in an authority's certificate.
pub(crate) fn parse_authority_uri(uri: &str) -> Option<MeshName> {
    uri.strip_prefix(SCHEME)?.parse().ok()
}

/// Reads `spiffe://<mesh>/context/<id>`. Exactly one spelling of each id is accepted: no sign, no leading zero, nothing after it.
pub(crate) fn parse_context_uri(uri: &str) -> Option<(MeshName, ContextId)> {
    let (mesh, path) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    let digits = path.strip_prefix(&CONTEXT_PATH[1..])?;
    let id: u64 = digits.parse().ok()?;
    (id.to_string() == digits).then_some((mesh.parse().ok()?, ContextId(id)))
}

/// Reads `spiffe://<mesh>/name/<name>`; whether that can be a name is for [`actogen_runtime::names`] to say.
pub(crate) fn parse_name_uri(uri: &str) -> Option<(MeshName, &str)> {
    let (mesh, path) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    let name = path.strip_prefix(&NAME_PATH[1..])?;
    Some((mesh.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_labels_within_their_lengths() {
        for good in ["a", "mesh.example", "a-1.b", &"a".repeat(63), &["a"; 126].join(".")] {
            assert_eq!(good.parse::<MeshName>().unwrap().as_str(), good);
        }
        let long = ["a"; 128].join(".");
        let wide = "a".repeat(64);
        for bad in ["", ".", "a.", "A", "a_b", "-a", "a-", "a/b", "a b", "ä", "a\n", &long, &wide]
        {
            let error = bad.parse::<MeshName>().unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error:?}");
        }
    }

    #[test]
    fn a_context_uri_has_exactly_one_spelling() {
        let mesh: MeshName = "a.test".parse().unwrap();
        for id in [0, 7, u64::MAX] {
            let uri = mesh.context_uri(ContextId(id));
            assert_eq!(parse_context_uri(&uri), Some((mesh.clone(), ContextId(id))));
        }
        for bad in [
            "spiffe://a.test/context/",
            "spiffe://a.test/context/07",
            "spiffe://a.test/context/+7",
            "spiffe://a.test/context/7/",
            "spiffe://a.test/context/18446744073709551616",
            "spiffe://a.test/node/7",
            "spiffe://A.test/context/7",
            "spiffe:///context/7",
            "https://a.test/context/7",
            "spiffe://a.test",
        ] {
            assert_eq!(parse_context_uri(bad), None, "{bad}");
        }
        assert_eq!(parse_name_uri(&mesh.name_uri("node-7")), Some((mesh.clone(), "node-7")));
        assert_eq!(parse_context_uri(&mesh.name_uri("7")), None);
        assert_eq!(parse_name_uri(&mesh.context_uri(ContextId(7))), None);
        assert_eq!(parse_authority_uri(&mesh.authority_uri()), Some(mesh));
    }
}
