//! Counting in this process, without workers: what the others must come to.

use std::{io, path::Path};

use super::{
    counter::PART,
    files::{Chunks, Found, Remark},
    progress::Progress,
    sum::{Counted, Sum},
    words::Words,
};

/// Counts the files.
pub async fn count(files: Vec<Found>, progress: &Progress) -> Sum {
    let mut sum = Sum::default();
    for Found { path, .. } in files {
        let mut at = 0;
        match read(&path, &mut at, progress).await {
            Ok(counted) => sum.add(&path, counted, progress),
            Err(error) => {
                progress.fall_back(at);
                sum.remark(&Remark { path, what: error.into() }, progress);
            }
        }
    }
    sum
}

async fn read(path: &Path, at: &mut u64, progress: &Progress) -> io::Result<Counted> {
    let mut chunks = Chunks::open(path, PART).await?;
    let (mut words, mut counted) = (Words::default(), Counted::default());
    let mut each = |word: &str| counted.tally.count(word);
    while let Some(chunk) = chunks.next().await? {
        words.take(&chunk, &mut each);
        *at += chunk.len() as u64;
        progress.advance(chunk.len() as u64);
    }
    counted.invalid = words.finish(&mut each);
    Ok(counted)
}
