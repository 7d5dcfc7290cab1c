//! How to start a context: by which tool, where, and as what.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::methods::{HostKeys, Method, Tool};
use crate::builtin::Place;

/// A password on its way to a tool: never printed, and wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Password(zeroize::Zeroizing<String>);

impl Password {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

/// What carries the link between a child and its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Carrier {
    /// UDP, and where that does not pass, the pipes of the tool by which the child runs.
    Auto,
    /// UDP, or nothing.
    Udp,
    /// The pipes: standard input and output of the child, as its tool passes them on.
    Pipe,
}

impl std::fmt::Display for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Udp => "udp",
            Self::Pipe => "pipe",
        })
    }
}

/// How to start a context. The constructors say by which tool; the system's own tools are used, with the user's configuration of them.
///
/// Another machine needs a POSIX shell with `head`, `gzip`, `mkdir`, `mv`, `rm` and `uname`, and nothing of Actogen: the program is sent there once,
/// compressed, and kept under its hash in `${XDG_CACHE_HOME:-$HOME/.cache}/actogen/`. There it must reach the endpoint of the context that
/// launches it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[must_use = "a launch does nothing until a context launches it"]
pub struct Launch {
    pub(super) method: Method,
    pub(super) tool: Tool,
    pub(super) password: Option<Password>,
    pub(super) program: Option<PathBuf>,
    /// Programs for other kinds of machines.
    pub(super) binaries: Vec<(String, PathBuf)>,
    pub(super) arguments: Option<Vec<String>>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) directory: Option<PathBuf>,
    pub(super) within: Duration,
    pub(super) carrier: Carrier,
    /// Names that the authority is to bind to it. They stay here: whoever is asked by another may give none.
    #[serde(skip)]
    pub(super) names: Vec<String>,
    /// Who launches it, if not whoever is asked to.
    pub(super) via: Option<Place>,
}

impl Launch {
    fn by(method: Method, target: impl Into<String>) -> Self {
        // A login and, the first time, the program on its way take longer than a process.
        let seconds = if method == Method::Local { 10 } else { 30 };
        Self {
            tool: Tool { target: target.into(), ..Tool::default() },
            password: None,
            program: None,
            binaries: Vec::new(),
            arguments: None,
            environment: Vec::new(),
            directory: None,
            within: Duration::from_secs(seconds),
            carrier: if method == Method::Local { Carrier::Udp } else { Carrier::Auto },
            names: Vec::new(),
            via: None,
            method,
        }
    }

    fn becoming(method: Method, user: impl Into<String>) -> Self {
        Self::by(method, "").user(user)
    }

    /// The same program as a child process on this machine.
    pub fn local() -> Self {
        Self::by(Method::Local, "")
    }

    /// On another machine, by `ssh`. The target is a host, `USER@HOST`, or a name from the user's configuration.
    pub fn ssh(target: impl Into<String>) -> Self {
        Self::by(Method::Ssh, target)
    }

    /// As another user of this machine, by `sudo`.
    pub fn sudo(user: impl Into<String>) -> Self {
        Self::becoming(Method::Sudo, user)
    }

    /// As another user of this machine, by `su`: by root, or with that user's [password](Self::password).
    pub fn su(user: impl Into<String>) -> Self {
        Self::becoming(Method::Su, user)
    }

    /// As another user of this machine, by `doas`; where its configuration asks for no password.
    pub fn doas(user: impl Into<String>) -> Self {
        Self::becoming(Method::Doas, user)
    }

    /// In a running container, by `docker exec`.
    pub fn docker(container: impl Into<String>) -> Self {
        Self::by(Method::Docker, container)
    }

    /// In a running container, by `podman exec`.
    pub fn podman(container: impl Into<String>) -> Self {
        Self::by(Method::Podman, container)
    }

    /// In a working container, by `buildah run`.
    pub fn buildah(container: impl Into<String>) -> Self {
        Self::by(Method::Buildah, container)
    }

    /// In a pod, by `kubectl exec`.
    pub fn kubectl(pod: impl Into<String>) -> Self {
        Self::by(Method::Kubectl, pod)
    }

    /// In a container of LXC, by `lxc-attach`.
    pub fn lxc(container: impl Into<String>) -> Self {
        Self::by(Method::Lxc, container)
    }

    /// In an instance of LXD, by `lxc exec`.
    pub fn lxd(instance: impl Into<String>) -> Self {
        Self::by(Method::Lxd, instance)
    }

    /// In an instance of Incus, by `incus exec`.
    pub fn incus(instance: impl Into<String>) -> Self {
        Self::by(Method::Incus, instance)
    }

    /// In a jail, by `jexec`.
    pub fn jail(jail: impl Into<String>) -> Self {
        Self::by(Method::Jail, jail)
    }

    /// In the namespaces of a process, by `nsenter`.
    pub fn nsenter(pid: u32) -> Self {
        Self::by(Method::Nsenter, pid.to_string())
    }

    /// In a machine that systemd-machined knows, by `systemd-run --machine`, which is `machinectl shell` without a terminal.
    pub fn machinectl(machine: impl Into<String>) -> Self {
        Self::by(Method::Machinectl, machine)
    }

    /// Has another context launch it, which is its parent then, and must lie below the one that is asked. Tools, keys and programs are those of
    /// that context's machine.
    pub fn via(mut self, parent: impl Into<Place>) -> Self {
        self.via = Some(parent.into());
        self
    }

    /// Whom to be there.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.tool.user = Some(user.into());
        self
    }

    /// The port of the ssh server.
    pub fn port(mut self, port: u16) -> Self {
        self.tool.port = Some(port);
        self
    }

    /// The file of the key that ssh logs in with.
    pub fn identity(mut self, file: impl Into<String>) -> Self {
        self.tool.identity = Some(file.into());
        self
    }

    /// Which host keys ssh trusts.
    pub fn host_keys(mut self, policy: HostKeys) -> Self {
        self.tool.host_keys = policy;
        self
    }

    /// What is to carry the link: UDP for a local process, and [`Carrier::Auto`] for all others, unless set. A local process that is to be linked by
    /// pipes is started as by a tool: its program is put into this machine's cache.
    pub fn carrier(mut self, carrier: Carrier) -> Self {
        self.carrier = carrier;
        self
    }

    /// The password that `ssh`, `sudo` or `su` asks for. It goes to the tool through a pipe, and is found in no argument, variable, file or log. With
    /// [`Self::via`] it passes those who route to that context, who can read it, as they can all messages.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Password(password.into().into()));
        self
    }

    /// One more argument for the tool, before the target.
    pub fn tool_argument(mut self, argument: impl Into<String>) -> Self {
        self.tool.arguments.push(argument.into());
        self
    }

    /// Where the tool is, if it is not the one of its name on the path.
    pub fn tool(mut self, path: impl Into<String>) -> Self {
        self.tool.path = Some(path.into());
        self
    }

    /// Another program than the running one; it must be an Actogen program too.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// The program for machines of another kind, which `uname -sm` names, such as `Linux aarch64`.
    pub fn binary_for(mut self, kind: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.binaries.push((kind.into(), path.into()));
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

    /// Has the mesh's authority bind a name to the child, whose certificate carries it then; several calls give several names, at most
    /// [`MOST_NAMES`](crate::names::MOST_NAMES). Only the root launches such a child, and not by way of others. A name whose context is in the
    /// tree no more is taken over, as a relaunch wants it: that context is revoked, and cannot come back.
    pub fn certified_name(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// How long the child may take until it can be reached; 10 s for a local process and 30 s by a tool unless set.
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = limit;
        self
    }
}
