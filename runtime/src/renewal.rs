//! Certificates are renewed at half of their life (protocol rule 25): asked of the root, shown in handshakes from then on, and announced.
//! Links that stand are not touched.

use std::time::Duration;

use actogen_core::router::Input;

use crate::context::{Context, Phase};

/// How long is waited after a renewal that failed, at most; less where less of the certificate's life is left.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// How often is looked whether a renewal is due. The certificate's time goes on while the machine is suspended, and a timer's does not.
const LOOK: Duration = Duration::from_secs(60);

/// The shortest wait between two tries.
const BREATH: Duration = Duration::from_millis(200);

/// A certificate that will need renewal.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// Until half of its life is over.
    pub due_in: Duration,
    /// Until it expires.
    pub expires_in: Duration,
    /// The certificate request, for the same key.
    pub request: Vec<u8>,
}

/// Keeps a context's certificate in force, until the context is down.
pub(crate) async fn keep_renewed(context: Context) {
    let mut phase = context.phase();
    let identity = context.0.transport.identity();
    let renewing = async {
        while let Some(renewal) = identity.renewal() {
            if !renewal.due_in.is_zero() {
                tokio::time::sleep(renewal.due_in.min(LOOK)).await;
                continue;
            }
            let asked = context.ask_renewal(identity.certificate(), renewal.request).await;
            let renewed = asked
                .map_err(|dead| dead.to_string())
                .and_then(|certificate| identity.renew(&certificate).map_err(|error| error.0));
            match renewed {
                Ok(()) => {
                    context.0.counters.renewals.add(1);
                    context.tell_router(Input::Renewed);
                    tracing::debug!(context = %context.id(), "the certificate is renewed");
                    tokio::time::sleep(BREATH).await;
                }
                Err(why) => {
                    let left = identity.renewal().map_or(Duration::ZERO, |now| now.expires_in);
                    tracing::warn!(context = %context.id(), ?left, "the certificate is not renewed: {why}");
                    tokio::time::sleep((left / 8).clamp(BREATH, TRY_AGAIN)).await;
                }
            }
        }
    };
    tokio::select! {
        () = renewing => {}
        _ = phase.wait_for(|phase| *phase == Phase::Down) => {}
    }
}
