//! The files that are named, and those in the folders that are named.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes when it was found; it may have another by the time it is read.
    pub length: u64,
}

/// A path of which something is to be said.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct Remark {
    /// Which.
    pub path: PathBuf,
    /// What.
    pub what: What,
}

/// What is to be said of a path.
#[derive(Debug, thiserror::Error)]
pub enum What {
    /// It is missing, or cannot be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// It is neither a file nor a folder.
    #[error("is neither a file nor a folder")]
    Special,
    /// It is a symbolic link.
    #[error("is a symbolic link, which is not followed")]
    Link,
}

impl Remark {
    /// Whether what was asked for could not be had. A link that is not followed is as it should be, and so is a device, a socket
    /// or a pipe that was found in a folder.
    pub fn is_error(&self) -> bool {
        !matches!(self.what, What::Link)
    }
}

/// What the paths hold.
#[derive(Debug, Default)]
pub struct Walk {
    /// The files: the named paths in their order, each folder's entries in the order of their names' bytes.
    pub files: Vec<Found>,
    /// What could not be had, and which of the named paths are links.
    pub remarks: Vec<Remark>,
}

/// Finds the files that the paths name and those in the folders that they name, at any depth. Symbolic links are not followed.
/// A file that is named twice is found twice.
pub fn walk<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Walk {
    let mut walk = Walk::default();
    for path in paths {
        walk.named(path.as_ref());
    }
    walk
}

impl Walk {
    fn named(&mut self, path: &Path) {
        match fs::symlink_metadata(path) {
            Err(error) => self.remark(path, error.into()),
            Ok(about) if about.is_file() => self.file(path, about.len()),
            Ok(about) if about.is_dir() => self.folder(path),
            Ok(about) if about.is_symlink() => self.remark(path, What::Link),
            Ok(_) => self.remark(path, What::Special),
        }
    }

    fn folder(&mut self, path: &Path) {
        // A list of our own, not the call stack: a tree may be deeper than that.
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            let about = match fs::symlink_metadata(&path) {
                Ok(about) => about,
                Err(error) => {
                    self.remark(&path, error.into());
                    continue;
                }
            };
            if about.is_file() {
                self.file(&path, about.len());
            } else if about.is_dir() {
                let mut entries = self.entries(&path);
                entries.sort_unstable_by(|one, other| other.cmp(one));
                open.append(&mut entries);
            }
        }
    }

    fn entries(&mut self, folder: &Path) -> Vec<PathBuf> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                self.remark(folder, error.into());
                return Vec::new();
            }
        };
        entries
            .filter_map(|entry| match entry {
                Ok(entry) => Some(entry.path()),
                Err(error) => {
                    self.remark(folder, error.into());
                    None
                }
            })
            .collect()
    }

    fn file(&mut self, path: &Path, length: u64) {
        self.files.push(Found { path: path.to_owned(), length });
    }

    fn remark(&mut self, path: &Path, what: What) {
        self.remarks.push(Remark { path: path.to_owned(), what });
    }
}

/// A file's content in chunks.
#[derive(Debug)]
pub struct Chunks {
    file: tokio::fs::File,
    chunk: usize,
}

impl Chunks {
    /// Opens a file that is to be read in chunks of so many bytes; the last one may be shorter.
    ///
    /// # Errors
    /// What the system says.
    pub async fn open(path: &Path, chunk: usize) -> io::Result<Self> {
        let mut file = tokio::fs::File::open(path).await?;
        file.set_max_buf_size(chunk);
        Ok(Self { file, chunk })
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// What the system says.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut bytes = BytesMut::with_capacity(self.chunk);
        while bytes.len() < self.chunk {
            let room = self.chunk - bytes.len();
            if (&mut self.file).take(room as u64).read_buf(&mut bytes).await? == 0 {
                break;
            }
        }
        Ok((!bytes.is_empty()).then(|| bytes.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(walk: &Walk, root: &Path) -> Vec<String> {
        walk.files
            .iter()
            .map(|found| found.path.strip_prefix(root).unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn folders_are_walked_in_the_order_of_names() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("b/deep")).unwrap();
        for file in ["c", "a", "b/z", "b/deep/x", "b.txt"] {
            fs::write(root.path().join(file), file).unwrap();
        }
        let walk = walk([root.path()]);
        assert_eq!(names(&walk, root.path()), ["a", "b/deep/x", "b/z", "b.txt", "c"]);
        assert_eq!(walk.files[1].length, 8);
        assert!(walk.remarks.is_empty());
    }

    #[test]
    fn named_paths_keep_their_order() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = (root.path().join("a"), root.path().join("b"));
        fs::write(&a, "").unwrap();
        fs::write(&b, "").unwrap();
        assert_eq!(names(&walk([&b, &a, &b]), root.path()), ["b", "a", "b"]);
    }

    #[test]
    fn links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("link");
        fs::write(root.path().join("file"), "").unwrap();
        symlink(root.path(), &link).unwrap();
        symlink("file", root.path().join("other")).unwrap();
        symlink("nowhere", root.path().join("broken")).unwrap();
        let inside = walk([root.path()]);
        assert_eq!(names(&inside, root.path()), ["file"]);
        assert!(inside.remarks.is_empty());
        let named = walk([&link]);
        assert!(named.files.is_empty());
        assert!(!named.remarks[0].is_error());
        assert!(
            named.remarks[0].to_string().ends_with("is a symbolic link, which is not followed")
        );
    }

    #[test]
    fn a_missing_path_is_remembered_and_the_others_are_found() {
        let root = tempfile::tempdir().unwrap();
        let (file, missing) = (root.path().join("file"), root.path().join("missing"));
        fs::write(&file, "").unwrap();
        let walk = walk([&missing, &file]);
        assert_eq!(names(&walk, root.path()), ["file"]);
        assert!(walk.remarks[0].is_error());
        assert_eq!(walk.remarks[0].path, missing);
    }

    #[test]
    fn what_is_no_file_is_an_error_only_where_it_is_named() {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(walk([&socket]).remarks[0].is_error());
        let inside = walk([root.path()]);
        assert!(inside.files.is_empty() && inside.remarks.is_empty());
    }

    #[test]
    fn a_file_is_read_in_whole_chunks() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, [7; 2500]).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lengths = runtime.block_on(async {
            let (mut lengths, mut chunks) = (vec![], Chunks::open(&file, 1000).await.unwrap());
            while let Some(chunk) = chunks.next().await.unwrap() {
                lengths.push(chunk.len());
            }
            lengths
        });
        assert_eq!(lengths, [1000, 1000, 500]);
    }
}
