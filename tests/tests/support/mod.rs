//! Real servers and stub tools for the tests of launching. Each is ended, and what it made is removed, when its value is dropped.

#![allow(unreachable_pub, reason = "a module of a test binary has no outside")]
#![allow(dead_code, reason = "each test binary uses what it needs")]

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use actogen::{HostKeys, Launch};
use tempfile::TempDir;

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A launch with time to send a program that is not optimized, on a slow machine.
pub fn patient(launch: Launch) -> Launch {
    launch.within(Duration::from_secs(120))
}

/// Says that a test is skipped, past the harness; where everything must run it is a failure.
pub fn skip(test: &str, needs: &str) {
    assert!(std::env::var_os("ACTOGEN_REQUIRE_ALL").is_none(), "{test} needs {needs}");
    let mut terminal = fs::OpenOptions::new().write(true).open("/dev/stderr").unwrap();
    let _ = writeln!(terminal, "SKIPPED {test}: it needs {needs}");
}

/// Whether a program is on the path.
pub fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.map(|folder| folder.join(program)).any(|file| file.exists())
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Runs a command that must succeed; gives its output.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Makes a key without a passphrase, and its public half beside it.
pub fn make_key(path: &Path) {
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", path.to_str().unwrap()]);
}

/// A server for ssh on the loopback, with keys and a cache of its own.
pub struct Sshd {
    process: Child,
    folder: TempDir,
    port: u16,
}

impl Sshd {
    /// Starts one; `None` where it cannot be, which is said.
    pub fn start(test: &str) -> Option<Self> {
        if !Path::new("/usr/sbin/sshd").exists() || !is_there("ssh") || !is_root() {
            skip(test, "sshd, ssh, and root to start it");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // The users who log in write their caches below.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        make_key(&at("host"));
        make_key(&at("key"));
        fs::create_dir(at("cache")).unwrap();
        fs::set_permissions(at("cache"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        // Free a moment ago: a port that is taken meanwhile makes the test fail and not pass.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |name: &str| at(name).display().to_string();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPermitRootLogin yes\nMaxStartups 100\nSetEnv XDG_CACHE_HOME={}\n",
            path("host"),
            path("key.pub"),
            path("cache"),
        );
        fs::write(at("config"), config).unwrap();
        let host_key = fs::read_to_string(at("host.pub")).unwrap();
        fs::write(at("known"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        let mut process = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &path("config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = process.stderr.take().unwrap();
        let (mut line, mut byte) = (String::new(), [0]);
        let begun = Instant::now();
        while !line.contains("Server listening") {
            assert!(begun.elapsed() < PATIENCE && said.read(&mut byte).unwrap() == 1, "{line}");
            line.push(byte[0] as char);
        }
        // It must not wait for a reader of what it says.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Some(Self { process, folder, port })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A launch there with the right key, by known host keys.
    pub fn launch(&self) -> Launch {
        let key = self.folder().join("key");
        self.launch_without_key().identity(key.to_str().unwrap())
    }

    pub fn launch_without_key(&self) -> Launch {
        self.launch_trusting(self.folder().join("known").to_str().unwrap())
            .host_keys(HostKeys::Strict)
    }

    /// A launch there by the host keys of this file, untouched by the user's own configuration.
    pub fn launch_trusting(&self, known: &str) -> Launch {
        patient(Launch::ssh("127.0.0.1"))
            .port(self.port)
            .tool_argument("-F/dev/null")
            .tool_argument(format!("-oUserKnownHostsFile={known}"))
            .tool_argument("-oIdentitiesOnly=yes")
            .tool_argument("-oIdentityAgent=none")
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What an ssh is told that goes there with the right key.
    pub fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.folder().join(name).display().to_string();
        vec![
            "-F/dev/null".to_owned(),
            format!("-oUserKnownHostsFile={}", path("known")),
            format!("-oIdentityFile={}", path("key")),
            "-oIdentitiesOnly=yes".to_owned(),
            "-oIdentityAgent=none".to_owned(),
        ]
    }

    /// The programs in the cache of those who log in.
    pub fn cached(&self) -> Vec<PathBuf> {
        let folder = self.folder().join("cache/actogen");
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A user of this machine with a password.
pub struct User {
    name: String,
}

impl User {
    /// Adds one; `None` where it cannot be, which is said.
    pub fn add(test: &str, password: &str) -> Option<Self> {
        if !is_root() || !is_there("useradd") || !is_there("chpasswd") {
            skip(test, "useradd, chpasswd, and root to call them");
            return None;
        }
        let name = format!("actogen{}", std::process::id() % 100_000 * 10 + test.len() as u32 % 10);
        run("useradd", &["--create-home", "--shell", "/bin/sh", &name]);
        let user = Self { name };
        let mut chpasswd = Command::new("chpasswd").stdin(Stdio::piped()).spawn().unwrap();
        writeln!(chpasswd.stdin.take().unwrap(), "{}:{password}", user.name).unwrap();
        assert!(chpasswd.wait().unwrap().success());
        Some(user)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> u32 {
        run("id", &["-u", &self.name]).parse().unwrap()
    }

    /// Lets the user become root by sudo and the own password.
    pub fn may_sudo_with_password(&self) -> Option<Rule> {
        if !is_there("sudo") {
            skip(&self.name, "sudo");
            return None;
        }
        let path = PathBuf::from(format!("/etc/sudoers.d/{}", self.name));
        fs::write(&path, format!("{} ALL=(ALL) ALL\n", self.name)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        Some(Rule(path))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").args(["--force", "--remove", &self.name]).output();
    }
}

/// A rule of sudo's.
pub struct Rule(PathBuf);

impl Drop for Rule {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A container without anything but a shell and what the first stage needs.
pub struct Container {
    name: String,
    image: String,
}

/// What is in it.
const PROGRAMS: &[&str] =
    &["sh", "cat", "chmod", "env", "gzip", "head", "mkdir", "mktemp", "mv", "rm", "sleep", "uname"];

impl Container {
    /// Starts one in a network of Docker's; `None` where it cannot be, which is said.
    pub fn start(test: &str, network: &str) -> Option<Self> {
        Self::start_for(test, network, &std::env::current_exe().unwrap())
    }

    /// As [`Self::start`], with what this program needs to run there.
    pub fn start_for(test: &str, network: &str, program: &Path) -> Option<Self> {
        let answers = |program: &str, arguments: &[&str]| {
            let status = Command::new(program)
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            status.is_ok_and(|status| status.success())
        };
        if !answers("docker", &["info"]) {
            skip(test, "a Docker engine");
            return None;
        }
        let name = format!("actogen-test-{network}-{}", std::process::id());
        let root = tempfile::tempdir().unwrap();
        for folder in ["bin", "tmp", "root", "lib", "lib64", "etc", "proc"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let own = program.display().to_string();
        let mut programs: Vec<String> = PROGRAMS
            .iter()
            .map(|program| run("sh", &["-c", &format!("readlink -f $(command -v {program})")]))
            .collect();
        for (program, path) in PROGRAMS.iter().zip(&programs) {
            // Debian's gzip is a program; its relatives are scripts that call it.
            fs::copy(path, root.path().join("bin").join(program)).unwrap();
        }
        programs.push(own);
        for program in &programs {
            for word in
                run("ldd", &[program]).split_whitespace().filter(|word| word.starts_with('/'))
            {
                let to = root.path().join(word.trim_start_matches('/'));
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(word, to).unwrap();
            }
        }
        let tar = root.path().join("image.tar");
        run(
            "tar",
            &[
                "-C",
                root.path().to_str().unwrap(),
                "--exclude=./image.tar",
                "-cf",
                tar.to_str().unwrap(),
                ".",
            ],
        );
        let image = format!("{name}:latest");
        run("docker", &["import", tar.to_str().unwrap(), &image]);
        let container = Self { name, image };
        run(
            "docker",
            &[
                "run",
                "--detach",
                "--network",
                network,
                "--name",
                &container.name,
                &container.image,
                "/bin/sleep",
                "600",
            ],
        );
        Some(container)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What lies in its folder for what is temporary.
    pub fn temporary(&self) -> String {
        run(
            "docker",
            &[
                "exec",
                &self.name,
                "sh",
                "-c",
                "for f in /tmp/* /tmp/.[!.]*; do test -e \"$f\" && echo \"$f\"; done; :",
            ],
        )
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        for arguments in [["rm", "--force", &self.name], ["rmi", "--force", &self.image]] {
            let _ = Command::new("docker").args(arguments).output();
        }
    }
}

/// A process in namespaces of its own, on the network of this machine.
pub struct Sleeper(Child);

impl Sleeper {
    pub fn start(test: &str) -> Option<Self> {
        if !is_there("unshare") || !is_there("nsenter") || !is_root() {
            skip(test, "unshare, nsenter, and root to call them");
            return None;
        }
        let mut process = Command::new("unshare")
            .args(["--mount", "--uts", "--ipc", "sh", "-c", "echo ready; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 6];
        process.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        Some(Self(process))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A tool that stands in for ssh: does something first, and runs the first stage here then, with programs of its own before all others.
pub struct Stub {
    folder: TempDir,
}

impl Stub {
    pub fn new(first: &str) -> Self {
        let stub = Self { folder: tempfile::tempdir().unwrap() };
        let folder = stub.folder.path().display().to_string();
        stub.with(
            "ssh",
            &format!(
                "for last do :; done\n{first}\nXDG_CACHE_HOME={folder} PATH={folder}:$PATH exec sh -c \"$last\""
            ),
        )
    }

    /// Adds a program.
    pub fn with(self, name: &str, script: &str) -> Self {
        let path = self.folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    pub fn launch(&self) -> Launch {
        let tool = self.folder.path().join("ssh").display().to_string();
        patient(Launch::ssh("there")).tool(tool)
    }
}
