//! An actor that is flooded still gets its timers.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use actogen::{Mesh, prelude::*};

const MESSAGES: u64 = 1_000_000;
/// What a message takes its handler.
const SPIN: Duration = Duration::from_micros(5);
const INTERVAL: Duration = Duration::from_millis(10);
/// In any second.
const LEAST: usize = 80;

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "timers.Work")]
struct Work;

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "timers.Done", reply = "u64")]
struct Done;

/// Works, and notes when its timer fires.
#[derive(RemoteActor)]
#[remote(name = "timers.busy", messages(Work, Done))]
struct Busy {
    worked: u64,
    fired: Rc<RefCell<Vec<Instant>>>,
}

impl Actor for Busy {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(INTERVAL, |busy, _| busy.fired.borrow_mut().push(Instant::now()));
    }
}

impl Handler<Work> for Busy {
    type Result = ();
    fn handle(&mut self, _: Work, _: &mut Self::Context) {
        self.worked += 1;
        let begin = Instant::now();
        while begin.elapsed() < SPIN {
            std::hint::spin_loop();
        }
    }
}

impl Handler<Done> for Busy {
    type Result = u64;
    fn handle(&mut self, _: Done, _: &mut Self::Context) -> u64 {
        self.worked
    }
}

/// A million messages, one behind the other without a gap, and at least 80 of the 100 firings in any second of them.
#[test]
fn a_flooded_actor_gets_its_timers() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mesh = Mesh::fresh("timers.test").unwrap();
        let cx = Context::builder().mesh(mesh).start().await.unwrap();
        let fired = Rc::<RefCell<Vec<Instant>>>::default();
        let busy = cx.start(Busy { worked: 0, fired: fired.clone() });
        let begin = Instant::now();
        for _ in 0..MESSAGES {
            busy.tell(Work).await.unwrap();
        }
        assert_eq!(busy.send(Done).await.unwrap(), MESSAGES);
        let took = begin.elapsed();
        assert!(took >= SPIN * MESSAGES as u32);
        let fired = fired.borrow().clone();
        let windows = (took.as_millis() as usize - 1000) / 10;
        for window in 0..windows {
            let from = begin + INTERVAL * window as u32;
            let until = from + Duration::from_secs(1);
            let count = fired.iter().filter(|&&at| (from..until).contains(&at)).count();
            assert!(count >= LEAST, "{count} firings in the second from {:?} on", from - begin);
        }
        cx.shutdown().await;
    });
}
