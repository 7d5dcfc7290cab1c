//! Where a context can be started: a table of the tools that get there, and of how each is told whom to be and what to run.

use serde::{Deserialize, Serialize};

/// Where a context is started, and by which tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Method {
    Local,
    Ssh,
    Sudo,
    Su,
    Doas,
    Docker,
    Podman,
    Buildah,
    Kubectl,
    Lxc,
    Lxd,
    Incus,
    Jail,
    Nsenter,
    Machinectl,
}

/// Which host keys ssh trusts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum HostKeys {
    /// What the user's configuration of ssh says.
    #[default]
    Configured,
    /// Only those that are known.
    Strict,
    /// Those that are known, and the first of a host that is not.
    AcceptNew,
    /// Any, and none is remembered: whoever stands on the way can read and change everything. For hosts that are made anew each time.
    Ignore,
}

/// What tools are told beside where to go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tool {
    /// Another program than the tool of that name on the path.
    pub(super) path: Option<String>,
    /// Host, container, process or the like; nothing where only the user changes.
    pub(super) target: String,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) identity: Option<String>,
    pub(super) host_keys: HostKeys,
    /// Put before the target.
    pub(super) arguments: Vec<String>,
}

impl Method {
    /// The tool's name on the path.
    pub(super) fn program(&self) -> &'static str {
        match self {
            Self::Local => "sh",
            Self::Ssh => "ssh",
            Self::Sudo => "sudo",
            Self::Su => "su",
            Self::Doas => "doas",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Buildah => "buildah",
            Self::Kubectl => "kubectl",
            Self::Lxc => "lxc-attach",
            Self::Lxd => "lxc",
            Self::Incus => "incus",
            Self::Jail => "jexec",
            Self::Nsenter => "nsenter",
            Self::Machinectl => "systemd-run",
        }
    }

    /// The tool's arguments, with which it runs `sh -c SCRIPT` there, with its own standard input, output and error, and without a terminal.
    ///
    /// # Errors
    /// What this tool cannot be told.
    pub(super) fn arguments(&self, tool: &Tool, script: &str) -> Result<Vec<String>, String> {
        self.refuse(tool)?;
        let mut words = Words::default();
        let Tool { target, user, port, identity, arguments, .. } = tool;
        let user = user.as_deref();
        let shell = ["sh", "-c", script];
        match self {
            Self::Local => words.add(["-c", script]),
            Self::Ssh => {
                // Nobody is there to answer a question, and a terminal would change what passes.
                words.add(["-T", "-o", "BatchMode=yes"]);
                words.add(match tool.host_keys {
                    HostKeys::Configured => &[][..],
                    HostKeys::Strict => &["-o", "StrictHostKeyChecking=yes"],
                    HostKeys::AcceptNew => &["-o", "StrictHostKeyChecking=accept-new"],
                    HostKeys::Ignore => &[
                        "-o",
                        "StrictHostKeyChecking=no",
                        "-o",
                        "UserKnownHostsFile=/dev/null",
                        "-o",
                        "LogLevel=ERROR",
                    ],
                });
                if let Some(port) = port {
                    words.add(["-p", &port.to_string()]);
                }
                words.option("-l", user);
                words.option("-i", identity.as_deref());
                words.add(arguments);
                // The user's shell there takes one text apart, whichever shell that is.
                let quoted = shlex::try_quote(script).map_err(|error| error.to_string())?;
                words.add(["--", target, &format!("exec sh -c {quoted}")]);
            }
            Self::Sudo => {
                words.add(["-n", "-H"]);
                words.option("-u", user);
                words.add(arguments);
                words.add(["--"]);
                words.add(shell);
            }
            Self::Doas => {
                words.add(["-n"]);
                words.option("-u", user);
                words.add(arguments);
                words.add(["--"]);
                words.add(shell);
            }
            Self::Su => {
                words.add(arguments);
                words.add(["-s", "/bin/sh", "-c", script, user.unwrap_or("root")]);
            }
            Self::Docker | Self::Podman => {
                words.add(["exec", "-i"]);
                words.option("-u", user);
                words.add(arguments);
                words.add([target.as_str()]);
                words.add(shell);
            }
            Self::Buildah => {
                words.add(["run"]);
                words.option("--user", user);
                words.add(arguments);
                words.add([target, "--"]);
                words.add(shell);
            }
            Self::Kubectl => {
                words.add(["exec", "-i"]);
                words.add(arguments);
                words.add([target, "--"]);
                words.add(shell);
            }
            Self::Lxc => {
                words.add(["--clear-env", "-n", target]);
                words.add(arguments);
                words.add(["--"]);
                words.add(shell);
            }
            Self::Lxd | Self::Incus => {
                words.add(["exec", "-T"]);
                words.option("--user", user);
                words.add(arguments);
                words.add([target, "--"]);
                words.add(shell);
            }
            Self::Jail => {
                words.option("-U", user);
                words.add(arguments);
                words.add([target.as_str()]);
                words.add(shell);
            }
            Self::Nsenter => {
                words.add(["--target", target, "--mount", "--uts", "--ipc", "--net", "--pid"]);
                words.add(arguments);
                words.add(["--"]);
                words.add(shell);
            }
            Self::Machinectl => {
                // As `machinectl shell` does, which insists on a terminal.
                words.add(["--quiet", "--pipe", "--wait", "--collect", "--machine", target]);
                words.option("--uid", user);
                words.add(arguments);
                words.add(["--"]);
                words.add(shell);
            }
        }
        Ok(words.0)
    }

    /// Who is meant, for a person who reads of it.
    pub(super) fn place(&self, tool: &Tool) -> String {
        let at = match (&tool.user, tool.target.as_str()) {
            (Some(user), "") => user.clone(),
            (Some(user), target) => format!("{user}@{target}"),
            (None, "") => "root".to_owned(),
            (None, target) => target.to_owned(),
        };
        match tool.port {
            Some(port) => format!("{at}:{port}"),
            None => at,
        }
    }

    fn refuse(&self, tool: &Tool) -> Result<(), String> {
        let program = self.program();
        let names_target = !matches!(self, Self::Local | Self::Sudo | Self::Su | Self::Doas);
        if names_target && (tool.target.is_empty() || tool.target.starts_with('-')) {
            return Err(format!("{:?} is nothing that `{program}` could reach", tool.target));
        }
        if tool.user.as_deref().is_some_and(|user| user.is_empty() || user.starts_with('-')) {
            return Err("the user's name is empty, or begins with a dash".to_owned());
        }
        let only_ssh = [
            ("port", tool.port.is_some()),
            ("identity", tool.identity.is_some()),
            ("host_keys", tool.host_keys != HostKeys::Configured),
        ];
        if let Some((option, _)) = only_ssh.iter().find(|(_, is_set)| *is_set)
            && *self != Self::Ssh
        {
            return Err(format!("`{option}` is for ssh, and `{program}` has nothing like it"));
        }
        let fixed_user = matches!(self, Self::Kubectl | Self::Lxc | Self::Nsenter);
        if fixed_user && tool.user.is_some() {
            return Err(format!(
                "`{program}` cannot be told a user: launch by it, and `sudo` via that context"
            ));
        }
        Ok(())
    }
}

/// Arguments as they gather.
#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn add<S: AsRef<str>>(&mut self, words: impl IntoIterator<Item = S>) {
        self.0.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
    }

    fn option(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add([name, value]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(target: &str) -> Tool {
        Tool { target: target.to_owned(), ..Tool::default() }
    }

    fn to_as(target: &str, user: &str) -> Tool {
        Tool { user: Some(user.to_owned()), ..to(target) }
    }

    fn line(method: Method, tool: &Tool) -> String {
        let words = method.arguments(tool, "SCRIPT").unwrap();
        format!("{} {}", method.program(), words.join(" "))
    }

    #[test]
    fn m20_each_tool_is_told_whom_to_be_where_and_what_to_run() {
        let ssh = Tool {
            port: Some(2222),
            identity: Some("/k".into()),
            host_keys: HostKeys::AcceptNew,
            arguments: vec!["-J".into(), "bastion".into()],
            ..to_as("db1", "me")
        };
        for (method, tool, expected) in [
            (Method::Ssh, to("db1"), "ssh -T -o BatchMode=yes -- db1 exec sh -c SCRIPT"),
            (
                Method::Ssh,
                ssh,
                "ssh -T -o BatchMode=yes -o StrictHostKeyChecking=accept-new -p 2222 -l me -i /k -J bastion -- db1 exec sh -c SCRIPT",
            ),
            (Method::Sudo, to_as("", "www"), "sudo -n -H -u www -- sh -c SCRIPT"),
            (Method::Su, to_as("", "www"), "su -s /bin/sh -c SCRIPT www"),
            (Method::Doas, to_as("", "www"), "doas -n -u www -- sh -c SCRIPT"),
            (Method::Docker, to("web"), "docker exec -i web sh -c SCRIPT"),
            (Method::Podman, to_as("web", "1000"), "podman exec -i -u 1000 web sh -c SCRIPT"),
            (Method::Buildah, to("web"), "buildah run web -- sh -c SCRIPT"),
            (Method::Kubectl, to("pod/web"), "kubectl exec -i pod/web -- sh -c SCRIPT"),
            (Method::Lxc, to("web"), "lxc-attach --clear-env -n web -- sh -c SCRIPT"),
            (Method::Lxd, to("web"), "lxc exec -T web -- sh -c SCRIPT"),
            (Method::Incus, to("web"), "incus exec -T web -- sh -c SCRIPT"),
            (Method::Jail, to_as("web", "www"), "jexec -U www web sh -c SCRIPT"),
            (
                Method::Nsenter,
                to("4711"),
                "nsenter --target 4711 --mount --uts --ipc --net --pid -- sh -c SCRIPT",
            ),
            (
                Method::Machinectl,
                to("web"),
                "systemd-run --quiet --pipe --wait --collect --machine web -- sh -c SCRIPT",
            ),
        ] {
            assert_eq!(line(method, &tool), expected);
        }
    }

    #[test]
    fn a_script_stays_one_word_for_the_shell_behind_ssh() {
        let words = Method::Ssh.arguments(&to("db1"), "echo 'a  b'").unwrap();
        let remote = words.last().unwrap();
        assert_eq!(shlex::split(remote).unwrap(), ["exec", "sh", "-c", "echo 'a  b'"]);
    }

    #[test]
    fn what_a_tool_would_take_for_an_option_is_refused() {
        let refused = |method: Method, tool: Tool| method.arguments(&tool, "").unwrap_err();
        assert!(refused(Method::Ssh, to("-oProxyCommand=sh")).contains("could reach"));
        assert!(refused(Method::Docker, to("")).contains("could reach"));
        assert!(refused(Method::Sudo, to_as("", "-s")).contains("dash"));
        assert!(refused(Method::Docker, Tool { port: Some(1), ..to("web") }).contains("for ssh"));
        assert!(refused(Method::Nsenter, to_as("1", "www")).contains("sudo"));
    }
}
