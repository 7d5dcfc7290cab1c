//! What is started, and that all of it ends: each program in a process group of its own, which is ended by its id when the work is done,
//! when something fails, and on Ctrl-C.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::Error;

/// How long a program may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lines that are kept of a program that nobody listens to.
const LINES: usize = 1024;
/// What a shell says of a program that was ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Every process group that was started and has not been ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes(Arc<Mutex<BTreeSet<u32>>>);

impl Processes {
    /// From here on, a signal that asks this program to end ends all that it has started as well.
    ///
    /// # Errors
    /// What the system refused.
    pub(crate) fn ended_by_signals() -> Result<Self, Error> {
        let processes = Self::default();
        let handled = processes.clone();
        ctrlc::set_handler(move || {
            // Held until the end: nothing is started any more.
            let groups = handled.groups();
            groups.iter().for_each(|group| kill(*group));
            std::process::exit(INTERRUPTED);
        })?;
        Ok(processes)
    }

    fn groups(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        // A set of numbers is whole whatever happened while it was held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a program, with its input and output in our hands.
    ///
    /// # Errors
    /// What the system refused.
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<Started> {
        let mut groups = self.groups();
        let mut process =
            command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        groups.insert(process.id());
        drop(groups);
        let input = process.stdin.take();
        let (sender, lines) = mpsc::sync_channel(LINES);
        if let Some(output) = process.stdout.take() {
            thread::spawn(move || {
                let lines = BufReader::new(output).lines().map_while(Result::ok);
                // Its end ends this thread; so does that of whoever listens.
                let _ = lines.map(|line| sender.send(line)).take_while(Result::is_ok).count();
            });
        }
        Ok(Started { processes: self.clone(), process, input, lines, ended: false })
    }

    /// Runs a program to its end. What it writes to standard error is given back if `quietly`, else passed on.
    ///
    /// # Errors
    /// What the system refused, or that it did not end within the limit.
    pub(crate) fn run(
        &self,
        command: &mut Command,
        limit: Duration,
        quietly: bool,
    ) -> Result<Finished, Error> {
        if quietly {
            command.stderr(Stdio::piped());
        }
        let until = Instant::now() + limit;
        let mut started = self.start(command)?;
        drop(started.input.take());
        let errors = started.process.stderr.take().map(|mut errors| {
            thread::spawn(move || {
                let mut text = Vec::new();
                // What was read until then is worth saying.
                let _ = errors.read_to_end(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        let mut lines = Vec::new();
        loop {
            match started.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(format!("it did not end within {limit:?}").into());
                }
            }
        }
        let status = started.wait()?;
        let errors = errors.and_then(|errors| errors.join().ok()).unwrap_or_default();
        Ok(Finished { status, lines, errors })
    }
}

/// A program that has run to its end.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) lines: Vec<String>,
    pub(crate) errors: String,
}

/// A program that was started, and that ends with this value at the latest.
#[derive(Debug)]
pub(crate) struct Started {
    processes: Processes,
    process: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    ended: bool,
}

impl Started {
    /// Writes a line to its input.
    ///
    /// # Errors
    /// That it no longer reads.
    pub(crate) fn tell(&mut self, line: &str) -> io::Result<()> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(input, "{line}")?;
        input.flush()
    }

    /// The next line of its output.
    ///
    /// # Errors
    /// That it has ended, or has said nothing for so long.
    pub(crate) fn hear(&mut self, limit: Duration) -> Result<String, Error> {
        self.lines.recv_timeout(limit).map_err(|error| match error {
            mpsc::RecvTimeoutError::Disconnected => "it has ended".into(),
            mpsc::RecvTimeoutError::Timeout => format!("it said nothing for {limit:?}").into(),
        })
    }

    fn wait(mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait()?;
        self.processes.groups().remove(&self.process.id());
        self.ended = true;
        Ok(status)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Asked first by the end of its input: then it can end its own second process.
        drop(self.input.take());
        let until = Instant::now() + PATIENCE;
        let ends = thread::panicking()
            || loop {
                match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(_) => {}
                    Err(error) => break error == mpsc::RecvTimeoutError::Disconnected,
                }
            };
        if !ends {
            eprintln!("process {} did not end by itself", self.process.id());
        }
        let mut groups = self.processes.groups();
        // While its first process is not waited for, the group's number is nobody else's.
        kill(self.process.id());
        let _ = self.process.wait();
        groups.remove(&self.process.id());
    }
}

fn kill(group: u32) {
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // It may have ended already.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const SOON: Duration = Duration::from_secs(20);

    /// Whether a group has any process that is not a zombie.
    fn lives(group: &str) -> bool {
        let Ok(folder) = std::fs::read_dir("/proc") else { return false };
        folder.flatten().any(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // pid (name) state parent group
            let rest = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
            let words: Vec<_> = rest.split(' ').collect();
            words.get(2) == Some(&group) && words[0] != "Z"
        })
    }

    #[test]
    fn a_program_is_told_and_heard() {
        let processes = Processes::default();
        let mut started = processes.start(&mut shell("read a; echo heard $a")).unwrap();
        started.tell("this").unwrap();
        assert_eq!(started.hear(SOON).unwrap(), "heard this");
        assert!(started.hear(SOON).unwrap_err().to_string().contains("ended"));
        drop(started);
        assert!(processes.groups().is_empty());
    }

    #[test]
    fn what_a_program_has_started_ends_with_it() {
        let processes = Processes::default();
        // The inner one hears of no end of any input.
        let mut started =
            processes.start(&mut shell("sleep 1000 <&- >&- & echo $$; read a")).unwrap();
        let group = started.hear(SOON).unwrap();
        assert!(lives(&group));
        drop(started);
        let until = Instant::now() + SOON;
        while lives(&group) {
            assert!(Instant::now() < until, "group {group} lives on");
            thread::yield_now();
        }
    }

    #[test]
    fn a_finished_program_gives_all_it_has_said() {
        let processes = Processes::default();
        let finished = processes
            .run(&mut shell("echo one; echo two; echo why >&2; exit 3"), SOON, true)
            .unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.lines, ["one", "two"]);
        assert_eq!(finished.errors, "why\n");
        assert!(processes.groups().is_empty());
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let processes = Processes::default();
        let limit = Duration::from_millis(50);
        let error = processes.run(&mut shell("exec 0<&-; sleep 1000"), limit, true).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
        assert!(processes.groups().is_empty());
    }
}
