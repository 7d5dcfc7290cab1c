//! What both ends of the reference agree on: a stream's first byte names the work, and one-way work ends with a [`Tally`].

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The priority of streams of requests and of answers, above that of all others.
pub(super) const URGENT: i32 = 1;

/// What the sending side asks for by a stream's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Framed notes one way, each decoded.
    Tell,
    /// The same, with the allocations counted.
    Count,
    /// Framed notes, each decoded and sent back.
    Echo,
    /// Framed notes one way, passed on to a third process whose address comes first ([`super::relay`]).
    Relay,
    /// Messages one after the other, each made one owned buffer; how many bytes each has comes first.
    Bulk,
    /// A file, to be written to a path that comes first ([`super::file`]).
    File,
    /// The same, passed on as what [`Self::Relay`] passes on.
    RelayFile,
    /// Framed notes, signed, each checked and acknowledged with a signature ([`super::signed`]).
    Publish,
}

impl Work {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Tell => b'T',
            Self::Count => b'C',
            Self::Echo => b'E',
            Self::Relay => b'R',
            Self::Bulk => b'B',
            Self::File => b'F',
            Self::RelayFile => b'P',
            Self::Publish => b'S',
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let all = [
            Self::Tell,
            Self::Count,
            Self::Echo,
            Self::Relay,
            Self::Bulk,
            Self::File,
            Self::RelayFile,
            Self::Publish,
        ];
        all.into_iter().find(|work| work.byte() == byte)
    }
}

/// What the receiving side says at the end: messages that came, and allocations that it counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) messages: u64,
    pub(super) allocations: u64,
}

impl Tally {
    pub(super) fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.messages) << 64 | u128::from(self.allocations)).to_le_bytes()
    }

    fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_le_bytes(bytes);
        Self { messages: (both >> 64) as u64, allocations: both as u64 }
    }

    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut bytes = [0; 16];
        from.read_exact(&mut bytes).await?;
        Ok(Self::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_and_tallies_survive_the_wire() {
        for work in [
            Work::Tell,
            Work::Echo,
            Work::Relay,
            Work::Bulk,
            Work::File,
            Work::RelayFile,
            Work::Publish,
        ] {
            assert_eq!(Work::from_byte(work.byte()), Some(work));
        }
        assert_eq!(Work::from_byte(0), None);
        let tally = Tally { messages: 1 << 40, allocations: u64::MAX };
        assert_eq!(Tally::from_bytes(tally.to_bytes()), tally);
    }
}
