//! Spawning: an actor started in a child process, with arguments, one of which is the address of an actor to report to.

use std::process;

use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "log.Line")]
struct Line(String);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "log.Take", reply = "Vec<String>")]
struct Take;

/// Collects lines in this process.
#[derive(RemoteActor)]
#[remote(name = "log", messages(Line, Take))]
struct Log {
    lines: Vec<String>,
}

impl Actor for Log {
    type Context = actix::Context<Self>;
}

impl Handler<Line> for Log {
    type Result = ();

    fn handle(&mut self, Line(line): Line, _: &mut Self::Context) {
        self.lines.push(line);
    }
}

impl Handler<Take> for Log {
    type Result = Vec<String>;

    fn handle(&mut self, _: Take, _: &mut Self::Context) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "worker.Work", reply = "u32")]
struct Work(u32);

/// What a worker is made of. An address may travel in messages and arguments like any other value.
#[derive(Serialize, Deserialize)]
struct Job {
    factor: u32,
    log: Remote<Log>,
}

#[derive(RemoteActor)]
#[remote(name = "worker", messages(Work), spawn(Job))]
struct Worker {
    job: Job,
}

impl From<Job> for Worker {
    fn from(job: Job) -> Self {
        Worker { job }
    }
}

impl Actor for Worker {
    type Context = actix::Context<Self>;
}

impl Handler<Work> for Worker {
    type Result = ResponseFuture<u32>;

    fn handle(&mut self, Work(number): Work, _: &mut Self::Context) -> Self::Result {
        let Job { factor, log } = &self.job;
        let (product, log) = (number * factor, log.clone());
        Box::pin(async move {
            let line = format!("process {} made {product} of {number}", process::id());
            // Without the log there is nobody to tell that the log is gone; the work counts.
            let _ = log.send(Line(line)).await;
            product
        })
    }
}

#[actogen::main]
async fn main(cx: Context) -> actogen::Result<()> {
    let log = cx.start(Log { lines: Vec::new() });
    let child = cx.launch(Launch::local()).await?;
    let worker = child.spawn::<Worker>(Job { factor: 3, log: log.clone() }).await?;

    println!("{}", worker.send(Work(14)).await?);
    for line in log.send(Take).await? {
        println!("{line}");
    }
    println!("launched: process {}; this is process {}", child.pid(), process::id());
    Ok(())
}
