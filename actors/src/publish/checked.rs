//! The first thing that happens to a signed message where somebody wants it: signature, certificate and revocation are checked.

use std::{sync::Arc, time::SystemTime};

use actogen_runtime::core::ContextId;

use super::message::{self, AckLevel, DOMAIN, Key, MessageHash, MessageId, Sequence, Signed};
use crate::{context::Context, topics::Carried};

/// A signed message that holds: what of its signed part is still of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(super) id: MessageId,
    pub(super) hash: MessageHash,
    pub(super) content: MessageHash,
    pub(super) series: u64,
    pub(super) sequence: u64,
    pub(super) level: AckLevel,
    /// Those of the required names that are this context's.
    pub(super) owed_by: Vec<String>,
    /// The names that the publisher's certificate carries.
    pub(super) publisher_names: Vec<String>,
    /// What was signed beside the message, for who carries it on; what only asks for an answer goes without.
    pub(super) signed: Option<Arc<Signed>>,
}

impl Checked {
    /// The message's id.
    pub(crate) fn id(&self) -> MessageId {
        self.id
    }

    /// Its place among its publisher's messages.
    pub(crate) fn place(&self) -> Sequence {
        Sequence { series: self.series, number: self.sequence }
    }

    pub(super) fn key(&self, from: ContextId) -> Key {
        (from, self.id)
    }

    /// It, as what asks for an answer: without what only who carries the message on needs.
    pub(super) fn for_answer(&self) -> Self {
        Self { signed: None, ..self.clone() }
    }

    /// How many bytes its signature and certificate take.
    pub(crate) fn charge(&self) -> usize {
        self.signed.as_ref().map_or(0, |signed| signed.certificate.len() + signed.signature.len())
    }

    /// What tells it from other messages, however often and for whomever it is published.
    pub(crate) fn identity(&self, from: ContextId) -> Identity {
        (from, self.id, self.content)
    }

    /// The names that the publisher's certificate carries.
    pub(crate) fn publisher_names(&self) -> &[String] {
        &self.publisher_names
    }
}

/// Who has published a message, under which id, and what it says.
pub(crate) type Identity = (ContextId, MessageId, MessageHash);

/// Why a signed message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is larger, or requires more, than may be.
    Oversize,
    /// Its signature or its certificate does not hold.
    Forged,
    /// Its publisher's certificate is revoked.
    Revoked,
}

/// Checks a signed message: one that comes now, or one that was kept since a time, when its certificate must have been in force.
pub(crate) fn check(
    cx: &Context,
    carried: &Carried,
    signed: &Signed,
    at: Option<SystemTime>,
) -> Result<Checked, Unfit> {
    if !signed.is_bounded() {
        return Err(Unfit::Oversize);
    }
    if cx.is_revoked(carried.from) {
        return Err(Unfit::Revoked);
    }
    let hash = message::hash(carried, signed);
    let (certificate, signature) = (&signed.certificate, &signed.signature);
    let judged = match at {
        None => cx.verify_claim(DOMAIN, carried.from, certificate, &hash, signature),
        Some(at) => cx.verify_claim_at(DOMAIN, carried.from, certificate, &hash, signature, at),
    };
    let publisher_names = judged.map_err(|_| Unfit::Forged)?;
    let own = if signed.required.is_empty() { Vec::new() } else { cx.own_names() };
    let owed_by = own.into_iter().filter(|name| signed.required.contains(name)).collect();
    Ok(Checked {
        id: signed.id,
        hash,
        content: message::content(carried),
        series: signed.series,
        sequence: signed.sequence,
        level: signed.level,
        owed_by,
        publisher_names,
        signed: Some(Arc::new(signed.clone())),
    })
}
