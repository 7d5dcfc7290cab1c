//! Identities and authorities in folders: PEM files, written so that a crash leaves either the old file or the new one, and keys
//! so that only their owner reads them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use zeroize::Zeroizing;

use super::judge::Roots;

/// The mesh's roots, in the authority's folder and in each context's.
pub(crate) const ROOTS_FILE: &str = "ca.pem";
/// The authority's key.
pub(crate) const AUTHORITY_KEY_FILE: &str = "ca-key.pem";
/// What the root has reserved: the last term and the first free id.
pub(crate) const STATE_FILE: &str = "ca-state";
/// The tokens that an authority has given out, and whom they have admitted; secret.
pub(crate) const TOKENS_FILE: &str = "ca-tokens";
/// Whose certificates an authority has revoked.
pub(crate) const REVOKED_FILE: &str = "ca-revoked";
/// Which context each name was bound to last.
pub(crate) const NAMES_FILE: &str = "ca-names";
/// A context's certificate.
pub(crate) const CERTIFICATE_FILE: &str = "cert.pem";
/// A context's key.
pub(crate) const KEY_FILE: &str = "key.pem";

/// PEM files are a few kilobytes long; past this it is not one of ours.
const MAX_FILE: u64 = 256 * 1024;

/// What went wrong with a folder that holds an authority or an identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// A file's content is not what belongs there.
    #[error("{}: {why}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The folder already holds a key, which is never overwritten.
    #[error("{} exists already: choose an empty folder, or remove it if nothing depends on it", path.display())]
    Exists {
        /// The key's file.
        path: PathBuf,
    },
    /// The id may have been given out before.
    #[error("id {id} may have been given out already: the first free one is {first_free}")]
    IdTaken {
        /// What was asked for.
        id: u64,
        /// The smallest id that can be had.
        first_free: u64,
    },
    /// Another context has the name.
    #[error(
        "the name `{name}` is bound to context {by}: choose another, or take it over (`--take-over`), which revokes that context"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        by: u64,
    },
}

/// Tells one writing of a file from others: when it was, of how many bytes, and as which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: SystemTime,
    length: u64,
    file: u64,
}

/// A folder for keys; made, with its parents, if it is not there.
pub(crate) struct Folder<'a>(pub(crate) &'a Path);

impl Folder<'_> {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn create(&self) -> Result<(), FolderError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(self.0).map_err(failed("create", self.0.to_owned()))
    }

    pub(crate) fn read(&self, name: &str) -> Result<String, FolderError> {
        let path = self.path(name);
        let read = || {
            if fs::metadata(&path)?.len() > MAX_FILE {
                return Err(io::Error::other(
                    "it is far too long to be the file that belongs here",
                ));
            }
            fs::read_to_string(&path)
        };
        read().map_err(failed("read", path.clone()))
    }

    /// Reads the one certificate of a context.
    pub(crate) fn read_certificate(
        &self,
        name: &str,
    ) -> Result<CertificateDer<'static>, FolderError> {
        CertificateDer::from_pem_slice(self.read(name)?.as_bytes())
            .map_err(|error| self.content(name, format!("no PEM certificate: {error}")))
    }

    pub(crate) fn read_roots(&self, name: &str) -> Result<Roots, FolderError> {
        let certificates = CertificateDer::pem_slice_iter(self.read(name)?.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.content(name, format!("no PEM certificates: {error}")))?;
        Roots::new(certificates).map_err(|error| self.content(name, error.0))
    }

    /// Reads a private key, and warns when others on this machine can read it too.
    pub(crate) fn read_key(&self, name: &str) -> Result<KeyPair, FolderError> {
        let path = self.path(name);
        #[cfg(unix)]
        if let Ok(metadata) = fs::metadata(&path) {
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
            if mode & 0o077 != 0 {
                tracing::warn!(
                    path = %path.display(),
                    mode = format_args!("{:o}", mode & 0o777),
                    "this private key can be read by other users: chmod 600 it"
                );
            }
        }
        KeyPair::from_pem(&self.read(name)?)
            .map_err(|error| self.content(name, format!("no PEM private key: {error}")))
    }

    /// Writes a new private key, readable by its owner alone. An existing file stays and is an error.
    pub(crate) fn write_new_key(&self, name: &str, pem: &str) -> Result<(), FolderError> {
        let path = self.path(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        owner_only(&mut options);
        let write = || {
            let mut file = options.open(&path)?;
            file.write_all(pem.as_bytes())?;
            file.sync_all()?;
            self.sync()
        };
        write().map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => FolderError::Exists { path: path.clone() },
            _ => failed("write", path.clone())(source),
        })
    }

    /// Replaces a file at once: after a crash the old content or the new one is there, never a part. When this returns, the new
    /// one is on the disk.
    pub(crate) fn replace(&self, name: &str, content: &str) -> Result<(), FolderError> {
        let path = self.path(name);
        let new = self.path(&format!("{name}.new"));
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            self.sync()
        };
        write().map_err(failed("write", path.clone()))
    }

    /// As [`Self::read`]; a file that is not there reads as an empty one.
    pub(crate) fn read_if_there(&self, name: &str) -> Result<String, FolderError> {
        match self.read(name) {
            Err(FolderError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(String::new())
            }
            read => read,
        }
    }

    /// Which writing of a file is there; `None` when there is none.
    pub(crate) fn stamp(&self, name: &str) -> Result<Option<Stamp>, FolderError> {
        let path = self.path(name);
        let read = || {
            let metadata = match fs::metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                metadata => metadata?,
            };
            #[cfg(unix)]
            let file = std::os::unix::fs::MetadataExt::ino(&metadata);
            #[cfg(not(unix))]
            let file = 0;
            Ok(Some(Stamp { modified: metadata.modified()?, length: metadata.len(), file }))
        };
        read().map_err(failed("read", path.clone()))
    }

    /// As [`Self::replace`], for what only its owner may read; a file that is not there reads as an empty one.
    pub(crate) fn replace_secret(&self, name: &str, content: &str) -> Result<(), FolderError> {
        let path = self.path(name);
        let new = self.path(&format!("{name}.new"));
        let write = || {
            // What an earlier try has left may be readable by others.
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            owner_only(&mut options);
            let mut file = options.open(&new)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            self.sync()
        };
        write().map_err(failed("write", path.clone()))
    }

    pub(crate) fn read_secret(&self, name: &str) -> Result<Zeroizing<String>, FolderError> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Zeroizing::default()),
            read => read.map(Zeroizing::new).map_err(failed("read", path.clone())),
        }
    }

    /// Holds the folder's lock, against other processes that reserve ids, until the file is dropped.
    pub(crate) fn lock(&self) -> Result<File, FolderError> {
        let path = self.path("ca-state.lock");
        let lock = || {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false);
            owner_only(&mut options);
            let file = options.open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(failed("lock", path.clone()))
    }

    pub(crate) fn content(&self, name: &str, why: String) -> FolderError {
        FolderError::Content { path: self.path(name), why }
    }

    /// Makes created and renamed names durable; files are synced by whoever writes them.
    fn sync(&self) -> io::Result<()> {
        #[cfg(unix)]
        File::open(self.0)?.sync_all()?;
        Ok(())
    }
}

fn owner_only(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}

fn failed(what: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> FolderError {
    move |source| FolderError::File { what, path, source }
}
