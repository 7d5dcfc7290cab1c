//! Programs that were sent to this machine: each under its hash in the user's own folder, with a bound for all of them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The folder's name, in the user's folder for caches.
const FOLDER: &str = "actogen";

/// What a folder's name begins with that was made for one program, because the user has no folder for caches that can be written.
const FOR_ONE: &str = "actogen.";

/// So many programs are kept, and so many bytes of them; those that were started longest ago go first.
const MOST_PROGRAMS: usize = 16;
const MOST_BYTES: u64 = 1 << 30;

/// No program is under way for so long.
const PART_AGE: Duration = Duration::from_secs(3600);

/// A program in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Its file, named by its hash.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// When it was started last.
    pub used: SystemTime,
}

/// The user's cache: `$XDG_CACHE_HOME/actogen`, or `~/.cache/actogen`. `None` for a user without a home.
pub fn folder() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let caches = of("XDG_CACHE_HOME").map(PathBuf::from);
    Some(caches.or_else(|| Some(PathBuf::from(of("HOME")?).join(".cache")))?.join(FOLDER))
}

/// What a cache holds, the program that was started last first. One that is not there holds nothing.
///
/// # Errors
/// What the system says.
pub fn list(folder: &Path) -> io::Result<Vec<Cached>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut cached = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() && is_hash(&entry.file_name().to_string_lossy()) {
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            cached.push(Cached { path: entry.path(), bytes: metadata.len(), used });
        }
    }
    cached.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.path.cmp(&b.path)));
    Ok(cached)
}

/// Removes what is left of programs that never came whole, once nobody can be sending them any more.
///
/// # Errors
/// What the system says.
pub fn remove_parts(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_part = name.to_string_lossy().split_once('.').is_some_and(|(hash, process)| {
            is_hash(hash) && process.bytes().all(|byte| byte.is_ascii_digit())
        });
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if is_part && age > PART_AGE {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether the running program is the one of this hash. Where the system does not show it, it is taken to be.
#[must_use]
pub fn is_own(hash: &str) -> bool {
    let Ok(mut file) = fs::File::open("/proc/self/exe") else { return true };
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut file, &mut hasher).is_ok() && hasher.finalize().to_hex().as_str() == hash
}

/// Removes the running program from the cache in which it lies, because it is not what its name says.
pub fn remove_own() {
    if let Ok(program) = std::env::current_exe()
        && program.file_name().is_some_and(|name| is_hash(&name.to_string_lossy()))
    {
        let _ = fs::remove_file(program);
    }
}

fn is_hash(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Sees to the cache from which the running program was started, if it was: notes that it was, and removes what is over the bounds. A folder
/// that was made for it alone goes at once. What fails is left as it is: it costs room and nothing else.
pub fn tidy_own() {
    let Ok(program) = std::env::current_exe() else { return };
    let (Some(folder), Some(name)) = (program.parent(), program.file_name()) else { return };
    if !is_hash(&name.to_string_lossy()) {
        return;
    }
    let folder_name = folder.file_name().unwrap_or_default().to_string_lossy();
    if folder_name.starts_with(FOR_ONE) {
        let _ = fs::remove_file(&program);
        let _ = fs::remove_dir(folder);
    } else if folder_name == FOLDER {
        if let Ok(file) = fs::File::open(&program) {
            let _ = file.set_modified(SystemTime::now());
        }
        let _ = keep_within(folder, &program, MOST_PROGRAMS, MOST_BYTES);
        let _ = remove_parts(folder);
    }
}

fn keep_within(folder: &Path, own: &Path, programs: usize, bytes: u64) -> io::Result<()> {
    let (mut kept, mut held) = (0, 0);
    for cached in list(folder)? {
        let fits = kept < programs && held + cached.bytes <= bytes;
        if fits || cached.path == own {
            kept += 1;
            held += cached.bytes;
        } else {
            // A program that runs goes on running.
            fs::remove_file(&cached.path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, digit: char, bytes: usize, age: u64) -> PathBuf {
        let path = folder.join(digit.to_string().repeat(64));
        fs::write(&path, vec![0; bytes]).unwrap();
        let used = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
        fs::File::options().write(true).open(&path).unwrap().set_modified(used).unwrap();
        path
    }

    #[test]
    fn what_was_started_longest_ago_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (new, own, old) =
            (put(folder, 'a', 10, 1), put(folder, 'b', 10, 9), put(folder, 'c', 10, 5));
        fs::write(folder.join("note"), "not a program").unwrap();
        keep_within(folder, &own, 2, 100).unwrap();
        let left: Vec<_> = list(folder).unwrap().into_iter().map(|cached| cached.path).collect();
        // The two newest fit; the running one stays although it is the oldest.
        assert_eq!(left, [new.clone(), old.clone(), own.clone()]);
        keep_within(folder, &own, 10, 15).unwrap();
        let left: Vec<_> = list(folder).unwrap().into_iter().map(|cached| cached.path).collect();
        assert_eq!(left, [new, own]);
        assert!(folder.join("note").exists());
    }

    #[test]
    fn m24_what_never_came_whole_is_removed_when_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let part = |process: &str, age: Duration| {
            let path = folder.path().join(format!("{}.{process}", "a".repeat(64)));
            let file = fs::File::create(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let (old, new) = (part("12", PART_AGE * 2), part("13", Duration::ZERO));
        let other = part("txt", PART_AGE * 2);
        remove_parts(folder.path()).unwrap();
        assert_eq!((old.exists(), new.exists(), other.exists()), (false, true, true));
    }

    #[test]
    fn a_cache_that_is_not_there_is_empty() {
        assert_eq!(list(Path::new("/nonexistent/actogen")).unwrap(), []);
    }
}
