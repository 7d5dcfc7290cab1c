//! Starting other contexts: processes that this one launches, admits and outlives.
//!
//! [`Launch`] says how; [`Context::launch`] does it and gives a [`Child`]. The child process finds what it must know on its
//! standard input ([`bootstrap`]), which stays open as its life line: when it ends, the parent is gone.

pub mod bootstrap;
mod local;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use actogen_core::{ContextId, Incarnation};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::{builtin::Place, context::Context, enrol::EnrolRequest, events::ContextEvent};

/// How to start a context.
#[derive(Clone, Debug)]
#[must_use = "a launch does nothing until a context launches it"]
pub struct Launch {
    pub(crate) program: Option<PathBuf>,
    pub(crate) arguments: Option<Vec<String>>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) within: Duration,
}

impl Launch {
    /// The same program as a child process on this machine.
    pub fn local() -> Self {
        Self {
            program: None,
            arguments: None,
            environment: Vec::new(),
            directory: None,
            within: Duration::from_secs(10),
        }
    }

    /// Another program than the running one; it must be an Actogen program too.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// Other arguments than those with which the running program makes itself a child.
    pub fn arguments<I: IntoIterator<Item = S>, S: Into<String>>(mut self, arguments: I) -> Self {
        self.arguments = Some(arguments.into_iter().map(Into::into).collect());
        self
    }

    /// Sets a variable in the child's environment.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts the child in this directory.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// How long the child may take until it can be reached; 10 s unless set.
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = limit;
        self
    }
}

/// Why a context could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The transport cannot reach other processes.
    #[error(
        "this context's transport reaches no other process: use the QUIC transport, and let it listen"
    )]
    NoInvitation,
    /// The program could not be started.
    #[error("`{program}` could not be started: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The process ended before it could be reached.
    #[error(
        "the child process ended before it could be reached: {status}. Is its main function marked #[actogen::main], or has its test file actogen::test_child!()?"
    )]
    Exited {
        /// How it ended, such as `exit status 1` or `signal 9`.
        status: String,
    },
    /// The process could not be reached in time.
    #[error("the child process {pid} could not be reached within {within:?}{hint}")]
    Timeout {
        /// Its number.
        pid: u32,
        /// The limit.
        within: Duration,
        /// How far it came.
        hint: &'static str,
    },
    /// This context is ending.
    #[error("this context is shutting down")]
    Shutdown,
}

/// A process that this context has launched, or was asked to: what it may claim, and how it fares.
#[derive(Debug)]
struct Launched {
    secret: [u8; 32],
    /// The key that has claimed the launch: the same may retry, no other may.
    claimed: Option<blake3::Hash>,
    admitted: Option<oneshot::Sender<ContextId>>,
}

/// A running child process.
#[derive(Clone, Debug)]
struct Process {
    pid: u32,
    exited: watch::Receiver<Option<String>>,
}

#[derive(Debug, Default)]
struct Books {
    next: u64,
    open: BTreeMap<u64, Launched>,
    processes: BTreeMap<u64, Process>,
    ending: bool,
}

/// The launches of one context.
#[derive(Debug, Default)]
pub(crate) struct Launches(Mutex<Books>);

impl Launches {
    fn begin(&self, secret: [u8; 32]) -> Option<(u64, oneshot::Receiver<ContextId>)> {
        let mut books = self.0.lock();
        if books.ending {
            return None;
        }
        books.next += 1;
        let launch = books.next;
        let (admitted, receiver) = oneshot::channel();
        books.open.insert(launch, Launched { secret, claimed: None, admitted: Some(admitted) });
        Some((launch, receiver))
    }

    fn close(&self, launch: u64) {
        self.0.lock().open.remove(&launch);
    }

    /// The launch that a request proves to belong to.
    pub(crate) fn claim(&self, request: &EnrolRequest) -> Option<u64> {
        let mut books = self.0.lock();
        let launched = books.open.get_mut(&request.launch)?;
        let key = blake3::hash(&request.request);
        let may = request.is_proved_by(&launched.secret)
            && launched.claimed.is_none_or(|claimed| claimed == key);
        if may {
            launched.claimed = Some(key);
        }
        may.then_some(request.launch)
    }

    pub(crate) fn admitted(&self, launch: u64, context: ContextId) {
        let sender =
            self.0.lock().open.get_mut(&launch).and_then(|launched| launched.admitted.take());
        if let Some(sender) = sender {
            // Whoever launched it may have given up by now; the link that follows is refused no less for that.
            let _ = sender.send(context);
        }
    }

    /// True for the first who begins the shutdown.
    pub(crate) fn begin_shutdown(&self) -> bool {
        !std::mem::replace(&mut self.0.lock().ending, true)
    }

    fn processes(&self) -> Vec<Process> {
        self.0.lock().processes.values().cloned().collect()
    }

    /// Waits until every launched process has ended.
    pub(crate) async fn all_exited(&self) {
        for mut process in self.processes() {
            let _ = process.exited.wait_for(Option::is_some).await;
        }
    }

    /// Terminates, then kills, the process groups that are still there.
    pub(crate) async fn end_by_force(&self) {
        for signal in [local::Signal::Terminate, local::Signal::Kill] {
            let left: Vec<_> = self
                .processes()
                .into_iter()
                .filter(|process| process.exited.borrow().is_none())
                .collect();
            if left.is_empty() {
                return;
            }
            for process in &left {
                tracing::warn!(pid = process.pid, ?signal, "a child process did not end in time");
                local::signal_group(process.pid, signal);
            }
            let all = async {
                for mut process in left {
                    let _ = process.exited.wait_for(Option::is_some).await;
                }
            };
            let _ = tokio::time::timeout(Duration::from_millis(500), all).await;
        }
    }
}

/// A context that this one has launched.
#[derive(Debug)]
pub struct Child {
    context: Context,
    place: Place,
    process: Process,
}

impl Child {
    /// The child's id.
    pub fn id(&self) -> ContextId {
        self.place.context
    }

    /// The child's life.
    pub fn incarnation(&self) -> Incarnation {
        self.place.incarnation
    }

    /// Where the child is, for calls and addresses.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The context that launched it.
    pub fn parent(&self) -> &Context {
        &self.context
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Kills the child's process group with SIGKILL and waits until it is gone. Does nothing when it is gone already.
    pub async fn kill(&self) {
        if self.process.exited.borrow().is_none() {
            local::signal_group(self.process.pid, local::Signal::Kill);
        }
        let _ = self.exited().await;
    }

    /// Waits until the process has ended; says how, such as `exit status 0` or `signal 9`.
    pub async fn exited(&self) -> String {
        let mut exited = self.process.exited.clone();
        match exited.wait_for(Option::is_some).await {
            Ok(status) => status.clone().unwrap_or_default(),
            Err(_) => "lost sight of".to_owned(),
        }
    }
}

impl Context {
    /// Starts another context and waits until it can be reached.
    ///
    /// # Errors
    /// [`LaunchError`]; the process, if there is one, is ended.
    pub async fn launch(&self, launch: Launch) -> Result<Child, LaunchError> {
        let invitation = self.0.transport.invitation().ok_or(LaunchError::NoInvitation)?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| LaunchError::Spawn {
            program: "the system's source of randomness".into(),
            source: std::io::Error::other(error.to_string()),
        })?;
        let (number, mut admitted) = self.0.launches.begin(secret).ok_or(LaunchError::Shutdown)?;
        let bootstrap = bootstrap::Bootstrap {
            launch: number,
            secret,
            parent: self.id(),
            endpoint: invitation.endpoint,
            mesh: invitation.mesh,
            roots: invitation.roots,
            max_message: self.max_message() as u64,
            detection_millis: u64::try_from(self.limits().detection_time.as_millis())
                .unwrap_or(u64::MAX),
        };
        let mut events = self.events();
        let outcome = self.start_process(number, &launch, &bootstrap).await;
        let process = match outcome {
            Ok(process) => process,
            Err(error) => {
                self.0.launches.close(number);
                return Err(error);
            }
        };
        let mut context = None;
        let reached = async {
            let id = (&mut admitted).await.ok()?;
            context = Some(id);
            loop {
                if let Some(place) = self.place_of(id) {
                    return Some(place);
                }
                match events.next().await {
                    Some(Ok(ContextEvent::Up { context, incarnation })) if context == id => {
                        return Some(Place { context, incarnation });
                    }
                    Some(_) => {}
                    None => return None,
                }
            }
        };
        let mut exited = process.exited.clone();
        let outcome = tokio::select! {
            place = tokio::time::timeout(launch.within, reached) => place,
            _ = exited.wait_for(Option::is_some) => {
                self.0.launches.close(number);
                let status = process.exited.borrow().clone().unwrap_or_default();
                return Err(LaunchError::Exited { status });
            }
        };
        self.0.launches.close(number);
        match outcome {
            Ok(Some(place)) => {
                let child = Child { context: self.clone(), place, process };
                self.watch_process(&child);
                Ok(child)
            }
            failed => {
                local::signal_group(process.pid, local::Signal::Kill);
                let _ = process.exited.clone().wait_for(Option::is_some).await;
                if failed.is_ok() {
                    return Err(LaunchError::Shutdown);
                }
                let hint = match context {
                    None => {
                        ": it has not asked to be admitted. Is its main function marked #[actogen::main]?"
                    }
                    Some(_) => ": it was admitted and has not linked back",
                };
                Err(LaunchError::Timeout { pid: process.pid, within: launch.within, hint })
            }
        }
    }

    /// Withdraws the child at once when its process ends (protocol rule 32).
    fn watch_process(&self, child: &Child) {
        let (context, id, mut exited) = (self.clone(), child.id(), child.process.exited.clone());
        self.spawn(async move {
            let status = match exited.wait_for(Option::is_some).await {
                Ok(status) => status.clone().unwrap_or_default(),
                Err(_) => return,
            };
            for link in context.child_links() {
                if link.peer == id && !link.is_closing() {
                    link.cut(
                        actogen_core::wire::control::LossKind::ProcessExited,
                        &format!("process exited ({status})"),
                    );
                }
            }
        });
    }
}
