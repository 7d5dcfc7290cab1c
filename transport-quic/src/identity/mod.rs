//! Who a context is, and how others are held to it.
//!
//! ```text
//!  MeshAuthority (root only)          JoinKey ── request ──> authority
//!      │ issues                                                  │
//!      ▼                                                         ▼
//!  certificate: spiffe://<mesh>/context/<id>, names, Ed25519, both TLS uses, 24 h, dated back 1 h
//!      │
//!      ▼
//!  NodeIdentity ── proves ──> TLS handshakes (crate::tls), signed claims in announcements
//!      └──────── judges ──> Judge: name, chain, dates, uses, id
//! ```
//!
//! There is one judgement (`Judge`) for every place where a certificate arrives: the dialling side, the accepting side, the joining
//! side, and announcements that came through other contexts. A certificate passes if
//!
//! 1. it names exactly one context of this mesh as `spiffe://<mesh>/context/<id>`, and beside it at most eight well-formed names
//!    of this mesh as `spiffe://<mesh>/name/<name>`,
//! 2. one of the mesh's roots issued it directly,
//! 3. it is in force now, by the mesh's time (contexts with PEM folders go by their machine's clock, and allow five minutes),
//! 4. it is meant for both server and client authentication,
//! 5. the authority has not revoked it,
//! 6. and, where the caller knows who must answer, it is that context's.
//!
//! Host names play no part: contexts move between machines, and a certificate binds a context, not an address.

mod authority;
mod folder;
mod issuing;
mod judge;
mod judged;
mod mesh;
mod names;
mod naming;
mod node;
mod renewing;
mod revocations;
mod subject;
mod time;
mod tokens;

pub use authority::{LIFETIME, MeshAuthority, PEM_LIFETIME};
pub use folder::FolderError;
pub use mesh::{MeshName, MeshNameError};
pub use node::{JoinKey, NodeIdentity};
pub use time::{Clock, MachineClock};
pub use tokens::{JoinToken, TokenError, TokenId};

pub(crate) use judge::{Judge, Refusal, Roots, When};

use std::time::Duration;

use rustls::pki_types::CertificateDer;

/// From when until when a certificate is in force, both since 1970; `None` if it does not decode.
fn validity(certificate: &CertificateDer<'_>) -> Option<(Duration, Duration)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let since_1970 = |time: x509_parser::time::ASN1Time| {
        u64::try_from(time.timestamp()).ok().map(Duration::from_secs)
    };
    Some((since_1970(parsed.validity.not_before)?, since_1970(parsed.validity.not_after)?))
}

/// When a certificate was issued, since 1970: it is dated back from then.
fn issued_at((from, until): (Duration, Duration)) -> Duration {
    (from + issuing::BACKDATED).min(until)
}
