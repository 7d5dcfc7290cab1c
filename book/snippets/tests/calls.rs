//! The snippets of the chapters about calls and about launching.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{error::Error as _, fs, io, time::Duration};

use actogen::{CallError, HostKeys, LaunchError, gather, prelude::*, scatter, select};

actogen::test_child!();

// ANCHOR: functions
#[actogen::function]
fn first_line(path: String) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[actogen::function(name = "site.sum", version = 2)]
async fn sum(a: i64, b: i64) -> i64 {
    a + b
}

#[actogen::function]
fn context_id(cx: Context) -> u64 {
    cx.id().0
}

#[actogen::function(blocking)]
fn count_files(folder: String) -> io::Result<usize> {
    Ok(fs::read_dir(folder)?.count())
}
// ANCHOR_END: functions

#[actogen::function]
fn burst() {
    panic!("under pressure")
}

#[actogen::test]
async fn calls_give_values_and_errors_keep_their_causes(cx: Context) -> actogen::Result<()> {
    // ANCHOR: call
    let child = cx.launch(Launch::local()).await?;
    assert_eq!(child.call::<sum>((2, 3)).await?, 5);
    assert_eq!(child.call::<context_id>(()).await?, child.id().0);
    // It stays a function of this program, too.
    assert_eq!(sum(2, 3).await, 5);
    // ANCHOR_END: call
    assert!(child.call::<count_files>("/".into()).await? > 0);

    // ANCHOR: failed
    let error = child.call::<first_line>("/no/such/file".into()).await.unwrap_err();
    assert_eq!(error.to_string(), "`first_line` failed in context 1");
    assert!(error.source().unwrap().to_string().starts_with("No such file"));

    let error = child.call::<burst>(()).await.unwrap_err();
    let CallError::Panicked { text, place, .. } = error else { panic!("{error}") };
    assert_eq!(text, "under pressure");
    assert!(place.unwrap().contains("calls.rs"));
    // ANCHOR_END: failed

    // ANCHOR: limit
    let call = child.call::<sum>((2, 3)).within(Duration::from_secs(5));
    assert_eq!(call.await?, 5);
    child.call_no_reply::<burst>(()).await?;
    // ANCHOR_END: limit
    Ok(())
}

#[actogen::test]
async fn chains_and_several_at_once(cx: Context) -> actogen::Result<()> {
    // ANCHOR: chain
    let child = cx.launch(Launch::local()).await?;
    let chain = child.chain();
    let calls = [
        chain.call::<first_line>("/etc/passwd".into()),
        chain.call::<first_line>("/no/such/file".into()),
        chain.call::<first_line>("/etc/group".into()),
    ];
    let lines = gather(calls).await;
    assert!(lines[0].is_ok());
    // The third was not run. Its error is the second's.
    let causes = lines[1..].iter().map(|line| line.as_ref().unwrap_err().source().unwrap());
    assert!(causes.into_iter().all(|cause| cause.to_string().starts_with("No such file")));
    // ANCHOR_END: chain

    // ANCHOR: several
    let mut launching = cx.launch_many([Launch::local(), Launch::local()], 2);
    let mut children = Vec::new();
    while let Some((_, launched)) = launching.next().await {
        children.push(launched?);
    }
    let first = select(children.iter().map(|child| child.call::<context_id>(()))).await;
    assert!(first.is_some());
    let mut ids = scatter(children.iter().map(|child| (child.pid(), child.call::<context_id>(()))));
    while let Some((pid, id)) = ids.next().await {
        println!("process {pid} is context {}", id?);
    }
    // ANCHOR_END: several
    Ok(())
}

/// Compiled only: whoever reads the page has hosts of these names.
#[allow(dead_code, reason = "there is no such host here")]
async fn launched_elsewhere(cx: Context) -> actogen::Result<()> {
    // ANCHOR: elsewhere
    let gate = cx.launch(Launch::ssh("me@gate").port(2222).identity("/home/me/.ssh/fleet")).await?;
    let db = cx.launch(Launch::ssh("db1").host_keys(HostKeys::AcceptNew).via(&gate)).await?;
    let admin = cx.launch(Launch::sudo("root").via(&db)).await?;
    let web = cx.launch(Launch::docker("web").env("RUST_LOG", "info").via(&admin)).await?;
    println!("{}", web.call::<first_line>("/etc/hostname".into()).await?);
    // ANCHOR_END: elsewhere
    Ok(())
}

/// Compiled only, as well.
#[allow(dead_code, reason = "there is no such address here")]
async fn reached_from_elsewhere() -> actogen::Result<()> {
    // ANCHOR: listen
    let mesh = actogen::Mesh::fresh("fleet.example")?;
    let cx = Context::builder()
        .mesh(mesh)
        .listen("0.0.0.0:4433")
        .quic(|options| options.advertise = Some("10.0.0.1:4433".to_owned()))
        .start()
        .await?;
    // ANCHOR_END: listen
    drop(cx);
    Ok(())
}

#[actogen::test]
async fn a_launch_that_fails_says_what_to_do(cx: Context) -> actogen::Result<()> {
    // ANCHOR: refused
    let error = cx.launch(Launch::ssh("db1").tool("/no/such/ssh")).await.unwrap_err();
    assert!(matches!(error, LaunchError::ToolMissing { .. }));
    assert_eq!(
        error.to_string(),
        "`/no/such/ssh` is not there: install it, or give its path with `tool`"
    );
    // ANCHOR_END: refused
    Ok(())
}
