//! Services: started on first use, with a policy for each method.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    cell::{Cell, RefCell},
    error::Error,
    rc::Rc,
};

use actogen::{
    __private::Callable, CallError, Context, DeadReason, Handled, Offered, Origin, Policy, Service,
    ServiceError, ServiceIn, Tag, gather,
};
use tokio::sync::{Notify, Semaphore};

use crate::{
    mesh::{Fabric, Mesh, Outcome},
    until::{soon, until_equal},
};

/// What the test that runs on this thread counts; each test has a thread of its own.
#[derive(Default)]
struct Counts {
    starts: Cell<u32>,
    runs: Cell<u32>,
    at_once: Cell<u32>,
    most_at_once: Cell<u32>,
    fails: Cell<bool>,
    /// A start that is to fail waits for it.
    failing: Notify,
}

thread_local! {
    static COUNTS: Rc<Counts> = Rc::default();
}

fn counts() -> Rc<Counts> {
    COUNTS.with(Rc::clone)
}

struct Ledger {
    sum: Cell<i64>,
    entries: RefCell<Vec<i64>>,
    go: Notify,
    places: Semaphore,
}

impl Service for Ledger {
    async fn start(cx: Context) -> actogen::Result<Self> {
        let counts = counts();
        counts.starts.set(counts.starts.get() + 1);
        // Whoever calls meanwhile finds it starting.
        cx.ping(cx.place()).await?;
        if counts.fails.get() {
            counts.failing.notified().await;
            return Err("the ledger is locked away".into());
        }
        let (sum, entries) = (Cell::new(0), RefCell::default());
        Ok(Self { sum, entries, go: Notify::new(), places: Semaphore::new(0) })
    }
}

fn even_contexts() -> Policy {
    Policy::custom("is_even", |origin, _| origin.source.0 % 2 == 0)
}

impl Ledger {
    async fn count_while(&self, wait: impl Future<Output = ()>) {
        let counts = counts();
        counts.runs.set(counts.runs.get() + 1);
        counts.at_once.set(counts.at_once.get() + 1);
        counts.most_at_once.set(counts.most_at_once.get().max(counts.at_once.get()));
        wait.await;
        counts.at_once.set(counts.at_once.get() - 1);
    }
}

#[actogen::service(name = "test.Ledger")]
impl Ledger {
    #[method(policy = anyone)]
    fn add(&self, n: i64) -> i64 {
        self.sum.set(self.sum.get() + n);
        self.sum.get()
    }

    #[method(policy = parent_authority)]
    async fn close(&self) -> actogen::Result<i64> {
        match self.sum.get() {
            0 => Err("there is nothing to close".into()),
            sum => Ok(sum),
        }
    }

    #[method(policy = only_self)]
    fn secret(&self) -> u8 {
        42
    }

    #[method(policy = immediate_child)]
    fn report(&self, cx: Context, origin: Origin, text: String) -> (u64, u64, String) {
        (cx.id().0, origin.source.0, text)
    }

    #[method(policy = even_contexts)]
    fn even(&self) {}

    /// Runs until it is let go.
    #[method(policy = anyone, serialized)]
    async fn enter(&self, n: i64) {
        self.count_while(async {
            self.places.acquire().await.unwrap().forget();
        })
        .await;
        self.entries.borrow_mut().push(n);
    }

    #[method(policy = anyone)]
    async fn stay(&self, _: i64) {
        self.count_while(async { self.places.acquire().await.unwrap().forget() }).await;
    }

    #[method(policy = anyone, deduplicated)]
    async fn load(&self, key: String) -> actogen::Result<String> {
        self.count_while(self.go.notified()).await;
        if key.is_empty() { Err("no key".into()) } else { Ok(key + "!") }
    }

    #[method(policy = anyone)]
    fn let_go(&self, n: u32) -> Vec<i64> {
        self.places.add_permits(n as usize);
        self.go.notify_waiters();
        self.entries.borrow().clone()
    }
}

/// Another program's idea of the ledger.
struct Raw;

impl Service for Raw {
    async fn start(_: Context) -> actogen::Result<Self> {
        Ok(Self)
    }
}

impl Offered for Raw {
    const NAME: &'static str = "test.Raw";
    type Calls = ServiceIn;

    fn calls(service: ServiceIn) -> ServiceIn {
        service
    }
}

/// Adds a text.
enum AddText {}

impl Callable for AddText {
    const NAME: &'static str = "test.Ledger.add";
    const TAG: Tag = <__Ledger_add as Callable>::TAG;
    type Arguments = String;
    type Output = i64;
}

enum Subtract {}

impl Callable for Subtract {
    const NAME: &'static str = "test.Ledger.subtract";
    const TAG: Tag = Tag::new(77);
    type Arguments = i64;
    type Output = i64;
}

/// A root with two children.
async fn family<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<(Context, Context, Context)> {
    let root = mesh.root().await?;
    Ok((root.clone(), mesh.child(&root, 1).await?, mesh.child(&root, 2).await?))
}

/// However many call at once, from near and far, the service is made once, and its state is one.
pub async fn m15_a_service_starts_once_however_many_call_at_once<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let (root, child, _) = family(mesh).await?;
    let (far, near) = (root.service_in::<Ledger>(child.place()), child.service::<Ledger>());
    let calls = (1..=20).map(|n| if n % 2 == 0 { far.add(n) } else { near.add(n) });
    let sums: Vec<i64> = gather(calls).await.into_iter().collect::<Result<_, _>>()?;
    assert_eq!(sums.into_iter().max(), Some(210));
    assert_eq!(counts().starts.get(), 1);
    Ok(())
}

/// A sibling cannot start a service, but use one that its parent has started.
pub async fn m15_only_who_may_starts_a_service<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child, sibling) = family(mesh).await?;
    let ledger = sibling.service_in::<Ledger>(child.place());
    let error = ledger.add(1).await.unwrap_err();
    assert_eq!((error.reason(), error.handled()), (Some(DeadReason::Refused), Handled::No));
    assert!(error.to_string().contains("`test.Ledger` does not run"), "{error}");
    assert_eq!(counts().starts.get(), 0);
    assert_eq!(root.service_in::<Ledger>(child.place()).add(1).await?, 1);
    assert_eq!(ledger.add(2).await?, 3);
    Ok(())
}

/// A context starts its own services before anybody calls; nobody else can by that way.
pub async fn m15_a_context_starts_its_own_services<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child, sibling) = family(mesh).await?;
    child.start_service::<Ledger>().await?;
    child.start_service::<Ledger>().await?;
    assert_eq!(counts().starts.get(), 1);
    assert_eq!(sibling.service_in::<Ledger>(child.place()).add(2).await?, 2);
    let stub = child.place().address(actogen_runtime::core::Handle::STUB_CALL_SERVICE);
    let dead = soon("a refusal", root.ask(stub, b"")).await.unwrap_err();
    assert_eq!(dead.reason, DeadReason::Refused);
    Ok(())
}

/// Each method lets through whom its own policy does.
pub async fn m15_each_method_has_its_policy<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child, even_sibling) = family(mesh).await?;
    let odd_sibling = mesh.child(&root, 3).await?;
    child.start_service::<Ledger>().await?;
    let by = |cx: &Context| cx.service_in::<Ledger>(child.place());
    by(&even_sibling).add(5).await?;
    by(&odd_sibling).add(5).await?;
    assert_eq!(by(&root).close().await?, 10);
    assert_eq!(by(&child).secret().await?, 42);
    by(&even_sibling).even().await?;
    for (refused, policy) in [
        (by(&odd_sibling).close().await.map(drop), "has_parent_authority"),
        (by(&root).secret().await.map(drop), "is_self"),
        (by(&odd_sibling).even().await, "is_even"),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, CallError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(policy), "{policy} in {error}");
    }
    Ok(())
}

/// What stands before a method's arguments is where it runs, and who calls.
pub async fn m15_a_method_learns_who_calls<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child, _) = family(mesh).await?;
    root.start_service::<Ledger>().await?;
    let answer = child.service_in::<Ledger>(root.place()).report("well".into()).await?;
    assert_eq!(answer, (0, 1, "well".to_owned()));
    Ok(())
}

/// Arguments of another type are refused in words, and the method is not run.
pub async fn m15_bad_arguments_are_a_clear_error<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child, _) = family(mesh).await?;
    let raw = root.service_in::<Raw>(child.place());
    let error = raw.call::<AddText>(&"\u{7f}seven".repeat(40)).await.unwrap_err();
    assert_eq!(error.handled(), Handled::No);
    assert!(error.to_string().contains("the arguments do not decode there"), "{error}");
    assert_eq!(root.service_in::<Ledger>(child.place()).add(1).await?, 1);
    Ok(())
}

/// Serialized methods run one after the other, in the order of their calls.
pub async fn m15_serialized_methods_run_one_after_the_other<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child, _) = family(mesh).await?;
    let ledger = root.service_in::<Ledger>(child.place());
    ledger.add(1).await?;
    let entering = ledger.clone();
    let calls = tokio::task::spawn_local(gather((0..5).map(move |n| entering.enter(n))));
    until_equal("the first runs", 1, async || counts().at_once.get()).await;
    ledger.let_go(5).await?;
    for outcome in soon("all calls", calls).await? {
        outcome?;
    }
    assert_eq!(ledger.let_go(0).await?, [0, 1, 2, 3, 4]);
    assert_eq!((counts().runs.get(), counts().most_at_once.get()), (5, 1));
    Ok(())
}

/// Methods that say nothing run beside each other.
pub async fn m15_concurrent_methods_run_beside_each_other<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child, _) = family(mesh).await?;
    let ledger = root.service_in::<Ledger>(child.place());
    let staying = ledger.clone();
    let calls = tokio::task::spawn_local(gather((0..5).map(move |n| staying.stay(n))));
    until_equal("all run", 5, async || counts().at_once.get()).await;
    ledger.let_go(5).await?;
    for outcome in soon("all calls", calls).await? {
        outcome?;
    }
    Ok(())
}

/// Equal calls that come while one runs share its outcome, a failure too; one that comes later runs again.
pub async fn m15_equal_calls_of_a_deduplicating_method_share_one_run<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let (root, child, sibling) = family(mesh).await?;
    let far = root.service_in::<Ledger>(child.place());
    far.add(1).await?;
    let near = sibling.service_in::<Ledger>(child.place());
    for (round, (key, outcome)) in
        [("a", Some("a!")), ("", None), ("a", Some("a!"))].iter().enumerate()
    {
        let mut calls: Vec<_> = (0..3).map(|_| far.load((*key).into())).collect();
        calls.push(near.load((*key).into()));
        // Behind them from both callers, so they have come.
        far.add(0).await?;
        near.add(0).await?;
        until_equal("it runs", 1, async || counts().at_once.get()).await;
        // Given up by the first, it goes on for the others.
        drop(calls.remove(0));
        far.let_go(0).await?;
        for outcome_of_one in soon("the outcomes", gather(calls)).await {
            match (outcome_of_one, outcome) {
                (Ok(value), Some(expected)) => assert_eq!(value, *expected),
                (Err(error), None) => assert_eq!(error.source().unwrap().to_string(), "no key"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(counts().runs.get() as usize, round + 1);
    }
    Ok(())
}

/// A start that fails is an error for all who wait for it, with its text; the next call tries again.
pub async fn m15_a_service_that_does_not_start_says_why<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child, _) = family(mesh).await?;
    let ledger = root.service_in::<Ledger>(child.place());
    counts().fails.set(true);
    let calls = [ledger.add(1), ledger.add(2)];
    // Behind them, so they have come.
    root.service_in::<Raw>(child.place()).call::<Subtract>(&1).await.unwrap_err();
    counts().failing.notify_one();
    for outcome in gather(calls).await {
        let error = outcome.unwrap_err();
        assert_eq!(error.handled(), Handled::No);
        assert!(error.to_string().contains("the ledger is locked away"), "{error}");
    }
    assert_eq!(counts().starts.get(), 1);
    counts().failing.notify_one();
    let error = child.start_service::<Ledger>().await.unwrap_err();
    assert!(matches!(error, ServiceError::NotStarted { .. }), "{error}");
    counts().fails.set(false);
    assert_eq!(ledger.add(3).await?, 3);
    Ok(())
}

/// A method that the program there does not have is told with the services that it has.
pub async fn an_unknown_method_is_named_with_what_there_is<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child, _) = family(mesh).await?;
    let error = root.service_in::<Raw>(child.place()).call::<Subtract>(&1).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("test.Ledger.subtract") && text.contains("it has the services:"),
        "{text}"
    );
    assert!(text.contains("test.Ledger"), "{text}");
    Ok(())
}
