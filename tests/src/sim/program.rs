//! What a simulated host runs: one context after the other, each until it loses its parent or is told to leave.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    time::Duration,
};

use actogen::{Limits, Placement, Remote, prelude::Context, quic};
use actogen_core::limits::MAX_FRAME;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    clerk::Clerk,
    dice::Dice,
    ledger::Life,
    stage::{Phase, Stage},
    wire::{PORT, Plug},
    work,
};

/// A peer that is silent for this long is lost.
pub(crate) const DETECTION: Duration = Duration::from_secs(2);

/// How long what a context waits for may take to end after its shutdown has returned.
const LAST_OUTCOMES: Duration = Duration::from_millis(50);

/// How long the tables of a context may take to be as they were before there was any traffic.
const BASELINE: Duration = Duration::from_secs(2);

/// The limits of every context. In a crowded simulation mailboxes, and what links hold for others, are so small that they fill.
pub(crate) fn limits(crowded: bool) -> Limits {
    let usual = Limits::default();
    Limits {
        lane_bytes: if crowded { 2 * MAX_FRAME } else { usual.lane_bytes },
        relay_bytes: if crowded { 8 * MAX_FRAME } else { usual.relay_bytes },
        mailbox_messages: if crowded { 48 } else { usual.mailbox_messages },
        detection_time: DETECTION,
        handshake_time: Duration::from_secs(2),
        shutdown_time: Duration::from_secs(1),
        request_time: Duration::from_secs(4),
        ..usual
    }
}

/// One life, for the tasks that belong to it.
pub(crate) struct Desk {
    pub(crate) stage: Rc<Stage>,
    pub(crate) life: Life,
    pub(crate) context: Context,
    pub(crate) clerk: Remote<Clerk>,
    /// Until then its lanes may be full, and what has to wait for room is overtaken by what finds some.
    pub(crate) crowded_until: Cell<Instant>,
    tasks: RefCell<JoinSet<()>>,
}

impl Desk {
    /// Runs something that ends with this life at the latest.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        tasks.spawn_local(task);
        while tasks.try_join_next().is_some() {}
    }
}

/// Begins a context on this host, and another whenever it has ended.
pub(crate) async fn program(stage: Rc<Stage>, slot: usize) -> turmoil::Result {
    loop {
        let life = stage.next_life(slot);
        let mut dice = Dice::of(stage.plan.seed, &[2, slot as u64, u64::from(life.number)]);
        let plug = Plug::open().await?;
        match begin(&stage, life, &plug, &mut dice).await {
            Ok(context) => live(&stage, life, context).await,
            Err(error) => {
                stage.ledger.borrow_mut().note(|| format!("{life} does not begin: {error}"));
            }
        }
        // As when a process ends: the port is free for the next one, whatever QUIC still had to say.
        stage.retire(life, plug.close().await);
        sleep(dice.millis(50, 400)).await;
    }
}

/// Starts the context of a host, over the simulated network.
pub(crate) async fn begin(
    stage: &Stage,
    life: Life,
    plug: &Plug,
    dice: &mut Dice,
) -> Result<Context, String> {
    let identity = stage.keys.identity(life.slot);
    let listen = format!("{}:{PORT}", stage.addresses.borrow()[life.slot]);
    let mut options = quic::QuicOptions::listen(listen).with_socket(plug.wire.clone());
    options.rng_seed = Some(dice.seed());
    let builder = Context::builder()
        .limits(limits(stage.plan.crowded))
        .placement(Placement::Inline)
        .seed(dice.seed())
        .transport(move |limits| {
            Box::pin(async move {
                quic::QuicTransport::bind(identity, options.with_limits(&limits))
                    .map_err(|error| error.to_string())
            })
        });
    let builder = match stage.plan.parents[life.slot] {
        None => builder.authority(stage.authority.clone()),
        Some(parent) => {
            let endpoint = format!("{}:{PORT}", stage.addresses.borrow()[parent]);
            builder.connect_to(endpoint, actogen::ContextId(parent as u64))
        }
    };
    builder.start().await.map_err(|error| error.to_string())
}

/// Lives one life, to its end.
async fn live(stage: &Rc<Stage>, life: Life, context: Context) {
    let mut events = context.events();
    let clerk = context.start(Clerk::new(stage.clone(), life, context.clone()));
    stage.enter(life, &context, &clerk);
    let desk = Rc::new(Desk {
        stage: stage.clone(),
        life,
        context: context.clone(),
        clerk,
        crowded_until: Cell::new(Instant::now()),
        tasks: RefCell::default(),
    });
    let watching = stage.clone();
    desk.spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => watching.ledger.borrow_mut().event(life, &event),
                Err(dropped) => {
                    let text = format!("{life} missed {dropped} events");
                    watching.ledger.borrow_mut().violation(text);
                }
            }
        }
    });
    let mut dead_letters = context.dead_letters();
    let burying = stage.clone();
    desk.spawn(async move {
        while let Some(letter) = dead_letters.next().await {
            if let Ok(letter) = letter {
                burying.ledger.borrow_mut().buried(life, &letter);
            }
        }
    });
    desk.spawn(whole_life(desk.clone()));

    let mut phase = context.phase();
    let why = tokio::select! {
        biased;
        ended = phase.wait_for(|phase| *phase != actogen::Phase::Running) => match ended.as_deref() {
            Ok(actogen::Phase::Ending { why, .. }) => why.clone(),
            _ => "it is down".to_owned(),
        },
        () = stage.leave[life.slot].notified() => "it leaves".to_owned(),
    };
    drop(phase);
    stage.ledger.borrow_mut().ending(life, &why);
    stage.check_honesty(life, &context);
    let begun = Instant::now();
    context.shutdown().await;
    let took = begun.elapsed();
    let bound = context.limits().shutdown_time + Duration::from_millis(1_500);
    if took > bound {
        let text = format!("the shutdown of {life} took {took:?}");
        stage.ledger.borrow_mut().violation(text);
    }
    stage.leave(life.slot);
    sleep(LAST_OUTCOMES).await;
    stage.ledger.borrow_mut().nothing_waits(life);
    let mut tasks = desk.tasks.take();
    drop(desk);
    tasks.shutdown().await;
    stage.ledger.borrow_mut().note(|| format!("{life} is down"));
}

/// What a life does, phase by phase.
async fn whole_life(desk: Rc<Desk>) {
    let stage = desk.stage.clone();
    work::chance(&desk).await;
    // Nobody is hired any more when the last request for it has ended.
    sleep(desk.context.limits().request_time + Duration::from_millis(500)).await;
    stage.dismiss(desk.life, &desk.context);
    until(&stage, Phase::Quiet).await;
    work::quiet(&desk).await;
    stage.quiet_done.set(stage.quiet_done.get() + 1);
    until(&stage, Phase::Final).await;
    stage.check_honesty(desk.life, &desk.context);
    if timeout(BASELINE, baseline(&desk)).await.is_err() {
        let holdings = desk.context.holdings().await;
        let text = format!("{} does not come to rest: it holds {holdings:?}", desk.life);
        stage.ledger.borrow_mut().violation(text);
    }
    stage.checked.set(stage.checked.get() + 1);
}

async fn until(stage: &Stage, phase: Phase) {
    while stage.phase.get() < phase {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a context holds what one without traffic holds: its routes and its links.
async fn baseline(desk: &Desk) {
    let plan = &desk.stage.plan;
    let slot = desk.life.slot;
    let (below, links) = (plan.below(slot).len(), plan.links(slot));
    loop {
        let holdings = desk.context.holdings().await;
        let router = holdings.router;
        let at_rest = holdings.pending == 0
            && holdings.watched == 0
            && holdings.held == 0
            && holdings.paused == 0
            && holdings.mailboxes == 1
            && holdings.routes == below
            && router.links == links
            && router.under_way == 0
            // Notes of who addressed whom live as long as the routes do.
            && router.addressed <= links * plan.contexts()
            && holdings.noted <= links * plan.contexts();
        if at_rest {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}
