//! One process: actors reached through addresses in their own context and in a child's.

use std::time::Duration;

use actogen::{DeadReason, Ended, Handled, StopReason, prelude::*};

actogen::test_child!();

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", reply = "i64")]
struct Add(i64, i64);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Boom")]
struct Boom;

/// An address, and the same once more as bytes that the author decodes. Gives whether each can be sent to.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Attached", reply = "(bool, bool)")]
struct Attached(Remote<Calc>, Vec<u8>);

#[derive(RemoteActor, Default)]
#[remote(name = "calc", messages(Add, Boom, Attached), spawn)]
struct Calc;

impl Actor for Calc {
    type Context = actix::Context<Self>;
}

impl Handler<Add> for Calc {
    type Result = i64;
    fn handle(&mut self, m: Add, _: &mut Self::Context) -> i64 {
        m.0 + m.1
    }
}

impl Handler<Boom> for Calc {
    type Result = ();
    fn handle(&mut self, _: Boom, _: &mut Self::Context) {
        panic!("boom")
    }
}

impl Handler<Attached> for Calc {
    type Result = ResponseFuture<(bool, bool)>;
    fn handle(&mut self, m: Attached, _: &mut Self::Context) -> Self::Result {
        let own: Remote<Calc> = Attached::CODEC.decode(&m.1).expect("an address was encoded");
        Box::pin(async move {
            let unattached = matches!(own.send(Add(1, 1)).await, Err(SendError::Unattached(_)));
            (m.0.send(Add(1, 1)).await.is_ok(), !unattached)
        })
    }
}

#[actogen::test]
async fn an_address_in_a_message_is_attached_and_one_that_an_author_decodes_is_not(
    cx: Context,
) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    let (calc, there) = (cx.start(Calc), child.spawn::<Calc>(()).await?);
    let bytes = Attached::CODEC.encode(&calc)?;
    assert_eq!(there.send(Attached(calc, bytes)).await?, (true, false));
    Ok(())
}

#[actogen::test]
async fn an_actor_answers_in_its_own_context(cx: Context) -> actogen::Result<()> {
    let calc = cx.start(Calc);
    assert_eq!(calc.send(Add(2, 3)).await?, 5);
    let started = Calc.start();
    let bound = cx.bind(&started)?;
    assert_eq!(bound.send(Add(2, 3)).await?, 5);
    let watch = cx.watch(&calc);
    let failed = calc.send(Boom).await;
    assert!(matches!(&failed, Err(SendError::Failed(text)) if text == "boom"), "{failed:?}");
    assert_eq!(watch.await.ended, Ended::Stopped(StopReason::Panic("boom".into())));
    Ok(())
}

#[actogen::test]
async fn an_actor_answers_in_a_child_and_its_death_is_told(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    let calc = child.spawn::<Calc>(()).await?;
    assert_eq!(calc.send(Add(2, 3)).await?, 5);
    let watch = cx.watch(&calc);
    child.kill().await;
    let down = tokio::time::timeout(Duration::from_secs(2), watch).await?;
    assert_eq!(
        down.to_string(),
        format!("context {} lost: process exited (signal 9)", child.id().0)
    );
    let dead = calc.send(Add(1, 1)).await.expect_err("the child is gone");
    assert_eq!((dead.reason(), dead.handled()), (Some(DeadReason::RouteLost), Handled::No));
    Ok(())
}

/// What another part of a program may send: by its name and version the same message, and of another type.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", reply = "i64")]
struct OtherAdd(String);

#[actogen::test]
async fn a_value_of_another_type_under_a_messages_tag_is_refused_alone(
    cx: Context,
) -> actogen::Result<()> {
    let calc = cx.start(Calc);
    let bytes = Attached::CODEC.encode(&calc)?;
    let other: RemoteRecipient<OtherAdd> = Attached::CODEC.decode(&bytes)?;
    let other = other.attach(&cx);
    // In one run with others, so that what follows it is looked at after it.
    let sent = [calc.send(Add(1, 1)), calc.send(Add(1, 2))];
    let refused = other.send(OtherAdd("1".into()));
    let behind = calc.send(Add(1, 3));
    for (answer, expected) in sent.into_iter().chain([behind]).zip([2, 3, 4]) {
        assert_eq!(answer.await?, expected);
    }
    let dead = refused.await.expect_err("its type is another");
    assert_eq!((dead.reason(), dead.handled()), (Some(DeadReason::Malformed), Handled::No));
    Ok(())
}

#[actogen::test]
async fn what_is_sent_here_is_counted_also_when_its_actor_ends(cx: Context) -> actogen::Result<()> {
    const MANY: i64 = 1000;
    let calc = cx.start(Calc);
    for n in 0..MANY {
        calc.do_send(Add(n, n));
    }
    assert!(cx.stop(&calc, StopReason::Normal), "it is there");
    let watch = cx.watch(&calc);
    for n in 0..MANY {
        calc.do_send(Add(n, n));
    }
    assert_eq!(watch.await.ended, Ended::Stopped(StopReason::Normal));
    calc.do_send(Add(0, 0));
    let stats = cx.stats();
    assert_eq!(stats.sent, 2 * MANY as u64 + 1);
    assert_eq!(stats.delivered + stats.refused + stats.dead(), stats.sent);
    Ok(())
}

#[actogen::function]
fn spoil(what: String) -> Result<(), String> {
    Err(format!("{what} is spoilt"))
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[actogen::test]
async fn m12_the_failure_of_a_call_without_an_answer_is_logged(cx: Context) -> actogen::Result<()> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    cx.functions_in(cx.place()).call_no_reply::<spoil>("the milk".into()).await?;
    // Behind it: calls that begin one after another are run so.
    cx.call_in::<spoil>(cx.place(), "the bread".into()).await.expect_err("it fails");
    let log = String::from_utf8(log.0.lock().expect("nobody panics with it").clone())?;
    assert!(log.contains("the milk is spoilt") && log.contains("spoil"), "{log}");
    assert!(!log.contains("the bread"), "whoever waits is told by the answer: {log}");
    Ok(())
}
