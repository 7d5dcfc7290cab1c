//! The file below the store, whose blocks are there before they are needed.

use std::{fs, io, ops::Bound};

use redb::{BackendError, DatabaseError, StorageBackend, backends::FileBackend};

use crate::failpoint::FailPoints;

/// Bytes that are written at once where the file grows.
const PIECE: usize = 256 * 1024;

/// Bytes of one growth that are written; a file that grows by more is large, and grows seldom.
const MOST: u64 = 16 * 1024 * 1024;

/// A file that writes zeros where it grows. A sync then finds all blocks that a commit needs allocated, and has only their contents to write: without
/// that, each commit into new room costs a change of the file system's own journal as well.
#[derive(Debug)]
pub(super) struct Disk(FileBackend, FailPoints);

impl Disk {
    pub(super) fn new(file: fs::File, points: FailPoints) -> Result<Self, DatabaseError> {
        Ok(Self(FileBackend::new(file)?, points))
    }
}

type Range = Bound<u64>;

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut at = self.0.len()?;
        self.0.set_len(len)?;
        let end = len.min(at.saturating_add(MOST));
        let zeros = vec![0; PIECE];
        while at < end {
            let piece = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            self.0.write(at, &zeros[..piece])?;
            at += piece as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.pass("disk.sync.before");
        self.0.sync_data()?;
        self.1.pass("disk.sync.after");
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.1.pass("disk.write.before");
        if self.1.are_set() {
            // Half of it, as it is there when the process ends in the middle.
            self.0.write(offset, &data[..data.len() / 2])?;
            self.1.pass("disk.write.torn");
        }
        self.0.write(offset, data)?;
        self.1.pass("disk.write.after");
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}
