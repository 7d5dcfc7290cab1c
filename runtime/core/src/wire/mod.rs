//! The wire codec, version 1: what bytes on a link's streams mean.
//!
//! Every stream of a link carries frames: a length (varint), a [`Header`], a payload; one that begins as the frame before it is a
//! [repetition](put_repeated), and says so in the place of header and tag. Route messages and the link's own business
//! ([`control`]) are frames to reserved handles, so that they take their place in the order of each stream. A body longer than
//! [`crate::limits::FRAGMENT`] travels as several frames ([`fragment`]).
//!
//! Whatever a peer sends is suspect: every length is checked before anything is allocated for it, and no input panics.

pub mod control;
pub mod direct;
pub mod fragment;
mod frame;
pub mod header;
mod reader;
mod trace;
pub mod varint;

pub use frame::{
    Frame, Placed, Run, TAG, next_of_run, put_frame, put_framed, put_head, put_repeated, put_run,
};
pub use header::{Destination, FragmentField, Header, Kind};
pub use reader::FrameReader;
pub use trace::{TraceContext, TraceparentError};

/// Why bytes are not what they should be. A peer that causes one on a link loses the link (parity row R5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("the bytes end inside a field")]
    Truncated,
    /// A field has a value that it cannot have.
    #[error("{0} has an impossible value")]
    Invalid(&'static str),
    /// A length is over its limit.
    #[error("{what} has {is} bytes, the limit is {limit}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length in bytes.
        is: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A field is followed by bytes that belong to nothing.
    #[error("{0} is followed by bytes that belong to nothing")]
    LeftOver(&'static str),
}
