//! Starting a context by a tool: what passes between the launcher and the first stage, and what the tool says meanwhile.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    process::{ChildStdin, ChildStdout, Command},
    sync::{oneshot, watch},
    time::Instant,
};

use super::{
    Launch, LaunchError, Process,
    askpass::Askpass,
    bootstrap::{Bootstrap, child_arguments},
    error::{Reached, diagnose},
    heard::{Heard, Lines, PROMPT, PROMPT_OF_SU, hear_errors, pass_on_until},
    local::{self, Signal, describe},
    methods::Method,
    stage::{self, Stage, Word},
};
use crate::{context::Context, logs::Source};

/// What a login may print before the first stage answers, in bytes.
const MOST_NOISE: usize = 64 * 1024;

/// How long the end of a tool's standard error is waited for when it has ended itself.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A program as it is sent.
struct Program {
    path: PathBuf,
    hash: String,
}

impl Program {
    async fn read(path: PathBuf) -> Result<Self, LaunchError> {
        let read = tokio::task::spawn_blocking({
            let path = path.clone();
            move || {
                let mut hasher = blake3::Hasher::new();
                let mut file = std::fs::File::open(&path)?;
                std::io::copy(&mut file, &mut hasher)?;
                Ok::<_, std::io::Error>(hasher.finalize().to_hex().to_string())
            }
        });
        let spawn = |why: String| LaunchError::Spawn { program: path.display().to_string(), why };
        match read.await {
            Ok(Ok(hash)) => Ok(Self { path, hash }),
            Ok(Err(error)) => Err(spawn(error.to_string())),
            Err(error) => Err(spawn(error.to_string())),
        }
    }

    /// The whole of it, compressed.
    async fn shipment(path: &Path) -> std::io::Result<Vec<u8>> {
        let path = path.to_owned();
        let pack = move || stage::shipment(&std::fs::read(path)?);
        tokio::task::spawn_blocking(pack).await.map_err(std::io::Error::other)?
    }
}

/// Why the first stage came to nothing.
enum Failed {
    /// The other machine is of this kind.
    Kind(String),
    /// The program could not be put there.
    Shipping(String),
    /// The tool ended, or takes nothing any more.
    Ended,
    /// It says endlessly much that is nothing.
    Noise,
    /// The password was asked for once more.
    Password,
}

impl Context {
    /// Starts a tool and has the first stage become the program, which gets its bootstrap.
    pub(super) async fn start_by_tool(
        &self,
        launch: u64,
        how: &Launch,
        bootstrap: &Bootstrap,
    ) -> Result<Process, LaunchError> {
        let here = match &how.program {
            Some(program) => program.clone(),
            None => local::running_program()?,
        };
        let kind_here = stage::kind_here();
        let deadline = Instant::now() + how.within;
        match self.try_tool(launch, how, bootstrap, here, &kind_here, deadline).await {
            Err(LaunchError::Architecture { there, target, here }) => {
                let Some((_, other)) = how.binaries.iter().find(|(kind, _)| *kind == there) else {
                    return Err(LaunchError::Architecture { there, target, here });
                };
                self.try_tool(launch, how, bootstrap, other.clone(), &there, deadline).await
            }
            outcome => outcome,
        }
    }

    async fn try_tool(
        &self,
        launch: u64,
        how: &Launch,
        bootstrap: &Bootstrap,
        program: PathBuf,
        kind: &str,
        deadline: Instant,
    ) -> Result<Process, LaunchError> {
        let program = Program::read(program).await?;
        let tool = how.tool.path.clone().unwrap_or_else(|| how.method.program().to_owned());
        let target = how.method.place(&how.tool);
        let unsayable = |why: String| LaunchError::Spawn { program: tool.clone(), why };
        let mark = format!("ACTOGEN1:{:016x}", self.fresh_number());
        let directory = how.directory.as_ref().map(|path| path.to_string_lossy().into_owned());
        let arguments = how.arguments.clone().unwrap_or_else(child_arguments);
        let script = Stage {
            hash: &program.hash,
            mark: &mark,
            run: &self.run_id(),
            directory: directory.as_deref(),
            environment: &how.environment,
            arguments: &arguments,
        }
        .script()
        .map_err(unsayable)?;
        let mut arguments = how.method.arguments(&how.tool, &script).map_err(unsayable)?;
        let mut command = Command::new(&tool);
        let askpass = match (&how.password, &how.method) {
            (None, _) => None,
            (Some(_), Method::Sudo) => {
                // In place of `-n`, which lets it ask nothing.
                arguments.splice(0..1, ["-S", "-p", PROMPT].map(str::to_owned));
                None
            }
            (Some(_), Method::Su) => None,
            (Some(password), Method::Ssh) => {
                let ask = ["-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1"];
                // ssh takes the first value that it is given of an option.
                arguments.splice(0..0, ask.map(str::to_owned));
                let askpass =
                    Askpass::new(password).map_err(|error| unsayable(error.to_string()))?;
                command.envs(askpass.environment());
                Some(askpass)
            }
            (Some(_), method) => {
                let tool = method.program();
                return Err(unsayable(format!(
                    "`{tool}` takes a password from a terminal only: allow it without one, or launch as a user who needs none"
                )));
            }
        };
        command
            .args(arguments)
            // What it says is read.
            .env("LC_MESSAGES", "C")
            .env("LANGUAGE", "C")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let talk = Talk {
            mark,
            kind: kind.to_owned(),
            program: program.path,
            bootstrap: Bootstrap { program: Some(program.hash.clone()), ..bootstrap.clone() }
                .encode(),
            sync: bootstrap.sync,
            prompt: if how.method == Method::Su { PROMPT_OF_SU } else { PROMPT },
            password: how.password.clone().filter(|_| how.method != Method::Ssh),
        };
        let (started, outcome) = oneshot::channel();
        let heard = Arc::new(Heard::default());
        let run =
            self.clone().run_tool(launch, command, talk, heard.clone(), target.clone(), started);
        self.spawn(async move {
            run.await;
            drop(askpass);
        });
        let (pid, outcome) = match outcome.await {
            Ok(Ok(begun)) => begun,
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(LaunchError::ToolMissing { tool });
            }
            Ok(Err(error)) => {
                return Err(LaunchError::Spawn { program: tool, why: error.to_string() });
            }
            Err(_) => return Err(LaunchError::Shutdown),
        };
        let said = || heard.said.lock().clone();
        let Ok(outcome) = tokio::time::timeout_at(deadline, outcome).await else {
            local::signal_group(pid, Signal::Kill);
            let (within, reached) = (how.within, heard.reached());
            return Err(LaunchError::Timeout { pid, within, reached, said: said() });
        };
        let (failed, status) = match outcome {
            Ok(Ok(process)) => return Ok(process),
            Ok(Err(failed)) => failed,
            Err(_) => return Err(LaunchError::Shutdown),
        };
        Err(match failed {
            Failed::Kind(there) => {
                LaunchError::Architecture { target, there, here: stage::kind_here() }
            }
            Failed::Password => LaunchError::Password { tool, target, said: said() },
            Failed::Shipping(_) if said().lines().iter().any(|line| line.contains("No space")) => {
                LaunchError::NoSpace { target, said: said() }
            }
            Failed::Shipping(why) => LaunchError::Shipping { target, why, said: said() },
            Failed::Noise => {
                let status = format!("over {MOST_NOISE} bytes of something else");
                LaunchError::NoStage { tool, target, status, said: said() }
            }
            Failed::Ended if status == stage::NOT_SHIPPED => {
                let why = "neither the cache folder nor /tmp can be written".to_owned();
                LaunchError::Shipping { target, why, said: said() }
            }
            Failed::Ended => match diagnose(&tool, &target, &status, said()) {
                // It was asked for one, and did not like it.
                LaunchError::Login { tool, target, said } if how.password.is_some() => {
                    LaunchError::Password { tool, target, said }
                }
                // It would have been asked for one.
                LaunchError::Password { tool, target, said } if how.password.is_none() => {
                    LaunchError::Login { tool, target, said }
                }
                error => error,
            },
        })
    }

    /// Runs a tool to its end: the talk with the first stage, and what comes behind it.
    async fn run_tool(
        self,
        launch: u64,
        mut command: Command,
        talk: Talk,
        heard: Arc<Heard>,
        target: String,
        started: oneshot::Sender<std::io::Result<Begun>>,
    ) {
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return drop(started.send(Err(error))),
        };
        let pid = child.id().unwrap_or_default();
        let (exit, exited) = watch::channel(None);
        let (mut tell, told) = oneshot::channel();
        // Without anybody who waits for it, what is told is closed at once.
        let _ = started.send(Ok((pid, told)));
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            unreachable!("all three are pipes")
        };
        let sync = talk.sync;
        let (prompts, mut prompted) = watch::channel(0);
        let (all_heard, last_words) = oneshot::channel::<()>();
        let says = self.says(launch, &target);
        let hearing = hear_errors(errors, heard.clone(), says, talk.prompt, prompts);
        self.spawn(async move {
            hearing.await;
            drop(all_heard);
        });
        // What it said last may still lie in the pipe when it has ended; what it has left behind may hold the pipe open.
        let last_words = async { drop(tokio::time::timeout(LAST_WORDS, last_words).await) };
        let talked = tokio::select! {
            talked = talk.hold(input, output, &heard, &mut prompted) => talked,
            // Whoever launched it has given up.
            () = tell.closed() => Err(Failed::Ended),
        };
        match talked {
            Ok((life_line, output)) => {
                let process = Process { pid, exited, is_tool: true, heard: heard.clone() };
                self.0.launches.0.lock().processes.insert(launch, process.clone());
                if let Err(Ok(process)) = tell.send(Ok(process)) {
                    process.kill();
                }
                let status = self
                    .accompany(&mut child, &heard, life_line, output, sync, (launch, target))
                    .await;
                last_words.await;
                exit.send_replace(Some(describe(status)));
                self.0.launches.forget(launch);
            }
            Err(failed) => {
                if !matches!(failed, Failed::Ended) {
                    local::signal_group(pid, Signal::Kill);
                }
                let status = describe(child.wait().await);
                last_words.await;
                let _ = tell.send(Err((failed, status)));
            }
        }
    }
}

impl Context {
    /// Takes what a process says, to be told apart by its launch, or by how it was launched until it is admitted.
    pub(super) fn says(
        &self,
        launch: u64,
        target: &str,
    ) -> impl Fn(Source, String) + Send + Sync + 'static {
        let (context, by) = (self.clone(), target.to_owned());
        move |source, line| context.child_said(launch, &by, source, line)
    }

    /// Goes along with a tool until it ends: passes on what its program prints, carries its datagrams if it begins to send such, and cuts its
    /// life line when that is asked for.
    async fn accompany(
        &self,
        child: &mut tokio::process::Child,
        heard: &Heard,
        life_line: ChildStdin,
        output: Lines<ChildStdout>,
        sync: [u8; 16],
        (launch, target): (u64, String),
    ) -> std::io::Result<std::process::ExitStatus> {
        let (mut life_line, mut cut) = (Some(life_line), None);
        let (begun, mut begins) = oneshot::channel();
        let says = self.says(launch, &target);
        self.spawn(async move {
            // A program whose output ends without datagrams sends none.
            if let Some(output) = pass_on_until(output, &sync, says).await {
                let _ = begun.send(output);
            }
        });
        let mut may_begin = true;
        loop {
            tokio::select! {
                status = child.wait() => return status,
                () = heard.cut.notified() => {
                    life_line = None;
                    if let Some(cut) = cut.take() {
                        let cut: Box<dyn FnOnce() + Send> = cut;
                        cut();
                    }
                }
                output = &mut begins, if may_begin => {
                    may_begin = false;
                    let (Ok(output), Some(input)) = (output, life_line.take()) else { continue };
                    match self.0.transport.tunnel(output, Box::new(input)) {
                        Ok(tunnelled) => cut = Some(tunnelled.cut),
                        Err(why) => heard.said.lock().hear(&why),
                    }
                }
            }
        }
    }
}

/// The tool's number, and what becomes of the first stage: a process, or why not and how the tool ended.
type Begun = (u32, oneshot::Receiver<Result<Process, (Failed, String)>>);

/// What is said to the first stage.
struct Talk {
    mark: String,
    /// The kind of machine that the program is for.
    kind: String,
    program: PathBuf,
    bootstrap: Vec<u8>,
    /// What the tool asks for a password with, on its standard error.
    prompt: &'static str,
    password: Option<super::how::Password>,
    /// What the program puts out before its datagrams.
    sync: [u8; 16],
}

impl Talk {
    async fn hold(
        self,
        mut input: ChildStdin,
        output: ChildStdout,
        heard: &Heard,
        prompted: &mut watch::Receiver<usize>,
    ) -> Result<(ChildStdin, Lines<ChildStdout>), Failed> {
        let mut lines = Lines::new(output);
        let (cached, kind) = loop {
            let line = tokio::select! {
                line = lines.next() => line.ok_or(Failed::Ended)?,
                _ = prompted.changed() => {
                    let asked = *prompted.borrow();
                    match &self.password {
                        Some(password) if asked == 1 => {
                            let line = zeroize::Zeroizing::new(format!("{}\n", password.reveal()));
                            input.write_all(line.as_bytes()).await.map_err(|_| Failed::Ended)?;
                            continue;
                        }
                        Some(_) if asked > 1 => return Err(Failed::Password),
                        // With that its input ends, and so does it.
                        None if asked > 0 => return Err(Failed::Ended),
                        // The end of what it says on standard error.
                        _ => lines.next().await.ok_or(Failed::Ended)?,
                    }
                }
            };
            match stage::word(&line, &self.mark) {
                Some(Word::Found { cached, kind }) => break (cached, kind),
                _ => heard.said.lock().hear(&line),
            }
            if lines.read > MOST_NOISE {
                return Err(Failed::Noise);
            }
        };
        heard.comes_to(Reached::Stage);
        if kind != self.kind {
            return Err(Failed::Kind(kind));
        }
        if !cached {
            let shipment = Program::shipment(&self.program);
            let shipment = shipment.await.map_err(|error| Failed::Shipping(error.to_string()))?;
            // What goes wrong there is told by its answer.
            let _ = input.write_all(&shipment).await;
            let _ = input.flush().await;
            let refused = || Failed::Shipping("it did not arrive whole".to_owned());
            loop {
                let line = lines.next().await.ok_or_else(refused)?;
                match stage::word(&line, &self.mark) {
                    Some(Word::Shipped) => break,
                    Some(_) => return Err(refused()),
                    None => heard.said.lock().hear(&line),
                }
            }
        }
        heard.comes_to(Reached::Program);
        // A program that has ended already says so by its status.
        let _ = input.write_all(&self.bootstrap).await;
        let _ = input.flush().await;
        Ok((input, lines))
    }
}
