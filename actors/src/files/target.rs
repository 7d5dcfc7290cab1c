//! The file that is written: it appears whole, or not at all.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{Read, Seek, SeekFrom, Write},
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::{FileError, source::Hash};

/// What is added to the name of a file that has not come whole, where it is kept for another try.
const PART: &str = ".actogen-part";

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    file: File,
    place: Place,
    /// Boxed, since it is two kilobytes.
    hasher: Box<blake3::Hasher>,
    written: u64,
}

/// Where the bytes lie until they are all there.
#[derive(Debug)]
enum Place {
    /// Nowhere that anybody can see: what is not finished is gone with the process, however that ends.
    Unnamed,
    /// Beside the file; removed unless that is done, or it is kept.
    Part { path: PathBuf, keep: bool },
}

impl Target {
    /// A file to write at `path`. With `resume`, what an earlier try has left is kept and hashed, and what this one leaves will be. Blocks.
    pub(super) fn create(path: &Path, resume: bool) -> Result<Self, FileError> {
        let unwritable = |error: std::io::Error| FileError::unwritable(path, error);
        if path.is_dir() {
            return Err(FileError::unwritable(path, "it is a folder: give the file's own path"));
        }
        let hasher = Box::default();
        let unnamed = if resume { None } else { unnamed_beside(path) };
        let (file, place) = match unnamed {
            Some(file) => (file, Place::Unnamed),
            None => {
                let part = with_suffix(path, PART);
                let mut options = OpenOptions::new();
                let options = options.read(true).write(true).create(true).truncate(!resume);
                (options.open(&part).map_err(unwritable)?, Place::Part { path: part, keep: resume })
            }
        };
        let mut target = Self { path: path.to_owned(), file, place, hasher, written: 0 };
        target.hash_what_is_there().map_err(unwritable)?;
        Ok(target)
    }

    fn hash_what_is_there(&mut self) -> std::io::Result<()> {
        let mut buffer = vec![0; super::PIECE];
        loop {
            let len = self.file.read(&mut buffer)?;
            if len == 0 {
                return Ok(());
            }
            self.hasher.update(&buffer[..len]);
            self.written += len as u64;
        }
    }

    /// Bytes that are there.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Begins anew: what is there is of another file.
    pub(super) fn clear(&mut self) -> Result<(), FileError> {
        let cleared = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        cleared.map_err(|error| FileError::unwritable(&self.path, error))?;
        self.hasher.reset();
        self.written = 0;
        Ok(())
    }

    /// Adds a piece. Blocks.
    pub(super) fn write(&mut self, piece: &Bytes) -> Result<(), FileError> {
        let written = self.file.write_all(piece);
        written.map_err(|error| FileError::unwritable(&self.path, error))?;
        self.hasher.update(piece);
        self.written += piece.len() as u64;
        Ok(())
    }

    /// Nothing of it is kept: it is not what was sent.
    pub(super) fn discard(mut self) {
        if let Place::Part { keep, .. } = &mut self.place {
            *keep = false;
        }
    }

    /// Gives the file its name and its permissions, if it has this hash. Blocks.
    pub(super) fn finish(mut self, hash: &Hash, mode: u32) -> Result<(), FileError> {
        // Takes the same time for any two hashes, not that it matters here.
        if self.hasher.finalize() != blake3::Hash::from_bytes(*hash) {
            let path = self.path.clone();
            self.discard();
            return Err(FileError::Damaged { path });
        }
        let path = self.path.clone();
        let named = self.name(mode);
        named.map_err(|error| FileError::unwritable(&path, error))
    }

    fn name(&mut self, mode: u32) -> std::io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode & 0o777))?;
        match &mut self.place {
            Place::Part { path, keep } => {
                std::fs::rename(&*path, &self.path)?;
                *keep = true;
                Ok(())
            }
            Place::Unnamed => {
                let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                let link =
                    |to: &Path| rustix::fs::linkat(CWD, &own, CWD, to, AtFlags::SYMLINK_FOLLOW);
                match link(&self.path) {
                    // A link replaces nothing, a renaming does.
                    Err(rustix::io::Errno::EXIST) => {
                        let beside = with_suffix(&self.path, PART);
                        match link(&beside) {
                            Err(rustix::io::Errno::EXIST) => {
                                std::fs::remove_file(&beside)?;
                                link(&beside)?;
                            }
                            linked => linked?,
                        }
                        std::fs::rename(&beside, &self.path)
                    }
                    linked => Ok(linked?),
                }
            }
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Place::Part { path, keep: false } = &self.place {
            // Somebody else may have removed it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A file without a name in the folder of `path`; not every file system has such.
fn unnamed_beside(path: &Path) -> Option<File> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    // Without a link in there it could not be given a name later.
    let can_be_named = Path::new("/proc/self/fd").exists();
    let file = rustix::fs::openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR).ok()?;
    can_be_named.then(|| File::from(file))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &[u8] = b"some bytes and some more";

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn hash() -> Hash {
        *blake3::hash(CONTENT).as_bytes()
    }

    #[test]
    fn a_file_appears_whole_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for resume in [false, true, false] {
            let mut target = Target::create(&path, resume).unwrap();
            target.write(&Bytes::from_static(CONTENT)).unwrap();
            target.finish(&hash(), 0o640).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
            assert_eq!(names(folder.path()), ["file"]);
        }
    }

    #[test]
    fn m16_what_is_not_what_was_sent_is_discarded() {
        let folder = tempfile::tempdir().unwrap();
        for resume in [false, true] {
            let mut target = Target::create(&folder.path().join("file"), resume).unwrap();
            target.write(&Bytes::from_static(b"other bytes")).unwrap();
            let error = target.finish(&hash(), 0o600).unwrap_err();
            assert!(matches!(error, FileError::Damaged { .. }), "{error}");
            assert_eq!(names(folder.path()), [""; 0]);
        }
    }

    #[test]
    fn m16_what_is_not_finished_is_kept_only_for_another_try() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut target = Target::create(&path, false).unwrap();
        target.write(&Bytes::from_static(b"some")).unwrap();
        assert_eq!(names(folder.path()), [""; 0], "nobody sees it before it is whole");
        drop(target);
        let mut target = Target::create(&path, true).unwrap();
        target.write(&Bytes::from_static(b"some bytes")).unwrap();
        drop(target);
        assert_eq!(names(folder.path()), ["file.actogen-part"]);
        let mut target = Target::create(&path, true).unwrap();
        assert_eq!(target.written(), 10);
        target.write(&Bytes::from_static(b" and some more")).unwrap();
        target.finish(&hash(), 0o600).unwrap();
        assert_eq!(names(folder.path()), ["file"]);
    }
}
