//! Waiting for what must come true, within a limit. No test waits for time to pass.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, timeout};

/// No wait of a test is longer: what has not happened by then does not.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How often a condition that nothing announces is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// Waits for an event.
///
/// # Panics
/// When it does not come in time, naming it.
pub async fn soon<T>(what: &str, event: impl IntoFuture<Output = T>) -> T {
    match timeout(PATIENCE, event).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: did not happen within {PATIENCE:?}"),
    }
}

/// Waits until a condition holds that nothing announces.
///
/// # Panics
/// When it does not hold in time, naming it.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_some(what, || holds().then_some(())).await
}

/// Waits until something is there.
///
/// # Panics
/// When it is not there in time, naming it.
pub async fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: did not come true within {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// As [`until`], for a condition that must be asked for.
///
/// # Panics
/// When it does not hold in time, naming it and what was last seen.
pub async fn until_equal<T, Fut>(what: &str, expected: T, mut look: impl FnMut() -> Fut)
where
    T: PartialEq + std::fmt::Debug,
    Fut: Future<Output = T>,
{
    let begun = Instant::now();
    loop {
        let seen = look().await;
        if seen == expected {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: {seen:?} after {PATIENCE:?}, not {expected:?}"
        );
        tokio::time::sleep(LOOK).await;
    }
}
