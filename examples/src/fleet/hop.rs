//! Ways to a host: hops, outermost first, such as `ssh:a@gate:2222/sudo:root/docker:web`.

use std::{fmt, str::FromStr};

use actogen::Launch;

/// One step: a method, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    method: String,
    target: Option<String>,
}

/// The steps to one host. One that begins as another does goes by way of the same contexts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way(pub Vec<Hop>);

/// The methods that go somewhere.
const TO_A_TARGET: &[&str] = &[
    "ssh",
    "sudo",
    "su",
    "doas",
    "docker",
    "podman",
    "buildah",
    "kubectl",
    "lxc",
    "lxd",
    "incus",
    "jail",
    "nsenter",
    "machinectl",
];

impl Hop {
    /// How to take it. What is said for ssh goes to each ssh on the way.
    pub fn launch(&self, ssh_arguments: &[String]) -> Launch {
        let target = self.target.clone().unwrap_or_default();
        match self.method.as_str() {
            "ssh" => {
                let (host, port) = host_and_port(&target);
                let launch = ssh_arguments.iter().fold(Launch::ssh(host), Launch::tool_argument);
                match port {
                    Some(port) => launch.port(port),
                    None => launch,
                }
            }
            "sudo" => Launch::sudo(if target.is_empty() { "root".to_owned() } else { target }),
            "su" => Launch::su(target),
            "doas" => Launch::doas(target),
            "docker" => Launch::docker(target),
            "podman" => Launch::podman(target),
            "buildah" => Launch::buildah(target),
            "kubectl" => Launch::kubectl(target),
            "lxc" => Launch::lxc(target),
            "lxd" => Launch::lxd(target),
            "incus" => Launch::incus(target),
            "jail" => Launch::jail(target),
            "nsenter" => Launch::nsenter(target.parse().unwrap_or_default()),
            "machinectl" => Launch::machinectl(target),
            _ => Launch::local(),
        }
    }
}

/// A port stands behind the last colon, if that is a number.
fn host_and_port(target: &str) -> (&str, Option<u16>) {
    match target.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => (host, Some(port)),
        _ => (target, None),
    }
}

impl FromStr for Hop {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (method, target) = match text.split_once(':') {
            Some((method, target)) => (method, Some(target.to_owned())),
            None => (text, None),
        };
        match (method, &target) {
            ("local", None) | ("sudo", None) => {}
            ("local", Some(_)) => return Err("`local` goes nowhere: leave its target out".into()),
            ("nsenter", Some(pid)) if pid.parse::<u32>().is_err() => {
                return Err(format!("`nsenter` takes the number of a process, not `{pid}`"));
            }
            (method, Some(target)) if TO_A_TARGET.contains(&method) && !target.is_empty() => {}
            (method, _) if TO_A_TARGET.contains(&method) => {
                return Err(format!("`{method}` goes somewhere: write `{method}:TARGET`"));
            }
            (method, _) => {
                let there = TO_A_TARGET.join(", ");
                return Err(format!("there is no method `{method}`: there is local, {there}"));
            }
        }
        Ok(Self { method: method.to_owned(), target })
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some(target) => write!(f, "{}:{target}", self.method),
            None => f.write_str(&self.method),
        }
    }
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split('/').map(Hop::from_str).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, hop) in self.0.iter().enumerate() {
            write!(f, "{}{hop}", if place == 0 { "" } else { "/" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_read_and_written_alike() {
        for text in ["local", "ssh:a@127.0.0.1:2222/ssh:b@127.0.0.2/sudo:root/docker:web", "sudo"] {
            assert_eq!(text.parse::<Way>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_port_stands_behind_the_last_colon() {
        assert_eq!(host_and_port("a@gate:2222"), ("a@gate", Some(2222)));
        assert_eq!(host_and_port("gate"), ("gate", None));
        assert_eq!(host_and_port("gate:x"), ("gate:x", None));
    }

    #[test]
    fn what_is_no_way_is_refused_with_what_is() {
        for (text, remedy) in [
            ("rsh:there", "there is local, ssh, sudo"),
            ("ssh", "write `ssh:TARGET`"),
            ("docker:", "write `docker:TARGET`"),
            ("local:here", "leave its target out"),
            ("nsenter:init", "the number of a process"),
            ("", "there is local"),
            ("local/", "there is local"),
        ] {
            let error = text.parse::<Way>().unwrap_err();
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }
}
