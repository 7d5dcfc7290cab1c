//! Several contexts in one thread, linked in memory: the chapter about tests shows this file.

// ANCHOR: imports
use actogen::{ContextId, DeadReason, Limits, Placement, memory::MemoryNetwork, prelude::*};
// ANCHOR_END: imports

// ANCHOR: actor
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "counter.Add", reply = "u64")]
struct Add(u64);

#[derive(RemoteActor, Default)]
#[remote(name = "counter", messages(Add), spawn)]
struct Counter(u64);

impl Actor for Counter {
    type Context = actix::Context<Self>;
}

impl Handler<Add> for Counter {
    type Result = u64;

    fn handle(&mut self, Add(n): Add, _: &mut Self::Context) -> u64 {
        self.0 += n;
        self.0
    }
}
// ANCHOR_END: actor

// ANCHOR: mesh
/// A network in memory, and contexts on it. Each can be dialled by its number.
struct Mesh(MemoryNetwork);

impl Mesh {
    fn new() -> Self {
        Self(MemoryNetwork::new("test.local", [7; 32]))
    }

    /// The root has id 0 and the authority; any other context has a parent.
    async fn context(&self, id: u64, parent: Option<&Context>) -> Context {
        let limits = Limits::default();
        let transport = self.0.transport(ContextId(id), id.to_string(), limits.detection_time);
        let mut builder = Context::builder()
            .limits(limits)
            .placement(Placement::Inline)
            .transport(|_| Box::pin(async move { Ok(transport) }));
        builder = match parent {
            None => builder.authority(self.0.authority()),
            Some(parent) => builder.connect(parent.endpoint().expect("it can be dialled")),
        };
        builder.start().await.expect("the network is there")
    }
}
// ANCHOR_END: mesh

// ANCHOR: siblings
#[actogen::test]
async fn siblings_reach_each_other_through_the_root() -> actogen::Result<()> {
    let mesh = Mesh::new();
    let root = mesh.context(0, None).await;
    let one = mesh.context(1, Some(&root)).await;
    let two = mesh.context(2, Some(&root)).await;

    one.register("counter", &one.start(Counter::default()))?;
    let counter: Remote<Counter> = two.lookup_in(one.place(), "counter").await?;
    assert_eq!(counter.send(Add(1)).await?, 1);
    assert_eq!(root.stats().forwarded, 4, "a lookup, an addition, and the answer to each");

    // From the leaves to the root: a parent waits for its children.
    for context in [two, one, root] {
        context.shutdown().await;
    }
    Ok(())
}
// ANCHOR_END: siblings

// ANCHOR: silence
#[actogen::test]
async fn a_silent_sibling_ends_the_wait() -> actogen::Result<()> {
    let mesh = Mesh::new();
    let root = mesh.context(0, None).await;
    let one = mesh.context(1, Some(&root)).await;
    let two = mesh.context(2, Some(&root)).await;
    let counter = one.start(Counter::default()).attach(&two);
    assert_eq!(counter.send(Add(1)).await?, 1);

    tokio::time::pause();
    let watch = two.watch(&counter);
    mesh.0.set_silent(one.id(), true);
    let dead = counter.send(Add(1)).await.expect_err("nobody answers");
    assert_eq!(dead.reason(), Some(DeadReason::RouteLost));
    assert_eq!(watch.await.lost(), Some(DeadReason::RouteLost));
    Ok(())
}
// ANCHOR_END: silence
