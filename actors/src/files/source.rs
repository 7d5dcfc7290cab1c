//! A file as its holder reads it: piece by piece, hashed on the way.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::FileError;

/// A BLAKE3 hash.
pub(super) type Hash = [u8; 32];

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    file: File,
    size: u64,
    mode: u32,
    position: u64,
    /// Boxed, since it is two kilobytes.
    hasher: Box<blake3::Hasher>,
}

impl Source {
    /// Opens a file, to be read from `offset` on; what lies before that is hashed. Blocks.
    pub(super) fn open(path: &Path, shown: &Path, offset: u64) -> Result<Self, FileError> {
        let unreadable = |error: std::io::Error| FileError::unreadable(shown, error);
        // A pipe without a writer would hold the opening up.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = opened.map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(FileError::unreadable(shown, "it is no plain file"));
        }
        let mut source = Self {
            path: shown.to_owned(),
            file,
            size: metadata.len(),
            mode: metadata.mode() & 0o777,
            position: 0,
            hasher: Box::default(),
        };
        if offset > source.size {
            return Err(FileError::Changed { path: source.path });
        }
        source.skip(offset)?;
        Ok(source)
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Its permissions.
    pub(super) fn mode(&self) -> u32 {
        self.mode
    }

    fn skip(&mut self, offset: u64) -> Result<(), FileError> {
        let mut buffer = vec![0; super::PIECE];
        while self.position < offset {
            let len =
                buffer.len().min(usize::try_from(offset - self.position).unwrap_or(usize::MAX));
            self.fill(&mut buffer[..len])?;
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), FileError> {
        if let Err(error) = self.file.read_exact(buffer) {
            return Err(match error.kind() {
                std::io::ErrorKind::UnexpectedEof => FileError::Changed { path: self.path.clone() },
                _ => FileError::unreadable(&self.path, error),
            });
        }
        self.hasher.update(buffer);
        self.position += buffer.len() as u64;
        Ok(())
    }

    /// The next piece, of at most so many bytes, and behind the last the hash of the whole. Blocks.
    pub(super) fn read(&mut self, most: usize) -> Result<(Bytes, Option<Hash>), FileError> {
        let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        let mut buffer = vec![0; most.min(left)];
        self.fill(&mut buffer)?;
        if self.position < self.size {
            return Ok((buffer.into(), None));
        }
        // What has been appended meanwhile would be missing.
        let end = self.file.seek(SeekFrom::End(0));
        match end.map_err(|error| FileError::unreadable(&self.path, error))? {
            end if end == self.size => {
                Ok((buffer.into(), Some(*self.hasher.finalize().as_bytes())))
            }
            _ => Err(FileError::Changed { path: self.path.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(len: usize) -> (tempfile::NamedTempFile, Vec<u8>) {
        let content: Vec<u8> = (0..len).map(|n| (n * 7 % 251) as u8).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&content).unwrap();
        (file, content)
    }

    fn open(file: &tempfile::NamedTempFile, offset: u64) -> Result<Source, FileError> {
        Source::open(file.path(), Path::new("/shown"), offset)
    }

    #[test]
    fn pieces_are_the_file_and_the_last_brings_its_hash() {
        for len in [0, 1, 1000, 1001] {
            let (file, content) = file(len);
            for offset in [0, len / 2, len] {
                let mut source = open(&file, offset as u64).unwrap();
                let mut read = content[..offset].to_vec();
                let hash = loop {
                    let (piece, hash) = source.read(500).unwrap();
                    read.extend_from_slice(&piece);
                    if let Some(hash) = hash {
                        break hash;
                    }
                };
                assert_eq!(read, content);
                assert_eq!(&hash, blake3::hash(&content).as_bytes());
            }
        }
    }

    #[test]
    fn m16_a_file_that_changes_its_size_is_told() {
        let changed = Err(FileError::Changed { path: "/shown".into() });
        for cut in [0, 700] {
            let (file, _) = file(1000);
            let mut source = open(&file, 0).unwrap();
            source.read(500).unwrap();
            file.as_file().set_len(cut).unwrap();
            assert_eq!(source.read(500), changed);
        }
        let (mut file, _) = file(1000);
        let mut source = open(&file, 0).unwrap();
        file.write_all(b"more").unwrap();
        assert!(source.read(500).is_ok());
        assert_eq!(source.read(500), changed);
        assert!(open(&file, 2000).is_err());
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for path in [folder.path(), &pipe] {
            let error = Source::open(path, path, 0).unwrap_err();
            assert!(error.to_string().contains("no plain file"), "{error}");
        }
    }
}
