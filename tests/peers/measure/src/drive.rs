//! A peer's life: it says that it is ready, then does one order after the other until there are no more.

use std::{
    io::{self, BufRead, Write},
    pin::pin,
};

use futures_util::future::{Either, select};
use tokio::sync::mpsc;

use crate::{
    Error, PATIENCE,
    order::{Answer, Order, READY},
    work::Worker,
};

/// Serves the runner until standard input ends; a work that is under way then is given up. `about` is what is to be said of the peer, such as how it is carried.
///
/// # Errors
/// A line that is no order, and those of standard output.
pub async fn drive(worker: &impl Worker, about: &str) -> Result<(), Error> {
    say(&format!("{READY} {about}"))?;
    let mut lines = lines();
    while let Some(line) = lines.recv().await {
        let line = line?;
        let order = Order::parse(&line).ok_or_else(|| format!("`{line}` is no order"))?;
        let carrying_out = pin!(carry_out(worker, order));
        let input = pin!(lines.recv());
        match select(carrying_out, input).await {
            Either::Left((answer, _)) => say(&answer.to_string())?,
            // Nobody is there who could read the answer.
            Either::Right((None, _)) => break,
            Either::Right((Some(_), _)) => return Err("one order at a time".into()),
        }
    }
    Ok(())
}

async fn carry_out(worker: &impl Worker, order: Order) -> Answer {
    if let Some(reason) = worker.without(order.work) {
        return Answer::Without(reason.to_owned());
    }
    match tokio::time::timeout(order.lasts + PATIENCE, worker.run(order.work, order.lasts)).await {
        Ok(Ok(outcome)) => Answer::Done(outcome),
        Ok(Err(error)) => Answer::Failed(error.to_string()),
        Err(_) => Answer::Failed(format!("it did not end {PATIENCE:?} after its time")),
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Standard input, read on a thread of its own: a peer's runtime has better things to do.
fn lines() -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut lines = io::stdin().lock().lines();
        while lines.next().is_some_and(|line| sender.blocking_send(line).is_ok()) {}
    });
    receiver
}
