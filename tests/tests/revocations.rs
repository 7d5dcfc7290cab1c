//! Contexts whose certificates are revoked while the mesh runs.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{future::Future, path::Path, time::Duration};

use actogen::{ContextEvent, ContextId, DeadReason, Ended, Mesh, prelude::*};
use actogen_tests::{
    actors::{Desk, Echo},
    until::{soon, until},
};

const HOUR: Duration = Duration::from_secs(3600);

/// Runs a test where actors can be started.
fn run(test: impl Future<Output = actogen::Result<()>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test).unwrap();
}

/// A context with a folder's identity below another; a root that runs has reserved the ids below 2000.
async fn issued(authority: &Path, id: u64, below: &Context) -> actogen::Result<Context> {
    let folder = authority.join(format!("node{id}"));
    if !folder.exists() {
        Mesh::issue(authority, &folder, ContextId(id), HOUR)?;
    }
    let builder = Context::builder().mesh(Mesh::from_pem(folder)?).listen("127.0.0.1:0");
    Ok(builder.connect(below.endpoint().unwrap()).ends_with_parent(false).start().await?)
}

async fn goes(phase: &str, context: &Context) {
    until(phase, || !context.is_running()).await;
}

/// The root revokes a grandchild from a folder that the command line may write too: its link is closed two hops away, whoever waited for it
/// is told, and it finds no way back anywhere.
#[test]
fn a_revoked_context_is_cut_off_wherever_it_is() {
    run(async {
        let folder = tempfile::tempdir()?;
        let authority = folder.path().join("ca");
        Mesh::create_authority("revoked.test", &authority)?;
        let root =
            Context::builder().mesh(Mesh::root(&authority)?).listen("127.0.0.1:0").start().await?;
        let child = issued(&authority, 2010, &root).await?;
        let bad = issued(&authority, 2011, &child).await?;
        let below = issued(&authority, 2012, &bad).await?;
        let other = issued(&authority, 2013, &child).await?;
        until("the root knows all", || root.descendants().len() == 4).await;
        let desk = bad.start(Desk::default()).attach(&root);
        assert_eq!(soon("an answer", desk.send(Echo(vec![7]))).await?, [7]);
        let down = root.watch(&desk);

        assert!(Mesh::revoke(&authority, bad.id())?, "it is news");
        assert!(!Mesh::revoke(&authority, bad.id())?, "it is none");
        let Ended::ContextLost(dead) = soon("the notice", down).await.ended else {
            panic!("it was lost")
        };
        assert_eq!(dead.reason, DeadReason::RouteLost);
        assert!(dead.text.contains("its certificate is revoked"), "{dead}");
        until("what was behind it is lost too", || root.descendants() == [child.id(), other.id()])
            .await;
        let dead = soon("an answer", desk.send(Echo(vec![7]))).await.unwrap_err();
        assert!(dead.to_string().contains("revoked"), "{dead}");

        // Nobody takes it as a child any more: neither those who were there, nor whoever has come later.
        let late = issued(&authority, 2014, &other).await?;
        for parent in [&root, &child, &other, &late] {
            until("the list is there", || parent.is_revoked(bad.id())).await;
            let refused = bad.attach_to(&parent.endpoint().unwrap(), None).await.unwrap_err();
            assert!(refused.to_string().contains("revoked"), "{refused}");
        }
        // Nor as a parent: it is above somebody who does not know, until that hears of it elsewhere.
        until("it is alone", || bad.family().ancestors.is_empty()).await;
        below.attach_to(&late.endpoint().unwrap(), None).await?;
        let refused = below.attach_to(&bad.endpoint().unwrap(), None).await.unwrap_err();
        assert!(refused.to_string().contains("revoked"), "{refused}");
        for context in [&below, &late, &other, &bad, &child, &root] {
            context.shutdown().await;
        }
        Ok(())
    });
}

/// The root of a fresh authority revokes by itself, and only the root does. A joined context gets no newer certificate either, and a root
/// that comes back knows who was revoked.
#[test]
fn only_the_root_revokes_and_it_remembers() {
    run(async {
        let mesh = Mesh::fresh_with_lifetime("revoked.test", Duration::from_secs(4))?;
        let root = Context::builder().mesh(mesh.clone()).listen("127.0.0.1:0").start().await?;
        let token = mesh.invite(HOUR)?;
        let joined = Mesh::join(&root.endpoint().unwrap(), &token).await?;
        let child = Context::builder().mesh(joined).listen("127.0.0.1:0").start().await?;
        assert!(child.revoke(root.id()).unwrap_err().to_string().contains("only the root"));
        assert!(root.revoke(root.id()).unwrap_err().to_string().contains("cannot be revoked"));
        let mut events = root.events();
        root.revoke(child.id())?;
        let down = soon("the event", async {
            loop {
                if let Some(Ok(ContextEvent::Down { context, loss })) = events.next().await {
                    return (context, loss.text);
                }
            }
        })
        .await;
        assert_eq!(down, (child.id(), "its certificate is revoked".to_owned()));
        goes("a context without a parent ends", &child).await;
        root.shutdown().await;

        let folder = tempfile::tempdir()?;
        let authority = folder.path().join("ca");
        Mesh::create_authority("revoked.test", &authority)?;
        Mesh::issue(&authority, authority.join("node2010"), ContextId(2010), HOUR)?;
        Mesh::revoke(&authority, ContextId(2010))?;
        let root =
            Context::builder().mesh(Mesh::root(&authority)?).listen("127.0.0.1:0").start().await?;
        until("the list is there", || root.is_revoked(ContextId(2010))).await;
        let refused = issued(&authority, 2010, &root).await.unwrap_err();
        assert!(refused.to_string().contains("revoked"), "{refused}");
        root.shutdown().await;
        Ok(())
    });
}

/// An authority's folder is restored from a backup that is older than a revocation: the new root learns of it from a child that it takes up
/// again, and what it revokes itself is in force for those who know the old list.
#[test]
fn a_restored_authority_learns_whom_it_has_revoked() {
    run(async {
        let folder = tempfile::tempdir()?;
        let authority = folder.path().join("ca");
        Mesh::create_authority("revoked.test", &authority)?;
        Mesh::revoke(&authority, ContextId(2001))?;
        let backup = std::fs::read(authority.join("ca-revoked"))?;
        let root =
            Context::builder().mesh(Mesh::root(&authority)?).listen("127.0.0.1:0").start().await?;
        let child = issued(&authority, 2010, &root).await?;
        let known = |context: &Context, ids: &[u64]| {
            ids.iter().all(|&id| context.is_revoked(ContextId(id)))
        };
        for id in [2002, 2003] {
            root.revoke(ContextId(id))?;
        }
        until("the child knows them", || known(&child, &[2001, 2002, 2003])).await;
        soon("the parting", child.detach()).await?;
        root.shutdown().await;

        std::fs::write(authority.join("ca-revoked"), backup)?;
        let root =
            Context::builder().mesh(Mesh::root(&authority)?).listen("127.0.0.1:0").start().await?;
        until("it knows what the backup does", || known(&root, &[2001])).await;
        assert!(!root.is_revoked(ContextId(2003)));
        // What the command line revokes meanwhile has a number that the child has seen.
        Mesh::revoke(&authority, ContextId(2004))?;
        child.attach_to(&root.endpoint().unwrap(), None).await?;
        until("the root has learned", || known(&root, &[2001, 2002, 2003, 2004])).await;
        until("and the child", || known(&child, &[2001, 2002, 2003, 2004])).await;
        let text = std::fs::read_to_string(authority.join("ca-revoked"))?;
        assert!(["2001", "2002", "2003", "2004"].iter().all(|id| text.contains(id)), "{text}");
        root.revoke(ContextId(2005))?;
        until("the child hears of new ones", || child.is_revoked(ContextId(2005))).await;
        child.shutdown().await;
        root.shutdown().await;
        Ok(())
    });
}
