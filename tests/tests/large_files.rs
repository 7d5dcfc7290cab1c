//! A file that is larger than the memory that any process on its way may take. By itself, so that it holds up no test that looks at the clock.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{fs, path::PathBuf, time::Duration};

use actogen::{Files, Place, prelude::*};

actogen::test_child!();

const BYTES: u64 = 1 << 30;

/// KiB above what a process had held before.
const ABOVE_IDLE: u64 = 64 * 1024;

/// How long it may take in a build that is not optimized.
const LIMIT: Duration = Duration::from_secs(240);

/// The most memory that a process of its own has held, in KiB.
#[actogen::function(name = "large.peak")]
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Has this context fetch a file of another, to where it is not seen.
#[actogen::function(name = "large.fetch")]
async fn fetch_hidden(cx: Context, holder: Place, path: PathBuf) -> actogen::Result<u64> {
    let to = path.with_file_name(format!("copy-{}", cx.id()));
    let fetched = cx.fetch(holder, path).to(&to).await?;
    fs::remove_file(to)?;
    Ok(fetched.bytes)
}

/// Starts a child, which lives as long as this context.
#[actogen::function(name = "large.grow")]
async fn grow(cx: Context) -> actogen::Result<Place> {
    Ok(cx.launch(Launch::local()).await?.place())
}

/// A file of a gibibyte goes from the root to a grandchild, and through the child between, in bounded memory.
#[actogen::test]
async fn m16_a_gibibyte_takes_bounded_memory_in_every_process(cx: Context) -> actogen::Result<()> {
    let middle = cx.launch(Launch::local()).await?;
    let low = middle.call::<grow>(()).await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("large");
    // Nothing of it is on the disk: reading it costs nothing.
    fs::File::create(&path)?.set_len(BYTES)?;
    cx.service::<Files>().register(path.clone()).await?;
    let places = [cx.place(), middle.place(), low];
    let mut idle = Vec::new();
    for place in places {
        idle.push(cx.call_in::<peak>(place, ()).await?);
    }
    let fetched = cx.call_in::<fetch_hidden>(low, (cx.place(), path)).within(LIMIT).await?;
    assert_eq!(fetched, BYTES);
    for (place, idle) in places.into_iter().zip(idle) {
        let above = cx.call_in::<peak>(place, ()).await?.saturating_sub(idle);
        assert!(above <= ABOVE_IDLE, "{} held {above} KiB above idle", place.context);
    }
    Ok(())
}
