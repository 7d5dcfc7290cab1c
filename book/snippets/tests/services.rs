//! The snippets of the chapters about channels, services, files and logs.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use actogen::{Origin, Policy, Service, prelude::*};

actogen::test_child!();

// ANCHOR: channel
#[actogen::function]
async fn squares(to: actogen::Sender<u64>, count: u64) -> actogen::Result<()> {
    for n in 0..count {
        to.send(n * n).await?;
    }
    to.close().await?;
    Ok(())
}
// ANCHOR_END: channel

#[actogen::test]
async fn values_come_by_channels(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    // ANCHOR: receive
    let (sender, receiver) = cx.channel();
    // Without this, a child that is lost would be waited for.
    receiver.end_with(&child);
    let call = child.call::<squares>((sender, 4));
    let mut seen = Vec::new();
    while let Ok(square) = receiver.recv().await {
        seen.push(square);
    }
    call.await?;
    assert_eq!(seen, [0, 1, 4, 9]);
    // ANCHOR_END: receive

    // ANCHOR: select
    let (hot, from_hot) = cx.channel();
    let (cold, from_cold) = cx.channel();
    let mut select = actogen::Select::new();
    let (is_hot, is_cold) = (select.add(from_hot), select.add(from_cold));
    cold.send(-3).await?;
    assert_eq!(select.next().await, Some((is_cold, Ok(-3))));
    hot.send(40).await?;
    assert_eq!(select.next().await, Some((is_hot, Ok(40))));
    // ANCHOR_END: select
    Ok(())
}

// ANCHOR: service
struct Stock {
    warehouse: u64,
    items: std::cell::RefCell<BTreeMap<String, u32>>,
    counted: Cell<u32>,
}

impl Service for Stock {
    async fn start(cx: Context) -> actogen::Result<Self> {
        let (items, counted) = (Default::default(), Cell::new(0));
        Ok(Self { warehouse: cx.id().0, items, counted })
    }
}

#[actogen::service(name = "shop.Stock")]
impl Stock {
    /// Puts items in.
    #[method(policy = parent_authority)]
    fn put(&self, item: String, count: u32) -> u32 {
        let mut items = self.items.borrow_mut();
        let left = items.entry(item).or_default();
        *left += count;
        *left
    }

    /// Takes one out, for whoever asks.
    #[method(policy = anyone)]
    fn take(&self, item: String) -> actogen::Result<u32> {
        let mut items = self.items.borrow_mut();
        let left = items.get_mut(&item).ok_or("we have never had that")?;
        *left = left.checked_sub(1).ok_or("it is sold out")?;
        Ok(*left)
    }

    /// Counts all of it, which takes a while: those who ask meanwhile get the same answer.
    #[method(policy = anyone, deduplicated)]
    async fn count(&self) -> (u64, u32) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.counted.set(self.counted.get() + 1);
        (self.warehouse, self.items.borrow().values().sum())
    }

    /// Who asks?
    #[method(policy = the_even)]
    fn who(&self, origin: Origin, greeting: String) -> String {
        format!("{greeting}, {}", origin.source)
    }
}

fn the_even() -> Policy {
    Policy::custom("is_even", |origin, _| origin.source.0 % 2 == 0)
}
// ANCHOR_END: service

#[actogen::test]
async fn services_start_when_they_are_called(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    // ANCHOR: call_service
    let stock = child.service::<Stock>();
    assert_eq!(stock.put("spade".into(), 2).await?, 2);
    assert_eq!(stock.take("spade".into()).await?, 1);
    let error = stock.take("rake".into()).await.unwrap_err();
    assert_eq!(error.to_string(), "`shop.Stock.take` failed in context 1");
    assert_eq!(stock.who("hello".into()).await?, "hello, context 0");
    let (first, second) = tokio::join!(stock.count(), stock.count());
    assert_eq!(first?, second?);
    // ANCHOR_END: call_service
    Ok(())
}

#[actogen::test]
async fn commands_run_elsewhere(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    // ANCHOR: command
    use actogen::{Command, Exit, Output, Processes};

    let (sender, receiver) = cx.channel();
    let command = Command::new("sh").arguments(["-c", "echo out; echo err >&2; exit 3"]);
    let call = child.service::<Processes>().run(command, Some(sender));
    let mut out = Vec::new();
    while let Ok(output) = receiver.recv().await {
        if let Output::Out(bytes) = output {
            out.extend_from_slice(&bytes);
        }
    }
    assert_eq!(call.await?, Exit::Status(3));
    assert_eq!(out, b"out\n");
    // ANCHOR_END: command
    Ok(())
}

#[actogen::test]
async fn files_go_out_and_come_back(cx: Context) -> actogen::Result<()> {
    let folder = tempfile::tempdir()?;
    let here = folder.path();
    std::fs::write(here.join("app.conf"), "port = 4433\n")?;
    let child = cx.launch(Launch::local()).await?;
    // ANCHOR: files
    // Out to the child ...
    let sent = child.send_file(here.join("app.conf"), here.join("copy.conf")).await?;
    // ... and back: whoever is above a context may have any file that it can read.
    let fetched = child.fetch(here.join("copy.conf")).to(here.join("back.conf")).await?;
    assert_eq!(sent.hash, fetched.hash);
    // ANCHOR_END: files

    // ANCHOR: offer
    use actogen::Files;

    // Those below may have what is offered, and nothing else.
    cx.service::<Files>().register(here.join("app.conf")).await?;
    cx.service::<Files>().register_folder(here.join("public")).await?;
    // ANCHOR_END: offer

    // ANCHOR: resume
    let fetch = child.fetch(here.join("copy.conf")).resume(true);
    let fetch = fetch.progress(|now| eprintln!("{} of {} bytes", now.written, now.size));
    let fetched = fetch.to(here.join("big.conf")).await?;
    assert_eq!(fetched.resumed_at, 0);
    // ANCHOR_END: resume
    Ok(())
}

#[actogen::function]
fn speak() {
    println!("hello from below");
}

#[actogen::test]
async fn what_a_child_prints_comes_to_the_root(cx: Context) -> actogen::Result<()> {
    // ANCHOR: logs
    let mut logs = cx.logs();
    let child = cx.launch(Launch::local()).await?;
    child.call::<speak>(()).await?;
    while let Some(record) = logs.next().await {
        let record = record.unwrap();
        if record.text == "hello from below" {
            assert_eq!(record.context, Some(child.id()));
            assert_eq!(record.source, actogen::Source::Stdout);
            break;
        }
    }
    // ANCHOR_END: logs
    Ok(())
}

#[actogen::function]
fn complain() {
    tracing::warn!("the shelf is empty");
}

#[actogen::test]
async fn a_request_is_found_by_its_trace(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    let mut logs = cx.logs();
    // ANCHOR: trace
    use actogen::trace;

    // From the caller's `traceparent`, or new.
    let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let span = match header.parse() {
        Ok(caller) => trace::new_span(&cx, &caller),
        Err(_) => trace::new_root(&cx),
    };
    let request = async { child.call::<complain>(()).await };
    trace::scope(Some(span), request).await?;
    // ANCHOR_END: trace
    while let Some(record) = logs.next().await {
        let record = record.unwrap();
        if record.text.contains("the shelf is empty") {
            assert_eq!(record.trace.unwrap().trace_id, span.trace_id);
            break;
        }
    }
    Ok(())
}

#[actogen::test]
async fn a_token_is_shown_once(cx: Context) -> actogen::Result<()> {
    drop(cx);
    // ANCHOR: join
    use actogen::Mesh;

    // At the root, or by `actogen token create`:
    let mesh = Mesh::fresh("fleet.example")?;
    let token = mesh.invite(Duration::from_secs(600))?;
    let root = Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await?;
    let endpoint = root.endpoint().unwrap();

    // In the other process, which has the token from its standard input:
    let mesh = Mesh::join(&endpoint, &token).await?;
    let node = Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await?;
    assert_eq!(root.descendants(), [node.id()]);
    // ANCHOR_END: join

    // ANCHOR: detach
    node.detach().await?;
    root.shutdown().await;
    assert!(node.is_running());
    // ANCHOR_END: detach
    node.shutdown().await;
    Ok(())
}
