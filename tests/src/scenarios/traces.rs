//! One request over many contexts: which trace a handler runs in.

use std::{cell::RefCell, collections::VecDeque};

use actogen::{
    prelude::*,
    trace::{self, TraceContext},
};
use actogen_core::{limits::FRAGMENT, wire::Header};

use crate::{
    mesh::{Fabric, Mesh, Outcome},
    rogue::Rogue,
    until::until_equal,
};

/// Where some code is: its own span and its sender's, each as a `traceparent`.
type Here = (Option<String>, Option<String>);

/// Which kind of result a handler gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    AtOnce,
    Future,
    ActorFuture,
}

/// Asks a handler where it is, by each kind of result.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.WhereNow", reply = "Here")]
struct WhereNow;

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.WhereLater", reply = "Here")]
struct WhereLater;

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.WhereInActor", reply = "Here")]
struct WhereInActor;

/// Asks a handler to ask another, and where both are.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.WhereBeyond", reply = "Option<(Here, Here)>")]
struct WhereBeyond(RemoteRecipient<WhereNow>);

/// Has its handler remember where it was.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Mark")]
struct Mark(u64, #[serde(with = "serde_bytes")] Vec<u8>);

/// Asks for what is remembered.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Marks", reply = "Vec<(u64, Here)>")]
struct Marks;

#[derive(Debug, Default, RemoteActor)]
#[remote(
    name = "test.tracer",
    messages(WhereNow, WhereLater, WhereInActor, WhereBeyond, Mark, Marks)
)]
struct Tracer {
    marks: VecDeque<(u64, Here)>,
}

impl Actor for Tracer {
    type Context = actix::Context<Self>;
}

fn here() -> Here {
    let text = |span: TraceContext| span.to_string();
    (trace::current().map(text), trace::sender().map(text))
}

impl Handler<WhereNow> for Tracer {
    type Result = MessageResult<WhereNow>;
    fn handle(&mut self, _: WhereNow, _: &mut Self::Context) -> Self::Result {
        MessageResult(here())
    }
}

impl Handler<WhereLater> for Tracer {
    type Result = ResponseFuture<Here>;
    fn handle(&mut self, _: WhereLater, _: &mut Self::Context) -> Self::Result {
        Box::pin(async {
            tokio::task::yield_now().await;
            here()
        })
    }
}

impl Handler<WhereInActor> for Tracer {
    type Result = ResponseActFuture<Self, Here>;
    fn handle(&mut self, _: WhereInActor, _: &mut Self::Context) -> Self::Result {
        let wait = async { tokio::task::yield_now().await };
        Box::pin(wait.into_actor(self).map(|(), _, _| here()))
    }
}

impl Handler<WhereBeyond> for Tracer {
    type Result = ResponseFuture<Option<(Here, Here)>>;
    fn handle(&mut self, WhereBeyond(next): WhereBeyond, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let there = next.send(WhereNow).await.ok()?;
            Some((here(), there))
        })
    }
}

impl Handler<Mark> for Tracer {
    type Result = ();
    fn handle(&mut self, Mark(n, _): Mark, _: &mut Self::Context) {
        self.marks.push_back((n, here()));
    }
}

impl Handler<Marks> for Tracer {
    type Result = MessageResult<Marks>;
    fn handle(&mut self, _: Marks, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.marks.drain(..).collect())
    }
}

#[actogen::function(name = "test.where_at_once")]
fn where_at_once() -> Here {
    here()
}

#[actogen::function(name = "test.where_blocking", blocking)]
fn where_blocking() -> Here {
    here()
}

#[actogen::function(name = "test.where_in_future")]
async fn where_in_future() -> Here {
    tokio::task::yield_now().await;
    here()
}

fn parsed(text: Option<String>) -> actogen::Result<TraceContext> {
    Ok(text.ok_or("it is in no trace")?.parse()?)
}

/// Requires that something has run in a span of its own, as what this span has sent; gives it.
fn below(sender: TraceContext, here: Here) -> actogen::Result<TraceContext> {
    let own = parsed(here.0)?;
    assert_eq!(parsed(here.1)?, sender);
    assert_eq!((own.trace_id, own.flags), (sender.trace_id, sender.flags));
    assert_ne!(own.span_id, sender.span_id);
    Ok(own)
}

/// A tracer in a grandchild, as the grandchild, its parent and the root have it.
async fn tracers<F: Fabric>(
    mesh: &Mesh<F>,
) -> actogen::Result<(Vec<Context>, Vec<Remote<Tracer>>)> {
    let root = mesh.root().await?;
    let mut contexts = mesh.chain(&root, 1..=2).await?;
    contexts.reverse();
    contexts.push(root);
    let tracer = contexts[0].start(Tracer::default());
    let tracers = contexts.iter().map(|context| tracer.clone().attach(context)).collect();
    Ok((contexts, tracers))
}

/// A request in a trace is handled in that trace, in a span of its own, near, one hop and two hops away, by every kind of handler; and
/// its asker is where it was when the answer has come.
pub async fn a_trace_crosses_hops<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (contexts, tracers) = tracers(mesh).await?;
    for (context, tracer) in contexts.iter().zip(&tracers) {
        let span = trace::new_root(context);
        let asked: actogen::Result<_> = trace::scope(Some(span), async {
            let mut spans = Vec::new();
            for kind in [Kind::AtOnce, Kind::AtOnce, Kind::Future, Kind::ActorFuture] {
                let there = match kind {
                    Kind::AtOnce => tracer.send(WhereNow).await?,
                    Kind::Future => tracer.send(WhereLater).await?,
                    Kind::ActorFuture => tracer.send(WhereInActor).await?,
                };
                spans.push(below(span, there)?.span_id);
                assert_eq!(trace::current(), Some(span));
            }
            Ok(spans)
        })
        .await;
        let mut spans = asked?;
        spans.sort_unstable();
        spans.dedup();
        assert_eq!(spans.len(), 4, "each handling has a span of its own");
        assert_eq!(trace::current(), None);
    }
    Ok(())
}

/// What a handler's future asks goes on in its trace, from its span.
pub async fn a_trace_goes_on_from_handler_to_handler<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (contexts, tracers) = tracers(mesh).await?;
    let root = &contexts[2];
    let end = root.start(Tracer::default());
    let span = trace::new_root(root);
    let asked = trace::scope(Some(span), tracers[2].send(WhereBeyond(end.recipient()))).await;
    // It is sent where it is made.
    assert_eq!(asked?.map(|(middle, end)| (middle.0, end.0)), Some((None, None)));
    let sending = trace::run(Some(span), || tracers[2].send(WhereBeyond(end.recipient())));
    let (middle, end) = sending.await?.ok_or("the tracer in the middle has no answer")?;
    below(below(span, middle)?, end)?;
    Ok(())
}

/// One-way messages are handled in the trace that each was sent in, or in none, whatever came before, near and far, short and long, alone
/// and in runs.
pub async fn a_message_without_a_trace_stays_without<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (contexts, tracers) = tracers(mesh).await?;
    let (one, other) = (trace::new_root(&contexts[0]), trace::new_root(&contexts[0]));
    let spans = [None, Some(one), Some(one), None, None, Some(other), Some(one), None];
    for tracer in &tracers {
        for body in [0, FRAGMENT * 2] {
            let mut sent = Vec::new();
            for span in spans {
                for _ in 0..3 {
                    let n = sent.len() as u64;
                    let message = Mark(n, vec![0; body]);
                    let told = trace::run(span, || tracer.tell(message));
                    told.await?;
                    sent.push((n, span.map(|span| span.to_string())));
                }
            }
            let mut marks = Vec::new();
            for (n, here) in tracer.send(Marks).await? {
                assert_eq!(here.0.is_some(), here.1.is_some());
                marks.push((n, here.1));
            }
            assert_eq!(marks, sent, "with {body} bytes");
        }
    }
    Ok(())
}

/// A message that waits for room is sent in the trace in which it was to be sent, wherever the wait is polled.
pub async fn a_message_that_waits_keeps_its_trace<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (contexts, tracers) = tracers(mesh).await?;
    let span = trace::new_root(&contexts[0]);
    for tracer in &tracers {
        let mut telling = Vec::new();
        for n in 0..64 {
            let body = vec![0; FRAGMENT * 2];
            telling.push(trace::run(Some(span), || tracer.tell(Mark(n, body))));
        }
        for told in telling {
            told.await?;
        }
        let marks = tracer.send(Marks).await?;
        assert_eq!(marks.len(), 64);
        for (_, here) in marks {
            below(span, here)?;
        }
    }
    Ok(())
}

/// Functions run in the trace of their call, blocking ones too.
pub async fn a_call_carries_its_trace<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (contexts, _) = tracers(mesh).await?;
    let (callee, root) = (contexts[0].place(), &contexts[2]);
    let span = trace::new_root(root);
    let called: Outcome = trace::scope(Some(span), async {
        below(span, root.call_in::<where_at_once>(callee, ()).await?)?;
        below(span, root.call_in::<where_blocking>(callee, ()).await?)?;
        below(span, root.call_in::<where_in_future>(callee, ()).await?)?;
        Ok(())
    })
    .await;
    called?;
    assert_eq!(root.call_in::<where_blocking>(callee, ()).await?, (None, None));
    Ok(())
}

/// A peer's trace is kept as it is on the way; one that names nothing is taken for none, and its message is handled all the same.
pub async fn a_peers_trace_is_taken_if_it_names_something<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let sibling = mesh.child(&root, 2).await?;
    let near = root.start(Tracer::default());
    let far = sibling.start(Tracer::default());
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let valid = TraceContext { trace_id: [1; 16], span_id: [2; 8], flags: 0xff };
    let no_trace = TraceContext { trace_id: [0; 16], ..valid };
    let no_span = TraceContext { span_id: [0; 8], ..valid };
    for tracer in [near, far] {
        let address = tracer.address();
        let header = rogue.header_to(address.context, address.handle);
        for (n, trace) in (0..).zip([Some(valid), Some(no_trace), Some(no_span), None]) {
            let header = Header { trace, ..header.clone() };
            let body = Mark::CODEC.encode(&Mark(n, Vec::new()))?;
            rogue.message(&header, Mark::TAG.get(), &body).await?;
        }
        let marks = RefCell::new(Vec::new());
        until_equal("all are handled", 4, || async {
            let more = tracer.send(Marks).await.unwrap_or_default();
            marks.borrow_mut().extend(more);
            marks.borrow().len()
        })
        .await;
        let mut marks = marks.into_inner().into_iter().map(|(_, here)| here);
        let (own, sender) = marks.next().ok_or("nothing was handled")?;
        assert_eq!(sender, Some(valid.to_string()), "byte for byte");
        let own = parsed(own)?;
        assert_eq!((own.trace_id, own.flags), (valid.trace_id, 3), "no flags without a meaning");
        assert_eq!(marks.collect::<Vec<_>>(), [(None, None), (None, None), (None, None)]);
    }
    rogue.cut().await;
    Ok(())
}
