//! A PostgreSQL server of a test's own. It ends when its value is dropped.

use std::{
    fs::{self, File},
    io::Write,
    net::TcpListener,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The password of the one user.
pub(crate) const PASSWORD: &str = "correct-horse";

/// Says that a test is skipped, past the harness; where everything must run it is a failure.
fn skip(test: &str) {
    let needs = "PostgreSQL";
    assert!(std::env::var_os("ACTOGEN_REQUIRE_ALL").is_none(), "{test} needs {needs}");
    let mut terminal = File::options().write(true).open("/dev/stderr").unwrap();
    let _ = writeln!(terminal, "SKIPPED {test}: it needs {needs}");
}

/// Where the newest version's programs are.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.map(|version| version.unwrap().path().join("bin"));
    let version = |folder: &PathBuf| folder.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    folders.filter(|folder| folder.join("initdb").exists()).max_by_key(version)
}

/// Whom the server runs as where we are root, which it refuses to be.
fn user() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let fields = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = fields.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A server on the loopback and on a socket, with a folder of its own.
pub(crate) struct Server {
    folder: TempDir,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    process: Mutex<Child>,
}

impl Server {
    /// Starts one, unless it is not installed.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let (Some(programs), user) = (programs(), user().filter(|_| is_root)) else {
            skip(test);
            return None;
        };
        if is_root && user.is_none() {
            skip(test);
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("password");
        fs::write(&secret, PASSWORD).unwrap();
        if let Some((user, group)) = user {
            for path in [folder.path(), &secret] {
                std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let mut make = command(&programs.join("initdb"), user, folder.path());
        make.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8"]);
        make.args(["--locale=C", "--no-sync", "--pwfile=password", "--pgdata=data"]);
        let made = make.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // Free when it was asked for: whoever takes it before us is found out when the server is there.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Mutex::new(spawn(&programs, user, folder.path(), port));
        let server = Self { folder, programs, user, port, process };
        server.wait();
        Some(server)
    }

    /// Its database, over this port.
    pub(crate) fn url(&self, port: u16) -> String {
        format!("postgresql://postgres:{PASSWORD}@127.0.0.1:{port}/postgres")
    }

    pub(crate) fn direct(&self) -> String {
        self.url(self.port)
    }

    pub(crate) fn socket(&self) -> String {
        let (folder, port) = (self.folder.path().display(), self.port);
        format!("host={folder} port={port} user=postgres password={PASSWORD} dbname=postgres")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Kills it, as the loss of power does: the process that has started all others, which end when they find out.
    pub(crate) fn kill(&self) {
        let mut process = self.process.lock();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Starts it again.
    pub(crate) fn restart(&self) {
        *self.process.lock() = spawn(&self.programs, self.user, self.folder.path(), self.port);
        self.wait();
    }

    /// Waits until it answers. One that is started while processes of the one before live ends at once.
    fn wait(&self) {
        let begun = Instant::now();
        loop {
            if self.query("SELECT 1").is_ok() {
                return;
            }
            let mut process = self.process.lock();
            if process.try_wait().unwrap().is_some() {
                *process = spawn(&self.programs, self.user, self.folder.path(), self.port);
            }
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "no server: {}", log());
            drop(process);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it something; gives the first column.
    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        self.query(sql).unwrap()
    }

    fn query(&self, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
        let url = self.direct();
        let ask = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
                let connection = tokio::spawn(connection);
                let said = client.simple_query(sql).await?;
                drop(client);
                connection.await.unwrap()?;
                let rows = said.into_iter().filter_map(|said| match said {
                    SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("").to_owned()),
                    _ => None,
                });
                Ok(rows.collect())
            })
        };
        // The caller may be in a runtime already.
        std::thread::scope(|scope| scope.spawn(ask).join().unwrap())
    }

    /// Waits until its answer is this.
    pub(crate) fn until(&self, sql: &str, expected: &str) {
        let begun = Instant::now();
        loop {
            let found = self.rows(sql);
            if found == [expected] {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{sql}: {found:?} instead of {expected}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let process = self.process.get_mut();
        // It ends its own processes, and gives back what memory they share.
        let _ = kill_process(Pid::from_child(process), Signal::QUIT);
        let begun = Instant::now();
        while matches!(process.try_wait(), Ok(None)) {
            if begun.elapsed() > Duration::from_secs(20) {
                let _ = process.kill();
                let _ = process.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn command(program: &Path, user: Option<(u32, u32)>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    command
}

fn spawn(programs: &Path, user: Option<(u32, u32)>, folder: &Path, port: u16) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut serve = command(&programs.join("postgres"), user, folder);
    serve.args(["-D", "data", "-h", "127.0.0.1", "-p", &port.to_string(), "-k"]);
    serve.arg(folder).stdout(log.try_clone().unwrap()).stderr(log);
    serve.spawn().unwrap()
}
