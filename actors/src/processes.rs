//! The process service: commands that run in another context, with their output, their signals and how they end.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    rc::Rc,
};

use actogen_runtime::{
    core::{ContextId, policy::Origin},
    events::ContextEvent,
};
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process,
    sync::watch,
};

use crate::{channel::Sender, context::Context, service::Service};

/// Commands that were started, and not waited for, at once; more are refused.
const MOST_STARTED: usize = 256;

/// The most output that is sent in one piece, in bytes.
const PIECE: usize = 32 * 1024;

/// A command, as the process service runs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Command {
    /// The program: a path, or a name that is looked for as a shell does.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where it runs, instead of the directory of the context's own process.
    pub directory: Option<PathBuf>,
    /// What is added to the environment of the context's own process.
    pub environment: Vec<(String, String)>,
    /// What it finds on its standard input.
    pub input: Vec<u8>,
}

impl Command {
    /// A command without arguments.
    pub fn new(program: impl Into<String>) -> Self {
        Self { program: program.into(), ..Self::default() }
    }

    /// One more argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn arguments<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Adds a variable to its environment.
    #[must_use]
    pub fn environment(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// What it finds on its standard input; nothing unless this says so.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }
}

/// What a command has put out: a piece as it came, not a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Output {
    /// On standard output.
    Out(Bytes),
    /// On standard error.
    Err(Bytes),
}

/// How a command has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Exit {
    /// It ended itself, with this status.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    fn of(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Status(code),
            None => Self::Signal(status.signal().unwrap_or_default()),
        }
    }

    /// Whether it ended with status 0.
    pub fn is_success(self) -> bool {
        self == Self::Status(0)
    }

    /// The status as a shell gives it: 128 and the number of the signal, if one ended it.
    pub fn code(self) -> i32 {
        match self {
            Self::Status(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// A command that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId(u64);

/// Why a command did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum ProcessError {
    #[error("`{program}` could not be started: {why}")]
    NotStarted { program: String, why: String },
    #[error("{MOST_STARTED} commands have been started and not waited for: wait for some")]
    TooMany,
    #[error("there is no such command: it has been waited for, or was never started here")]
    Unknown,
    #[error("there is no signal {0}")]
    NoSignal(i32),
}

/// Runs commands for those above its context; see [`ProcessesCalls::run`] and [`ProcessesCalls::start`].
///
/// A command has a process group of its own. When the call that runs it is given up, when the context that started it is lost, or when its
/// own context ends, the whole group is killed.
pub struct Processes {
    context: Context,
    started: Rc<RefCell<BTreeMap<u64, Started>>>,
    next: Cell<u64>,
}

struct Started {
    by: ContextId,
    group: Rc<Group>,
    exit: watch::Receiver<Option<Exit>>,
}

impl fmt::Debug for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processes").field("started", &self.started.borrow().len()).finish()
    }
}

impl Service for Processes {
    async fn start(context: Context) -> crate::Result<Self> {
        Ok(Self { context, started: Rc::default(), next: Cell::new(0) })
    }
}

#[crate::service(name = "actogen.Processes", crate = crate)]
impl Processes {
    /// Runs a command to its end. Its output goes into the channel, which is closed behind it; a channel that is closed before is to the
    /// command what a closed pipe is. Giving the call up kills the command.
    #[method(policy = parent_authority)]
    async fn run(&self, command: Command, output: Option<Sender<Output>>) -> crate::Result<Exit> {
        let mut running = Running::begin(command)?;
        let exit = running.attend(output).await?;
        Ok(exit)
    }

    /// Starts a command that goes on by itself, until it ends or its starter is lost; [`ProcessesCalls::wait`] forgets it.
    #[method(policy = parent_authority)]
    fn start(
        &self,
        origin: Origin,
        command: Command,
        output: Option<Sender<Output>>,
    ) -> crate::Result<ProcessId> {
        if self.started.borrow().len() >= MOST_STARTED {
            return Err(ProcessError::TooMany.into());
        }
        let mut running = Running::begin(command)?;
        let id = self.next.get() + 1;
        self.next.set(id);
        let (ended, exit) = watch::channel(None);
        let group = running.group.clone();
        self.started.borrow_mut().insert(id, Started { by: origin.source, group, exit });
        let (mut events, all) = (self.context.events(), self.started.clone());
        tokio::task::spawn_local(async move {
            let starter_is_lost = async {
                while let Some(event) = events.next().await {
                    if matches!(event, Ok(ContextEvent::Down { context, .. }) if context == origin.source)
                    {
                        return;
                    }
                }
            };
            let life = async {
                let exit = running.attend(output).await;
                ended.send_replace(exit.ok());
                // Until it has been waited for and forgotten.
                ended.closed().await;
            };
            tokio::select! {
                () = life => {}
                () = starter_is_lost => drop(all.borrow_mut().remove(&id)),
            }
        });
        Ok(ProcessId(id))
    }

    /// Sends a signal to a started command and all that it has started itself.
    #[method(policy = parent_authority)]
    fn signal(&self, id: ProcessId, signal: i32) -> crate::Result<()> {
        let started = self.started.borrow();
        let started = started.get(&id.0).ok_or(ProcessError::Unknown)?;
        let signal = Signal::from_named_raw(signal).ok_or(ProcessError::NoSignal(signal))?;
        started.group.signal(signal);
        Ok(())
    }

    /// Waits for a started command to end, and forgets it.
    #[method(policy = parent_authority)]
    async fn wait(&self, id: ProcessId) -> crate::Result<Exit> {
        let exit = self.started.borrow().get(&id.0).map(|started| started.exit.clone());
        let mut exit = exit.ok_or(ProcessError::Unknown)?;
        let ended = exit.wait_for(Option::is_some).await.map(|exit| *exit);
        self.started.borrow_mut().remove(&id.0);
        Ok(ended.ok().flatten().ok_or(ProcessError::Unknown)?)
    }

    /// The commands that this caller has started and not waited for.
    #[method(policy = parent_authority)]
    fn started(&self, origin: Origin) -> Vec<ProcessId> {
        let started = self.started.borrow();
        let own = started.iter().filter(|(_, started)| started.by == origin.source);
        own.map(|(id, _)| ProcessId(*id)).collect()
    }
}

/// A process group, which ends with this unless its leader has been waited for.
struct Group {
    leader: Option<Pid>,
    is_over: Cell<bool>,
}

impl Group {
    fn signal(&self, signal: Signal) {
        if let (Some(leader), false) = (self.leader, self.is_over.get()) {
            // It may have ended this moment.
            let _ = kill_process_group(leader, signal);
        }
    }
}

/// A command that runs, and is killed when this is dropped.
struct Running {
    child: process::Child,
    group: Rc<Group>,
    input: Vec<u8>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.signal(Signal::KILL);
    }
}

impl Running {
    fn begin(command: Command) -> Result<Self, ProcessError> {
        let Command { program, arguments, directory, environment, input } = command;
        let mut starting = process::Command::new(&program);
        starting
            .args(arguments)
            .envs(environment)
            .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(directory) = directory {
            starting.current_dir(directory);
        }
        let child = starting
            .spawn()
            .map_err(|error| ProcessError::NotStarted { program, why: error.to_string() })?;
        let leader = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        let group = Rc::new(Group { leader, is_over: Cell::new(false) });
        Ok(Self { child, group, input })
    }

    /// Feeds it, sends its output on, and waits for its end.
    async fn attend(&mut self, output: Option<Sender<Output>>) -> std::io::Result<Exit> {
        let (input, bytes) = (self.child.stdin.take(), std::mem::take(&mut self.input));
        let (out, err) = (self.child.stdout.take(), self.child.stderr.take());
        let feed = async {
            if let Some(mut input) = input {
                // A command that does not read its input need not.
                let _ = input.write_all(&bytes).await;
            }
        };
        let (status, (), (), ()) = tokio::join!(
            self.child.wait(),
            feed,
            send_on(out, output.as_ref(), Output::Out),
            send_on(err, output.as_ref(), Output::Err)
        );
        // Nobody is left who holds a pipe: the group's number may soon be another's.
        self.group.is_over.set(true);
        if let Some(output) = output {
            // Whoever has closed it knows.
            let _ = output.close().await;
        }
        status.map(Exit::of)
    }
}

/// Sends what comes by a pipe into a channel, until one of them ends. Without a channel it is read and let go.
async fn send_on(
    from: Option<impl AsyncRead + Unpin>,
    to: Option<&Sender<Output>>,
    piece: impl Fn(Bytes) -> Output,
) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; PIECE];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let bytes = Bytes::copy_from_slice(&buffer[..len]);
        if let Some(to) = to
            && to.send(piece(bytes)).await.is_err()
        {
            return;
        }
    }
}
