//! Why a measure could not be taken.

/// Ends the program with exit code 1: a measure that cannot run is never left out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The reference did not do its work.
    #[error("the reference on bare {over}: {why}")]
    Reference {
        /// What it runs over.
        over: &'static str,
        /// What went wrong.
        why: String,
    },
    /// The reference is slower than it should be, and would flatter us.
    #[error(
        "bare quinn carried {ratio:.2} of what bare TCP did, and under {least} the comparison would flatter us: is the machine busy, \
         or the loopback's buffers small (net.core.rmem_max)? --accept-slow-reference measures all the same"
    )]
    SlowReference {
        /// Its rate over that of bare TCP.
        ratio: f64,
        /// What it must reach.
        least: f64,
    },
    /// Actogen did not do its work.
    #[error("{doing}: {why}")]
    Ours {
        /// What was being done.
        doing: &'static str,
        /// What went wrong.
        why: String,
    },
    /// Not as many messages came as were sent.
    #[error("{sent} messages were sent and {received} came")]
    Lost {
        /// Sent.
        sent: u64,
        /// Received.
        received: u64,
    },
    /// A process has held more memory than it may.
    #[error(
        "`{measure}`: a process held {held} bytes above what it held at rest, and may hold {bound}"
    )]
    Bound {
        /// The measure.
        measure: &'static str,
        /// Bytes above rest.
        held: u64,
        /// Bytes that it may hold above rest.
        bound: u64,
    },
    /// What became of messages does not add up to those sent.
    #[error("not every message is accounted for: {accounts}")]
    Unaccounted {
        /// The sums over both contexts.
        accounts: String,
    },
    /// A run gave no figure, such as when no request was answered in its time.
    #[error("`{measure}` gave no figure: give it more time than {seconds} s (--seconds)")]
    Nothing {
        /// The measure.
        measure: &'static str,
        /// How long a run was.
        seconds: f64,
    },
    /// The system did not give what the program needs.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

impl Failure {
    /// For `map_err`.
    pub(crate) fn ours<E: std::fmt::Display>(doing: &'static str) -> impl Fn(E) -> Self {
        move |why| Self::Ours { doing, why: why.to_string() }
    }

    /// Every message must have come.
    pub(crate) fn unless_all_came(sent: u64, received: u64) -> Result<(), Self> {
        if sent == received { Ok(()) } else { Err(Self::Lost { sent, received }) }
    }
}
