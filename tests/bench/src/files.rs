//! Suite `files`: a file of a child, and one of a grandchild, fetched by the root.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use actogen::{Place, prelude::*};

use crate::{
    failure::Failure,
    offspring::Line,
    ours,
    reference::Reference,
    report::Report,
    rounds,
    suite::{Better, Measure, Plan, Suite},
    workload::{Outcome, Span},
};

/// Bytes of the file.
const SIZE: usize = 256 * 1024 * 1024;

pub(crate) const SUITE: Suite = Suite {
    name: "files",
    about: "a file of a child, and one of a grandchild, fetched by the root",
    measures: || [ONE_HOP, TWO_HOPS].into_iter().flatten().collect(),
    run,
};

const ONE_HOP: &[Measure] = &[Measure {
    name: "file_1hop",
    unit: "MB/s",
    better: Better::Higher,
    reference: Some("bare quinn: read, hash, send, hash, write"),
    floor: Some(0.8),
}];

const TWO_HOPS: &[Measure] = &[Measure {
    name: "file_2hop",
    unit: "MB/s",
    better: Better::Higher,
    reference: Some("bare quinn: read, hash, send, forward, hash, write"),
    floor: Some(0.8),
}];

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    ours::block_on(measure(plan, report))
}

/// A folder with the file, in memory where there is such a place: what a disk does would hide what the network does.
struct Folder(PathBuf);

impl Folder {
    fn make() -> std::io::Result<Self> {
        let shared = Path::new("/dev/shm");
        let base = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let folder = Self(base.join(format!("actogen-bench-{}", std::process::id())));
        std::fs::create_dir(&folder.0)?;
        let mut file = std::fs::File::create(folder.source())?;
        let block: Vec<u8> =
            (0..1024 * 1024_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for _ in 0..SIZE / block.len() {
            file.write_all(&block)?;
        }
        Ok(folder)
    }

    fn source(&self) -> PathBuf {
        self.0.join("source")
    }

    fn copy(&self) -> PathBuf {
        self.0.join("copy")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn measure(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let folder = Folder::make().map_err(|error| Failure::System("a file to send", error))?;
    let mut reference = Reference::start_relayed(plan.settings).await?;
    reference.check_for(plan, report).await?;
    let line = Line::start(plan.settings).await?;
    let child = place_of(&line.middle);
    let grandchild = place_of(&line.beget().await?.sink);
    for (measures, place, is_relayed) in [(ONE_HOP, child, false), (TWO_HOPS, grandchild, true)] {
        if plan.wants_any(measures) {
            let ours = async |lasts| fetch(line.context(), place, &folder, lasts).await;
            let bare = async |lasts| {
                reference.files(is_relayed, folder.source(), folder.copy(), lasts).await
            };
            rounds::take(plan, report, measures, ours, bare).await?;
        }
    }
    line.end().await;
    reference.end();
    Ok(())
}

fn place_of<A>(actor: &Remote<A>) -> Place {
    let address = actor.address();
    Place { context: address.context, incarnation: address.incarnation }
}

/// Fetches the file again and again until the time is over.
async fn fetch(
    context: &Context,
    holder: Place,
    folder: &Folder,
    lasts: Duration,
) -> Result<Outcome, Failure> {
    let fetches = async {
        let (span, mut bytes) = (Span::of(lasts), 0);
        while bytes == 0 || !span.is_over() {
            let fetched = context.fetch(holder, folder.source()).to(folder.copy()).await;
            bytes += fetched.map_err(Failure::ours("fetching a file"))?.bytes;
        }
        Ok((span.rate(bytes) / 1e6).into())
    };
    ours::within(lasts, fetches).await
}
