//! Commands that run in other contexts.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use actogen::{Command, Context, Exit, Output, Processes, ReceiveError, Receiver};

use crate::{
    mesh::{Fabric, Mesh, Outcome},
    until::{soon, until, until_equal},
};

fn shell(script: &str) -> Command {
    Command::new("sh").argument("-c").argument(script)
}

/// All that comes until the channel ends: on standard output, and on standard error.
async fn all(receiver: &Receiver<Output>) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match soon("output", receiver.recv()).await {
            Ok(Output::Out(bytes)) => out.extend_from_slice(&bytes),
            Ok(Output::Err(bytes)) => err.extend_from_slice(&bytes),
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert_eq!(error, ReceiveError::Closed);
                return (out, err);
            }
        }
    }
}

/// A process that sleeps and has said its number.
async fn sleeper(receiver: &Receiver<Output>) -> String {
    match soon("its number", receiver.recv()).await.unwrap() {
        Output::Out(pid) => String::from_utf8(pid.to_vec()).unwrap().trim().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn is_there(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    // One that nobody has waited for is gone no less.
    status.is_ok_and(|status| !status.contains(") Z "))
}

const SAY_AND_SLEEP: &str = "sleep 1000 & echo $!; wait";

async fn pair<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<(Context, Context)> {
    let root = mesh.root().await?;
    Ok((root.clone(), mesh.child(&root, 1).await?))
}

/// A command gets its input, arguments, directory and environment; its output comes on its two streams, and then how it ended.
pub async fn a_command_runs_with_its_output_and_its_end<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child) = pair(mesh).await?;
    let processes = root.service_in::<Processes>(child.place());
    let (sender, receiver) = root.channel();
    let command = shell("pwd; cat; echo \"$X\" >&2; exit 3").directory("/").input("some input\n");
    let call = processes.run(command.environment("X", "y z"), Some(sender));
    let (exit, (out, err)) = tokio::join!(call, all(&receiver));
    assert_eq!(exit?, Exit::Status(3));
    assert_eq!((&out[..], &err[..]), (&b"/\nsome input\n"[..], &b"y z\n"[..]));
    let (sender, receiver) = root.channel();
    let call = processes.run(shell("head -c 3000000 /dev/zero"), Some(sender));
    let (exit, (out, _)) = tokio::join!(call, all(&receiver));
    assert!(exit?.is_success() && out.len() == 3_000_000);
    assert_eq!(processes.run(shell("kill -TERM $$"), None).await?, Exit::Signal(15));
    Ok(())
}

/// A command that is not there is an error that names it; a child's commands are none of its siblings' business.
pub async fn a_command_that_cannot_start_says_why<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child) = pair(mesh).await?;
    let call = root.service_in::<Processes>(child.place()).run(Command::new("no-such-thing"), None);
    let error = call.await.unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("`no-such-thing` could not be started"), "{text}");
    let sibling = mesh.child(&root, 2).await?;
    let call = sibling.service_in::<Processes>(child.place()).run(Command::new("true"), None);
    assert_eq!(call.await.unwrap_err().reason(), Some(actogen::DeadReason::Refused));
    Ok(())
}

/// A command whose call is given up is killed with all that it has started.
pub async fn a_command_ends_with_its_call<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child) = pair(mesh).await?;
    let (sender, receiver) = root.channel();
    let call = root.service_in::<Processes>(child.place()).run(shell(SAY_AND_SLEEP), Some(sender));
    let pid = sleeper(&receiver).await;
    assert!(is_there(&pid));
    drop(call);
    until("it is gone", || !is_there(&pid)).await;
    Ok(())
}

/// A started command goes on without a call, hears signals, and is forgotten when it has been waited for.
pub async fn a_started_command_is_signalled_and_waited_for<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, child) = pair(mesh).await?;
    let processes = root.service_in::<Processes>(child.place());
    let (sender, receiver) = root.channel();
    let id = processes.start(shell(SAY_AND_SLEEP), Some(sender)).await?;
    let pid = sleeper(&receiver).await;
    assert_eq!(processes.started().await?, [id]);
    processes.signal(id, 15).await?;
    assert_eq!(soon("its end", processes.wait(id)).await?, Exit::Signal(15));
    until("it is gone", || !is_there(&pid)).await;
    assert!(processes.started().await?.is_empty());
    let error = processes.signal(id, 15).await.unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("there is no such command"), "{text}");
    Ok(())
}

/// A started command ends when the context that started it is lost.
pub async fn a_started_command_ends_with_its_starter<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let (root, parent) = pair(mesh).await?;
    let child = mesh.child(&parent, 2).await?;
    let processes = parent.service_in::<Processes>(child.place());
    // What it puts out goes to the root, which stays.
    let (sender, receiver) = root.channel();
    processes.start(shell(SAY_AND_SLEEP), Some(sender)).await?;
    let pid = sleeper(&receiver).await;
    mesh.kill(&parent).await;
    until("it is gone", || !is_there(&pid)).await;
    until_equal("nothing is left", false, async || is_there(&pid)).await;
    Ok(())
}
