//! Calls of functions in other contexts, one by one and in chains.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{error::Error, future::pending, time::Duration};

use actogen::{
    CallError, CallsHeld, Context, DeadReason, Function, FunctionCall, Handled, Place, Remote,
};

use crate::{
    actors::{Desk, Echo, NoForm},
    mesh::{Fabric, Mesh, Outcome},
    until::soon,
};

#[actogen::function]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[actogen::function(name = "test.where", version = 2)]
async fn whereabouts(cx: Context) -> u64 {
    tokio::task::yield_now().await;
    cx.id().0
}

/// A text that no log line would hold.
#[actogen::function]
fn long_complaint(bytes: usize) -> Result<(), actogen::Error> {
    Err("x".repeat(bytes).into())
}

#[derive(Debug, thiserror::Error)]
#[error("the ledger is closed")]
struct Closed(#[source] std::io::Error);

#[actogen::function]
async fn book(amount: u64) -> Result<u64, Closed> {
    match amount {
        0 => Err(Closed(std::io::Error::other("nobody has the key"))),
        amount => Ok(amount),
    }
}

#[actogen::function]
fn burst() -> u64 {
    panic!("no {} left", "pressure")
}

#[actogen::function]
async fn burst_later() {
    tokio::task::yield_now().await;
    panic!("later")
}

#[actogen::function]
fn formless() -> NoForm {
    NoForm
}

#[actogen::function]
async fn echo_by(desk: Remote<Desk>, bytes: Vec<u8>) -> actogen::Result<Vec<u8>> {
    Ok(desk.send(Echo(bytes)).await?)
}

#[actogen::function]
async fn for_ever() {
    pending().await
}

/// Waits on a thread of its own.
#[actogen::function(blocking)]
fn thread_name() -> Option<String> {
    std::thread::current().name().map(str::to_owned)
}

/// A root, its child and its grandchild.
async fn line<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<(Context, Vec<Context>)> {
    let root = mesh.root().await?;
    let contexts = mesh.chain(&root, 1..=2).await?;
    Ok((root, contexts))
}

async fn held(root: &Context, place: Place) -> CallsHeld {
    soon("the count of calls", root.functions_in(place).held()).await.unwrap()
}

async fn until_held(root: &Context, place: Place, calls: usize, chains: usize) {
    loop {
        let held = held(root, place).await;
        if (held.calls, held.chains) == (calls, chains) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Functions, plain, asynchronous and blocking, give their values from a child, a grandchild and the caller's own context.
pub async fn m12_functions_give_their_values_near_and_far<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, mut contexts) = line(mesh).await?;
    contexts.push(root.clone());
    for context in &contexts {
        let place = context.place();
        assert_eq!(root.call_in::<add>(place, (2, 3)).await?, 5);
        assert_eq!(root.call_in::<whereabouts>(place, ()).await?, context.id().0);
        assert_eq!(root.call_in::<book>(place, 7).await?, 7);
        root.call_in::<thread_name>(place, ()).await?;
        assert_eq!(held(&root, place).await.calls, 0);
    }
    Ok(())
}

/// An error keeps its text and the chain of its causes, however long.
pub async fn m12_an_error_arrives_with_its_causes<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, contexts) = line(mesh).await?;
    for context in &contexts {
        let place = context.place();
        let error = root.call_in::<book>(place, 0).await.unwrap_err();
        assert_eq!(error.handled(), Handled::Yes);
        let closed = error.source().unwrap();
        assert_eq!(closed.to_string(), "the ledger is closed");
        assert_eq!(closed.source().unwrap().to_string(), "nobody has the key");
        let error = root.call_in::<long_complaint>(place, 100_000).await.unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "x".repeat(100_000));
    }
    Ok(())
}

/// A panic fails its call, with its text and its place, and nothing else.
pub async fn m12_a_panic_keeps_text_and_place<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, contexts) = line(mesh).await?;
    let place = contexts[1].place();
    let CallError::Panicked { text, place: at, .. } =
        root.call_in::<burst>(place, ()).await.unwrap_err()
    else {
        panic!("it did not panic")
    };
    assert_eq!(text, "no pressure left");
    assert!(at.unwrap().contains("calls.rs:"));
    let error = root.call_in::<burst_later>(place, ()).await.unwrap_err();
    assert!(matches!(&error, CallError::Panicked { text, .. } if text == "later"), "{error}");
    assert_eq!(root.call_in::<add>(place, (1, 1)).await?, 2);
    Ok(())
}

/// A value without an encoded form fails its call, which has been handled.
pub async fn m12_a_value_without_a_form_fails_its_call<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, contexts) = line(mesh).await?;
    let error = root.call_in::<formless>(contexts[0].place(), ()).await.unwrap_err();
    assert!(matches!(error, CallError::Unencodable { .. }), "{error}");
    assert_eq!(error.handled(), Handled::Yes);
    Ok(())
}

/// An address among the arguments belongs to the context that runs the function.
pub async fn m12_an_address_is_an_argument<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, contexts) = line(mesh).await?;
    let desk = root.start(Desk::default());
    let echoed = root.call_in::<echo_by>(contexts[1].place(), (desk, vec![7; 9])).await?;
    assert_eq!(echoed, vec![7; 9]);
    Ok(())
}

/// A call to a context that is lost, or ends, ends with it.
pub async fn m12_a_call_ends_with_its_context<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    mesh.may_fall_silent();
    let (root, contexts) = line(mesh).await?;
    let call = root.call_in::<for_ever>(contexts[1].place(), ());
    until_held(&root, contexts[1].place(), 1, 0).await;
    mesh.kill(&contexts[1]).await;
    let error = soon("word of the loss", call).await.unwrap_err();
    assert_eq!(error.reason(), Some(DeadReason::RouteLost), "{error}");
    let call = root.call_in::<for_ever>(contexts[0].place(), ());
    until_held(&root, contexts[0].place(), 1, 0).await;
    contexts[0].shutdown().await;
    let error = soon("word of the end", call).await.unwrap_err();
    assert!(error.reason().is_some(), "{error}");
    Ok(())
}

/// Only an ancestor, and the context itself, may call: to a child of its own a context's functions are closed.
pub async fn m12_a_child_cannot_call_its_parent<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, contexts) = line(mesh).await?;
    let error = contexts[0].call_in::<add>(root.place(), (1, 2)).await.unwrap_err();
    assert_eq!(error.reason(), Some(DeadReason::Refused), "{error}");
    assert_eq!(error.handled(), Handled::No);
    Ok(())
}

/// A call that is given up ends the function where it waits; so does one that is late.
pub async fn a_call_that_is_given_up_ends_its_function<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, contexts) = line(mesh).await?;
    let place = contexts[1].place();
    let call = root.call_in::<for_ever>(place, ());
    until_held(&root, place, 1, 0).await;
    drop(call);
    until_held(&root, place, 0, 0).await;
    let late = root.call_in::<for_ever>(place, ()).within(Duration::from_millis(20));
    assert!(matches!(late.await, Err(CallError::Timeout { .. })));
    until_held(&root, place, 0, 0).await;
    Ok(())
}

/// A call without an answer is run.
pub async fn m12_a_call_without_an_answer_is_run<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, contexts) = line(mesh).await?;
    let place = contexts[1].place();
    root.functions_in(place).call_no_reply::<for_ever>(()).await?;
    until_held(&root, place, 1, 0).await;
    root.functions_in(place).call_no_reply::<burst>(()).await?;
    assert_eq!(root.call_in::<add>(place, (1, 1)).await?, 2);
    Ok(())
}

/// The calls of a chain run in their order, without waiting for each other on the way.
pub async fn m13_a_chain_runs_in_its_order<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, contexts) = line(mesh).await?;
    for context in &contexts {
        let chain = root.functions_in(context.place()).chain();
        let calls: Vec<FunctionCall<push>> = (0..20).map(|n| chain.call(n)).collect();
        let last = chain.call::<pushed>(());
        assert_eq!(last.await?, (0..20).collect::<Vec<_>>());
        for call in calls {
            call.await?;
        }
    }
    Ok(())
}

std::thread_local! {
    /// All contexts of a mesh share a thread or have their own; the chain that asks has the numbers to itself all the same.
    static PUSHED: std::cell::RefCell<Vec<u64>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[actogen::function]
async fn push(n: u64) {
    // The earlier ones take longer.
    for _ in n..20 {
        tokio::task::yield_now().await;
    }
    PUSHED.with_borrow_mut(|pushed| pushed.push(n));
}

#[actogen::function]
fn pushed() -> Vec<u64> {
    PUSHED.take()
}

/// The first failure of a chain is the error of all calls behind it, none of which is run; another chain goes on.
pub async fn m13_the_first_failure_fails_the_rest_unrun<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, contexts) = line(mesh).await?;
    let place = contexts[1].place();
    let (mut chain, other) = (root.functions_in(place).chain(), root.functions_in(place).chain());
    let (first, fails) = (chain.call::<book>(1), chain.call::<book>(0));
    let (behind, also) = (chain.call::<push>(1), chain.call::<add>((1, 2)));
    assert_eq!(first.await?, 1);
    let same = |error: CallError| {
        let text = error.source().map(ToString::to_string);
        assert_eq!(text.as_deref(), Some("the ledger is closed"), "{error}");
    };
    same(fails.await.unwrap_err());
    same(behind.await.unwrap_err());
    same(also.await.unwrap_err());
    same(chain.call::<add>((1, 2)).await.unwrap_err());
    assert_eq!(other.call::<add>((1, 2)).await?, 3);
    assert_eq!(root.call_in::<pushed>(place, ()).await?, Vec::<u64>::new());
    chain.reset();
    assert_eq!(chain.call::<add>((1, 2)).await?, 3);
    Ok(())
}

/// Nothing is left of chains that are done, nor of those whose caller is gone.
pub async fn m13_chains_leave_nothing_behind<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, contexts) = line(mesh).await?;
    let place = contexts[1].place();
    let mut calls = Vec::new();
    for n in 0..50 {
        let chain = root.functions_in(place).chain();
        calls.push(chain.call::<book>(n % 3));
        calls.push(chain.call::<book>(n));
    }
    let mut failed = 0;
    for call in calls {
        failed += usize::from(soon("a call", call).await.is_err());
    }
    assert_eq!(failed, 34);
    until_held(&root, place, 0, 0).await;
    Ok(())
}

/// A call of a chain that is given up fails those behind it.
pub async fn m13_a_call_given_up_fails_its_chain<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, contexts) = line(mesh).await?;
    let place = contexts[1].place();
    let chain = root.functions_in(place).chain();
    let (given_up, behind) = (chain.call::<for_ever>(()), chain.call::<add>((1, 2)));
    until_held(&root, place, 2, 1).await;
    drop(given_up);
    let error = soon("word of the chain's end", behind).await.unwrap_err();
    assert!(matches!(error, CallError::Unrun { .. }), "{error}");
    Ok(())
}

/// Whoever calls what is not there is told what is.
pub async fn an_unknown_function_is_named_with_what_there_is<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    #[derive(Debug)]
    enum Missing {}
    impl actogen::__private::Callable for Missing {
        const NAME: &'static str = "test.missing";
        const TAG: actogen::Tag = actogen::Tag::new(7);
        type Arguments = ();
        type Output = ();
    }
    impl Function for Missing {
        fn run(_: Context, (): ()) -> actogen::__private::Run<()> {
            actogen::__private::Run::Now(Ok(()))
        }
    }
    let (root, contexts) = line(mesh).await?;
    let error = root.call_in::<Missing>(contexts[1].place(), ()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`test.missing` was not run") && text.contains("test.where"), "{text}");
    assert_eq!(error.handled(), Handled::No);
    Ok(())
}
