//! Starting other contexts: processes that this one launches, admits and outlives.
//!
//! [`Launch`] says how; [`Context::launch`] does it and gives a [`Child`]. The child process finds what it must know on its
//! standard input ([`bootstrap`]), which stays open as its life line: when it ends, the parent is gone.
//!
//! | room | concept |
//! |---|---|
//! | `how` | what a launch can be told |
//! | `local` | processes on this machine |
//! | `methods` | the tools that get elsewhere, and their command lines |
//! | `stage` | the shell script that becomes the program there |
//! | `tool`, `heard` | the talk with both, and what is heard of them |
//! | `askpass` | passwords for ssh |
//! | `cache` | programs that were sent to this machine |
//! | `named` | children with names that the authority binds to them |
//! | `probe` | what the end of a tool says of the child |
//! | `via` | launches that another context is asked for |
//! | `error` | why there is no child |

mod askpass;
pub mod bootstrap;
pub mod cache;
mod error;
mod heard;
mod how;
mod local;
mod methods;
mod named;
mod probe;
mod stage;
mod tool;
mod via;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use error::{LastWords, LaunchError, Reached};
pub use how::{Carrier, Launch};
pub use methods::HostKeys;
pub(crate) use via::bind;

use actogen_core::{ContextId, Incarnation};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::{
    builtin::Place, context::Context, enrol::EnrolRequest, events::ContextEvent, link::LinkState,
    names::ContextNames, transport::PIPE,
};

/// A process that this context has launched, or was asked to: what it may claim, and how it fares.
#[derive(Debug)]
struct Launched {
    secret: [u8; 32],
    /// What the child is to be named.
    names: ContextNames,
    /// The key that has claimed the launch: the same may retry, no other may.
    claimed: Option<blake3::Hash>,
    admitted: Option<oneshot::Sender<ContextId>>,
}

/// A running child process, or the tool by which it runs elsewhere.
#[derive(Clone, Debug)]
struct Process {
    pid: u32,
    exited: watch::Receiver<Option<String>>,
    /// It is a tool, and the child's own process is elsewhere.
    is_tool: bool,
    /// What it says.
    heard: Arc<heard::Heard>,
}

impl Process {
    async fn exited(&self) -> String {
        let mut exited = self.exited.clone();
        match exited.wait_for(Option::is_some).await {
            Ok(status) => status.clone().unwrap_or_default(),
            Err(_) => "lost sight of".to_owned(),
        }
    }

    fn kill(&self) {
        self.signal(local::Signal::Kill);
    }

    fn signal(&self, signal: local::Signal) {
        if self.exited.borrow().is_none() {
            local::signal_group(self.pid, signal);
            self.heard.cut();
        }
    }

    fn said(&self) -> LastWords {
        self.heard.said.lock().clone()
    }
}

#[derive(Debug, Default)]
struct Books {
    next: u64,
    open: BTreeMap<u64, Launched>,
    processes: BTreeMap<u64, Process>,
    /// Whose the processes are, once they have been admitted.
    contexts: BTreeMap<u64, ContextId>,
    ending: bool,
    /// The run that this context's children belong to, once there are any.
    run: Option<String>,
}

/// The launches of one context.
#[derive(Debug, Default)]
pub(crate) struct Launches(Mutex<Books>);

impl Launches {
    fn begin(
        &self,
        secret: [u8; 32],
        names: ContextNames,
    ) -> Result<(u64, oneshot::Receiver<ContextId>), LaunchError> {
        let mut books = self.0.lock();
        if books.ending {
            return Err(LaunchError::Shutdown);
        }
        // The child of the one would be revoked for that of the other.
        let under_way = books.open.values().find_map(|open| open.names.in_common(&names));
        if let Some(name) = under_way {
            let why = format!("another launch with the name `{name}` is under way");
            return Err(LaunchError::Name(why));
        }
        books.next += 1;
        let launch = books.next;
        let (admitted, receiver) = oneshot::channel();
        let admitted = Some(admitted);
        books.open.insert(launch, Launched { secret, names, claimed: None, admitted });
        Ok((launch, receiver))
    }

    fn close(&self, launch: u64) {
        self.0.lock().open.remove(&launch);
    }

    /// The launch that a request proves to belong to, and what its child is to be named.
    pub(crate) fn claim(&self, request: &EnrolRequest) -> Option<(u64, ContextNames)> {
        let mut books = self.0.lock();
        let launched = books.open.get_mut(&request.launch)?;
        let key = blake3::hash(&request.request);
        let may = request.is_proved_by(&launched.secret)
            && launched.claimed.is_none_or(|claimed| claimed == key);
        if may {
            launched.claimed = Some(key);
        }
        may.then(|| (request.launch, launched.names.clone()))
    }

    pub(crate) fn admitted(&self, launch: u64, context: ContextId) {
        let sender = {
            let mut books = self.0.lock();
            books.contexts.insert(launch, context);
            books.open.get_mut(&launch).and_then(|launched| launched.admitted.take())
        };
        if let Some(sender) = sender {
            // Whoever launched it may have given up by now; the link that follows is refused no less for that.
            let _ = sender.send(context);
        }
    }

    /// True for the first who begins the shutdown.
    pub(crate) fn begin_shutdown(&self) -> bool {
        !std::mem::replace(&mut self.0.lock().ending, true)
    }

    /// The context that a process is, once it has been admitted.
    pub(crate) fn context_of(&self, launch: u64) -> Option<ContextId> {
        self.0.lock().contexts.get(&launch).copied()
    }

    /// A context is no child any more: its process is its own business.
    pub(crate) fn release(&self, context: ContextId) {
        let mut books = self.0.lock();
        let launch =
            books.contexts.iter().find(|&(_, &of)| of == context).map(|(&launch, _)| launch);
        if let Some(launch) = launch {
            books.processes.remove(&launch);
        }
    }

    /// A process is gone, and has nothing more to say.
    fn forget(&self, launch: u64) {
        let mut books = self.0.lock();
        books.processes.remove(&launch);
        books.contexts.remove(&launch);
    }

    fn process(&self, launch: u64) -> Option<Process> {
        self.0.lock().processes.get(&launch).cloned()
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
                process.signal(signal);
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

/// A context that this one has launched, or another one for it.
#[derive(Debug)]
pub struct Child {
    context: Context,
    launched: Started,
    /// Its process or tool here; `None` where another context keeps it.
    process: Option<Process>,
}

/// A child as its launcher knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Started {
    place: Place,
    /// The context that launched it, and is its parent.
    parent: Place,
    /// Which launch of that context's it is.
    launch: u64,
    pid: u32,
    carrier: Carrier,
}

impl From<&Child> for Place {
    fn from(child: &Child) -> Self {
        child.place()
    }
}

impl Child {
    /// The child's id.
    pub fn id(&self) -> ContextId {
        self.launched.place.context
    }

    /// The child's life.
    pub fn incarnation(&self) -> Incarnation {
        self.launched.place.incarnation
    }

    /// Where the child is, for calls and addresses.
    pub fn place(&self) -> Place {
        self.launched.place
    }

    /// The context that asked for it.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Its parent in the tree.
    pub fn parent(&self) -> Place {
        self.launched.parent
    }

    /// The number of its process on its parent's machine, or of the tool there by which it runs.
    pub fn pid(&self) -> u32 {
        self.launched.pid
    }

    /// What carries the link to its parent.
    pub fn carrier(&self) -> Carrier {
        self.launched.carrier
    }

    /// Kills the child's process group with SIGKILL, or that of its tool, and waits until it is gone. Does nothing when it is gone already.
    /// A child behind a tool finds its life line cut, and ends.
    pub async fn kill(&self) {
        match &self.process {
            Some(process) => {
                process.kill();
                process.exited().await;
            }
            None => self.kill_there().await,
        }
    }

    /// Asks the child to end, and waits until its process has; [kills](Self::kill) it if that takes longer than this. Says how it ended.
    pub async fn end(&self, within: Duration) -> String {
        self.context.ask_to_end(self.place(), within);
        match tokio::time::timeout(within, self.exited()).await {
            Ok(how) => how,
            Err(_) => {
                self.kill().await;
                self.exited().await
            }
        }
    }

    /// Waits until the process, or its tool, has ended; says how, such as `exit status 0` or `signal 9`.
    pub async fn exited(&self) -> String {
        match &self.process {
            Some(process) => process.exited().await,
            None => self.exited_there().await,
        }
    }
}

impl Context {
    /// Starts another context and waits until it can be reached.
    ///
    /// # Errors
    /// [`LaunchError`]; the process, if there is one, is ended.
    pub async fn launch(&self, mut launch: Launch) -> Result<Child, LaunchError> {
        match launch.via.take() {
            Some(parent) if parent != self.place() => {
                if !launch.names.is_empty() {
                    let why = "only the root gives names, to children of its own: launch it there, without `via`";
                    return Err(LaunchError::Name(why.to_owned()));
                }
                self.launch_via(parent, launch).await
            }
            _ => self.launch_here(launch).await,
        }
    }

    async fn launch_here(&self, launch: Launch) -> Result<Child, LaunchError> {
        let names = self.names_to_give(&launch.names)?;
        let invitation = self.0.transport.invitation().ok_or(LaunchError::NoInvitation)?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| LaunchError::Spawn {
            program: "the system's source of randomness".into(),
            why: error.to_string(),
        })?;
        let (number, mut admitted) = self.0.launches.begin(secret, names)?;
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
            carrier: launch.carrier,
            program: None,
            log_filter: self.0.log_filter.clone(),
            sync: bootstrap::sync(self.fresh_number()),
        };
        let mut events = self.events();
        let deadline = tokio::time::Instant::now() + launch.within;
        let outcome = match launch.method {
            methods::Method::Local if launch.carrier == Carrier::Udp => {
                self.start_process(number, &launch, &bootstrap).await
            }
            _ => self.start_by_tool(number, &launch, &bootstrap).await,
        };
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
        let outcome = tokio::select! {
            place = tokio::time::timeout_at(deadline, reached) => place,
            status = process.exited() => {
                self.0.launches.close(number);
                if let (stage::NO_DIRECTORY, Some(directory)) = (&*status, &launch.directory) {
                    return Err(LaunchError::Spawn {
                        program: directory.display().to_string(),
                        why: "it is no directory there that can be entered".to_owned(),
                    });
                }
                return Err(LaunchError::Exited { status, said: process.said() });
            }
        };
        self.0.launches.close(number);
        match outcome {
            Ok(Some(place)) => {
                let parent = self.place();
                let is_piped =
                    |link: &Arc<LinkState>| link.peer == place.context && link.remote == PIPE;
                let is_piped = self.child_links().iter().any(is_piped);
                let carrier = if is_piped { Carrier::Pipe } else { Carrier::Udp };
                let pid = process.pid;
                let launched = Started { place, parent, launch: number, pid, carrier };
                self.watch_process(place, &process);
                Ok(Child { context: self.clone(), launched, process: Some(process) })
            }
            failed => {
                process.kill();
                process.exited().await;
                if failed.is_ok() {
                    return Err(LaunchError::Shutdown);
                }
                let reached = match context {
                    None => Reached::Program,
                    Some(_) => Reached::Admission,
                };
                let (pid, within, said) = (process.pid, launch.within, process.said());
                Err(LaunchError::Timeout { pid, within, reached, said })
            }
        }
    }

    /// The run that this context and its children belong to: their environment has it as `ACTOGEN_RUN`.
    pub fn run_id(&self) -> String {
        if let Ok(run) = std::env::var(RUN) {
            return run;
        }
        let mut books = self.0.launches.0.lock();
        let run = books.run.get_or_insert_with(|| format!("{:016x}", self.fresh_number()));
        run.clone()
    }
}

/// The variable by which all processes of one run are found.
const RUN: &str = "ACTOGEN_RUN";
