//! The code of "Actors that move" on the page "Journaled actors".

use std::path::PathBuf;

use actogen::{Context, prelude::*};
use actogen_journal::{Client, Journal, JournaledActor, ShardMap, Shards, Turn};

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shards.Visit", reply = "u64")]
struct Visit;

#[derive(Default, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "page", messages(Visit))]
struct Page {
    visits: u64,
}

impl Actor for Page {
    type Context = Turn<Self>;
}

impl Handler<Visit> for Page {
    type Result = u64;
    fn handle(&mut self, _: Visit, _: &mut Turn<Self>) -> u64 {
        self.visits += 1;
        self.visits
    }
}

// ANCHOR: shards
/// Each process that is to run some of the actors does this.
async fn take_part(cx: &Context, folder: PathBuf) -> actogen::Result<Shards> {
    let map = ShardMap::new("pages", 64)?;
    let context = cx.clone();
    let shards = Shards::open(cx, &map, move |node| {
        Journal::builder(&context, folder.join(node.as_str())).kind::<Page>()
    });
    Ok(shards.await?)
}

/// And anybody this.
async fn visit(cx: &Context, address: &str) -> actogen::Result<u64> {
    let page = ShardMap::new("pages", 64)?.actor::<Page>(address)?;
    Ok(Client::new(cx).send(&page, Visit).await?)
}
// ANCHOR_END: shards

#[actogen::test]
async fn a_page_counts_on_when_its_holder_has_gone(cx: Context) -> actogen::Result<()> {
    let folder = tempfile::tempdir()?;
    let shards = take_part(&cx, folder.path().to_owned()).await?;
    assert_eq!(visit(&cx, "/").await?, 1);
    let others = take_part(&cx, folder.path().to_owned()).await?;
    shards.close().await;
    assert_eq!(visit(&cx, "/").await?, 2);
    others.close().await;
    Ok(())
}
