//! Handlers of every kind, near and far, and what becomes of a panic.

use std::{cell::Cell, rc::Rc, time::Duration};

use actogen::{BindError, Context, DeadReason, Handled, Remote, SendError, StopReason, prelude::*};

use crate::{
    actors::{
        AtomicSum, Bomb, Desk, Divide, Echo, End, Ending, Hush, Later, Never, NoForm,
        PanicInActorAnswer, PanicInAnswer, PanicInAtomicAnswer, Produce, Sum, Unlisted, Unwritable,
        WhoAmI, Wrapped,
    },
    mesh::{Fabric, Mesh, Outcome},
    until::{soon, until, until_equal},
};

/// A desk in a grandchild, as the grandchild, its parent and the root have it.
async fn desk_from_near_and_far<F: Fabric>(
    mesh: &Mesh<F>,
) -> actogen::Result<(Vec<Context>, Vec<Remote<Desk>>)> {
    let root = mesh.root().await?;
    let mut contexts = mesh.chain(&root, 1..=2).await?;
    contexts.reverse();
    contexts.push(root);
    let desk = contexts[0].start(Desk::default());
    let desks = contexts.iter().map(|context| desk.clone().attach(context)).collect();
    Ok((contexts, desks))
}

/// A value, a `Result`, a future, an actor future, an atomic response and a message result answer near and far.
pub async fn handlers_of_every_kind_answer_near_and_far<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (_, desks) = desk_from_near_and_far(mesh).await?;
    let mut sum = 0;
    for desk in &desks {
        assert_eq!(desk.send(Echo(vec![1, 2])).await?, [1, 2]);
        assert_eq!(desk.send(Divide(7, 2)).await?, Ok(3));
        assert_eq!(desk.send(Divide(7, 0)).await?, Err("7 cannot be divided by 0".to_owned()));
        assert_eq!(desk.send(Later(4)).await?, 5);
        assert_eq!(desk.send(Wrapped(4)).await?, 5);
        sum += 2;
        assert_eq!(desk.send(Sum(2)).await?, sum);
        sum += 3;
        assert_eq!(desk.send(AtomicSum(3)).await?, sum);
    }
    Ok(())
}

/// Many asynchronous answers are under way at once, and an atomic one lets nothing in between.
pub async fn asynchronous_answers_interleave_and_atomic_ones_do_not<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let (_, desks) = desk_from_near_and_far(mesh).await?;
    let mut sums = Vec::new();
    for desk in &desks {
        for _ in 0..40 {
            let (near, far) = (desk.clone(), desk.clone());
            sums.push(tokio::task::spawn_local(async move { near.send(Sum(1)).await.ok() }));
            sums.push(tokio::task::spawn_local(async move { far.send(AtomicSum(1)).await.ok() }));
        }
    }
    let mut got = Vec::new();
    for sum in sums {
        got.push(sum.await?.ok_or("a sum failed")?);
    }
    got.sort_unstable();
    assert_eq!(got, (1..=240).collect::<Vec<_>>(), "each message counted once");
    Ok(())
}

/// A handler that lists a message as inbound learns source, authority and neighbour, near and far.
pub async fn an_inbound_handler_learns_who_asks<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (contexts, desks) = desk_from_near_and_far(mesh).await?;
    let expected = [(2, 2, None), (1, 1, Some(1)), (0, 0, Some(1))];
    for ((context, desk), who) in contexts.iter().zip(&desks).zip(expected) {
        assert_eq!(desk.send(WhoAmI()).await?, who, "asked from {context:?}");
    }
    Ok(())
}

/// A reply port that is dropped tells the asker `NoAnswer`, handled.
pub async fn dead_case_14_a_dropped_reply_port_is_no_answer<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (_, desks) = desk_from_near_and_far(mesh).await?;
    for desk in &desks {
        let dead = desk.send(Hush()).await.expect_err("the port was dropped");
        assert_eq!(dead.reason(), Some(DeadReason::NoAnswer), "{dead}");
        assert_eq!(dead.handled(), Handled::Yes);
    }
    Ok(())
}

/// An answer that cannot be written fails its call far away, with the reason; near, it is the value itself.
pub async fn an_answer_without_a_form_fails_its_call<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (_, desks) = desk_from_near_and_far(mesh).await?;
    assert_eq!(desks[0].send(Unwritable()).await?, NoForm);
    for desk in &desks[1..] {
        let failed = desk.send(Unwritable()).await;
        let Err(SendError::Failed(text)) = failed else { panic!("{failed:?}") };
        assert!(text.contains("cannot be encoded"), "{text}");
        assert_eq!(desk.send(Echo(vec![1])).await?, [1]);
    }
    Ok(())
}

/// A request without an answer ends with its time limit, and its handle is free again.
pub async fn a_request_ends_with_its_time_limit<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (contexts, desks) = desk_from_near_and_far(mesh).await?;
    for (context, desk) in contexts.iter().zip(&desks) {
        let limit = Duration::from_millis(30);
        let late = desk.send(Never()).within(limit).await;
        assert!(matches!(late, Err(SendError::Timeout(after)) if after == limit), "{late:?}");
        assert_eq!(late.map_err(|error| error.handled()), Err(Handled::Maybe));
        assert_eq!(context.holdings().await.pending, 0);
    }
    Ok(())
}

/// A request without a limit of its own has the context's.
pub async fn a_request_has_the_contexts_time_limit<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let mut limits = crate::mesh::limits();
    limits.request_time = Duration::from_millis(40);
    let root = mesh.root_with(|builder| builder.limits(limits)).await?;
    let desk = mesh.child(&root, 1).await?.start(Desk::default()).attach(&root);
    let late = desk.send(Never()).await;
    assert!(
        matches!(late, Err(SendError::Timeout(after)) if after == Duration::from_millis(40)),
        "{late:?}"
    );
    Ok(())
}

/// A request that is dropped leaves nothing behind.
pub async fn a_dropped_request_leaves_nothing_behind<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (contexts, desks) = desk_from_near_and_far(mesh).await?;
    for (context, desk) in contexts.iter().zip(&desks) {
        let desk = desk.clone();
        let waiting = tokio::task::spawn_local(async move { desk.send(Never()).await });
        until_equal("it waits", 1, async || context.holdings().await.pending).await;
        waiting.abort();
        until_equal("nothing is left", 0, async || context.holdings().await.pending).await;
    }
    Ok(())
}

/// A message that an actor does not list dies as unknown, also where the sender's type says otherwise.
pub async fn dead_case_3_a_message_that_is_not_listed_is_unknown<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let (contexts, desks) = desk_from_near_and_far(mesh).await?;
    for (context, desk) in contexts.iter().zip(&desks) {
        let bytes = postcard::to_extend(desk, Vec::new())?;
        let other: RemoteRecipient<Unlisted> = postcard::from_bytes(&bytes)?;
        let dead = other.attach(context).send(Unlisted(1)).await.expect_err("it is not listed");
        assert_eq!(dead.reason(), Some(DeadReason::UnknownMessage), "{dead}");
        assert_eq!(dead.handled(), Handled::No);
    }
    assert_eq!(contexts[0].stats().dead_of(DeadReason::UnknownMessage), 3);
    Ok(())
}

/// An error of an author's own, with a text of 100 kB, arrives intact.
pub async fn an_authors_error_arrives_intact<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (_, desks) = desk_from_near_and_far(mesh).await?;
    for desk in &desks {
        assert_eq!(desk.send(Produce(100_000)).await?.len(), 100_000);
    }
    let root = &desks[2];
    let text = "x".repeat(100_000);
    let bomb = {
        let context = mesh.child(&mesh_root(mesh)?, 9).await?;
        context.start(Bomb::default()).attach(&mesh_root(mesh)?)
    };
    let failed = bomb.send(End(Ending::Panic(text.clone()))).await;
    assert!(matches!(&failed, Err(SendError::Failed(got)) if *got == text), "the whole text");
    assert_eq!(root.send(Echo(vec![7])).await?, [7]);
    Ok(())
}

fn mesh_root<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<Context> {
    mesh.context(0).ok_or_else(|| "the root has been started".into())
}

/// Bombs of the same kind, and a context that holds them with the one that asks.
async fn bombs<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<(Context, Context)> {
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    Ok((root, child))
}

/// A panic in a handler, in the future that answers, in an actor future or in an atomic response fails its call with the text, near
/// and far.
pub async fn r10_a_panic_fails_its_call_with_its_text<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child) = bombs(mesh).await?;
    for from in [&root, &child] {
        let bomb = || child.start(Bomb::default()).attach(from);
        let text = || "boom".to_owned();
        let failed = [
            bomb().send(End(Ending::Panic(text()))).await.map_err(|error| error.to_string()),
            bomb().send(PanicInAnswer(text())).await.map_err(|error| error.to_string()),
            bomb().send(PanicInActorAnswer(text())).await.map_err(|error| error.to_string()),
        ];
        for (place, outcome) in failed.into_iter().enumerate() {
            let expected = Err("the handler failed: boom".to_owned());
            assert_eq!(outcome, expected, "place {place}, asked from {from:?}");
        }
        let atomic = bomb().send(PanicInAtomicAnswer(text())).await;
        let error = atomic.expect_err("it panicked");
        assert!(
            matches!(error, SendError::Failed(_))
                || error.reason() == Some(DeadReason::NoAnswer)
                || error.reason() == Some(DeadReason::Stopped),
            "{error}"
        );
    }
    Ok(())
}

/// A panic, wherever it happens, ends the actor alone; watchers get its text.
pub async fn r10_a_panic_ends_its_actor_alone_and_is_the_reason<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let (root, child) = bombs(mesh).await?;
    let neighbour = child.start(Desk::default()).attach(&root);
    let boom = || "boom".to_owned();
    let places =
        [Ending::Panic(boom()), Ending::PanicInTimer(boom()), Ending::PanicInFuture(boom())];
    for place in places {
        for from in [&root, &child] {
            let bomb = child.start(Bomb::default()).attach(from);
            let watch = from.watch(&bomb);
            bomb.tell(End(place.clone())).await?;
            let down = soon("the notice", watch).await;
            assert_eq!(down.stopped(), Some(&StopReason::Panic(boom())), "{place:?}");
            let dead = bomb.send(Later(1)).await.expect_err("it has ended");
            assert_eq!(dead.reason(), Some(DeadReason::Stopped), "{dead}");
            assert!(dead.to_string().contains("boom"), "{dead}");
        }
    }
    assert_eq!(neighbour.send(Echo(vec![1])).await?, [1]);
    Ok(())
}

/// A panic in an actor's hooks ends it alone, is the reason, and answers who waits.
pub async fn r10_a_panic_in_a_hook_is_the_reason<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child) = bombs(mesh).await?;
    let started = child.start(Bomb { in_started: true, ..Bomb::default() }).attach(&root);
    let down = soon("the notice", root.watch(&started)).await;
    assert_eq!(down.stopped(), Some(&StopReason::Panic("in started".into())));
    let stopping = child.start(Bomb { in_stopping: true, ..Bomb::default() }).attach(&root);
    let watch = root.watch(&stopping);
    stopping.tell(End(Ending::Stop)).await?;
    let down = soon("the notice", watch).await;
    assert_eq!(down.stopped(), Some(&StopReason::Panic("in stopping".into())));
    let both = Bomb { in_stopping: true, in_stopped: true, ..Bomb::default() };
    let both = child.start(both).attach(&root);
    let watch = root.watch(&both);
    let failed = both.send(End(Ending::Panic("first".into()))).await;
    assert!(matches!(&failed, Err(SendError::Failed(text)) if text == "first"), "{failed:?}");
    let down = soon("the notice", watch).await;
    assert_eq!(down.stopped(), Some(&StopReason::Panic("first".into())), "the first one counts");
    Ok(())
}

/// Requests that wait in the mailbox of an actor which ends are answered `Stopped`, not handled.
pub async fn dead_case_2_what_waits_in_a_stopped_mailbox_is_answered<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let (root, child) = bombs(mesh).await?;
    let (gate, _open) = crate::actors::Gate::closed();
    let gate = child.start(gate);
    let mut waiting = Vec::new();
    for from in [&root, &child] {
        for _ in 0..10 {
            let gate = gate.clone().attach(from);
            waiting.push(tokio::task::spawn_local(async move {
                gate.send(crate::actors::Notes()).await
            }));
        }
        until_equal("all wait", 10, async || from.holdings().await.pending).await;
    }
    child.ping(root.place()).await?;
    root.ping(child.place()).await?;
    assert!(child.stop(&gate, StopReason::Killed));
    for waiter in waiting {
        let dead = soon("an answer", waiter).await?.expect_err("it was killed");
        assert_eq!(dead.reason(), Some(DeadReason::Stopped), "{dead}");
        assert_eq!(dead.handled(), Handled::No);
    }
    Ok(())
}

/// Counts its own hooks.
#[derive(RemoteActor)]
#[remote(name = "test.counted", messages(Echo))]
struct Counted {
    hooks: Rc<Cell<[u32; 3]>>,
    waits: bool,
}

impl Counted {
    fn count(&self, hook: usize) {
        let mut hooks = self.hooks.get();
        hooks[hook] += 1;
        self.hooks.set(hooks);
    }
}

impl Actor for Counted {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.count(0);
        if self.waits {
            actix::AsyncContext::wait(ctx, actix::fut::wrap_future(std::future::pending::<()>()));
        }
    }

    fn stopping(&mut self, _: &mut Self::Context) -> actix::Running {
        self.count(1);
        actix::Running::Stop
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.count(2);
    }
}

impl Handler<Echo> for Counted {
    type Result = Vec<u8>;
    fn handle(&mut self, echo: Echo, _: &mut Self::Context) -> Vec<u8> {
        echo.0
    }
}

/// An actor that is killed has started once; its `stopping` hook does not run, and its `stopped` hook does if it waits for nothing.
pub async fn a_kill_begins_nothing_anew<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    for (waits, expected) in [(false, [1, 0, 1]), (true, [1, 0, 0])] {
        let hooks = Rc::new(Cell::new([0; 3]));
        let actor = root.start(Counted { hooks: hooks.clone(), waits });
        let watch = root.watch(&actor);
        match waits {
            true => until("it has started", || hooks.get()[0] == 1).await,
            false => drop(soon("an answer", actor.send(Echo(vec![1]))).await?),
        }
        assert!(root.stop(&actor, StopReason::Killed));
        let down = soon("the notice", watch).await;
        assert_eq!(down.stopped(), Some(&StopReason::Killed));
        assert_eq!(hooks.get(), expected, "waits: {waits}");
    }
    Ok(())
}

/// An actor that the author started himself is bound, answers, and its end is told; a stopped one cannot be bound.
pub async fn an_actor_that_already_runs_can_be_bound<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child) = bombs(mesh).await?;
    let actor = Desk::default().start();
    let bound = child.bind(&actor)?.attach(&root);
    assert_eq!(bound.send(Later(1)).await?, 2);
    let watch = root.watch(&bound);
    drop(actor);
    assert_eq!(bound.send(Later(1)).await?, 2, "the binding keeps it alive");
    child.unbind(&bound);
    assert_eq!(soon("the notice", watch).await.stopped(), Some(&StopReason::Normal));
    let stopped = crate::actors::Recorder::default().start();
    stopped.do_send(End(Ending::Stop));
    until("it has stopped", || !stopped.connected()).await;
    assert_eq!(child.bind(&stopped), Err(BindError::Stopped));
    Ok(())
}

/// When a context shuts down, its actors stop with that reason, what waits for them is answered, and what is sent later is refused.
pub async fn dead_case_13_a_shutdown_answers_who_waits<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child) = bombs(mesh).await?;
    let desk = child.start(Desk::default()).attach(&root);
    let watch = root.watch(&desk);
    let waiting = tokio::task::spawn_local({
        let desk = desk.clone();
        async move { desk.send(Never()).await }
    });
    until_equal("it waits", 2, async || root.holdings().await.pending).await;
    desk.send(Echo(Vec::new())).await?;
    child.shutdown().await;
    let dead = soon("the waiter", waiting).await?.expect_err("the context is gone");
    assert_eq!(dead.reason(), Some(DeadReason::RouteLost), "{dead}");
    assert_eq!(dead.handled(), Handled::Maybe);
    assert!(dead.to_string().contains("context 1 lost: it shut down"), "{dead}");
    let down = soon("the notice", watch).await;
    assert_eq!(down.stopped(), Some(&StopReason::Shutdown), "{down}");
    let own = desk.clone().attach(&child).send(Echo(Vec::new())).await;
    assert!(own.is_err());
    let outward = root.start(Desk::default()).attach(&child).send(Echo(Vec::new())).await;
    let reason = outward.map_err(|error| error.reason());
    assert_eq!(reason, Err(Some(DeadReason::Shutdown)));
    Ok(())
}
