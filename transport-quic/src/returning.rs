//! Coming back: a context whose certificate has expired while it was asleep, or out of the root's reach, gets another before it links.
//!
//! It asks whom it wants to link to, by the join protocol, which needs no certificate. The root decides: for seven days after the expiry, for
//! the same key, and never for one that is revoked (protocol rule 25).

use actogen_core::id::ContextId;
use actogen_runtime::{
    Admission, ReturnRequest,
    transport::{DialError, Identity},
};
use bytes::Bytes;

use crate::{
    dial::Dial,
    enrol::{self, Answered},
    identity::NodeIdentity,
    tls::{self, Verdict},
};

/// Renews an identity's certificate where it is to link, if that has expired. The root's is nobody else's to renew.
pub(crate) async fn renew_if_expired(
    dial: &Dial<'_>,
    identity: &NodeIdentity,
    expect: Option<ContextId>,
) -> Result<(), DialError> {
    if !identity.has_expired() || identity.context().is_root() {
        return Ok(());
    }
    let (certificate, request) = (identity.certificate(), identity.renewal_request());
    let request: Bytes = ReturnRequest { certificate, request }.encode().into();
    let answered = dial
        .first(|address, deadline| {
            let request = request.clone();
            Box::pin(async move {
                let verdict = Verdict::default();
                let config = tls::returning(identity, expect, verdict.clone());
                let config = dial.settings.client(config);
                enrol::talk(dial, config, &verdict, request, address, deadline).await
            })
        })
        .await?;
    let endpoint = || dial.endpoint.clone();
    let Answered { answer, .. } = answered.map_err(|why| DialError::Identity {
        endpoint: endpoint(),
        why: format!("this context's certificate has expired, and is not renewed: {why}"),
    })?;
    let renewed = Admission::decode(&answer)
        .ok_or_else(|| "the answer cannot be read".to_owned())
        .and_then(|admission| identity.renew(&admission.certificate).map_err(|error| error.0));
    renewed.map_err(|why| DialError::Identity { endpoint: endpoint(), why })?;
    tracing::info!(context = %identity.context(), "the certificate had expired and is renewed");
    Ok(())
}
