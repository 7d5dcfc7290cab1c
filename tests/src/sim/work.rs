//! The traffic of one life: chance traffic while anything may break, and at the end some of which none may fail.

use std::{future::poll_fn, rc::Rc, task::Poll, time::Duration};

use actogen::{Remote, prelude::SendError};
use tokio::time::{Instant, sleep};

use super::{
    clerk::{Hand, Hire, How, Nap, Note, Quit},
    dice::Dice,
    ledger::Life,
    program::Desk,
    stage::Phase,
};

/// A body that travels in fragments.
const LARGE: usize = 100 * 1024;

/// How long after a burst its lanes may still be full: a partition and the detection time, at most.
const CROWDED: Duration = Duration::from_secs(10);

/// What the quiet phase sends from everybody to everybody.
const QUIET_REQUESTS: usize = 3;
const QUIET_NOTES: usize = 5;

/// Sends whatever chance says to whomever it says, until chaos is over.
pub(crate) async fn chance(desk: &Rc<Desk>) {
    let Life { slot, number } = desk.life;
    let mut dice = Dice::of(desk.stage.plan.seed, &[3, slot as u64, u64::from(number)]);
    loop {
        sleep(dice.millis(20, 160)).await;
        if desk.stage.phase.get() != Phase::Chaos {
            return;
        }
        let Some(to) = somebody(desk, &mut dice) else { continue };
        match dice.below(100) {
            0..4 if desk.stage.plan.crowded => crowd(desk, to, &mut dice),
            0..50 => ask(desk, to, &mut dice),
            50..83 => tell(desk, to, dice.below(300), &mut dice),
            83..85 => tell(desk, to, LARGE + dice.below(LARGE), &mut dice),
            _ => {
                let (desk, dice) = (desk.clone(), Dice::of(dice.next(), &[]));
                desk.clone().spawn(hire(desk, to, dice));
            }
        }
    }
}

/// Somebody to send to: mostly a life of now, sometimes one that is over.
fn somebody(desk: &Desk, dice: &mut Dice) -> Option<Life> {
    let lives = desk.stage.lives_of(dice.below(desk.stage.plan.contexts()));
    if dice.percent(90) {
        lives.last().copied()
    } else {
        (!lives.is_empty()).then(|| dice.pick(&lives))
    }
}

/// Sends a request, and lets the ledger know how it ends.
fn ask(desk: &Rc<Desk>, to: Life, dice: &mut Dice) {
    let wait = if dice.percent(50) { 0 } else { dice.millis(1, 2_000).as_millis() as u64 };
    request(desk, to, wait, dice.millis(500, 4_000));
}

fn request(desk: &Rc<Desk>, to: Life, wait: u64, limit: Duration) {
    let clerk = desk.stage.clerk(to, &desk.context);
    let ordered = !is_crowded(desk);
    let ask = desk.stage.ledger.borrow_mut().ask(desk.life, to, wait, limit, ordered);
    let id = ask.id;
    let request = clerk.send(ask).within(limit);
    let stage = desk.stage.clone();
    begin(desk, request, move |outcome| stage.ledger.borrow_mut().answered(id, outcome));
}

/// Polls a future once now, so that what it sends keeps its place, and waits for the rest beside.
fn begin<F>(desk: &Desk, future: F, then: impl FnOnce(F::Output) + 'static)
where
    F: Future + Unpin + 'static,
{
    let mut future = future;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(&mut future).poll(&mut context) {
        Poll::Ready(output) => then(output),
        Poll::Pending => desk.spawn(async move { then(future.await) }),
    }
}

fn tell(desk: &Rc<Desk>, to: Life, size: usize, dice: &mut Dice) {
    let clerk = desk.stage.clerk(to, &desk.context);
    let seq = desk.stage.ledger.borrow_mut().tell(desk.life, to);
    let note = Note::new(desk.life, to, seq, size);
    match dice.below(3) {
        0 => clerk.do_send(note),
        // What becomes of it shows at the other end, or not at all.
        1 => drop(clerk.try_send(note)),
        _ if is_crowded(desk) => clerk.do_send(note),
        _ => begin(desk, clerk.tell(note), drop),
    }
}

fn is_crowded(desk: &Desk) -> bool {
    Instant::now() < desk.crowded_until.get()
}

/// Sends more at once than a lane or a mailbox takes, perhaps to somebody who sleeps.
fn crowd(desk: &Rc<Desk>, to: Life, dice: &mut Dice) {
    desk.crowded_until.set(Instant::now() + CROWDED);
    let clerk = desk.stage.clerk(to, &desk.context);
    if dice.percent(60) {
        clerk.do_send(Nap(dice.millis(50, 800).as_millis() as u64));
    }
    let size = dice.pick(&[10, 100, 8 * 1024, 60 * 1024]);
    for _ in 0..dice.pick(&[30, 70, 150]) {
        let seq = desk.stage.ledger.borrow_mut().tell(desk.life, to);
        // One that is handed back, or becomes a dead letter here, leaves a gap and no more.
        drop(clerk.try_send(Note::new(desk.life, to, seq, size)));
    }
}

/// Has an actor started, watches it, and has it stopped, if all goes well.
async fn hire(desk: Rc<Desk>, host: Life, mut dice: Dice) {
    let clerk = desk.stage.clerk(host, &desk.context);
    let hired = clerk.send(Hire { boss: desk.clerk.clone(), life: desk.life }).await;
    let Ok(hired) = hired else { return };
    watch(&desk, &hired.hand, hired.number, true);
    if dice.percent(50) {
        watch(&desk, &hired.hand, hired.number, false);
    }
    sleep(dice.millis(1, 4_000)).await;
    if desk.stage.phase.get() != Phase::Chaos {
        // All that still work are dismissed together.
        return;
    }
    let how = dice.pick(&[How::Normally, How::ByPanic, How::Killed]);
    let quit = Quit { words: dice.below(6) as u32, how };
    match dice.below(4) {
        // It lives until its context ends, or the simulation settles.
        0 => {}
        1 => hired.hand.do_send(quit),
        _ => {
            let outcome = hired.hand.send(quit).await;
            let gone = matches!(&outcome, Err(SendError::Failed(_)) | Ok(()));
            if gone && dice.percent(50) {
                // The notice of what is gone already comes at once.
                watch(&desk, &hired.hand, hired.number, true);
            }
        }
    }
}

fn watch(desk: &Rc<Desk>, hand: &Remote<Hand>, number: u64, ordered: bool) {
    let mut watch =
        if ordered { desk.context.watch_for(hand, &desk.clerk) } else { desk.context.watch(hand) };
    let (stage, life) = (desk.stage.clone(), desk.life);
    let id = stage.ledger.borrow_mut().watched();
    desk.spawn(async move {
        let down = (&mut watch).await;
        // What came before the notice is with the clerk, who may not have had its turn yet.
        sleep(Duration::from_millis(1)).await;
        stage.ledger.borrow_mut().noticed(life, id, number, &down.ended, ordered);
        let second = poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut watch).poll(cx).is_ready()));
        if second.await {
            stage.ledger.borrow_mut().noticed_twice(life, id);
        }
    });
}

/// Everybody reaches everybody, in order and whole.
pub(crate) async fn quiet(desk: &Rc<Desk>) {
    let mut dice = Dice::of(desk.stage.plan.seed, &[4, desk.life.slot as u64]);
    for round in 0..QUIET_NOTES {
        for slot in 0..desk.stage.plan.contexts() {
            let Some(to) = desk.stage.life_of(slot) else { continue };
            tell(desk, to, if round == 2 { LARGE } else { 10 }, &mut dice);
            if round < QUIET_REQUESTS {
                request(desk, to, 0, Duration::from_secs(2));
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}
