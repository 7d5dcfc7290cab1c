//! Files: offered, fetched hop by hop, sent.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use actogen::{Context, FileError, Files, Order, gather};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::{
    mesh::{Fabric, Mesh, Outcome},
    until::{soon, until_equal},
};

const MIB: usize = 1024 * 1024;

/// A folder with a file of so many bytes.
fn folder(bytes: usize) -> (TempDir, PathBuf, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8 ^ (n / 4093) as u8).collect();
    let path = folder.path().join("source");
    std::fs::write(&path, &content).unwrap();
    (folder, path, content)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn offer(context: &Context, path: &Path) {
    context.service::<Files>().register(path.to_owned()).await.unwrap();
}

/// A file that its holder offers comes to child, grandchild, parent and the holder itself, whole, with its permissions.
pub async fn m16_an_offered_file_comes_to_whoever_asks<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let chain = mesh.chain(&root, 1..=3).await?;
    for bytes in [0, 1, 5 * MIB / 2] {
        let (folder, path, content) = folder(bytes);
        offer(&chain[0], &path).await;
        for (n, context) in [&root, &chain[0], &chain[1], &chain[2]].into_iter().enumerate() {
            let to = folder.path().join(format!("copy-{n}"));
            let seen = Rc::new(Cell::new(0));
            let progress = seen.clone();
            let fetch = context.fetch(chain[0].place(), &path);
            let fetch = fetch.progress(move |now| {
                assert!(now.written > progress.get() || now.size == 0);
                progress.set(now.written);
            });
            let fetched = soon("a file", fetch.to(&to)).await?;
            assert_eq!(
                (fetched.bytes, fetched.resumed_at, seen.get()),
                (bytes as u64, 0, bytes as u64)
            );
            assert_eq!(fetched.hash, blake3_of(&content));
            assert!(std::fs::read(&to).unwrap() == content);
            assert_eq!(
                std::fs::metadata(&to).unwrap().permissions(),
                std::fs::metadata(&path).unwrap().permissions()
            );
        }
    }
    Ok(())
}

fn blake3_of(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

/// What is not offered is refused to child, sibling and descendants, and given to a parent and those above.
pub async fn m16_what_is_not_offered_goes_to_those_above_alone<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let chain = mesh.chain(&root, 1..=2).await?;
    let sibling = mesh.child(&root, 5).await?;
    let (folder, path, content) = folder(1000);
    let to = folder.path().join("copy");
    let holder = chain[1].place();
    for (context, holder) in
        [(&sibling, holder), (&chain[1], root.place()), (&chain[1], sibling.place())]
    {
        let error = soon("a refusal", context.fetch(holder, &path).to(&to)).await.unwrap_err();
        assert!(matches!(error, FileError::NotOffered { .. }), "{error}");
        let up = format!("{}/../x", folder.path().display());
        let error = soon("a refusal", context.fetch(holder, up).to(&to)).await.unwrap_err();
        assert!(matches!(error, FileError::BadPath { .. }), "{error}");
    }
    assert_eq!(names(folder.path()), ["source"]);
    for context in [&root, &chain[0]] {
        context.fetch(holder, &path).to(&to).await?;
        assert!(std::fs::read(&to).unwrap() == content);
    }
    Ok(())
}

/// A hop that may read all of a context below it does not read it for others who may not.
pub async fn m16_nobody_borrows_the_authority_of_a_hop<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let (holder, sibling) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    let (folder, path, _) = folder(3 * MIB);
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    // Both at once, so that the one could be served from what the other fetches.
    let may = root.fetch(holder.place(), &path).to(&ours);
    let may_not = sibling.fetch(holder.place(), &path).to(&theirs);
    let (may, may_not) = tokio::join!(may, may_not);
    may?;
    assert!(matches!(may_not, Err(FileError::NotOffered { .. })), "{may_not:?}");
    assert!(!theirs.exists());
    Ok(())
}

/// A file is sent to where a child, or one below it, writes it; nobody is offered it afterwards.
pub async fn m16_a_file_is_sent_to_a_child<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let chain = mesh.chain(&root, 1..=2).await?;
    let (folder, path, content) = folder(2 * MIB + 1);
    for (n, context) in chain.iter().enumerate() {
        let to = folder.path().join(format!("sent-{n}"));
        let order = Order::new(root.place(), &path, &to);
        offer(&root, &path).await;
        let files = root.service_in::<Files>(context.place());
        let fetched = soon("the file", files.fetch(order.clone())).await?;
        assert_eq!(fetched.bytes as usize, content.len());
        assert!(std::fs::read(&to).unwrap() == content);
        assert!(root.service::<Files>().unregister(path.clone()).await?);
        let error = soon("a refusal", files.fetch(order)).await.unwrap_err();
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(text.contains("is not offered there"), "{text}");
        // Only those above may have a context fetch.
        let below = context.service_in::<Files>(root.place());
        let error = below.fetch(Order::new(context.place(), &path, &to)).await.unwrap_err();
        assert_eq!(error.reason(), Some(actogen::DeadReason::Refused));
    }
    Ok(())
}

/// A file that many below a context ask for at the same time comes there once.
pub async fn m16_many_below_a_hop_share_one_copy<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let hop = mesh.child(&root, 1).await?;
    let mut below = Vec::new();
    for id in 2..8 {
        below.push(mesh.child(&hop, id).await?);
    }
    let (folder, path, content) = folder(8 * MIB);
    offer(&root, &path).await;
    let before = root.stats().sent;
    let fetches = below.iter().enumerate().map(|(n, context)| {
        let to = folder.path().join(format!("copy-{n}"));
        context.fetch(root.place(), &path).to(to)
    });
    for fetched in soon("all copies", gather(fetches)).await {
        assert_eq!(fetched?.hash, blake3_of(&content));
    }
    assert_eq!(names(folder.path()).len(), 7);
    // Eight pieces and what begins a transfer, and not six times that.
    let sent = root.stats().sent - before;
    assert!(sent < 16, "{sent}");
    Ok(())
}

/// A fetching context has a window of pieces under way, and no more.
pub async fn m16_the_window_of_pieces_holds<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    let (folder, path, _) = folder(24 * MIB);
    let base = root.holdings().await.pending;
    let watched = root.clone();
    let most = Rc::new(Cell::new(0));
    let seen = most.clone();
    let looking = tokio::task::spawn_local(async move {
        loop {
            seen.set(seen.get().max(watched.holdings().await.pending));
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    });
    let fetch = root.fetch(child.place(), &path).to(folder.path().join("copy"));
    soon("the file", fetch).await?;
    looking.abort();
    let most = most.get() - base;
    assert!((2..=8).contains(&most), "{most} pieces were under way");
    Ok(())
}

/// A transfer whose holder is lost leaves what has come, and another goes on from there, with the holder's next life.
pub async fn m16_a_broken_transfer_goes_on_where_it_ended<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    let (folder, path, content) = folder(20 * MIB);
    let to = folder.path().join("copy");
    let came = Rc::new(Notify::new());
    let coming = came.clone();
    let fetch = root.fetch(child.place(), &path).resume(true);
    let fetch = fetch.progress(move |now| {
        if now.written >= 2 * MIB as u64 {
            coming.notify_one();
        }
    });
    let kill = async {
        came.notified().await;
        mesh.kill(&child).await;
    };
    let (broken, ()) = soon("the loss", async { tokio::join!(fetch.to(&to), kill) }).await;
    let error = broken.unwrap_err();
    assert!(matches!(error, FileError::Broken { .. }), "{error}");
    assert_eq!(names(folder.path()), ["copy.actogen-part", "source"]);
    until_equal("the loss is known", None, async || root.place_of(child.id())).await;
    let child = mesh.child(&root, 1).await?;
    let fetched = soon("the rest", root.fetch(child.place(), &path).resume(true).to(&to)).await?;
    assert!(fetched.resumed_at >= 2 * MIB as u64, "{fetched:?}");
    assert_eq!(fetched.hash, blake3_of(&content));
    assert!(std::fs::read(&to).unwrap() == content);
    assert_eq!(names(folder.path()), ["copy", "source"]);
    Ok(())
}

/// What an earlier try has left of another file is discarded, whether that was longer or only other.
pub async fn m16_a_changed_file_is_discarded<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    let (folder, path, content) = folder(3 * MIB);
    let (to, part) = (folder.path().join("copy"), folder.path().join("copy.actogen-part"));
    std::fs::write(&part, vec![1; MIB]).unwrap();
    let error = root.fetch(child.place(), &path).resume(true).to(&to).await.unwrap_err();
    assert!(matches!(error, FileError::Damaged { .. }), "{error}");
    assert_eq!(names(folder.path()), ["source"]);
    std::fs::write(&part, vec![1; 4 * MIB]).unwrap();
    let fetched = root.fetch(child.place(), &path).resume(true).to(&to).await?;
    assert_eq!((fetched.resumed_at, fetched.bytes as usize), (0, content.len()));
    assert_eq!(names(folder.path()), ["copy", "source"]);
    Ok(())
}

/// A transfer that is given up leaves no file here, and nothing with the holder or between.
pub async fn m16_transfers_leave_nothing_behind<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let chain = mesh.chain(&root, 1..=2).await?;
    let (folder, path, _) = folder(8 * MIB);
    offer(&root, &path).await;
    let begun = Rc::new(Notify::new());
    let begins = begun.clone();
    let fetch = chain[1].fetch(root.place(), &path).progress(move |_| begins.notify_one());
    let to = folder.path().join("copy");
    tokio::select! {
        _ = fetch.to(&to) => panic!("it was to be given up"),
        () = begun.notified() => {}
    }
    for context in [&root, &chain[0], &chain[1]] {
        let files = root.service_in::<Files>(context.place());
        until_equal("what is under way", (0, 0), async || files.under_way().await.unwrap()).await;
    }
    assert_eq!(names(folder.path()), ["source"]);
    // Whole ones leave nothing either.
    chain[1].fetch(root.place(), &path).to(&to).await?;
    let files = root.service_in::<Files>(chain[0].place());
    until_equal("what is under way", (0, 0), async || files.under_way().await.unwrap()).await;
    Ok(())
}
