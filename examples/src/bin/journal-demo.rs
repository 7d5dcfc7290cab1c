//! The smallest journaled program: it counts down, a step each half second, and goes on where it was however often it is killed.
//!
//! ```sh
//! cargo run -p actogen-examples --bin journal-demo -- rocket.redb
//! ```
//!
//! End it at any instant, with Ctrl-C or `kill -9`, and start it again.

use std::{path::PathBuf, time::Duration};

use actogen::prelude::*;
use actogen_journal::{Journal, JournaledActor, Turn};
use clap::Parser;

/// A countdown that goes on where it was, however often it is killed.
#[derive(Debug, Parser)]
#[command(after_help = "Exit status: 0 when it has come to its end, 1 an error, 2 misused.")]
struct Arguments {
    /// Where the journal is kept
    file: PathBuf,
    /// Where a new countdown begins
    #[arg(long, default_value_t = 10)]
    from: u32,
    /// Milliseconds between two steps
    #[arg(long, default_value_t = 500)]
    step: u64,
}

/// Begins the countdown, unless it has begun; answers where it is.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "demo.Begin", reply = "u32")]
struct Begin {
    from: u32,
    step: Duration,
}

/// Answers where it is.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "demo.Where", reply = "u32")]
struct Where;

/// One down: a message that the countdown sends to itself.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "demo.Down")]
struct Down;

/// All that there is to know of a countdown: what is not in here does not survive.
#[derive(Default, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "countdown", messages(Begin, Where, Down))]
struct Countdown {
    left: Option<u32>,
    step: Duration,
}

impl Actor for Countdown {
    type Context = Turn<Self>;
}

impl Handler<Begin> for Countdown {
    type Result = u32;
    fn handle(&mut self, begin: Begin, turn: &mut Turn<Self>) -> u32 {
        if self.left.is_none() {
            self.step = begin.step;
            turn.send_after(self.step, Down);
        }
        *self.left.get_or_insert(begin.from)
    }
}

impl Handler<Where> for Countdown {
    type Result = u32;
    fn handle(&mut self, _: Where, _: &mut Turn<Self>) -> u32 {
        self.left.unwrap_or_default()
    }
}

impl Handler<Down> for Countdown {
    type Result = ();
    fn handle(&mut self, _: Down, turn: &mut Turn<Self>) {
        // The state and the next timer are durable together: killed here, the process comes back to before, or to after.
        self.left = self.left.map(|left| left.saturating_sub(1));
        if self.left > Some(0) {
            turn.send_after(self.step, Down);
        }
    }
}

#[actogen::main]
async fn main(cx: Context) -> actogen::Result<()> {
    let Arguments { file, from, step } = Arguments::parse();
    let step = Duration::from_millis(step);
    let journal = Journal::builder(&cx, file).kind::<Countdown>().open().await?;
    let (client, rocket) = (journal.client(), journal.actor::<Countdown>("rocket")?);
    let mut left = client.send(&rocket, Begin { from, step }).await?;
    println!("{left}");
    while left > 0 {
        tokio::time::sleep(step / 10).await;
        let now = client.send(&rocket, Where).await?;
        if now < left {
            println!("{now}");
        }
        left = now;
    }
    println!("off!");
    journal.close().await;
    Ok(())
}
