//! Processes on this machine: starting one in a group of its own, waiting for it, and ending the group.

use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    process::{ChildStderr, ChildStdout, Command},
    sync::watch,
};

use super::{
    Launch, LaunchError, Process,
    bootstrap::Bootstrap,
    heard::{Heard, pass_on},
};
use crate::{context::Context, logs::Source};

/// How long what a process has said last is waited for when it has ended: no longer than its end may take to be known.
const FROM_PIPES: Duration = Duration::from_millis(25);

/// How to end a process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Terminate,
    Kill,
}

/// Signals a process group that this context has started and not yet seen end.
pub(super) fn signal_group(pid: u32, signal: Signal) {
    let signal = match signal {
        Signal::Terminate => rustix::process::Signal::TERM,
        Signal::Kill => rustix::process::Signal::KILL,
    };
    let group = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // It may have ended this moment.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

/// The program that runs now. One whose file is gone, as of a child that was sent where there is no cache, is still found by the system's
/// own name for it.
pub(super) fn running_program() -> Result<PathBuf, LaunchError> {
    let found = std::env::current_exe();
    let own = PathBuf::from("/proc/self/exe");
    match found {
        Ok(path) if path.exists() || !own.exists() => Ok(path),
        Err(error) if !own.exists() => Err(LaunchError::Spawn {
            program: "the running program".into(),
            why: error.to_string(),
        }),
        _ => Ok(own),
    }
}

impl Context {
    /// Starts the process, hands it its bootstrap, and keeps its standard input open as long as this context lives.
    pub(super) async fn start_process(
        &self,
        launch: u64,
        how: &Launch,
        bootstrap: &Bootstrap,
    ) -> Result<Process, LaunchError> {
        let program = match &how.program {
            Some(program) => program.clone(),
            None => running_program()?,
        };
        let failed = |error: std::io::Error| LaunchError::Spawn {
            program: program.display().to_string(),
            why: error.to_string(),
        };
        let arguments = how.arguments.clone().unwrap_or_else(super::bootstrap::child_arguments);
        let mut command = Command::new(&program);
        command
            .args(arguments)
            .env(super::RUN, self.run_id())
            .envs(how.environment.iter().cloned())
            .process_group(0);
        if let Some(directory) = &how.directory {
            command.current_dir(directory);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = bootstrap.encode();
        // Started on the broker's runtime, which outlives the child, and reaped there.
        let (started, outcome) = tokio::sync::oneshot::channel();
        let context = self.clone();
        self.spawn(async move {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return drop(started.send(Err(error))),
            };
            let pid = child.id().unwrap_or_default();
            let (exit, exited) = watch::channel(None);
            let heard = Arc::<Heard>::default();
            let process = Process { pid, exited, is_tool: false, heard: heard.clone() };
            context.0.launches.0.lock().processes.insert(launch, process.clone());
            let life_line = child.stdin.take();
            let hearing = context.hear(launch, heard, child.stdout.take(), child.stderr.take());
            let _ = started.send(Ok(process));
            let feed = async {
                let mut life_line = life_line?;
                // A child that has ended already says so by its status.
                life_line.write_all(&input).await.ok()?;
                life_line.flush().await.ok()?;
                Some(life_line)
            };
            let (status, life_line) = tokio::join!(
                async {
                    let status = child.wait().await;
                    // What it said last may still lie in the pipes; what it has left behind may hold them open.
                    let _ = tokio::time::timeout(FROM_PIPES, hearing).await;
                    // Sent before the life line is let go below.
                    exit.send_replace(Some(describe(status)));
                },
                feed
            );
            let () = status;
            drop(life_line);
            context.0.launches.forget(launch);
        });
        match outcome.await {
            Ok(Ok(process)) => Ok(process),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(LaunchError::Shutdown),
        }
    }
}

impl Context {
    /// Hears what a process puts out, until both streams have ended.
    fn hear(
        &self,
        launch: u64,
        heard: Arc<Heard>,
        output: Option<ChildStdout>,
        errors: Option<ChildStderr>,
    ) -> impl Future<Output = ()> + use<> {
        let (ended, all_heard) = tokio::sync::oneshot::channel::<()>();
        let (says, context) = (self.says(launch, "local"), self.clone());
        let says = move |source, line: String| {
            heard.said.lock().hear(&line);
            says(source, line);
        };
        let hearing = async move {
            let output = async {
                if let Some(output) = output {
                    pass_on(output, Source::Stdout, &says).await;
                }
            };
            let errors = async {
                if let Some(errors) = errors {
                    pass_on(errors, Source::Stderr, &says).await;
                }
            };
            tokio::join!(output, errors);
            drop(ended);
        };
        // By itself: whoever goes on holding a pipe is heard as long as this context lives.
        context.spawn(hearing);
        async move { drop(all_heard.await) }
    }
}

pub(super) fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "unknown status".to_owned(),
        },
        Err(error) => format!("unknown status: {error}"),
    }
}
