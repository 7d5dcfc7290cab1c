//! A test over two processes, as the chapter about tests shows it.

use actogen::prelude::*;

// ANCHOR: child
actogen::test_child!();
// ANCHOR_END: child

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "process.Number", reply = "u32")]
struct Number;

#[derive(RemoteActor, Default)]
#[remote(name = "process", messages(Number), spawn)]
struct Process;

impl Actor for Process {
    type Context = actix::Context<Self>;
}

impl Handler<Number> for Process {
    type Result = u32;

    fn handle(&mut self, _: Number, _: &mut Self::Context) -> u32 {
        std::process::id()
    }
}

// ANCHOR: test
#[actogen::test]
async fn an_actor_runs_in_the_process_where_it_was_started(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    let process = child.spawn::<Process>(()).await?;
    assert_eq!(process.send(Number).await?, child.pid());

    let down = cx.watch(&process);
    child.kill().await;
    assert!(down.await.to_string().ends_with("process exited (signal 9)"));
    Ok(())
}
// ANCHOR_END: test
