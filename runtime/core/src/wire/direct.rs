//! What contexts say to each other, through the tree or beside it, about the paths and direct links between them.
//!
//! Each is the body of a message to a reserved handle, in postcard; unlike a link's own frames ([`super::control`]) they travel
//! as ordinary envelopes do, so that a flush stands behind what it flushes on every hop, and each router on the way sees who asks
//! whom for a ticket. The answer to [`Ask`] is a reply that carries a [`Grant`].

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    WireError,
    control::{encode, take},
};
use crate::{
    dead::MAX_TEXT,
    id::{Incarnation, PathEpoch, StreamId},
};

/// The most places that a grant names to dial.
pub const MAX_PLACES: usize = 16;

/// What admits one context to one direct link, once. It is a secret between the two: neither prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket([u8; 32]);

impl Ticket {
    /// A ticket of 32 bytes that nobody can guess; the host draws them.
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// Whether it is this one, found out in a time that says nothing of where two tickets differ.
    pub fn is(self, other: Self) -> bool {
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

/// A body that goes to a reserved handle.
pub trait Body: Serialize + DeserializeOwned {
    /// What it is, in errors.
    const WHAT: &'static str;

    /// What can be wrong with a value that decodes.
    ///
    /// # Errors
    /// [`WireError`].
    fn check(&self) -> Result<(), WireError> {
        Ok(())
    }

    /// The wire form.
    fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are not just one value of this form, or a bound is passed.
    fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let value: Self = take(bytes, Self::WHAT)?;
        value.check()?;
        Ok(value)
    }
}

/// To [`crate::Handle::flush`]: the last of what the source sends by this path on this lane, unless it is answered in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flush {
    /// Tells the flushes of one source apart.
    pub number: u64,
}

impl Body for Flush {
    const WHAT: &'static str = "a flush";
}

/// To [`crate::Handle::FLUSHED`]: all that stood before a flush has been handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// The lane on which it came.
    pub lane: Lane,
    /// The flush's number.
    pub number: u64,
}

impl Body for Flushed {
    const WHAT: &'static str = "the answer to a flush";

    fn check(&self) -> Result<(), WireError> {
        self.lane.check()
    }
}

/// To [`crate::Handle::BEHIND`]: frames are dropped, since of this source a later epoch has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// The lane.
    pub lane: Lane,
    /// The last epoch that was seen on it.
    pub epoch: PathEpoch,
}

impl Body for Behind {
    const WHAT: &'static str = "a word about an epoch";

    fn check(&self) -> Result<(), WireError> {
        self.lane.check()
    }
}

/// To [`crate::Handle::lost`]: of the two ways between the source and the receiver, the one that does not bring this is lost.
///
/// Whoever loses a way learns it in its own time, and what the other end still sends by it is lost as well: the answers to what is
/// asked by the way that is left, too, unless this stands before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lost {
    /// The life of the source.
    pub incarnation: Incarnation,
    /// Counts the ways that the source has lost in that life; the copies on the five streams have one number.
    pub number: u64,
}

impl Body for Lost {
    const WHAT: &'static str = "a word about a way that is lost";
}

/// A lane's number, 0-3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lane(u8);

impl Lane {
    fn check(self) -> Result<(), WireError> {
        if usize::from(self.0) < StreamId::LANES {
            Ok(())
        } else {
            Err(WireError::Invalid("a lane"))
        }
    }
}

impl From<StreamId> for Lane {
    fn from(stream: StreamId) -> Self {
        Self(stream.index() as u8)
    }
}

impl From<Lane> for StreamId {
    fn from(lane: Lane) -> Self {
        Self::lane(lane.0)
    }
}

/// To [`crate::Handle::TICKET`]: the source asks to be admitted to a direct link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The asker's life; the ticket ends with it.
    pub incarnation: Incarnation,
}

impl Body for Ask {
    const WHAT: &'static str = "a request for a ticket";
}

/// The answer to [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Admits the asker, once.
    pub ticket: Ticket,
    /// Where the grantor can be dialled, in whatever form the transport has, best first; at most [`MAX_PLACES`], each of at most
    /// [`MAX_TEXT`] bytes.
    pub places: Vec<String>,
}

impl Body for Grant {
    const WHAT: &'static str = "a ticket's grant";

    fn check(&self) -> Result<(), WireError> {
        let too_long = |what, is, limit| Err(WireError::TooLong { what, is, limit });
        if self.places.len() > MAX_PLACES {
            return too_long("a grant's list of places", self.places.len(), MAX_PLACES);
        }
        match self.places.iter().map(String::len).find(|&len| len > MAX_TEXT) {
            Some(len) => too_long("a place to dial", len, MAX_TEXT),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survives<T: Body + PartialEq + fmt::Debug>(body: &T) {
        let bytes = body.to_bytes();
        assert_eq!(T::from_bytes(&bytes).as_ref(), Ok(body));
        for cut in 0..bytes.len() {
            assert!(T::from_bytes(&bytes[..cut]).is_err(), "{body:?} cut at {cut}");
        }
        assert!(T::from_bytes(&[&bytes[..], &[0]].concat()).is_err(), "{body:?} lengthened");
    }

    fn grant(places: Vec<String>) -> Grant {
        Grant { ticket: Ticket::new([7; 32]), places }
    }

    #[test]
    fn every_body_survives_and_no_cut_of_it_does() {
        let lane = Lane::from(StreamId::lane(3));
        survives(&Flush { number: u64::MAX });
        survives(&Flushed { lane, number: 9 });
        survives(&Behind { lane, epoch: PathEpoch(300) });
        survives(&Lost { incarnation: Incarnation::new(2, 900), number: 300 });
        survives(&Ask { incarnation: Incarnation::new(2, 900) });
        survives(&grant(vec!["127.0.0.1:4433".into(), "[::1]:4433".into()]));
    }

    #[test]
    fn only_the_four_lanes_have_paths() {
        for lane in StreamId::lanes() {
            assert_eq!(StreamId::from(Lane::from(lane)), lane);
        }
        let control = Flushed { lane: Lane::from(StreamId::CONTROL), number: 1 };
        assert!(Flushed::from_bytes(&control.to_bytes()).is_err());
        let control = Behind { lane: Lane(77), epoch: PathEpoch(1) };
        assert!(Behind::from_bytes(&control.to_bytes()).is_err());
    }

    #[test]
    fn places_to_dial_are_bounded_in_number_and_length() {
        let is_taken = |grant: Grant| Grant::from_bytes(&grant.to_bytes()).is_ok();
        assert!(is_taken(grant(vec![String::new(); MAX_PLACES])));
        assert!(!is_taken(grant(vec![String::new(); MAX_PLACES + 1])));
        assert!(is_taken(grant(vec!["x".repeat(MAX_TEXT)])));
        assert!(!is_taken(grant(vec!["x".repeat(MAX_TEXT + 1)])));
    }

    #[test]
    fn a_ticket_equals_itself_alone_and_is_never_printed() {
        let mut other = [7; 32];
        other[31] ^= 1;
        assert!(Ticket::new([7; 32]).is(Ticket::new([7; 32])));
        assert!(!Ticket::new([7; 32]).is(Ticket::new(other)));
        assert_eq!(format!("{:?}", grant(vec![])), "Grant { ticket: Ticket, places: [] }");
    }
}
