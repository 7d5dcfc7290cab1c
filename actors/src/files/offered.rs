//! Which paths a context offers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use super::FileError;

/// Paths that others may fetch.
#[derive(Debug, Default)]
pub(super) struct Offered {
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
    /// Files that go by another name, for as long as they are sent.
    aliases: BTreeMap<PathBuf, PathBuf>,
}

/// Refuses what is no plain absolute path.
pub(super) fn check(path: &Path) -> Result<(), FileError> {
    let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if path.is_absolute() && path.components().all(is_plain) {
        Ok(())
    } else {
        Err(FileError::BadPath { path: path.to_owned() })
    }
}

impl Offered {
    pub(super) fn add_file(&mut self, path: PathBuf) -> Result<(), FileError> {
        check(&path)?;
        self.files.insert(path);
        Ok(())
    }

    pub(super) fn add_folder(&mut self, path: PathBuf) -> Result<(), FileError> {
        check(&path)?;
        self.folders.insert(path);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> bool {
        self.files.remove(path) | self.folders.remove(path) | self.aliases.remove(path).is_some()
    }

    pub(super) fn add_alias(&mut self, alias: PathBuf, path: PathBuf) {
        self.aliases.insert(alias, path);
    }

    /// The file that may be read where this path is asked for: by anybody, or, with `all`, by one who may read all.
    ///
    /// A link that leads out of an offered folder is refused. Whoever can change what lies in the folder between this and the reading can
    /// have other files read: offer no folder that others write to.
    pub(super) fn resolve(&self, path: &Path, all: bool) -> Result<PathBuf, FileError> {
        if let Some(aliased) = self.aliases.get(path) {
            return Ok(aliased.clone());
        }
        check(path)?;
        if all || self.files.contains(path) {
            return Ok(path.to_owned());
        }
        let real =
            |path: &Path| path.canonicalize().map_err(|error| FileError::unreadable(path, error));
        for folder in self.folders.iter().filter(|folder| path.starts_with(folder)) {
            let found = real(path)?;
            if found.starts_with(real(folder)?) {
                return Ok(found);
            }
        }
        Err(FileError::NotOffered { path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(offered: &Offered, path: &Path) -> FileError {
        offered.resolve(path, false).unwrap_err()
    }

    #[test]
    fn m16_only_registered_paths_and_what_lies_below_registered_folders() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        std::fs::write(&inside, b"x").unwrap();
        let mut offered = Offered::default();
        offered.add_file("/etc/hostname".into()).unwrap();
        offered.add_folder(folder.path().to_owned()).unwrap();
        assert!(offered.resolve(Path::new("/etc/hostname"), false).is_ok());
        assert!(offered.resolve(&inside, false).is_ok());
        let beside = format!("{}-beside/inside", folder.path().display());
        for path in ["/etc/passwd", "/etc/hostname/more", &beside] {
            let refusal = refusal(&offered, Path::new(path));
            assert!(matches!(refusal, FileError::NotOffered { .. }), "{path}: {refusal}");
        }
        assert!(offered.resolve(Path::new("/etc/passwd"), true).is_ok());
        assert!(offered.remove(folder.path()));
        assert!(matches!(refusal(&offered, &inside), FileError::NotOffered { .. }));
    }

    #[test]
    fn m16_paths_that_go_up_are_refused_to_everybody() {
        let mut offered = Offered::default();
        offered.add_folder("/srv".into()).unwrap();
        for path in ["/srv/../etc/passwd", "/srv/..", "srv/file", "../x", ""] {
            for all in [false, true] {
                let refusal = offered.resolve(Path::new(path), all).unwrap_err();
                assert!(matches!(refusal, FileError::BadPath { .. }), "{path}: {refusal}");
            }
            assert!(offered.add_file(path.into()).is_err());
        }
    }

    #[test]
    fn m16_a_link_out_of_an_offered_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        let mut offered = Offered::default();
        offered.add_folder(folder.path().to_owned()).unwrap();
        assert!(matches!(refusal(&offered, &link), FileError::NotOffered { .. }));
    }
}
