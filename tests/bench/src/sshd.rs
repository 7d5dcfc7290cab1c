//! A server for ssh on the loopback, with a key and a cache of its own, for launches and their reference: `ssh host true`.

use std::{
    fs, io,
    io::Read,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use actogen::prelude::*;
use tempfile::TempDir;

use crate::{
    failure::Failure,
    workload::{Outcome, Span, latencies},
};

const PROGRAM: &str = "/usr/sbin/sshd";

/// How long one login may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Sshd {
    process: Child,
    folder: TempDir,
    port: u16,
}

impl Sshd {
    /// Starts one; `None` where there is none, or nobody may start it.
    ///
    /// # Errors
    /// [`Failure::System`].
    pub(crate) fn start() -> Result<Option<Self>, Failure> {
        if !Path::new(PROGRAM).exists() || !rustix::process::getuid().is_root() {
            return Ok(None);
        }
        Self::started().map(Some).map_err(|error| Failure::System("starting sshd", error))
    }

    fn started() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "key"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)])
                .status()?;
            if !made.success() {
                return Err(io::Error::other("ssh-keygen makes no key"));
            }
        }
        fs::create_dir(path("cache"))?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        fs::create_dir_all("/run/sshd")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPermitRootLogin yes\nMaxStartups 100\nSetEnv XDG_CACHE_HOME={}\n",
            path("host"),
            path("key.pub"),
            path("cache"),
        );
        fs::write(path("config"), config)?;
        let host = fs::read_to_string(path("host.pub"))?;
        fs::write(path("known"), format!("[127.0.0.1]:{port} {host}"))?;
        let mut process = Command::new(PROGRAM)
            .args(["-D", "-e", "-f", &path("config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = process.stderr.take();
        let mut sshd = Self { process, folder, port };
        sshd.listens(said)?;
        Ok(sshd)
    }

    /// Waits until it says so; it ends without that where it cannot.
    fn listens(&mut self, said: Option<impl Read + Send + 'static>) -> io::Result<()> {
        let mut said = said.ok_or_else(|| io::Error::other("sshd has no output"))?;
        let (mut text, mut byte) = (String::new(), [0]);
        while !text.contains("Server listening") {
            if said.read(&mut byte)? == 0 {
                return Err(io::Error::other(format!("sshd does not listen: {text}")));
            }
            text.push(byte[0] as char);
        }
        // It must not wait for a reader of what it says.
        std::thread::spawn(move || io::copy(&mut said, &mut io::sink()));
        Ok(())
    }

    /// What both are told, so that the user's own configuration plays no part.
    fn options(&self) -> [String; 5] {
        let known = self.folder.path().join("known");
        [
            "-F/dev/null".to_owned(),
            format!("-oUserKnownHostsFile={}", known.display()),
            "-oStrictHostKeyChecking=yes".to_owned(),
            "-oIdentitiesOnly=yes".to_owned(),
            "-oIdentityAgent=none".to_owned(),
        ]
    }

    fn key(&self) -> String {
        self.folder.path().join("key").display().to_string()
    }

    /// How a context is launched there.
    pub(crate) fn launch(&self, launch: impl FnOnce(Launch) -> Launch) -> Launch {
        let mut ssh = launch(Launch::ssh("127.0.0.1")).port(self.port).identity(self.key());
        for option in self.options() {
            ssh = ssh.tool_argument(option);
        }
        ssh.within(PATIENCE)
    }

    /// Logs in, does nothing, and leaves, one time after the other: how long each takes.
    ///
    /// # Errors
    /// [`Failure::System`].
    pub(crate) async fn logins(&self, lasts: Duration) -> Result<Outcome, Failure> {
        let failed = |error| Failure::System("ssh", error);
        let (span, mut times) = (Span::of(lasts), Vec::new());
        while !span.is_over() {
            let began = std::time::Instant::now();
            let mut ssh = tokio::process::Command::new("ssh");
            ssh.args(self.options()).arg("-p").arg(self.port.to_string()).arg("-i").arg(self.key());
            let ended = ssh.args(["127.0.0.1", "true"]).stdin(Stdio::null()).status();
            let ended = tokio::time::timeout(PATIENCE, ended).await;
            let ended =
                ended.unwrap_or_else(|_| Err(io::Error::other("it hangs"))).map_err(failed)?;
            if !ended.success() {
                return Err(failed(io::Error::other(format!("it ended with {ended}"))));
            }
            times.push(began.elapsed().as_nanos() as u64);
        }
        Ok(latencies(times))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
