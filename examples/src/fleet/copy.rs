//! A file that goes out to a host and comes back: what shows that files pass, and how fast.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use actogen::{Child, Context, cache};

/// Its size in bytes.
const SIZE: usize = 256 * 1024;

/// A place for a file, in the cache for programs: what is left there is removed by the cache. `None` on a machine without one.
#[actogen::function(name = "fleet.scratch")]
pub fn scratch(name: String) -> Option<PathBuf> {
    let folder = cache::folder()?;
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join(name))
}

/// Removes such a file.
#[actogen::function(name = "fleet.remove_scratch")]
pub fn remove_scratch(name: String) {
    if let Some(path) = cache::folder().map(|folder| folder.join(name)) {
        // It may never have come.
        let _ = fs::remove_file(path);
    }
}

/// The file that goes out, while this is there.
#[derive(Debug)]
pub struct Sample {
    /// Named as the cache names what has not come whole: one that is left is removed when it is old.
    name: String,
    path: PathBuf,
}

impl Sample {
    /// Makes one; `None` without a place for it.
    pub fn make(cx: &Context) -> Option<Self> {
        let hex: String = (0..4).map(|_| format!("{:016x}", cx.fresh_number())).collect();
        let name = format!("{hex}.{}", std::process::id());
        let path = scratch(name.clone())?;
        let content: Vec<u8> = (0..SIZE).map(|n| (n % 251) as u8).collect();
        fs::write(&path, content).ok()?;
        Some(Self { name, path })
    }

    /// Sends it to a host and fetches it back. Gives the milliseconds that both took; nothing where the host has no place for it.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub async fn round_trip(&self, child: &Child, place: usize) -> actogen::Result<Option<u64>> {
        let there = format!("{}{place}", self.name);
        let Some(path) = child.call::<scratch>(there.clone()).await? else { return Ok(None) };
        let back = self.path.with_file_name(format!("{}0{place}", self.name));
        let copied = self.copy(child, &path, &back).await;
        let _ = fs::remove_file(&back);
        child.call::<remove_scratch>(there).await?;
        copied.map(Some)
    }

    async fn copy(&self, child: &Child, there: &Path, back: &Path) -> actogen::Result<u64> {
        let begun = Instant::now();
        let sent = child.send_file(&self.path, there).await?;
        let fetched = child.fetch(there).to(back).await?;
        if sent.hash != fetched.hash {
            return Err("what came back is not what was sent".into());
        }
        Ok(begun.elapsed().as_millis() as u64)
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
